/* Reads images of a data set, runs a model on them and captions the views: the answer, how sure it
 * is, and the truth where that is another. What the views look like is dvit_report's. */
#include "exhibit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Memory of one run of the model. */
struct bench {
    float *pixels;        /* [count][3][height][width] */
    float *logits;        /* [count][classes] */
    float *probabilities; /* [classes] */
    size_t *picks;        /* [count] indices in the data set */
};

const char *cli_last_part(const char *path)
{
    const char *part = path;
    for (const char *at = path; *at; at++)
        if (*at == '/' && at[1] && at[1] != '/')
            part = at + 1;
    return part;
}

static enum dvit_status fail(enum dvit_status code, const char *message, struct dvit_error *error)
{
    error->status = code;
    snprintf(error->message, sizeof error->message, "%s", message);
    return code;
}

static void read_images(struct cli_exhibit *exhibit, const struct dvit_preprocess *preprocess,
                        struct dvit_dataset *set, const struct cli_exhibit_options *options,
                        struct bench *bench)
{
    size_t size = dvit_dataset_size(set), wanted = (size_t)options->count;
    size_t image_size = 3 * (size_t)preprocess->crop_width * (size_t)preprocess->crop_height;
    wanted = wanted < size ? wanted : size;
    for (size_t i = 0; i < wanted; i++) {
        struct dvit_error error = {0};
        struct dvit_sample sample = {0};
        size_t index = i * size / wanted;
        struct dvit_image *image = &exhibit->images[exhibit->count];
        if (dvit_dataset_read(set, index, &sample, &error) == DVIT_OK &&
            dvit_preprocess_geometry(preprocess, &sample.image, image, &error) == DVIT_OK) {
            dvit_preprocess_normalise(preprocess, image,
                                      bench->pixels + (size_t)exhibit->count * image_size);
            bench->picks[exhibit->count++] = index;
        } else if (options->tell) {
            cli_note("left out: %s", error.message);
        }
        dvit_sample_free(&sample);
    }
}

static void write_captions(struct cli_exhibit *exhibit, const struct dvit_model *model,
                           const struct dvit_dataset *set, const char *label,
                           const struct bench *bench)
{
    int classes = dvit_model_config(model)->classes;
    for (int i = 0; i < exhibit->count; i++) {
        struct cli_view *view = &exhibit->views[i];
        int best = 0;
        cli_view_fill(view, exhibit->session, model, i, &exhibit->images[i]);
        snprintf(view->note, sizeof view->note, "%.250s",
                 cli_last_part(dvit_dataset_item_name(set, bench->picks[i])));
        if (!dvit_logits_finite(bench->logits + (size_t)i * (size_t)classes, classes)) {
            snprintf(view->caption, sizeof view->caption, "%.80s%sno answer (not a number)",
                     label ? label : "", label ? ": " : "");
            continue;
        }
        dvit_softmax(bench->logits + (size_t)i * (size_t)classes, classes, bench->probabilities);
        dvit_top_k(bench->probabilities, classes, 1, &best);
        const char *truth = dvit_dataset_class_name(set, dvit_dataset_label(set, bench->picks[i]));
        const char *answer = dvit_model_label(model, best);
        bool right = truth && strcmp(truth, answer) == 0;
        snprintf(view->caption, sizeof view->caption, "%.80s%s%.80s %.1f %%%s%.80s%s",
                 label ? label : "", label ? ": " : "", answer,
                 100 * (double)bench->probabilities[best], right ? "" : " (is ",
                 right || !truth ? "" : truth, right ? "" : ")");
    }
}

static enum dvit_status run(struct cli_exhibit *exhibit, const struct dvit_model *model,
                            struct dvit_dataset *set, const struct cli_exhibit_options *options,
                            struct bench *bench, struct dvit_error *error)
{
    struct dvit_session_options session = dvit_session_options_default();
    read_images(exhibit, dvit_model_preprocess(model), set, options, bench);
    if (exhibit->count == 0)
        return fail(DVIT_ERROR_IO, "no image of the data set could be read", error);
    session.keep = options->keep;
    session.max_batch = exhibit->count;
    session.threads = options->threads;
    session.cpu = options->cpu;
    enum dvit_status status = dvit_session_create(&exhibit->session, model, &session, error);
    if (status == DVIT_OK)
        status =
            dvit_session_run(exhibit->session, bench->pixels, exhibit->count, bench->logits, error);
    if (status == DVIT_OK)
        write_captions(exhibit, model, set, options->label, bench);
    return status;
}

enum dvit_status cli_exhibit_create(struct cli_exhibit *out, const struct dvit_model *model,
                                    struct dvit_dataset *set,
                                    const struct cli_exhibit_options *options,
                                    struct dvit_error *error)
{
    const struct dvit_config *config = dvit_model_config(model);
    size_t count = (size_t)options->count, classes = (size_t)config->classes;
    size_t image_size = 3 * (size_t)config->image_width * (size_t)config->image_height;
    struct bench bench = {.pixels = calloc(count * image_size, sizeof(float)),
                          .logits = calloc(count * classes, sizeof(float)),
                          .probabilities = calloc(classes, sizeof(float)),
                          .picks = calloc(count, sizeof(size_t))};
    *out = (struct cli_exhibit){.images = calloc(count, sizeof *out->images),
                                .views = calloc(count, sizeof *out->views)};
    enum dvit_status status;
    if (!bench.pixels || !bench.logits || !bench.probabilities || !bench.picks || !out->images ||
        !out->views)
        status = fail(DVIT_ERROR_MEMORY, "pictures: out of memory", error);
    else
        status = run(out, model, set, options, &bench, error);
    free(bench.pixels);
    free(bench.logits);
    free(bench.probabilities);
    free(bench.picks);
    if (status != DVIT_OK)
        cli_exhibit_free(out);
    return status;
}

void cli_exhibit_free(struct cli_exhibit *exhibit)
{
    for (int i = 0; i < exhibit->count; i++)
        dvit_image_free(&exhibit->images[i]);
    free(exhibit->images);
    free(exhibit->views);
    dvit_session_free(exhibit->session);
    *exhibit = (struct cli_exhibit){0};
}

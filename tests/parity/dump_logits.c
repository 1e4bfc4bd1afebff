/* What dvit makes of images, as tensors: the C side of ./run parity.
 *
 *     dump_logits MODEL IMAGE… --out FILE [--heads H] [--image WxH] [--keep R] [--preprocess NAME]
 *                 [--average]
 *
 * Writes a safetensors file: pixels [n][3][height][width] as the network saw them, logits [n][K],
 * kept.s [n][k] (patches kept at stage s, ascending) and, in its metadata, the number of
 * parameters. Images are turned as data sets are: not at all. It judges nothing and is not
 * installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dvit/infer.h"
#include "weights/safetensors.h"

enum { MAX_BATCH = 8, MAX_ENTRIES = 2 + DVIT_MAX_STAGES };

struct arguments {
    const char *model;
    char **images;
    int count;
    const char *out;
    struct dvit_load_options load;
};

struct dump {
    const struct arguments *arguments;
    struct dvit_model *model;
    struct dvit_session *session;
    int stages;
    int kept_count[DVIT_MAX_STAGES];
    float *pixels;              /* [count][3][height][width] */
    float *logits;              /* [count][classes] */
    int *kept[DVIT_MAX_STAGES]; /* [count][kept_count] */
};

/* ---- arguments ---- */

static bool parse_int(const char *text, int *out)
{
    char *end;
    long value = strtol(text, &end, 10);
    *out = (int)value;
    return *text && !*end && value > 0 && value <= DVIT_MAX_IMAGE_SIDE;
}

static bool parse_size(const char *text, int *width, int *height)
{
    char copy[32];
    char *cross;
    snprintf(copy, sizeof copy, "%s", text);
    cross = strchr(copy, 'x');
    if (!cross)
        return false;
    *cross = '\0';
    return parse_int(copy, width) && parse_int(cross + 1, height);
}

static bool parse_ratio(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return *text && !*end && *out > 0 && *out <= 1;
}

static bool parse_option(const char *name, const char *value, struct arguments *out)
{
    if (strcmp(name, "--out") == 0)
        out->out = value;
    else if (strcmp(name, "--preprocess") == 0)
        out->load.preprocess = value;
    else if (strcmp(name, "--heads") == 0)
        return parse_int(value, &out->load.heads);
    else if (strcmp(name, "--image") == 0)
        return parse_size(value, &out->load.image_width, &out->load.image_height);
    else if (strcmp(name, "--keep") == 0)
        return parse_ratio(value, &out->load.keep);
    else
        return false;
    return true;
}

/* Positional arguments are gathered at the front of `texts`. */
static bool parse(int count, char **texts, struct arguments *out)
{
    int found = 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(texts[i], "--average") == 0)
            out->load.average = true;
        else if (strncmp(texts[i], "--", 2) != 0)
            texts[found++] = texts[i];
        else if (i + 1 == count || !parse_option(texts[i], texts[i + 1], out))
            return false;
        else
            i++;
    }
    out->model = texts[0];
    out->images = texts + 1;
    out->count = found - 1;
    return found >= 2 && out->out;
}

/* ---- running ---- */

static size_t image_floats(const struct dump *dump)
{
    const struct dvit_config *config = dvit_model_config(dump->model);
    return 3 * (size_t)config->image_width * (size_t)config->image_height;
}

static enum dvit_status allocate(struct dump *dump, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *config = dvit_model_config(dump->model);
    size_t count = (size_t)dump->arguments->count;
    struct dvit_session_info info = dvit_session_describe(dump->session);
    dump->pixels = calloc(count * image_floats(dump), sizeof *dump->pixels);
    dump->logits = calloc(count * (size_t)config->classes, sizeof *dump->logits);
    bool good = dump->pixels && dump->logits;
    dump->stages = dvit_session_stages(dump->session);
    for (int s = 0; s < dump->stages; s++) {
        dump->kept_count[s] = dvit_config_kept(config, info.keep, s);
        dump->kept[s] = calloc(count * (size_t)dump->kept_count[s], sizeof *dump->kept[s]);
        good = good && dump->kept[s];
    }
    if (!good)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for %zu images", count);
done:
    return status;
}

static enum dvit_status open_model(struct dump *dump, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_session_options options = dvit_session_options_default();
    options.max_batch = MAX_BATCH;
    DVIT_TRY(dvit_model_load(&dump->model, dump->arguments->model, &dump->arguments->load, error));
    DVIT_TRY(dvit_session_create(&dump->session, dump->model, &options, error));
    DVIT_TRY(allocate(dump, error));
done:
    return status;
}

static enum dvit_status prepare(struct dump *dump, int index, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_decode_options decode = dvit_decode_options_default();
    struct dvit_image image = {0};
    DVIT_TRY(dvit_image_load(&image, dump->arguments->images[index], &decode, NULL, error));
    DVIT_TRY(dvit_preprocess_run(dvit_model_preprocess(dump->model), &image,
                                 dump->pixels + (size_t)index * image_floats(dump), error));
done:
    dvit_image_free(&image);
    return status;
}

/* The images from `first` on, at most MAX_BATCH. */
static enum dvit_status run_batch(struct dump *dump, int first, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t classes = (size_t)dvit_model_config(dump->model)->classes;
    int left = dump->arguments->count - first, count = left < MAX_BATCH ? left : MAX_BATCH;
    for (int i = 0; i < count; i++)
        DVIT_TRY(prepare(dump, first + i, error));
    DVIT_TRY(dvit_session_run(dump->session, dump->pixels + (size_t)first * image_floats(dump),
                              count, dump->logits + (size_t)first * classes, error));
    for (int i = 0; i < count; i++)
        for (int s = 0; s < dump->stages; s++) {
            int got;
            size_t expected = (size_t)dump->kept_count[s];
            const int *kept = dvit_session_kept(dump->session, i, s, &got);
            if ((size_t)got != expected)
                DVIT_FAIL(error, DVIT_ERROR_MISMATCH, "stage %d kept %d patches, expected %zu", s,
                          got, expected);
            memcpy(dump->kept[s] + (size_t)(first + i) * expected, kept, expected * sizeof *kept);
        }
done:
    return status;
}

/* ---- writing ---- */

static enum dvit_status save(const struct dump *dump, struct dvit_error *error)
{
    const struct dvit_config *config = dvit_model_config(dump->model);
    uint64_t count = (uint64_t)dump->arguments->count;
    struct dvit_safetensors_entry entries[MAX_ENTRIES] = {
        {.name = "pixels",
         .dtype = DVIT_DTYPE_F32,
         .rank = 4,
         .shape = {count, 3, (uint64_t)config->image_height, (uint64_t)config->image_width},
         .data = dump->pixels},
        {.name = "logits",
         .dtype = DVIT_DTYPE_F32,
         .rank = 2,
         .shape = {count, (uint64_t)config->classes},
         .data = dump->logits},
    };
    char names[DVIT_MAX_STAGES][16], parameters[32];
    for (int s = 0; s < dump->stages; s++) {
        snprintf(names[s], sizeof names[s], "kept.%d", s);
        entries[2 + s] =
            (struct dvit_safetensors_entry){.name = names[s],
                                            .dtype = DVIT_DTYPE_I32,
                                            .rank = 2,
                                            .shape = {count, (uint64_t)dump->kept_count[s]},
                                            .data = dump->kept[s]};
    }
    snprintf(parameters, sizeof parameters, "%zu", dvit_model_parameters(dump->model));
    struct dvit_safetensors_pair pair = {"parameters", parameters};
    return dvit_safetensors_write(dump->arguments->out, entries, 2 + (size_t)dump->stages, &pair, 1,
                                  error);
}

static void dump_free(struct dump *dump)
{
    free(dump->pixels);
    free(dump->logits);
    for (int s = 0; s < dump->stages; s++)
        free(dump->kept[s]);
    dvit_session_free(dump->session);
    dvit_model_free(dump->model);
}

static void print_problem(void *context, const char *sentence)
{
    (void)context;
    fprintf(stderr, "dump_logits: %s\n", sentence);
}

int main(int count, char **texts)
{
    struct arguments arguments = {.load = {.problem = print_problem}};
    struct dump dump = {.arguments = &arguments};
    struct dvit_error error = {0};
    if (!parse(count - 1, texts + 1, &arguments)) {
        fprintf(stderr, "usage: dump_logits MODEL IMAGE... --out FILE [--heads H] [--image WxH]"
                        " [--keep R] [--preprocess NAME] [--average]\n");
        return 2;
    }
    enum dvit_status status = open_model(&dump, &error);
    for (int first = 0; status == DVIT_OK && first < arguments.count; first += MAX_BATCH)
        status = run_batch(&dump, first, &error);
    if (status == DVIT_OK)
        status = save(&dump, &error);
    if (status != DVIT_OK)
        fprintf(stderr, "dump_logits: %s\n", error.message);
    dump_free(&dump);
    return status != DVIT_OK;
}

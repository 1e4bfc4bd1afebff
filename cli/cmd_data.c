/* `dvit data`: what a data set holds, which of its images cannot be read, contact sheets. */
#include <stdio.h>
#include <stdlib.h>

#include "dvit/image.h"
#include "augmented_sheet.h"
#include "json_lines.h"
#include "print.h"
#include "sheet.h"
#include "workbench.h"

enum { LOOKED_AT = 100 }; /* images whose size is looked up without --check */

struct bad_image {
    size_t index;
    struct dvit_error error;
};

struct survey {
    const char *split;
    struct dvit_dataset *set;
    size_t *class_images; /* [classes] */
    size_t read;          /* images decoded */
    int min_width, max_width, min_height, max_height;
    struct bad_image *bad;
    size_t bad_count;
};

static bool add_bad(struct survey *survey, size_t index, const struct dvit_error *error)
{
    struct bad_image *bad = realloc(survey->bad, (survey->bad_count + 1) * sizeof *bad);
    if (!bad)
        return false;
    survey->bad = bad;
    bad[survey->bad_count++] = (struct bad_image){.index = index, .error = *error};
    return true;
}

static void note_size(struct survey *survey, int width, int height)
{
    if (survey->read++ == 0) {
        survey->min_width = survey->max_width = width;
        survey->min_height = survey->max_height = height;
        return;
    }
    if (width < survey->min_width)
        survey->min_width = width;
    if (width > survey->max_width)
        survey->max_width = width;
    if (height < survey->min_height)
        survey->min_height = height;
    if (height > survey->max_height)
        survey->max_height = height;
}

static bool read_images(struct survey *survey, bool all)
{
    size_t size = dvit_dataset_size(survey->set);
    size_t count = all || size < LOOKED_AT ? size : LOOKED_AT;
    struct cli_counter counter = {.what = survey->split};
    for (size_t i = 0; i < count; i++) {
        size_t index = all ? i : i * size / count;
        struct dvit_sample sample = {0};
        struct dvit_error error = {0};
        bool fits = true;
        if (dvit_dataset_read(survey->set, index, &sample, &error) == DVIT_OK)
            note_size(survey, sample.image.width, sample.image.height);
        else
            fits = add_bad(survey, index, &error);
        dvit_sample_free(&sample);
        if (!fits)
            return false;
        cli_progress_count(&counter, i + 1, count);
    }
    cli_progress_clear();
    return true;
}

static int make_survey(struct survey *survey, const struct cli_options *options)
{
    size_t classes = (size_t)dvit_dataset_classes(survey->set);
    survey->class_images = calloc(classes, sizeof *survey->class_images);
    bool fits = survey->class_images != NULL;
    for (size_t i = 0; fits && i < dvit_dataset_size(survey->set); i++)
        survey->class_images[dvit_dataset_label(survey->set, i)]++;
    if (!fits || !read_images(survey, options->check)) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    return CLI_EXIT_OK;
}

static void print_json(const struct survey *survey, const struct cli_options *options)
{
    struct dvit_dataset *set = survey->set;
    struct cli_json json = cli_json_begin(stdout);
    cli_json_string(&json, "data", options->data);
    cli_json_string(&json, "split", survey->split);
    cli_json_integer(&json, "images", (long long)dvit_dataset_size(set));
    cli_json_open(&json, "classes", '[');
    for (int i = 0; i < dvit_dataset_classes(set); i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_string(&json, "label", dvit_dataset_class_name(set, i));
        cli_json_integer(&json, "images", (long long)survey->class_images[i]);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_string(&json, "fingerprint", dvit_dataset_fingerprint(set));
    cli_json_bool(&json, "masks", dvit_dataset_has_masks(set));
    cli_json_integer(&json, "read", (long long)survey->read);
    cli_json_integer(&json, "rotated", (long long)dvit_dataset_rotated(set));
    cli_json_integer(&json, "min_width", survey->min_width);
    cli_json_integer(&json, "max_width", survey->max_width);
    cli_json_integer(&json, "min_height", survey->min_height);
    cli_json_integer(&json, "max_height", survey->max_height);
    cli_json_open(&json, "unreadable", '[');
    for (size_t i = 0; i < survey->bad_count; i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_string(&json, "file", dvit_dataset_item_name(set, survey->bad[i].index));
        cli_json_string(&json, "error", survey->bad[i].error.message);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_end(&json);
}

static void print_text(const struct survey *survey, bool checked)
{
    struct dvit_dataset *set = survey->set;
    int classes = dvit_dataset_classes(set);
    cli_print("%s: %zu images in %d classes, fingerprint %s%s\n", survey->split,
              dvit_dataset_size(set), classes, dvit_dataset_fingerprint(set),
              dvit_dataset_has_masks(set) ? ", object masks known" : "");
    if (survey->read > 0)
        printf("  width %d to %d, height %d to %d pixels (of %zu images read)\n", survey->min_width,
               survey->max_width, survey->min_height, survey->max_height, survey->read);
    if (dvit_dataset_rotated(set) > 0)
        printf("  %zu images ask for a turn (EXIF orientation), which is not obeyed here\n",
               dvit_dataset_rotated(set));
    for (int i = 0; i < classes; i++)
        cli_print("  %7zu  %s\n", survey->class_images[i], dvit_dataset_class_name(set, i));
    if (checked && survey->bad_count == 0)
        printf("  every image can be read\n");
    for (size_t i = 0; i < survey->bad_count; i++)
        cli_print("  unreadable: %s\n", survey->bad[i].error.message);
}

static int survey_split(struct dvit_dataset *set, const char *split,
                        const struct cli_options *options)
{
    struct survey survey = {.split = split, .set = set};
    int code = make_survey(&survey, options);
    if (code == CLI_EXIT_OK && options->json)
        print_json(&survey, options);
    else if (code == CLI_EXIT_OK)
        print_text(&survey, options->check);
    if (code == CLI_EXIT_OK && survey.bad_count > 0)
        code = CLI_EXIT_SOME_FAILED;
    free(survey.class_images);
    free(survey.bad);
    return code;
}

/* Whether the options say how training varies its images. */
static bool asks_for_augmentation(const struct cli_options *options)
{
    const struct dvit_train_options *o = &options->train, usual = dvit_train_options_dense();
    return options->augmented || o->augment != usual.augment || o->flip != usual.flip ||
           o->rand_augment != usual.rand_augment || o->color_jitter != usual.color_jitter ||
           o->erasing != usual.erasing || o->mixup != usual.mixup || o->cutmix != usual.cutmix ||
           o->repeats != usual.repeats;
}

static int write_preview(struct dvit_dataset *train, const struct cli_options *options)
{
    if (asks_for_augmentation(options))
        return cli_augmented_sheet_write(train, options);
    return cli_sheet_write(options->preview, train, (size_t)options->count);
}

int cli_cmd_data(const struct cli_options *options)
{
    struct dvit_dataset *train = NULL, *validation = NULL;
    if (asks_for_augmentation(options) && !options->preview) {
        cli_error("the options of augmentation say what --preview shows: name its PNG");
        return CLI_EXIT_USAGE;
    }
    int code = options->preview ? cli_check_file(options->preview) : CLI_EXIT_OK;
    if (code == CLI_EXIT_OK)
        code = cli_dataset_open(&train, options->data, "train", 0);
    if (code == CLI_EXIT_OK)
        code = cli_dataset_open(&validation, options->data, "val", 0);
    if (code == CLI_EXIT_OK) {
        cli_dataset_warn(train, NULL);
        cli_dataset_warn(validation, train);
        cli_dataset_warn_of_same(train, validation, options->data);
    }
    if (code == CLI_EXIT_OK && options->preview)
        code = write_preview(train, options);
    if (code == CLI_EXIT_OK) {
        code = survey_split(train, "train", options);
        int second = survey_split(validation, "val", options);
        code = code == CLI_EXIT_OK ? second : code;
    }
    cli_dataset_tell_grey16(train, validation);
    dvit_dataset_free(train);
    dvit_dataset_free(validation);
    return code;
}

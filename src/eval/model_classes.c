/* A data set opened for a model: its labels are the model's class indices. How names are matched is
 * told in src/data/class_lookup.c; here is only what a model's classes are called. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "dvit/eval.h"
#include "dvit/labels.h"

/* Labels "0", "1", … are no names: a model that was never told any has them. */
static bool are_numbers(const char *const *labels, int count)
{
    for (int k = 0; k < count; k++) {
        char number[16];
        snprintf(number, sizeof number, "%d", k);
        if (strcmp(labels[k], number) != 0)
            return false;
    }
    return true;
}

/* Label sets of ImageNet differ in wording and in how many synonyms they give, never in order: in
 * any other order hardly one label would begin as ours does. */
static bool are_imagenet(const char *const *labels, int count)
{
    int alike = 0;
    if (count != DVIT_IMAGENET_CLASSES)
        return false;
    for (int k = 0; k < count; k++) {
        const char *label = dvit_imagenet_label(k);
        alike += strncmp(labels[k], label, strlen(label)) == 0;
    }
    return alike > count / 2;
}

enum dvit_status dvit_dataset_open_for(struct dvit_dataset **out, const struct dvit_model *model,
                                       const char *spec, const char *split,
                                       const struct dvit_dataset_options *options,
                                       struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, model);
    enum dvit_status status = DVIT_OK;
    struct dvit_dataset_options chosen = options ? *options : dvit_dataset_options_default();
    struct dvit_class_names classes = {.count = dvit_model_config(model)->classes};
    size_t count = (size_t)classes.count;
    const char **labels = calloc(count, sizeof *labels), **ids = calloc(count, sizeof *ids);
    if (!labels || !ids)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "data set: out of memory for the names of %zu classes",
                  count);
    for (int k = 0; k < classes.count; k++) {
        labels[k] = dvit_model_label(model, k);
        ids[k] = dvit_imagenet_wnid(k);
    }
    bool numbered = are_numbers(labels, classes.count);
    if (!numbered)
        classes.names = labels;
    if (numbered ? count == DVIT_IMAGENET_CLASSES : are_imagenet(labels, classes.count))
        classes.ids = ids;
    chosen.classes = &classes;
    DVIT_TRY(dvit_dataset_open(out, spec, split, &chosen, error));
done:
    free(labels);
    free(ids);
    return status;
}

/* The data sets dvit makes itself: reads "builtin:scenes,key=value,…" and renders on demand.
 *
 * Keys and their ranges are one table; drawing is scenes.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset.h"

enum scene_key { KEY_IMAGE, KEY_CLASSES, KEY_TRAIN, KEY_VAL, KEY_SEED, KEY_COUNT };

static const struct {
    const char *name;
    long long low, high;
} keys[] = {
    [KEY_IMAGE] = {"image", DVIT_SCENE_MIN_SIDE, DVIT_SCENE_MAX_SIDE},
    [KEY_CLASSES] = {"classes", DVIT_SCENE_MIN_CLASSES, DVIT_SCENE_MAX_CLASSES},
    [KEY_TRAIN] = {"train", 1, 10000000},
    [KEY_VAL] = {"val", 1, 10000000},
    [KEY_SEED] = {"seed", 0, 9223372036854775807},
};
_Static_assert(sizeof keys / sizeof *keys == KEY_COUNT, "one row per key");

#define SCENES       "builtin:scenes"
#define SCENES_USAGE "image, classes, train, val, seed"

/* One "key=value" of `length` bytes into values[]. */
static enum dvit_status parse_pair(const char *text, size_t length, long long values[KEY_COUNT],
                                   bool seen[KEY_COUNT], struct dvit_error *error)
{
    const char *equals = memchr(text, '=', length);
    int shown = (int)(length > 60 ? 60 : length);
    if (!equals)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              SCENES ": \"%.*s\" is not key=value; keys: " SCENES_USAGE, shown,
                              text);
    size_t name_length = (size_t)(equals - text);
    int key = 0;
    while (key < KEY_COUNT && (strlen(keys[key].name) != name_length ||
                               memcmp(keys[key].name, text, name_length) != 0))
        key++;
    if (key == KEY_COUNT)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              SCENES ": unknown key \"%.*s\"; keys: " SCENES_USAGE,
                              (int)(name_length > 60 ? 60 : name_length), text);
    if (seen[key])
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, SCENES ": %s is given twice",
                              keys[key].name);
    seen[key] = true;
    char digits[24] = "", *end = digits;
    size_t count = length - name_length - 1;
    long long value = -1;
    if (count && count < sizeof digits && strspn(equals + 1, "0123456789") >= count) {
        memcpy(digits, equals + 1, count);
        errno = 0;
        value = strtoll(digits, &end, 10);
    }
    if (end == digits || *end || errno == ERANGE || value < keys[key].low || value > keys[key].high)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              SCENES ": %s is \"%.*s\", expected an integer in %lld … %lld",
                              keys[key].name, (int)(count > 40 ? 40 : count), equals + 1,
                              keys[key].low, keys[key].high);
    values[key] = value;
    return DVIT_OK;
}

/* Pairs are separated by commas; the first may follow a comma or a colon. */
static enum dvit_status parse_scenes(const char *spec, long long values[KEY_COUNT],
                                     struct dvit_error *error)
{
    bool seen[KEY_COUNT] = {false};
    const char *at = spec + strlen(SCENES);
    if (strncmp(spec, SCENES, strlen(SCENES)) != 0 || (*at && *at != ',' && *at != ':'))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "data set \"%s\" is not built in, expected " SCENES, spec);
    while (*at) {
        size_t length = strcspn(++at, ",");
        enum dvit_status status = parse_pair(at, length, values, seen, error);
        if (status != DVIT_OK)
            return status;
        at += length;
    }
    return DVIT_OK;
}

static enum dvit_status read_scene(struct dvit_dataset *dataset, size_t index,
                                   struct dvit_sample *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t side = (size_t)dataset->scenes.side;
    DVIT_TRY(dvit_image_create(&out->image, dataset->scenes.side, dataset->scenes.side, error));
    out->mask = malloc(side * side);
    if (!out->mask)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory",
                  dvit_dataset_item_name(dataset, index));
    dvit_scene_render(&dataset->scenes, (uint32_t)index, out->image.pixels, out->mask);
done:
    if (status != DVIT_OK)
        dvit_sample_free(out);
    return status;
}

enum dvit_status dvit_dataset_open_builtin(struct dvit_dataset *dataset, const char *spec,
                                           const char *split, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    long long values[KEY_COUNT] = {dataset->options.scene_side, 8, 4000, 1000, 0};
    bool train = strcmp(split, "train") == 0;
    DVIT_TRY(parse_scenes(spec, values, error));
    struct dvit_scene_style style = {.seed = (uint64_t)values[KEY_SEED],
                                     .split = train ? 0 : 1,
                                     .side = (int)values[KEY_IMAGE],
                                     .classes = (int)values[KEY_CLASSES]};
    dataset->scenes = style;
    dataset->has_masks = true;
    dataset->read = read_scene;
    for (int i = 0; i < style.classes; i++)
        DVIT_TRY(dvit_dataset_add_class(dataset, dvit_scene_class_name(i), error));
    long long count = values[train ? KEY_TRAIN : KEY_VAL];
    for (long long i = 0; i < count; i++) {
        char name[48];
        snprintf(name, sizeof name, "scenes/%s/%lld", split, i);
        DVIT_TRY(dvit_dataset_add_item(dataset, name, name, dvit_scene_label(&style, (uint32_t)i),
                                       (uint64_t)style.side * (uint64_t)style.side * 3, error));
    }
    char seed[32];
    snprintf(seed, sizeof seed, "seed=%lld", values[KEY_SEED]);
    dvit_dataset_hash(dataset, seed, strlen(seed));
done:
    return status;
}

/* What all data sets share: tables, fingerprint, reading through the cache, the public getters.
 *
 * The cache is a table of pointers that go from NULL to a decoded image once and stay: readers need
 * one atomic load, writers one compare-and-swap; no lock. When its budget is spent, further images
 * are decoded at each use. It knows nothing of batches or augmentation: that is loader.c. */
#define _GNU_SOURCE
#include "data/dataset.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "data/class_lookup.h"

#define FNV_OFFSET 0xcbf29ce484222325u /* FNV-1a, 64 bits */
#define FNV_PRIME  0x100000001b3u

void dvit_dataset_hash(struct dvit_dataset *dataset, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t hash = dataset->hash;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    dataset->hash = hash;
}

static void hash_number(struct dvit_dataset *dataset, uint64_t value)
{
    unsigned char bytes[8]; /* little endian, so that the fingerprint is the same everywhere */
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    dvit_dataset_hash(dataset, bytes, sizeof bytes);
}

/* Room for `extra` more elements; capacity doubles. False when memory is out. */
static bool reserve(void **array, size_t *capacity, size_t used, size_t extra, size_t element_bytes)
{
    if (extra > SIZE_MAX / 2 / element_bytes - used)
        return false;
    if (used + extra <= *capacity)
        return true;
    size_t grown = *capacity * 2 > used + extra ? *capacity * 2 : used + extra + 64;
    void *larger = realloc(*array, grown * element_bytes);
    if (!larger)
        return false;
    *array = larger;
    *capacity = grown;
    return true;
}

enum dvit_status dvit_dataset_add_class(struct dvit_dataset *dataset, const char *name,
                                        struct dvit_error *error)
{
    if (dataset->classes >= DVIT_MAX_CLASSES)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "data set: more than %d classes",
                              DVIT_MAX_CLASSES);
    char **larger = realloc(dataset->class_names, ((size_t)dataset->classes + 1) * sizeof *larger);
    if (larger)
        dataset->class_names = larger;
    char *copy = larger ? strdup(name) : NULL;
    if (!copy)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "data set: out of memory for class \"%s\"",
                              name);
    dataset->class_names[dataset->classes++] = copy;
    dvit_dataset_hash(dataset, name, strlen(name) + 1);
    return DVIT_OK;
}

enum dvit_status dvit_dataset_add_item(struct dvit_dataset *dataset, const char *name,
                                       const char *relative, int label, uint64_t size_bytes,
                                       struct dvit_error *error)
{
    size_t length = strlen(name) + 1;
    if (dataset->size >= DVIT_MAX_ITEMS)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "data set: more than %d images",
                              DVIT_MAX_ITEMS);
    void *items = dataset->items, *names = dataset->names;
    bool fits = reserve(&items, &dataset->item_capacity, dataset->size, 1, sizeof *dataset->items);
    dataset->items = items;
    fits = fits && reserve(&names, &dataset->names_capacity, dataset->names_used, length, 1);
    dataset->names = names;
    if (!fits)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "data set: out of memory for image \"%s\"",
                              name);
    memcpy(dataset->names + dataset->names_used, name, length);
    dataset->items[dataset->size++] = (struct dvit_item){dataset->names_used, label};
    dataset->names_used += length;
    dvit_dataset_hash(dataset, relative, strlen(relative) + 1);
    hash_number(dataset, (uint64_t)label);
    hash_number(dataset, size_bytes);
    return DVIT_OK;
}

enum dvit_status dvit_dataset_warn(struct dvit_dataset *dataset, struct dvit_error *error,
                                   const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = dvit_decimal_print_list(&text, format, arguments);
    va_end(arguments);
    char **larger = NULL;
    if (length >= 0)
        larger = realloc(dataset->warnings, (dataset->warning_count + 1) * sizeof *larger);
    if (!larger) {
        if (length >= 0)
            free(text);
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "data set: out of memory for a warning");
    }
    dataset->warnings = larger;
    dataset->warnings[dataset->warning_count++] = text;
    return DVIT_OK;
}

struct dvit_dataset_options dvit_dataset_options_default(void)
{
    return (struct dvit_dataset_options){.cache_bytes = (size_t)512 << 20, .scene_side = 64};
}

static enum dvit_status check_options(const struct dvit_dataset_options *options, const char *split,
                                      struct dvit_error *error)
{
    if (!split || (strcmp(split, "train") != 0 && strcmp(split, "val") != 0))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "data set: split is \"%s\", expected \"train\" or \"val\"",
                              split ? split : "(none)");
    if (options->scene_side < DVIT_SCENE_MIN_SIDE || options->scene_side > DVIT_SCENE_MAX_SIDE)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "data set: scene_side is %d, expected %d … %d", options->scene_side,
                              DVIT_SCENE_MIN_SIDE, DVIT_SCENE_MAX_SIDE);
    if (options->classes &&
        (options->classes->count < 1 || options->classes->count > DVIT_MAX_CLASSES))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "data set: %d classes are given, expected 1 to %d",
                              options->classes->count, DVIT_MAX_CLASSES);
    return DVIT_OK;
}

static enum dvit_status open_kind(struct dvit_dataset *dataset, const char *spec, const char *split,
                                  struct dvit_error *error)
{
    bool is_builtin = strncmp(spec, "builtin:", 8) == 0;
    if (dataset->options.labels_file && (is_builtin || dvit_dataset_is_cifar(spec)))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "\"%s\": has labels of its own, \"%s\" is for a flat folder of "
                              "images",
                              spec, dataset->options.labels_file);
    if (is_builtin)
        return dvit_dataset_open_builtin(dataset, spec, split, error);
    if (dvit_dataset_is_cifar(spec))
        return dvit_dataset_open_cifar(dataset, spec, split, error);
    return dvit_dataset_open_folder(dataset, spec, split, error);
}

/* What is only needed where images are decoded: nothing for resident pixels. */
static enum dvit_status prepare_cache(struct dvit_dataset *dataset, struct dvit_error *error)
{
    atomic_init(&dataset->cache_left_bytes, dataset->options.cache_bytes);
    atomic_init(&dataset->turned_count, 0);
    atomic_init(&dataset->grey16_count, 0);
    if (dataset->resident)
        return DVIT_OK;
    if (dataset->options.cache_bytes)
        dataset->cache = calloc(dataset->size, sizeof *dataset->cache);
    dataset->peculiar = calloc(dataset->size, sizeof *dataset->peculiar);
    if ((dataset->options.cache_bytes && !dataset->cache) || !dataset->peculiar)
        return dvit_error_set(error, DVIT_ERROR_MEMORY,
                              "data set: out of memory for a table of %zu images", dataset->size);
    return DVIT_OK;
}

static enum dvit_status begin(struct dvit_dataset **out, const struct dvit_dataset_options *options,
                              struct dvit_error *error)
{
    struct dvit_dataset *dataset = calloc(1, sizeof *dataset);
    *out = dataset;
    if (!dataset)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "data set: out of memory");
    dataset->options = options ? *options : dvit_dataset_options_default();
    dataset->hash = FNV_OFFSET;
    return DVIT_OK;
}

/* When all items are known. */
static enum dvit_status finish(struct dvit_dataset *dataset, struct dvit_error *error)
{
    dataset->options.classes = NULL; /* borrowed for the opening only */
    dataset->options.labels_file = NULL;
    snprintf(dataset->fingerprint, sizeof dataset->fingerprint, "%016" PRIx64, dataset->hash);
    return prepare_cache(dataset, error);
}

enum dvit_status dvit_dataset_open_files(struct dvit_dataset **out, const char *const *paths,
                                         size_t count, const struct dvit_dataset_options *options,
                                         struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, paths);
    enum dvit_status status = DVIT_OK;
    struct dvit_dataset *dataset = NULL;
    DVIT_TRY(begin(&dataset, options, error));
    DVIT_TRY(dvit_dataset_open_list(dataset, paths, count, error));
    DVIT_TRY(finish(dataset, error));
    *out = dataset;
    dataset = NULL;
done:
    dvit_dataset_free(dataset);
    return status;
}

enum dvit_status dvit_dataset_open(struct dvit_dataset **out, const char *spec, const char *split,
                                   const struct dvit_dataset_options *options,
                                   struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out);
    enum dvit_status status = DVIT_OK;
    struct dvit_dataset *dataset = NULL;
    DVIT_TRY(begin(&dataset, options, error));
    DVIT_TRY(check_options(&dataset->options, split, error));
    if (!spec || !*spec)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "data set: no name given, expected a folder or builtin:scenes");
    DVIT_TRY(open_kind(dataset, spec, split, error));
    if (dataset->options.classes && !dataset->options.labels_file)
        DVIT_TRY(dvit_dataset_match_classes(dataset, spec, dataset->options.classes, error));
    DVIT_TRY(finish(dataset, error));
    *out = dataset;
    dataset = NULL;
done:
    dvit_dataset_free(dataset);
    return status;
}

void dvit_dataset_free(struct dvit_dataset *dataset)
{
    if (!dataset)
        return;
    for (size_t i = 0; dataset->cache && i < dataset->size; i++) {
        struct dvit_sample *entry = atomic_load(&dataset->cache[i]);
        dvit_sample_free(entry);
        free(entry);
    }
    for (int i = 0; i < dataset->classes; i++)
        free(dataset->class_names[i]);
    for (size_t i = 0; i < dataset->warning_count; i++)
        free(dataset->warnings[i]);
    free((void *)dataset->cache);
    free((void *)dataset->peculiar);
    free(dataset->resident);
    free(dataset->class_names);
    free(dataset->warnings);
    free(dataset->items);
    free(dataset->names);
    free(dataset);
}

size_t dvit_dataset_size(const struct dvit_dataset *dataset)
{
    if (!dataset)
        return 0;
    return dataset->size;
}

int dvit_dataset_classes(const struct dvit_dataset *dataset)
{
    if (!dataset)
        return 0;
    return dataset->classes;
}

const char *dvit_dataset_class_name(const struct dvit_dataset *dataset, int label)
{
    return dataset && label >= 0 && label < dataset->classes ? dataset->class_names[label] : NULL;
}

const char *dvit_dataset_item_name(const struct dvit_dataset *dataset, size_t index)
{
    return dataset && index < dataset->size ? dataset->names + dataset->items[index].name : NULL;
}

int dvit_dataset_label(const struct dvit_dataset *dataset, size_t index)
{
    return dataset && index < dataset->size ? dataset->items[index].label : -1;
}

bool dvit_dataset_has_masks(const struct dvit_dataset *dataset)
{
    if (!dataset)
        return false;
    return dataset->has_masks;
}

const char *dvit_dataset_fingerprint(const struct dvit_dataset *dataset)
{
    if (!dataset)
        return NULL;
    return dataset->fingerprint;
}

const char *dvit_dataset_warning(const struct dvit_dataset *dataset, size_t index)
{
    return dataset && index < dataset->warning_count ? dataset->warnings[index] : NULL;
}

size_t dvit_dataset_rotated(const struct dvit_dataset *dataset)
{
    if (!dataset)
        return 0;
    return atomic_load(&dataset->turned_count);
}

size_t dvit_dataset_grey16(const struct dvit_dataset *dataset)
{
    return dataset ? atomic_load(&dataset->grey16_count) : 0;
}

void dvit_sample_free(struct dvit_sample *sample)
{
    if (!sample)
        return;
    dvit_image_free(&sample->image);
    free(sample->mask);
    *sample = (struct dvit_sample){0};
}

static bool spend(atomic_size_t *left, size_t cost)
{
    size_t now = atomic_load_explicit(left, memory_order_relaxed);
    while (cost <= now)
        if (atomic_compare_exchange_weak(left, &now, now - cost))
            return true;
    return false;
}

/* Moves `sample` into the cache and returns the entry, or NULL (sample untouched) when it stays the
 * caller's: no budget, no memory, or another thread was first. */
static const struct dvit_sample *keep(struct dvit_dataset *dataset, size_t index,
                                      struct dvit_sample *sample)
{
    size_t area = (size_t)sample->image.width * (size_t)sample->image.height;
    size_t cost = area * (sample->mask ? 4 : 3) + sizeof *sample;
    if (!dataset->cache || !spend(&dataset->cache_left_bytes, cost))
        return NULL;
    struct dvit_sample *entry = malloc(sizeof *entry), *none = NULL;
    if (entry) {
        *entry = *sample;
        if (atomic_compare_exchange_strong(&dataset->cache[index], &none, entry)) {
            *sample = (struct dvit_sample){0};
            return entry;
        }
    }
    free(entry);
    atomic_fetch_add(&dataset->cache_left_bytes, cost);
    return NULL;
}

static void view_sample(struct dvit_view *view, const struct dvit_sample *sample)
{
    view->image = sample->image;
    view->mask = sample->mask;
}

enum dvit_status dvit_dataset_view(struct dvit_dataset *dataset, size_t index,
                                   struct dvit_view *out, struct dvit_error *error)
{
    *out = (struct dvit_view){0};
    if (index >= dataset->size)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "data set: image %zu of %zu", index,
                              dataset->size);
    out->label = dataset->items[index].label;
    if (dataset->resident) {
        size_t side = (size_t)dataset->resident_side;
        out->image = (struct dvit_image){dataset->resident_side, dataset->resident_side,
                                         dataset->resident + index * side * side * 3};
        return DVIT_OK;
    }
    const struct dvit_sample *entry =
        dataset->cache ? atomic_load_explicit(&dataset->cache[index], memory_order_acquire) : NULL;
    if (!entry) {
        enum dvit_status status = dataset->read(dataset, index, &out->own, error);
        if (status != DVIT_OK)
            return status;
        entry = keep(dataset, index, &out->own);
    }
    view_sample(out, entry ? entry : &out->own);
    return DVIT_OK;
}

void dvit_view_release(struct dvit_view *view)
{
    dvit_sample_free(&view->own);
    *view = (struct dvit_view){0};
}

enum dvit_status dvit_dataset_read(struct dvit_dataset *dataset, size_t index,
                                   struct dvit_sample *out, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, dataset);
    enum dvit_status status = DVIT_OK;
    struct dvit_view view = {0};
    DVIT_TRY(dvit_dataset_view(dataset, index, &view, error));
    if (view.own.image.pixels) {
        *out = view.own;
        view.own = (struct dvit_sample){0};
    } else {
        DVIT_TRY(dvit_image_copy(&out->image, &view.image, error));
        size_t area = (size_t)view.image.width * (size_t)view.image.height;
        if (view.mask) {
            out->mask = malloc(area);
            if (!out->mask)
                DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory for its mask",
                          dvit_dataset_item_name(dataset, index));
            memcpy(out->mask, view.mask, area);
        }
    }
    out->label = view.label;
done:
    dvit_view_release(&view);
    if (status != DVIT_OK)
        dvit_sample_free(out);
    return status;
}

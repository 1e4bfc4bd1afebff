/* Data sets that are folders: one sub-folder per class, images inside, nested as deep as you like;
 * or all images in one flat folder, whose labels then come from a list (label_list.c).
 *
 * Opening lists names and sizes only; whether a file is an image is found out when it is read.
 * Files whose names do not end like an image's are passed over, as are names with a leading dot. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "data/dataset.h"

enum { MAX_NESTING = 16 }; /* folders below a class; a link that leads back up ends here */

/* What is met on the way and worth a warning. */
struct survey {
    size_t root_length; /* of the path whose classes are read, with its slash */
    size_t unsupported;
    char *first_unsupported;
};

static bool ends_like(const char *name, const char *const *endings)
{
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && endings[i]; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static bool is_image_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png",  ".ppm",
                                          ".pgm", ".bmp",  ".webp", NULL};
    return ends_like(name, endings);
}

static bool is_unsupported_image_name(const char *name)
{
    static const char *const endings[] = {".tif",  ".tiff", ".gif", ".avif",
                                          ".heic", ".jxl",  ".jp2", NULL};
    return ends_like(name, endings);
}

enum dvit_status dvit_dataset_read_file(struct dvit_dataset *dataset, size_t index,
                                        struct dvit_sample *out, struct dvit_error *error)
{
    struct dvit_decode_options options = dvit_decode_options_default();
    struct dvit_decode_info info = {0};
    options.apply_orientation = dataset->options.orient;
    enum dvit_status status = dvit_image_load(&out->image, dvit_dataset_item_name(dataset, index),
                                              &options, &info, error);
    if (status == DVIT_OK && info.orientation > 1 &&
        !atomic_exchange_explicit(&dataset->turned[index], 1, memory_order_relaxed))
        atomic_fetch_add(&dataset->turned_count, 1);
    return status;
}

static enum dvit_status add_file(struct dvit_dataset *dataset, struct survey *survey,
                                 const char *path, const char *name, int label, uint64_t size_bytes,
                                 struct dvit_error *error)
{
    if (is_image_name(name))
        return dvit_dataset_add_item(dataset, path, path + survey->root_length, label, size_bytes,
                                     error);
    if (is_unsupported_image_name(name) && survey->unsupported++ == 0) {
        survey->first_unsupported = strdup(path);
        if (!survey->first_unsupported)
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    }
    return DVIT_OK;
}

static enum dvit_status add_tree(struct dvit_dataset *dataset, struct survey *survey,
                                 const char *folder, int label, int depth, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    char *path = NULL;
    if (depth > MAX_NESTING)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                  "\"%s\": more than %d folders below a class (a link that leads back?)", folder,
                  MAX_NESTING);
    DVIT_TRY(dvit_folder_list(folder, &names, error));
    for (size_t i = 0; i < names.count; i++) {
        struct stat info;
        if (names.items[i][0] == '.')
            continue;
        free(path);
        path = dvit_path_join(folder, names.items[i]);
        if (!path)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
        if (stat(path, &info) != 0) /* a dead link: reading it will say so */
            info = (struct stat){.st_mode = S_IFREG};
        if (S_ISDIR(info.st_mode))
            DVIT_TRY(add_tree(dataset, survey, path, label, depth + 1, error));
        else if (S_ISREG(info.st_mode))
            DVIT_TRY(add_file(dataset, survey, path, names.items[i], label, (uint64_t)info.st_size,
                              error));
    }
done:
    free(path);
    dvit_names_free(&names);
    return status;
}

/* Names of the sub-folders of `path` in byte order, without those with a leading dot. */
static enum dvit_status list_classes(const char *path, struct dvit_names *out,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t kept = 0;
    DVIT_TRY(dvit_folder_list(path, out, error));
    for (size_t i = 0; i < out->count; i++) {
        char *name = out->items[i];
        char *joined = dvit_path_join(path, name);
        if (!joined)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
        bool is_class = name[0] != '.' && dvit_folder_exists(joined);
        free(joined);
        out->items[i] = out->items[kept]; /* swap, so that every name is still freed once */
        out->items[kept] = name;
        kept += is_class;
    }
    for (size_t i = kept; i < out->count; i++)
        free(out->items[i]);
    out->count = kept;
done:
    if (status != DVIT_OK)
        dvit_names_free(out);
    return status;
}

static enum dvit_status no_classes(const char *path, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    DVIT_TRY(dvit_folder_list(path, &names, error));
    if (names.count == 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "\"%s\": the folder is empty, expected one sub-folder per class", path);
    size_t images = 0;
    for (size_t i = 0; i < names.count; i++)
        images += names.items[i][0] != '.' && is_image_name(names.items[i]);
    DVIT_FAIL(error, DVIT_ERROR_FORMAT,
              "\"%s\": no class folders, expected one sub-folder per class; it has %zu images "
              "directly inside, which need a list of their labels",
              path, images);
done:
    dvit_names_free(&names);
    return status;
}

static enum dvit_status compare_classes(const char *root, const struct dvit_names *train,
                                        const struct dvit_names *val, struct dvit_error *error)
{
    size_t i = 0;
    while (i < train->count && i < val->count && strcmp(train->items[i], val->items[i]) == 0)
        i++;
    if (i == train->count && i == val->count)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "\"%s\": train/ has %zu classes and val/ %zu; the first that differs is "
                          "\"%s\" in train/, \"%s\" in val/",
                          root, train->count, val->count,
                          i < train->count ? train->items[i] : "(none)",
                          i < val->count ? val->items[i] : "(none)");
}

/* Fills `classes` from `path`/train and `path`/val as far as they exist and checks that they agree;
 * *base (malloc'ed) is the folder whose classes are to be read. */
static enum dvit_status find_split(const char *path, const char *split, char **base,
                                   struct dvit_names *classes, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names train = {0}, val = {0};
    char *train_path = dvit_path_join(path, "train"), *val_path = dvit_path_join(path, "val");
    if (!train_path || !val_path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    bool is_train = strcmp(split, "train") == 0;
    bool has_train = dvit_folder_exists(train_path), has_val = dvit_folder_exists(val_path);
    if (!has_train && !has_val) {
        *base = strdup(path);
        if (!*base)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
        DVIT_TRY(list_classes(path, classes, error));
        goto done;
    }
    if (is_train ? !has_train : !has_val)
        DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND, "\"%s\": has a %s/ folder but no %s/", path,
                  is_train ? "val" : "train", split);
    if (has_train)
        DVIT_TRY(list_classes(train_path, &train, error));
    if (has_val)
        DVIT_TRY(list_classes(val_path, &val, error));
    if (has_train && has_val)
        DVIT_TRY(compare_classes(path, &train, &val, error));
    *base = is_train ? train_path : val_path;
    *(is_train ? &train_path : &val_path) = NULL;
    *classes = is_train ? train : val;
    *(is_train ? &train : &val) = (struct dvit_names){0};
done:
    free(train_path);
    free(val_path);
    dvit_names_free(&train);
    dvit_names_free(&val);
    return status;
}

static enum dvit_status warn_unsupported(struct dvit_dataset *dataset, const struct survey *survey,
                                         const char *base, struct dvit_error *error)
{
    if (survey->unsupported == 0)
        return DVIT_OK;
    return dvit_dataset_warn(dataset, error,
                             "\"%s\": %zu files of kinds dvit does not read are passed over, the "
                             "first is \"%s\"",
                             base, survey->unsupported, survey->first_unsupported);
}

static enum dvit_status add_classes(struct dvit_dataset *dataset, struct survey *survey,
                                    const char *base, const struct dvit_names *classes,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t empty = 0;
    const char *first_empty = "";
    for (size_t i = 0; i < classes->count; i++)
        DVIT_TRY(dvit_dataset_add_class(dataset, classes->items[i], error));
    for (size_t i = 0; i < classes->count; i++) {
        size_t before = dataset->size;
        char *path = dvit_path_join(base, classes->items[i]);
        if (!path)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", base);
        status = add_tree(dataset, survey, path, (int)i, 0, error);
        free(path);
        if (status != DVIT_OK)
            goto done;
        if (dataset->size == before && empty++ == 0)
            first_empty = classes->items[i];
    }
    DVIT_TRY(warn_unsupported(dataset, survey, base, error));
    if (dataset->size == 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "\"%s\": no images in its %zu class folders (expected .jpg .jpeg .png .ppm .pgm "
                  ".bmp .webp; %zu files of unsupported kinds)",
                  base, classes->count, survey->unsupported);
    if (empty)
        DVIT_TRY(dvit_dataset_warn(dataset, error,
                                   "\"%s\": %zu of %zu classes have no images, the first is \"%s\"",
                                   base, empty, classes->count, first_empty));
done:
    return status;
}

/* Images that lie directly in `base`, in byte order of their names, with the labels of a list. */
static enum dvit_status add_flat(struct dvit_dataset *dataset, struct survey *survey,
                                 const char *base, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    char *path = NULL;
    DVIT_TRY(dvit_folder_list(base, &names, error));
    for (size_t i = 0; i < names.count; i++) {
        struct stat info = {0};
        if (names.items[i][0] == '.')
            continue;
        free(path);
        path = dvit_path_join(base, names.items[i]);
        if (!path)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", base);
        if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
            continue;
        DVIT_TRY(add_file(dataset, survey, path, names.items[i], 0, (uint64_t)info.st_size, error));
    }
    DVIT_TRY(warn_unsupported(dataset, survey, base, error));
    if (dataset->size == 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "\"%s\": no images directly in the folder, expected those of the list \"%s\"",
                  base, dataset->options.labels_file);
    DVIT_TRY(dvit_dataset_read_labels(dataset, survey->root_length, error));
done:
    free(path);
    dvit_names_free(&names);
    return status;
}

/* The folder of the split where there is one, else `path` itself; malloc'ed, NULL without memory.
 */
static char *flat_base(const char *path, const char *split)
{
    char *inner = dvit_path_join(path, split);
    if (!inner || dvit_folder_exists(inner))
        return inner;
    free(inner);
    return strdup(path);
}

enum dvit_status dvit_dataset_open_folder(struct dvit_dataset *dataset, const char *path,
                                          const char *split, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names classes = {0};
    struct survey survey = {0};
    char *base = NULL;
    bool is_flat = dataset->options.labels_file != NULL;
    if (dvit_file_exists(path))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "\"%s\": is a file, expected a folder (unpack an archive first)", path);
    if (!dvit_folder_exists(path))
        DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND, "\"%s\": no such folder", path);
    if (is_flat)
        base = flat_base(path, split);
    else
        DVIT_TRY(find_split(path, split, &base, &classes, error));
    if (!base)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    if (!is_flat && classes.count == 0)
        DVIT_TRY(no_classes(base, error));
    survey.root_length = strlen(base) + (base[strlen(base) - 1] != '/');
    dataset->read = dvit_dataset_read_file;
    if (is_flat)
        DVIT_TRY(add_flat(dataset, &survey, base, error));
    else
        DVIT_TRY(add_classes(dataset, &survey, base, &classes, error));
done:
    free(base);
    free(survey.first_unsupported);
    dvit_names_free(&classes);
    return status;
}

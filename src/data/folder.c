/* Data sets that are folders: one sub-folder per class, images inside, nested as deep as you like;
 * or all images in one flat folder, whose labels then come from a list (label_list.c).
 *
 * Opening lists names and sizes; whether a file is an image is dvit_file_kind's answer, and whether
 * it can be read is found out when it is read. What is passed over is counted and told. Which
 * folder is the split's: splits.c. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "data/dataset.h"
#include "data/image_tree.h"
#include "data/splits.h"
#include "image/decode.h"
#include "image/image_formats.h"

enum { MAX_KINDS = 16 }; /* endings of foreign images that are counted apart */

/* Files of one sort: how many, and the first. */
struct tally {
    size_t count;
    char *first; /* owned */
};

/* What is met on the way and worth a warning. */
struct survey {
    struct dvit_dataset *dataset;
    size_t root_length; /* of the path whose classes are read, with its slash */
    int label;          /* of the class in hand */
    struct tally foreign, dead_links, loops, beside;
    struct kind {
        char ending[12];
        size_t count;
    } kinds[MAX_KINDS];
    size_t kind_count;
    size_t images_directly, folders;       /* in the folder of the class in hand */
    const char *train_in_it, *other_in_it; /* "train", "val": folders in it that are named so */
};

static enum dvit_status count(struct tally *tally, const char *path, struct dvit_error *error)
{
    if (tally->count++ > 0)
        return DVIT_OK;
    tally->first = strdup(path);
    return tally->first ? DVIT_OK
                        : dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
}

static enum dvit_status count_foreign(struct survey *survey, const char *path,
                                      struct dvit_error *error)
{
    const char *name = dvit_path_name(path), *dot = strrchr(name, '.');
    char ending[sizeof survey->kinds->ending];
    size_t k = 0;
    snprintf(ending, sizeof ending, "%s", dot && strlen(dot) < sizeof ending ? dot : "others");
    for (char *c = ending; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + 'a' - 'A');
    while (k < survey->kind_count && strcmp(survey->kinds[k].ending, ending) != 0)
        k++;
    if (k == survey->kind_count && k < MAX_KINDS)
        memcpy(survey->kinds[survey->kind_count++].ending, ending, sizeof ending);
    if (k < MAX_KINDS)
        survey->kinds[k].count++;
    return count(&survey->foreign, path, error);
}

enum dvit_status dvit_dataset_read_file(struct dvit_dataset *dataset, size_t index,
                                        struct dvit_sample *out, struct dvit_error *error)
{
    enum { TURNED = 1, GREY16 = 2 };
    struct dvit_decode_options options = dvit_decode_options_default();
    struct dvit_decode_report report = {0};
    options.apply_orientation = dataset->options.orient;
    enum dvit_status status = dvit_image_load_reported(
        &out->image, dvit_dataset_item_name(dataset, index), &options, &report, error);
    unsigned char seen =
        (unsigned char)((report.info.orientation > 1 ? TURNED : 0) | (report.grey16 ? GREY16 : 0));
    if (status != DVIT_OK || !seen)
        return status;
    unsigned char former =
        atomic_fetch_or_explicit(&dataset->peculiar[index], seen, memory_order_relaxed);
    if (seen & ~former & TURNED)
        atomic_fetch_add(&dataset->turned_count, 1);
    if (seen & ~former & GREY16)
        atomic_fetch_add(&dataset->grey16_count, 1);
    return status;
}

static enum dvit_status add_file(struct survey *survey, const char *path, enum dvit_file_kind kind,
                                 uint64_t size_bytes, struct dvit_error *error)
{
    if (kind == DVIT_FILE_IMAGE)
        return dvit_dataset_add_item(survey->dataset, path, path + survey->root_length,
                                     survey->label, size_bytes, error);
    return kind == DVIT_FILE_FOREIGN ? count_foreign(survey, path, error) : DVIT_OK;
}

static void note_folder(struct survey *survey, const char *name)
{
    enum dvit_split_role role = dvit_split_role(name);
    survey->folders++;
    if (role == DVIT_SPLIT_TRAIN)
        survey->train_in_it = "train";
    else if (role != DVIT_SPLIT_NONE)
        survey->other_in_it = role == DVIT_SPLIT_VAL ? "val" : "test";
}

static enum dvit_status visit(void *context, const struct dvit_tree_entry *entry,
                              struct dvit_error *error)
{
    struct survey *survey = context;
    switch (entry->type) {
    case DVIT_TREE_FOLDER:
        if (entry->depth == 0)
            note_folder(survey, entry->name);
        return DVIT_OK;
    case DVIT_TREE_LOOP:
        return count(&survey->loops, entry->path, error);
    case DVIT_TREE_DEAD_LINK:
        return count(&survey->dead_links, entry->path, error);
    default:
        survey->images_directly += entry->depth == 0 && entry->kind != DVIT_FILE_OTHER;
        return add_file(survey, entry->path, entry->kind, entry->size_bytes, error);
    }
}

static enum dvit_status no_classes(const char *path, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    char *inner = NULL;
    size_t images = 0;
    DVIT_TRY(dvit_folder_list(path, &names, error));
    if (names.count == 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "\"%s\": the folder is empty, expected one sub-folder per class", path);
    for (size_t i = 0; i < names.count; i++) {
        free(inner);
        inner = dvit_path_join(path, names.items[i]);
        if (!inner)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
        images += dvit_file_kind(inner) == DVIT_FILE_IMAGE;
    }
    DVIT_FAIL(error, DVIT_ERROR_FORMAT,
              "\"%s\": no class folders, expected one sub-folder per class; it has %zu images "
              "directly inside, which need a list of their labels",
              path, images);
done:
    free(inner);
    dvit_names_free(&names);
    return status;
}

/* Images of no class, which lie between the class folders. */
static enum dvit_status count_beside(struct survey *survey, const char *base,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    char *path = NULL;
    DVIT_TRY(dvit_folder_list(base, &names, error));
    for (size_t i = 0; i < names.count; i++) {
        free(path);
        path = dvit_path_join(base, names.items[i]);
        if (!path)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", base);
        if (dvit_folder_exists(path) || dvit_file_name_is_hidden(names.items[i]))
            continue;
        enum dvit_file_kind kind = dvit_file_kind(path);
        if (kind == DVIT_FILE_IMAGE || kind == DVIT_FILE_FOREIGN)
            DVIT_TRY(count(&survey->beside, path, error));
    }
done:
    free(path);
    dvit_names_free(&names);
    return status;
}

static enum dvit_status warn_of_tally(struct survey *survey, const char *base,
                                      const struct tally *tally, const char *what,
                                      struct dvit_error *error)
{
    if (tally->count == 0)
        return DVIT_OK;
    return dvit_dataset_warn(survey->dataset, error, "\"%s\": %zu %s, the first is \"%s\"", base,
                             tally->count, what, tally->first);
}

static enum dvit_status warn_of_omissions(struct survey *survey, const char *base,
                                          struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char text[MAX_KINDS * 40 + 96] = "";
    size_t used = (size_t)snprintf(text, sizeof text,
                                   "files of kinds that dvit does not read are passed over (");
    for (size_t k = 0; k < survey->kind_count; k++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%zu %s", k ? ", " : "",
                                 survey->kinds[k].count, survey->kinds[k].ending);
    snprintf(text + used, sizeof text - used, ")");
    DVIT_TRY(warn_of_tally(survey, base, &survey->foreign, text, error));
    DVIT_TRY(warn_of_tally(survey, base, &survey->dead_links,
                           "links lead to nothing and are passed over", error));
    DVIT_TRY(warn_of_tally(survey, base, &survey->loops,
                           "links lead back to a folder that they lie in and are passed over",
                           error));
    DVIT_TRY(warn_of_tally(survey, base, &survey->beside,
                           "images lie beside the class folders, have no class and are passed over",
                           error));
done:
    return status;
}

/* A data set that lies one level too deep has its classes taken for parts of one class. */
static enum dvit_status check_depth(const struct survey *survey, const char *base,
                                    const char *class_name, int classes, struct dvit_error *error)
{
    bool deep = survey->images_directly == 0 && survey->folders > 0;
    if (deep && survey->train_in_it && survey->other_in_it)
        return dvit_error_set(
            error, DVIT_ERROR_FORMAT,
            "\"%s\": the folder \"%s\" holds %s/ and %s/, so it is a data set, not a "
            "class: name \"%s%s%s\"",
            base, class_name, survey->train_in_it, survey->other_in_it, base,
            base[strlen(base) - 1] == '/' ? "" : "/", class_name);
    if (deep && classes == 1)
        return dvit_error_set(
            error, DVIT_ERROR_FORMAT,
            "\"%s\": its only folder, \"%s\", holds %zu folders and no images: the "
            "classes lie one level too deep, expected \"%s/CLASS/IMAGE\"",
            base, class_name, survey->folders, base);
    return DVIT_OK;
}

/* The folders of classes that are nothing but folders, and those without images. */
struct odd_classes {
    size_t empty, deep, deep_folders;
    const char *first_empty, *first_deep;
};

static enum dvit_status warn_of_classes(struct survey *survey, const char *base, size_t classes,
                                        const struct odd_classes *odd, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    if (odd->empty)
        DVIT_TRY(dvit_dataset_warn(survey->dataset, error,
                                   "\"%s\": %zu of %zu classes have no images, the first is \"%s\"",
                                   base, odd->empty, classes, odd->first_empty));
    if (odd->deep)
        DVIT_TRY(
            dvit_dataset_warn(survey->dataset, error,
                              "\"%s\": class \"%s\" holds %zu sub-folders and no images beside "
                              "them; taken as one class (so are %zu of %zu classes)",
                              base, odd->first_deep, odd->deep_folders, odd->deep, classes));
done:
    return status;
}

/* All images of one class. */
static enum dvit_status add_class(struct survey *survey, const char *base, const char *name,
                                  int classes, struct odd_classes *odd, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t before = survey->dataset->size;
    char *path = dvit_path_join(base, name);
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", base);
    survey->images_directly = survey->folders = 0;
    survey->train_in_it = survey->other_in_it = NULL;
    DVIT_TRY(dvit_image_tree_walk(path, visit, survey, error));
    DVIT_TRY(check_depth(survey, base, name, classes, error));
    if (survey->dataset->size == before && odd->empty++ == 0)
        odd->first_empty = name;
    if (survey->dataset->size > before && survey->images_directly == 0 && odd->deep++ == 0) {
        odd->first_deep = name;
        odd->deep_folders = survey->folders;
    }
done:
    free(path);
    return status;
}

static enum dvit_status add_classes(struct survey *survey, const struct dvit_split *split,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_names *classes = &split->classes;
    struct odd_classes odd = {0};
    survey->dataset->numbering = split->numbering;
    for (size_t i = 0; i < classes->count; i++)
        DVIT_TRY(dvit_dataset_add_class(survey->dataset, classes->items[i], error));
    for (size_t i = 0; i < classes->count; i++) {
        survey->label = (int)i;
        DVIT_TRY(
            add_class(survey, split->base, classes->items[i], (int)classes->count, &odd, error));
    }
    DVIT_TRY(count_beside(survey, split->base, error));
    DVIT_TRY(warn_of_omissions(survey, split->base, error));
    if (survey->dataset->size == 0)
        DVIT_FAIL(
            error, DVIT_ERROR_FORMAT,
            "\"%s\": no images in its %zu class folders (expected JPEG, PNG, WebP, GIF, PNM or "
            "BMP files; %zu files of unsupported kinds)",
            split->base, classes->count, survey->foreign.count);
    DVIT_TRY(warn_of_classes(survey, split->base, classes->count, &odd, error));
done:
    return status;
}

/* Images that lie directly in `base`, in byte order of their names, with the labels of a list. */
static enum dvit_status add_flat(struct survey *survey, const char *base, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_dataset *dataset = survey->dataset;
    struct dvit_names names = {0};
    char *path = NULL;
    DVIT_TRY(dvit_folder_list(base, &names, error));
    for (size_t i = 0; i < names.count; i++) {
        struct stat info;
        free(path);
        path = dvit_path_join(base, names.items[i]);
        if (!path)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", base);
        if (dvit_file_name_is_hidden(names.items[i]))
            continue;
        if (stat(path, &info) != 0)
            DVIT_TRY(count(&survey->dead_links, path, error));
        else if (S_ISREG(info.st_mode))
            DVIT_TRY(add_file(survey, path, dvit_file_kind(path), (uint64_t)info.st_size, error));
    }
    DVIT_TRY(warn_of_omissions(survey, base, error));
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

enum dvit_status dvit_dataset_open_folder(struct dvit_dataset *dataset, const char *path,
                                          const char *split_name, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_split split = {0};
    struct survey survey = {.dataset = dataset};
    bool is_flat = dataset->options.labels_file != NULL;
    if (dvit_file_exists(path))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "\"%s\": is a file, expected a folder (unpack an archive first)", path);
    if (!dvit_folder_exists(path))
        DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND, "\"%s\": no such folder", path);
    if (is_flat)
        split.base = dvit_split_flat_base(path, split_name);
    else
        DVIT_TRY(dvit_split_find(dataset, path, split_name, &split, error));
    if (!split.base)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    if (!is_flat && split.classes.count == 0)
        DVIT_TRY(no_classes(split.base, error));
    survey.root_length = strlen(split.base) + (split.base[strlen(split.base) - 1] != '/');
    dataset->read = dvit_dataset_read_file;
    if (is_flat)
        DVIT_TRY(add_flat(&survey, split.base, error));
    else
        DVIT_TRY(add_classes(&survey, &split, error));
done:
    dvit_split_free(&split);
    free(survey.foreign.first);
    free(survey.dead_links.first);
    free(survey.loops.first);
    free(survey.beside.first);
    return status;
}

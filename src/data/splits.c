/* Finds the folders of a data set's splits. "train" and "val" are taken as they are. Other
 * customary names, as "Training", "valid" or "test", are taken where they hold folders and no
 * images, which classes seldom do, and that is told. A folder named like a split that is neither is
 * an error: a data set with a class "test" would answer for something else than its user meant. */
#define _GNU_SOURCE
#include "data/splits.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "data/class_numbers.h"
#include "data/name_compare.h"
#include "image/image_formats.h"

static const struct {
    const char *name;
    enum dvit_split_role role;
} customs[] = {
    {"train", DVIT_SPLIT_TRAIN},    {"training", DVIT_SPLIT_TRAIN}, {"val", DVIT_SPLIT_VAL},
    {"valid", DVIT_SPLIT_VAL},      {"validation", DVIT_SPLIT_VAL}, {"validate", DVIT_SPLIT_VAL},
    {"dev", DVIT_SPLIT_VAL},        {"test", DVIT_SPLIT_TEST},      {"testing", DVIT_SPLIT_TEST},
    {"trainset", DVIT_SPLIT_TRAIN}, {"valset", DVIT_SPLIT_VAL},     {"testset", DVIT_SPLIT_TEST},
};

static enum dvit_split_role role_of_word(const char *word, size_t length)
{
    for (size_t i = 0; i < sizeof customs / sizeof *customs; i++)
        if (strlen(customs[i].name) == length && strncasecmp(customs[i].name, word, length) == 0)
            return customs[i].role;
    return DVIT_SPLIT_NONE;
}

enum dvit_split_role dvit_split_role(const char *name)
{
    return role_of_word(name, strlen(name));
}

bool dvit_split_is_mentioned(const char *name)
{
    while (*name) {
        size_t length = 0;
        while (isalpha((unsigned char)name[length]))
            length++;
        if (length && role_of_word(name, length) != DVIT_SPLIT_NONE)
            return true;
        name += length ? length : 1;
    }
    return false;
}

/* Names of the sub-folders of `path` in byte order, without those of the system. */
static enum dvit_status list_folders(const char *path, struct dvit_names *out,
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
        bool is_class = !dvit_file_name_is_hidden(name) && dvit_folder_exists(joined);
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

/* Names of classes are written into models, logs and tables, which are UTF-8. */
static enum dvit_status check_names(const char *path, const struct dvit_names *names,
                                    struct dvit_error *error)
{
    for (size_t i = 0; i < names->count; i++)
        if (!dvit_utf8_is_valid(names->items[i]))
            return dvit_error_set(
                error, DVIT_ERROR_FORMAT,
                "\"%s\": the name of the class folder \"%s\" is not UTF-8 (Latin-1 "
                "or another encoding?): rename it",
                path, names->items[i]);
    return DVIT_OK;
}

/* Whether a folder holds folders and no images: what a split does. */
static enum dvit_status is_deep(const char *folder, const char *name, bool *deep,
                                struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    char *path = dvit_path_join(folder, name), *inner = NULL;
    *deep = false;
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
    DVIT_TRY(dvit_folder_list(path, &names, error));
    for (size_t i = 0; i < names.count; i++) {
        if (dvit_file_name_is_hidden(names.items[i]))
            continue;
        free(inner);
        inner = dvit_path_join(path, names.items[i]);
        if (!inner)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
        if (dvit_folder_exists(inner)) {
            *deep = true;
        } else if (dvit_file_kind(inner) != DVIT_FILE_OTHER) {
            *deep = false;
            break;
        }
    }
done:
    free(path);
    free(inner);
    dvit_names_free(&names);
    return status;
}

/* The one folder of this role that holds folders and no images; *out is NULL where there is none.
 * `usual` is the name that counts whatever is in it. */
static enum dvit_status find_role(const char *path, const struct dvit_names *names,
                                  enum dvit_split_role role, const char *usual, const char **out,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = NULL;
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], usual) == 0)
            *out = names->items[i];
    if (*out)
        return DVIT_OK;
    for (size_t i = 0; i < names->count; i++) {
        bool deep = false;
        if (dvit_split_role(names->items[i]) != role)
            continue;
        DVIT_TRY(is_deep(path, names->items[i], &deep, error));
        if (deep && *out)
            DVIT_FAIL(
                error, DVIT_ERROR_MISMATCH,
                "\"%s\": the folders \"%s\" and \"%s\" are both named like one split, expected "
                "train/ and val/",
                path, *out, names->items[i]);
        if (deep)
            *out = names->items[i];
    }
done:
    return status;
}

static enum dvit_status compare_classes(const char *root, const struct dvit_names *train,
                                        const struct dvit_names *val, struct dvit_error *error)
{
    size_t i = 0, near = 0;
    while (i < train->count && i < val->count && strcmp(train->items[i], val->items[i]) == 0)
        i++;
    if (i == train->count && i == val->count)
        return DVIT_OK;
    const char *first = i < train->count ? train->items[i] : NULL;
    const char *difference =
        first ? dvit_name_find_near(first, (const char *const *)val->items, val->count, &near)
              : NULL;
    if (difference)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "\"%s\": the class \"%s\" of train/ and \"%s\" of val/ differ %s",
                              root, first, val->items[near], difference);
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "\"%s\": train/ has %zu classes and val/ %zu; the first that differs is "
                          "\"%s\" in train/, \"%s\" in val/",
                          root, train->count, val->count, first ? first : "(none)",
                          i < val->count ? val->items[i] : "(none)");
}

/* No folder is a split: none may be named like one. */
static enum dvit_status check_no_split(const char *path, const struct dvit_names *names,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        bool deep = false;
        if (dvit_split_role(name) != DVIT_SPLIT_NONE)
            DVIT_FAIL(
                error, DVIT_ERROR_FORMAT,
                "\"%s\": the folder \"%s\" is named like a split, not like a class, and holds "
                "no class folders alone; expected train/ and val/, each with one sub-folder "
                "per class",
                path, name);
        if (!dvit_split_is_mentioned(name))
            continue;
        DVIT_TRY(is_deep(path, name, &deep, error));
        if (deep)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                      "\"%s\": the folder \"%s\" is named like a split and holds folders; expected "
                      "train/ and val/, each with one sub-folder per class",
                      path, name);
    }
done:
    return status;
}

/* Opens the classes of the split that is in the folder `name` of `path`, NULL for `path` itself. */
static enum dvit_status open_split(const char *path, const char *name, struct dvit_split *out,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    out->base = name ? dvit_path_join(path, name) : strdup(path);
    if (!out->base)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    DVIT_TRY(list_folders(out->base, &out->classes, error));
    DVIT_TRY(check_names(out->base, &out->classes, error));
    out->numbering = dvit_class_numbers_sort(&out->classes);
done:
    return status;
}

static enum dvit_status check_numbers(const struct dvit_split *split, struct dvit_error *error)
{
    if (split->numbering != DVIT_CLASSES_MISNUMBERED)
        return DVIT_OK;
    return dvit_class_numbers_refuse(split->base, (const char *const *)split->classes.items,
                                     (int)split->classes.count, error);
}

static enum dvit_status tell_other_name(struct dvit_dataset *dataset, const char *path,
                                        const char *usual, const char *name,
                                        struct dvit_error *error)
{
    if (strcmp(usual, name) == 0)
        return DVIT_OK;
    return dvit_dataset_warn(dataset, error,
                             "\"%s\": there is no %s/; the folder \"%s\" is taken for it", path,
                             usual, name);
}

enum dvit_status dvit_split_find(struct dvit_dataset *dataset, const char *path, const char *split,
                                 struct dvit_split *out, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    bool is_train = strcmp(split, "train") == 0, by_index = !dataset->options.classes;
    struct dvit_names names = {0};
    struct dvit_split other = {0};
    const char *train = NULL, *val = NULL;
    *out = (struct dvit_split){0};
    DVIT_TRY(list_folders(path, &names, error));
    DVIT_TRY(find_role(path, &names, DVIT_SPLIT_TRAIN, "train", &train, error));
    DVIT_TRY(find_role(path, &names, DVIT_SPLIT_VAL, "val", &val, error));
    if (!val)
        DVIT_TRY(find_role(path, &names, DVIT_SPLIT_TEST, "val", &val, error));
    if (!train && !val) {
        DVIT_TRY(check_no_split(path, &names, error));
        DVIT_TRY(open_split(path, NULL, out, error));
        if (by_index)
            DVIT_TRY(check_numbers(out, error));
        goto done;
    }
    const char *mine = is_train ? train : val, *others = is_train ? val : train;
    if (!mine)
        DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND, "\"%s\": has a %s/ folder but no %s/", path, others,
                  split);
    DVIT_TRY(tell_other_name(dataset, path, split, mine, error));
    DVIT_TRY(open_split(path, mine, out, error));
    out->found = true;
    if (by_index && others) {
        DVIT_TRY(open_split(path, others, &other, error));
        DVIT_TRY(compare_classes(path, is_train ? &out->classes : &other.classes,
                                 is_train ? &other.classes : &out->classes, error));
    }
    if (by_index)
        DVIT_TRY(check_numbers(out, error));
done:
    dvit_names_free(&names);
    dvit_split_free(&other);
    return status;
}

void dvit_split_free(struct dvit_split *split)
{
    free(split->base);
    dvit_names_free(&split->classes);
    *split = (struct dvit_split){0};
}

char *dvit_split_flat_base(const char *path, const char *split)
{
    enum dvit_split_role role = dvit_split_role(split);
    struct dvit_names names = {0};
    char *base = dvit_path_join(path, split);
    if (!base || dvit_folder_exists(base))
        return base;
    free(base);
    base = NULL;
    if (list_folders(path, &names, NULL) == DVIT_OK)
        for (size_t i = 0; i < names.count && !base; i++)
            if (dvit_split_role(names.items[i]) == role)
                base = dvit_path_join(path, names.items[i]);
    dvit_names_free(&names);
    return base ? base : strdup(path);
}

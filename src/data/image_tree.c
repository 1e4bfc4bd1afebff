/* Walks through a folder of images. A link that leads back to a folder that it lies in is told and
 * not followed; other links are. */
#define _GNU_SOURCE
#include "data/image_tree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "dvit/data.h"
#include "image/image_formats.h"

enum { MAX_NESTING = 32 };

/* A folder that is being walked, and those that it lies in. */
struct level {
    dev_t device;
    ino_t inode;
    const struct level *parent;
};

struct walk {
    dvit_tree_visit *visit;
    void *context;
};

static bool is_inside(const struct stat *info, const struct level *level)
{
    for (; level; level = level->parent)
        if (level->device == info->st_dev && level->inode == info->st_ino)
            return true;
    return false;
}

static enum dvit_status walk_folder(const struct walk *walk, const char *folder, int depth,
                                    const struct level *parent, struct dvit_error *error);

static enum dvit_status walk_entry(const struct walk *walk, struct dvit_tree_entry *entry,
                                   const struct level *level, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct stat info;
    if (stat(entry->path, &info) != 0) {
        entry->type = DVIT_TREE_DEAD_LINK;
        entry->kind = dvit_file_kind(entry->path);
    } else if (S_ISDIR(info.st_mode)) {
        entry->type = is_inside(&info, level) ? DVIT_TREE_LOOP : DVIT_TREE_FOLDER;
    } else if (S_ISREG(info.st_mode)) {
        entry->type = DVIT_TREE_FILE;
        entry->size_bytes = (uint64_t)info.st_size;
        entry->kind = dvit_file_kind(entry->path);
    } else {
        return DVIT_OK;
    }
    DVIT_TRY(walk->visit(walk->context, entry, error));
    if (entry->type == DVIT_TREE_FOLDER)
        DVIT_TRY(walk_folder(walk, entry->path, entry->depth + 1, level, error));
done:
    return status;
}

static enum dvit_status walk_folder(const struct walk *walk, const char *folder, int depth,
                                    const struct level *parent, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    struct level level = {.parent = parent};
    struct stat info;
    char *path = NULL;
    if (depth > MAX_NESTING)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "\"%s\": folders are nested deeper than %d", folder,
                  MAX_NESTING);
    if (stat(folder, &info) == 0)
        level = (struct level){info.st_dev, info.st_ino, parent};
    DVIT_TRY(dvit_folder_list(folder, &names, error));
    for (size_t i = 0; i < names.count; i++) {
        if (dvit_file_name_is_hidden(names.items[i]))
            continue;
        free(path);
        path = dvit_path_join(folder, names.items[i]);
        if (!path)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
        struct dvit_tree_entry entry = {.path = path, .name = names.items[i], .depth = depth};
        DVIT_TRY(walk_entry(walk, &entry, &level, error));
    }
done:
    free(path);
    dvit_names_free(&names);
    return status;
}

enum dvit_status dvit_image_tree_walk(const char *folder, dvit_tree_visit *visit, void *context,
                                      struct dvit_error *error)
{
    const struct walk walk = {visit, context};
    return walk_folder(&walk, folder, 0, NULL, error);
}

/* ---- a list of image files ---- */

struct file_list {
    struct dvit_image_files *files;
    size_t capacity;
};

static enum dvit_status add_file(void *context, const struct dvit_tree_entry *entry,
                                 struct dvit_error *error)
{
    struct file_list *list = context;
    struct dvit_image_files *files = list->files;
    bool is_file = entry->type == DVIT_TREE_FILE || entry->type == DVIT_TREE_DEAD_LINK;
    if (!is_file || (entry->kind != DVIT_FILE_IMAGE && entry->kind != DVIT_FILE_FOREIGN))
        return DVIT_OK;
    if (files->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **paths = realloc(files->paths, capacity * sizeof *paths);
        if (!paths)
            goto out_of_memory;
        files->paths = paths;
        list->capacity = capacity;
    }
    files->paths[files->count] = strdup(entry->path);
    if (!files->paths[files->count])
        goto out_of_memory;
    files->count++;
    return DVIT_OK;
out_of_memory:
    return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", entry->path);
}

enum dvit_status dvit_image_files_list(struct dvit_image_files *out, const char *folder,
                                       struct dvit_error *error)
{
    struct file_list list = {.files = out};
    DVIT_REQUIRE(error, out, folder);
    *out = (struct dvit_image_files){0};
    enum dvit_status status = dvit_image_tree_walk(folder, add_file, &list, error);
    if (status != DVIT_OK)
        dvit_image_files_free(out);
    return status;
}

void dvit_image_files_free(struct dvit_image_files *files)
{
    for (size_t i = 0; files && i < files->count; i++)
        free(files->paths[i]);
    if (files) {
        free(files->paths);
        *files = (struct dvit_image_files){0};
    }
}

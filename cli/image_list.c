/* Lists image files and counts who reads them; does not open them. */
#define _DEFAULT_SOURCE /* scandir */
#include "image_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dvit/infer.h"
#include "workbench.h"

enum { MAX_FOLDER_DEPTH = 32 }; /* also ends loops of links */

static bool has_image_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

/* Takes the path over, also on failure. */
static bool append(struct cli_image_list *list, char *path)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **paths = realloc(list->paths, capacity * sizeof *paths);
        if (!paths) {
            free(path);
            return false;
        }
        list->paths = paths;
        list->capacity = capacity;
    }
    list->paths[list->count++] = path;
    return true;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_folder(struct cli_image_list *list, const char *folder, int depth);

/* Takes the path over. */
static int list_entry(struct cli_image_list *list, char *path, const char *name, int depth)
{
    int code = CLI_EXIT_OK;
    if (path && cli_is_folder(path)) {
        code = list_folder(list, path, depth + 1);
        free(path);
    } else if (path && !has_image_name(name)) {
        free(path);
    } else if (!path || !append(list, path)) {
        cli_error("out of memory");
        code = CLI_EXIT_FAILURE;
    }
    return code;
}

static int list_folder(struct cli_image_list *list, const char *folder, int depth)
{
    struct dirent **entries = NULL;
    int code = CLI_EXIT_OK;
    if (depth > MAX_FOLDER_DEPTH) {
        cli_error("\"%s\": folders are nested deeper than %d", folder, MAX_FOLDER_DEPTH);
        return CLI_EXIT_FAILURE;
    }
    int count = scandir(folder, &entries, not_hidden, by_bytes);
    if (count < 0) {
        cli_error("\"%s\": cannot read the folder: %s", folder, strerror(errno));
        return CLI_EXIT_FAILURE;
    }
    for (int i = 0; i < count; i++) {
        if (code == CLI_EXIT_OK)
            code =
                list_entry(list, cli_path(folder, entries[i]->d_name), entries[i]->d_name, depth);
        free(entries[i]);
    }
    free(entries);
    return code;
}

int cli_image_list_create(struct cli_image_list *list, char *const *operands, int count,
                          size_t *empty)
{
    int code = CLI_EXIT_OK;
    *list = (struct cli_image_list){0};
    *empty = 0;
    for (int i = 0; code == CLI_EXIT_OK && i < count; i++) {
        size_t before = list->count;
        if (!cli_is_folder(operands[i])) {
            char *path = strdup(operands[i]);
            if (!path || !append(list, path)) {
                cli_error("out of memory");
                code = CLI_EXIT_FAILURE;
            }
            continue;
        }
        code = list_folder(list, operands[i], 0);
        if (code == CLI_EXIT_OK && list->count == before) {
            cli_error("\"%s\": no image in this folder (.jpg .jpeg .png .ppm .pgm .bmp .webp)",
                      operands[i]);
            ++*empty;
        }
    }
    return code;
}

void cli_image_list_free(struct cli_image_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
    *list = (struct cli_image_list){0};
}

int cli_readers(const struct cli_options *options)
{
    enum { MOST = 64 };
    if (options->workers != CLI_WORD)
        return options->workers;
    int threads = options->threads ? options->threads : dvit_machine_describe().default_threads;
    return threads < MOST ? threads : MOST;
}

/* The image files of a command line; what a folder holds is dvit_image_files_list's answer. */
#define _POSIX_C_SOURCE 200809L
#include "image_list.h"

#include <stdlib.h>
#include <string.h>

#include "dvit/data.h"
#include "dvit/infer.h"
#include "workbench.h"

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

static int list_folder(struct cli_image_list *list, const char *folder)
{
    struct dvit_error error = {0};
    struct dvit_image_files files = {0};
    int code = CLI_EXIT_OK;
    if (dvit_image_files_list(&files, folder, &error) != DVIT_OK)
        return cli_fail(&error);
    for (size_t i = 0; i < files.count && code == CLI_EXIT_OK; i++) {
        char *path = strdup(files.paths[i]);
        if (!path || !append(list, path)) {
            cli_error("out of memory");
            code = CLI_EXIT_FAILURE;
        }
    }
    dvit_image_files_free(&files);
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
        code = list_folder(list, operands[i]);
        if (code == CLI_EXIT_OK && list->count == before) {
            cli_error("\"%s\": no image in this folder (JPEG, PNG, WebP, GIF, PNM or BMP)",
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

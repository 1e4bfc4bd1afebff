/* Finds the model that comes with dvit. Its file is ../share/dvit/ seen from the program, in a
 * build folder as in an installation; a program that stands elsewhere takes the folder it was
 * configured for. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "workbench.h"

#define FILE_NAME CLI_SHIPPED_MODEL ".safetensors"

/* Writes the path seen from the running program; false where the system does not tell it. */
static bool beside_program(char path[PATH_MAX])
{
    static const char place[] = "/../share/dvit/" FILE_NAME;
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - sizeof place);
    if (length <= 0 || (size_t)length >= PATH_MAX - sizeof place)
        return false;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    memcpy(slash, place, sizeof place);
    return true;
}

const char *cli_model_file(const char *text)
{
    static char path[PATH_MAX];
    if (strcmp(text, CLI_SHIPPED_MODEL) != 0 || cli_is_file(text))
        return text;
    if (!beside_program(path) || !cli_is_file(path))
        snprintf(path, sizeof path, "%s", DVIT_DATA_FOLDER "/" FILE_NAME);
    return path;
}

bool cli_is_model_file(const char *text)
{
    struct dvit_config config;
    struct dvit_error error;
    return cli_is_file(cli_model_file(text)) ||
           (cli_is_folder(text) && dvit_config_parse(text, &config, &error) != DVIT_OK);
}

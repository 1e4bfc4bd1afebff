/* Outputs never destroy inputs: one check over all paths of a command line, before any work.
 *
 * It knows kinds of paths (enum cli_path), not commands. An output that does not exist yet is known
 * by its folder and its name. */
#define _DEFAULT_SOURCE /* d_type, realpath */
#include "paths.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dvit/train.h"
#include "workbench.h"

/* One path of the command line. */
struct item {
    char *path;     /* as given */
    char *real;     /* without links; "" where that cannot be told */
    char label[40]; /* "--model", "OUT" */
    enum cli_path kind;
    bool exists, is_folder;
    dev_t device;
    ino_t number;
};

struct items {
    struct item *list;
    size_t count, capacity;
    bool failed; /* without memory */
};

static bool is_output(enum cli_path kind)
{
    return kind == PATH_OUTPUT || kind == PATH_NEW_RUN || kind == PATH_CACHE;
}

/* Without links as far as it exists; what does not is added as it is written. */
static void resolve(const char *path, char real[PATH_MAX])
{
    char head[PATH_MAX], found[PATH_MAX];
    size_t length = strlen(path), at = length;
    real[0] = 0;
    if (length == 0 || length >= PATH_MAX)
        return;
    memcpy(head, path, length + 1);
    while (!realpath(at ? head : ".", found)) {
        if (at == 0)
            return;
        while (at > 0 && head[at - 1] == '/')
            at--;
        while (at > 0 && head[at - 1] != '/')
            at--;
        head[at] = 0;
    }
    const char *rest = path + at;
    bool joined = strcmp(found, "/") == 0 || !*rest || *rest == '/';
    if (snprintf(real, PATH_MAX, "%s%s%s", found, joined ? "" : "/", rest) >= PATH_MAX)
        real[0] = 0;
    for (length = strlen(real); length > 1 && real[length - 1] == '/'; length--)
        real[length - 1] = 0;
}

static bool lies_in(const char *real, const char *folder)
{
    size_t length = strlen(folder);
    if (!*real || !length || strncmp(real, folder, length) != 0)
        return false;
    return real[length] == 0 || real[length] == '/' || strcmp(folder, "/") == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The folder of a resolved path. */
static void folder_of(const char *real, char folder[PATH_MAX])
{
    const char *slash = strrchr(real, '/');
    size_t length = slash ? (size_t)(slash - real) : 0;
    memcpy(folder, real, length);
    folder[length] = 0;
    if (!length)
        memcpy(folder, "/", 2);
}

static void add(struct items *items, const char *label, const char *path, enum cli_path kind)
{
    struct stat info;
    char real[PATH_MAX];
    bool exists = stat(path, &info) == 0;
    if (kind == NO_PATH || strlen(path) >= PATH_MAX || (!exists && !is_output(kind)))
        return; /* a shape, builtin:scenes, or an error that is told when it is opened */
    if (items->count == items->capacity) {
        size_t capacity = items->capacity ? 2 * items->capacity : 16;
        struct item *list = realloc(items->list, capacity * sizeof *list);
        items->failed = items->failed || !list;
        if (!list)
            return;
        items->list = list;
        items->capacity = capacity;
    }
    struct item *item = &items->list[items->count];
    resolve(path, real);
    *item = (struct item){.path = strdup(path), .real = strdup(real), .kind = kind};
    snprintf(item->label, sizeof item->label, "%s", label);
    item->exists = exists;
    if (exists) {
        item->is_folder = S_ISDIR(info.st_mode);
        item->device = info.st_dev;
        item->number = info.st_ino;
    }
    items->failed = items->failed || !item->path || !item->real;
    items->count++;
}

static void free_items(struct items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        free(items->list[i].path);
        free(items->list[i].real);
    }
    free(items->list);
}

/* Data sets of links: what those at the top lead to is data too. */
static void add_linked(struct items *items, const char *label, const char *folder)
{
    DIR *stream = cli_is_folder(folder) ? opendir(folder) : NULL;
    const struct dirent *entry;
    while (stream && (entry = readdir(stream)) != NULL) {
        char *path = entry->d_type == DT_LNK ? cli_path(folder, entry->d_name) : NULL;
        if (path)
            add(items, label, path, PATH_DATA);
        free(path);
    }
    if (stream)
        closedir(stream);
}

static void add_named(struct items *items, const char *label, const char *text, enum cli_path kind)
{
    char *best = kind == PATH_MODEL && cli_is_folder(text) && dvit_run_exists(text)
                     ? cli_path(text, "best.safetensors")
                     : NULL;
    add(items, label, best ? best : kind == PATH_MODEL ? cli_model_file(text) : text, kind);
    free(best);
    if (kind == PATH_DATA)
        add_linked(items, label, text);
}

static void gather(struct items *inputs, struct items *outputs, const struct cli_options *options)
{
    const struct cli_verb *verb = &cli_verbs[options->verb];
    const struct cli_option *option;
    char label[40];
    for (size_t i = 0; (option = cli_option_at(i)) != NULL; i++) {
        const void *field = (const char *)options + option->field;
        const struct cli_texts *texts = field;
        if (!(option->verbs >> options->verb & 1) || option->path == NO_PATH)
            continue;
        bool many = option->type == OPTION_TEXTS;
        const char *text = many ? NULL : *(const char *const *)field;
        struct items *items = is_output(option->path) ? outputs : inputs;
        snprintf(label, sizeof label, "--%s", option->name);
        for (int k = 0; many && k < texts->count; k++)
            add_named(items, label, texts->values[k], option->path);
        if (text)
            add_named(items, label, text, option->path);
    }
    if (outputs->count == 0 && verb->other_path != PATH_OUTPUT)
        return; /* nothing to compare with: thousands of images are not looked at */
    for (int i = 0; i < options->operand_count; i++) {
        enum cli_path kind = (enum cli_path)(i ? verb->other_path : verb->first_path);
        add_named(is_output(kind) ? outputs : inputs, is_output(kind) ? "OUT" : "the operand",
                  options->operands[i], kind);
    }
}

/* ---- one output ---- */

static bool same_file(const struct item *a, const struct item *b)
{
    return a->exists && b->exists && a->device == b->device && a->number == b->number;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

/* Whether `output` is what belongs to a model besides the file that names it: a description, or a
 * part of a model in several files. */
static bool is_companion(const struct item *output, const struct item *model)
{
    char folder[PATH_MAX], home[PATH_MAX];
    const char *name = base_name(output->real);
    bool sharded = ends_with(model->real, ".index.json");
    folder_of(output->real, folder);
    if (model->is_folder)
        snprintf(home, sizeof home, "%s", model->real);
    else
        folder_of(model->real, home);
    if (!output->exists || strcmp(folder, home) != 0)
        return false;
    if (strcmp(name, "config.json") == 0 || strcmp(name, "preprocessor_config.json") == 0)
        return true;
    bool is_weights = ends_with(name, ".safetensors") || ends_with(name, ".bin");
    bool is_usual = strncmp(name, "model", 5) == 0 || strncmp(name, "pytorch_model", 13) == 0;
    return (is_weights && (sharded || (model->is_folder && is_usual))) ||
           (model->is_folder && is_usual && ends_with(name, ".index.json"));
}

static enum cli_exit refuse_pair(const char *verb, const struct item *output,
                                 const struct item *input)
{
    if (input->kind == PATH_DATA && input->is_folder && lies_in(output->real, input->real)) {
        cli_error("%s: \"%s\" lies in \"%s\", which is an input of this command (%s); name another "
                  "place for %s",
                  verb, output->path, input->path, input->label, output->label);
        return CLI_EXIT_USAGE;
    }
    if (output->kind == PATH_NEW_RUN && input->kind != PATH_DATA &&
        lies_in(input->real, output->real)) {
        cli_error("%s: \"%s\" is an input of this command (%s) and lies in the run folder; name "
                  "another folder for %s",
                  verb, input->path, input->label, output->label);
        return CLI_EXIT_USAGE;
    }
    if (output->kind == PATH_OUTPUT && !output->is_folder && same_file(output, input)) {
        cli_error("%s: \"%s\" is an input of this command (the same file as %s, \"%s\"); name "
                  "another file for %s",
                  verb, output->path, input->label, input->path, output->label);
        return CLI_EXIT_USAGE;
    }
    if (output->kind == PATH_OUTPUT && input->kind == PATH_MODEL && is_companion(output, input)) {
        cli_error("%s: \"%s\" is an input of this command (it belongs to the model \"%s\"); name "
                  "another file for %s",
                  verb, output->path, input->path, output->label);
        return CLI_EXIT_USAGE;
    }
    return CLI_EXIT_OK;
}

/* What a run wrote is not replaced by another output, whether the run is an input or not. */
static enum cli_exit refuse_run_file(const char *verb, const struct item *output,
                                     const struct items *inputs)
{
    char folder[PATH_MAX], above[PATH_MAX];
    const char *name = base_name(output->real);
    if (output->kind != PATH_OUTPUT || output->is_folder)
        return CLI_EXIT_OK;
    folder_of(output->real, folder);
    folder_of(folder, above);
    bool owned = dvit_run_owns(name) && dvit_run_exists(folder);
    if (!owned && dvit_run_owns(base_name(folder)) && dvit_run_exists(above)) {
        owned = true; /* a picture of what was kept */
        snprintf(folder, sizeof folder, "%s", above);
    }
    if (!owned)
        return CLI_EXIT_OK;
    for (size_t i = 0; i < inputs->count; i++)
        if (inputs->list[i].kind == PATH_RUN && strcmp(inputs->list[i].real, folder) == 0) {
            cli_error("%s: \"%s\" is an input of this command (a file of the run \"%s\"); name "
                      "another file for %s",
                      verb, output->path, inputs->list[i].path, output->label);
            return CLI_EXIT_USAGE;
        }
    cli_error("%s: \"%s\" is a file of the training run in \"%s\"; name another file for %s", verb,
              output->path, folder, output->label);
    return CLI_EXIT_USAGE;
}

/* Whether the file is where this process prints: a log that the shell opened in the folder. */
static bool is_own_stream(const char *path)
{
    struct stat file, stream;
    for (int descriptor = 1; descriptor <= 2; descriptor++)
        if (stat(path, &file) == 0 && fstat(descriptor, &stream) == 0 &&
            file.st_dev == stream.st_dev && file.st_ino == stream.st_ino)
            return true;
    return false;
}

/* A run goes into a new folder, an empty one, or that of a run. Hidden files do not count. */
static enum cli_exit refuse_strange_folder(const char *verb, const struct item *output)
{
    char strange[NAME_MAX + 1] = "";
    if (output->kind != PATH_NEW_RUN || !output->is_folder || dvit_run_exists(output->path))
        return CLI_EXIT_OK;
    DIR *stream = opendir(output->path);
    const struct dirent *entry;
    while (stream && !*strange && (entry = readdir(stream)) != NULL) {
        char *path = entry->d_name[0] != '.' ? cli_path(output->path, entry->d_name) : NULL;
        if (path && !is_own_stream(path))
            snprintf(strange, sizeof strange, "%s", entry->d_name);
        free(path);
    }
    if (stream)
        closedir(stream);
    if (!*strange)
        return CLI_EXIT_OK;
    cli_error("%s: the folder \"%s\" is not empty and holds no run of dvit (there is \"%s\"); name "
              "a new folder for %s",
              verb, output->path, strange, output->label);
    return CLI_EXIT_USAGE;
}

static enum cli_exit check_output(const char *verb, const struct items *inputs,
                                  const struct items *outputs, size_t index)
{
    const struct item *output = &outputs->list[index];
    enum cli_exit code = CLI_EXIT_OK;
    for (size_t i = 0; code == CLI_EXIT_OK && i < inputs->count; i++)
        code = refuse_pair(verb, output, &inputs->list[i]);
    for (size_t i = 0; code == CLI_EXIT_OK && i < index; i++) {
        const struct item *other = &outputs->list[i];
        if (output->kind == PATH_OUTPUT && other->kind == PATH_OUTPUT && !output->is_folder &&
            (same_file(output, other) || strcmp(output->real, other->real) == 0)) {
            cli_error("%s: %s and %s name the same file, \"%s\"", verb, other->label, output->label,
                      output->path);
            code = CLI_EXIT_USAGE;
        }
    }
    if (code == CLI_EXIT_OK)
        code = refuse_run_file(verb, output, inputs);
    return code == CLI_EXIT_OK ? refuse_strange_folder(verb, output) : code;
}

enum cli_exit cli_paths_check(const struct cli_options *options)
{
    struct items inputs = {0}, outputs = {0};
    enum cli_exit code = CLI_EXIT_OK;
    gather(&inputs, &outputs, options);
    if (inputs.failed || outputs.failed) {
        cli_error("out of memory");
        code = CLI_EXIT_FAILURE;
    }
    for (size_t i = 0; code == CLI_EXIT_OK && i < outputs.count; i++)
        code = check_output(cli_verbs[options->verb].name, &inputs, &outputs, i);
    free_items(&inputs);
    free_items(&outputs);
    return code;
}

/* ---- sets of files ---- */

static int compare_ids(const void *a, const void *b)
{
    const struct cli_file_id *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static bool identify(const char *path, struct cli_file_id *id)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    *id = (struct cli_file_id){(unsigned long long)info.st_dev, (unsigned long long)info.st_ino};
    return true;
}

bool cli_file_set_create(struct cli_file_set *set, char *const *paths, size_t count)
{
    *set = (struct cli_file_set){.items = calloc(count ? count : 1, sizeof *set->items)};
    if (!set->items)
        return false;
    for (size_t i = 0; i < count; i++)
        set->count += identify(paths[i], &set->items[set->count]);
    qsort(set->items, set->count, sizeof *set->items, compare_ids);
    return true;
}

bool cli_file_set_holds(const struct cli_file_set *set, const char *path)
{
    struct cli_file_id id;
    return identify(path, &id) &&
           bsearch(&id, set->items, set->count, sizeof *set->items, compare_ids) != NULL;
}

void cli_file_set_free(struct cli_file_set *set)
{
    free(set->items);
    *set = (struct cli_file_set){0};
}

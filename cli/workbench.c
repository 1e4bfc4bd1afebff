/* Opening models, data sets and sessions for the commands; early checks of outputs. */
#define _POSIX_C_SOURCE 200809L
#include "workbench.h"
#include "print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool cli_is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool cli_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *cli_path(const char *folder, const char *name)
{
    size_t length = strlen(folder);
    size_t size = length + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/",
                 name);
    return path;
}

static void tell_problem(void *context, const char *sentence)
{
    cli_detail("%s: %s", (const char *)context, sentence);
}

struct dvit_load_options cli_load_options(const struct cli_options *options, double keep,
                                          const char *name)
{
    return (struct dvit_load_options){
        .heads = options->heads,
        .image_width = options->image_size.width,
        .image_height = options->image_size.height,
        .classes = options->classes > 0 ? options->classes : 0,
        .keep = keep,
        .average = options->average,
        .preprocess = options->preprocess_text[0] ? options->preprocess_text : NULL,
        .seed = options->seed,
        .problem = tell_problem,
        .context = (void *)name};
}

enum dvit_status cli_model_create(struct dvit_model **out, const struct dvit_config *config,
                                  const struct dvit_load_options *load, struct dvit_error *error)
{
    struct dvit_preprocess preprocess;
    struct dvit_config own = *config;
    *out = NULL;
    if (load->average) {
        *error = (struct dvit_error){DVIT_ERROR_ARGUMENT,
                                     "--average needs a model file: random weights have none"};
        return error->status;
    }
    own.heads = load->heads ? load->heads : own.heads;
    own.classes = load->classes ? load->classes : own.classes;
    if (load->image_width) {
        own.image_width = load->image_width;
        own.image_height = load->image_height;
    }
    enum dvit_status status = dvit_model_create(out, &own, load->seed, error);
    if (status != DVIT_OK || !load->preprocess)
        return status;
    preprocess = *dvit_model_preprocess(*out);
    status = dvit_preprocess_change(&preprocess, load->preprocess, error);
    if (status == DVIT_OK)
        status = dvit_model_set_preprocess(*out, &preprocess, error);
    if (status != DVIT_OK) {
        dvit_model_free(*out);
        *out = NULL;
    }
    return status;
}

enum dvit_status cli_model_read(struct dvit_model **out, const char *text,
                                const struct cli_options *options,
                                const struct dvit_load_options *load, bool *is_random,
                                struct dvit_error *error)
{
    struct dvit_config config;
    *out = NULL;
    *is_random = !cli_is_model_file(text) && dvit_config_parse(text, &config, error) == DVIT_OK;
    if (*is_random && options->weights_key) {
        *error = (struct dvit_error){DVIT_ERROR_ARGUMENT,
                                     "--weights-key needs a model file: random weights have none"};
        return error->status;
    }
    if (*is_random)
        return cli_model_create(out, &config, load, error);
    if (options->weights_key)
        return dvit_model_load_key(out, cli_model_file(text), options->weights_key, load, error);
    /* a file, or nothing: the library says what it could have been */
    return dvit_model_open(out, cli_model_file(text), load, load->seed, NULL, error);
}

void cli_model_tell(const struct dvit_model *model, const char *text,
                    const struct cli_options *options, bool is_random)
{
    const char *note = NULL;
    if (is_random)
        cli_note("\"%s\" is not a file: random weights from seed %llu", text,
                 (unsigned long long)options->seed);
    for (size_t i = 0; (note = dvit_model_note(model, i)) != NULL; i++)
        cli_note("%s: %s", text, note);
}

int cli_model_prune(struct dvit_model **model, const char *text, const struct cli_options *options,
                    double keep, bool add_stages)
{
    struct dvit_error error = {0};
    struct dvit_model *dynamic = NULL;
    bool wanted = keep > 0 && keep < 1 && add_stages;
    if (!wanted || dvit_model_config(*model)->stages > 0)
        return CLI_EXIT_OK;
    if (dvit_model_sparsify(&dynamic, *model, options->stages, NULL, keep, options->seed, &error) !=
        DVIT_OK)
        return cli_fail(&error);
    cli_note("\"%s\" is a dense model: %d stages with random predictors (seed %llu) are added",
             text, options->stages, (unsigned long long)options->seed);
    dvit_model_free(*model);
    *model = dynamic;
    return CLI_EXIT_OK;
}

int cli_model_open(struct dvit_model **out, const char *text, const struct cli_options *options,
                   double keep, bool add_stages)
{
    struct dvit_error error = {0};
    struct dvit_load_options load = cli_load_options(options, keep, text);
    bool is_random = false;
    if (cli_model_read(out, text, options, &load, &is_random, &error) != DVIT_OK)
        return cli_fail(&error);
    cli_model_tell(*out, text, options, is_random);
    return cli_model_prune(out, text, options, keep, is_random || add_stages);
}

void cli_dataset_warn(const struct dvit_dataset *set, const struct dvit_dataset *former)
{
    const char *warning, *told;
    for (size_t i = 0; (warning = dvit_dataset_warning(set, i)) != NULL; i++) {
        bool is_new = true;
        for (size_t j = 0; former && (told = dvit_dataset_warning(former, j)) != NULL; j++)
            is_new = is_new && strcmp(warning, told) != 0;
        if (is_new)
            cli_note("warning: %s", warning);
    }
}

static bool is_same_image(struct dvit_dataset *a, struct dvit_dataset *b, size_t index)
{
    struct dvit_sample x = {0}, y = {0};
    bool same = dvit_dataset_read(a, index, &x, NULL) == DVIT_OK &&
                dvit_dataset_read(b, index, &y, NULL) == DVIT_OK &&
                x.image.width == y.image.width && x.image.height == y.image.height &&
                memcmp(x.image.pixels, y.image.pixels,
                       3 * (size_t)x.image.width * (size_t)x.image.height) == 0;
    dvit_sample_free(&x);
    dvit_sample_free(&y);
    return same;
}

/* The same names and sizes may still be other files: some are looked at. */
static bool are_same_images(struct dvit_dataset *train, struct dvit_dataset *validation)
{
    enum { LOOKED_AT = 4 };
    size_t size = dvit_dataset_size(train);
    if (strcmp(dvit_dataset_fingerprint(train), dvit_dataset_fingerprint(validation)) != 0)
        return false;
    for (size_t i = 0; i < LOOKED_AT; i++)
        if (!is_same_image(train, validation, i * (size - 1) / (LOOKED_AT - 1)))
            return false;
    return true;
}

bool cli_dataset_warn_of_same(struct dvit_dataset *train, struct dvit_dataset *validation,
                              const char *spec)
{
    if (strcmp(dvit_dataset_item_name(train, 0), dvit_dataset_item_name(validation, 0)) == 0)
        cli_note(
            "warning: \"%s\" has no train/ and val/: the same images are trained and validated "
            "on, so an accuracy says nothing about other images",
            spec);
    else if (are_same_images(train, validation))
        cli_note(
            "warning: the train/ and val/ of \"%s\" hold the same images: they are trained and "
            "validated on, so an accuracy says nothing about other images",
            spec);
    else
        return false;
    return true;
}

void cli_dataset_tell_grey16(const struct dvit_dataset *set, const struct dvit_dataset *other)
{
    size_t count = (set ? dvit_dataset_grey16(set) : 0) + (other ? dvit_dataset_grey16(other) : 0);
    if (count)
        cli_note(
            "%zu images are PNG files of 16-bit grey, read by their high byte; Pillow's "
            "convert(\"RGB\") clips their values at 255, so PyTorch's usual loaders give other "
            "pixels",
            count);
}

int cli_dataset_open(struct dvit_dataset **out, const char *spec, const char *split, int side)
{
    struct dvit_error error = {0};
    struct dvit_dataset_options options = dvit_dataset_options_default();
    if (side > 0)
        options.scene_side = side;
    return dvit_dataset_open(out, spec, split, &options, &error) == DVIT_OK ? CLI_EXIT_OK
                                                                            : cli_fail(&error);
}

void cli_precision_tell(const struct dvit_session *session, const char *name,
                        const struct cli_options *options)
{
    struct dvit_session_info info = dvit_session_describe(session);
    if (strcmp(options->precision, "auto") == 0)
        cli_note("\"%s\" runs in %s at keep ratio %g", name, info.precision, info.keep);
}

int cli_session_create(struct dvit_session **out, const struct dvit_model *model,
                       const struct cli_options *options, double keep, int max_batch)
{
    struct dvit_error error = {0};
    struct dvit_session_options session = dvit_session_options_default();
    session.keep = keep;
    session.max_batch = max_batch;
    session.threads = options->threads;
    session.cpu = options->cpu;
    session.precision = options->precision;
    session.packed_cache = options->packed_cache;
    if (dvit_session_create(out, model, &session, &error) != DVIT_OK)
        return cli_fail(&error);
    const char *note;
    for (size_t i = 0; (note = dvit_session_note(*out, i)) != NULL; i++)
        cli_note("warning: %s", note);
    return CLI_EXIT_OK;
}

/* Files are written beside their place and renamed into it: what is no file would be lost. */
static bool is_special(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
}

int cli_check_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int code = CLI_EXIT_FAILURE;
    if (!folder)
        cli_error("out of memory");
    else if (cli_is_folder(path))
        cli_error("cannot write \"%s\": it is a folder, expected a file name", path);
    else if (is_special(path))
        cli_error("cannot write \"%s\": it is a device or a pipe, expected a file name", path);
    else if (!cli_is_folder(folder))
        cli_error("cannot write \"%s\": there is no folder \"%s\"", path, folder);
    else if (access(folder, W_OK) != 0)
        cli_error("cannot write \"%s\": folder \"%s\": %s", path, folder, strerror(errno));
    else
        code = CLI_EXIT_OK;
    free(folder);
    return code;
}

/* 0, or why there is no such folder: mkdir's reason, not that of looking for one. */
static int make_one(const char *path)
{
    int reason = mkdir(path, 0777) == 0 ? 0 : errno;
    return reason && !cli_is_folder(path) ? reason : 0;
}

int cli_make_folder(const char *path)
{
    char *part = strdup(path);
    int code = CLI_EXIT_FAILURE;
    if (!part) {
        cli_error("out of memory");
        return code;
    }
    int reason = 0;
    for (char *at = part + 1; !reason && *at; at++)
        if (*at == '/' && at[-1] != '/') {
            *at = 0;
            reason = make_one(part);
            *at = '/';
        }
    reason = reason ? reason : make_one(path);
    if (reason)
        cli_error("cannot make folder \"%s\": %s", path,
                  reason == EEXIST ? "a file has that name" : strerror(reason));
    else if (access(path, W_OK | X_OK) != 0)
        cli_error("cannot write to folder \"%s\": %s", path, strerror(errno));
    else
        code = CLI_EXIT_OK;
    free(part);
    return code;
}

int cli_skipped(size_t skipped, size_t total)
{
    if (skipped == 0)
        return CLI_EXIT_OK;
    cli_error("%zu of %zu images could not be read and %s left out", skipped, total,
              skipped == 1 ? "was" : "were");
    return CLI_EXIT_SOME_FAILED;
}

int cli_unanswered(const char *name, size_t unanswered, size_t images)
{
    if (unanswered == 0)
        return CLI_EXIT_OK;
    cli_error(
        "\"%s\": no answer to %zu of %zu images: the model's logits are not finite; they count "
        "as wrong",
        name, unanswered, images);
    return unanswered == images ? CLI_EXIT_FAILURE : CLI_EXIT_SOME_FAILED;
}

struct dvit_table *cli_table_create(const char *const *headers, int count, int left)
{
    struct dvit_error error = {0};
    struct dvit_table *table = NULL;
    struct dvit_table_column columns[DVIT_MAX_TABLE_COLUMNS];
    for (int i = 0; i < count; i++)
        columns[i] = (struct dvit_table_column){
            .header = headers[i], .align = i < left ? DVIT_ALIGN_LEFT : DVIT_ALIGN_RIGHT};
    if (dvit_table_create(&table, NULL, columns, count, &error) != DVIT_OK)
        cli_fail(&error);
    return table;
}

int cli_table_print(struct dvit_table *table)
{
    struct dvit_error error = {0};
    char *text = NULL;
    enum dvit_status status = dvit_table_text(table, &text, &error);
    if (status == DVIT_OK)
        cli_print_prepared(text);
    free(text);
    dvit_table_free(table);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}

void cli_tokens(const struct dvit_session *session, const struct dvit_model *model,
                int counts[DVIT_MAX_STAGES])
{
    double keep = dvit_session_describe(session).keep;
    for (int s = 0; s < dvit_session_stages(session); s++)
        counts[s] = dvit_config_kept(dvit_model_config(model), keep, s);
}

const char *cli_join_ints(const int *values, int count, char text[256])
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < count && used < 240; i++)
        used += (size_t)snprintf(text + used, 256 - used, "%s%d", i ? "/" : "", values[i]);
    return text;
}

int cli_shown_bytes(const char *text, size_t room)
{
    size_t length = strlen(text);
    if (length <= room)
        return (int)length;
    while (room > 0 && ((unsigned char)text[room] & 0xc0) == 0x80)
        room--;
    return (int)room;
}

void cli_print_plain(const char *text)
{
    cli_print("%s", text);
}

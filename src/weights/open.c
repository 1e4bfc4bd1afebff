/* dvit_model_open: a text that names a file or a shape. */
#include <string.h>

#include "base/file.h"
#include "models/model.h"
#include "models/presets.h"

static bool looks_like_a_file(const char *text)
{
    static const char *const marks[] = {"/", ".safetensors", ".pth", ".pt", ".bin"};
    if (strncmp(text, "vit:", 4) == 0 || strncmp(text, "lvvit:", 6) == 0)
        return false;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (strstr(text, marks[i]))
            return true;
    return false;
}

/* "vit_small_patch16_224.pth" is a file, "vit_small_patch16_224.augreg_in1k" a name. */
static bool ends_in_weights(const char *text)
{
    static const char *const endings[] = {".safetensors", ".pth", ".pt", ".bin", ".npz", ".json"};
    size_t length = strlen(text);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t end = strlen(endings[i]);
        if (length >= end && strcmp(text + length - end, endings[i]) == 0)
            return true;
    }
    return false;
}

enum dvit_status dvit_model_open(struct dvit_model **out, const char *text,
                                 const struct dvit_load_options *options, uint64_t seed,
                                 bool *is_random, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, text);
    struct dvit_config config;
    struct dvit_error shape_error;
    if (is_random)
        *is_random = false;
    bool there = dvit_file_exists(text) || dvit_folder_exists(text);
    bool alias = !there && dvit_preset_alias(text) && !ends_in_weights(text);
    if (there || (looks_like_a_file(text) && !alias))
        return dvit_model_load(out, text, options, error);
    enum dvit_status status = dvit_config_parse(text, &config, &shape_error);
    if (status == DVIT_ERROR_NOT_FOUND && !alias)
        return dvit_error_set(error, status, "\"%s\": no such file, and %s", text,
                              shape_error.message);
    if (status != DVIT_OK)
        return dvit_error_set(error, status, "%s", shape_error.message);
    if (is_random)
        *is_random = true;
    return dvit_model_create(out, &config, seed, error);
}

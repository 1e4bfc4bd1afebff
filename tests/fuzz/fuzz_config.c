/* libFuzzer target: any bytes as each of the JSON texts that describe a model: Hugging Face's
 * config.json and preprocessor_config.json, timm's config.json, and dvit's own three. What is
 * accepted must be in range; what is refused must say why. Build with -Dfuzz=true and CC=clang, run
 * tests/fuzz/fuzz_config CORPUS_FOLDER with tests/fuzz/seeds/fuzz_config as the first corpus. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weights/hf_config.h"
#include "weights/timm_config.h"
#include "weights/model_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_preprocess(const struct dvit_preprocess *p)
{
    require(p->crop_width >= 1 && p->crop_width <= DVIT_MAX_IMAGE_SIDE);
    require(p->crop_height >= 1 && p->crop_height <= DVIT_MAX_IMAGE_SIDE);
    require(p->resize_side >= 0 && p->resize_side <= 2 * DVIT_MAX_IMAGE_SIDE);
    require(p->fit != DVIT_FIT_CROP || p->resize_side >= 1);
    for (int i = 0; i < 3; i++)
        require(isfinite(p->mean[i]) && isfinite(p->std[i]) && p->std[i] > 0);
}

static void try_hugging_face(const uint8_t *data, size_t size_bytes)
{
    struct dvit_error error = {.message = ""};
    struct dvit_hf_config config;
    struct dvit_preprocess preprocess;
    if (dvit_hf_config_parse(&config, data, size_bytes, &error) == DVIT_OK) {
        require(config.norm_eps > 0 && config.norm_eps < 1);
        require(config.labels.named <= config.labels.count);
        dvit_hf_config_free(&config);
    } else {
        require(error.message[0] && !config.labels.items);
    }
    error.message[0] = 0;
    struct dvit_timm_config timm;
    if (dvit_timm_config_parse(&timm, data, size_bytes, &error) == DVIT_OK) {
        require(timm.found && timm.labels.named <= timm.labels.count);
        dvit_timm_config_free(&timm);
    } else {
        require(error.message[0] && !timm.labels.items);
    }
    error.message[0] = 0;
    if (dvit_timm_preprocess_parse(&preprocess, data, size_bytes, &error) == DVIT_OK)
        check_preprocess(&preprocess);
    else
        require(error.message[0]);
    for (int deit = 0; deit < 2; deit++) {
        error.message[0] = 0;
        if (dvit_hf_preprocess_parse(&preprocess, data, size_bytes, deit, 224, 224, &error) ==
            DVIT_OK)
            check_preprocess(&preprocess);
        else
            require(error.message[0]);
    }
}

static void try_own(const char *text)
{
    enum { CLASSES = 2 };
    struct dvit_error error = {.message = ""};
    struct dvit_config config;
    struct dvit_preprocess preprocess;
    char **labels;
    if (dvit_config_from_json(text, &config, &error) == DVIT_OK)
        require(dvit_config_check(&config, &error) == DVIT_OK);
    else
        require(error.message[0]);
    error.message[0] = 0;
    if (dvit_preprocess_from_json(text, &preprocess, &error) == DVIT_OK)
        check_preprocess(&preprocess);
    else
        require(error.message[0]);
    error.message[0] = 0;
    if (dvit_labels_from_json(text, CLASSES, &labels, &error) == DVIT_OK)
        require(labels[0] && labels[1]);
    else
        require(error.message[0] && !labels);
    dvit_labels_free(labels, CLASSES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    char *text = malloc(size_bytes + 1);
    if (!text)
        return 0;
    memcpy(text, data, size_bytes);
    text[size_bytes] = 0;
    try_hugging_face(data, size_bytes);
    try_own(text);
    free(text);
    return 0;
}

/* Reading the PyTorch goldens of tests/golden/model and comparing with them. */
#ifndef DVIT_TESTS_GOLDEN_H
#define DVIT_TESTS_GOLDEN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "weights/model_file.h"
#include "weights/safetensors.h"

/* tests/golden/FOLDER/NAME.safetensors */
static inline struct dvit_safetensors *golden_open_in(const char *folder, const char *name)
{
    char path[1024];
    struct dvit_error error;
    struct dvit_safetensors *file = NULL;
    snprintf(path, sizeof path, "%s/tests/golden/%s/%s.safetensors", getenv("DVIT_SOURCE_ROOT"),
             folder, name);
    if (dvit_safetensors_load(&file, path, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    return file;
}

static inline struct dvit_safetensors *golden_open(const char *name)
{
    return golden_open_in("model", name);
}

/* A tensor as floats (malloc'ed). */
static inline float *golden_floats(const struct dvit_safetensors *file, const char *name,
                                   size_t *count)
{
    const struct dvit_tensor_view *view = dvit_safetensors_find(file, name);
    if (!view)
        fail_msg("golden \"%s\" is missing", name);
    size_t elements = dvit_tensor_elements(view);
    float *out = malloc((elements + 1) * sizeof *out);
    assert_int_equal(dvit_tensor_to_f32(view, out, NULL), DVIT_OK);
    if (count)
        *count = elements;
    return out;
}

/* Largest |got − expected| over the largest |expected|. */
static inline double golden_error(const float *got, const float *expected, size_t count)
{
    double gap = 0, scale = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - expected[i]);
        gap = d > gap || isnan(d) ? d : gap;
        scale = fabs((double)expected[i]) > scale ? fabs((double)expected[i]) : scale;
    }
    return scale > 0 ? gap / scale : gap;
}

static inline void golden_compare(const struct dvit_safetensors *file, const char *name,
                                  const float *got, size_t count, double tolerance)
{
    size_t expected_count;
    float *expected = golden_floats(file, name, &expected_count);
    if (expected_count != count)
        fail_msg("%s: %zu values, expected %zu", name, count, expected_count);
    double error = golden_error(got, expected, count);
    if (!(error <= tolerance))
        fail_msg("%s: relative error %.3g above %.3g", name, error, tolerance);
    free(expected);
}

/* The goldens' configuration: non-square, depth 4, three stages before blocks 1, 2, 3. */
static inline struct dvit_config golden_config(int stages)
{
    struct dvit_config config = {
        .name = "vit",
        .image_width = 32,
        .image_height = 24,
        .patch = 8,
        .dim = 24,
        .depth = 4,
        .heads = 3,
        .mlp = 40,
        .classes = 5,
        .norm_eps = 1e-6f,
        .skip_lam = 1,
        .qkv_bias = true,
        .stages = stages,
        .stage_block = {1, 2, 3},
        .keep = stages ? 0.7 : 1.0,
    };
    return config;
}

static inline struct dvit_model *golden_model(const char *file_name, int stages)
{
    struct dvit_error error;
    struct dvit_model *model = NULL;
    struct dvit_config config = golden_config(stages);
    struct dvit_safetensors *file = golden_open(file_name);
    if (dvit_model_allocate(&model, &config, &error) != DVIT_OK ||
        dvit_model_read(file, &model->parameters, "", model->weights, &error) != DVIT_OK)
        fail_msg("%s", error.message);
    dvit_safetensors_free(file);
    return model;
}

#endif

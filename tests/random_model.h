/* Models whose numbers are alive: random weights large enough that tokens differ, attention has
 * preferences and scores have an order, unlike a fresh model's. */
#ifndef DVIT_TESTS_RANDOM_MODEL_H
#define DVIT_TESTS_RANDOM_MODEL_H

#include <math.h>

#include "base/rng.h"
#include "models/model.h"
#include "test_util.h"

/* attention: factor on the qkv weights; 1 gives attention logits of a few units. */
static inline struct dvit_model *random_model(const char *text, int stages, double keep,
                                              uint64_t seed, double attention)
{
    struct dvit_config config;
    struct dvit_model *model;
    struct dvit_error error;
    assert_ok(dvit_config_parse(text, &config, &error), &error);
    dvit_config_add_stages(&config, stages, stages ? keep : 1.0);
    assert_ok(dvit_model_create(&model, &config, seed, &error), &error);
    for (size_t i = 0; i < model->parameters.count; i++) {
        const struct dvit_parameter *item = &model->parameters.items[i];
        struct dvit_rng rng = dvit_rng_stream(seed, DVIT_RNG_TEST, 1, (uint32_t)i);
        double scale =
            item->rank == 1 ? 0.2 : 1.2 * sqrt((double)item->shape[0] / (double)item->count);
        if (item->rank == 3)
            scale = 0.7;
        if (strstr(item->name, "attn.qkv.weight"))
            scale *= attention;
        float *weights = dvit_model_weights(model, i);
        for (size_t k = 0; k < item->count; k++)
            weights[k] = (float)(scale * dvit_rng_normal(&rng) +
                                 (item->initial == DVIT_INITIAL_ONE ? 1 : 0));
    }
    return model;
}

/* pixels [count][3][H][W], the same for the same image whatever `count`. Free with free. */
static inline float *random_pixels(const struct dvit_model *model, int count, uint64_t seed)
{
    size_t size = 3 * (size_t)model->config.image_width * (size_t)model->config.image_height;
    float *pixels = malloc((size_t)count * size * sizeof *pixels);
    for (int image = 0; image < count; image++) {
        struct dvit_rng rng = dvit_rng_stream(seed, DVIT_RNG_TEST, 2, (uint32_t)image);
        for (size_t i = 0; i < size; i++)
            pixels[(size_t)image * size + i] = (float)dvit_rng_normal(&rng);
    }
    return pixels;
}

/* Largest difference of two rows of logits, relative to the spread of the first. */
static inline double logit_gap(const float *a, const float *b, int classes)
{
    double low = a[0], high = a[0], gap = 0;
    for (int k = 0; k < classes; k++) {
        double d = fabs((double)a[k] - b[k]);
        low = a[k] < low ? a[k] : low;
        high = a[k] > high ? a[k] : high;
        gap = d > gap || isnan(d) ? d : gap;
    }
    return gap / (high - low);
}

#endif

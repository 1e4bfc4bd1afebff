/* Prediction module: LN → Linear → GELU → [local half, mean of the kept global half] → three linear
 * layers → two scores per patch. It reads the un-normalised residual stream of the patch tokens. */
#include "models/predictor.h"

#include <stdio.h>

/* Epsilon of the module's layer norm, also in models whose own is 1e-6. */
#define PREDICTOR_NORM_EPS 1e-5f

static int parameter(const struct dvit_parameters *parameters, int stage, const char *name)
{
    char text[96];
    snprintf(text, sizeof text, "score_predictor.%d.%s", stage, name);
    return dvit_parameters_find(parameters, text);
}

static int linear(struct dvit_builder *builder, const struct dvit_parameters *parameters, int stage,
                  const struct dvit_quantised *inputs, const char *name, int x, bool gelu)
{
    char text[64], label[64];
    snprintf(label, sizeof label, "score_predictor.%d.%s", stage, name);
    snprintf(text, sizeof text, "%s.weight", name);
    int weight = parameter(parameters, stage, text);
    snprintf(text, sizeof text, "%s.bias", name);
    struct dvit_op op = {
        .class = &dvit_op_linear,
        .inputs = {x, DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {weight, parameter(parameters, stage, text), DVIT_NONE},
        .is.linear = {.outputs = parameters->items[weight].shape[0], .gelu = gelu},
    };
    if (inputs)
        op.is.linear.input = inputs[weight];
    return dvit_build_op(builder, label, &op);
}

/* gelu(out_conv.0([local half, mean of the kept global half])). In inference one operator, which
 * takes the product over the mean once per image. */
static int mix(struct dvit_builder *builder, const struct dvit_parameters *parameters, int stage,
               int x, int policy)
{
    char label[64];
    int weight = parameter(parameters, stage, "out_conv.0.weight");
    const size_t *shape = parameters->items[weight].shape;
    struct dvit_op op = {
        .class = &dvit_op_kept_linear,
        .inputs = {x, DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {weight, parameter(parameters, stage, "out_conv.0.bias"), DVIT_NONE},
        .is.kept_linear = {.outputs = shape[0], .half = shape[1] / 2},
    };
    if (!builder->graph->training) {
        snprintf(label, sizeof label, "score_predictor.%d.out_conv.0", stage);
        return dvit_build_op(builder, label, &op);
    }
    snprintf(label, sizeof label, "score_predictor.%d.mean", stage);
    struct dvit_op mean = {
        .class = &dvit_op_kept_mean,
        .inputs = {x, policy, DVIT_NONE, DVIT_NONE},
        .parameters = {DVIT_NONE, DVIT_NONE, DVIT_NONE},
    };
    x = dvit_build_op(builder, label, &mean);
    return linear(builder, parameters, stage, NULL, "out_conv.0", x, true);
}

int dvit_build_predictor(struct dvit_builder *builder, const struct dvit_parameters *parameters,
                         int stage, const struct dvit_quantised *inputs, int tokens, int policy)
{
    char label[64];
    snprintf(label, sizeof label, "score_predictor.%d.in_conv.0", stage);
    struct dvit_op norm = {
        .class = &dvit_op_patch_norm,
        .inputs = {tokens, DVIT_NONE, DVIT_NONE, DVIT_NONE},
        .parameters = {parameter(parameters, stage, "in_conv.0.weight"),
                       parameter(parameters, stage, "in_conv.0.bias"), DVIT_NONE},
        .is.layer_norm = {.eps = PREDICTOR_NORM_EPS},
    };
    int x = dvit_build_op(builder, label, &norm);
    x = linear(builder, parameters, stage, inputs, "in_conv.1", x, true);

    x = mix(builder, parameters, stage, x, policy);
    x = linear(builder, parameters, stage, inputs, "out_conv.2", x, true);
    return linear(builder, parameters, stage, inputs, "out_conv.4", x, false);
}

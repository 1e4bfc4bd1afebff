/* What a model costs, and its layers one by one: walks over the inference graph, nothing is run. */
#include <stdlib.h>

#include "dvit/model.h"
#include "models/vit.h"

struct dvit_layers {
    struct dvit_parameters parameters;
    struct dvit_graph *graph;
};

/* whole: with all rows of the last block. */
static enum dvit_status create(struct dvit_layers **out, const struct dvit_config *config,
                               double keep, bool whole, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_vit_values values;
    struct dvit_vit_options options = {.keep = keep, .want_tokens = whole};
    *out = NULL;
    struct dvit_layers *layers = calloc(1, sizeof *layers);
    if (!layers)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "layers: out of memory");
    DVIT_TRY(dvit_config_check(config, error));
    DVIT_TRY(dvit_config_check_keep(config, keep, error));
    DVIT_TRY(dvit_parameters_create(&layers->parameters, config, error));
    DVIT_TRY(dvit_vit_build(&layers->graph, &values, config, &layers->parameters, &options, error));
    *out = layers;
    layers = NULL;
done:
    dvit_layers_free(layers);
    return status;
}

enum dvit_status dvit_layers_create(struct dvit_layers **out, const struct dvit_config *config,
                                    double keep, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, config);
    return create(out, config, keep, false, error);
}

size_t dvit_layers_count(const struct dvit_layers *layers)
{
    if (!layers)
        return 0;
    return (size_t)layers->graph->op_count;
}

/* Whether an operator before `index` has this parameter too: it is counted once. */
static bool used_before(const struct dvit_graph *graph, size_t index, int parameter)
{
    for (size_t i = 0; i < index; i++)
        for (int k = 0; k < DVIT_OP_PARAMETERS; k++)
            if (graph->ops[i].parameters[k] == parameter)
                return true;
    return false;
}

struct dvit_layer_info dvit_layers_get(const struct dvit_layers *layers, size_t index)
{
    if (index >= dvit_layers_count(layers))
        return (struct dvit_layer_info){0};
    const struct dvit_graph *graph = layers->graph;
    const struct dvit_op *op = &graph->ops[index];
    struct dvit_layer_info info = {
        .kind = op->class->kind,
        .name = op->name,
        .tokens = dvit_graph_rows(graph, op->outputs[0]),
        .width = graph->values[op->outputs[0]].width,
        .macs = op->class->macs ? op->class->macs(graph, op) : 0,
    };
    for (int i = 0; i < DVIT_OP_PARAMETERS; i++)
        if (op->parameters[i] != DVIT_NONE && !used_before(graph, index, op->parameters[i]))
            info.parameters += layers->parameters.items[op->parameters[i]].count;
    for (int i = 0; op->class == &dvit_op_convolution && i < 2; i++) /* γ and β */
        if (op->is.convolution.batch_norm[i] != DVIT_NONE)
            info.parameters += layers->parameters.items[op->is.convolution.batch_norm[i]].count;
    return info;
}

void dvit_layers_free(struct dvit_layers *layers)
{
    if (!layers)
        return;
    dvit_graph_free(layers->graph);
    dvit_parameters_free(&layers->parameters);
    free(layers);
}

/* The literature leaves out each predictor's first C×C product, on the patches it sees, and counts
 * the product with the image's mean, half of C×C/2, for each of them. */
static double unpublished_macs(const struct dvit_config *config, const struct dvit_graph *graph)
{
    double macs = 0, width = config->pruning == DVIT_PRUNING_LEARNED ? config->dim : 0;
    for (int s = 0; s < graph->stages; s++) {
        double patches = s ? graph->kept[s - 1] : graph->patches;
        macs += patches * width * width - (patches - 1) * (width / 2) * (width / 2);
    }
    return macs;
}

enum dvit_status dvit_model_cost(const struct dvit_config *config, double keep,
                                 struct dvit_cost *out, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, config, out);
    enum dvit_status status = DVIT_OK;
    struct dvit_layers *layers = NULL, *whole = NULL;
    DVIT_TRY(create(&layers, config, keep, false, error));
    DVIT_TRY(create(&whole, config, keep, true, error));
    out->macs = dvit_graph_macs(layers->graph);
    out->macs_published = dvit_graph_macs(whole->graph) - unpublished_macs(config, whole->graph);
done:
    dvit_layers_free(layers);
    dvit_layers_free(whole);
    return status;
}

/* What prunes between two blocks. A stage of most models scores the patches and selects by the
 * scores; where these come from is the model's trait `pruning`, one row of the table below each. A
 * model that pools has no scores and nothing to select. */
#include <stdio.h>

#include "models/predictor.h"
#include "models/vit_parts.h"

static int learned_scores(struct dvit_vit *vit, int stage, int tokens, int policy)
{
    return dvit_build_predictor(&vit->builder, vit->parameters, stage, vit->options->inputs, tokens,
                                policy);
}

static int graph_stage(const struct dvit_vit *vit, int stage)
{
    return vit->options->training ? 0 : stage;
}

static int static_scores(struct dvit_vit *vit, int stage, int tokens, int policy)
{
    char name[64];
    snprintf(name, sizeof name, "score_predictor.%d", stage);
    struct dvit_op op = dvit_vit_op(&dvit_op_place_scores, DVIT_NONE);
    op.parameters[0] = dvit_vit_parameter(vit, name, "places");
    op.is.scores.stage = graph_stage(vit, stage);
    (void)tokens, (void)policy;
    return dvit_build_op(&vit->builder, name, &op);
}

static int random_scores(struct dvit_vit *vit, int stage, int tokens, int policy)
{
    char name[64];
    snprintf(name, sizeof name, "random.%d", stage);
    struct dvit_op op = dvit_vit_op(&dvit_op_random_scores, vit->values->pixels);
    op.is.scores.stage = graph_stage(vit, stage);
    op.is.scores.seed = (uint64_t)stage;
    (void)tokens, (void)policy;
    return dvit_build_op(&vit->builder, name, &op);
}

static int attention_scores(struct dvit_vit *vit, int stage, int tokens, int policy)
{
    char name[64];
    snprintf(name, sizeof name, "class_scores.%d", stage);
    struct dvit_op op = dvit_vit_op(&dvit_op_class_scores, vit->qkv);
    op.inputs[1] = policy;
    op.is.attention.heads = vit->config->heads;
    (void)tokens;
    return dvit_build_op(&vit->builder, name, &op);
}

static const struct kind {
    int (*scores)(struct dvit_vit *vit, int stage, int tokens, int policy); /* NULL: it pools */
    bool learns; /* scores that training changes: it needs decisions that vary, and may err */
    bool noise;  /* training: noise joins the scores */
} kinds[] = {
    [DVIT_PRUNING_LEARNED] = {learned_scores, true, true},
    [DVIT_PRUNING_STATIC] = {static_scores, true, true},
    [DVIT_PRUNING_RANDOM] = {random_scores, false, true},
    [DVIT_PRUNING_ATTENTION] = {attention_scores, false, false},
    [DVIT_PRUNING_POOL] = {NULL, false, false},
};

/* In training the policy after selecting; in inference *x becomes the tokens that are left. */
static int prune_by_scores(struct dvit_vit *vit, const struct kind *kind, int stage, int *x,
                           int policy)
{
    char name[64];
    const struct dvit_vit_options *o = vit->options;
    struct dvit_op op = dvit_vit_op(&dvit_op_select, kind->scores(vit, stage, *x, policy));
    /* Scores that do not learn cannot learn to keep the ratio. */
    op.is.select.ranked = o->training && (o->ranked || !kind->learns);
    op.is.select.kept = dvit_config_kept(vit->config, o->keep, stage);
    if (!o->training) {
        op.inputs[3] = *x;
    } else {
        op.inputs[1] = policy;
        snprintf(name, sizeof name, "noise.%d", stage);
        if (kind->noise)
            op.inputs[2] = vit->values->noise[stage] =
                dvit_build_input(&vit->builder, name, DVIT_ROWS_PATCHES, 2);
    }
    snprintf(name, sizeof name, "select.%d", stage);
    vit->values->select[stage] = vit->builder.graph->op_count;
    int output = dvit_build_op(&vit->builder, name, &op);
    if (!o->training)
        *x = output;
    return o->training ? output : DVIT_NONE;
}

static int prune_by_pooling(struct dvit_vit *vit, int stage, int *x)
{
    char name[64];
    const struct dvit_config *c = vit->config;
    struct dvit_op op = dvit_vit_op(&dvit_op_pool_patches, *x);
    op.is.pool.width = c->image_width / c->patch;
    op.is.pool.height = c->image_height / c->patch;
    op.is.pool.step = 1 << stage;
    snprintf(name, sizeof name, "pool.%d", stage);
    *x = dvit_build_op(&vit->builder, name, &op);
    return vit->options->training ? dvit_build_output(&vit->builder, *x, 1) : DVIT_NONE;
}

void dvit_vit_prune(struct dvit_vit *vit, int stage, int *x, int *policy)
{
    const struct kind *kind = &kinds[vit->config->pruning];
    *policy = kind->scores ? prune_by_scores(vit, kind, stage, x, *policy)
                           : prune_by_pooling(vit, stage, x);
    vit->values->policy[stage] = *policy;
}

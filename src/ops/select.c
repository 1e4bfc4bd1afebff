/* Select: the pruning decision, from each patch's two scores (index 0 keep, 1 drop).
 *
 * Training: nothing is removed. With log p = log-softmax(scores) and Gumbel noise g,
 *     hard_n = 1 if (log p + g)[keep] ≥ (log p + g)[drop] else 0,   policy_n = hard_n · before_n,
 * and the gradient is that of the softmax of log p + g (straight-through, temperature 1). The class
 * token's policy is 1.
 *
 * Training by rank (elastic keep ratios): as many patches stay as inference would keep, those of
 * the policy before with the largest noisy margin (log p + g)[keep] − (log p + g)[drop]; of equal
 * ones, the lower place. The threshold τ is halfway between the lowest margin that stays and the
 * highest that goes, and the gradient is that of sigmoid(margin − τ), where τ moves with the
 * margins so that the sum of the sigmoids stays; where nothing goes there is none. One set of
 * scores so learns an order of the patches that serves every ratio.
 *
 * Inference: the `kept` patches with the largest score difference (the order of log p(keep)) stay,
 * in ascending order of their place; of equal ones, the lower place. NaN counts as the lowest.
 * Which patches of the original grid they are is written to run->kept.
 *
 * inputs, training: 0 scores [N][2], 1 policy before [T][1] or NONE, 2 noise [N][2], or NONE where
 * the scores decide alone.
 * outputs, training: 0 policy [T][1], 1 log p [N][2], 2 by rank: τ [images][1].
 * inputs, inference: 0 scores, 3 tokens [T][C]. outputs, inference: 0 tokens of the next stage. */
#include "ops/op.h"

#include <math.h>
#include <string.h>

enum { SCORES, POLICY, NOISE, TOKENS };

static enum dvit_status select_shape(struct dvit_graph *graph, struct dvit_op *op,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int stage = graph->values[op->inputs[SCORES]].stage;
    DVIT_TRY(dvit_graph_expect(graph, op, SCORES, DVIT_ROWS_PATCHES, 2, error));
    if (graph->training) {
        if (op->inputs[POLICY] != DVIT_NONE)
            DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
        if (op->inputs[NOISE] != DVIT_NONE)
            DVIT_TRY(dvit_graph_expect(graph, op, NOISE, DVIT_ROWS_PATCHES, 2, error));
        DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS, stage, 1, error));
        DVIT_TRY(dvit_graph_output(graph, op, 1, DVIT_ROWS_PATCHES, stage, 2, error));
        if (op->is.select.ranked)
            DVIT_TRY(dvit_graph_output(graph, op, 2, DVIT_ROWS_IMAGES, stage, 1, error));
    } else {
        size_t width = dvit_op_input(graph, op, TOKENS)->width;
        DVIT_TRY(dvit_graph_expect(graph, op, TOKENS, DVIT_ROWS_TOKENS, 0, error));
        DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_TOKENS, stage + 1, width, error));
    }
done:
    return status;
}

static void log_softmax_pair(float *out, const float *scores)
{
    float high = fmaxf(scores[0], scores[1]);
    float sum = high + logf(expf(scores[0] - high) + expf(scores[1] - high));
    out[0] = scores[0] - sum;
    out[1] = scores[1] - sum;
}

/* The noise of patch n; none is 0. */
static const float *noise_of(const float *noise, size_t n)
{
    static const float none[2] = {0.0f, 0.0f};
    return noise ? noise + 2 * n : none;
}

static bool hard_keep(const float *log_p, const float *noise)
{
    return log_p[0] + noise[0] >= log_p[1] + noise[1];
}

/* policy and before start at the image's first patch. */
static void decide(float *policy, float *log_p, const float *scores, const float *before,
                   const float *noise, size_t patches)
{
    for (size_t n = 0; n < patches; n++) {
        log_softmax_pair(log_p + 2 * n, scores + 2 * n);
        bool keep = hard_keep(log_p + 2 * n, noise_of(noise, n));
        policy[n] = keep ? (before ? before[n] : 1.0f) : 0.0f;
    }
}

/* The value that exactly `rank` of the others are ahead of, in descending order (quickselect on a
 * copy). 0 ≤ rank < count. */
static float ranked_value(float *values, size_t count, size_t rank)
{
    size_t low = 0, high = count - 1;
    while (low < high) {
        float pivot = values[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) { /* Hoare partition, descending */
            while (values[i] > pivot)
                i++;
            while (values[j] < pivot)
                j--;
            if (i >= j)
                break;
            float swap = values[i];
            values[i++] = values[j];
            values[j--] = swap;
        }
        if (rank <= j)
            high = j;
        else
            low = j + 1;
    }
    return values[low];
}

/* Writes the `kept` places with the largest margins, ascending. margins: [patches], then a second
 * [patches] of scratch behind it. */
static void choose(int *places, float *margins, size_t patches, size_t kept)
{
    float *copy = margins + patches;
    memcpy(copy, margins, patches * sizeof *copy);
    float cut = ranked_value(copy, patches, kept - 1);
    size_t above = 0, count = 0;
    for (size_t n = 0; n < patches; n++)
        above += margins[n] > cut;
    size_t equal = kept - above; /* of those at the cut, the first ones */
    for (size_t n = 0; n < patches && count < kept; n++) {
        bool stays = margins[n] > cut || (margins[n] == cut && equal > 0);
        if (!stays)
            continue;
        equal -= margins[n] == cut;
        places[count++] = (int)n;
    }
}

static float noisy_margin(const float *log_p, const float *noise)
{
    return log_p[0] + noise[0] - log_p[1] - noise[1];
}

/* The noisy margin of each patch; −∞ where it is gone already or not a number. */
static void noisy_margins(float *margins, const float *log_p, const float *before,
                          const float *noise, size_t patches)
{
    for (size_t n = 0; n < patches; n++) {
        float margin = noisy_margin(log_p + 2 * n, noise_of(noise, n));
        bool gone = before && before[n] == 0.0f;
        margins[n] = gone || isnan(margin) ? -INFINITY : margin;
    }
}

/* Halfway between the lowest margin with a policy and the highest one without; −∞ where no patch
 * goes that was there before. */
static float rank_threshold(const float *margins, const float *policy, size_t patches)
{
    float low = INFINITY, high = -INFINITY;
    for (size_t n = 0; n < patches; n++) {
        if (policy[n] > 0.0f)
            low = margins[n] < low ? margins[n] : low;
        else
            high = margins[n] > high ? margins[n] : high;
    }
    return high > -INFINITY ? 0.5f * (low + high) : -INFINITY;
}

/* scratch: 2·patches floats, then as many ints. */
static float decide_by_rank(float *policy, float *log_p, const float *scores, const float *before,
                            const float *noise, size_t patches, size_t kept, float *scratch)
{
    int *places = (int *)(void *)(scratch + 2 * patches);
    for (size_t n = 0; n < patches; n++) {
        log_softmax_pair(log_p + 2 * n, scores + 2 * n);
        policy[n] = 0.0f;
    }
    noisy_margins(scratch, log_p, before, noise, patches);
    choose(places, scratch, patches, kept);
    for (size_t i = 0; i < kept; i++)
        policy[places[i]] = before ? before[places[i]] : 1.0f;
    return rank_threshold(scratch, policy, patches);
}

static const float *image_noise(const struct dvit_op *op, const struct dvit_run *run,
                                size_t first_patch)
{
    const float *noise = dvit_run_value(run, op->inputs[NOISE]);
    return noise ? noise + 2 * first_patch : NULL;
}

static void forward_masked(const struct dvit_op *op, struct dvit_run *run, int image)
{
    int stage = run->graph->values[op->outputs[0]].stage;
    size_t prefix = (size_t)run->graph->prefix;
    struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image);
    struct dvit_span patches = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage, image);
    float *policy = dvit_run_value(run, op->outputs[0]) + tokens.first;
    const float *before = dvit_run_value(run, op->inputs[POLICY]);
    for (size_t i = 0; i < prefix; i++)
        policy[i] = 1.0f;
    policy += prefix;
    float *log_p = dvit_run_value(run, op->outputs[1]) + 2 * patches.first;
    const float *scores = dvit_run_value(run, op->inputs[SCORES]) + 2 * patches.first;
    const float *noise = image_noise(op, run, patches.first);
    const float *patches_before = before ? before + tokens.first + prefix : NULL;
    size_t count = patches.last - patches.first;
    if (op->is.select.ranked)
        dvit_run_value(run, op->outputs[2])[image] =
            decide_by_rank(policy, log_p, scores, patches_before, noise, count,
                           (size_t)op->is.select.kept, run->scratch);
    else
        decide(policy, log_p, scores, patches_before, noise, count);
}

static void score_margins(float *margins, const float *scores, size_t patches)
{
    for (size_t n = 0; n < patches; n++) {
        float margin = scores[2 * n] - scores[2 * n + 1];
        margins[n] = isnan(margin) ? -INFINITY : margin;
    }
}

static void forward_pruned(const struct dvit_op *op, struct dvit_run *run, int image)
{
    const struct dvit_value *out = &run->graph->values[op->outputs[0]];
    int stage = out->stage - 1;
    size_t prefix = (size_t)run->graph->prefix, width = out->width;
    struct dvit_span from = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image);
    struct dvit_span to = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage + 1, image);
    struct dvit_span patches = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage, image);
    size_t count = patches.last - patches.first, kept = to.last - to.first - prefix;
    const float *tokens = dvit_run_value(run, op->inputs[TOKENS]) + from.first * width;
    float *next = dvit_run_value(run, op->outputs[0]) + to.first * width;
    float *margins = run->scratch;
    int *places =
        run->kept[stage] + dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage + 1, image).first;
    const int *origin = stage ? run->kept[stage - 1] + patches.first : NULL;

    score_margins(margins, dvit_run_value(run, op->inputs[SCORES]) + 2 * patches.first, count);
    choose(places, margins, count, kept);
    memcpy(next, tokens, prefix * width * sizeof *next);
    for (size_t i = 0; i < kept; i++) {
        size_t place = (size_t)places[i];
        memcpy(next + (prefix + i) * width, tokens + (prefix + place) * width,
               width * sizeof *next);
        if (origin)
            places[i] = origin[place];
    }
}

static void select_forward(const struct dvit_op *op, struct dvit_run *run)
{
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        if (run->graph->training)
            forward_masked(op, run, (int)image);
        else
            forward_pruned(op, run, (int)image);
    }
}

/* y(1−y) of y = sigmoid(margin − τ), for a patch that was there. */
static float steepness(float margin, float threshold, const float *before)
{
    float y = 1.0f / (1.0f + expf(threshold - margin));
    return (before ? *before : 1.0f) * y * (1.0f - y);
}

/* By rank, τ follows from Σ y = constant: dτ/dm_n = w_n/Σw with w = y(1−y), so that
 * dm_n = w_n·(dpolicy_n − Σ w·dpolicy/Σ w). Without the second term all scores would be pushed one
 * way together, for nothing: an order does not change by it. Returns that term. */
static float common_push(const float *dpolicy, const float *log_p, const float *noise,
                         const float *before, float threshold, size_t patches)
{
    double push = 0, weight = 0;
    for (size_t n = 0; n < patches; n++) {
        float w = steepness(noisy_margin(log_p + 2 * n, noise_of(noise, n)), threshold,
                            before ? before + n : NULL);
        push += (double)w * dpolicy[n];
        weight += w;
    }
    return weight > 0 ? (float)(push / weight) : 0.0f;
}

/* With y = softmax(log p + g)[keep] = sigmoid(margin − τ), τ = 0 unless by rank: dhard =
 * dpolicy·before; d(log p)[keep] = dhard·y(1−y) and the negative of it for drop, whose sum is 0, so
 * that it passes the log-softmax unchanged. */
static void backward_image(const struct dvit_op *op, struct dvit_run *run, int image)
{
    int stage = run->graph->values[op->outputs[0]].stage;
    size_t prefix = (size_t)run->graph->prefix;
    struct dvit_span tokens = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image);
    struct dvit_span patches = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage, image);
    const float *dpolicy = dvit_run_gradient(run, op->outputs[0]) + tokens.first + prefix;
    const float *log_p = dvit_run_value(run, op->outputs[1]) + 2 * patches.first;
    const float *noise = image_noise(op, run, patches.first);
    const float *before = dvit_run_value(run, op->inputs[POLICY]);
    float *dscores = dvit_run_gradient(run, op->inputs[SCORES]);
    float *dbefore = dvit_run_gradient(run, op->inputs[POLICY]);
    float threshold = op->is.select.ranked ? dvit_run_value(run, op->outputs[2])[image] : 0.0f;

    if (before)
        before += tokens.first + prefix;
    if (dbefore && !dvit_op_accumulates(op, POLICY))
        memset(dbefore + tokens.first, 0, (tokens.last - tokens.first) * sizeof *dbefore);
    if (dbefore)
        dbefore += tokens.first + prefix;
    size_t count = patches.last - patches.first;
    float push =
        op->is.select.ranked ? common_push(dpolicy, log_p, noise, before, threshold, count) : 0.0f;
    for (size_t n = 0; n < count; n++) {
        float margin = noisy_margin(log_p + 2 * n, noise_of(noise, n));
        float slope =
            (dpolicy[n] - push) * steepness(margin, threshold, before ? before + n : NULL);
        if (dscores) {
            float *pair = dscores + 2 * (patches.first + n);
            bool accumulate = dvit_op_accumulates(op, SCORES);
            pair[0] = accumulate ? pair[0] + slope : slope;
            pair[1] = accumulate ? pair[1] - slope : -slope;
        }
        bool hard = op->is.select.ranked ? margin >= threshold
                                         : hard_keep(log_p + 2 * n, noise_of(noise, n));
        if (dbefore && hard)
            dbefore[n] += dpolicy[n];
    }
}

static void select_backward(const struct dvit_op *op, struct dvit_run *run)
{
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++)
        backward_image(op, run, (int)image);
}

static size_t select_scratch_bytes(const struct dvit_graph *graph, const struct dvit_op *op,
                                   const struct dvit_kernels *kernels)
{
    (void)op;
    (void)kernels;
    return (size_t)graph->patches * (2 * sizeof(float) + sizeof(int));
}

const struct dvit_op_class dvit_op_select = {
    .kind = "select",
    .crosses_rows = true,
    .shape = select_shape,
    .forward = select_forward,
    .backward = select_backward,
    .scratch_bytes = select_scratch_bytes,
    .passes_gradient = DVIT_NONE,
    .gathers = true,
};

/* Place scores: each patch's two scores (keep, drop) are those of its place in the image, whatever
 * the image shows: one static mask for all. After earlier selections a patch still has the place
 * that it had at first.
 *
 * Scores are the table's numbers times a gain: a step of Adam moves each number by about the
 * learning rate, whatever its gradient, and decisions are a matter of units.
 *
 * inputs: none. outputs: 0 scores [N][2]. parameters: 0 table [N][2], of all places. */
#include "ops/op.h"

static const float gain = 32.0f;

static enum dvit_status place_scores_shape(struct dvit_graph *graph, struct dvit_op *op,
                                           struct dvit_error *error)
{
    return dvit_graph_output(graph, op, 0, DVIT_ROWS_PATCHES, op->is.scores.stage, 2, error);
}

static void place_scores_forward(const struct dvit_op *op, struct dvit_run *run)
{
    int stage = op->is.scores.stage;
    const float *table = dvit_run_parameter(run, op, 0);
    float *scores = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span patches = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage, (int)image);
        const int *origin = stage ? run->kept[stage - 1] : NULL;
        for (size_t row = patches.first; row < patches.last; row++) {
            size_t place = origin ? (size_t)origin[row] : row - patches.first;
            for (size_t side = 0; side < 2; side++)
                scores[2 * row + side] = gain * table[2 * place + side];
        }
    }
}

/* Training removes nothing: the rows of an image are its places. Places are shared among members;
 * each sums over all images. */
static void place_scores_backward_parameters(const struct dvit_op *op, struct dvit_run *run)
{
    float *dtable = dvit_run_parameter_gradient(run, op, 0);
    const float *dscores = dvit_run_gradient(run, op->outputs[0]);
    if (!dtable)
        return;
    size_t count = 2 * (size_t)run->graph->patches;
    struct dvit_span own = dvit_span_share(count, run->member, run->members);
    for (size_t image = 0; image < (size_t)run->images; image++)
        for (size_t i = own.first; i < own.last; i++)
            dtable[i] += gain * dscores[image * count + i];
}

const struct dvit_op_class dvit_op_place_scores = {
    .kind = "place scores",
    .crosses_rows = true,
    .shape = place_scores_shape,
    .forward = place_scores_forward,
    .backward_parameters = place_scores_backward_parameters,
    .passes_gradient = DVIT_NONE,
};

/* Token loss: mean over the kept patches of the whole batch, and over channels, of
 * (student − teacher)² on the tokens after the final norm. The mask is the last decision, detached;
 * nothing kept at all gives 0.
 *
 * inputs: 0 tokens [rows][C], all or those of the last layout, 1 teacher tokens [T][C], 2 policy
 * [T][1] or NONE (all rows of 0 are kept).
 * outputs: 0 partial results (sum of squares, number of terms). */
#include "ops/loss.h"

#include <string.h>

enum { TOKENS, TEACHER, POLICY };

static enum dvit_status token_shape(struct dvit_graph *graph, struct dvit_op *op,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_graph_expect(graph, op, TOKENS, DVIT_ROWS_TOKENS, 0, error));
    DVIT_TRY(dvit_graph_expect(graph, op, TEACHER, DVIT_ROWS_TOKENS,
                               dvit_op_input(graph, op, TOKENS)->width, error));
    if (op->inputs[POLICY] != DVIT_NONE)
        DVIT_TRY(dvit_graph_expect(graph, op, POLICY, DVIT_ROWS_TOKENS, 1, error));
    DVIT_TRY(dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, 0, 2, error));
done:
    return status;
}

/* The teacher's row for row `row` of the image's tokens. */
static size_t teacher_row(const struct dvit_op *op, const struct dvit_run *run, int image,
                          size_t row)
{
    int stage = dvit_op_input(run->graph, op, TOKENS)->stage;
    int all = dvit_op_input(run->graph, op, TEACHER)->stage;
    const int *token = stage == all ? NULL : run->layout[stage].token;
    size_t first = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, stage, image).first;
    return dvit_run_image_rows(run, DVIT_ROWS_TOKENS, all, image).first +
           (token ? (size_t)token[row] : row - first);
}

static double squared_distance(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double gap = (double)a[i] - b[i];
        sum += gap * gap;
    }
    return sum;
}

static void token_forward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *in = dvit_op_input(run->graph, op, TOKENS);
    const float *tokens = dvit_run_value(run, op->inputs[TOKENS]);
    const float *teacher = dvit_run_value(run, op->inputs[TEACHER]);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    float *partial = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, in->stage, (int)image);
        double sum = 0, terms = 0;
        for (size_t row = rows.first + (size_t)run->graph->prefix; row < rows.last; row++) {
            if (policy && policy[row] == 0.0f)
                continue;
            const float *goal = teacher + teacher_row(op, run, (int)image, row) * in->width;
            sum += squared_distance(tokens + row * in->width, goal, in->width);
            terms += (double)in->width;
        }
        partial[2 * image] = (float)sum;
        partial[2 * image + 1] = (float)terms;
    }
}

/* ds = 2·(s − t)/terms for kept patches, 0 elsewhere. */
static void token_backward(const struct dvit_op *op, struct dvit_run *run)
{
    float *dtokens = dvit_run_gradient(run, op->inputs[TOKENS]);
    if (!dtokens)
        return;
    const struct dvit_value *in = dvit_op_input(run->graph, op, TOKENS);
    const float *tokens = dvit_run_value(run, op->inputs[TOKENS]);
    const float *teacher = dvit_run_value(run, op->inputs[TEACHER]);
    const float *policy = dvit_run_value(run, op->inputs[POLICY]);
    float *dpolicy = dvit_run_gradient(run, op->inputs[POLICY]);
    double terms = dvit_loss_sums(op, run).second;
    float scale = terms > 0 ? (float)(2.0 * dvit_loss_gradient_scale(op, run) / terms) : 0.0f;
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span rows = dvit_run_image_rows(run, DVIT_ROWS_TOKENS, in->stage, (int)image);
        if (dpolicy && !dvit_op_accumulates(op, POLICY)) /* detached, and others add to it */
            memset(dpolicy + rows.first, 0, (rows.last - rows.first) * sizeof *dpolicy);
        if (!dvit_op_accumulates(op, TOKENS))
            memset(dtokens + rows.first * in->width, 0,
                   (rows.last - rows.first) * in->width * sizeof *dtokens);
        for (size_t row = rows.first + (size_t)run->graph->prefix; row < rows.last; row++) {
            if (policy && policy[row] == 0.0f)
                continue;
            const float *own = tokens + row * in->width;
            const float *goal = teacher + teacher_row(op, run, (int)image, row) * in->width;
            float *to = dtokens + row * in->width;
            for (size_t i = 0; i < in->width; i++)
                to[i] += scale * (own[i] - goal[i]);
        }
    }
}

const struct dvit_op_class dvit_op_loss_token = {
    .kind = "token loss",
    .shape = token_shape,
    .forward = token_forward,
    .backward = token_backward,
    .passes_gradient = DVIT_NONE,
};

/* Random scores: a patch's score for staying is a number drawn by the content of its image, the
 * stage and its place, nothing else. An image so has the same answer in every batch, on every
 * thread and in every run, and another image, or a shifted one, has other patches drawn.
 *
 * The stream is that of the generator with a hash of the image's pixels in place of the step, and
 * the operator's seed. Each stage draws anew.
 *
 * inputs: 0 pixels [images][3·H·W]. outputs: 0 scores [N][2]; that for dropping is 0. */
#include "ops/op.h"

#include <string.h>

#include "base/rng.h"

static enum dvit_status random_scores_shape(struct dvit_graph *graph, struct dvit_op *op,
                                            struct dvit_error *error)
{
    enum dvit_status status = dvit_graph_expect(graph, op, 0, DVIT_ROWS_IMAGES, 0, error);
    return status != DVIT_OK
               ? status
               : dvit_graph_output(graph, op, 0, DVIT_ROWS_PATCHES, op->is.scores.stage, 2, error);
}

/* FNV-1a over the bits of the numbers, a word at a time. */
static uint64_t hash(const float *pixels, size_t count)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, pixels + i, sizeof bits);
        sum = (sum ^ bits) * 0x100000001b3u;
    }
    return sum;
}

static void random_scores_forward(const struct dvit_op *op, struct dvit_run *run)
{
    int stage = op->is.scores.stage;
    size_t width = dvit_op_input(run->graph, op, 0)->width;
    const float *pixels = dvit_run_value(run, op->inputs[0]);
    float *scores = dvit_run_value(run, op->outputs[0]);
    struct dvit_span images = dvit_run_images(run);
    for (size_t image = images.first; image < images.last; image++) {
        struct dvit_span patches = dvit_run_image_rows(run, DVIT_ROWS_PATCHES, stage, (int)image);
        const int *origin = stage ? run->kept[stage - 1] : NULL;
        uint64_t content = hash(pixels + image * width, width);
        for (size_t row = patches.first; row < patches.last; row++) {
            size_t place = origin ? (size_t)origin[row] : row - patches.first;
            struct dvit_rng rng =
                dvit_rng_stream(op->is.scores.seed, DVIT_RNG_PRUNE, content, (uint32_t)place);
            scores[2 * row] = (float)dvit_rng_normal(&rng);
            scores[2 * row + 1] = 0.0f;
        }
    }
}

const struct dvit_op_class dvit_op_random_scores = {
    .kind = "random scores",
    .crosses_rows = true,
    .shape = random_scores_shape,
    .forward = random_scores_forward,
    .passes_gradient = DVIT_NONE,
};

/* Calibration: sessions in f32 that are looked at. Each member of a team counts the numbers it sees
 * in histograms of its own, one per layer; they are added up at the end, so that the result does
 * not depend on who saw what. Knows no data sets and no files. */
#include "infer/calibrate.h"

#include <stdlib.h>

#include "base/threads.h"
#include "infer/range_histogram.h"
#include "infer/session.h"
#include "models/model.h"

enum { PATHS = 2 /* pruned and dense */ };

struct dvit_calibration {
    const struct dvit_model *model;
    struct dvit_session *sessions[PATHS];
    int paths;
    int members;
    size_t layers;
    size_t *layer_of;                   /* [parameters]: of a layer's weight; else `layers` */
    struct dvit_range_histogram *range; /* [members][layers] */
    float *logits;                      /* [batch][K] */
    size_t unanswered;                  /* answers with logits that are not finite */
};

static void see(void *context, const struct dvit_op *op, const struct dvit_run *run)
{
    const struct dvit_calibration *c = context;
    if (op->class != &dvit_op_linear && op->class != &dvit_op_convolution)
        return;
    size_t layer = c->layer_of[op->parameters[0]];
    if (layer == c->layers)
        return;
    const struct dvit_value *x = dvit_op_input(run->graph, op, 0);
    struct dvit_span rows = dvit_run_rows(run, x->rows, x->stage);
    dvit_range_histogram_add(&c->range[(size_t)run->product_member * c->layers + layer],
                             dvit_run_value(run, op->inputs[0]) + rows.first * x->width,
                             (rows.last - rows.first) * x->width);
}

static enum dvit_status take_memory(struct dvit_calibration *c, int batch, struct dvit_error *error)
{
    const struct dvit_parameters *parameters = &c->model->parameters;
    c->layer_of = calloc(parameters->count, sizeof *c->layer_of);
    if (!c->layer_of)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "calibration: out of memory");
    for (size_t i = 0; i < parameters->count; i++)
        c->layers += dvit_parameter_is_quantisable(parameters, i);
    for (size_t i = 0, layer = 0; i < parameters->count; i++)
        c->layer_of[i] = dvit_parameter_is_quantisable(parameters, i) ? layer++ : c->layers;
    c->range = calloc((size_t)c->members * c->layers, sizeof *c->range);
    c->logits = calloc((size_t)batch * (size_t)c->model->config.classes, sizeof *c->logits);
    if (!c->range || !c->logits)
        return dvit_error_set(error, DVIT_ERROR_MEMORY,
                              "calibration: out of memory for %zu layers and %d threads", c->layers,
                              c->members);
    return DVIT_OK;
}

enum dvit_status dvit_calibration_create(struct dvit_calibration **out,
                                         const struct dvit_model *model,
                                         const struct dvit_session_options *options,
                                         struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_session_options own = *options;
    struct dvit_calibration *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "calibration: out of memory");
    c->model = model;
    c->paths = model->config.stages && model->config.keep < 1.0 ? PATHS : 1;
    own.precision = "f32";
    for (int i = 0; i < c->paths; i++) {
        own.keep = i == 0 ? 1.0 : model->config.keep;
        DVIT_TRY(dvit_session_create(&c->sessions[i], model, &own, error));
        dvit_session_observe(c->sessions[i], (struct dvit_observer){see, c});
    }
    c->members = dvit_session_describe(c->sessions[0]).threads;
    DVIT_TRY(take_memory(c, own.max_batch, error));
    *out = c;
    c = NULL;
done:
    dvit_calibration_free(c);
    return status;
}

void dvit_calibration_free(struct dvit_calibration *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->paths; i++)
        dvit_session_free(c->sessions[i]);
    free(c->layer_of);
    free(c->range);
    free(c->logits);
    free(c);
}

enum dvit_status dvit_calibration_run(struct dvit_calibration *c, const float *pixels, int count,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t classes = (size_t)c->model->config.classes;
    for (int i = 0; i < c->paths && status == DVIT_OK; i++) {
        status = dvit_session_run(c->sessions[i], pixels, count, c->logits, error);
        for (size_t n = 0; n < (size_t)count && status == DVIT_OK; n++)
            c->unanswered += !dvit_logits_finite(c->logits + n * classes, (int)classes);
    }
    return status;
}

enum dvit_status dvit_calibration_finish(const struct dvit_calibration *c,
                                         struct dvit_quantised *inputs, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_range_histogram *all = malloc(sizeof *all);
    if (!all)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "calibration: out of memory");
    for (size_t i = 0; i < c->model->parameters.count; i++) {
        const char *name = c->model->parameters.items[i].name;
        size_t layer = c->layer_of[i];
        inputs[i] = (struct dvit_quantised){0};
        if (layer == c->layers)
            continue;
        *all = (struct dvit_range_histogram){0};
        for (size_t m = 0; m < (size_t)c->members; m++)
            dvit_range_histogram_merge(all, &c->range[m * c->layers + layer]);
        if (all->not_finite > 0)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                      "calibration: the input of the layer with weight \"%s\" is not finite", name);
        if (all->width == 0)
            DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "calibration: no image was seen");
        inputs[i] = dvit_range_histogram_choose(all);
        if (!dvit_quantise_is_usable(inputs[i].scale))
            DVIT_FAIL(
                error, DVIT_ERROR_LIMIT,
                "calibration: the input of the layer with weight \"%s\" reaches from %g to %g: "
                "its scale is %g, expected 1e-30 to 1e6",
                name, (double)all->lowest, (double)all->highest, (double)inputs[i].scale);
    }
    if (c->unanswered > 0)
        DVIT_FAIL(
            error, DVIT_ERROR_NUMERIC,
            "calibration: the logits of %zu answers are not finite, although the input of every "
            "layer is",
            c->unanswered);
done:
    free(all);
    return status;
}

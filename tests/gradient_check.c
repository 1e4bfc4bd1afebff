/* Differences of a graph's own forward pass, in double. The loss is a sum of terms (weight·value,
 * or a loss operator's value); only terms that change enter a difference, so that its rounding
 * error is theirs alone. Two step widths give the derivative (extrapolated) and its truncation
 * error. */
#include "gradient_check.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "test_util.h"

enum { COORDINATES = 48 }; /* compared per tensor */
static const double step = 1.0 / 32;
static const double unit = 1.0 / 16777216; /* of float's rounding, relative */
static const float parameter_start = 0.5f; /* gradients of parameters accumulate onto this */

/* --- operators that only tests have ------------------------------------------------------- */

static enum dvit_status per_image(struct dvit_graph *graph, struct dvit_op *op,
                                  struct dvit_error *error)
{
    return dvit_graph_output(graph, op, 0, DVIT_ROWS_IMAGES, 0, 1, error);
}

static void nothing(const struct dvit_op *op, struct dvit_run *run)
{
    (void)op;
    (void)run;
}

/* inputs: 0 value, 1 weights. The sum itself is taken by terms_of. */
static void weigh_backward(const struct dvit_op *op, struct dvit_run *run)
{
    const struct dvit_value *value = &run->graph->values[op->inputs[0]];
    struct dvit_span rows = dvit_run_rows(run, value->rows, value->stage);
    const float *weights = dvit_run_value(run, op->inputs[1]);
    float *gradient = dvit_run_gradient(run, op->inputs[0]);
    for (size_t i = rows.first * value->width; gradient && i < rows.last * value->width; i++)
        gradient[i] = dvit_op_accumulates(op, 0) ? gradient[i] + weights[i] : weights[i];
}

static const struct dvit_op_class weighted_sum = {
    .kind = "weighted sum",
    .shape = per_image,
    .forward = nothing,
    .backward = weigh_backward,
    .passes_gradient = DVIT_NONE,
};

/* Stands first, so that a gradient's memory lives to the end of the backward pass. */
static const struct dvit_op_class tap = {
    .kind = "tap", .shape = per_image, .forward = nothing, .passes_gradient = DVIT_NONE};

/* --- building ----------------------------------------------------------------------------- */

static bool has_gradient(enum check_fill fill)
{
    return fill <= FILL_ANALYTIC;
}

static float fill_one(enum check_fill fill, struct dvit_rng *rng, bool prefix)
{
    static const float policies[] = {0.0f, 0.35f, 1.0f, 0.8f, 0.0f, 0.6f};
    switch (fill) {
    case FILL_POLICY:
        return prefix ? 1.0f : policies[dvit_rng_below(rng, 6)];
    case FILL_DROPPED:
        return prefix ? 1.0f : 0.0f;
    case FILL_DECISION:
        return prefix || dvit_rng_below(rng, 2) ? 1.0f : 0.0f;
    case FILL_TARGETS:
        return (float)dvit_rng_range(rng, 0.05, 0.5);
    default:
        return (float)dvit_rng_normal(rng);
    }
}

static size_t rows_per_image(const struct check *c, enum dvit_rows rows)
{
    if (rows == DVIT_ROWS_PIXELS)
        return (size_t)c->map_width * (size_t)c->map_height;
    if (rows == DVIT_ROWS_IMAGES)
        return 1;
    return (size_t)(c->patches + (rows == DVIT_ROWS_TOKENS ? c->prefix : 0));
}

static struct check_input *append_input(struct check *c, enum dvit_rows rows, size_t width,
                                        enum check_fill fill)
{
    assert_true(c->input_count < CHECK_INPUTS);
    struct check_input *input = &c->inputs[c->input_count];
    struct dvit_rng rng = dvit_rng_stream(7, DVIT_RNG_TEST, 0, (uint32_t)c->input_count++);
    size_t per_image_rows = rows_per_image(c, rows);
    *input =
        (struct check_input){.fill = fill, .count = per_image_rows * width * (size_t)c->images};
    input->data = malloc(input->count * sizeof *input->data);
    for (size_t i = 0; i < input->count; i++)
        input->data[i] = fill_one(fill, &rng, i / width % per_image_rows < (size_t)c->prefix);
    input->value = dvit_build_input(&c->builder, "input", rows, width);
    c->graph->values[input->value].gradient = has_gradient(fill);
    return input;
}

/* The first free input of CHECK_FIRST_FIXED is the first input. */
int check_input(struct check *c, enum dvit_rows rows, size_t width, enum check_fill fill)
{
    if (c->variant == CHECK_FIRST_FIXED && c->input_count == 0 && has_gradient(fill))
        fill = fill == FILL_POLICY ? FILL_DECISION : FILL_FIXED;
    int index = c->input_count, value = append_input(c, rows, width, fill)->value;
    if (!has_gradient(fill))
        return value;
    struct dvit_op op = {.class = &tap,
                         .inputs = {value, DVIT_NONE, DVIT_NONE, DVIT_NONE},
                         .parameters = {DVIT_NONE, DVIT_NONE, DVIT_NONE}};
    dvit_build_op(&c->builder, "tap", &op);
    if (c->variant == CHECK_CONSUMED_BEFORE) {
        check_weigh(c, value);
        c->inputs[index].reader = c->inputs[c->input_count - 1].data;
    }
    return value;
}

int check_parameter(struct check *c, size_t count)
{
    assert_true(c->parameter_count < CHECK_PARAMETERS);
    int index = c->parameter_count++;
    struct dvit_rng rng = dvit_rng_stream(8, DVIT_RNG_TEST, 0, (uint32_t)index);
    c->counts[index] = count;
    c->parameters[index] = malloc(count * sizeof(float));
    c->gradients[index] = malloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        c->parameters[index][i] = (float)dvit_rng_normal(&rng);
        c->gradients[index][i] = parameter_start;
    }
    return index;
}

void check_weigh(struct check *c, int value)
{
    struct dvit_value weighed = c->graph->values[value];
    int weights = append_input(c, weighed.rows, weighed.width, FILL_FIXED)->value;
    struct dvit_op op = {.class = &weighted_sum,
                         .inputs = {value, weights, DVIT_NONE, DVIT_NONE},
                         .parameters = {DVIT_NONE, DVIT_NONE, DVIT_NONE}};
    dvit_build_op(&c->builder, "weighted sum", &op);
}

const struct dvit_op check_no_operands = {.inputs = {DVIT_NONE, DVIT_NONE, DVIT_NONE, DVIT_NONE},
                                          .parameters = {DVIT_NONE, DVIT_NONE, DVIT_NONE}};

void check_loss(struct check *c, const struct dvit_op_class *class, int first, int second,
                int third)
{
    struct dvit_op op = check_no_operands;
    op.class = class;
    op.inputs[0] = first;
    op.inputs[1] = second;
    op.inputs[2] = third;
    op.is.loss.weight = 1.7;
    op.is.loss.target = 0.7;
    dvit_build_op(&c->builder, "loss", &op);
}

const struct check_input *check_find(const struct check *c, int value)
{
    for (int i = 0; i < c->input_count; i++)
        if (c->inputs[i].value == value)
            return &c->inputs[i];
    return NULL;
}

static void consume_after(struct check *c)
{
    int count = c->input_count;
    for (int i = 0; i < count; i++)
        if (has_gradient(c->inputs[i].fill)) {
            check_weigh(c, c->inputs[i].value);
            c->inputs[i].reader = c->inputs[c->input_count - 1].data;
        }
}

static size_t value_count(const struct check *c, int value)
{
    return dvit_graph_rows(c->graph, value) * c->graph->values[value].width * (size_t)c->images;
}

/* NaN wherever the graph must write before it reads. */
static void poison(struct check *c)
{
    struct dvit_training *t = &c->training;
    for (int v = 0; v < c->graph->value_count; v++)
        for (size_t i = 0; i < value_count(c, v); i++) {
            if (t->values[v] && !c->graph->values[v].external)
                t->values[v][i] = NAN;
            if (t->gradients[v])
                t->gradients[v][i] = NAN;
        }
    memset(t->scratch, 0xff, t->scratch_bytes * (size_t)c->members);
}

static void check_open(struct check *c, const struct check_case *test, enum check_variant variant,
                       int images, int members)
{
    bool trained[CHECK_PARAMETERS];
    for (int i = 0; i < CHECK_PARAMETERS; i++)
        trained[i] = variant != CHECK_FROZEN;
    struct dvit_graph_options options = {.training = true,
                                         .patches = test->patches,
                                         .prefix = 1 + test->more_prefix,
                                         .narrow = test->narrow,
                                         .map_width = test->map_width,
                                         .map_height = test->map_height,
                                         .parameter_count = CHECK_PARAMETERS,
                                         .trained = trained};
    *c = (struct check){.variant = variant,
                        .images = images,
                        .members = members,
                        .patches = test->patches,
                        .prefix = 1 + test->more_prefix,
                        .map_width = test->map_width,
                        .map_height = test->map_height};
    struct dvit_error *error = &c->error;
    dvit_kernels_select(&c->kernels, DVIT_CPU_REFERENCE);
    assert_ok(dvit_graph_create(&c->graph, &options, error), error);
    c->builder = (struct dvit_builder){.graph = c->graph, .error = error};
    test->build(c);
    if (variant == CHECK_CONSUMED_AFTER)
        consume_after(c);
    assert_ok(c->builder.status, error);
    assert_ok(dvit_training_mark(c->graph, error), error);
    assert_ok(dvit_products_create(&c->products, c->graph, DVIT_CPU_REFERENCE, members, error),
              error);
    for (int i = 1; i <= images; i++)
        assert_ok(dvit_products_prepare(&c->products, c->graph, i, false, error), error);
    assert_ok(dvit_products_prepare_batch(c->graph, images, error), error);
    assert_ok(dvit_training_create(&c->training, c->graph, &c->kernels, &c->products, images,
                                   members, error),
              error);
    assert_ok(dvit_threads_create(&c->threads, members, NULL, error), error);
    poison(c);
    for (int i = 0; i < c->input_count; i++)
        c->training.values[c->inputs[i].value] = c->inputs[i].data;
    dvit_training_begin(&c->training, images);
    c->job = (struct dvit_training_job){.training = &c->training,
                                        .parameters = (const float *const *)c->parameters,
                                        .parameter_gradients = c->gradients,
                                        .images = images,
                                        .loss_scale = 0.5,
                                        .team = c->threads,
                                        .failure = &c->failure};
}

static void check_close(struct check *c)
{
    for (int i = 0; i < c->input_count; i++)
        free(c->inputs[i].data);
    for (int i = 0; i < c->parameter_count; i++) {
        free(c->parameters[i]);
        free(c->gradients[i]);
    }
    dvit_threads_free(c->threads);
    dvit_training_free(&c->training);
    dvit_products_free(&c->products);
    dvit_graph_free(c->graph);
}

/* --- the loss as a sum of terms ----------------------------------------------------------- */

struct terms {
    double *value, *scale; /* scale: what its rounding error is relative to */
    size_t count;
};

static void append_term(struct terms *terms, double value, double weight)
{
    if (terms->value) {
        terms->value[terms->count] = value;
        terms->scale[terms->count] = fmax(fabs(value), fabs(weight));
    }
    terms->count++;
}

/* Forward, then every term; only counts them where terms->value is NULL. */
static void evaluate(const struct check *c, struct terms *terms)
{
    terms->count = 0;
    if (terms->value)
        dvit_training_forward(&c->job, 0);
    struct dvit_run run = dvit_training_view(&c->job, 0);
    for (int i = 0; i < c->graph->op_count; i++) {
        const struct dvit_op *op = &c->graph->ops[i];
        double weight = op->is.loss.weight * c->job.loss_scale;
        if (dvit_op_is_loss(op))
            append_term(terms, terms->value ? weight * dvit_loss_value(op, &run) : 0, weight);
        if (op->class != &weighted_sum)
            continue;
        const float *y = c->training.values[op->inputs[0]];
        const float *w = c->training.values[op->inputs[1]];
        for (size_t k = 0; k < value_count(c, op->inputs[0]); k++)
            append_term(terms, (double)w[k] * y[k], w[k]);
    }
}

static struct terms terms_create(const struct check *c)
{
    struct terms terms = {0};
    evaluate(c, &terms);
    terms.value = calloc(terms.count, sizeof *terms.value);
    terms.scale = calloc(terms.count, sizeof *terms.scale);
    return terms;
}

struct estimate {
    double slope, noise;
};

/* Σ weight[k]·loss(x + k·h) over h, where `at` gives the k; exact for polynomials up to degree 2.
 */
static struct estimate difference(const struct check *c, float *x, double h, bool one_sided,
                                  struct terms *points)
{
    static const double central_at[] = {-1, 1}, central_weight[] = {-0.5, 0.5};
    static const double sided_at[] = {1, 2, 3}, sided_weight[] = {-2.5, 4, -1.5};
    const double *at = one_sided ? sided_at : central_at;
    const double *weight = one_sided ? sided_weight : central_weight;
    int count = one_sided ? 3 : 2;
    float before = *x;
    struct estimate e = {0, 0};
    for (int k = 0; k < count; k++) {
        *x = (float)(before + at[k] * h);
        evaluate(c, &points[k]);
    }
    *x = before;
    double reached = (double)(float)(before + at[count - 1] * h) - (float)(before + at[0] * h);
    double width = reached / (at[count - 1] - at[0]);
    for (size_t t = 0; t < points[0].count; t++) {
        if (points[0].value[t] == points[count - 1].value[t])
            continue;
        for (int k = 0; k < count; k++) {
            e.slope += weight[k] * points[k].value[t] / width;
            e.noise += 4 * unit * fabs(weight[k]) * points[k].scale[t] / width;
        }
    }
    return e;
}

/* --- comparing ---------------------------------------------------------------------------- */

struct comparison {
    double gradients, tolerances; /* sums of absolute values */
};

static void compare_one(const struct check *c, const char *what, size_t index, float *x, double got,
                        bool one_sided, struct terms *points, struct comparison *comparison)
{
    struct estimate wide = difference(c, x, step, one_sided, points);
    struct estimate narrow = difference(c, x, step / 2, one_sided, points);
    double expected = (4 * narrow.slope - wide.slope) / 3;
    double tolerance = fabs(narrow.slope - wide.slope) + (4 * narrow.noise + wide.noise) / 3;
    /* Attention's backward takes the row maximum as a constant, which is off by a few eps. */
    double allowed = tolerance + 1e-6 * fabs(expected) + 10 * DVIT_MASK_EPS;
    if (!(fabs(got - expected) <= allowed))
        fail_msg("%s[%zu]: gradient %.8g, by differences %.8g ± %.2g", what, index, got, expected,
                 tolerance);
    comparison->gradients += fabs(expected);
    comparison->tolerances += tolerance;
}

/* Differences that say nothing about the gradient would pass everything. */
static void assert_meaningful(const char *what, const struct comparison *comparison)
{
    if (comparison->tolerances > 0.05 * comparison->gradients)
        fail_msg("%s: tolerances sum to %.2g, gradients to %.2g", what, comparison->tolerances,
                 comparison->gradients);
}

static void compare_all(const struct check *c, const char *name, float *const *input_gradients)
{
    char what[128];
    struct terms points[3] = {terms_create(c), terms_create(c), terms_create(c)};
    for (int i = 0; i < c->input_count; i++) {
        const struct check_input *input = &c->inputs[i];
        struct comparison comparison = {0, 0};
        if (!has_gradient(input->fill) || input->fill == FILL_ANALYTIC)
            continue;
        snprintf(what, sizeof what, "%s (variant %d): input %d", name, (int)c->variant, i);
        for (size_t k = 0; k < input->count; k += 1 + input->count / COORDINATES)
            compare_one(c, what, k, &input->data[k], input_gradients[i][k], input->data[k] == 0,
                        points, &comparison);
        assert_meaningful(what, &comparison);
    }
    for (int i = 0; i < c->parameter_count && c->variant != CHECK_FROZEN; i++) {
        struct comparison comparison = {0, 0};
        snprintf(what, sizeof what, "%s (variant %d): parameter %d", name, (int)c->variant, i);
        for (size_t k = 0; k < c->counts[i]; k += 1 + c->counts[i] / COORDINATES)
            compare_one(c, what, k, &c->parameters[i][k], c->gradients[i][k] - parameter_start,
                        false, points, &comparison);
        assert_meaningful(what, &comparison);
    }
    for (int k = 0; k < 3; k++) {
        free(points[k].value);
        free(points[k].scale);
    }
}

static void run_member(void *context, int member, int members)
{
    struct check *c = context;
    (void)members;
    dvit_training_run(&c->job, member);
}

static void run(struct check *c)
{
    dvit_threads_run(c->threads, run_member, c);
    assert_int_equal(atomic_load(&c->failure), DVIT_OK);
}

/* Gradients of a team are those of one member, bit for bit: what is summed, and in which order,
 * does not depend on who does it. */
static void compare_teams(const struct check_case *test, enum check_variant variant, int images)
{
    struct check alone, team;
    check_open(&alone, test, variant, images, 1);
    check_open(&team, test, variant, images, 3);
    run(&alone);
    run(&team);
    for (int i = 0; i < alone.input_count; i++) {
        const struct check_input *input = &alone.inputs[i];
        if (has_gradient(input->fill))
            assert_memory_equal(team.training.gradients[input->value],
                                alone.training.gradients[input->value],
                                input->count * sizeof(float));
    }
    for (int i = 0; i < alone.parameter_count; i++)
        assert_memory_equal(team.gradients[i], alone.gradients[i], alone.counts[i] * sizeof(float));
    check_close(&alone);
    check_close(&team);
}

static void check_case_run(const struct check_case *test, enum check_variant variant)
{
    struct check c;
    float *input_gradients[CHECK_INPUTS] = {NULL};
    check_open(&c, test, variant, 4, 1);
    run(&c);
    for (int i = 0; i < c.input_count; i++)
        input_gradients[i] = c.training.gradients[c.inputs[i].value];
    if (test->verify)
        test->verify(&c);
    for (int i = 0; i < c.parameter_count && variant == CHECK_FROZEN; i++)
        for (size_t k = 0; k < c.counts[i]; k++)
            assert_true(c.gradients[i][k] == parameter_start);
    compare_all(&c, test->name, input_gradients);
    check_close(&c);
    compare_teams(test, variant, 4);
    compare_teams(test, variant, 2);
}

void check_cases_run(const struct check_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int variant = 0; variant < CHECK_VARIANTS; variant++)
            check_case_run(&cases[i], (enum check_variant)variant);
}

/* Matrix products by oneDNN: the only place that includes it; what differs between its C APIs 2 and
 * 3 is in matmul_dnnl_api.h.
 *
 * A plan holds one primitive per prepared row count and weight layout, with its memory objects made
 * once for every member: a run sets data pointers and executes. Our part of a run allocates
 * nothing; oneDNN's execute itself builds a small argument table on the heap.
 *
 * In bf16 the activations of a run are rounded into scratch, densely, and multiplied from there;
 * the weight comes rounded already.
 *
 * oneDNN sizes its blocking for the OpenMP team it would get at creation, so products are made, as
 * they are run, under a team of one. The layout of packed weights is oneDNN's choice for
 * LAYOUT_ROWS rows and is imposed on all other row counts. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/matmul_backend.h"
#include "kernels/matmul_dnnl_api.h"

enum { LAYOUT_ROWS = 512 };
static const size_t default_rows[] = {1, 8, 64, LAYOUT_ROWS};

/* One member's memory objects for one primitive. */
struct binding {
    dnnl_memory_t source, weights, bias, target, scratch;
};

/* One primitive with everything it runs on; primitive NULL: there is none. */
struct variant {
    dnnl_primitive_t primitive;
    struct binding *bindings; /* [threads] */
};

struct product {
    size_t rows;
    struct variant plain;  /* weights as the caller has them */
    struct variant packed; /* weights in plan->packed_layout; FORWARD only */
};

struct dvit_matmul_plan {
    struct dvit_matmul_shape shape;
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t *streams;   /* [threads] */
    struct product *products; /* by ascending rows */
    size_t count;
    struct layout packed_layout; /* absent: oneDNN is content with the plain weights, or bf16 */
    void (*to_bf16)(uint16_t *y, const float *x, size_t count);
    size_t scratch_bytes; /* oneDNN's own */
    size_t largest_rows;  /* of one primitive */
};

/* --- errors and the OpenMP team -------------------------------------------------------------- */

static enum dvit_status translate(dnnl_status_t s)
{
    switch (s) {
    case dnnl_success:
        return DVIT_OK;
    case dnnl_out_of_memory:
        return DVIT_ERROR_MEMORY;
    case dnnl_invalid_arguments:
        return DVIT_ERROR_ARGUMENT;
    default:
        return DVIT_ERROR_UNSUPPORTED;
    }
}

#define TRY_DNNL(expression, what)                                                                 \
    do {                                                                                           \
        dnnl_status_t s_ = (expression);                                                           \
        if (s_ != dnnl_success)                                                                    \
            DVIT_FAIL(error, translate(s_), "oneDNN refused %s (status %d)", (what), (int)s_);     \
    } while (0)

/* The size of the calling thread's OpenMP team becomes `wanted`; returns the one before. It is the
 * program's setting too, so that whoever changes it restores it.
 *
 * The OpenMP runtime that oneDNN itself brought into the process, found by name: linking one here
 * could bring in a second (clang's beside gcc's). Absent (a sequential or TBB build): no effect. */
static int team_size(int wanted)
{
    int (*get)(void) = NULL;
    void (*set)(int) = NULL;
    void *found_get = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    void *found_set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (!found_get || !found_set)
        return wanted;
    memcpy(&get, &found_get, sizeof get); /* ISO C has no cast from object to function pointer */
    memcpy(&set, &found_set, sizeof set);
    int before = get();
    if (before != wanted)
        set(wanted);
    return before;
}

int dvit_matmul_dnnl_enter(void)
{
    return team_size(1);
}

void dvit_matmul_dnnl_leave(int before)
{
    team_size(before);
}

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *dvit_matmul_dnnl_version(void)
{
    return "oneDNN " TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(
        DNNL_VERSION_PATCH);
}

/* --- layouts of the three kinds --------------------------------------------------------------- */

struct layouts {
    struct layout source, weights, bias, target;
};

static void layouts_free(struct layouts *layouts)
{
    layout_free(&layouts->source);
    layout_free(&layouts->weights);
    layout_free(&layouts->bias);
    layout_free(&layouts->target);
}

/* [m][k]·[k][n] with the strides of the plain arrays; a transposed array is one whose columns are
 * far apart. Activations that are rounded for the product stand densely. */
static enum dvit_status layouts_plain(struct layouts *out, const struct dvit_matmul_shape *shape,
                                      size_t rows, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    dnnl_dim_t r = (dnnl_dim_t)rows, o = (dnnl_dim_t)shape->outputs, i = (dnnl_dim_t)shape->inputs;
    bool bf16 = shape->bf16;
    dnnl_dim_t x_in = bf16 ? i : (dnnl_dim_t)shape->x_stride, x_out = (dnnl_dim_t)shape->x_stride;
    dnnl_dim_t y_in = bf16 ? o : (dnnl_dim_t)shape->y_stride, y_out = (dnnl_dim_t)shape->y_stride;
    dnnl_data_type_t type = bf16 ? dnnl_bf16 : dnnl_f32;
    const struct {
        dnnl_dims_t dims[3], strides[3]; /* source, weights, target */
    } kinds[] = {
        [DVIT_MATMUL_FORWARD] = {{{r, i}, {i, o}, {r, o}}, {{x_in, 1}, {1, i}, {y_out, 1}}},
        [DVIT_MATMUL_DATA] = {{{r, o}, {o, i}, {r, i}}, {{y_in, 1}, {i, 1}, {x_out, 1}}},
        [DVIT_MATMUL_WEIGHT] = {{{o, r}, {r, i}, {o, i}}, {{1, y_in}, {x_in, 1}, {i, 1}}},
    };
    const dnnl_dims_t *dims = kinds[shape->kind].dims, *strides = kinds[shape->kind].strides;
    memset(out, 0, sizeof *out);
    TRY_DNNL(layout_strided(&out->source, type, dims[0], strides[0]), "the first operand's layout");
    TRY_DNNL(layout_strided(&out->weights, type, dims[1], strides[1]),
             "the second operand's layout");
    TRY_DNNL(layout_strided(&out->target, dnnl_f32, dims[2], strides[2]), "the result's layout");
    if (shape->bias) {
        dnnl_dims_t bias_dims = {1, o}, bias_strides = {o, 1};
        TRY_DNNL(layout_strided(&out->bias, dnnl_f32, bias_dims, bias_strides),
                 "the bias's layout");
    }
done:
    return status;
}

/* --- primitives ------------------------------------------------------------------------------- */

static enum dvit_status primitive_describe(dnnl_primitive_desc_t *out,
                                           const struct dvit_matmul_plan *plan,
                                           const struct layouts *layouts, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t ops = NULL;
    *out = NULL;
    TRY_DNNL(dnnl_primitive_attr_create(&attributes), "attributes");
    TRY_DNNL(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
             "a scratchpad of ours");
    if (plan->shape.accumulate || plan->shape.kind == DVIT_MATMUL_WEIGHT) {
        TRY_DNNL(dnnl_post_ops_create(&ops), "post-operations");
        TRY_DNNL(append_sum(ops), "accumulation");
        TRY_DNNL(dnnl_primitive_attr_set_post_ops(attributes, ops), "post-operations");
    }
    TRY_DNNL(describe(out, plan->engine, &layouts->source, &layouts->weights, &layouts->bias,
                      &layouts->target, attributes),
             "the matrix product");
done:
    dnnl_post_ops_destroy(ops);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

static void binding_free(struct binding *binding)
{
    dnnl_memory_t all[] = {binding->source, binding->weights, binding->bias, binding->target,
                           binding->scratch};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        if (all[n])
            dnnl_memory_destroy(all[n]);
}

static void variant_free(struct variant *variant, int threads)
{
    for (int m = 0; variant->bindings && m < threads; m++)
        binding_free(&variant->bindings[m]);
    free(variant->bindings);
    if (variant->primitive)
        dnnl_primitive_destroy(variant->primitive);
    *variant = (struct variant){0};
}

static enum dvit_status binding_create(struct binding *out, const struct dvit_matmul_plan *plan,
                                       const struct layouts *layouts, desc_view scratch,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    TRY_DNNL(dnnl_memory_create(&out->source, view(&layouts->source), plan->engine, NULL),
             "a memory object");
    TRY_DNNL(dnnl_memory_create(&out->weights, view(&layouts->weights), plan->engine, NULL),
             "a memory object");
    TRY_DNNL(dnnl_memory_create(&out->target, view(&layouts->target), plan->engine, NULL),
             "a memory object");
    if (layouts->bias.present)
        TRY_DNNL(dnnl_memory_create(&out->bias, view(&layouts->bias), plan->engine, NULL),
                 "a memory object");
    if (dnnl_memory_desc_get_size(scratch) > 0)
        TRY_DNNL(dnnl_memory_create(&out->scratch, scratch, plan->engine, NULL), "a memory object");
done:
    return status;
}

static enum dvit_status variant_create(struct variant *out, struct dvit_matmul_plan *plan,
                                       const struct layouts *layouts, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    dnnl_primitive_desc_t description = NULL;
    *out = (struct variant){0};
    DVIT_TRY(primitive_describe(&description, plan, layouts, error));
    TRY_DNNL(dnnl_primitive_create(&out->primitive, description), "to make the matrix product");
    desc_view scratch = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    size_t scratch_bytes = dnnl_memory_desc_get_size(scratch);
    if (plan->scratch_bytes < scratch_bytes)
        plan->scratch_bytes = scratch_bytes;
    out->bindings = calloc((size_t)plan->threads, sizeof *out->bindings);
    if (!out->bindings)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "matrix product: out of memory");
    for (int m = 0; m < plan->threads; m++)
        DVIT_TRY(binding_create(&out->bindings[m], plan, layouts, scratch, error));
done:
    if (description)
        dnnl_primitive_desc_destroy(description);
    if (status != DVIT_OK)
        variant_free(out, plan->threads);
    return status;
}

/* Asks oneDNN which weight layout it would like; absent if that is the plain one. */
static enum dvit_status choose_layout(struct dvit_matmul_plan *plan, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct layouts layouts;
    dnnl_primitive_desc_t description = NULL;
    struct layout plain = {0};
    dnnl_dims_t dims = {(dnnl_dim_t)plan->shape.inputs, (dnnl_dim_t)plan->shape.outputs};
    DVIT_TRY(layouts_plain(&layouts, &plan->shape, LAYOUT_ROWS, error));
    plain = layouts.weights;
    layouts.weights = (struct layout){0};
    TRY_DNNL(layout_any(&layouts.weights, dims), "an open weight layout");
    DVIT_TRY(primitive_describe(&description, plan, &layouts, error));
    desc_view chosen = dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
    if (!dnnl_memory_desc_equal(chosen, view(&plain)))
        TRY_DNNL(layout_copy(&plan->packed_layout, chosen), "a copy of its layout");
done:
    if (description)
        dnnl_primitive_desc_destroy(description);
    layout_free(&plain);
    layouts_free(&layouts);
    return status;
}

static enum dvit_status product_create(struct product *out, struct dvit_matmul_plan *plan,
                                       size_t rows, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct layouts layouts;
    *out = (struct product){.rows = rows};
    DVIT_TRY(layouts_plain(&layouts, &plan->shape, rows, error));
    DVIT_TRY(variant_create(&out->plain, plan, &layouts, error));
    if (plan->packed_layout.present) {
        layout_free(&layouts.weights);
        TRY_DNNL(layout_copy(&layouts.weights, view(&plan->packed_layout)), "a copied layout");
        DVIT_TRY(variant_create(&out->packed, plan, &layouts, error));
    }
done:
    if (status != DVIT_OK) {
        variant_free(&out->plain, plan->threads);
        variant_free(&out->packed, plan->threads);
        dvit_error_prefix(error, "matrix product of %zu rows, %zu inputs, %zu outputs", rows,
                          plan->shape.inputs, plan->shape.outputs);
    }
    layouts_free(&layouts);
    return status;
}

/* Index of the largest prepared row count ≤ rows, or count if there is none. */
static size_t find(const struct dvit_matmul_plan *plan, size_t rows)
{
    size_t low = 0, high = plan->count; /* products below low are ≤ rows, from high on > rows */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (plan->products[middle].rows <= rows)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? plan->count : low - 1;
}

static enum dvit_status product_insert(struct dvit_matmul_plan *plan, size_t rows,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t at = find(plan, rows);
    if (at < plan->count && plan->products[at].rows == rows)
        return DVIT_OK;
    at = at < plan->count ? at + 1 : 0;
    struct product *grown = realloc(plan->products, (plan->count + 1) * sizeof *grown);
    if (!grown)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "matrix product: out of memory");
    plan->products = grown;
    struct product product;
    DVIT_TRY(product_create(&product, plan, rows, error));
    memmove(grown + at + 1, grown + at, (plan->count - at) * sizeof *grown);
    grown[at] = product;
    plan->count++;
    plan->largest_rows = rows > plan->largest_rows ? rows : plan->largest_rows;
done:
    return status;
}

/* --- the backend ------------------------------------------------------------------------------ */

static void close_plan(struct dvit_matmul_plan *plan)
{
    if (!plan)
        return;
    for (size_t n = 0; n < plan->count; n++) {
        variant_free(&plan->products[n].plain, plan->threads);
        variant_free(&plan->products[n].packed, plan->threads);
    }
    free(plan->products);
    layout_free(&plan->packed_layout);
    for (int m = 0; plan->streams && m < plan->threads; m++)
        if (plan->streams[m])
            dnnl_stream_destroy(plan->streams[m]);
    free(plan->streams);
    if (plan->engine)
        dnnl_engine_destroy(plan->engine);
    free(plan);
}

static enum dvit_status open_plan(struct dvit_matmul_plan **out,
                                  const struct dvit_matmul_shape *shape, enum dvit_cpu cpu,
                                  int threads, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_kernels kernels;
    *out = NULL;
    struct dvit_matmul_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "matrix product: out of memory");
    dvit_kernels_select(&kernels, cpu);
    plan->to_bf16 = kernels.to_bf16;
    plan->shape = *shape;
    plan->threads = threads;
    plan->streams = calloc((size_t)threads, sizeof *plan->streams);
    if (!plan->streams)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "matrix product: out of memory");
    TRY_DNNL(dnnl_engine_create(&plan->engine, dnnl_cpu, 0), "an engine");
    for (int m = 0; m < threads; m++)
        TRY_DNNL(dnnl_stream_create(&plan->streams[m], plan->engine, dnnl_stream_default_flags),
                 "a stream");
    *out = plan;
    plan = NULL;
done:
    close_plan(plan);
    return status;
}

static enum dvit_status prepare(struct dvit_matmul_plan *plan, size_t rows,
                                struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int team = team_size(1);
    if (plan->count == 0) {
        if (plan->shape.kind == DVIT_MATMUL_FORWARD && !plan->shape.bf16 &&
            !plan->packed_layout.present)
            DVIT_TRY(choose_layout(plan, error));
        for (size_t n = 0; n < sizeof default_rows / sizeof *default_rows; n++)
            DVIT_TRY(product_insert(plan, default_rows[n], error));
    }
    DVIT_TRY(product_insert(plan, rows, error));
done:
    team_size(team);
    return status;
}

static size_t packed_bytes(const struct dvit_matmul_plan *plan)
{
    return plan->packed_layout.present ? dnnl_memory_desc_get_size(view(&plan->packed_layout)) : 0;
}

static enum dvit_status pack(struct dvit_matmul_plan *plan, void *packed, const float *weight,
                             struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct layouts layouts = {0};
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t from = NULL, to = NULL;
    int team = team_size(1);
    if (!plan->packed_layout.present)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "this matrix product has no packed layout");
    DVIT_TRY(layouts_plain(&layouts, &plan->shape, 1, error));
    desc_view source = view(&layouts.weights), target = view(&plan->packed_layout);
    TRY_DNNL(dnnl_reorder_primitive_desc_create(&description, source, plan->engine, target,
                                                plan->engine, NULL),
             "to pack weights");
    TRY_DNNL(dnnl_primitive_create(&primitive, description), "to pack weights");
    void *readable = NULL;
    memcpy(&readable, &weight, sizeof readable); /* oneDNN's handles are not const; it only reads */
    TRY_DNNL(dnnl_memory_create(&from, source, plan->engine, readable), "a memory object");
    TRY_DNNL(dnnl_memory_create(&to, target, plan->engine, packed), "a memory object");
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    TRY_DNNL(dnnl_primitive_execute(primitive, plan->streams[0], 2, arguments), "to pack weights");
    TRY_DNNL(dnnl_stream_wait(plan->streams[0]), "to pack weights");
done:
    team_size(team);
    if (from)
        dnnl_memory_destroy(from);
    if (to)
        dnnl_memory_destroy(to);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (description)
        dnnl_primitive_desc_destroy(description);
    layouts_free(&layouts);
    return status;
}

/* Where a run rounds its activations to: after oneDNN's own scratch. */
static size_t rounded_offset(const struct dvit_matmul_plan *plan)
{
    return (plan->scratch_bytes + 63) / 64 * 64;
}

static size_t rounded_bytes(size_t rows, size_t width)
{
    return (rows * width * sizeof(uint16_t) + 63) / 64 * 64;
}

static size_t scratch_bytes(const struct dvit_matmul_plan *plan)
{
    size_t rows = plan->largest_rows, bytes = rounded_offset(plan);
    if (!plan->shape.bf16)
        return plan->scratch_bytes;
    if (plan->shape.kind != DVIT_MATMUL_DATA)
        bytes += rounded_bytes(rows, plan->shape.inputs);
    if (plan->shape.kind != DVIT_MATMUL_FORWARD)
        bytes += rounded_bytes(rows, plan->shape.outputs);
    return bytes;
}

/* to[rows][width] = from, whose rows are `stride` floats apart, rounded. */
static const void *round_rows(const struct dvit_matmul_plan *plan, void *to, const float *from,
                              size_t rows, size_t width, size_t stride)
{
    if (stride == width)
        plan->to_bf16(to, from, rows * width);
    else
        for (size_t r = 0; r < rows; r++)
            plan->to_bf16((uint16_t *)to + r * width, from + r * stride, width);
    return to;
}

/* Points one binding at its data and executes. The three arrays are those of the kind. */
static dnnl_status_t execute(const struct variant *variant, dnnl_stream_t stream, int member,
                             const void *source, const void *weights, void *target,
                             const struct dvit_matmul_operands *operands)
{
    const struct binding *b = &variant->bindings[member];
    const struct {
        int argument;
        dnnl_memory_t memory;
        const void *data;
    } bound[] = {
        {DNNL_ARG_SRC, b->source, source},
        {DNNL_ARG_WEIGHTS, b->weights, weights},
        {DNNL_ARG_DST, b->target, target},
        {DNNL_ARG_BIAS, b->bias, operands->bias},
        {DNNL_ARG_SCRATCHPAD, b->scratch, operands->scratch},
    };
    dnnl_exec_arg_t arguments[sizeof bound / sizeof *bound];
    int count = 0;
    for (size_t n = 0; n < sizeof bound / sizeof *bound; n++) {
        if (!bound[n].memory)
            continue;
        void *data = NULL;
        memcpy(&data, &bound[n].data, sizeof data); /* oneDNN's handles are not const */
        dnnl_status_t s = dnnl_memory_set_data_handle(bound[n].memory, data);
        if (s != dnnl_success)
            return s;
        arguments[count++] = (dnnl_exec_arg_t){bound[n].argument, bound[n].memory};
    }
    return dnnl_primitive_execute(variant->primitive, stream, count, arguments);
}

/* One prepared row count, in f32. */
static dnnl_status_t run_f32(const struct dvit_matmul_plan *plan, const struct product *product,
                             int member, float *x, float *y,
                             const struct dvit_matmul_operands *operands)
{
    bool packed = operands->packed && plan->packed_layout.present;
    dnnl_stream_t stream = plan->streams[member];
    switch (plan->shape.kind) {
    case DVIT_MATMUL_FORWARD:
        return execute(packed ? &product->packed : &product->plain, stream, member, x,
                       packed ? operands->packed : operands->weight, y, operands);
    case DVIT_MATMUL_DATA:
        return execute(&product->plain, stream, member, y, operands->weight, x, operands);
    case DVIT_MATMUL_WEIGHT:
        break;
    }
    return execute(&product->plain, stream, member, y, x, operands->weight, operands);
}

static dnnl_status_t run_bf16(const struct dvit_matmul_plan *plan, const struct product *product,
                              int member, float *x, float *y,
                              const struct dvit_matmul_operands *operands)
{
    const struct dvit_matmul_shape *shape = &plan->shape;
    size_t rows = product->rows;
    char *first = (char *)operands->scratch + rounded_offset(plan), *second = first;
    const void *rounded_x = NULL, *rounded_y = NULL;
    if (shape->kind != DVIT_MATMUL_DATA) {
        rounded_x = round_rows(plan, first, x, rows, shape->inputs, shape->x_stride);
        second = first + rounded_bytes(rows, shape->inputs);
    }
    if (shape->kind != DVIT_MATMUL_FORWARD)
        rounded_y = round_rows(plan, second, y, rows, shape->outputs, shape->y_stride);
    dnnl_stream_t stream = plan->streams[member];
    switch (shape->kind) {
    case DVIT_MATMUL_FORWARD:
        return execute(&product->plain, stream, member, rounded_x, operands->packed, y, operands);
    case DVIT_MATMUL_DATA:
        return execute(&product->plain, stream, member, rounded_y, operands->packed, x, operands);
    case DVIT_MATMUL_WEIGHT:
        break;
    }
    return execute(&product->plain, stream, member, rounded_y, rounded_x, operands->weight,
                   operands);
}

static enum dvit_status run(const struct dvit_matmul_plan *plan, int member, size_t rows,
                            const struct dvit_matmul_operands *operands)
{
    float *x = operands->x, *y = operands->y;
    dnnl_status_t s = dnnl_success;
    while (rows > 0 && s == dnnl_success) {
        const struct product *product = &plan->products[find(plan, rows)];
        s = plan->shape.bf16 ? run_bf16(plan, product, member, x, y, operands)
                             : run_f32(plan, product, member, x, y, operands);
        x += product->rows * plan->shape.x_stride;
        y += product->rows * plan->shape.y_stride;
        rows -= product->rows;
    }
    return translate(s);
}

const struct dvit_matmul_backend dvit_matmul_dnnl = {
    .open = open_plan,
    .close = close_plan,
    .prepare = prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = scratch_bytes,
    .run = run,
};

/* Products by shape. Row counts to prepare are those of dvit_chunk_count on every share a member
 * can get; the operators must cut rows the same way. */
#include "graph/products.h"

#include <stdlib.h>
#include <string.h>

#include "graph/formats.h"

static bool same_shape(const struct dvit_matmul_shape *a, const struct dvit_matmul_shape *b)
{
    return a->kind == b->kind && a->outputs == b->outputs && a->inputs == b->inputs &&
           a->x_stride == b->x_stride && a->y_stride == b->y_stride && a->bias == b->bias &&
           a->accumulate == b->accumulate && a->bf16 == b->bf16 && a->gelu == b->gelu &&
           a->relu == b->relu && a->residual == b->residual && a->factor == b->factor &&
           a->constant == b->constant && a->int8 == b->int8 && a->x_number == b->x_number &&
           a->y_number == b->y_number;
}

static enum dvit_status find_or_create(struct dvit_products *products,
                                       const struct dvit_matmul_shape *shape,
                                       const struct dvit_matmul **out, struct dvit_error *error)
{
    for (int i = 0; i < products->count; i++)
        if (same_shape(shape, &products->shapes[i])) {
            *out = products->matmuls[i];
            return DVIT_OK;
        }
    size_t count = (size_t)products->count + 1;
    struct dvit_matmul_shape *shapes = realloc(products->shapes, count * sizeof *shapes);
    if (shapes)
        products->shapes = shapes;
    struct dvit_matmul **matmuls = realloc(products->matmuls, count * sizeof *matmuls);
    if (matmuls)
        products->matmuls = matmuls;
    if (!shapes || !matmuls)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "matrix products: out of memory");
    enum dvit_status status =
        dvit_matmul_create(&matmuls[count - 1], shape, products->cpu, products->members, error);
    if (status != DVIT_OK)
        return status;
    shapes[count - 1] = *shape;
    products->count = (int)count;
    *out = matmuls[count - 1];
    return DVIT_OK;
}

static enum dvit_status create_for(struct dvit_products *products, const struct dvit_graph *graph,
                                   struct dvit_op *op, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_op_products want;
    op->class->products(graph, op, products->members, &want);
    op->product.chunk_rows = want.chunk_rows;
    op->product.weight_chunk_rows = want.weight_chunk_rows;
    op->product.weight_first = want.first_output * want.forward.inputs;
    DVIT_TRY(find_or_create(products, &want.forward, &op->product.forward, error));
    if (want.has_data)
        DVIT_TRY(find_or_create(products, &want.data, &op->product.data, error));
    for (int i = 0; i < 2; i++)
        if (want.has_weight[i])
            DVIT_TRY(find_or_create(products, &want.weight[i], &op->product.weight[i], error));
done:
    return status;
}

enum dvit_status dvit_products_create(struct dvit_products *products, struct dvit_graph *graph,
                                      enum dvit_cpu cpu, int members, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *products = (struct dvit_products){.cpu = cpu, .members = members};
    if (!graph->training)
        dvit_formats_choose(graph, cpu);
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i].class->products)
            DVIT_TRY(create_for(products, graph, &graph->ops[i], error));
done:
    if (status != DVIT_OK)
        dvit_products_free(products);
    return status;
}

void dvit_products_free(struct dvit_products *products)
{
    for (int i = 0; i < products->count; i++)
        dvit_matmul_free(products->matmuls[i]);
    free(products->shapes);
    free(products->matmuls);
    dvit_arena_free(&products->packed);
    *products = (struct dvit_products){0};
}

/* Both chunk sizes that `rows` rows are cut into. */
static enum dvit_status prepare_chunks(const struct dvit_matmul *matmul, size_t rows,
                                       size_t chunk_rows, struct dvit_error *error)
{
    int chunks = dvit_chunk_count(rows, chunk_rows);
    enum dvit_status status = DVIT_OK;
    for (int i = 0; i < chunks && status == DVIT_OK; i += chunks > 1 ? chunks - 1 : 1) {
        struct dvit_span span = dvit_span_share(rows, i, chunks);
        /* The products own their objects; only preparation changes them, before any run. */
        status = dvit_matmul_prepare((struct dvit_matmul *)matmul, span.last - span.first, error);
    }
    return status;
}

/* Of rows that are decided at run time: powers of two, of which any count is a sum. */
static enum dvit_status prepare_any(const struct dvit_matmul *matmul, size_t rows,
                                    size_t chunk_rows, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t most = rows < chunk_rows ? rows : chunk_rows;
    for (size_t count = 1; count <= most && status == DVIT_OK; count *= 2)
        status = dvit_matmul_prepare((struct dvit_matmul *)matmul, count, error);
    return status;
}

static enum dvit_status prepare_op(const struct dvit_products *products,
                                   const struct dvit_graph *graph, const struct dvit_op *op,
                                   int images, bool by_rows, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t rows = (size_t)images * dvit_graph_rows(graph, op->outputs[0]);
    const struct dvit_matmul *chunked[2] = {op->product.forward, op->product.data};
    for (int k = 0; k < 2; k++) {
        if (!chunked[k])
            continue;
        if (dvit_graph_decides(graph, graph->values[op->outputs[0]].stage)) {
            DVIT_TRY(prepare_any(chunked[k], rows, op->product.chunk_rows, error));
            continue;
        }
        int parts = by_rows ? products->members : 1;
        for (int part = 0; part<parts; part += parts> 1 ? parts - 1 : 1) {
            struct dvit_span span = dvit_span_share(rows, part, parts);
            DVIT_TRY(
                prepare_chunks(chunked[k], span.last - span.first, op->product.chunk_rows, error));
        }
    }
done:
    return status;
}

enum dvit_status dvit_products_prepare(struct dvit_products *products,
                                       const struct dvit_graph *graph, int images, bool by_rows,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    for (int i = 0; i < graph->op_count; i++)
        if (graph->ops[i].class->products)
            DVIT_TRY(prepare_op(products, graph, &graph->ops[i], images, by_rows, error));
done:
    return status;
}

enum dvit_status dvit_products_prepare_batch(const struct dvit_graph *graph, int images,
                                             struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    for (int i = 0; i < graph->op_count; i++) {
        const struct dvit_op *op = &graph->ops[i];
        if (!op->class->products)
            continue;
        size_t rows = (size_t)images * dvit_graph_rows(graph, op->outputs[0]);
        bool decided = dvit_graph_decides(graph, graph->values[op->outputs[0]].stage);
        for (int k = 0; k < 2; k++)
            if (op->product.weight[k])
                DVIT_TRY((decided ? prepare_any : prepare_chunks)(
                    op->product.weight[k], rows, op->product.weight_chunk_rows, error));
    }
done:
    return status;
}

/* Layout: folded and packed weights one after the other; used to measure and to hand out. */
static void lay_out(struct dvit_products *products, struct dvit_graph *graph)
{
    struct dvit_arena *arena = &products->packed;
    for (int i = 0; i < graph->op_count; i++) {
        struct dvit_op *op = &graph->ops[i];
        struct dvit_op_products shapes;
        if (!op->class->products)
            continue;
        op->class->products(graph, op, products->members, &shapes);
        size_t outputs = shapes.forward.outputs, bytes;
        if (op->class->fold) {
            op->product.weight_folded =
                dvit_arena_take(arena, outputs * shapes.forward.inputs, sizeof(float));
            op->product.bias_folded = dvit_arena_take(arena, outputs, sizeof(float));
        }
        bytes = dvit_matmul_packed_bytes(op->product.forward);
        op->product.packed = bytes ? dvit_arena_take(arena, bytes, 1) : NULL;
    }
}

/* What members pack together: each takes one product after another, with all operators that have
 * it, because packing may use what a product has but once. */
struct packing {
    struct dvit_products *products;
    struct dvit_graph *graph;
    const float *const *parameters;
    atomic_int next; /* product */
    atomic_int failure;
    struct dvit_error *error; /* of the member that failed first */
};

static enum dvit_status pack_op(struct dvit_op *op, const float *const *parameters,
                                struct dvit_error *error)
{
    if (op->class->fold)
        op->class->fold(op, parameters, (float *)op->product.weight_folded,
                        (float *)op->product.bias_folded);
    const float *weight = op->class->fold
                              ? op->product.weight_folded
                              : parameters[op->parameters[0]] + op->product.weight_first;
    if (!op->product.packed)
        return DVIT_OK;
    return dvit_matmul_pack((struct dvit_matmul *)op->product.forward, (void *)op->product.packed,
                            weight, error);
}

static void pack_member(void *context, int member, int members)
{
    struct packing *p = context;
    struct dvit_error own;
    int taken;
    (void)member, (void)members;
    while ((taken = atomic_fetch_add(&p->next, 1)) < p->products->count)
        for (int i = 0; i < p->graph->op_count; i++) { /* what is const to runs is made here */
            struct dvit_op *op = &p->graph->ops[i];
            if (!op->class->products || op->product.forward != p->products->matmuls[taken])
                continue;
            int none = DVIT_OK;
            enum dvit_status status = pack_op(op, p->parameters, &own);
            if (status != DVIT_OK &&
                atomic_compare_exchange_strong(&p->failure, &none, (int)status))
                *p->error = own;
        }
}

enum dvit_status dvit_products_reserve(struct dvit_products *products, struct dvit_graph *graph,
                                       struct dvit_error *error)
{
    lay_out(products, graph);
    enum dvit_status status = dvit_arena_commit(&products->packed, "packed weights", error);
    if (status == DVIT_OK)
        lay_out(products, graph);
    return status;
}

enum dvit_status dvit_products_pack(struct dvit_products *products, struct dvit_graph *graph,
                                    const float *const *parameters, struct dvit_threads *team,
                                    struct dvit_error *error)
{
    struct packing packing = {
        .products = products, .graph = graph, .parameters = parameters, .error = error};
    if (team)
        dvit_threads_run(team, pack_member, &packing);
    else
        pack_member(&packing, 0, 1);
    return (enum dvit_status)atomic_load(&packing.failure);
}

const char *dvit_products_server(const struct dvit_products *products)
{
    return products->count > 0 ? dvit_matmul_server(products->matmuls[0]) : "none";
}

size_t dvit_products_scratch_bytes(const struct dvit_products *products,
                                   const struct dvit_graph *graph,
                                   const struct dvit_kernels *kernels)
{
    size_t largest = 0;
    for (int i = 0; i < products->count; i++) {
        size_t bytes = dvit_matmul_scratch_bytes(products->matmuls[i]);
        largest = bytes > largest ? bytes : largest;
    }
    for (int i = 0; i < graph->op_count; i++) {
        const struct dvit_op *op = &graph->ops[i];
        size_t bytes = op->class->scratch_bytes ? op->class->scratch_bytes(graph, op, kernels) : 0;
        largest = bytes > largest ? bytes : largest;
    }
    return dvit_align_up(largest);
}

/* The choice of formats. A value is floats, but where all who read it would round it to the same
 * before they multiply it, and its maker can write that: then it is rounded once, by its maker, and
 * takes a half or a quarter of the memory and of the way there and back. */
#include "graph/formats.h"

/* Operators whose products are another library's read and write floats. */
static bool serves(const struct dvit_graph *graph, const struct dvit_op *op, enum dvit_cpu cpu)
{
    struct dvit_op_products want;
    if (!op->class->products)
        return true;
    op->class->products(graph, op, 1, &want);
    return dvit_matmul_takes_formats(&want.forward, cpu);
}

static struct dvit_format read_as(const struct dvit_graph *graph, const struct dvit_op *op,
                                  int slot, enum dvit_cpu cpu)
{
    bool floats = !op->class->reads || !serves(graph, op, cpu);
    return floats ? (struct dvit_format){0} : op->class->reads(graph, op, slot);
}

/* What all who read the value agree on; else floats. */
static struct dvit_format agreed(const struct dvit_graph *graph, int value, enum dvit_cpu cpu)
{
    struct dvit_format format = {0};
    bool first = true;
    for (int i = 0; i < graph->op_count; i++)
        for (int slot = 0; slot < DVIT_OP_INPUTS; slot++) {
            const struct dvit_op *op = &graph->ops[i];
            if (op->inputs[slot] != value)
                continue;
            struct dvit_format wanted = read_as(graph, op, slot, cpu);
            if (!first && !dvit_format_same(wanted, format))
                return (struct dvit_format){0};
            format = wanted;
            first = false;
        }
    return format;
}

/* Readers before makers: an operator that only passes numbers on reads what it writes. */
void dvit_formats_choose(struct dvit_graph *graph, enum dvit_cpu cpu)
{
    for (int i = graph->op_count - 1; i >= 0; i--) {
        const struct dvit_op *op = &graph->ops[i];
        struct dvit_value *value = &graph->values[op->outputs[0]];
        bool able = op->class->writes_formats && op->class->writes_formats(graph, op);
        if (able && !value->keep && serves(graph, op, cpu))
            value->format = agreed(graph, op->outputs[0], cpu);
    }
}

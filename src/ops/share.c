/* The cut of products. Reading a weight takes as long as multiplying a few rows by it, however few
 * there are; so where each member would have fewer, more of them read a part of it each. That costs
 * two meetings of the team. */
#include "ops/share.h"

enum {
    STREAMED_ROWS = 9,     /* whose products take as long as a weight takes to come */
    MEETING_MACS = 1 << 20 /* of one member, in the time that two meetings cost */
};

static size_t parts_of(size_t whole, size_t part)
{
    return (whole + part - 1) / part;
}

static int row_parts(size_t rows, int members)
{
    return rows < (size_t)members ? (int)rows : members;
}

/* Multiply-adds of the member with most, and what meetings cost in such. */
static size_t cost_of(struct dvit_cut cut, size_t rows, size_t panels, size_t inputs)
{
    size_t own = parts_of(rows, (size_t)cut.rows);
    own = own < STREAMED_ROWS ? STREAMED_ROWS : own;
    size_t macs = own * parts_of(panels, (size_t)cut.columns) * DVIT_MATMUL_RANGE * inputs;
    return macs + (cut.columns > 1 ? MEETING_MACS : 0);
}

struct dvit_cut dvit_cut_product(size_t rows, size_t outputs, size_t inputs, int members)
{
    struct dvit_cut best = {members, 1};
    if (rows == 0 || members == 1)
        return best;
    size_t panels = parts_of(outputs, DVIT_MATMUL_RANGE);
    size_t least = cost_of(best, rows, panels, inputs);
    for (int columns = 2; columns <= members && (size_t)columns <= panels; columns *= 2) {
        struct dvit_cut cut = {row_parts(rows, members / columns), columns};
        size_t cost = cost_of(cut, rows, panels, inputs);
        if (cost < least) {
            least = cost;
            best = cut;
        }
    }
    return best;
}

struct dvit_share dvit_cut_share(struct dvit_cut cut, size_t rows, size_t outputs, int member)
{
    if (member >= cut.rows * cut.columns)
        return (struct dvit_share){0};
    size_t panels = parts_of(outputs, DVIT_MATMUL_RANGE);
    struct dvit_share share = {dvit_span_share(rows, member / cut.columns, cut.rows),
                               dvit_span_share(panels, member % cut.columns, cut.columns)};
    share.outputs.first *= DVIT_MATMUL_RANGE;
    share.outputs.last *= DVIT_MATMUL_RANGE;
    share.outputs.last = share.outputs.last < outputs ? share.outputs.last : outputs;
    return share;
}

/* The memory planner: buffers alive together never overlap, and plans are not wasteful; the plans
 * of real graphs, by following who writes where. */
#include <math.h>

#include "base/arena.h"
#include "base/rng.h"
#include "graph/forward.h"
#include "graph/memory.h"
#include "models/vit.h"
#include "test_util.h"

enum { BUFFERS = 60, STEPS = 40 };

static bool alive_together(const struct dvit_buffer *a, const struct dvit_buffer *b)
{
    return a->first <= a->last && b->first <= b->last && a->first <= b->last && b->first <= a->last;
}

static void check_plan(const struct dvit_buffer *buffers, int count, size_t total)
{
    size_t sum = 0, peak = 0;
    for (int i = 0; i < count; i++) {
        const struct dvit_buffer *a = &buffers[i];
        if (a->first > a->last)
            continue;
        sum += dvit_align_up(a->size_bytes);
        assert_int_equal(a->offset % DVIT_ALIGNMENT, 0);
        assert_true(a->offset + a->size_bytes <= total);
        for (int k = 0; k < i; k++) {
            const struct dvit_buffer *b = &buffers[k];
            if (!alive_together(a, b) || !a->size_bytes || !b->size_bytes)
                continue;
            assert_true(a->offset + a->size_bytes <= b->offset ||
                        b->offset + b->size_bytes <= a->offset);
        }
    }
    for (int step = 0; step < STEPS; step++) {
        size_t now = 0;
        for (int i = 0; i < count; i++)
            if (buffers[i].first <= step && step <= buffers[i].last)
                now += dvit_align_up(buffers[i].size_bytes);
        peak = now > peak ? now : peak;
    }
    assert_true(total <= sum);
    assert_true(total >= peak);
}

static void random_lives_never_overlap(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 2000; seed++) {
        struct dvit_rng rng = dvit_rng_stream(4, DVIT_RNG_TEST, 0, seed);
        struct dvit_buffer buffers[BUFFERS], again[BUFFERS];
        struct dvit_error error;
        size_t total, total_again;
        int count = (int)dvit_rng_below(&rng, BUFFERS + 1);
        for (int i = 0; i < count; i++) {
            int first = (int)dvit_rng_below(&rng, STEPS), length = (int)dvit_rng_below(&rng, 12);
            int last = first + length < STEPS ? first + length : STEPS - 1;
            bool never = dvit_rng_below(&rng, 20) == 0;
            uint32_t largest = seed % 2 ? 5000 : 3; /* many sizes, or many equal ones */
            buffers[i] = (struct dvit_buffer){.size_bytes = 40 * dvit_rng_below(&rng, largest),
                                              .first = never ? 1 : first,
                                              .last = never ? 0 : last};
            again[i] = buffers[i];
        }
        assert_ok(dvit_memory_plan(buffers, count, &total, &error), &error);
        check_plan(buffers, count, total);
        assert_ok(dvit_memory_plan(again, count, &total_again, &error), &error);
        assert_int_equal(total, total_again);
        for (int i = 0; i < count; i++)
            assert_int_equal(buffers[i].offset, again[i].offset);
    }
}

static void a_chain_takes_two_buffers(void **state)
{
    (void)state;
    struct dvit_buffer buffers[STEPS];
    struct dvit_error error;
    size_t total;
    for (int i = 0; i < STEPS; i++)
        buffers[i] = (struct dvit_buffer){.size_bytes = 1000, .first = i, .last = i + 1};
    assert_ok(dvit_memory_plan(buffers, STEPS, &total, &error), &error);
    assert_int_equal(total, 2 * dvit_align_up(1000));
}

/* --- plans of real graphs ----------------------------------------------------------------- */

/* Which value each 64-byte block of the activations holds, as the walk goes. */
struct shadow {
    int *owner;
    size_t blocks;
};

static void write_value(struct shadow *s, const struct dvit_forward *f, int value, int images)
{
    size_t bytes = dvit_graph_rows(f->graph, value) * f->graph->values[value].width *
                   (size_t)images * sizeof(float);
    size_t first = (size_t)((unsigned char *)f->values[value] - f->activations) / DVIT_ALIGNMENT;
    for (size_t b = first; b < first + dvit_align_up(bytes) / DVIT_ALIGNMENT; b++) {
        assert_true(b < s->blocks);
        s->owner[b] = value;
    }
}

static void assert_intact(const struct shadow *s, const struct dvit_forward *f, int value,
                          int images)
{
    size_t bytes = dvit_graph_rows(f->graph, value) * f->graph->values[value].width *
                   (size_t)images * sizeof(float);
    size_t first = (size_t)((unsigned char *)f->values[value] - f->activations) / DVIT_ALIGNMENT;
    for (size_t b = first; b < first + dvit_align_up(bytes) / DVIT_ALIGNMENT; b++)
        if (s->owner[b] != value)
            fail_msg("value \"%s\" is overwritten by \"%s\" while it is needed",
                     f->graph->values[value].name, f->graph->values[s->owner[b]].name);
}

/* A member may run ahead of another up to the next barrier: everything that the fast one writes
 * before it must leave alone what the slow one still reads. `ahead`: the fast one's start. */
static void walk_window(const struct dvit_forward *f, struct shadow *s, int first, int last,
                        int images)
{
    const struct dvit_graph *g = f->graph;
    for (int i = first; i < last; i++)
        for (int k = 0; k < DVIT_OP_OUTPUTS; k++)
            if (g->ops[i].outputs[k] != DVIT_NONE)
                write_value(s, f, g->ops[i].outputs[k], images);
    for (int i = first; i < last; i++) {
        for (int k = 0; k < DVIT_OP_INPUTS; k++)
            if (g->ops[i].inputs[k] != DVIT_NONE && !g->values[g->ops[i].inputs[k]].external)
                assert_intact(s, f, g->ops[i].inputs[k], images);
        for (int k = 0; k < DVIT_OP_OUTPUTS; k++)
            if (g->ops[i].outputs[k] != DVIT_NONE)
                assert_intact(s, f, g->ops[i].outputs[k], images);
    }
}

/* Windows between barriers: one operator each in a lane of its own; in a shared lane, every
 * operator that crosses rows, and the runs of operators between two of those. */
static void check_lane(const struct dvit_forward *f, int images)
{
    const struct dvit_graph *g = f->graph;
    struct shadow s = {.blocks = f->plan_bytes / DVIT_ALIGNMENT};
    s.owner = malloc(s.blocks * sizeof *s.owner);
    for (int i = 0; i < g->op_count;) {
        int end = i + 1;
        while (f->members > 1 && !g->ops[i].class->crosses_rows && end < g->op_count &&
               !g->ops[end].class->crosses_rows)
            end++;
        walk_window(f, &s, i, end, images);
        i = end;
    }
    for (int v = 0; v < g->value_count; v++)
        if (g->values[v].keep)
            assert_intact(&s, f, v, images);
    free(s.owner);
}

static void forward_plans_hold(void **state)
{
    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        struct dvit_config config;
        struct dvit_parameters parameters;
        struct dvit_vit_values values;
        struct dvit_graph *graph;
        struct dvit_products products = {0};
        struct dvit_forward lane;
        struct dvit_kernels kernels;
        struct dvit_error error;
        int members = 1 + variant % 3, images = 1 + variant / 3;
        struct dvit_vit_options options = {.keep = variant % 2 ? 0.6 : 1.0,
                                           .want_tokens = variant % 5 == 0};
        assert_ok(dvit_config_parse("vit:dim=32,depth=6,heads=2,patch=4,image=32,classes=5",
                                    &config, &error),
                  &error);
        dvit_config_add_stages(&config, 3, 0.6);
        dvit_kernels_select(&kernels, DVIT_CPU_REFERENCE);
        assert_ok(dvit_parameters_create(&parameters, &config, &error), &error);
        assert_ok(dvit_vit_build(&graph, &values, &config, &parameters, &options, &error), &error);
        assert_ok(dvit_forward_create(&lane, graph, &kernels, &products, images, members, &error),
                  &error);
        check_lane(&lane, images);
        size_t sum = 0;
        for (int v = 0; v < graph->value_count; v++)
            if (!graph->values[v].external)
                sum += dvit_align_up(dvit_graph_rows(graph, v) * graph->values[v].width *
                                     (size_t)images * sizeof(float));
        assert_true(lane.plan_bytes < sum / 4); /* six blocks do share */
        dvit_forward_free(&lane);
        dvit_graph_free(graph);
        dvit_parameters_free(&parameters);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives_never_overlap),
        cmocka_unit_test(a_chain_takes_two_buffers),
        cmocka_unit_test(forward_plans_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

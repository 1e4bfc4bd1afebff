/* Position embeddings on other grids, against PyTorch (tests/golden/published/README.md). */
#include "golden.h"

#include "test_util.h"
#include "weights/position.h"

static void grids_are_pytorchs(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct dvit_grid from, to;
    } grids[] = {{"14x14_24x24", {14, 14}, {24, 24}},
                 {"14x14_10x10", {14, 14}, {10, 10}},
                 {"4x4_3x6", {4, 4}, {3, 6}},
                 {"7x7_9x5", {7, 7}, {9, 5}}};
    struct dvit_safetensors *file = golden_open("../published/positions");
    enum { DIM = 4 };
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++)
        for (int prefix = 1; prefix <= 2; prefix++) {
            char name[64];
            size_t count;
            snprintf(name, sizeof name, "%s.%d.from", grids[i].name, prefix);
            float *from = golden_floats(file, name, NULL);
            snprintf(name, sizeof name, "%s.%d.to", grids[i].name, prefix);
            float *to = golden_floats(file, name, &count);
            float *got = malloc(count * sizeof *got);
            memset(got, 0xff, count * sizeof *got); /* NaN */
            memcpy(got, from, (size_t)prefix * DIM * sizeof *got);
            dvit_position_resize(got + prefix * DIM, grids[i].to, from + prefix * DIM,
                                 grids[i].from, DIM);
            golden_compare(file, name, got, count, 1e-6);
            free(got);
            free(from);
            free(to);
        }
    dvit_safetensors_free(file);
}

/* tools/reference/position_goldens.py: PyTorch's antialiased interpolation. */
static void antialiased_grids_are_pytorchs(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct dvit_grid from, to;
    } grids[] = {{"8x8_4x4", {8, 8}, {4, 4}},
                 {"6x6_10x10", {6, 6}, {10, 10}},
                 {"9x9_6x5", {9, 9}, {6, 5}},
                 {"7x5_3x11", {7, 5}, {3, 11}},
                 {"1x1_2x3", {1, 1}, {2, 3}}};
    struct dvit_safetensors *file = golden_open("../published/positions_antialiased");
    enum { DIM = 66 }; /* more than are summed at a time */
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        char name[64];
        size_t count;
        snprintf(name, sizeof name, "%s.from", grids[i].name);
        float *from = golden_floats(file, name, NULL);
        snprintf(name, sizeof name, "%s.to", grids[i].name);
        float *to = golden_floats(file, name, &count);
        float *got = malloc(count * sizeof *got);
        memset(got, 0xff, count * sizeof *got); /* NaN */
        dvit_position_resize_antialiased(got, grids[i].to, from, grids[i].from, DIM);
        golden_compare(file, name, got, count, 2e-6);
        free(got);
        free(from);
        free(to);
    }
    dvit_safetensors_free(file);
}

static void the_same_grid_stays(void **state)
{
    (void)state;
    enum { ROWS = 3, COLUMNS = 5, DIM = 2, COUNT = ROWS * COLUMNS * DIM };
    float in[COUNT], out[COUNT];
    for (int i = 0; i < COUNT; i++)
        in[i] = (float)(i * 7 % 11) - 3.5f;
    dvit_position_resize(out, (struct dvit_grid){ROWS, COLUMNS}, in,
                         (struct dvit_grid){ROWS, COLUMNS}, DIM);
    assert_memory_equal(in, out, sizeof in);
}

static void one_cell_fills_any_grid(void **state)
{
    (void)state;
    const float in[2] = {0.25f, -3};
    float out[4 * 2];
    dvit_position_resize(out, (struct dvit_grid){1, 4}, in, (struct dvit_grid){1, 1}, 2);
    for (int i = 0; i < 8; i++)
        assert_true(fabsf(out[i] - in[i % 2]) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids_are_pytorchs),
        cmocka_unit_test(antialiased_grids_are_pytorchs),
        cmocka_unit_test(the_same_grid_stays),
        cmocka_unit_test(one_cell_fills_any_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* RandAugment's operations with forced arguments, against Pillow: tests/golden/augment, made by
 * tools/reference/augment_goldens.py. */
#include "test_image_util.h"

#include "image/image_ops.h"

static const unsigned char fill[3] = {124, 116, 104};

static int value_of(int kind, int index, int width, int pixels, int seed)
{
    int x = index / 3 % width, y = index / 3 / width, c = index % 3;
    int value = noise_byte((uint32_t)index, (uint32_t)seed);
    if (kind == 1)
        value = 60 + value / 8 * 2 + 20 * c;
    else if (kind == 2)
        value = 10 + 90 * c + seed % 50;
    else if (kind == 3)
        value = (7 * x + 3 * y + 50 * c + seed) % 256;
    else if (kind == 4)
        value = index / 3 == pixels / 2 ? 255 - 40 * c : value / 32;
    return value;
}

static struct dvit_image picture(int kind, int width, int height, int seed)
{
    struct dvit_image image = noise_image(width, height, 0);
    for (int i = 0; i < 3 * width * height; i++)
        image.pixels[i] = (unsigned char)value_of(kind, i, width, width * height, seed);
    return image;
}

static enum dvit_image_op op_called(const char *name)
{
    int op = 0;
    while (op < DVIT_OP_COUNT && strcmp(dvit_image_op_name((enum dvit_image_op)op), name) != 0)
        op++;
    assert_true(op < DVIT_OP_COUNT);
    return (enum dvit_image_op)op;
}

static int cases_of[DVIT_OP_COUNT];

static void check_line(const char *line)
{
    char name[32], argument[64];
    int kind, width, height, seed;
    unsigned crc;
    assert_int_equal(sscanf(line, "%31s %63s %d %d %d %d %x", name, argument, &kind, &width,
                            &height, &seed, &crc),
                     7);
    enum dvit_image_op op = op_called(name);
    struct dvit_image image = picture(kind, width, height, seed);
    struct dvit_image spare = picture(0, width, height, seed + 1); /* never read before written */
    dvit_image_op_run(op, strtod(argument, NULL), fill, &image, &spare);
    if (image_crc(&image) != crc)
        fail_msg("differs from Pillow: %s", line);
    cases_of[op]++;
    dvit_image_free(&image);
    dvit_image_free(&spare);
}

static void every_operation_gives_pillows_pixels(void **state)
{
    char line[256];
    FILE *file = fopen(source_path("tests/golden/augment/operations.txt"), "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (line[0] != '#')
            check_line(line);
    fclose(file);
    for (int op = 0; op < DVIT_OP_COUNT; op++)
        assert_int_equal(cases_of[op], 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_gives_pillows_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

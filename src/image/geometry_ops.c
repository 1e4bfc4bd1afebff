/* Affine maps of an image onto itself, bit-exact with Pillow 12's bicubic transform: double
 * precision, a kernel with a = −1 whose neighbours are clamped to the edge, truncated. The order of
 * operations is Pillow's: another order gives other pixels. Crops and resizes are elsewhere. */
#include <math.h>

#include "image/image_ops.h"

/* The cubic through four neighbours, `t` after the second. */
static double cubic(double v1, double v2, double v3, double v4, double t)
{
    double p1 = v2;
    double p2 = -v1 + v3;
    double p3 = 2 * (v1 - v2) + v3 - v4;
    double p4 = -v1 + v2 - v3 + v4;
    return p1 + t * (p2 + t * (p3 + t * p4));
}

static int clamp(int value, int size)
{
    return value < 0 ? 0 : value < size ? value : size - 1;
}

static unsigned char truncate_value(double value)
{
    int whole = (int)value, low = whole < 255 ? whole : 255;
    return (unsigned char)(low & ~(low >> 31)); /* no branch, as in color_ops.c */
}

/* Along a row: bytes at four columns. At t = 0 the cubic is its second value. */
static double across(const unsigned char *row, const int column[4], double t)
{
    if (t == 0)
        return row[column[1]];
    return cubic(row[column[0]], row[column[1]], row[column[2]], row[column[3]], t);
}

/* The colour at (x, y), inside the image. */
static void sample(unsigned char to[3], const struct dvit_image *in, double x, double y)
{
    double left = floor(x - 0.5), top = floor(y - 0.5);
    double u = x - 0.5 - left, v = y - 0.5 - top;
    const unsigned char *row[4];
    int column[4];
    for (int k = 0; k < 4; k++) {
        column[k] = 3 * clamp((int)left - 1 + k, in->width);
        row[k] = in->pixels + 3 * (size_t)in->width * (size_t)clamp((int)top - 1 + k, in->height);
    }
    for (int c = 0; c < 3; c++) {
        double value = v == 0
                           ? across(row[1] + c, column, u)
                           : cubic(across(row[0] + c, column, u), across(row[1] + c, column, u),
                                   across(row[2] + c, column, u), across(row[3] + c, column, u), v);
        to[c] = truncate_value(value);
    }
}

void dvit_image_affine(struct dvit_image *image, struct dvit_image *spare,
                       const struct dvit_affine *map, const unsigned char fill[3])
{
    int width = image->width, height = image->height;
    unsigned char *to = spare->pixels;
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++, to += 3) {
            double x = map->a * (column + 0.5) + map->b * (row + 0.5) + map->c;
            double y = map->d * (column + 0.5) + map->e * (row + 0.5) + map->f;
            if (x >= 0 && x < width && y >= 0 && y < height) {
                sample(to, image, x, y);
                continue;
            }
            to[0] = fill[0];
            to[1] = fill[1];
            to[2] = fill[2];
        }
    unsigned char *pixels = image->pixels;
    image->pixels = spare->pixels;
    spare->pixels = pixels;
}

/* To 15 decimals, exactly as Python's round does it: |value| ≤ 1, so value·1e15 has its whole part
 * and some bits of its fraction in a double, and the rest in the product's error. */
static double round_15(double value)
{
    double scaled = value * 1e15, lost = fma(value, 1e15, -scaled);
    double whole = rint(scaled), fraction = scaled - whole + lost;
    whole += fraction > 0.5 ? 1 : fraction < -0.5 ? -1 : 0;
    return whole / 1e15;
}

void dvit_image_rotate(struct dvit_image *image, struct dvit_image *spare, double degrees,
                       const unsigned char fill[3])
{
    const double radians = 3.14159265358979323846 / 180.0;
    double turn = fmod(degrees, 360.0);
    if (turn < 0)
        turn += 360.0;
    double angle = -(turn * radians), x = image->width / 2.0, y = image->height / 2.0;
    double cosine = round_15(cos(angle)), sine = round_15(sin(angle));
    struct dvit_affine map = {.a = cosine, .b = sine, .d = -sine, .e = cosine};
    map.c = map.a * -x + map.b * -y + x;
    map.f = map.d * -x + map.e * -y + y;
    dvit_image_affine(image, spare, &map, fill);
}

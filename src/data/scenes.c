/* Draws the built-in scenes.
 *
 * All parameters are drawn before the first pixel is set and are in units of the image side, so a
 * scene does not depend on the resolution. Shapes are signed distance functions; the coverage of a
 * pixel is its distance to the edge, clamped to half a pixel either way, which is anti-aliasing at
 * the cost of one evaluation. Backgrounds hold muted colours only (saturation ≤ .35) and no class
 * shape with an outline; objects are vivid: that a human finds them at once is intended. */
#include "data/scenes.h"

#include <math.h>
#include <stddef.h>

#include "base/rng.h"

#define PI 3.14159265358979323846

struct colour {
    float r, g, b; /* 0 … 1 */
};
struct vec {
    float x, y;
};

/* ------------------------------------------------------------------------------- classes --- */

enum texture { TEXTURE_PLAIN, TEXTURE_STRIPES, TEXTURE_DOTS, TEXTURE_CHECKS };

/* Not fmaxf and fminf: their NaN rules make them library calls, several times slower. */
static float larger(float a, float b)
{
    return a > b ? a : b;
}

static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float length2(float x, float y)
{
    return sqrtf(x * x + y * y);
}

static float distance_box(struct vec p, float half_x, float half_y)
{
    float x = fabsf(p.x) - half_x, y = fabsf(p.y) - half_y;
    return length2(larger(x, 0), larger(y, 0)) + smaller(larger(x, y), 0);
}

/* Signed distance to a simple polygon: nearest edge, and the sign by crossings. */
static float distance_polygon(struct vec p, const struct vec *corners, int count)
{
    float nearest = 1e9f;
    int inside = 0;
    for (int i = 0, j = count - 1; i < count; j = i++) {
        struct vec a = corners[i], b = corners[j];
        float ex = b.x - a.x, ey = b.y - a.y, wx = p.x - a.x, wy = p.y - a.y;
        float along = smaller(larger((wx * ex + wy * ey) / (ex * ex + ey * ey), 0), 1);
        nearest = smaller(nearest, length2(wx - ex * along, wy - ey * along));
        if ((a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x)
            inside = !inside;
    }
    return inside ? -nearest : nearest;
}

static float distance_disc(struct vec p)
{
    return length2(p.x, p.y) - .92f;
}

static float distance_square(struct vec p)
{
    return distance_box(p, .74f, .74f);
}

static float distance_triangle(struct vec p)
{
    static const struct vec corners[] = {{0, -1}, {.95f, .72f}, {-.95f, .72f}};
    return distance_polygon(p, corners, 3);
}

static float distance_cross(struct vec p)
{
    return smaller(distance_box(p, .98f, .34f), distance_box(p, .34f, .98f));
}

static float distance_ring(struct vec p)
{
    return fabsf(length2(p.x, p.y) - .7f) - .28f;
}

static float distance_star(struct vec p)
{
    static const struct vec corners[] = {
        /* radii 1 and .45, a tenth of a turn apart */
        {0, -1},   {.2645f, -.3641f}, {.9511f, -.3090f}, {.4280f, .1391f},   {.5878f, .8090f},
        {0, .45f}, {-.5878f, .8090f}, {-.4280f, .1391f}, {-.9511f, -.3090f}, {-.2645f, -.3641f}};
    return distance_polygon(p, corners, 10);
}

static float distance_diamond(struct vec p)
{
    static const struct vec corners[] = {{0, -1}, {.64f, 0}, {0, 1}, {-.64f, 0}};
    return distance_polygon(p, corners, 4);
}

static float distance_bars(struct vec p)
{
    struct vec folded = {fabsf(p.x) - .52f, p.y};
    return distance_box(folded, .3f, .82f);
}

static float distance_hexagon(struct vec p)
{
    static const struct vec corners[] = {{.95f, 0},  {.475f, .8227f},   {-.475f, .8227f},
                                         {-.95f, 0}, {-.475f, -.8227f}, {.475f, -.8227f}};
    return distance_polygon(p, corners, 6);
}

static float distance_crescent(struct vec p)
{
    return larger(length2(p.x, p.y) - .95f, .72f - length2(p.x - .5f, p.y));
}

static float distance_arrow(struct vec p)
{
    static const struct vec corners[] = {{0, -1},       {.85f, .05f},  {.34f, .05f}, {.34f, .92f},
                                         {-.34f, .92f}, {-.34f, .05f}, {-.85f, .05f}};
    return distance_polygon(p, corners, 7);
}

static float distance_hourglass(struct vec p)
{
    static const struct vec corners[] = {{.75f, -.9f}, {.2f, 0},  {.75f, .9f},
                                         {-.75f, .9f}, {-.2f, 0}, {-.75f, -.9f}};
    return distance_polygon(p, corners, 6);
}

/* One row per class. Shapes fit the unit circle; hues of the first eight lie 45° apart. */
static const struct {
    const char *name;
    float (*distance)(struct vec p);
    float hue; /* degrees */
    enum texture texture;
    int white_outline; /* else black */
} classes[] = {
    {"disc", distance_disc, 0, TEXTURE_PLAIN, 1},
    {"square", distance_square, 225, TEXTURE_STRIPES, 1},
    {"triangle", distance_triangle, 90, TEXTURE_PLAIN, 0},
    {"cross", distance_cross, 315, TEXTURE_PLAIN, 1},
    {"ring", distance_ring, 180, TEXTURE_PLAIN, 0},
    {"star", distance_star, 45, TEXTURE_PLAIN, 0},
    {"diamond", distance_diamond, 270, TEXTURE_DOTS, 1},
    {"bars", distance_bars, 135, TEXTURE_PLAIN, 0},
    {"hexagon", distance_hexagon, 22, TEXTURE_CHECKS, 0},
    {"crescent", distance_crescent, 67, TEXTURE_PLAIN, 0},
    {"arrow", distance_arrow, 202, TEXTURE_PLAIN, 1},
    {"hourglass", distance_hourglass, 337, TEXTURE_STRIPES, 0},
};
_Static_assert(sizeof classes / sizeof *classes == DVIT_SCENE_MAX_CLASSES, "one row per class");

const char *dvit_scene_class_name(int label)
{
    return classes[label].name;
}

int dvit_scene_label(const struct dvit_scene_style *style, uint32_t index)
{
    return (int)(index % (uint32_t)style->classes);
}

/* -------------------------------------------------------------------------------- canvas --- */

struct canvas {
    uint8_t *pixels; /* [side][side][3] */
    uint8_t *mask;   /* [side][side] */
    int side;
};

/* Rows or columns [low, high) whose pixel centres may lie within `reach` of `centre`. */
static void span(const struct canvas *canvas, float centre, float reach, int *low, int *high)
{
    float side = (float)canvas->side;
    *low = (int)larger(0, floorf((centre - reach) * side) - 1);
    *high = (int)smaller(side, ceilf((centre + reach) * side) + 1);
}

static float clamp01(float value)
{
    return smaller(larger(value, 0), 1);
}

static uint8_t to_byte(float value)
{
    return (uint8_t)(clamp01(value) * 255 + .5f);
}

static void blend(uint8_t *pixel, struct colour colour, float alpha)
{
    pixel[0] = to_byte((float)pixel[0] / 255 * (1 - alpha) + colour.r * alpha);
    pixel[1] = to_byte((float)pixel[1] / 255 * (1 - alpha) + colour.g * alpha);
    pixel[2] = to_byte((float)pixel[2] / 255 * (1 - alpha) + colour.b * alpha);
}

/* Hue in degrees, saturation and value in 0 … 1. */
static struct colour from_hsv(float hue, float saturation, float value)
{
    float channel[3];
    for (int i = 0; i < 3; i++) {
        static const float offset[3] = {5, 3, 1};
        float k = fmodf(offset[i] + (hue + 360) / 60, 6);
        channel[i] = value * (1 - saturation * larger(0, smaller(smaller(k, 4 - k), 1)));
    }
    return (struct colour){channel[0], channel[1], channel[2]};
}

static float draw(struct dvit_rng *rng, double low, double high)
{
    return (float)dvit_rng_range(rng, low, high);
}

static struct colour draw_muted(struct dvit_rng *rng)
{
    float hue = draw(rng, 0, 360), saturation = draw(rng, .02, .35), value = draw(rng, .15, .8);
    return from_hsv(hue, saturation, value);
}

/* ---------------------------------------------------------------------------- background --- */

enum { NOISE_OCTAVES = 3, NOISE_POINTS = 7 * 7 + 13 * 13 + 25 * 25, MAX_CLUTTER = 34 };

enum clutter_kind { CLUTTER_LINE, CLUTTER_BOX, CLUTTER_ELLIPSE, CLUTTER_KINDS };

struct clutter {
    enum clutter_kind kind;
    struct vec centre, half; /* of the image side; a line has half.y = half its width */
    float cosine, sine;
    struct colour colour;
    float alpha;
};

struct background {
    struct colour from, to; /* a gradient along `direction` */
    struct vec direction;
    float noise[NOISE_POINTS]; /* −1 … 1: lattices of 6, 12 and 24 cells a side */
    float noise_strength;
    struct clutter clutter[MAX_CLUTTER];
    int clutter_count;
};

static struct clutter draw_clutter(struct dvit_rng *rng)
{
    struct clutter c = {.kind = (enum clutter_kind)dvit_rng_below(rng, CLUTTER_KINDS)};
    c.centre.x = draw(rng, 0, 1);
    c.centre.y = draw(rng, 0, 1);
    if (c.kind == CLUTTER_LINE) {
        c.half.x = draw(rng, .08, .5);
        c.half.y = draw(rng, .006, .022);
    } else { /* many small, some large */
        float size = draw(rng, .03, .14) + (dvit_rng_below(rng, 5) == 0 ? .1f : 0);
        float aspect = draw(rng, .45, 1);
        c.half.x = size;
        c.half.y = size * aspect;
    }
    float angle = draw(rng, 0, PI);
    c.cosine = cosf(angle);
    c.sine = sinf(angle);
    c.colour = draw_muted(rng);
    c.alpha = draw(rng, .45, .95);
    return c;
}

static void draw_background(struct dvit_rng *rng, struct background *out)
{
    out->from = draw_muted(rng);
    out->to = draw_muted(rng);
    float angle = draw(rng, 0, 2 * PI);
    out->direction = (struct vec){cosf(angle), sinf(angle)};
    out->noise_strength = draw(rng, .06, .16);
    for (int i = 0; i < NOISE_POINTS; i++)
        out->noise[i] = (float)(dvit_rng_u32(rng) >> 8) * 0x1p-23f - 1;
    out->clutter_count = 18 + (int)dvit_rng_below(rng, MAX_CLUTTER - 18 + 1);
    for (int i = 0; i < out->clutter_count; i++)
        out->clutter[i] = draw_clutter(rng);
}

/* Three octaves of bilinear value noise at (x, y) in 0 … 1; about −1 … 1. */
static float noise_at(const float *lattice, float x, float y)
{
    float sum = 0, weight = .5f;
    for (int octave = 0, cells = 6; octave < NOISE_OCTAVES; octave++, cells *= 2) {
        float fx = x * (float)cells, fy = y * (float)cells;
        int ix = (int)fx, iy = (int)fy, stride = cells + 1;
        float u = fx - (float)ix, v = fy - (float)iy;
        const float *p = lattice + iy * stride + ix;
        float top = p[0] + (p[1] - p[0]) * u, bottom = p[stride] + (p[stride + 1] - p[stride]) * u;
        sum += weight * (top + (bottom - top) * v);
        weight *= .75f;
        lattice += stride * stride;
    }
    return sum;
}

static void paint_ground(struct canvas *canvas, const struct background *ground)
{
    float inverse = 1 / (float)canvas->side;
    for (int row = 0; row < canvas->side; row++)
        for (int column = 0; column < canvas->side; column++) {
            float x = ((float)column + .5f) * inverse, y = ((float)row + .5f) * inverse;
            float t =
                clamp01((x - .5f) * ground->direction.x + (y - .5f) * ground->direction.y + .5f);
            float shade = ground->noise_strength * noise_at(ground->noise, x, y);
            uint8_t *pixel =
                canvas->pixels + ((size_t)row * (size_t)canvas->side + (size_t)column) * 3;
            pixel[0] = to_byte(ground->from.r + (ground->to.r - ground->from.r) * t + shade);
            pixel[1] = to_byte(ground->from.g + (ground->to.g - ground->from.g) * t + shade);
            pixel[2] = to_byte(ground->from.b + (ground->to.b - ground->from.b) * t + shade);
        }
}

/* Distance to the edge in units of the image side; exact for boxes, near the edge for ellipses. */
static float clutter_distance(const struct clutter *c, struct vec p)
{
    if (c->kind != CLUTTER_ELLIPSE)
        return distance_box(p, c->half.x, c->half.y);
    float scaled = length2(p.x / c->half.x, p.y / c->half.y);
    float slope = length2(p.x / (c->half.x * c->half.x), p.y / (c->half.y * c->half.y));
    return slope > 0 ? scaled * (scaled - 1) / slope : -c->half.y;
}

static void paint_clutter(struct canvas *canvas, const struct clutter *c)
{
    int left, right, top, bottom;
    float side = (float)canvas->side, cosine = fabsf(c->cosine); /* the sine is never negative */
    span(canvas, c->centre.x, c->half.x * cosine + c->half.y * c->sine, &left, &right);
    span(canvas, c->centre.y, c->half.x * c->sine + c->half.y * cosine, &top, &bottom);
    for (int row = top; row < bottom; row++)
        for (int column = left; column < right; column++) {
            float x = ((float)column + .5f) / side - c->centre.x;
            float y = ((float)row + .5f) / side - c->centre.y;
            struct vec p = {x * c->cosine + y * c->sine, y * c->cosine - x * c->sine};
            float coverage = clamp01(.5f - clutter_distance(c, p) * side);
            if (coverage > 0)
                blend(canvas->pixels + ((size_t)row * (size_t)canvas->side + (size_t)column) * 3,
                      c->colour, coverage * c->alpha);
        }
}

/* -------------------------------------------------------------------------------- object --- */

struct object {
    int label;
    struct vec centre; /* of the image side */
    float radius;      /* of the circle around it, of the image side */
    float cosine, sine;
    struct colour colour, shade; /* fill, and the texture's second colour */
};

#define OUTLINE .17f /* width, of the radius */

static struct object draw_object(struct dvit_rng *rng, int label)
{
    struct object o = {.label = label};
    o.radius = draw(rng, .10, .18);
    float margin = o.radius + .01f;
    o.centre.x = draw(rng, margin, 1 - margin);
    o.centre.y = draw(rng, margin, 1 - margin);
    float angle = draw(rng, -.3, .3);
    o.cosine = cosf(angle);
    o.sine = sinf(angle);
    float hue = classes[label].hue + draw(rng, -9, 9);
    float saturation = draw(rng, .85, 1), value = draw(rng, .85, 1);
    o.colour = from_hsv(hue, saturation, value);
    o.shade = from_hsv(hue, saturation, value * .5f);
    return o;
}

/* Whether p (units of the radius) shows the texture's second colour. */
static int textured(enum texture texture, struct vec p)
{
    float u = p.x * 2.2f - floorf(p.x * 2.2f), v = p.y * 2.2f - floorf(p.y * 2.2f);
    switch (texture) {
    case TEXTURE_PLAIN:
        return 0;
    case TEXTURE_STRIPES:
        return v < .45f;
    case TEXTURE_DOTS:
        return length2(u - .5f, v - .5f) < .3f;
    case TEXTURE_CHECKS:
        return (u < .5f) != (v < .5f);
    }
    return 0;
}

static void paint_object(struct canvas *canvas, const struct object *o)
{
    int left, right, top, bottom;
    float side = (float)canvas->side, pixels_per_radius = o->radius * side;
    float line = classes[o->label].white_outline ? .97f : .04f;
    struct colour outline = {line, line, line};
    span(canvas, o->centre.x, o->radius, &left, &right);
    span(canvas, o->centre.y, o->radius, &top, &bottom);
    for (int row = top; row < bottom; row++)
        for (int column = left; column < right; column++) {
            float x = (((float)column + .5f) / side - o->centre.x) / o->radius;
            float y = (((float)row + .5f) / side - o->centre.y) / o->radius;
            struct vec p = {x * o->cosine + y * o->sine, y * o->cosine - x * o->sine};
            float distance = classes[o->label].distance(p);
            float cover = clamp01(.5f - distance * pixels_per_radius);
            float inner = clamp01(.5f - (distance + OUTLINE) * pixels_per_radius);
            size_t at = (size_t)row * (size_t)canvas->side + (size_t)column;
            if (cover > 0)
                blend(canvas->pixels + at * 3, outline, cover);
            if (inner > 0)
                blend(canvas->pixels + at * 3,
                      textured(classes[o->label].texture, p) ? o->shade : o->colour, inner);
            if (cover >= .5f)
                canvas->mask[at] = 1;
        }
}

void dvit_scene_render(const struct dvit_scene_style *style, uint32_t index, uint8_t *pixels,
                       uint8_t *mask)
{
    struct canvas canvas = {pixels, mask, style->side};
    struct dvit_rng rng = dvit_rng_stream(style->seed, DVIT_RNG_SCENE, style->split, index);
    struct background ground;
    struct object object = draw_object(&rng, dvit_scene_label(style, index));
    draw_background(&rng, &ground);
    for (size_t i = 0; i < (size_t)style->side * (size_t)style->side; i++)
        mask[i] = 0;
    paint_ground(&canvas, &ground);
    for (int i = 0; i < ground.clutter_count; i++)
        paint_clutter(&canvas, &ground.clutter[i]);
    paint_object(&canvas, &object);
}

/* A small drawing surface for the pictures of reports: shapes, text and pasted images.
 *
 * Coordinates are pixels, (0, 0) the top left corner of the top left pixel, x to the right and y
 * down; a colour is 0xRRGGBBAA, AA = 0 draws nothing. Drawing cannot fail visibly: a surface that
 * ran out of memory stays as it is, and dvit_canvas_snapshot reports it. */
#ifndef DVIT_IMAGE_DRAW_H
#define DVIT_IMAGE_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "dvit/image.h"

struct dvit_canvas;

struct dvit_point {
    double x, y;
};

enum dvit_anchor {
    DVIT_ANCHOR_LEFT,   /* x is where the text begins */
    DVIT_ANCHOR_CENTRE, /* x is its middle */
    DVIT_ANCHOR_RIGHT,  /* x is where it ends */
};

enum { DVIT_MAX_CANVAS_SIDE = 32767 }; /* cairo's bound */

/* An opaque white surface. Sides in 1 … DVIT_MAX_CANVAS_SIDE. Caller frees. */
enum dvit_status dvit_canvas_create(struct dvit_canvas **out, int width, int height,
                                    struct dvit_error *error);
void dvit_canvas_free(struct dvit_canvas *canvas); /* NULL is legal */

/* The whole surface in one colour. */
void dvit_canvas_fill(struct dvit_canvas *canvas, uint32_t colour);
/* Filled and outlined; stroke_width in pixels, centred on the edge, 0 = no outline. Filling with a
 * half-transparent colour is how a patch is faded. */
void dvit_canvas_rectangle(struct dvit_canvas *canvas, double x, double y, double width,
                           double height, uint32_t fill, uint32_t stroke, double stroke_width);
/* Slanted lines inside a rectangle, `spacing` pixels apart along x; those of rectangles that touch
 * go on in each other. */
void dvit_canvas_hatch(struct dvit_canvas *canvas, double x, double y, double width, double height,
                       uint32_t colour, double spacing, double line_width);
void dvit_canvas_line(struct dvit_canvas *canvas, double x0, double y0, double x1, double y1,
                      uint32_t colour, double line_width);
/* Open, with round joins; points [count]; a non-finite point interrupts the line. */
void dvit_canvas_polyline(struct dvit_canvas *canvas, const struct dvit_point *points, size_t count,
                          uint32_t colour, double line_width);

/* One line of UTF-8 text in a sans-serif font; y is the base line, size_px the font size. Text that
 * is not valid UTF-8 has its bad bytes shown as U+FFFD. */
void dvit_canvas_text(struct dvit_canvas *canvas, double x, double y, double size_px,
                      uint32_t colour, enum dvit_anchor anchor, bool bold, const char *text);
/* Advance width of that text in pixels. */
double dvit_canvas_text_width(struct dvit_canvas *canvas, double size_px, bool bold,
                              const char *text);

/* Pastes `image` scaled to width × height at (x, y); smooth: interpolated, else blocky pixels. */
void dvit_canvas_image(struct dvit_canvas *canvas, const struct dvit_image *image, double x,
                       double y, double width, double height, bool smooth);

/* The surface's present content, or why something could not be drawn. Caller frees *out. */
enum dvit_status dvit_canvas_snapshot(struct dvit_canvas *canvas, struct dvit_image *out,
                                      struct dvit_error *error);

#endif

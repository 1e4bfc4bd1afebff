/* Accuracy against cost and speed, as a picture. */
#ifndef CLI_EVAL_PLOT_H
#define CLI_EVAL_PLOT_H

#include "cli.h"

struct cli_plot_point {
    const char *line; /* points of the same line are joined, in the order of their x */
    double gmacs, images_per_s, top1;
};

/* Writes the points as an SVG file. Exit status. */
int cli_plot_write(const char *path, const struct cli_plot_point *points, int count);

#endif

/* Measures sessions in turn. */
#include "throughput.h"

#include <stdint.h>
#include <stdlib.h>

#include "cli.h"

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Normalised noise: about what prepared photographs are, −2 … 2. */
static void fill_noise(float *values, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) * (4.0f / 16777216.0f) - 2.0f;
    }
}

/* Runs one lane for about `seconds`, once at least; the mean time of a run into *run_s. */
static enum dvit_status time_lane(const struct cli_lane *lane, double seconds, const float *pixels,
                                  float *logits, double *run_s, struct dvit_error *error)
{
    double begin = cli_seconds(), now = begin;
    int runs = 0;
    do {
        enum dvit_status status =
            dvit_session_run(lane->session, pixels, lane->batch, logits, error);
        if (status != DVIT_OK)
            return status;
        runs++;
        now = cli_seconds();
    } while (now - begin < seconds);
    *run_s = (now - begin) / runs;
    return DVIT_OK;
}

static enum dvit_status run_rounds(struct cli_lane *lanes, int count, int rounds, double seconds,
                                   const float *pixels, float *logits, struct dvit_error *error)
{
    for (int i = 0; i < count; i++) { /* caches and clocks warm up */
        enum dvit_status status =
            time_lane(&lanes[i], 0, pixels, logits, &lanes[i].round_s[0], error);
        if (status != DVIT_OK)
            return status;
    }
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < count; i++) {
            struct cli_lane *lane = &lanes[round % 2 ? count - 1 - i : i]; /* no one always first */
            enum dvit_status status =
                time_lane(lane, seconds / rounds, pixels, logits, &lane->round_s[round], error);
            if (status != DVIT_OK)
                return status;
        }
    return DVIT_OK;
}

int cli_lanes_measure(struct cli_lane *lanes, int count, int rounds, double seconds)
{
    struct dvit_error error = {0};
    size_t pixel_count = 0, logit_count = 0;
    for (int i = 0; i < count; i++) {
        const struct dvit_config *config = dvit_model_config(lanes[i].model);
        size_t batch = (size_t)lanes[i].batch;
        size_t pixels = batch * 3 * (size_t)config->image_width * (size_t)config->image_height;
        size_t logits = batch * (size_t)config->classes;
        pixel_count = pixels > pixel_count ? pixels : pixel_count;
        logit_count = logits > logit_count ? logits : logit_count;
    }
    float *pixels = calloc(pixel_count, sizeof *pixels);
    float *logits = calloc(logit_count, sizeof *logits);
    int code = CLI_EXIT_FAILURE;
    if (!pixels || !logits) {
        cli_error("out of memory for %zu values of images", pixel_count);
    } else {
        fill_noise(pixels, pixel_count);
        enum dvit_status status = run_rounds(lanes, count, rounds, seconds, pixels, logits, &error);
        code = status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
    }
    for (int i = 0; code == CLI_EXIT_OK && i < count; i++) {
        qsort(lanes[i].round_s, (size_t)rounds, sizeof *lanes[i].round_s, compare_doubles);
        lanes[i].latency_s =
            (lanes[i].round_s[(rounds - 1) / 2] + lanes[i].round_s[rounds / 2]) / 2;
        lanes[i].images_per_s = lanes[i].batch / lanes[i].latency_s;
    }
    free(pixels);
    free(logits);
    return code;
}

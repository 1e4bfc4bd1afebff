/* Measures lanes in turn. A lane's sessions run at once, each called by a thread of its own; the
 * time of every run is kept until the percentiles are known. */
#include "throughput.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct times {
    double *seconds; /* [capacity] */
    size_t count, capacity;
};

/* Lets all streams of a turn begin at once, or none where one could not be made. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum { GATE_SHUT, GATE_OPEN, GATE_GIVEN_UP } state;
};

/* One session's part of a lane's turn. */
struct stream {
    struct dvit_session *session;
    int batch;
    const float *pixels;
    float *logits;
    double wanted_s; /* to run for, once at least */
    struct times times;
    double runs_per_s;
    struct gate *gate;
    enum dvit_status status;
    struct dvit_error error;
};

struct measurement {
    struct cli_lane *lanes;
    int count, most_streams;
    struct stream *streams; /* [most_streams], of the lane whose turn it is */
    struct times *times;    /* [count] */
    double *round_s;        /* [count][rounds]: mean time of a run in each round */
    float *pixels;
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double cli_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

void cli_fill_noise(float *values, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) * (4.0f / 16777216.0f) - 2.0f;
    }
}

static bool append(struct times *times, const double *seconds, size_t count)
{
    if (times->capacity - times->count < count) {
        size_t capacity = 2 * (times->capacity + count) + 1024;
        double *grown = realloc(times->seconds, capacity * sizeof *grown);
        if (!grown)
            return false;
        times->seconds = grown;
        times->capacity = capacity;
    }
    memcpy(times->seconds + times->count, seconds, count * sizeof *seconds);
    times->count += count;
    return true;
}

/* ---- a turn ---- */

static void set_gate(struct gate *gate, int state)
{
    pthread_mutex_lock(&gate->mutex);
    gate->state = state;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

static bool pass_gate(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    while (gate->state == GATE_SHUT)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    bool open = gate->state == GATE_OPEN;
    pthread_mutex_unlock(&gate->mutex);
    return open;
}

static void *run_stream(void *context)
{
    struct stream *s = context;
    if (!pass_gate(s->gate))
        return NULL;
    double begin = cli_seconds(), now = begin;
    s->times.count = 0;
    do {
        double before = now;
        s->status = dvit_session_run(s->session, s->pixels, s->batch, s->logits, &s->error);
        if (s->status != DVIT_OK)
            return NULL;
        now = cli_seconds();
        double taken = now - before;
        if (!append(&s->times, &taken, 1)) {
            cli_error("out of memory for the times of runs");
            s->status = DVIT_ERROR_MEMORY;
            return NULL;
        }
    } while (now - begin < s->wanted_s);
    s->runs_per_s = (double)s->times.count / (now - begin);
    return NULL;
}

/* All streams at once; the caller is the first one. */
static int run_streams(struct stream *streams, int count)
{
    pthread_t threads[CLI_MAX_STREAMS];
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, GATE_SHUT};
    int made = 1;
    for (int i = 0; i < count; i++)
        streams[i].gate = &gate;
    while (made < count && pthread_create(&threads[made], NULL, run_stream, &streams[made]) == 0)
        made++;
    set_gate(&gate, made == count ? GATE_OPEN : GATE_GIVEN_UP);
    run_stream(&streams[0]);
    for (int i = 1; i < made; i++)
        pthread_join(threads[i], NULL);
    if (made < count) {
        cli_error("cannot start stream %d of %d: no more threads", made + 1, count);
        return CLI_EXIT_FAILURE;
    }
    for (int i = 0; i < count; i++)
        if (streams[i].status != DVIT_OK)
            return streams[i].status == DVIT_ERROR_MEMORY ? CLI_EXIT_FAILURE
                                                          : cli_fail(&streams[i].error);
    return CLI_EXIT_OK;
}

/* Runs a lane for about `seconds`; its runs' times, but where it warms up, and their mean. */
static int take_turn(struct measurement *m, int index, double seconds, double *mean_s)
{
    const struct cli_lane *lane = &m->lanes[index];
    double runs_per_s = 0;
    for (int i = 0; i < lane->streams; i++) {
        struct stream *stream = &m->streams[i];
        stream->session = lane->sessions[i];
        stream->batch = lane->batch;
        stream->pixels = m->pixels;
        stream->wanted_s = seconds;
    }
    int code = run_streams(m->streams, lane->streams);
    for (int i = 0; code == CLI_EXIT_OK && i < lane->streams; i++) {
        const struct times *times = &m->streams[i].times;
        runs_per_s += m->streams[i].runs_per_s;
        if (mean_s && !append(&m->times[index], times->seconds, times->count)) {
            cli_error("out of memory for the times of runs");
            code = CLI_EXIT_FAILURE;
        }
    }
    if (mean_s)
        *mean_s = lane->streams / runs_per_s;
    return code;
}

static int run_rounds(struct measurement *m, int rounds, double seconds)
{
    int code = CLI_EXIT_OK;
    for (int i = 0; code == CLI_EXIT_OK && i < m->count; i++) /* caches and clocks warm up */
        code = take_turn(m, i, 0, NULL);
    for (int round = 0; round < rounds; round++)
        for (int i = 0; code == CLI_EXIT_OK && i < m->count; i++) {
            int index = round % 2 ? m->count - 1 - i : i; /* no one always first */
            code = take_turn(m, index, seconds / rounds, &m->round_s[index * rounds + round]);
        }
    return code;
}

/* ---- memory and results ---- */

static bool allocate(struct measurement *m, int rounds)
{
    size_t pixel_count = 0, logit_count = 0;
    for (int i = 0; i < m->count; i++) {
        const struct dvit_config *config = dvit_model_config(m->lanes[i].model);
        size_t batch = (size_t)m->lanes[i].batch;
        size_t pixels = batch * 3 * (size_t)config->image_width * (size_t)config->image_height;
        size_t logits = batch * (size_t)config->classes;
        pixel_count = pixels > pixel_count ? pixels : pixel_count;
        logit_count = logits > logit_count ? logits : logit_count;
        m->most_streams =
            m->lanes[i].streams > m->most_streams ? m->lanes[i].streams : m->most_streams;
    }
    m->pixels = calloc(pixel_count, sizeof *m->pixels);
    m->streams = calloc((size_t)m->most_streams, sizeof *m->streams);
    m->times = calloc((size_t)m->count, sizeof *m->times);
    m->round_s = calloc((size_t)m->count * (size_t)rounds, sizeof *m->round_s);
    bool there = m->pixels && m->streams && m->times && m->round_s;
    for (int i = 0; there && i < m->most_streams; i++) {
        m->streams[i].logits = calloc(logit_count, sizeof(float));
        there = m->streams[i].logits != NULL;
    }
    if (there)
        cli_fill_noise(m->pixels, pixel_count);
    else
        cli_error("out of memory for %zu values of images", pixel_count);
    return there;
}

static void free_memory(struct measurement *m)
{
    for (int i = 0; m->streams && i < m->most_streams; i++) {
        free(m->streams[i].logits);
        free(m->streams[i].times.seconds);
    }
    for (int i = 0; m->times && i < m->count; i++)
        free(m->times[i].seconds);
    free(m->streams);
    free(m->times);
    free(m->round_s);
    free(m->pixels);
}

/* Sorts the times. */
static struct cli_percentiles percentiles_of(struct times *times)
{
    static const double shares[] = {0.5, 0.9, 0.99, 1};
    double found[4];
    qsort(times->seconds, times->count, sizeof *times->seconds, compare_doubles);
    for (int i = 0; i < 4; i++)
        found[i] = times->seconds[(size_t)ceil(shares[i] * (double)times->count) - 1];
    return (struct cli_percentiles){times->count, found[0], found[1], found[2], found[3]};
}

int cli_lanes_measure(struct cli_lane *lanes, int count, int rounds, double seconds)
{
    struct measurement m = {.lanes = lanes, .count = count};
    int code = allocate(&m, rounds) ? run_rounds(&m, rounds, seconds) : CLI_EXIT_FAILURE;
    for (int i = 0; code == CLI_EXIT_OK && i < count; i++) {
        lanes[i].latency_s = cli_median(&m.round_s[i * rounds], rounds);
        lanes[i].images_per_s = lanes[i].streams * lanes[i].batch / lanes[i].latency_s;
        lanes[i].times = percentiles_of(&m.times[i]);
    }
    free_memory(&m);
    return code;
}

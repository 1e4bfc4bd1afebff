/* A session that stays loaded and is asked over standard input: dvit's side of
 * bench/peers/peers.py, where every runtime is a process of its own. It measures itself and
 * compares nothing.
 *
 *     bench_worker MODEL PIXELS BATCH KEEP PRECISION THREADS
 *     PIXELS  prepared images, raw f32 [BATCH][3][height][width]
 *     KEEP    1 is the dense path
 *
 * Each line of input is answered by one line:
 *
 *     answer FILE       runs once and writes f32 logits [BATCH][K], then for every stage i32 kept
 *                       patches [BATCH][k]; "done"
 *     time SECONDS      runs for at least so long, after one run apart; images per second
 *     products SECONDS  GFLOP/s of the matrix products alone on the model's linear layers; 0 where
 *                       they cannot be measured at this precision
 *     macs              multiply-accumulates per image
 *     build             the version and the sources that this was built from */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dvit/dvit.h"
#include "train/revision.h"

struct worker {
    struct dvit_model *model;
    struct dvit_session *session;
    int batch;
    float *pixels; /* [batch][3][height][width] */
    float *logits; /* [batch][K] */
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_worker: %s\n", what);
    exit(1);
}

static void check(enum dvit_status status, const struct dvit_error *error)
{
    if (status != DVIT_OK)
        fail(error->message);
}

static void read_pixels(struct worker *worker, const char *path, size_t count)
{
    FILE *file = fopen(path, "rb");
    worker->pixels = malloc(count * sizeof *worker->pixels);
    if (!file || !worker->pixels ||
        fread(worker->pixels, sizeof *worker->pixels, count, file) != count)
        fail("the file of prepared images cannot be read or is too short");
    fclose(file);
}

static void open_worker(struct worker *worker, char **arguments)
{
    struct dvit_session_options options = dvit_session_options_default();
    struct dvit_error error;
    check(dvit_model_load(&worker->model, arguments[0], NULL, &error), &error);
    const struct dvit_config *config = dvit_model_config(worker->model);
    worker->batch = (int)strtol(arguments[2], NULL, 10);
    options.max_batch = worker->batch;
    options.keep = strtod(arguments[3], NULL);
    options.precision = arguments[4];
    options.threads = (int)strtol(arguments[5], NULL, 10);
    check(dvit_session_create(&worker->session, worker->model, &options, &error), &error);
    size_t images = (size_t)worker->batch;
    size_t image = 3 * (size_t)config->image_width * (size_t)config->image_height;
    read_pixels(worker, arguments[1], images * image);
    worker->logits = malloc(images * (size_t)config->classes * sizeof *worker->logits);
    if (!worker->logits)
        fail("out of memory");
}

static void run(struct worker *worker)
{
    struct dvit_error error;
    check(dvit_session_run(worker->session, worker->pixels, worker->batch, worker->logits, &error),
          &error);
}

static void write_all(FILE *file, const void *data, size_t size, size_t count)
{
    if (fwrite(data, size, count, file) != count)
        fail("the answer cannot be written");
}

static void answer(struct worker *worker, const char *path)
{
    FILE *file = fopen(path, "wb");
    size_t classes = (size_t)dvit_model_config(worker->model)->classes;
    if (!file)
        fail("the answer's file cannot be made");
    run(worker);
    write_all(file, worker->logits, sizeof *worker->logits, (size_t)worker->batch * classes);
    for (int stage = 0; stage < dvit_session_stages(worker->session); stage++)
        for (int image = 0; image < worker->batch; image++) {
            int count;
            const int *kept = dvit_session_kept(worker->session, image, stage, &count);
            write_all(file, kept, sizeof *kept, (size_t)count);
        }
    if (fclose(file) != 0)
        fail("the answer cannot be written");
    puts("done");
}

static void measure(struct worker *worker, double at_least)
{
    int runs = 0;
    run(worker);
    double start = seconds(), elapsed;
    do {
        run(worker);
        runs++;
        elapsed = seconds() - start;
    } while (elapsed < at_least);
    printf("%.6g\n", runs * worker->batch / elapsed);
}

static void products(struct worker *worker, double at_least)
{
    struct dvit_session_info info = dvit_session_describe(worker->session);
    struct dvit_error error;
    double rate;
    check(dvit_matmul_rate(dvit_model_config(worker->model), info.precision, info.threads, at_least,
                           &rate, &error),
          &error);
    printf("%.6g\n", rate);
}

static void obey(struct worker *worker, const char *command, const char *argument)
{
    if (strcmp(command, "answer") == 0)
        answer(worker, argument);
    else if (strcmp(command, "time") == 0)
        measure(worker, strtod(argument, NULL));
    else if (strcmp(command, "products") == 0)
        products(worker, strtod(argument, NULL));
    else if (strcmp(command, "macs") == 0)
        printf("%.6g\n", dvit_session_describe(worker->session).cost.macs);
    else if (strcmp(command, "build") == 0)
        printf("dvit %s, revision %s\n", dvit_version(), DVIT_REVISION);
    else
        fail("unknown command");
    fflush(stdout);
}

int main(int count, char **texts)
{
    struct worker worker = {0};
    char line[4096];
    if (count != 7)
        fail("MODEL PIXELS BATCH KEEP PRECISION THREADS");
    open_worker(&worker, texts + 1);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *space = strchr(line, ' ');
        if (space)
            *space = '\0';
        obey(&worker, line, space ? space + 1 : "");
    }
    free(worker.logits);
    free(worker.pixels);
    dvit_session_free(worker.session);
    dvit_model_free(worker.model);
    return 0;
}

/* From image files to classes: each step of preparing an image alone, at every vector level, and
 * the whole with a model computing beside it. `bench_pipeline FOLDER --steps` prints the first part
 * in milliseconds only, for bench/peers/prepare_images.py.
 *
 *     bench_pipeline FOLDER [--steps | BATCHES [MODEL [PRECISION]]]
 *
 * FOLDER holds JPEG photographs; BATCHES of 32 images are classified per sample, default 4; MODEL
 * is a text such as "deit-s" (the default), dynamic at keep 0.7 with random weights. Steps are
 * measured in processor time of their thread, so that other work on the machine hardly shows. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "dvit/data.h"
#include "dvit/infer.h"
#include "image/room.h"

enum { MAX_FILES = 256, BATCH = 32, ROUNDS = 5, SIDE = 224, NO_DATA = 77 };

static const char *files[MAX_FILES];
static int file_count;

static void stop(const struct dvit_error *error)
{
    fprintf(stderr, "bench_pipeline: %s\n", error->message);
    exit(1);
}

static double clock_of(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

static void list_files(const char *folder)
{
    struct dvit_names names;
    struct dvit_error error;
    if (!dvit_folder_exists(folder)) {
        printf("no folder \"%s\": nothing to measure\n", folder);
        exit(NO_DATA);
    }
    if (dvit_folder_list(folder, &names, &error) != DVIT_OK)
        stop(&error);
    for (size_t i = 0; i < names.count && file_count < MAX_FILES; i++)
        if (names.items[i][0] != '.' &&
            (files[file_count] = dvit_path_join(folder, names.items[i])))
            file_count++;
    dvit_names_free(&names);
    if (file_count == 0)
        exit(NO_DATA);
}

/* ---- steps ---- */

enum step { STEP_DECODE, STEP_RESIZE, STEP_NORMALISE, STEP_COUNT };

/* Seconds of each step, summed over all files; decoding knows no levels. */
static void time_steps(enum dvit_cpu cpu, struct dvit_resizer *resizer, float *pixels,
                       double seconds[STEP_COUNT])
{
    struct dvit_error error;
    struct dvit_preprocess preprocess;
    struct dvit_image image, cut = {0};
    struct dvit_pixel_scale scale;
    struct dvit_pixel_loops loops = dvit_pixel_loops_select(cpu);
    const clockid_t own = CLOCK_THREAD_CPUTIME_ID;
    if (dvit_preprocess_preset("dynamicvit", SIDE, SIDE, &preprocess, &error) != DVIT_OK)
        stop(&error);
    memset(seconds, 0, STEP_COUNT * sizeof *seconds);
    for (int i = 0; i < file_count; i++) {
        double at[STEP_COUNT + 1] = {clock_of(own)};
        if (dvit_image_load(&image, files[i], NULL, NULL, &error) != DVIT_OK)
            stop(&error);
        at[1] = clock_of(own);
        if (dvit_preprocess_cut(&preprocess, &image, resizer, &cut, &error) != DVIT_OK)
            stop(&error);
        at[2] = clock_of(own);
        dvit_pixel_scale_fill(&scale, preprocess.mean, preprocess.std);
        loops.normalise(pixels, cut.pixels, (size_t)SIDE * SIDE, &scale);
        at[3] = clock_of(own);
        for (int step = 0; step < STEP_COUNT; step++)
            seconds[step] += at[step + 1] - at[step];
        dvit_image_free(&image);
    }
    dvit_image_free(&cut);
}

/* Medians in milliseconds per image, the levels from `lowest` on asked in turn. */
static void measure_steps(enum dvit_cpu lowest, int rounds, double ms[DVIT_CPU_COUNT][STEP_COUNT])
{
    static double samples[DVIT_CPU_COUNT][STEP_COUNT][ROUNDS];
    int levels = (int)dvit_cpu_best() + 1;
    struct dvit_resizer resizers[DVIT_CPU_COUNT];
    float *pixels = calloc((size_t)3 * SIDE * SIDE, sizeof *pixels);
    for (int cpu = (int)lowest; cpu < levels; cpu++)
        resizers[cpu] = dvit_resizer_begin((enum dvit_cpu)cpu);
    for (int round = 0; round < rounds; round++)
        for (int cpu = (int)lowest; cpu < levels; cpu++) {
            double seconds[STEP_COUNT];
            time_steps((enum dvit_cpu)cpu, &resizers[cpu], pixels, seconds);
            for (int step = 0; step < STEP_COUNT; step++)
                samples[cpu][step][round] = 1e3 * seconds[step] / file_count;
        }
    for (int cpu = (int)lowest; cpu < levels; cpu++) {
        dvit_resizer_free(&resizers[cpu]);
        for (int step = 0; step < STEP_COUNT; step++)
            ms[cpu][step] = median(samples[cpu][step], rounds);
    }
    free(pixels);
}

static void print_steps(double ms[DVIT_CPU_COUNT][STEP_COUNT])
{
    printf("%d photographs to %dx%d, one thread, ms per image (images/s)\n%-12s %18s %18s %18s\n",
           file_count, SIDE, SIDE, "", "decode", "resize and crop", "normalise");
    for (int cpu = 0; cpu <= (int)dvit_cpu_best(); cpu++) {
        printf("%-12s", dvit_cpu_name((enum dvit_cpu)cpu));
        for (int step = 0; step < STEP_COUNT; step++)
            printf(" %8.3f (%7.0f)", ms[cpu][step], 1e3 / ms[cpu][step]);
        putchar('\n');
    }
}

/* ---- the whole ---- */

struct whole {
    struct dvit_model *model;
    struct dvit_session *session;
    struct dvit_dataset *set;
    struct dvit_loader *ahead, *between; /* read by threads of their own; between the batches */
    float *pixels, *logits;
    int batches, threads;
};

static struct dvit_loader *open_loader(struct whole *whole, int workers)
{
    struct dvit_error error;
    struct dvit_loader *loader;
    struct dvit_loader_options options = dvit_loader_options_default();
    options.batch = BATCH;
    options.workers = workers;
    options.ahead = 1;
    options.preprocess = *dvit_model_preprocess(whole->model);
    if (dvit_loader_create(&loader, whole->set, &options, &error) != DVIT_OK)
        stop(&error);
    return loader;
}

static void open_whole(struct whole *whole, const char *text, const char *precision)
{
    struct dvit_error error;
    struct dvit_config config;
    struct dvit_model *dense = NULL;
    struct dvit_session_options options = dvit_session_options_default();
    struct dvit_dataset_options data = {.cache_bytes = 0, .scene_side = 64};
    size_t images = (size_t)whole->batches * BATCH;
    const char **list = calloc(images, sizeof *list);
    for (size_t i = 0; list && i < images; i++)
        list[i] = files[i % (size_t)file_count];
    options.max_batch = BATCH;
    options.precision = precision;
    if (dvit_config_parse(text, &config, &error) != DVIT_OK ||
        dvit_model_create(&dense, &config, 1, &error) != DVIT_OK ||
        dvit_model_sparsify(&whole->model, dense, 3, NULL, 0.7, 1, &error) != DVIT_OK ||
        dvit_session_create(&whole->session, whole->model, &options, &error) != DVIT_OK ||
        dvit_dataset_open_files(&whole->set, list, images, &data, &error) != DVIT_OK)
        stop(&error);
    whole->threads = dvit_session_describe(whole->session).threads;
    whole->ahead = open_loader(whole, whole->threads);
    whole->between = open_loader(whole, 0);
    whole->pixels =
        calloc((size_t)BATCH * 3 * (size_t)config.image_width * (size_t)config.image_height,
               sizeof *whole->pixels);
    whole->logits = calloc((size_t)BATCH * (size_t)config.classes, sizeof *whole->logits);
    dvit_model_free(dense);
    free(list);
}

/* What classifying all batches cost; `loader` NULL: with images that are there already. */
struct cost {
    double rate;   /* images/s */
    double cpu_ms; /* of all threads, per image */
    double waited; /* share of the time in which the model had no images to work on */
};

static struct cost classify(struct whole *whole, struct dvit_loader *loader, uint64_t epoch)
{
    struct dvit_error error;
    const struct dvit_batch *batch = NULL;
    double images = (double)whole->batches * BATCH, waited = 0;
    double start = dvit_clock_seconds(), cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    if (loader && dvit_loader_start(loader, epoch, 0, &error) != DVIT_OK)
        stop(&error);
    for (int i = 0; i < whole->batches; i++) {
        double asked = dvit_clock_seconds();
        if (loader && (dvit_loader_next(loader, &batch, &error) != DVIT_OK || !batch))
            stop(&error);
        waited += dvit_clock_seconds() - asked;
        if (dvit_session_run(whole->session, batch ? batch->pixels : whole->pixels, BATCH,
                             whole->logits, &error) != DVIT_OK)
            stop(&error);
    }
    double elapsed = dvit_clock_seconds() - start;
    cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    return (struct cost){images / elapsed, 1e3 * cpu / images, waited / elapsed};
}

static void bench_whole(const char *text, const char *precision, int batches, double preparing_ms)
{
    static const char *const names[] = {"the model alone", "read ahead", "read between batches"};
    enum { WAYS = 3 };
    double rates[WAYS][ROUNDS], cpu[WAYS][ROUNDS], waited[WAYS][ROUNDS];
    struct whole whole = {.batches = batches};
    open_whole(&whole, text, precision);
    struct dvit_loader *loaders[WAYS] = {NULL, whole.ahead, whole.between};
    for (int round = -1; round < ROUNDS; round++) /* the first warms up */
        for (int way = 0; way < WAYS; way++) {
            struct cost cost = classify(&whole, loaders[way], (uint64_t)(round + 1));
            if (round < 0)
                continue;
            rates[way][round] = cost.rate;
            cpu[way][round] = cost.cpu_ms;
            waited[way][round] = cost.waited;
        }
    printf("\n%s at keep 0.7, %s, batches of %d, %d threads: medians of %d rounds\n%-22s %9s %14s "
           "%16s\n",
           text, precision, BATCH, whole.threads, ROUNDS, "", "images/s", "cpu ms/image",
           "no images, %");
    for (int way = 0; way < WAYS; way++) {
        rates[way][ROUNDS / 2] = median(rates[way], ROUNDS);
        cpu[way][ROUNDS / 2] = median(cpu[way], ROUNDS);
        printf("%-22s %9.1f %14.2f %16.2f\n", names[way], rates[way][ROUNDS / 2],
               cpu[way][ROUNDS / 2], 100 * median(waited[way], ROUNDS));
    }
    double alone = cpu[0][ROUNDS / 2];
    printf("files to classes at %.1f %% of the model's rate (%.1f %% by processor time); preparing "
           "an image costs %.2f ms beside %.2f, so at most %.1f %% is possible\n",
           100 * rates[1][ROUNDS / 2] / rates[0][ROUNDS / 2], 100 * alone / cpu[1][ROUNDS / 2],
           preparing_ms, alone, 100 * alone / (alone + preparing_ms));
    dvit_loader_free(whole.ahead);
    dvit_loader_free(whole.between);
    dvit_dataset_free(whole.set);
    dvit_session_free(whole.session);
    dvit_model_free(whole.model);
    free(whole.pixels);
    free(whole.logits);
}

int main(int argc, char **argv)
{
    double ms[DVIT_CPU_COUNT][STEP_COUNT];
    if (argc < 2) {
        fprintf(stderr, "usage: bench_pipeline FOLDER [--steps | BATCHES [MODEL [PRECISION]]]\n");
        return 2;
    }
    list_files(argv[1]);
    const double *best = ms[dvit_cpu_best()];
    if (argc > 2 && strcmp(argv[2], "--steps") == 0) {
        measure_steps(dvit_cpu_best(), 3, ms);
        printf("%.4f %.4f %.4f\n", best[STEP_DECODE], best[STEP_RESIZE], best[STEP_NORMALISE]);
        return 0;
    }
    measure_steps(DVIT_CPU_REFERENCE, ROUNDS, ms);
    print_steps(ms);
    bench_whole(argc > 3 ? argv[3] : "deit-s", argc > 4 ? argv[4] : "f32",
                argc > 2 ? (int)strtol(argv[2], NULL, 10) : 4,
                best[STEP_DECODE] + best[STEP_RESIZE] + best[STEP_NORMALISE]);
    for (int i = 0; i < file_count; i++)
        free((char *)files[i]);
    return 0;
}

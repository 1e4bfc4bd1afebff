/* From a model file to its first answer: what a user waits for and what it takes in memory. Every
 * sample is a process of its own that loads the file (warm in the page cache), makes a session and
 * runs one batch; file forms and batch sizes are measured in turn, and medians are printed.
 *
 *     bench_start [MODEL [FOLDER [ROUNDS]]]
 *     MODEL   preset or "vit:…" text; random weights, three stages at keep ratio 0.7 [deit-s]
 *     FOLDER  where the model files are written [.]
 *     ROUNDS  [7] */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dvit/dvit.h"

enum { FORMS = 4, BATCHES = 2, MAX_ROUNDS = 101 };

static const struct form {
    const char *what, *file;
    struct dvit_save_options save;
} forms[FORMS] = {
    {"safetensors f32", "bench-start-f32.safetensors", {DVIT_FILE_SAFETENSORS, "f32"}},
    {"safetensors bf16", "bench-start-bf16.safetensors", {DVIT_FILE_SAFETENSORS, "bf16"}},
    {"PyTorch f32", "bench-start-f32.pth", {DVIT_FILE_TORCH, "f32"}},
    {"PyTorch f16", "bench-start-f16.pth", {DVIT_FILE_TORCH, "f16"}},
};
static const int batches[BATCHES] = {1, 8};

struct sample {
    double load, session, answer; /* seconds since the start */
    double peak_bytes;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void check(enum dvit_status status, const struct dvit_error *error)
{
    if (status == DVIT_OK)
        return;
    fprintf(stderr, "bench_start: %s\n", error->message);
    exit(1);
}

/* Writes the model in all forms; in a process of its own, so that its memory is not inherited. */
static void write_files(const char *text, const char *folder)
{
    struct dvit_config config;
    struct dvit_model *model;
    struct dvit_error error;
    check(dvit_config_parse(text, &config, &error), &error);
    dvit_config_add_stages(&config, 3, 0.7);
    check(dvit_model_create(&model, &config, 1, &error), &error);
    for (int f = 0; f < FORMS; f++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, forms[f].file);
        check(dvit_model_save(model, path, &forms[f].save, &error), &error);
    }
    dvit_model_free(model);
}

static struct sample answer_once(const char *path, int batch)
{
    struct dvit_model *model;
    struct dvit_session *session;
    struct dvit_error error;
    struct sample sample = {0};
    struct dvit_session_options options = dvit_session_options_default();
    options.max_batch = batch;
    double start = seconds();
    check(dvit_model_load(&model, path, NULL, &error), &error);
    sample.load = seconds() - start;
    check(dvit_session_create(&session, model, &options, &error), &error);
    sample.session = seconds() - start;
    const struct dvit_config *config = dvit_model_config(model);
    size_t pixels = (size_t)batch * 3 * (size_t)config->image_width * (size_t)config->image_height;
    float *images = calloc(pixels, sizeof *images);
    float *logits = calloc((size_t)batch * (size_t)config->classes, sizeof *logits);
    check(dvit_session_run(session, images, batch, logits, &error), &error);
    sample.answer = seconds() - start;
    return sample; /* the process ends here: nothing is freed */
}

/* Runs `answer_once` in a child; its peak memory is the child's alone. */
static struct sample measure(const char *path, int batch)
{
    struct sample sample = {0};
    struct rusage usage;
    int pipes[2], status;
    if (pipe(pipes) != 0)
        exit(1);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        sample = answer_once(path, batch);
        _exit(write(pipes[1], &sample, sizeof sample) == (ssize_t)sizeof sample ? 0 : 1);
    }
    close(pipes[1]);
    ssize_t got = read(pipes[0], &sample, sizeof sample);
    close(pipes[0]);
    if (child < 0 || wait4(child, &status, 0, &usage) < 0 || status != 0 ||
        got != (ssize_t)sizeof sample)
        exit(1);
    sample.peak_bytes = 1024.0 * (double)usage.ru_maxrss;
    return sample;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return values[count / 2];
}

static void print_line(const struct form *form, int batch, const struct sample *samples, int rounds,
                       double weights)
{
    double load[MAX_ROUNDS], session[MAX_ROUNDS], answer[MAX_ROUNDS], peak[MAX_ROUNDS];
    for (int r = 0; r < rounds; r++) {
        load[r] = samples[r].load;
        session[r] = samples[r].session;
        answer[r] = samples[r].answer;
        peak[r] = samples[r].peak_bytes;
    }
    double most = median(peak, rounds);
    printf("%-18s %5d %8.1f %10.1f %13.1f %9.1f %18.1f\n", form->what, batch,
           1e3 * median(load, rounds), 1e3 * median(session, rounds), 1e3 * median(answer, rounds),
           most / 1e6, (most - weights) / 1e6);
}

int main(int count, char **arguments)
{
    const char *text = count > 1 ? arguments[1] : "deit-s";
    const char *folder = count > 2 ? arguments[2] : ".";
    int rounds = count > 3 ? atoi(arguments[3]) : 7;
    static struct sample samples[FORMS][BATCHES][MAX_ROUNDS];
    struct dvit_machine machine = dvit_machine_describe();
    struct dvit_config config;
    struct dvit_error error;
    struct dvit_layers *layers;
    double weights = 0;
    int status;
    if (rounds < 1 || rounds > MAX_ROUNDS)
        rounds = 7;

    fflush(NULL);
    pid_t writer = fork();
    if (writer == 0) {
        write_files(text, folder);
        _exit(0);
    }
    if (writer < 0 || waitpid(writer, &status, 0) < 0 || status != 0)
        return 1;
    check(dvit_config_parse(text, &config, &error), &error);
    dvit_config_add_stages(&config, 3, 0.7);
    check(dvit_layers_create(&layers, &config, 0.7, &error), &error);
    for (size_t i = 0; i < dvit_layers_count(layers); i++)
        weights += 4.0 * (double)dvit_layers_get(layers, i).parameters;
    dvit_layers_free(layers);

    for (int r = -1; r < rounds; r++) /* one round to warm up */
        for (int f = 0; f < FORMS; f++)
            for (int b = 0; b < BATCHES; b++) {
                char path[4096];
                snprintf(path, sizeof path, "%s/%s", folder, forms[f].file);
                samples[f][b][r < 0 ? 0 : r] = measure(path, batches[b]);
            }
    printf("%s, keep 0.7, random weights, %.1f MB as f32; dvit %s on %s, %d threads, %s\n", text,
           weights / 1e6, dvit_version(), machine.processor, machine.default_threads,
           machine.backend);
    printf("medians of %d processes each, files in the page cache\n\n", rounds);
    printf("%-18s %5s %8s %10s %13s %9s %18s\n", "file", "batch", "load ms", "session ms",
           "first answer ms", "peak MB", "beyond weights MB");
    for (int f = 0; f < FORMS; f++)
        for (int b = 0; b < BATCHES; b++)
            print_line(&forms[f], batches[b], samples[f][b], rounds, weights);
    for (int f = 0; f < FORMS; f++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, forms[f].file);
        unlink(path);
    }
    return 0;
}

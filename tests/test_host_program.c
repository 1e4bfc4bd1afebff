/* The library as a guest in another program, through the public headers alone: what it must leave
 * as it was (OpenMP's threads, signals), and what it must bear (a fork). */
#define _GNU_SOURCE
#include "test_util.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dvit/dvit.h"

#define SHAPE "vit:dim=48,depth=2,heads=3,patch=8,image=32,classes=4"
#define DATA  "builtin:scenes,image=32,classes=4,train=16,val=16"
enum { PIXELS = 3 * 32 * 32, CLASSES = 4 };

static struct dvit_error error;

static struct dvit_model *tiny_model(void)
{
    struct dvit_config config;
    struct dvit_model *model = NULL;
    assert_ok(dvit_config_parse(SHAPE, &config, &error), &error);
    assert_ok(dvit_model_create(&model, &config, 1, &error), &error);
    return model;
}

static struct dvit_session *session_of(const struct dvit_model *model, int threads)
{
    struct dvit_session *session = NULL;
    struct dvit_session_options options = dvit_session_options_default();
    options.threads = threads;
    options.max_batch = 4;
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    return session;
}

static struct dvit_dataset *data_set(const char *split)
{
    struct dvit_dataset *data = NULL;
    assert_ok(dvit_dataset_open(&data, DATA, split, NULL, &error), &error);
    return data;
}

static struct dvit_loader *loader_of(struct dvit_dataset *data, int workers)
{
    struct dvit_loader *loader = NULL;
    struct dvit_loader_options options = dvit_loader_options_default();
    assert_ok(dvit_preprocess_preset("native", 32, 32, &options.preprocess, &error), &error);
    options.batch = 4;
    options.workers = workers;
    assert_ok(dvit_loader_create(&loader, data, &options, &error), &error);
    return loader;
}

/* --- OpenMP ----------------------------------------------------------------------------------- */

static int (*omp_count)(void);
static void (*omp_set)(int);

/* That of oneDNN, if it has one: this program links none. */
static bool find_openmp(void)
{
    void *get = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    void *set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    memcpy(&omp_count, &get, sizeof get);
    memcpy(&omp_set, &set, sizeof set);
    return get && set;
}

/* Each of the program's threads has a number of its own before, and the same one after. */
static void *use_with_openmp(void *argument)
{
    const struct dvit_model *model = argument;
    static const int counts[] = {1, 2, 5};
    static _Thread_local float pixels[4 * PIXELS], logits[4 * CLASSES];
    struct dvit_session_options options = dvit_session_options_default();
    struct dvit_session *session = NULL;
    struct dvit_error own;
    size_t wrong = 0;
    options.threads = 3;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        omp_set(counts[i]);
        wrong += dvit_session_create(&session, model, &options, &own) != DVIT_OK;
        wrong += omp_count() != counts[i];
        for (int images = 1; images <= 4; images++) {
            wrong += dvit_session_run(session, pixels, images, logits, &own) != DVIT_OK;
            wrong += omp_count() != counts[i];
        }
        dvit_session_free(session);
        wrong += omp_count() != counts[i];
    }
    return wrong ? argument : NULL;
}

static void test_openmp_threads_stay(void **state)
{
    struct dvit_model *model = tiny_model();
    pthread_t threads[2];
    void *wrong = NULL;
    if (!find_openmp()) {
        dvit_model_free(model);
        skip();
    }
    int before = omp_count();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_with_openmp, model), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    assert_int_equal(omp_count(), before);
    assert_null(use_with_openmp(model));
    omp_set(before);
    dvit_model_free(model);
}

static void test_training_leaves_openmp_threads(void **state)
{
    struct dvit_model *model = tiny_model();
    struct dvit_train_options options = dvit_train_options_dense();
    struct dvit_step_speed speed;
    options.batch = 4;
    options.threads = 2;
    if (!find_openmp()) {
        dvit_model_free(model);
        skip();
    }
    int before = omp_count();
    omp_set(5);
    assert_ok(dvit_train_measure(&speed, model, NULL, &options, .01, &error), &error);
    assert_int_equal(omp_count(), 5);
    omp_set(before);
    dvit_model_free(model);
}

/* --- fork ------------------------------------------------------------------------------------- */

struct inherited {
    struct dvit_model *model;
    struct dvit_session *session;
    struct dvit_dataset *data;
    struct dvit_loader *loader;
    float *pixels, *logits; /* of the parent's answer */
};

/* Answers as the parent does, and frees what it inherited. Exit code 0 where all is right. */
static void answer_in_child(const struct inherited *in, int workers)
{
    float logits[4 * CLASSES];
    struct dvit_evaluate_options options = {.batch = 4, .workers = workers};
    struct dvit_evaluation evaluation = {0};
    const struct dvit_batch *batch = NULL;
    alarm(30); /* should it hang */
    for (int i = 0; i < 3; i++)
        if (dvit_session_run(in->session, in->pixels, 4, logits, &error) != DVIT_OK)
            _exit(1);
    if (memcmp(logits, in->logits, sizeof logits) != 0)
        _exit(2);
    if (dvit_evaluate(in->session, in->model, in->data, &options, NULL, NULL, &evaluation,
                      &error) != DVIT_OK)
        _exit(3);
    dvit_evaluation_free(&evaluation);
    enum dvit_status next = dvit_loader_next(in->loader, &batch, &error);
    if (workers ? next != DVIT_ERROR_ARGUMENT || !strstr(error.message, "forked")
                : next != DVIT_OK || !batch)
        _exit(4);
    if (workers && dvit_loader_start(in->loader, 1, 0, &error) != DVIT_ERROR_ARGUMENT)
        _exit(5);
    dvit_session_free(in->session);
    dvit_loader_free(in->loader);
    dvit_dataset_free(in->data);
    dvit_model_free(in->model);
    _exit(0);
}

static void test_fork(void **state)
{
    for (int threads = 1; threads <= 3; threads++) {
        float pixels[4 * PIXELS], logits[4 * CLASSES];
        const struct dvit_batch *batch = NULL;
        struct inherited in = {.model = tiny_model(), .data = data_set("val")};
        int workers = threads - 1, status = 0;
        in.session = session_of(in.model, threads);
        in.loader = loader_of(in.data, workers);
        in.pixels = pixels;
        in.logits = logits;
        for (int i = 0; i < 4 * PIXELS; i++)
            pixels[i] = (float)(i % 17) / 8 - 1;
        assert_ok(dvit_session_run(in.session, pixels, 4, logits, &error), &error);
        assert_ok(dvit_loader_start(in.loader, 0, 0, &error), &error);
        assert_ok(dvit_loader_next(in.loader, &batch, &error), &error);
        usleep(3000); /* workers sleep, a loader's on a full ring */
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            answer_in_child(&in, workers);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_ok(dvit_session_run(in.session, pixels, 4, logits, &error), &error);
        assert_ok(dvit_loader_next(in.loader, &batch, &error), &error);
        dvit_loader_free(in.loader);
        dvit_session_free(in.session);
        dvit_dataset_free(in.data);
        dvit_model_free(in.model);
    }
}

/* --- signals ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t handled;

static void handle(int number)
{
    handled = 1;
}

/* With a signal blocked in all of the program's threads, it stays pending: no thread of a session
 * or a loader takes it. */
static void test_signals_are_the_programs(void **state)
{
    struct dvit_model *model = tiny_model();
    struct dvit_session *session = session_of(model, 3);
    struct dvit_dataset *data = data_set("train");
    struct dvit_loader *loader = loader_of(data, 2);
    sigset_t user, before, pending;
    sigemptyset(&user);
    sigaddset(&user, SIGUSR1);
    signal(SIGUSR1, handle);
    pthread_sigmask(SIG_BLOCK, &user, &before);
    kill(getpid(), SIGUSR1);
    usleep(50000);
    assert_int_equal(handled, 0);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGUSR1), 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(handled, 1);
    signal(SIGUSR1, SIG_DFL);
    dvit_loader_free(loader);
    dvit_dataset_free(data);
    dvit_session_free(session);
    dvit_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openmp_threads_stay),
        cmocka_unit_test(test_training_leaves_openmp_threads),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_signals_are_the_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

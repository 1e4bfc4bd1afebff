/* Waits for the signals of a training in a thread of its own. */
#define _GNU_SOURCE
#include "training_signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "cli.h"

/* Requests to stop: by hand or by a supervisor, a terminal that closes, a batch system that warns
 * of the end of the time. */
static const struct {
    int number;
    bool if_not_ignored; /* at the start of the program */
    bool twice;          /* a second one is meant: it ends the process */
} stops[] = {
    {SIGINT, false, true},  {SIGTERM, false, true}, {SIGHUP, true, false},
    {SIGUSR2, true, false}, {SIGXCPU, true, false},
};
enum { STOPS = sizeof stops / sizeof *stops };

static volatile int stop_requested, save_requests; /* written and read as atomics */
static atomic_bool is_training;
static sigset_t awaited;

static bool is_ignored(int number)
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* As if the signal had never been blocked. */
static void end_by(int number)
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    signal(number, SIG_DFL);
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
}

static bool means_it_when_twice(int number)
{
    for (int i = 0; i < STOPS; i++)
        if (stops[i].number == number)
            return stops[i].twice;
    return false;
}

static void *take_signals(void *unused)
{
    int insisted = 0, number;
    (void)unused;
    for (;;) {
        if (sigwait(&awaited, &number) != 0)
            continue;
        if (number == SIGUSR1) {
            __atomic_fetch_add(&save_requests, 1, __ATOMIC_SEQ_CST);
            continue;
        }
        insisted += means_it_when_twice(number);
        if (!atomic_load(&is_training) || (insisted > 1 && means_it_when_twice(number)))
            end_by(number);
        cli_signals_request_stop();
    }
    return NULL;
}

int cli_signals_start(void)
{
    pthread_t thread;
    sigset_t before;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGUSR1);
    for (int i = 0; i < STOPS; i++)
        if (!stops[i].if_not_ignored || !is_ignored(stops[i].number))
            sigaddset(&awaited, stops[i].number);
    pthread_sigmask(SIG_BLOCK, &awaited, &before);
    int code = pthread_create(&thread, NULL, take_signals, NULL);
    if (code != 0) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        cli_error("cannot start a thread for signals: %s", strerror(code));
        return CLI_EXIT_FAILURE;
    }
    pthread_detach(thread);
    return CLI_EXIT_OK;
}

void cli_signals_training(bool runs)
{
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (runs && !is_ignored(SIGPIPE))
        pthread_sigmask(SIG_BLOCK, &pipe, NULL); /* a write sends it to the thread that writes */
    atomic_store(&is_training, runs);
}

const volatile int *cli_signals_stop(void)
{
    return &stop_requested;
}

const volatile int *cli_signals_saves(void)
{
    return &save_requests;
}

bool cli_signals_reader_gone(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

void cli_signals_request_stop(void)
{
    __atomic_store_n(&stop_requested, 1, __ATOMIC_SEQ_CST);
}

/* The signals of a training, taken by a thread that does nothing else: there are no handlers, and
 * no thread that computes ever runs one. */
#ifndef DVIT_CLI_TRAINING_SIGNALS_H
#define DVIT_CLI_TRAINING_SIGNALS_H

#include <stdbool.h>

/* From here on SIGUSR1 is a request to save, and SIGINT and SIGTERM are requests to stop; so are
 * SIGHUP, SIGUSR2 and SIGXCPU where they were not ignored when the program started (nohup). Before
 * any other thread is started. Reports errors; returns an enum cli_exit. */
int cli_signals_start(void);

/* While a training runs, a request to stop only sets the flag below; a second SIGINT or SIGTERM,
 * and any request at another time, ends the process by that signal. While it runs, and from then
 * on, SIGPIPE does not end the process. */
void cli_signals_training(bool runs);

/* For dvit_train. */
const volatile int *cli_signals_stop(void);
const volatile int *cli_signals_saves(void);

/* Whether the reader of standard output or standard error is gone, as in `dvit train … | head`. */
bool cli_signals_reader_gone(void);
void cli_signals_request_stop(void);

#endif

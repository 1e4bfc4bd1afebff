/* Messages and progress on standard error; time. Results are the commands' own business. */
#define _DEFAULT_SOURCE /* winsize */
#include "cli.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "print.h"
#include "workbench.h"

static bool is_quiet;
static bool has_batches;
static bool line_is_open; /* a progress line without its newline stands on the terminal */

void cli_set_quiet(bool quiet)
{
    is_quiet = quiet;
}

void cli_set_batches(bool batches)
{
    has_batches = batches;
}

void cli_progress_clear(void)
{
    if (line_is_open)
        fputs("\r\033[K", stderr);
    line_is_open = false;
}

static void print_message(const char *prefix, const char *format, va_list arguments)
{
    char *text = cli_text_list(format, arguments);
    cli_progress_clear();
    fprintf(stderr, "%s%s\n", prefix, text ? text : "out of memory");
    free(text);
}

void cli_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message("dvit: error: ", format, arguments);
    va_end(arguments);
}

void cli_note(const char *format, ...)
{
    if (is_quiet)
        return;
    va_list arguments;
    va_start(arguments, format);
    print_message("dvit: ", format, arguments);
    va_end(arguments);
}

void cli_detail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_message("dvit: ", format, arguments);
    va_end(arguments);
}

enum cli_exit cli_exit_of(enum dvit_status status)
{
    switch (status) {
    case DVIT_OK:
        return CLI_EXIT_OK;
    case DVIT_ERROR_ARGUMENT:
        return CLI_EXIT_USAGE;
    case DVIT_ERROR_INTERRUPTED:
        return CLI_EXIT_INTERRUPTED;
    default:
        return CLI_EXIT_FAILURE;
    }
}

int cli_fail(const struct dvit_error *error)
{
    bool hint = error->status == DVIT_ERROR_MEMORY && has_batches;
    cli_error("%s%s", error->message,
              hint ? "; a smaller --batch, image size or model takes less" : "");
    return cli_exit_of(error->status);
}

bool cli_progress_live(void)
{
    return isatty(STDERR_FILENO) != 0;
}

void cli_progress(const char *format, ...)
{
    if (is_quiet)
        return;
    va_list arguments;
    va_start(arguments, format);
    char *text = cli_text_list(format, arguments);
    va_end(arguments);
    if (!text)
        return;
    cli_progress_clear();
    line_is_open = cli_progress_live();
    struct winsize size = {0};
    size_t width = SIZE_MAX; /* a line that wraps could not be rewritten */
    if (line_is_open && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
        width = (size_t)size.ws_col - 1;
    fprintf(stderr, "%.*s%s", cli_shown_bytes(text, width), text, line_is_open ? "" : "\n");
    fflush(stderr);
    free(text);
}

void cli_progress_count(void *context, size_t done, size_t total)
{
    struct cli_counter *counter = context;
    double now = cli_seconds();
    if (counter->started_s == 0)
        counter->started_s = counter->shown_s = now;
    if (now - counter->shown_s < (cli_progress_live() ? 0.1 : 10))
        return;
    counter->shown_s = now;
    char left[32];
    double elapsed = now - counter->started_s;
    double eta = done ? elapsed * (double)(total - done) / (double)done : 0;
    cli_progress("%s %zu/%zu, %s left", counter->what, done, total, cli_duration(eta, left));
}

double cli_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *cli_duration(double seconds, char text[32])
{
    long whole = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (whole >= 3600)
        snprintf(text, 32, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(text, 32, "%ld:%02ld", whole / 60, whole % 60);
    return text;
}

/* The command `dvit`: finds the verb, reads its options, runs it, and makes sure that what was
 * printed has arrived. */
#define _DEFAULT_SOURCE /* SIGXFSZ */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help.h"
#include "command_line.h"
#include "hints.h"
#include "paths.h"

int cli_verb_find(const char *name)
{
    for (int verb = 0; verb < VERB_COUNT; verb++)
        if (strcmp(name, cli_verbs[verb].name) == 0)
            return verb;
    cli_hint_command(name);
    return -1;
}

static char *append(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

/* One word as a shell would take it again; needs 4 bytes for each of its own, and 3. */
static char *append_word(char *at, const char *word)
{
    size_t length = strlen(word);
    if (length > 0 && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789-_./:,=+@%") == length)
        return append(at, word, length);
    at = append(at, "'", 1);
    for (; *word; word++)
        at = *word == '\'' ? append(at, "'\\''", 4) : append(at, word, 1);
    return append(at, "'", 1);
}

/* The whole command line, for the record of a training run; NULL without memory. */
static char *join_command(int count, char **arguments)
{
    size_t size = sizeof "dvit";
    for (int i = 1; i < count; i++)
        size += 4 * strlen(arguments[i]) + 3;
    char *text = malloc(size);
    if (!text)
        return NULL;
    char *at = append(text, "dvit", 4);
    for (int i = 1; i < count; i++)
        at = append_word(append(at, " ", 1), arguments[i]);
    *at = 0;
    return text;
}

static int run_verb(int verb, int count, char **arguments, const char *command)
{
    struct cli_options options;
    enum cli_exit code =
        cli_options_parse(&options, (enum cli_verb_id)verb, count - 2, arguments + 2);
    if (code != CLI_EXIT_OK)
        return code;
    if (options.help) {
        cli_help_verb(stdout, (enum cli_verb_id)verb);
        return CLI_EXIT_OK;
    }
    if (options.version) {
        printf("dvit %s\n", dvit_version());
        return CLI_EXIT_OK;
    }
    options.command = command;
    cli_set_quiet(options.quiet);
    cli_set_batches(cli_option_find("batch", 5, (enum cli_verb_id)verb) != NULL);
    code = cli_paths_check(&options);
    if (code != CLI_EXIT_OK)
        return code;
    return cli_verbs[verb].run(&options);
}

static int run(int count, char **arguments)
{
    const char *first = count > 1 ? arguments[1] : "";
    if (!*first) {
        cli_help_overview(stderr);
        return CLI_EXIT_USAGE;
    }
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0 ||
        strcmp(first, "version") == 0) {
        printf("dvit %s\n", dvit_version());
        return CLI_EXIT_OK;
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
        cli_help_overview(stdout);
        return CLI_EXIT_OK;
    }
    if (first[0] == '-') {
        cli_error("unknown option %s; a command comes first, see `dvit --help`", first);
        return CLI_EXIT_USAGE;
    }
    int verb = cli_verb_find(first);
    if (verb < 0)
        return CLI_EXIT_USAGE;
    char *command = join_command(count, arguments);
    if (!command) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    int code = run_verb(verb, count, arguments, command);
    free(command);
    return code;
}

/* A file that is opened later must not become one of the first three, or messages would be written
 * into it. The modes are such that using what was closed fails, as it would have. */
static void open_standard_descriptors(void)
{
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0 &&
            open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) != descriptor)
            _exit(CLI_EXIT_FAILURE);
}

/* Large model files are mapped: one that another process shortens meanwhile has no bytes where the
 * map has. Only functions that signal handlers may call. */
static void end_of_mapped_file(int signal_number, siginfo_t *info, void *context)
{
    static const char text[] = "dvit: error: a file became shorter while it was read, or its disk "
                               "failed\n";
    (void)context;
    if (info->si_code != BUS_ADRERR) { /* not about a file: as without this handler */
        signal(signal_number, SIG_DFL);
        return;
    }
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(CLI_EXIT_FAILURE); /* nobody to tell */
    _exit(CLI_EXIT_FAILURE);
}

static void handle_shortened_files(void)
{
    struct sigaction action = {.sa_sigaction = end_of_mapped_file,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

int main(int count, char **arguments)
{
    open_standard_descriptors();
    handle_shortened_files();
    signal(SIGXFSZ, SIG_IGN); /* too large for a limit is a failed write, told and cleaned up */
    int code = run(count, arguments);
    bool failed = ferror(stdout) != 0;
    if ((fclose(stdout) != 0 || failed) && code == CLI_EXIT_OK) {
        cli_error("cannot write to standard output");
        code = CLI_EXIT_FAILURE;
    }
    return code;
}

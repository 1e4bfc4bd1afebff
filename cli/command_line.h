/* The command line as data: one table of options gives parsing, help, man page and completion. */
#ifndef DVIT_CLI_COMMAND_LINE_H
#define DVIT_CLI_COMMAND_LINE_H

#include <stdint.h>

#include "cli.h"
#include "dvit/model.h"
#include "dvit/train.h"

/* Bounds of lists on the command line. */
enum {
    CLI_MAX_NUMBERS = 16,
    CLI_MAX_TEXTS = 64,
    CLI_MAX_GROUP = 64,    /* rows of one file of the option table */
    CLI_MAX_OPTIONS = 512, /* rows of the table */
    CLI_MAX_READ_AS = 16,  /* option names of other programs that were understood */
    CLI_WORD = -1,         /* the number for which the row's word was given */
};

struct cli_ints {
    int count;
    int values[CLI_MAX_NUMBERS];
};
struct cli_reals {
    int count;
    double values[CLI_MAX_NUMBERS];
};
struct cli_span {
    double low, high; /* equal where one number was given */
};
struct cli_texts {
    int count;
    const char *values[CLI_MAX_TEXTS];
};
struct cli_words {
    int count;
    char values[CLI_MAX_NUMBERS][16];
};
struct cli_size {
    int width, height; /* 0: not given */
};

/* A word of another program that was read as an option of dvit. */
struct cli_read_as {
    const char *word;
    int length;
    const char *option;
};

/* Everything a command line can say; strings are borrowed from argv. */
struct cli_options {
    enum cli_verb_id verb;
    int operand_count;
    char **operands;
    struct cli_read_as read_as[CLI_MAX_READ_AS]; /* told once all is read */
    int read_as_count;
    const char *command; /* the whole line, for the record of a training run */

    struct dvit_train_options train; /* the library's defaults, overwritten by what was given */

    const char *model;
    struct cli_texts models;
    const char *data;
    const char *calibrate;
    const char *split;
    const char *labels_file;
    const char *out;
    const char *teacher;
    const char *picture;
    const char *gallery;
    const char *title; /* of the page; NULL: made of the runs' names */
    const char *preview;
    const char *predictions;
    const char *confusion;
    const char *plot;
    const char *plot_by; /* what makes a line of the plot */
    const char *profile; /* bench: what makes a row of the profile; NULL: no profile */
    const char *cpu;
    const char *precision;
    const char *packed_cache;
    const char *dtype;
    const char *format;
    const char *preprocess;     /* the preset's name; NULL: the model's own */
    struct cli_reals mean, std; /* one or three; none: the preset's or the model's own */
    double crop;                /* share of the resized side; 0: as there */
    const char *interpolation;  /* NULL: as there */
    const char *resize;         /* the order of resizing's passes; NULL: as there */
    char preprocess_text[512];  /* all of these as dvit_preprocess_change reads them; "": none */
    struct cli_size image_size; /* of the network's input; 0: the model's own */
    int heads;                  /* 0: the model's own */
    int classes;                /* 0: the model's own; CLI_WORD: as many as the data has */
    double tolerance;
    uint64_t seed;
    int batch;
    struct cli_ints batches;
    struct cli_ints streams;
    struct cli_words precisions; /* bench; elsewhere `precision` */
    struct cli_ints stage_blocks;
    const char *pruning; /* NULL: the model's own */
    int stages;
    int threads;
    int workers;
    int top;
    int limit;
    int count;
    int rounds;
    double seconds;
    double keep;               /* 0: the model's own */
    struct cli_span keep_span; /* sparsify */
    struct cli_reals keeps;
    bool average;
    const char *weights_key;
    bool tensors;
    bool contents;
    bool raw;
    bool json;
    bool csv;
    bool quiet;
    bool strict;
    bool logits;
    bool bench_train;
    bool bench_start;
    bool find_rate;
    bool exif;
    bool orient;
    bool per_class;
    bool compare_precisions;
    bool check;
    bool augmented;
    bool man;
    bool completion;
    bool help;
    bool version;
};

enum cli_option_type {
    OPTION_FLAG,    /* bool, becomes true */
    OPTION_FLAG_NO, /* bool, becomes false */
    OPTION_INT,     /* where the row has a `word`, that stands for CLI_WORD; so of OPTION_REAL */
    OPTION_SEED,    /* uint64_t */
    OPTION_SIZE,    /* struct cli_size: "384" or "384x256" */
    OPTION_REAL,
    OPTION_SPAN, /* struct cli_span: "0.7" or "0.5..1" */
    OPTION_TEXT,
    OPTION_CHOICE,  /* one of the words of `choices` */
    OPTION_CHOICES, /* struct cli_words: comma-separated words of `choices` */
    OPTION_INTS,    /* comma-separated */
    OPTION_REALS,   /* comma-separated */
    OPTION_TEXTS,   /* may be given several times; what is given replaces the default */
};

/* What the text of an option or an operand names. cli_paths_check holds outputs against inputs. */
enum cli_path {
    NO_PATH,
    PATH_MODEL,   /* input: a model file, a folder that stands for one, or a shape */
    PATH_DATA,    /* input: a data set or images; no output lies in a folder of them */
    PATH_INPUT,   /* input: some other file */
    PATH_RUN,     /* input: a run folder */
    PATH_OUTPUT,  /* output: a file, or a folder of files named after the images */
    PATH_NEW_RUN, /* output: a run folder */
    PATH_CACHE,   /* output: a folder of files that only dvit names */
};

/* One row: an option as some verbs know it. A name may have several rows with disjoint verbs. */
struct cli_option {
    const char *name;     /* without the dashes */
    const char *argument; /* "N", "FILE", …; NULL for flags */
    enum cli_option_type type;
    enum cli_path path;
    double min, max;          /* of numbers and of each number of a list */
    bool above_min;           /* min itself is out of range */
    bool below_max;           /* max itself is out of range */
    const char *choices;      /* "a|b|c" */
    const char *word;         /* of OPTION_INT and OPTION_REAL: may be given instead of a number */
    const char *default_text; /* parsed into the field; NULL: the field's initial value stands */
    const char *help;
    unsigned verbs;    /* bit 1 << enum cli_verb_id */
    unsigned required; /* same bits */
    size_t field;      /* offset in struct cli_options */
};
/* Row `index` of the table, NULL beyond the last one. */
const struct cli_option *cli_option_at(size_t index);

/* The row of option `name` (length bytes) for `verb`, or NULL. */
const struct cli_option *cli_option_find(const char *name, size_t length, enum cli_verb_id verb);

/* Fills `options` with the defaults of `verb`. */
void cli_options_default(struct cli_options *options, enum cli_verb_id verb);

/* Parses what follows the verb. Reports the first mistake on standard error and returns
 * CLI_EXIT_USAGE; with --help the rest is not demanded. Operands are moved to the front of argv. */
enum cli_exit cli_options_parse(struct cli_options *options, enum cli_verb_id verb, int count,
                                char **arguments);

/* Fills preprocess_text, "NAME:key=value,…", from the options that it is made of; reports a
 * mistake. */
bool cli_preprocess_compose(struct cli_options *options);

/* The default of `option` for `verb` as text, "" where there is none to show. */
const char *cli_option_default(const struct cli_option *option, enum cli_verb_id verb,
                               char text[64]);
/* The range in words, "" where there is none: "1 to 4096", "above 0, at most 1". */
const char *cli_option_range(const struct cli_option *option, char text[96]);

/* The nearest of `count` names within three edits, or NULL. */
const char *cli_nearest(const char *word, size_t length, const char *const *names, size_t count);

#endif

/* Options about number types: what runs, what is written, and what 8 bits are measured on. */
#include "option_rows.h"

static const struct cli_option rows[] = {
    /* ---- precision ---- */
    {.name = "precision",
     .argument = "TYPE",
     .type = OPTION_CHOICE,
     .choices = "f32|bf16|auto",
     .default_text = "f32",
     .field = FIELD(precision),
     .help = "matrix products: bf16 needs AVX-512 BF16, auto takes it where it is; all else stays "
             "f32",
     .verbs = TRAINING},
    {.name = "precision",
     .argument = "TYPE",
     .type = OPTION_CHOICE,
     .choices = PRECISIONS,
     .default_text = "f32",
     .field = FIELD(precision),
     .help = PRECISION_HELP,
     .verbs = RUNNING & ~ON(BENCH)},
    {.name = "packed-cache",
     .argument = "FOLDER",
     .type = OPTION_TEXT,
     .path = PATH_CACHE,
     .field = FIELD(packed_cache),
     .help = "keep the weights there as matrix products read them, and start sooner the next time; "
             "its files may be removed at any time. A file is read only where it and its folder "
             "belong to "
             "you or root and others may not write them; what cannot be read or kept is a warning",
     .verbs = ON(EVAL) | ON(CLASSIFY) | ON(BENCH)},
    TOGGLE("compare-precisions", compare_precisions,
           "instead of the table of accuracy and speed: f32, bf16 and int8, as far as they are to "
           "be had, over the same images; how often the answers and the kept patches differ from "
           "those of f32",
           ON(EVAL)),
    {.name = "dtype",
     .argument = "TYPE",
     .type = OPTION_CHOICE,
     .choices = "f32|f16|bf16|int8",
     .default_text = "f32",
     .field = FIELD(dtype),
     .help =
         "number type of every tensor; int8, of a model of `dvit quantize`, keeps its layers of "
         "bytes and their ranges, which the others drop",
     .verbs = ON(CONVERT)},
    {.name = "calibrate",
     .argument = "SPEC",
     .type = OPTION_TEXT,
     .path = PATH_DATA,
     .field = FIELD(calibrate),
     .help = "images to measure the ranges of layers on: a data set as for `dvit eval --data`, of "
             "which the training part is measured and the validation part checked, or a folder of "
             "images without classes, of which a fifth is checked",
     .verbs = ON(QUANTIZE),
     .required = ON(QUANTIZE)},
    {.name = "out",
     .argument = "FILE",
     .type = OPTION_TEXT,
     .path = PATH_OUTPUT,
     .field = FIELD(out),
     .help = "the model file to write",
     .verbs = ON(QUANTIZE),
     .required = ON(QUANTIZE)},
    {.name = "count",
     .argument = "N",
     .type = OPTION_INT,
     .min = 1,
     .max = COUNTS,
     .default_text = "512",
     .field = FIELD(count),
     .help = "images to measure, drawn by --seed; fewer than 128 are warned about",
     .verbs = ON(QUANTIZE)},
    {.name = "limit",
     .argument = "N",
     .type = OPTION_INT,
     .max = COUNTS,
     .default_text = "1000",
     .field = FIELD(limit),
     .help = "images to check, drawn by --seed; 0 is all",
     .verbs = ON(QUANTIZE)},
};

CLI_OPTION_GROUP(cli_options_precision);

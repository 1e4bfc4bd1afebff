/* Two files of tensors side by side. */
#ifndef DVIT_CLI_COMPARISON_H
#define DVIT_CLI_COMPARISON_H

#include "command_line.h"
#include "stored_file.h"

/* One side: a file's tensors under names that both sides spell alike. */
struct cli_side {
    const char *path;
    struct cli_file_summary summary;
    struct dvit_weight_file *file;
    struct dvit_model *model; /* NULL: the file's own tensors are compared */
    size_t count;
    struct dvit_stored_tensor *tensors;        /* [count], in the order of the file */
    const struct dvit_stored_tensor **by_name; /* [count], in the order of names */
};

enum cli_difference {
    CLI_SAME,
    CLI_ONLY_IN_A,
    CLI_ONLY_IN_B,
    CLI_OTHER_SHAPE,
    CLI_OTHER_TYPE,
    CLI_OTHER_VALUES
};

/* What two tensors of one shape differ by. */
struct cli_distance {
    size_t elements; /* that differ by more than the tolerance */
    double max;      /* |Δ|; infinite where one of the two is not a number */
    double relative; /* max over the largest finite |A|; infinite where that is 0 */
    double rms;
};

struct cli_compared {
    enum cli_difference difference;
    const struct dvit_stored_tensor *a, *b; /* NULL where the side has none */
    struct cli_distance distance;           /* where the shapes agree */
};

struct cli_comparison {
    struct cli_side a, b;
    struct cli_compared *rows; /* [count]: A's tensors in order, then those that only B has */
    size_t count, different;
};

/* Opens and compares the two files of `dvit diff`; errors are reported. Returns an enum cli_exit;
 * to be closed in any case. */
int cli_comparison_run(struct cli_comparison *comparison, const struct cli_options *options);
void cli_comparison_close(struct cli_comparison *comparison);

/* The tensor whose values differ most, NULL where no values differ. */
const struct cli_compared *cli_comparison_largest(const struct cli_comparison *comparison);

#endif

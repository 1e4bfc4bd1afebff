/* Small training graphs whose gradients are compared with differences of their own forward pass.
 *
 * A case builds a graph from free inputs, fixed inputs and parameters through the functions below;
 * everything else (memory full of NaN, teams, second consumers, frozen parameters, the differences
 * and their tolerance) is done here, the same for every operator. */
#ifndef DVIT_TESTS_GRADIENT_CHECK_H
#define DVIT_TESTS_GRADIENT_CHECK_H

#include "graph/builder.h"
#include "graph/training.h"

/* What an input holds, and whether its gradient is checked. */
enum check_fill {
    FILL_FREE,     /* normal numbers; compared with differences */
    FILL_POLICY,   /* 1 for prefix tokens, then 0, 1 and what is between; compared */
    FILL_ANALYTIC, /* normal numbers; has a gradient, which the case's `verify` judges */
    FILL_FIXED,    /* normal numbers; no gradient */
    FILL_TARGETS,  /* positive, rows do not sum to 1; no gradient */
    FILL_DECISION, /* 0 and 1; no gradient */
    FILL_DROPPED,  /* 1 for class tokens, 0 for all patches; no gradient */
};

enum check_variant {
    CHECK_PLAIN,
    CHECK_CONSUMED_BEFORE, /* every free input has another reader before the operator … */
    CHECK_CONSUMED_AFTER,  /* … or after it: then the operator must add to a gradient begun */
    CHECK_FROZEN,          /* no parameter is trained */
    CHECK_FIRST_FIXED,     /* the first free input has no gradient */
    CHECK_VARIANTS
};

enum { CHECK_INPUTS = 16, CHECK_PARAMETERS = 4 };

struct check_input {
    int value;
    enum check_fill fill;
    float *data;
    size_t count;
    const float *reader; /* [count]: the other reader's share of the gradient, or NULL */
};

struct check {
    enum check_variant variant;
    int images, members, patches, prefix, map_width, map_height;
    struct dvit_error error;
    struct dvit_graph *graph;
    struct dvit_builder builder;
    struct check_input inputs[CHECK_INPUTS];
    int input_count;
    float *parameters[CHECK_PARAMETERS], *gradients[CHECK_PARAMETERS];
    size_t counts[CHECK_PARAMETERS];
    int parameter_count;
    struct dvit_kernels kernels;
    struct dvit_products products;
    struct dvit_training training;
    struct dvit_threads *threads;
    struct dvit_training_job job;
    atomic_int failure;
};

struct check_case {
    const char *name;
    int patches; /* per image */
    void (*build)(struct check *check);
    void (*verify)(const struct check *check); /* NULL, or judges what differences cannot */
    int more_prefix;                           /* tokens before the patches, beyond one */
    int map_width, map_height;                 /* of the feature map */
    bool narrow;                               /* with a last layout, of the prefix tokens */
};

/* For cases: each returns a value or parameter index. */
int check_input(struct check *check, enum dvit_rows rows, size_t width, enum check_fill fill);
int check_parameter(struct check *check, size_t count);
/* An operator without class, inputs and parameters: where a case begins. */
extern const struct dvit_op check_no_operands;
/* Appends a loss of value `first`; the second is compared with, the third says which patches count.
 */
void check_loss(struct check *check, const struct dvit_op_class *class, int first, int second,
                int third);
/* Adds Σ weights·value, with random weights, to the loss. */
void check_weigh(struct check *check, int value);
const struct check_input *check_find(const struct check *check, int value);

/* Every case in every variant: gradients against differences (one member), and the same bits for
 * three members, also with fewer images than members. */
void check_cases_run(const struct check_case *cases, size_t count);

#endif

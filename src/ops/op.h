/* What a model is made of: a list of operators over values.
 *
 * A graph is passive data: builders (models/) append to it through graph/builder.h, and walks
 * (graph/) run it, plan it, count it. Each operator is one file here with everything known about
 * it: shape rule, forward, backward, cost. Forward and backward are called by every member of a
 * thread team on the same run; an operator does its member's share and never synchronises.
 *
 * Rows are packed: an activation is [rows][width] for a whole batch, and an image's rows stand
 * together, prefix tokens first (the class token; in distilled models the distillation token too).
 * The layout of a stage (after `stage` selections) says where. One more layout, the last, may hold
 * the rows that are read of the last block: what it would compute of others, nobody looks at. */
#ifndef DVIT_OPS_OP_H
#define DVIT_OPS_OP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/format.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"

/* What one row of a value stands for. */
enum dvit_rows {
    DVIT_ROWS_TOKENS,  /* prefix tokens and patches */
    DVIT_ROWS_PATCHES, /* patches only */
    DVIT_ROWS_IMAGES,  /* one row per image */
    DVIT_ROWS_PIXELS,  /* of a feature map, map_width × map_height per image, row-major */
};

enum {
    DVIT_OP_INPUTS = 4,
    DVIT_OP_OUTPUTS = 3,
    DVIT_OP_PARAMETERS = 3,
    DVIT_NONE = -1, /* an input, output or parameter that is not there */
};

struct dvit_value {
    const char *name; /* of the operator that makes it, or of the input; owned by the graph */
    enum dvit_rows rows;
    int stage; /* its layout: selections before it (0 in training: nothing is removed), or the last
                */
    size_t width;
    struct dvit_format format; /* of its numbers; floats in training */
    bool external;             /* an input: memory is bound by the executor */
    bool gradient;             /* depends on a trained parameter, so a gradient flows through it */
    bool gradient_only;        /* exists for its gradient; no forward memory in training */
    bool remade; /* training: made again for the backward pass of its last reader, by `remake` */
    bool keep;   /* an output of the graph: its memory is never reused */
};

struct dvit_op;
struct dvit_graph;
struct dvit_run;

/* The matrix products of an operator: which it has, and how it cuts rows into chunks. */
struct dvit_op_products {
    struct dvit_matmul_shape forward, data, weight[2];
    size_t first_output; /* of parameter 0, where the products' outputs are a range of its */
    bool has_data;
    bool has_weight[2];       /* for the larger and the smaller share of the members */
    size_t chunk_rows;        /* of forward and data products at most */
    size_t weight_chunk_rows; /* of weight products at most */
};

struct dvit_op_class {
    const char *kind; /* as printed by `dvit info` */
    /* Rows of other members, or of other images' order, are read: all members must have finished
     * what came before, and must wait for it where rows of one image are split. */
    bool crosses_rows;
    /* Inference, where members share the rows of each image: whether they share the columns of
     * output 0 too, and so all meet before and after. NULL: they do not. */
    bool (*splits_columns)(const struct dvit_op *op, const struct dvit_run *run);
    /* Checks the inputs and declares op->outputs through dvit_graph_output. */
    enum dvit_status (*shape)(struct dvit_graph *graph, struct dvit_op *op,
                              struct dvit_error *error);
    void (*forward)(const struct dvit_op *op, struct dvit_run *run);
    /* Decides the layout of its outputs at run time: by one member, when all have finished what
     * came before; nobody goes on before it is done. NULL: layouts are known beforehand. */
    void (*lay_out)(const struct dvit_op *op, struct dvit_run *run);
    /* Training, where something sums over the batch: what each image adds to the sum, for the
     * member's own images; all members meet before forward (backward). NULL: nothing does. */
    void (*forward_partial)(const struct dvit_op *op, struct dvit_run *run);
    void (*backward_partial)(const struct dvit_op *op, struct dvit_run *run);
    /* Training: output 0 for the member's own rows once more, from what is kept, where it is marked
     * `remade`: its memory serves others in between. */
    void (*remake)(const struct dvit_op *op, struct dvit_run *run);
    /* Gradients of the inputs, for the member's own rows. NULL: nothing to do. */
    void (*backward)(const struct dvit_op *op, struct dvit_run *run);
    /* Gradients of the parameters over all rows, for the member's own channels. */
    void (*backward_parameters)(const struct dvit_op *op, struct dvit_run *run);
    /* The matrix products that the operator runs in a team of `members`. NULL: none. */
    void (*products)(const struct dvit_graph *graph, const struct dvit_op *op, int members,
                     struct dvit_op_products *out);
    /* Inference: the forward product's weight [outputs][inputs] and bias [outputs], computed once
     * from the parameters. NULL: they are parameters 0 and 1 as they stand. */
    void (*fold)(const struct dvit_op *op, const float *const *parameters, float *weight,
                 float *bias);
    /* Inference: what input `slot` may come as, because all that is done with it is to multiply it
     * rounded to that; floats elsewhere. NULL: floats. */
    struct dvit_format (*reads)(const struct dvit_graph *graph, const struct dvit_op *op, int slot);
    /* Inference: whether output 0 is written in the format of its value, whatever that is. NULL: it
     * is not. */
    bool (*writes_formats)(const struct dvit_graph *graph, const struct dvit_op *op);
    /* Bytes of scratch per member, the operator's own products' included. NULL: only theirs. */
    size_t (*scratch_bytes)(const struct dvit_graph *graph, const struct dvit_op *op,
                            const struct dvit_kernels *kernels);
    /* Multiply–accumulates per image. NULL: not counted, as the literature counts. */
    double (*macs)(const struct dvit_graph *graph, const struct dvit_op *op);
    /* Index of the input whose gradient is the output's own, unchanged (a residual); or NONE. */
    int passes_gradient;
    bool gathers;        /* of its inputs' rows it reads those alone that it writes */
    bool stops_gradient; /* the outputs have none, whatever the inputs have: a ranking */
};

struct dvit_op {
    const struct dvit_op_class *class;
    const char *name; /* "blocks.0.attn.qkv"; owned by the graph */
    int inputs[DVIT_OP_INPUTS];
    int outputs[DVIT_OP_OUTPUTS];
    int parameters[DVIT_OP_PARAMETERS]; /* indices into the parameter table */
    unsigned accumulate; /* bit i: the gradient of input i was begun by another operator */
    union {
        struct {
            int patch, image_width, image_height; /* pixels */
        } patchify;
        struct {
            float eps;
        } layer_norm;
        struct {
            size_t outputs; /* channels */
            size_t first;   /* of the parameters' channels: an operator may be a range of them */
            bool gelu;
            float factor; /* of the branch, where there is a residual; 0 stands for 1 */
            /* Inference: the product is of 8 bits, and so its input is rounded; scale 0: it is not.
             * Known before anything runs, so that what makes the input may round it. */
            struct dvit_quantised input;
        } linear;
        struct {
            size_t outputs, half; /* channels; half of the input's */
        } kept_linear;
        struct {
            float factor; /* as of linear */
        } layer_scale;
        struct {
            size_t outputs;              /* channels */
            int kernel, stride, padding; /* pixels, square */
            int width, height;           /* pixels of the input */
            int channels;                /* of the input */
            bool planar;                 /* the input is images of planes, not rows of pixels */
            bool patches;                /* the output's pixels are patches */
            int batch_norm[4]; /* inference: parameters weight, bias, mean, variance of the
                                  batch norm and ReLU that follow; or DVIT_NONE */
            float eps;         /* of that batch norm */
            struct dvit_quantised input; /* as of linear */
        } convolution;
        struct {
            float eps;
            int statistics[2]; /* parameters running mean and variance */
        } batch_norm;
        struct {
            int index; /* which of the image's tokens */
        } token;
        struct {
            bool ranked; /* training: exactly `kept` patches stay, those ranked highest */
            int kept;    /* the trainer may set it before each pass */
        } select;
        struct {
            int stage;     /* of the patches that get scores; always 0 in training */
            uint64_t seed; /* of random ones */
        } scores;
        struct {
            int width, height; /* patches of the whole grid */
            int step;          /* distance of neighbours in it, after earlier poolings */
        } pool;
        struct {
            int heads;
            bool masked;
            bool int8;      /* inference: its products are of bytes, whose scales it finds itself */
            float lead_cap; /* training: of the policy's gradient, see kernels.h */
        } attention;
        struct {
            double weight;      /* factor of this term in the total loss */
            double target;      /* ratio: the stage's cumulative keep ratio */
            bool on_batch_mean; /* ratio: square of the mean instead of mean of the squares */
        } loss;
    } is;
    /* The planned products; set by graph/products.c. */
    struct {
        const struct dvit_matmul *forward, *data; /* data: NULL where x has no gradient */
        const struct dvit_matmul *weight[2];      /* for the larger and the smaller share */
        size_t chunk_rows, weight_chunk_rows;     /* as in dvit_op_products */
        size_t weight_first; /* floats before the operator's channels in parameter 0 */
        const float *weight_folded, *bias_folded; /* where the class folds; else NULL */
        const void *packed; /* weight in the product's own layout, or NULL. In training with bf16
                               the trainer points it at its rounded copy */
    } product;
};

struct dvit_graph {
    struct dvit_op *ops;
    struct dvit_value *values;
    int op_count, op_capacity;
    int value_count, value_capacity;
    bool training; /* masked forward and losses; else pruned forward */
    bool bf16;  /* linear layers multiply in bfloat16; weights then come packed, also in training */
    int prefix; /* tokens before the patches: the class token and, distilled, one more */
    int map_width, map_height; /* of the stem's feature map; 0 without one */
    int stages;                /* selections; layouts 0 … stages are what they leave */
    int layouts; /* stages + 1, and one more where rows that are not read are left out */
    int patches; /* N, at stage 0 */
    int *kept; /* [layouts − 1]: patches of layouts 1 …, uniform over images; of the last one at
                  most */
    size_t parameter_count;
    const bool *trained; /* [parameter_count], or NULL for none: parameters that get a gradient */
};

/* Appends a value that `op` makes; returns its index in op->outputs[slot] too. */
enum dvit_status dvit_graph_output(struct dvit_graph *graph, struct dvit_op *op, int slot,
                                   enum dvit_rows rows, int stage, size_t width,
                                   struct dvit_error *error);
/* Error unless input `slot` has the given rows and width (width 0: any). */
enum dvit_status dvit_graph_expect(const struct dvit_graph *graph, const struct dvit_op *op,
                                   int slot, enum dvit_rows rows, size_t width,
                                   struct dvit_error *error);
const struct dvit_value *dvit_op_input(const struct dvit_graph *graph, const struct dvit_op *op,
                                       int slot);
/* Bytes of one row of a value. */
size_t dvit_graph_row_bytes(const struct dvit_graph *graph, int value);
/* Rows of a value per image, where all images keep the stages' common counts. */
size_t dvit_graph_rows(const struct dvit_graph *graph, int value);
/* Patches per image in a layout; at most so many where they are decided at run time. */
int dvit_graph_patches(const struct dvit_graph *graph, int layout);
/* Whether a layout's rows are decided at run time. */
bool dvit_graph_decides(const struct dvit_graph *graph, int layout);
/* True if the operator's parameter in this slot is trained. */
bool dvit_op_trains(const struct dvit_graph *graph, const struct dvit_op *op, int slot);

/* Where images stand in the rows of one stage. */
struct dvit_layout {
    int *offset; /* [images + 1]: first token row of each image, then the total */
    int *token;  /* [rows]: which token of its image each row is in the layout before; or NULL. Of
                    the  last layout, where it is decided at run time */
};

/* One execution, as one member sees it. Everything is borrowed from the executor. */
struct dvit_run {
    const struct dvit_graph *graph;
    const struct dvit_kernels *kernels;
    int images;
    const struct dvit_layout *layout;  /* [layouts] */
    float *const *values;              /* [value_count] */
    float *const *gradients;           /* [value_count]; training */
    const float *const *parameters;    /* [parameter_count] */
    float *const *parameter_gradients; /* [parameter_count]; NULL where not trained */
    int *const *kept; /* [stages]: original indices of the kept patches, images × kept[stage] */
    void *scratch;    /* this member's */
    int member, members;
    int product_member;  /* as the matrix products know this thread */
    bool by_rows;        /* members share the rows of each image; else each has whole images */
    double loss_scale;   /* 1 / micro-batches per step */
    atomic_int *failure; /* a matrix product refused: first status that is not OK */
};

struct dvit_span {
    size_t first, last; /* last is excluded */
};

/* Part `index` of `parts` nearly equal shares of `total`; the larger ones come first. */
struct dvit_span dvit_span_share(size_t total, int index, int parts);
/* This member's images. */
struct dvit_span dvit_run_images(const struct dvit_run *run);
/* This member's rows of a value of this kind and stage. */
struct dvit_span dvit_run_rows(const struct dvit_run *run, enum dvit_rows rows, int stage);
/* All rows of one image. */
struct dvit_span dvit_run_image_rows(const struct dvit_run *run, enum dvit_rows rows, int stage,
                                     int image);
size_t dvit_run_total_rows(const struct dvit_run *run, enum dvit_rows rows, int stage);
/* Pointer to a row of a value, in the value's format; NULL for DVIT_NONE. */
void *dvit_run_row(const struct dvit_run *run, int value, size_t row);
/* `count` floats as numbers of the value's format. */
void dvit_run_round(const struct dvit_run *run, int value, void *to, const float *from,
                    size_t count);
/* Rows `row` … of a value from as many rows of floats, rounded to the value's format. */
void dvit_run_store_rows(const struct dvit_run *run, int value, size_t row, const float *from,
                         size_t rows);
/* Pointer to the first row of a value of floats; NULL for DVIT_NONE. */
float *dvit_run_value(const struct dvit_run *run, int value);
float *dvit_run_gradient(const struct dvit_run *run, int value);
const float *dvit_run_parameter(const struct dvit_run *run, const struct dvit_op *op, int slot);
float *dvit_run_parameter_gradient(const struct dvit_run *run, const struct dvit_op *op, int slot);
/* True if the gradient of input `slot` must be added to what is there. */
bool dvit_op_accumulates(const struct dvit_op *op, int slot);

/* The operators. Input and output slots are documented in each file. */
extern const struct dvit_op_class dvit_op_patchify;
extern const struct dvit_op_class dvit_op_convolution;
extern const struct dvit_op_class dvit_op_batch_norm; /* with ReLU; training */
extern const struct dvit_op_class dvit_op_embed;
extern const struct dvit_op_class dvit_op_layer_norm;
extern const struct dvit_op_class dvit_op_patch_norm; /* tokens in, patches out */
extern const struct dvit_op_class dvit_op_linear;
extern const struct dvit_op_class dvit_op_layer_scale;
extern const struct dvit_op_class dvit_op_attention;
extern const struct dvit_op_class dvit_op_kept_mean;
extern const struct dvit_op_class dvit_op_kept_linear; /* with the linear after it; inference */
extern const struct dvit_op_class dvit_op_select;
extern const struct dvit_op_class dvit_op_place_scores; /* three other ways to scores … */
extern const struct dvit_op_class dvit_op_random_scores;
extern const struct dvit_op_class dvit_op_class_scores;
extern const struct dvit_op_class dvit_op_pool_patches; /* … and one to do without */
extern const struct dvit_op_class dvit_op_read_rows;    /* those of the last layout */
extern const struct dvit_op_class dvit_op_read_kept;    /* decides that layout by a policy */
extern const struct dvit_op_class dvit_op_token;        /* one token of each image */
extern const struct dvit_op_class dvit_op_mean_pool;
extern const struct dvit_op_class dvit_op_average; /* of two heads; inference */
extern const struct dvit_op_class dvit_op_aux_max; /* inference */
extern const struct dvit_op_class dvit_op_loss_cross_entropy;
extern const struct dvit_op_class dvit_op_loss_distill;
extern const struct dvit_op_class dvit_op_loss_ratio;
extern const struct dvit_op_class dvit_op_loss_token;

/* Rows that one matrix product works on at a time: its output stays in the second-level cache for
 * the epilogue. Spans of rows are cut into nearly equal chunks of at most this, or less where the
 * operator says so. */
enum { DVIT_CHUNK_ROWS = 256 };
int dvit_chunk_count(size_t rows, size_t chunk_rows);

/* Notes that a matrix product refused. */
void dvit_run_note(const struct dvit_run *run, enum dvit_status status);

/* The value of a loss operator, unweighted, from its per-image partial results; after the forward
 * pass of all members. */
double dvit_loss_value(const struct dvit_op *op, const struct dvit_run *run);
bool dvit_op_is_loss(const struct dvit_op *op);

/* A batch norm's mean[C] and population variance[C] over the micro-batch, after the forward pass of
 * all members, and the number of pixels they are taken over. */
void dvit_batch_norm_moments(const struct dvit_op *op, const struct dvit_run *run, float *mean,
                             float *variance);
double dvit_batch_norm_samples(const struct dvit_op *op, const struct dvit_run *run);

#endif

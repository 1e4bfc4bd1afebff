/* Inference: a session runs one model at one keep ratio on batches of prepared images.
 *
 * A session owns its threads and all memory it will ever need; dvit_session_run allocates nothing.
 * One session serves one caller at a time; use several sessions to serve several. The same image
 * gives the same answer, within rounding, whatever its batch and the thread count.
 *
 * Signals are blocked in the calling thread while dvit_session_run computes, and always in the
 * session's own threads: see dvit/dvit.h if the program has handlers. */
#ifndef DVIT_INFER_H
#define DVIT_INFER_H

#include "dvit/image.h"
#include "dvit/model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dvit_session;

struct dvit_session_options {
    double keep;     /* base keep ratio in (0, 1]; 1 = dense path; 0 = the model's own; default 0 */
    int max_batch;   /* images per run, 1 … 4096; default 32 */
    int threads;     /* 1 … 256; 0 = affinity and container quota; default 0 */
    const char *cpu; /* "auto" (default): the best of the machine; "reference": plain C with double
                        sums, the definition, slow; "baseline": what every processor has (SSE2 on
                        x86-64), with oneDNN's matrix products; "avx2"; "avx512" */
    /* Of the matrix products; norms, softmax and everything between them stay f32. "f32" (also
     * NULL, the default); "bf16"; "int8": the blocks and what
     * dvit/quantize.h names beside them multiply bytes, all other products are as in bf16, or
     * f32 where the processor has no bfloat16. A model must have been
     * calibrated for int8 (dvit_model_calibrate, `dvit quantize`). An error where the processor
     * has no such products, never another precision instead. "auto": the fastest that costs at
     * most rounding that was agreed to: int8 for a calibrated model, else bf16, where the processor
     * has them, else f32; dvit_session_describe says which. */
    const char *precision;
    /* A folder in which weights are kept as the products read them, so that the next session of the
     * same weights, path and precision on such a processor starts sooner; its files may be removed
     * at any time. A file is read only where nobody but the effective user and root can have
     * written it: it and its folder belong to one of them, and group and others may not write
     * them. What cannot be read or kept is packed anew, and a note (dvit_session_note) says why.
     * NULL, the default: they are not kept. */
    const char *packed_cache;
};
DVIT_API struct dvit_session_options dvit_session_options_default(void);

/* `model` is borrowed and must outlive the session. options may be NULL for the defaults. */
DVIT_API enum dvit_status dvit_session_create(struct dvit_session **out,
                                              const struct dvit_model *model,
                                              const struct dvit_session_options *options,
                                              struct dvit_error *error);
DVIT_API void dvit_session_free(struct dvit_session *session);
/* Sentence `index` of what a user should know of how the session was made, as that its packed
 * weights could not be kept; NULL beyond the last. Valid as long as the session. */
DVIT_API const char *dvit_session_note(const struct dvit_session *session, size_t index);

/* pixels: [count][3][height][width] normalised as the model's preprocessing says, finite; logits:
 * [count][K]; 1 ≤ count ≤ max_batch. Logits may be infinite or NaN where weights or pixels are so
 * large that sums overflow: see dvit_answer_check. A model that was read from a file with weights
 * that are not finite is NUMERIC. */
DVIT_API enum dvit_status dvit_session_run(struct dvit_session *session, const float *pixels,
                                           int count, float *logits, struct dvit_error *error);

/* The patches kept at `stage` (0-based) for image `image` of the last run: *count indices of the
 * original patch grid, row-major, ascending. Borrowed until the next run. NULL and 0 on a dense
 * path. */
DVIT_API const int *dvit_session_kept(const struct dvit_session *session, int image, int stage,
                                      int *count);
/* Stages of the path that runs: 0 on a dense path. */
DVIT_API int dvit_session_stages(const struct dvit_session *session);

struct dvit_session_info {
    double keep; /* that runs */
    int threads;
    int max_batch;
    const char *cpu;         /* kernel level chosen */
    const char *precision;   /* "f32", "bf16" or "int8" */
    const char *backend;     /* of the matrix products */
    size_t weight_bytes;     /* packed copies */
    size_t activation_bytes; /* arenas of all threads */
    struct dvit_cost cost;   /* of one image */
};
DVIT_API struct dvit_session_info dvit_session_describe(const struct dvit_session *session);

/* ---- where the time goes ---- */

/* Operator `index` of the list that the session runs, or, as the last row, what lies between them:
 * waiting for other threads, the start and the end of a run. */
struct dvit_profile_row {
    const char *kind;      /* "linear", "attention", …; "between" */
    const char *name;      /* "blocks.0.attn.qkv"; valid as long as the session */
    const char *precision; /* of its own products, in which some operators of a bf16 or int8 session
                              differ from it: "f32", "bf16", "int8"; NULL: it has none */
    double seconds; /* of all threads together; over all rows, threads × the time of the runs */
    double macs;    /* multiply–accumulates done */
    double bytes;   /* read and written at least: the values of every image, and for every pass of a
                       thread the weights; each in the form in which it lies in memory */
};
struct dvit_profile {
    long long runs, images;
    double seconds; /* of the runs, as the caller waits for them */
};
/* Takes the time of every operator in the runs that follow, from zero. A session that is not asked
 * reads no clock. Errors: MEMORY. */
DVIT_API enum dvit_status dvit_session_profile_begin(struct dvit_session *session,
                                                     struct dvit_error *error);
/* What was taken so far, and its rows: operators + 1, or none before _begin. */
DVIT_API struct dvit_profile dvit_session_profile(const struct dvit_session *session);
DVIT_API size_t dvit_session_profile_rows(const struct dvit_session *session);
DVIT_API struct dvit_profile_row dvit_session_profile_row(const struct dvit_session *session,
                                                          size_t index);

/* Whether all logits [classes] of an image are finite. Where one is not, the image has no answer:
 * its softmax is NaN, and its best class would be chosen by nothing. */
DVIT_API bool dvit_logits_finite(const float *logits, int classes);
/* The same as a status. NUMERIC: the message says how many logits of the model are not finite, and
 * names the tensor that has such weights, if one has. Only that failure reads the weights. */
DVIT_API enum dvit_status dvit_answer_check(const struct dvit_model *model, const float *logits,
                                            struct dvit_error *error);

/* Softmax of one image's finite logits: probabilities[K]. logits and probabilities may be the same
 * array. */
DVIT_API void dvit_softmax(const float *logits, int classes, float *probabilities);
/* Indices of the `k` largest values, best first, ties to the lower index. k ≤ count. */
DVIT_API void dvit_top_k(const float *values, int count, int k, int *indices);

/* Share of the processor's work that a benchmark may expect: the rate of the matrix products alone
 * on this model's linear layers, GFLOP/s with `threads` threads (0: the default), in a precision as
 * of a session; dvit's own products or the backend's, which is faster. Measured for about
 * `seconds`.
 */
DVIT_API enum dvit_status dvit_matmul_rate(const struct dvit_config *config, const char *precision,
                                           int threads, double seconds, double *gflops,
                                           struct dvit_error *error);

/* The rate at which `threads` threads (0: the default) read and write memory, each copying `bytes`
 * of its own to and fro, in GB/s (10⁹ bytes, both ways counted); measured for about `seconds`. So
 * many bytes as a session's thread has activations tell what bounds the operators that only move
 * them. */
DVIT_API enum dvit_status dvit_memory_rate(size_t bytes, int threads, double seconds,
                                           double *gbytes, struct dvit_error *error);

/* Facts about this machine as dvit uses it, for `dvit cpu`. */
struct dvit_machine {
    char processor[128];
    const char *best_cpu; /* kernel level; "baseline": the processor has no AVX2 */
    const char *backend;  /* matrix products */
    bool bf16, int8;      /* whether sessions may have these precisions */
    int default_threads;
};
DVIT_API struct dvit_machine dvit_machine_describe(void);

#ifdef __cplusplus
}
#endif
#endif

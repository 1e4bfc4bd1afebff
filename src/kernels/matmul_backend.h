/* What a matrix-product backend offers to matmul.c, which owns the checks and the choice. A plan is
 * the backend's own state for one shape; everything in it that a run touches exists once per
 * member, so that members need no lock. */
#ifndef DVIT_KERNELS_MATMUL_BACKEND_H
#define DVIT_KERNELS_MATMUL_BACKEND_H

#include "kernels/matmul.h"

struct dvit_matmul_plan;

struct dvit_matmul_backend {
    const char *name;  /* NULL: dvit_matmul_backend says it */
    bool packs_bf16;   /* in a layout of its own; else [outputs][inputs], which matmul.c makes */
    bool takes_ranges; /* of outputs */
    bool finishes;     /* does what follows the product too; else matmul.c does, on what it wrote */
    /* The shape has been checked. *out is NULL on failure. */
    enum dvit_status (*open)(struct dvit_matmul_plan **out, const struct dvit_matmul_shape *shape,
                             enum dvit_cpu cpu, int threads, struct dvit_error *error);
    void (*close)(struct dvit_matmul_plan *plan);
    enum dvit_status (*prepare)(struct dvit_matmul_plan *plan, size_t rows,
                                struct dvit_error *error);
    size_t (*packed_bytes)(const struct dvit_matmul_plan *plan);
    enum dvit_status (*pack)(struct dvit_matmul_plan *plan, void *packed, const float *weight,
                             struct dvit_error *error);
    size_t (*scratch_bytes)(const struct dvit_matmul_plan *plan);
    /* After a successful prepare, rows ≥ 1. */
    enum dvit_status (*run)(const struct dvit_matmul_plan *plan, int member, size_t rows,
                            const struct dvit_matmul_operands *operands);
};

extern const struct dvit_matmul_backend dvit_matmul_reference;
extern const struct dvit_matmul_backend dvit_matmul_packed;
/* Whether dvit_matmul_packed can make this product at this level. */
bool dvit_matmul_packed_serves(const struct dvit_matmul_shape *shape, enum dvit_cpu cpu);
#if defined(DVIT_HAVE_DNNL)
extern const struct dvit_matmul_backend dvit_matmul_dnnl;
int dvit_matmul_dnnl_enter(void);
void dvit_matmul_dnnl_leave(int before);
const char *dvit_matmul_dnnl_version(void);
#endif

#endif

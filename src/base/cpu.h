/* Which vector instructions this processor has, as levels that include the ones below. */
#ifndef DVIT_BASE_CPU_H
#define DVIT_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum dvit_cpu {
    DVIT_CPU_REFERENCE, /* plain C: the definition every other level is tested against */
    DVIT_CPU_BASELINE,  /* what every processor of the architecture has: SSE2 (plain C elsewhere),
                           and oneDNN's products */
    DVIT_CPU_AVX2,      /* AVX2 + FMA */
    DVIT_CPU_AVX512,    /* AVX-512 F, BW, DQ, VL */
    DVIT_CPU_COUNT
};

/* The best level of this machine; constant for the life of the process. */
enum dvit_cpu dvit_cpu_best(void);
/* Whether the processor multiplies bfloat16 numbers itself (AVX-512 BF16). */
bool dvit_cpu_has_bf16(void);
/* Whether it multiplies bytes four at a time (AVX-512 VNNI). */
bool dvit_cpu_has_vnni(void);
/* Whether it multiplies bfloat16 numbers in tiles (AMX). */
bool dvit_cpu_has_amx(void);
const char *dvit_cpu_name(enum dvit_cpu cpu); /* "reference", "baseline", … */
/* Parses a name, or "auto" for the best; an error if unknown or above what the machine has. */
enum dvit_status dvit_cpu_parse(const char *name, enum dvit_cpu *out, struct dvit_error *error);

/* Of the matrix products of linear layers. */
enum dvit_precision {
    DVIT_PRECISION_F32,
    DVIT_PRECISION_BF16,
    DVIT_PRECISION_INT8, /* those of the blocks; the others are the best of the above */
    DVIT_PRECISION_COUNT
};
const char *dvit_precision_name(enum dvit_precision precision); /* "f32", "bf16", "int8" */
/* Whether the machine has products of this precision at this level; the plain C definition has
 * all. */
bool dvit_cpu_can(enum dvit_cpu cpu, enum dvit_precision precision);
/* Parses a precision at this level: its name (NULL: f32), an error where the machine cannot, or
 * "auto": the fastest that it can, int8 only where the model is `quantised`. */
enum dvit_status dvit_cpu_parse_precision(const char *name, enum dvit_cpu cpu, bool quantised,
                                          enum dvit_precision *out, struct dvit_error *error);
/* The processor's own description ("AMD EPYC …"), or "unknown"; writes at most capacity bytes. */
void dvit_cpu_describe(char *text, size_t capacity);

#endif

/* The small weight files in tests/golden/weights, made by tools/reference/make_weight_files.py. */
#ifndef DVIT_WEIGHT_GOLDENS_H
#define DVIT_WEIGHT_GOLDENS_H

#include <stddef.h>

/* PyTorch files, zip and legacy, that a reader of whole files takes; NULL ends the list. */
extern const char *const weight_goldens[];

/* The path of a golden (malloc'ed), and its bytes in a block of exactly their size. */
char *weight_golden_path(const char *name);
unsigned char *weight_golden_read(const char *name, size_t *size_bytes);

#endif

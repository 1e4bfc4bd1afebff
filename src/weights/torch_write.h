/* Writing PyTorch files: a stored zip that torch.load(weights_only=True) opens. */
#ifndef DVIT_WEIGHTS_TORCH_WRITE_H
#define DVIT_WEIGHTS_TORCH_WRITE_H

#include "weights/safetensors.h"

/* Writes `path` completely or not at all: {"model": OrderedDict of the entries in their order, and
 * each pair's key: its value as a text}. Payloads are aligned to 64 bytes; the bytes depend only on
 * the arguments. Everything is borrowed for the call. */
enum dvit_status dvit_torch_write(const char *path, const struct dvit_safetensors_entry *entries,
                                  size_t count, const struct dvit_safetensors_pair *pairs,
                                  size_t pair_count, struct dvit_error *error);

#endif

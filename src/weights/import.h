/* A file on its way to becoming a model. */
#ifndef DVIT_WEIGHTS_IMPORT_H
#define DVIT_WEIGHTS_IMPORT_H

#include "models/model.h"
#include "weights/hf_config.h"
#include "weights/names.h"
#include "weights/timm_config.h"
#include "weights/weight_file.h"

struct dvit_import {
    const char *path;
    const char *key; /* which state dict of several; NULL: the only one */
    struct dvit_load_options options;
    struct dvit_weight_file *file;
    const struct dvit_tensor_view **views;
    struct dvit_tensor_names names;
    struct dvit_notes notes;
    struct dvit_hf_config hf; /* zero where there is none */
    struct dvit_timm_config timm;
    bool described; /* there is one */
    bool own;       /* dvit wrote the file: it describes itself */
    bool new_heads;
    struct dvit_config stored; /* what the file holds */
    struct dvit_config wanted; /* what the model is to be */
    struct dvit_preprocess preprocess;
};

/* A text that the file records under `key`, or NULL. */
const char *dvit_import_recorded(const struct dvit_import *import, const char *key);

/* The file `name` in the folder of the weights (malloc'ed); *text is NULL where there is none. */
enum dvit_status dvit_import_beside(const struct dvit_import *import, const char *name,
                                    unsigned char **text, size_t *size_bytes,
                                    struct dvit_error *error);

/* Whether positions are interpolated as timm does: its config.json, or traits that only its models
 * have. DeiT's own files and plain ones of timm cannot be told apart. */
bool dvit_import_is_timm(const struct dvit_import *import);

/* Chooses import->preprocess, for the wanted image size. */
enum dvit_status dvit_import_preprocess(struct dvit_import *import, struct dvit_error *error);

/* Gives `model` the labels of its file; without any, and where heads are new, they stay numbers. */
enum dvit_status dvit_import_labels(struct dvit_import *import, struct dvit_model *model,
                                    struct dvit_error *error);

#endif

/* Model files: how a model and its file stand to each other. */
#ifndef DVIT_WEIGHTS_MODEL_FILE_H
#define DVIT_WEIGHTS_MODEL_FILE_H

#include "models/model.h"
#include "weights/safetensors.h"

/* One entry per parameter, pointing into `weights` (laid out as the table says); names get `prefix`
 * ("" for none) and are written to `names` [count][96]. */
void dvit_model_entries(const struct dvit_parameters *parameters, const float *weights,
                        const char *prefix, struct dvit_safetensors_entry *entries,
                        char (*names)[96]);

/* Reads every parameter of the table, as `prefix` + name, from an open file into `weights`. A
 * missing tensor or another shape is an error that names it. */
enum dvit_status dvit_model_read(const struct dvit_safetensors *file,
                                 const struct dvit_parameters *parameters, const char *prefix,
                                 float *weights, struct dvit_error *error);

/* Where a file of 8 bits says how many images its ranges were measured on. */
#define DVIT_CALIBRATION_KEY "dvit.calibration_images"

/* Metadata that makes a file a complete model; freed with dvit_model_metadata_free. */
struct dvit_model_metadata {
    struct dvit_safetensors_pair pairs[3];
    char *texts[3];
};
enum dvit_status dvit_model_metadata_create(struct dvit_model_metadata *out,
                                            const struct dvit_model *model,
                                            struct dvit_error *error);
void dvit_model_metadata_free(struct dvit_model_metadata *metadata);

/* The model that an open file's metadata describes, weights still 0. All its tensors, as `prefix` +
 * name, must be in the file. */
enum dvit_status dvit_model_from_metadata(struct dvit_model **out,
                                          const struct dvit_safetensors *file, const char *prefix,
                                          struct dvit_error *error);

#endif

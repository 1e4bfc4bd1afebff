/* What is inside a file of tensors, as `dvit info` and `dvit convert` tell it. */
#ifndef DVIT_CLI_STORED_FILE_H
#define DVIT_CLI_STORED_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "dvit/weights.h"
#include "json_lines.h"

/* Tensors of one number type. */
struct cli_dtype_total {
    char name[16];
    size_t tensors;
    uint64_t bytes;
};

struct cli_file_summary {
    char format[32];
    uint64_t size_bytes; /* of the file; of a sharded model its tensors */
    size_t tensors;
    uint64_t tensor_bytes;
    int dtype_count; /* types beyond the array are counted with the last one */
    struct cli_dtype_total dtypes[16];
};

struct cli_file_summary cli_file_summarise(const struct dvit_weight_file *file, const char *path);
/* "PyTorch zip, 84.2 MiB, 152 tensors (F32)" */
const char *cli_file_describe(const struct cli_file_summary *summary, char text[256]);
/* Members of the object that is open. */
void cli_file_json_summary(struct cli_json *json, const struct cli_file_summary *summary);

/* "[1152,384]": rank 8 of 64-bit extents fits. */
const char *cli_shape_text(const struct dvit_stored_tensor *tensor, char text[200]);
void cli_file_json_shape(struct cli_json *json, const char *name,
                         const struct dvit_stored_tensor *tensor);

/* One line: what the top of the file is made of, "model (152 tensors), epoch 299, args (42
 * values)"; nothing where it holds tensors alone. */
void cli_file_print_contents(const struct dvit_weight_file *file);
/* Tables of everything; with `ranges` the tensors are read for the range of their values. Return
 * an enum cli_exit after reporting errors. */
int cli_file_print_tensors(const struct dvit_weight_file *file, bool ranges);
int cli_file_print_values(const struct dvit_weight_file *file);
/* The same as members "tensors" and "contents" of the object that is open. */
int cli_file_json_tensors(struct cli_json *json, const struct dvit_weight_file *file, bool ranges);
void cli_file_json_values(struct cli_json *json, const struct dvit_weight_file *file);

#endif

/* Malicious PyTorch files for tests: the pieces of honest ones, and a parse that watches time and
 * memory. */
#ifndef DVIT_HOSTILE_FILE_H
#define DVIT_HOSTILE_FILE_H

#include "torch_sample.h"
#include "weights/torch_file.h"

/* What torch.save would write: a dict of one entry "w" around a value; a tensor of 24 floats. */
#define TEXT1(letter) "X\1\0\0\0" letter
#define STORAGE_OF(class, key, elements)                                                           \
    "(X\7\0\0\0storagectorch\n" class "\n" key "X\3\0\0\0cpu" elements "tQ"
#define STORAGE STORAGE_OF("FloatStorage", TEXT1("0"), "K\x18")
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n("
#define HOOKS                                                                                      \
    "\x89"                                                                                         \
    "ccollections\nOrderedDict\n)RtR"
#define TENSOR(storage, offset, sizes, strides) REBUILD storage offset sizes strides HOOKS
#define PICKLE(value)                           "\x80\2}" TEXT1("w") value "s."
#define CALL(global, args)                      "c" global "\n" args "R"

/* Parses within a second of the processor and twice the file + 64 MB; on success the file is the
 * caller's. */
enum dvit_status hostile_parse(const struct bytes *bytes, struct dvit_torch_file **out,
                               struct dvit_error *error);
void hostile_refuse(const struct bytes *bytes, enum dvit_status code, const char *message);
/* The same of the zip file around a pickle and one storage "0" of 24 floats. */
void hostile_refuse_pickle(const struct bytes *pickle, enum dvit_status code, const char *message);
/* Accepts one; *bytes is the file, and both are given back by hostile_discard. */
struct dvit_torch_file *hostile_accept_pickle(const struct bytes *pickle, struct bytes *bytes);
void hostile_discard(struct dvit_torch_file *file, struct bytes *bytes);

#endif

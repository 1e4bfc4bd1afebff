/* One small file as the format's reference implementation lays it out, and the same as entries. */
#ifndef DVIT_SAFETENSORS_SAMPLE_H
#define DVIT_SAFETENSORS_SAMPLE_H

#include "weights/safetensors.h"

/* What safetensors.torch.save_file (0.8) writes for {"b": f16 [2], "a": f32 [1,2]}. */
static const char python_file[] =
    "\x90\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
    "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[8,12]}}   "
    "\0\0\x80\x3f\0\0\0\xc0\0\x38\0\xc0"; /* 1, −2; 0.5, −2 */
enum { PYTHON_BYTES = sizeof python_file - 1 };

static const float python_a[2] = {1.0f, -2.0f};
static const uint16_t python_b[2] = {0x3800, 0xC000};
static const struct dvit_safetensors_entry python_entries[] = {
    {"b", DVIT_DTYPE_F16, 1, {2}, python_b},
    {"a", DVIT_DTYPE_F32, 2, {1, 2}, python_a},
};

#endif

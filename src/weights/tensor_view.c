/* Element types, shapes, and conversion of a view's bytes to the two types dvit computes
 * with, and of floats to the types that files hold.
 * Views may be unaligned, so every element is copied out with memcpy. Knows no file format. */
#include "weights/tensor_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "weights/text.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weight files are little-endian");

static const struct {
    const char *name;
    size_t size_bytes;
} types[] = {
    [DVIT_DTYPE_F64] = {"F64", 8},   [DVIT_DTYPE_F32] = {"F32", 4}, [DVIT_DTYPE_F16] = {"F16", 2},
    [DVIT_DTYPE_BF16] = {"BF16", 2}, [DVIT_DTYPE_I64] = {"I64", 8}, [DVIT_DTYPE_I32] = {"I32", 4},
    [DVIT_DTYPE_I16] = {"I16", 2},   [DVIT_DTYPE_I8] = {"I8", 1},   [DVIT_DTYPE_U64] = {"U64", 8},
    [DVIT_DTYPE_U32] = {"U32", 4},   [DVIT_DTYPE_U16] = {"U16", 2}, [DVIT_DTYPE_U8] = {"U8", 1},
    [DVIT_DTYPE_BOOL] = {"BOOL", 1},
};
_Static_assert(sizeof types / sizeof *types == DVIT_DTYPE_COUNT, "every type has a row");

const char *dvit_dtype_name(enum dvit_dtype dtype)
{
    return (unsigned)dtype < DVIT_DTYPE_COUNT ? types[dtype].name : "?";
}

size_t dvit_dtype_size(enum dvit_dtype dtype)
{
    return (unsigned)dtype < DVIT_DTYPE_COUNT ? types[dtype].size_bytes : 0;
}

bool dvit_dtype_parse(const char *name, enum dvit_dtype *out)
{
    for (int i = 0; i < DVIT_DTYPE_COUNT; i++) {
        if (strcmp(name, types[i].name) != 0)
            continue;
        *out = (enum dvit_dtype)i;
        return true;
    }
    return false;
}

bool dvit_shape_elements(const uint64_t *shape, int rank, size_t element_bytes, size_t *out)
{
    /* The zeros are set aside, so that [0, 2^40, 2^40] is refused in every order: whoever computes
     * strides from an accepted shape cannot overflow either. */
    size_t product = 1, bytes;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(product, shape[i], &product))
            return false;
    }
    if (__builtin_mul_overflow(product, element_bytes, &bytes) || bytes > PTRDIFF_MAX)
        return false;
    *out = empty ? 0 : product;
    return true;
}

void dvit_shape_format(const uint64_t *shape, int rank, char *text, size_t capacity)
{
    size_t used = 0;
    for (int i = 0; i < rank && used < capacity; i++)
        used +=
            (size_t)snprintf(text + used, capacity - used, "%s%" PRIu64, i ? "," : "[", shape[i]);
    if (used < capacity)
        snprintf(text + used, capacity - used, rank > 0 ? "]" : "[]");
}

size_t dvit_tensor_elements(const struct dvit_tensor_view *view)
{
    size_t count = 0;
    dvit_shape_elements(view->shape, view->rank, dvit_dtype_size(view->dtype), &count);
    return count;
}

static enum dvit_status refuse_type(const struct dvit_tensor_view *view, const char *expected,
                                    struct dvit_error *error)
{
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "tensor \"%s\" is %s, expected %s",
                          dvit_text_show(view->name).text, dvit_dtype_name(view->dtype), expected);
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1F, fraction = half & 0x3FF;
    if (exponent == 0x1F) /* infinity and NaN keep their payload */
        return float_of_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent != 0)
        return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float magnitude = (float)fraction * 0x1p-24f; /* zero and subnormals */
    return sign ? -magnitude : magnitude;
}

enum dvit_status dvit_tensor_to_f32(const struct dvit_tensor_view *view, float *out,
                                    struct dvit_error *error)
{
    const unsigned char *data = view->data;
    size_t count = dvit_tensor_elements(view);
    switch (view->dtype) {
    case DVIT_DTYPE_F32:
        if (count)
            memcpy(out, data, count * sizeof *out);
        return DVIT_OK;
    case DVIT_DTYPE_F64:
        for (size_t i = 0; i < count; i++) {
            double value;
            memcpy(&value, data + 8 * i, sizeof value);
            out[i] = (float)value;
        }
        return DVIT_OK;
    case DVIT_DTYPE_F16:
    case DVIT_DTYPE_BF16:
        for (size_t i = 0; i < count; i++) {
            uint16_t bits;
            memcpy(&bits, data + 2 * i, sizeof bits);
            out[i] = view->dtype == DVIT_DTYPE_F16 ? float_of_half(bits)
                                                   : float_of_bits((uint32_t)bits << 16);
        }
        return DVIT_OK;
    default:
        return refuse_type(view, "F64, F32, F16 or BF16", error);
    }
}

/* `width` little-endian bytes, sign-extended when `is_signed`. */
static int64_t load_integer(const unsigned char *data, size_t width, bool is_signed)
{
    uint64_t bits = 0;
    memcpy(&bits, data, width);
    unsigned shift = (unsigned)(64 - 8 * width);
    /* gcc and clang define both the conversion and the arithmetic right shift. */
    return is_signed ? (int64_t)(bits << shift) >> shift : (int64_t)bits;
}

enum dvit_status dvit_tensor_to_i64(const struct dvit_tensor_view *view, int64_t *out,
                                    struct dvit_error *error)
{
    const unsigned char *data = view->data;
    size_t count = dvit_tensor_elements(view), width = dvit_dtype_size(view->dtype);
    bool is_signed = false;
    switch (view->dtype) {
    case DVIT_DTYPE_I64:
    case DVIT_DTYPE_I32:
    case DVIT_DTYPE_I16:
    case DVIT_DTYPE_I8:
        is_signed = true;
        break;
    case DVIT_DTYPE_U64:
    case DVIT_DTYPE_U32:
    case DVIT_DTYPE_U16:
    case DVIT_DTYPE_U8:
    case DVIT_DTYPE_BOOL:
        break;
    default:
        return refuse_type(view, "an integer type or BOOL", error);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = load_integer(data + width * i, width, is_signed);
        if (!is_signed && out[i] < 0)
            return dvit_error_set(error, DVIT_ERROR_LIMIT,
                                  "element %zu of a U64 tensor exceeds %" PRId64, i, INT64_MAX);
    }
    return DVIT_OK;
}

void dvit_tensor_round_f32(const struct dvit_tensor_view *view, float *out)
{
    if (dvit_tensor_to_f32(view, out, NULL) == DVIT_OK)
        return;
    const unsigned char *data = view->data;
    size_t count = dvit_tensor_elements(view), width = dvit_dtype_size(view->dtype);
    bool is_signed = view->dtype >= DVIT_DTYPE_I64 && view->dtype <= DVIT_DTYPE_I8;
    for (size_t i = 0; i < count; i++) {
        int64_t value = load_integer(data + width * i, width, is_signed);
        out[i] = is_signed ? (float)value : (float)(uint64_t)value;
    }
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The upper half, rounded to nearest even; a carry goes into the exponent, as it should. */
static uint16_t bfloat_of_float(float value)
{
    uint32_t bits = bits_of_float(value);
    if (value != value) /* quiet, so that dropping payload bits cannot make an infinity */
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static uint16_t half_of_float(float value)
{
    uint32_t bits = bits_of_float(value), magnitude = bits & 0x7FFFFFFF;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7F800000) /* NaN */
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000) /* 65520 and above round to infinity */
        return sign | 0x7C00;
    if (magnitude < 0x38800000) { /* below 2^-14: adding 0.5 leaves multiples of 2^-24, rounded */
        float rounded = float_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of_float(rounded) - 0x3F000000));
    }
    uint32_t rebiased = magnitude - (112u << 23);
    return (uint16_t)(sign | (rebiased + 0xFFF + (rebiased >> 13 & 1)) >> 13);
}

static bool is_finite_bits(uint32_t bits, uint32_t exponent_mask)
{
    return (bits & exponent_mask) != exponent_mask;
}

enum dvit_status dvit_tensor_from_f32(void *out, enum dvit_dtype dtype, const float *in,
                                      size_t count, size_t *overflowed, struct dvit_error *error)
{
    unsigned char *bytes = out;
    size_t lost = 0;
    if (dtype != DVIT_DTYPE_F32 && dtype != DVIT_DTYPE_F16 && dtype != DVIT_DTYPE_BF16)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "weights cannot be written as %s, expected F32, F16 or BF16",
                              dvit_dtype_name(dtype));
    bool is_half = dtype == DVIT_DTYPE_F16;
    if (dtype == DVIT_DTYPE_F32 && count)
        memcpy(bytes, in, count * sizeof *in);
    for (size_t i = 0; dtype != DVIT_DTYPE_F32 && i < count; i++) {
        uint16_t small = is_half ? half_of_float(in[i]) : bfloat_of_float(in[i]);
        lost += is_finite_bits(bits_of_float(in[i]), 0x7F800000) &&
                !is_finite_bits(small, is_half ? 0x7C00 : 0x7F80);
        memcpy(bytes + 2 * i, &small, sizeof small);
    }
    if (overflowed)
        *overflowed = lost;
    return DVIT_OK;
}

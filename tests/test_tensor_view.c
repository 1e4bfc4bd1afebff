/* Views of tensors: conversion of every type, and the display of untrusted text. */
#include "test_util.h"

#include <math.h>

#include "weights/tensor_view.h"
#include "weights/text.h"

static struct dvit_tensor_view view_of(enum dvit_dtype dtype, uint64_t count, const void *data)
{
    return (struct dvit_tensor_view){.name = "v\n",
                                     .dtype = dtype,
                                     .rank = 1,
                                     .shape = {count},
                                     .data = data,
                                     .size_bytes = count * dvit_dtype_size(dtype)};
}

static void test_to_f32(void **state)
{
    struct dvit_error error;
    static uint16_t halves[65536];
    static float values[65536];
    for (unsigned i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    struct dvit_tensor_view view = view_of(DVIT_DTYPE_F16, 65536, halves);
    assert_ok(dvit_tensor_to_f32(&view, values, &error), &error);
    for (unsigned i = 0; i < 65536; i++) { /* the definition, from the fields */
        int exponent = i >> 10 & 31;
        double fraction = i & 1023;
        double expected =
            exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
        if (exponent == 31 && fraction > 0)
            assert_true(isnan(values[i]));
        else if (exponent == 31)
            assert_true(isinf(values[i]));
        else
            assert_true(fabs(values[i]) == expected);
        assert_int_equal(!!signbit(values[i]), i >> 15);
    }
    static const uint16_t brain[] = {0x3F80, 0xC020, 0x7F80, 0x0001};
    view = view_of(DVIT_DTYPE_BF16, 4, brain);
    assert_ok(dvit_tensor_to_f32(&view, values, &error), &error);
    assert_true(values[0] == 1.0f && values[1] == -2.5f && isinf(values[2]));
    assert_true(values[3] == 0x1p-133f);
    static const double doubles[] = {0.1, -1e300, 3.0};
    view = view_of(DVIT_DTYPE_F64, 3, doubles);
    assert_ok(dvit_tensor_to_f32(&view, values, &error), &error);
    assert_true(values[0] == 0.1f && values[1] == -HUGE_VALF && values[2] == 3.0f);
    view = view_of(DVIT_DTYPE_I32, 1, halves);
    assert_fails(dvit_tensor_to_f32(&view, values, &error), &error, DVIT_ERROR_UNSUPPORTED,
                 "tensor \"v\\n\" is I32, expected F64, F32, F16 or BF16");
}

static void test_to_i64(void **state)
{
    static const unsigned char bytes[] = {0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    static const struct {
        enum dvit_dtype dtype;
        int64_t expected;
    } cases[] = {{DVIT_DTYPE_I64, -2}, {DVIT_DTYPE_I32, -2},         {DVIT_DTYPE_I16, -2},
                 {DVIT_DTYPE_I8, -2},  {DVIT_DTYPE_U32, 4294967294}, {DVIT_DTYPE_U16, 65534},
                 {DVIT_DTYPE_U8, 254}};
    struct dvit_error error;
    int64_t value;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dvit_tensor_view view = view_of(cases[i].dtype, 1, bytes);
        assert_ok(dvit_tensor_to_i64(&view, &value, &error), &error);
        assert_int_equal(value, cases[i].expected);
    }
    struct dvit_tensor_view view = view_of(DVIT_DTYPE_U64, 1, bytes);
    assert_fails(dvit_tensor_to_i64(&view, &value, &error), &error, DVIT_ERROR_LIMIT,
                 "element 0 of a U64 tensor exceeds 9223372036854775807");
    view = view_of(DVIT_DTYPE_F32, 1, bytes);
    assert_fails(dvit_tensor_to_i64(&view, &value, &error), &error, DVIT_ERROR_UNSUPPORTED,
                 "is F32, expected an integer type or BOOL");
}

/* The value of a small float's bits. */
static float value_of(enum dvit_dtype dtype, uint16_t bits)
{
    float value;
    struct dvit_tensor_view view = view_of(dtype, 1, &bits);
    assert_int_equal(dvit_tensor_to_f32(&view, &value, NULL), DVIT_OK);
    return value;
}

static uint16_t bits_of(enum dvit_dtype dtype, float value)
{
    uint16_t bits;
    assert_int_equal(dvit_tensor_from_f32(&bits, dtype, &value, 1, NULL, NULL), DVIT_OK);
    return bits;
}

/* Every value of a 16-bit type comes back; between two neighbours the nearer one wins, in the
 * middle the even one. */
static void check_rounding(enum dvit_dtype dtype, uint16_t infinity)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float value = value_of(dtype, (uint16_t)bits);
        uint16_t magnitude = bits & 0x7fff;
        if (magnitude > infinity) {
            assert_true(isnan(value_of(dtype, bits_of(dtype, value))));
            continue;
        }
        assert_int_equal(bits_of(dtype, value), bits);
        if (magnitude + 1 >= infinity)
            continue;
        uint16_t next = (uint16_t)(bits + 1), even = bits & 1 ? next : (uint16_t)bits;
        float middle = (float)(0.5 * ((double)value + value_of(dtype, next)));
        assert_int_equal(bits_of(dtype, middle), even);
        assert_int_equal(bits_of(dtype, nextafterf(middle, value)), bits);
        assert_int_equal(bits_of(dtype, nextafterf(middle, value_of(dtype, next))), next);
    }
}

static void test_from_f32(void **state)
{
    check_rounding(DVIT_DTYPE_F16, 0x7c00);
    check_rounding(DVIT_DTYPE_BF16, 0x7f80);
    const float in[] = {65519.996f, 65520.0f, -1e30f, INFINITY, NAN, 3.39e38f, -3.4028235e38f};
    uint16_t out[7];
    size_t overflowed;
    struct dvit_error error;
    assert_ok(dvit_tensor_from_f32(out, DVIT_DTYPE_F16, in, 5, &overflowed, &error), &error);
    assert_int_equal(overflowed, 2);
    assert_int_equal(out[0], 0x7bff);
    assert_int_equal(out[1], 0x7c00);
    assert_int_equal(out[2], 0xfc00);
    assert_int_equal(out[3], 0x7c00);
    assert_ok(dvit_tensor_from_f32(out, DVIT_DTYPE_BF16, in, 7, &overflowed, &error), &error);
    assert_int_equal(overflowed, 1); /* -FLT_MAX; 3.39e38 is nearest to the largest one */
    assert_int_equal(out[6], 0xff80);
    float same[7];
    assert_ok(dvit_tensor_from_f32(same, DVIT_DTYPE_F32, in, 7, &overflowed, &error), &error);
    assert_memory_equal(same, in, sizeof in);
    assert_int_equal(overflowed, 0);
    assert_fails(dvit_tensor_from_f32(out, DVIT_DTYPE_I16, in, 1, NULL, &error), &error,
                 DVIT_ERROR_UNSUPPORTED, "cannot be written as I16, expected F32, F16 or BF16");
}

static void test_round_f32(void **state)
{
    static const int64_t wide[] = {-1, 16777217, INT64_MIN};
    static const uint64_t positive[] = {UINT64_MAX, 5};
    static const unsigned char bytes[] = {255, 1, 0};
    float out[3];
    struct dvit_tensor_view view = view_of(DVIT_DTYPE_I64, 3, wide);
    dvit_tensor_round_f32(&view, out);
    assert_true(out[0] == -1.0f && out[1] == 16777216.0f && out[2] == -0x1p63f);
    view = view_of(DVIT_DTYPE_U64, 2, positive);
    dvit_tensor_round_f32(&view, out);
    assert_true(out[0] == 0x1p64f && out[1] == 5.0f);
    view = view_of(DVIT_DTYPE_I8, 3, bytes);
    dvit_tensor_round_f32(&view, out);
    assert_true(out[0] == -1.0f && out[1] == 1.0f && out[2] == 0.0f);
    view = view_of(DVIT_DTYPE_U8, 3, bytes);
    dvit_tensor_round_f32(&view, out);
    assert_true(out[0] == 255.0f);
    view = view_of(DVIT_DTYPE_BOOL, 2, bytes + 1);
    dvit_tensor_round_f32(&view, out);
    assert_true(out[0] == 1.0f && out[1] == 0.0f);
}

static void test_shapes(void **state)
{
    static const uint64_t shape[8] = {1152, 384, 3, 4, 5, 6, 7, 8};
    static const uint64_t large[2] = {(uint64_t)1 << 32, (uint64_t)1 << 31};
    char text[64], small[8];
    size_t elements;
    dvit_shape_format(shape, 2, text, sizeof text);
    assert_string_equal(text, "[1152,384]");
    dvit_shape_format(shape, 0, text, sizeof text);
    assert_string_equal(text, "[]");
    dvit_shape_format(shape, 8, small, sizeof small);
    assert_string_equal(small, "[1152,3");
    assert_true(dvit_shape_elements(shape, 2, 4, &elements));
    assert_int_equal(elements, 1152 * 384);
    assert_true(dvit_shape_elements(shape, 0, 4, &elements));
    assert_int_equal(elements, 1);
    assert_false(dvit_shape_elements(large, 2, 1, &elements));
    for (int i = 0; i < DVIT_DTYPE_COUNT; i++) {
        enum dvit_dtype dtype;
        assert_true(dvit_dtype_parse(dvit_dtype_name((enum dvit_dtype)i), &dtype));
        assert_int_equal(dtype, i);
    }
    assert_string_equal(dvit_dtype_name(DVIT_DTYPE_COUNT), "?");
    assert_int_equal(dvit_dtype_size(DVIT_DTYPE_COUNT), 0);
}

static void test_escape(void **state)
{
    char text[16];
    assert_string_equal(dvit_text_escape("a\0b\\", 4, text, sizeof text), "a\\x00b\\\\");
    assert_string_equal(dvit_text_escape("\n\r\t\x7f", 4, text, sizeof text), "\\n\\r\\t\\x7f");
    assert_string_equal(dvit_text_escape("0123456789ab", 12, text, sizeof text), "0123456789ab");
    assert_string_equal(dvit_text_escape("0123456789abc", 13, text, sizeof text),
                        "0123456789ab\xe2\x80\xa6");
    assert_true(dvit_text_is_utf8("\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9z", 10));
    assert_true(dvit_text_is_utf8("\xf4\x8f\xbf\xbf\xed\x9f\xbf", 7));
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xff",
                                      "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(dvit_text_is_utf8(bad[i], strlen(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_f32),   cmocka_unit_test(test_to_i64),
        cmocka_unit_test(test_from_f32), cmocka_unit_test(test_round_f32),
        cmocka_unit_test(test_shapes),   cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Fields of untrusted JSON: each with its type, its range, and a message. Knows no file's meaning.
 */
#include "weights/hf_json.h"

#include "weights/json_limits.h"
#include "weights/text.h"

enum { MAX_WHOLE = 1 << 24 };

enum dvit_status dvit_hf_json(const void *text, size_t size_bytes, const char *file, json_t **out,
                              struct dvit_error *error)
{
    /* id2label and label2id of 22 thousand classes, with room to spare */
    static const struct dvit_json_limits limits = {
        .nesting = 16, .commas = 200000, .containers = 2000};
    json_error_t problem;
    *out = NULL;
    enum dvit_status status = dvit_json_check(text, size_bytes, &limits, file, error);
    if (status != DVIT_OK)
        return status;
    *out = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (json_is_object(*out))
        return DVIT_OK;
    const char *reason = *out ? "expected an object" : problem.text;
    json_decref(*out);
    *out = NULL;
    return dvit_error_set(error, DVIT_ERROR_FORMAT, "%s: %s", file, dvit_text_show(reason).text);
}

static enum dvit_status refuse(const char *file, const char *key, const char *expected,
                               struct dvit_error *error)
{
    return dvit_error_set(error, DVIT_ERROR_FORMAT, "%s: %s is not %s", file, key, expected);
}

enum dvit_status dvit_hf_whole_value(const json_t *value, const char *file, const char *what,
                                     int *out, struct dvit_error *error)
{
    json_int_t whole = json_is_integer(value) ? json_integer_value(value) : 0;
    if (whole < 1 || whole > MAX_WHOLE)
        return refuse(file, what, "a whole number from 1 to 16777216", error);
    *out = (int)whole;
    return DVIT_OK;
}

static bool absent(const json_t *value)
{
    return !value || json_is_null(value);
}

enum dvit_status dvit_hf_whole(const json_t *object, const char *file, const char *key, int missing,
                               int *out, struct dvit_error *error)
{
    const json_t *value = json_object_get(object, key);
    *out = missing;
    return absent(value) ? DVIT_OK : dvit_hf_whole_value(value, file, key, out, error);
}

enum dvit_status dvit_hf_number(const json_t *object, const char *file, const char *key,
                                double missing, double *out, struct dvit_error *error)
{
    const json_t *value = json_object_get(object, key);
    *out = missing;
    if (absent(value))
        return DVIT_OK;
    if (!json_is_number(value))
        return refuse(file, key, "a number", error);
    *out = json_number_value(value);
    return DVIT_OK;
}

enum dvit_status dvit_hf_flag(const json_t *object, const char *file, const char *key, bool missing,
                              bool *out, struct dvit_error *error)
{
    const json_t *value = json_object_get(object, key);
    *out = missing;
    if (absent(value))
        return DVIT_OK;
    if (!json_is_boolean(value))
        return refuse(file, key, "true or false", error);
    *out = json_is_true(value);
    return DVIT_OK;
}

enum dvit_status dvit_hf_channels(const json_t *object, const char *file, const char *key,
                                  double missing, double out[3], struct dvit_error *error)
{
    const json_t *value = json_object_get(object, key);
    bool each = json_is_array(value) && json_array_size(value) == 3;
    for (int i = 0; i < 3; i++) {
        const json_t *entry = each ? json_array_get(value, (size_t)i) : value;
        out[i] = missing;
        if (absent(value))
            continue;
        if (!json_is_number(entry))
            return refuse(file, key, "three numbers", error);
        out[i] = json_number_value(entry);
    }
    return DVIT_OK;
}

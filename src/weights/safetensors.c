/* Reader of safetensors files: u64 header length, JSON header, data.
 *
 * Everything is checked before a view is handed out, in this order: size, header length, UTF-8, the
 * header's structure (nesting and number of values, so that a giant JSON never reaches the parser),
 * JSON, each tensor's entry, then all tensors by offset: no hole, no overlap, bytes as the shape
 * and type demand, and the data covered to the file's last byte. The parsed header is kept: names
 * and metadata are its strings. Values of tensors are not looked at. */
#include "weights/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "weights/file_bytes.h"
#include "weights/json_limits.h"
#include "weights/text.h"

enum {
    PREFIX_BYTES = 8,
    /* Deepest legal value: a number in "shape", in an entry, in the header. */
    MAX_NESTING = 3,
    /* Commas of the largest legal header: per tensor one before it, 2 between its keys, 7 in a
     * shape of rank 8, 1 between offsets; one per metadata entry. */
    MAX_COMMAS = 11 * DVIT_SAFETENSORS_MAX_TENSORS + DVIT_SAFETENSORS_MAX_METADATA,
    /* Objects and arrays cost most once parsed; a tensor has three. */
    MAX_CONTAINERS = 4 * DVIT_SAFETENSORS_MAX_TENSORS,
};

static const char metadata_key[] = "__metadata__";

struct tensor {
    struct dvit_tensor_view view;
    uint64_t begin, end; /* relative to the data */
};

struct dvit_safetensors {
    const unsigned char *bytes; /* [size_bytes], the whole file */
    size_t size_bytes;
    size_t header_bytes;
    struct dvit_file_bytes loaded; /* owns `bytes` after dvit_safetensors_load */
    json_t *header;
    struct tensor *tensors; /* [count], by offset */
    const struct dvit_tensor_view **by_name;
    size_t count;
};

static enum dvit_status check_prefix(struct dvit_safetensors *file, struct dvit_error *error)
{
    if (file->size_bytes < PREFIX_BYTES)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "has %zu bytes, a safetensors file has at least %d", file->size_bytes,
                              PREFIX_BYTES);
    uint64_t length = 0;
    for (int i = 0; i < PREFIX_BYTES; i++)
        length |= (uint64_t)file->bytes[i] << 8 * i;
    if (length > DVIT_SAFETENSORS_MAX_HEADER)
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "header length is %" PRIu64 " bytes, the limit is %d (is this a "
                              "safetensors file?)",
                              length, DVIT_SAFETENSORS_MAX_HEADER);
    if (length > file->size_bytes - PREFIX_BYTES)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "header of %" PRIu64 " bytes does not fit in a file of %zu bytes",
                              length, file->size_bytes);
    if (length == 0)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "header is empty");
    file->header_bytes = (size_t)length;
    return DVIT_OK;
}

static enum dvit_status parse_header(struct dvit_safetensors *file, struct dvit_error *error)
{
    const unsigned char *text = file->bytes + PREFIX_BYTES;
    if (!dvit_text_is_utf8(text, file->header_bytes))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "header is not UTF-8");
    if (text[0] != '{')
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "header starts with byte 0x%02x, expected '{'", text[0]);
    static const struct dvit_json_limits limits = {MAX_NESTING, MAX_COMMAS, MAX_CONTAINERS};
    enum dvit_status status = dvit_json_check(text, file->header_bytes, &limits, "header", error);
    if (status != DVIT_OK)
        return status;
    json_error_t problem = {0};
    file->header =
        json_loadb((const char *)text, file->header_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (file->header)
        return DVIT_OK;
    if (!problem.text[0]) /* jansson explains everything but a failed allocation */
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "header: out of memory");
    return dvit_error_set(error, DVIT_ERROR_FORMAT, "header is not valid JSON at byte %d: %s",
                          problem.position, dvit_text_show(problem.text).text);
}

static enum dvit_status check_metadata(const json_t *metadata, struct dvit_error *error)
{
    if (!json_is_object(metadata))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "__metadata__ is not an object");
    if (json_object_size(metadata) > DVIT_SAFETENSORS_MAX_METADATA)
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "__metadata__ has %zu entries, the limit is %d",
                              json_object_size(metadata), DVIT_SAFETENSORS_MAX_METADATA);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return dvit_error_set(error, DVIT_ERROR_FORMAT, "__metadata__ \"%s\" is not a string",
                                  dvit_text_show(key).text);
    }
    return DVIT_OK;
}

/* The non-negative integers of `array`, at most `capacity`. */
static enum dvit_status read_integers(const json_t *array, const char *key, const char *name,
                                      size_t capacity, uint64_t *out, size_t *count,
                                      struct dvit_error *error)
{
    if (!json_is_array(array))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "tensor \"%s\": \"%s\" is %s",
                              dvit_text_show(name).text, key, array ? "not an array" : "missing");
    *count = json_array_size(array);
    if (*count > capacity)
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "tensor \"%s\": \"%s\" has %zu numbers, the limit is %zu",
                              dvit_text_show(name).text, key, *count, capacity);
    for (size_t i = 0; i < *count; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "tensor \"%s\": \"%s\"[%zu] is not a non-negative integer",
                                  dvit_text_show(name).text, key, i);
        out[i] = (uint64_t)json_integer_value(value);
    }
    return DVIT_OK;
}

static enum dvit_status read_dtype(const json_t *value, const char *name, enum dvit_dtype *out,
                                   struct dvit_error *error)
{
    if (!json_is_string(value))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "tensor \"%s\": \"dtype\" is %s",
                              dvit_text_show(name).text, value ? "not a string" : "missing");
    if (!dvit_dtype_parse(json_string_value(value), out))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "tensor \"%s\": dtype \"%s\" is not supported (supported: F64 F32 "
                              "F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL)",
                              dvit_text_show(name).text,
                              dvit_text_show(json_string_value(value)).text);
    return DVIT_OK;
}

static enum dvit_status read_entry(const char *name, json_t *entry, struct tensor *out,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    uint64_t offsets[2] = {0};
    size_t rank = 0, offset_count = 0;
    if (strlen(name) > DVIT_SAFETENSORS_MAX_NAME)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "tensor \"%s\": name has %zu bytes, the limit is %d",
                  dvit_text_show(name).text, strlen(name), DVIT_SAFETENSORS_MAX_NAME);
    if (!json_is_object(entry))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "tensor \"%s\": entry is not an object",
                  dvit_text_show(name).text);
    const char *key;
    json_t *value;
    json_object_foreach(entry, key, value)
    {
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 &&
            strcmp(key, "data_offsets") != 0)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT, "tensor \"%s\": unknown key \"%s\"",
                      dvit_text_show(name).text, dvit_text_show(key).text);
    }
    *out = (struct tensor){.view = {.name = name}};
    DVIT_TRY(read_dtype(json_object_get(entry, "dtype"), name, &out->view.dtype, error));
    DVIT_TRY(read_integers(json_object_get(entry, "shape"), "shape", name, DVIT_TENSOR_MAX_RANK,
                           out->view.shape, &rank, error));
    DVIT_TRY(read_integers(json_object_get(entry, "data_offsets"), "data_offsets", name, 2, offsets,
                           &offset_count, error));
    if (offset_count != 2)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "tensor \"%s\": \"data_offsets\" has %zu numbers, expected 2",
                  dvit_text_show(name).text, offset_count);
    out->view.rank = (int)rank;
    out->begin = offsets[0];
    out->end = offsets[1];
done:
    return status;
}

static enum dvit_status read_entries(struct dvit_safetensors *file, struct dvit_error *error)
{
    const json_t *metadata = json_object_get(file->header, metadata_key);
    size_t entries = json_object_size(file->header) - (metadata ? 1 : 0);
    enum dvit_status status = DVIT_OK;
    if (entries > DVIT_SAFETENSORS_MAX_TENSORS)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "has %zu tensors, the limit is %d", entries,
                  DVIT_SAFETENSORS_MAX_TENSORS);
    if (metadata)
        DVIT_TRY(check_metadata(metadata, error));
    file->tensors = calloc(entries + 1, sizeof *file->tensors); /* + 1: never a request for 0 */
    file->by_name = calloc(entries + 1, sizeof *file->by_name);
    if (!file->tensors || !file->by_name)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for %zu tensors", entries);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, metadata_key) == 0)
            continue;
        DVIT_TRY(read_entry(name, entry, &file->tensors[file->count], error));
        file->count++;
    }
done:
    return status;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->view.name, y->view.name);
}

static enum dvit_status check_extent(struct tensor *tensor, uint64_t expected_begin,
                                     struct dvit_error *error)
{
    struct dvit_tensor_view *view = &tensor->view;
    char shape[192];
    dvit_shape_format(view->shape, view->rank, shape, sizeof shape);
    if (tensor->begin > tensor->end)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "tensor \"%s\": data_offsets [%" PRIu64 ",%" PRIu64
                              "] end before they begin",
                              dvit_text_show(view->name).text, tensor->begin, tensor->end);
    if (tensor->begin != expected_begin)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "tensor \"%s\": data begins at %" PRIu64 ", expected %" PRIu64
                              " (%s)",
                              dvit_text_show(view->name).text, tensor->begin, expected_begin,
                              tensor->begin > expected_begin ? "a hole" : "an overlap");
    size_t elements, width = dvit_dtype_size(view->dtype);
    if (!dvit_shape_elements(view->shape, view->rank, width, &elements))
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "tensor \"%s\": shape %s exceeds the address space",
                              dvit_text_show(view->name).text, shape);
    if (elements * width != tensor->end - tensor->begin)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "tensor \"%s\": shape %s of %s takes %zu bytes, data_offsets hold "
                              "%" PRIu64,
                              dvit_text_show(view->name).text, shape, dvit_dtype_name(view->dtype),
                              elements * width, tensor->end - tensor->begin);
    view->size_bytes = elements * width;
    return DVIT_OK;
}

static enum dvit_status place_tensors(struct dvit_safetensors *file, struct dvit_error *error)
{
    const unsigned char *data = file->bytes + PREFIX_BYTES + file->header_bytes;
    size_t data_bytes = file->size_bytes - PREFIX_BYTES - file->header_bytes;
    uint64_t end = 0;
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_offsets);
    for (size_t i = 0; i < file->count; i++) {
        enum dvit_status status = check_extent(&file->tensors[i], end, error);
        if (status != DVIT_OK)
            return status;
        end = file->tensors[i].end;
    }
    if (end != data_bytes)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "header describes %" PRIu64 " bytes of data, the file holds %zu", end,
                              data_bytes);
    for (size_t i = 0; i < file->count; i++)
        file->tensors[i].view.data = data + file->tensors[i].begin;
    return DVIT_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct dvit_tensor_view *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void index_names(struct dvit_safetensors *file)
{
    for (size_t i = 0; i < file->count; i++)
        file->by_name[i] = &file->tensors[i].view;
    qsort(file->by_name, file->count, sizeof *file->by_name, compare_names);
}

enum dvit_status dvit_safetensors_parse(struct dvit_safetensors **out, const void *data,
                                        size_t size_bytes, const char *name,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = NULL;
    struct dvit_safetensors *file = calloc(1, sizeof *file);
    if (!file)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory");
    file->bytes = data;
    file->size_bytes = size_bytes;
    DVIT_TRY(check_prefix(file, error));
    DVIT_TRY(parse_header(file, error));
    DVIT_TRY(read_entries(file, error));
    DVIT_TRY(place_tensors(file, error));
    index_names(file);
    *out = file;
    file = NULL;
done:
    if (status != DVIT_OK)
        dvit_error_prefix(error, "\"%s\"", name);
    dvit_safetensors_free(file);
    return status;
}

enum dvit_status dvit_safetensors_load(struct dvit_safetensors **out, const char *path,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_file_bytes bytes = {0};
    *out = NULL;
    DVIT_TRY(dvit_file_bytes_load(&bytes, path, error));
    DVIT_TRY(dvit_safetensors_parse(out, bytes.data, bytes.size_bytes, path, error));
    (*out)->loaded = bytes;
    bytes = (struct dvit_file_bytes){0};
done:
    dvit_file_bytes_free(&bytes);
    return status;
}

void dvit_safetensors_free(struct dvit_safetensors *file)
{
    if (!file)
        return;
    json_decref(file->header);
    free(file->tensors);
    free(file->by_name);
    dvit_file_bytes_free(&file->loaded);
    free(file);
}

size_t dvit_safetensors_count(const struct dvit_safetensors *file)
{
    return file->count;
}

const struct dvit_tensor_view *dvit_safetensors_view(const struct dvit_safetensors *file,
                                                     size_t index)
{
    return &file->tensors[index].view;
}

const struct dvit_tensor_view *dvit_safetensors_find(const struct dvit_safetensors *file,
                                                     const char *name)
{
    const struct dvit_tensor_view key = {.name = name}, *wanted = &key;
    const struct dvit_tensor_view **found =
        bsearch(&wanted, file->by_name, file->count, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

const char *dvit_safetensors_metadata(const struct dvit_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, metadata_key), key));
}

size_t dvit_safetensors_metadata_count(const struct dvit_safetensors *file)
{
    return json_object_size(json_object_get(file->header, metadata_key));
}

void dvit_safetensors_metadata_list(const struct dvit_safetensors *file,
                                    struct dvit_safetensors_pair *out)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(file->header, metadata_key), key, value)
    {
        *out++ = (struct dvit_safetensors_pair){key, json_string_value(value)};
    }
}

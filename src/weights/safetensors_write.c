/* Writer of safetensors files. Checks its arguments as strictly as the reader checks a file, so
 * that what is written can be read back; the file appears complete or not at all (base/file.h).
 * Does not convert elements: they are written as they lie in memory. */
#include "weights/safetensors.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "weights/text.h"

enum { PREFIX_BYTES = 8, ALIGNMENT = 8 };

static int compare_entries(const void *a, const void *b)
{
    const struct dvit_safetensors_entry *x = *(const struct dvit_safetensors_entry *const *)a;
    const struct dvit_safetensors_entry *y = *(const struct dvit_safetensors_entry *const *)b;
    size_t x_width = dvit_dtype_size(x->dtype), y_width = dvit_dtype_size(y->dtype);
    if (x_width != y_width)
        return x_width > y_width ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int compare_pairs(const void *a, const void *b)
{
    const struct dvit_safetensors_pair *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static enum dvit_status check_entry(const struct dvit_safetensors_entry *entry, size_t *size_bytes,
                                    struct dvit_error *error)
{
    const char *name = entry->name;
    size_t length = strlen(name), elements = 0;
    if (length > DVIT_SAFETENSORS_MAX_NAME)
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "tensor \"%s\": name has %zu bytes, the limit is %d",
                              dvit_text_show(name).text, length, DVIT_SAFETENSORS_MAX_NAME);
    if (!dvit_text_is_utf8(name, length))
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "tensor \"%s\": name is not UTF-8",
                              dvit_text_show(name).text);
    if (strcmp(name, "__metadata__") == 0)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "tensor \"__metadata__\": the name is reserved");
    if ((unsigned)entry->dtype >= DVIT_DTYPE_COUNT || entry->rank < 0 ||
        entry->rank > DVIT_TENSOR_MAX_RANK)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "tensor \"%s\": type %d of rank %d, expected type 0 to %d of rank 0 "
                              "to %d",
                              dvit_text_show(name).text, (int)entry->dtype, entry->rank,
                              DVIT_DTYPE_COUNT - 1, DVIT_TENSOR_MAX_RANK);
    size_t width = dvit_dtype_size(entry->dtype);
    if (!dvit_shape_elements(entry->shape, entry->rank, width, &elements))
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "tensor \"%s\": shape exceeds the address space",
                              dvit_text_show(name).text);
    *size_bytes = elements * width;
    if (*size_bytes && !entry->data)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "tensor \"%s\": no data, expected %zu bytes",
                              dvit_text_show(name).text, *size_bytes);
    return DVIT_OK;
}

/* {"dtype":…,"shape":[…],"data_offsets":[begin,end]}, or NULL when memory is out. */
static json_t *describe_entry(const struct dvit_safetensors_entry *entry, uint64_t begin,
                              uint64_t end)
{
    json_t *shape = json_array();
    int failed = shape == NULL;
    for (int i = 0; i < entry->rank; i++)
        failed |= json_array_append_new(shape, json_integer((json_int_t)entry->shape[i]));
    if (failed) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", dvit_dtype_name(entry->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

static enum dvit_status add_entries(json_t *header,
                                    const struct dvit_safetensors_entry *const *sorted,
                                    size_t count, struct dvit_error *error)
{
    uint64_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size_bytes = 0;
        uint64_t end;
        enum dvit_status status = check_entry(sorted[i], &size_bytes, error);
        if (status != DVIT_OK)
            return status;
        if (json_object_get(header, sorted[i]->name))
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "tensor \"%s\": given twice",
                                  dvit_text_show(sorted[i]->name).text);
        if (__builtin_add_overflow(begin, size_bytes, &end) || end > (uint64_t)LLONG_MAX)
            return dvit_error_set(error, DVIT_ERROR_LIMIT,
                                  "tensor \"%s\": data exceeds the address space",
                                  dvit_text_show(sorted[i]->name).text);
        json_t *described = describe_entry(sorted[i], begin, end);
        if (!described || json_object_set_new(header, sorted[i]->name, described) != 0)
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory for %zu tensors", count);
        begin = end;
    }
    return DVIT_OK;
}

static enum dvit_status add_metadata(json_t *header, struct dvit_safetensors_pair *pairs,
                                     size_t count, struct dvit_error *error)
{
    json_t *metadata = json_object();
    if (!metadata || json_object_set_new(header, "__metadata__", metadata) != 0)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const char *key = pairs[i].key, *value = pairs[i].value;
        if (!dvit_text_is_utf8(key, strlen(key)) || !dvit_text_is_utf8(value, strlen(value)))
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "metadata \"%s\" is not UTF-8",
                                  dvit_text_show(key).text);
        if (json_object_get(metadata, key))
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "metadata \"%s\": given twice",
                                  dvit_text_show(key).text);
        if (json_object_set_new(metadata, key, json_string(value)) != 0)
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory");
    }
    return DVIT_OK;
}

/* A sorted copy with "format" in it; the caller frees *out. */
static enum dvit_status sort_metadata(const struct dvit_safetensors_pair *metadata, size_t count,
                                      struct dvit_safetensors_pair **out, size_t *out_count,
                                      struct dvit_error *error)
{
    if (count >= DVIT_SAFETENSORS_MAX_METADATA)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "%zu metadata entries, the limit is %d",
                              count, DVIT_SAFETENSORS_MAX_METADATA - 1);
    struct dvit_safetensors_pair *pairs = calloc(count + 1, sizeof *pairs);
    if (!pairs)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory");
    size_t used = 0;
    int has_format = 0;
    for (; used < count; used++) {
        pairs[used] = metadata[used];
        has_format |= strcmp(pairs[used].key, "format") == 0;
    }
    if (!has_format)
        pairs[used++] = (struct dvit_safetensors_pair){"format", "pt"};
    qsort(pairs, used, sizeof *pairs, compare_pairs);
    *out = pairs;
    *out_count = used;
    return DVIT_OK;
}

/* Length prefix and padded header in one malloc'ed block. */
static enum dvit_status serialise(const json_t *header, unsigned char **out, size_t *size_bytes,
                                  struct dvit_error *error)
{
    size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    size_t padded = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (padded > DVIT_SAFETENSORS_MAX_HEADER)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "header has %zu bytes, the limit is %d",
                              padded, DVIT_SAFETENSORS_MAX_HEADER);
    unsigned char *block = malloc(PREFIX_BYTES + padded);
    if (!length || !block ||
        json_dumpb(header, (char *)block + PREFIX_BYTES, length, JSON_COMPACT) != length) {
        free(block);
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "out of memory for a header of %zu bytes",
                              padded);
    }
    for (int i = 0; i < PREFIX_BYTES; i++)
        block[i] = (unsigned char)((uint64_t)padded >> 8 * i);
    memset(block + PREFIX_BYTES + length, ' ', padded - length);
    *out = block;
    *size_bytes = PREFIX_BYTES + padded;
    return DVIT_OK;
}

static enum dvit_status write_file(const char *path, const unsigned char *block, size_t block_bytes,
                                   const struct dvit_safetensors_entry *const *sorted, size_t count,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_file_writer writer = {0};
    DVIT_TRY(dvit_file_begin(&writer, path, error));
    DVIT_TRY(dvit_file_write(&writer, block, block_bytes, error));
    for (size_t i = 0; i < count; i++) {
        size_t size_bytes = 0;
        DVIT_TRY(check_entry(sorted[i], &size_bytes, error));
        DVIT_TRY(dvit_file_write(&writer, sorted[i]->data, size_bytes, error));
    }
    DVIT_TRY(dvit_file_commit(&writer, error));
done:
    dvit_file_abandon(&writer);
    return status;
}

/* Everything that can be refused without touching the disk. */
static enum dvit_status build_header(const struct dvit_safetensors_entry *const *sorted,
                                     size_t count, const struct dvit_safetensors_pair *metadata,
                                     size_t metadata_count, unsigned char **out, size_t *size_bytes,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_safetensors_pair *pairs = NULL;
    size_t pair_count = 0;
    json_t *header = json_object();
    if (!header)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory");
    DVIT_TRY(sort_metadata(metadata, metadata_count, &pairs, &pair_count, error));
    DVIT_TRY(add_metadata(header, pairs, pair_count, error));
    DVIT_TRY(add_entries(header, sorted, count, error));
    DVIT_TRY(serialise(header, out, size_bytes, error));
done:
    free(pairs);
    json_decref(header);
    return status;
}

enum dvit_status dvit_safetensors_write(const char *path,
                                        const struct dvit_safetensors_entry *entries, size_t count,
                                        const struct dvit_safetensors_pair *metadata,
                                        size_t metadata_count, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_safetensors_entry **sorted = NULL;
    unsigned char *block = NULL;
    size_t block_bytes = 0;
    if (count > DVIT_SAFETENSORS_MAX_TENSORS)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "\"%s\": %zu tensors, the limit is %d", path, count,
                  DVIT_SAFETENSORS_MAX_TENSORS);
    sorted = calloc(count + 1, sizeof *sorted);
    if (!sorted)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory for %zu tensors", path, count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &entries[i];
    qsort(sorted, count, sizeof *sorted, compare_entries);
    status = build_header(sorted, count, metadata, metadata_count, &block, &block_bytes, error);
    if (status != DVIT_OK)
        dvit_error_prefix(error, "\"%s\"", path);
    else
        status = write_file(path, block, block_bytes, sorted, count, error);
done:
    free(block);
    free(sorted);
    return status;
}

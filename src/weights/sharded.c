/* Reading model.safetensors.index.json and its like: a table of tensor and file names. Opens no
 * shard (weight_file.c does), and lets no name lead out of the index's folder. */
#include "weights/sharded.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "weights/json_limits.h"
#include "weights/text.h"

enum { MAX_NESTING = 8, SPARE_VALUES = 10000 /* for metadata */ };

struct dvit_shard_index {
    json_t *root;
    struct dvit_shard_row *rows; /* [count], by tensor; names are the JSON's */
    size_t count;
    const char **files; /* [file_count], sorted; names are the JSON's */
    size_t file_count;
};

bool dvit_shard_index_is(const unsigned char *text, size_t size_bytes)
{
    size_t i = 0;
    while (i < size_bytes && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r')))
        i++;
    return i < size_bytes && text[i] == '{';
}

static enum dvit_status parse(json_t **out, const void *text, size_t size_bytes,
                              struct dvit_error *error)
{
    static const struct dvit_json_limits limits = {
        MAX_NESTING, DVIT_SHARD_MAX_TENSORS + SPARE_VALUES, SPARE_VALUES};
    if (size_bytes > DVIT_SHARD_MAX_INDEX)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "index has %zu bytes, the limit is %d",
                              size_bytes, DVIT_SHARD_MAX_INDEX);
    if (!dvit_text_is_utf8(text, size_bytes))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "index is not UTF-8");
    enum dvit_status status = dvit_json_check(text, size_bytes, &limits, "index", error);
    if (status != DVIT_OK)
        return status;
    json_error_t problem = {0};
    *out = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (*out)
        return DVIT_OK;
    if (!problem.text[0]) /* jansson explains everything but a failed allocation */
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "index: out of memory");
    return dvit_error_set(error, DVIT_ERROR_FORMAT, "index is not valid JSON at byte %d: %s",
                          problem.position, dvit_text_show(problem.text).text);
}

static enum dvit_status check_row(const char *tensor, const json_t *file, struct dvit_error *error)
{
    const char *name = json_string_value(file);
    if (strlen(tensor) > DVIT_SHARD_MAX_NAME)
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "tensor \"%s\": name has %zu bytes, the limit is %d",
                              dvit_text_show(tensor).text, strlen(tensor), DVIT_SHARD_MAX_NAME);
    if (!name)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "weight_map: the file of tensor \"%s\" is not a string",
                              dvit_text_show(tensor).text);
    if (!name[0] || strpbrk(name, "/\\") || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        strlen(name) > DVIT_SHARD_MAX_NAME)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "weight_map: \"%s\" is not the name of a file beside the index",
                              dvit_text_show(name).text);
    return DVIT_OK;
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static int compare_rows(const void *a, const void *b)
{
    const struct dvit_shard_row *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

/* Sorts files[count] and leaves each name once. */
static size_t unique(const char **files, size_t count)
{
    size_t kept = 0;
    qsort(files, count, sizeof *files, compare_texts);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(files[kept - 1], files[i]) != 0)
            files[kept++] = files[i];
    return kept;
}

static enum dvit_status read_map(struct dvit_shard_index *index, json_t *map,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const char *tensor;
    json_t *file;
    size_t count = json_object_size(map), i = 0;
    if (count > DVIT_SHARD_MAX_TENSORS)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "weight_map has %zu tensors, the limit is %d", count,
                  DVIT_SHARD_MAX_TENSORS);
    index->rows = calloc(count + 1, sizeof *index->rows); /* never a request for 0 */
    index->files = calloc(count + 1, sizeof *index->files);
    if (!index->rows || !index->files)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "index: out of memory");
    json_object_foreach(map, tensor, file)
    {
        DVIT_TRY(check_row(tensor, file, error));
        index->rows[i].tensor = tensor;
        index->files[i++] = json_string_value(file);
    }
    index->count = count;
    index->file_count = unique(index->files, count);
    if (index->file_count > DVIT_SHARD_MAX_FILES)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "weight_map names %zu files, the limit is %d",
                  index->file_count, DVIT_SHARD_MAX_FILES);
    qsort(index->rows, count, sizeof *index->rows, compare_rows);
    for (i = 0; i < count; i++) {
        const char *name = json_string_value(json_object_get(map, index->rows[i].tensor));
        const char **found =
            bsearch(&name, index->files, index->file_count, sizeof *index->files, compare_texts);
        index->rows[i].file = (size_t)(found - index->files);
    }
done:
    return status;
}

enum dvit_status dvit_shard_index_parse(struct dvit_shard_index **out, const void *text,
                                        size_t size_bytes, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = NULL;
    struct dvit_shard_index *index = calloc(1, sizeof *index);
    if (!index)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "index: out of memory");
    DVIT_TRY(parse(&index->root, text, size_bytes, error));
    json_t *map = json_object_get(index->root, "weight_map");
    if (!json_is_object(map))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "is JSON, but not the index of a sharded model: there is no \"weight_map\"");
    DVIT_TRY(read_map(index, map, error));
    *out = index;
    index = NULL;
done:
    dvit_shard_index_free(index);
    return status;
}

void dvit_shard_index_free(struct dvit_shard_index *index)
{
    if (!index)
        return;
    json_decref(index->root);
    free(index->rows);
    free(index->files);
    free(index);
}

size_t dvit_shard_index_count(const struct dvit_shard_index *index)
{
    return index->count;
}

const struct dvit_shard_row *dvit_shard_index_row(const struct dvit_shard_index *index, size_t at)
{
    return &index->rows[at];
}

size_t dvit_shard_index_file_count(const struct dvit_shard_index *index)
{
    return index->file_count;
}

const char *dvit_shard_index_file(const struct dvit_shard_index *index, size_t at)
{
    return index->files[at];
}

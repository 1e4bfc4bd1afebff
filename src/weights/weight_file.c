/* Files of tensors behind one face. The first bytes decide who reads a file; what comes back is
 * one table of tensors and one of other values, whatever the format. A sharded model is a table
 * over several files that were opened in the same way. */
#define _GNU_SOURCE
#include "weights/weight_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "weights/file_bytes.h"
#include "weights/file_kinds.h"
#include "weights/safetensors.h"
#include "weights/sharded.h"
#include "weights/text.h"
#include "weights/torch_file.h"

struct dvit_weight_file {
    char *path; /* of the file itself, where a folder was named; NULL in shards */
    const char *format;
    struct dvit_file_bytes bytes;
    const struct dvit_tensor_view **tensors; /* [tensor_count], in the file's order */
    const struct dvit_tensor_view **by_name; /* [tensor_count] */
    size_t tensor_count;
    const struct dvit_stored_value *values; /* [value_count], in the file's order */
    const struct dvit_stored_value **values_by_name;
    size_t value_count;
    /* Who owns what the tables point to; NULL where it is another. */
    struct dvit_safetensors *safetensors;
    struct dvit_stored_value *metadata;
    struct dvit_torch_file *torch;
    struct dvit_weight_file **shards; /* [shard_count] */
    size_t shard_count;
    struct dvit_shard_index *index;
};

/* ---- what a file is ---- */

enum content { CONTENT_SAFETENSORS, CONTENT_TORCH_ZIP, CONTENT_TORCH_LEGACY, CONTENT_INDEX };

/* A safetensors header follows 8 bytes of its length, which read as text are never a JSON's begin:
 * its upper bytes are 0. */
static bool is_safetensors(const unsigned char *data, size_t size_bytes)
{
    uint64_t length = 0;
    for (int i = 0; size_bytes > 8 && i < 8; i++)
        length |= (uint64_t)data[i] << 8 * i;
    return size_bytes > 8 && data[8] == '{' && length <= DVIT_SAFETENSORS_MAX_HEADER;
}

static enum dvit_status recognise(const unsigned char *data, size_t size_bytes, enum content *out,
                                  struct dvit_error *error)
{
    if (is_safetensors(data, size_bytes))
        *out = CONTENT_SAFETENSORS;
    else if (size_bytes >= 4 && memcmp(data, "PK\3\4", 4) == 0)
        *out = CONTENT_TORCH_ZIP;
    else if (dvit_torch_is_legacy(data, size_bytes))
        *out = CONTENT_TORCH_LEGACY;
    else if (dvit_shard_index_is(data, size_bytes))
        *out = CONTENT_INDEX;
    else
        return dvit_file_kind_refuse(data, size_bytes, error);
    return DVIT_OK;
}

/* ---- tables ---- */

static enum dvit_status allocate_tables(struct dvit_weight_file *file, const char *path,
                                        size_t tensors, size_t values, struct dvit_error *error)
{
    file->tensors = calloc(tensors + 1, sizeof *file->tensors); /* never a request for 0 */
    file->by_name = calloc(tensors + 1, sizeof *file->by_name);
    file->values_by_name = calloc(values + 1, sizeof *file->values_by_name);
    file->tensor_count = tensors;
    file->value_count = values;
    if (!file->tensors || !file->by_name || !file->values_by_name)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory for %zu tensors",
                              path, tensors);
    return DVIT_OK;
}

static int compare_tensors(const void *a, const void *b)
{
    const struct dvit_tensor_view *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_values(const void *a, const void *b)
{
    const struct dvit_stored_value *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void index_names(struct dvit_weight_file *file)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        file->by_name[i] = file->tensors[i];
    for (size_t i = 0; i < file->value_count; i++)
        file->values_by_name[i] = &file->values[i];
    qsort(file->by_name, file->tensor_count, sizeof *file->by_name, compare_tensors);
    qsort(file->values_by_name, file->value_count, sizeof *file->values_by_name, compare_values);
}

/* ---- formats ---- */

static enum dvit_status open_safetensors(struct dvit_weight_file *file, const char *path,
                                         struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_safetensors_pair *pairs = NULL;
    DVIT_TRY(dvit_safetensors_parse(&file->safetensors, file->bytes.data, file->bytes.size_bytes,
                                    path, error));
    size_t count = dvit_safetensors_metadata_count(file->safetensors);
    DVIT_TRY(allocate_tables(file, path, dvit_safetensors_count(file->safetensors), count, error));
    pairs = calloc(count + 1, sizeof *pairs);
    file->metadata = calloc(count + 1, sizeof *file->metadata);
    if (!pairs || !file->metadata)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    for (size_t i = 0; i < file->tensor_count; i++)
        file->tensors[i] = dvit_safetensors_view(file->safetensors, i);
    dvit_safetensors_metadata_list(file->safetensors, pairs);
    for (size_t i = 0; i < count; i++)
        file->metadata[i] = (struct dvit_stored_value){pairs[i].key, "text", pairs[i].value};
    file->values = file->metadata;
    file->format = "safetensors";
done:
    free(pairs);
    return status;
}

static enum dvit_status open_torch(struct dvit_weight_file *file, bool is_zip, const char *path,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t tensors, values;
    status = dvit_torch_file_parse(&file->torch, file->bytes.data, file->bytes.size_bytes, error);
    if (status != DVIT_OK) {
        dvit_error_prefix(error, "\"%s\"", path);
        return status;
    }
    const struct dvit_tensor_view *views = dvit_torch_file_tensors(file->torch, &tensors);
    file->values = dvit_torch_file_values(file->torch, &values);
    DVIT_TRY(allocate_tables(file, path, tensors, values, error));
    for (size_t i = 0; i < tensors; i++)
        file->tensors[i] = &views[i];
    file->format = is_zip ? "PyTorch zip" : "PyTorch legacy";
done:
    return status;
}

static enum dvit_status open_file(struct dvit_weight_file **out, const char *path, bool is_shard,
                                  struct dvit_error *error);

static enum dvit_status open_shards(struct dvit_weight_file *file, const char *path,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("");
    char *shard = NULL;
    size_t count = dvit_shard_index_file_count(file->index);
    file->shards = calloc(count + 1, sizeof *file->shards);
    if (!folder || !file->shards)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    for (size_t i = 0; i < count; i++) {
        free(shard);
        shard = dvit_path_join(folder, dvit_shard_index_file(file->index, i));
        if (!shard)
            DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
        DVIT_TRY(open_file(&file->shards[i], shard, true, error));
        file->shard_count++;
    }
done:
    free(shard);
    free(folder);
    return status;
}

/* Each tensor of the map is in its shard, and no shard holds another one. */
static enum dvit_status join_shards(struct dvit_weight_file *file, const char *path,
                                    struct dvit_error *error)
{
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct dvit_shard_row *row = dvit_shard_index_row(file->index, i);
        file->tensors[i] = dvit_weight_file_find(file->shards[row->file], row->tensor);
        if (!file->tensors[i])
            return dvit_error_set(
                error, DVIT_ERROR_MISMATCH, "\"%s\": tensor \"%s\" is not in \"%s\"", path,
                dvit_text_show(row->tensor).text,
                dvit_text_show(dvit_shard_index_file(file->index, row->file)).text);
    }
    index_names(file);
    for (size_t s = 0; s < file->shard_count; s++)
        for (size_t i = 0; i < file->shards[s]->tensor_count; i++) {
            const struct dvit_tensor_view *view = file->shards[s]->tensors[i];
            if (dvit_weight_file_find(file, view->name) != view)
                return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                                      "\"%s\": tensor \"%s\" of \"%s\" is not in the weight_map",
                                      path, dvit_text_show(view->name).text,
                                      dvit_text_show(dvit_shard_index_file(file->index, s)).text);
        }
    return DVIT_OK;
}

static enum dvit_status open_index(struct dvit_weight_file *file, const char *path,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    status = dvit_shard_index_parse(&file->index, file->bytes.data, file->bytes.size_bytes, error);
    if (status != DVIT_OK) {
        dvit_error_prefix(error, "\"%s\"", path);
        return status;
    }
    DVIT_TRY(open_shards(file, path, error));
    DVIT_TRY(allocate_tables(file, path, dvit_shard_index_count(file->index), 0, error));
    DVIT_TRY(join_shards(file, path, error));
    file->format = "sharded safetensors";
    for (size_t i = 0; i < file->shard_count; i++)
        if (!file->shards[i]->safetensors)
            file->format = "sharded PyTorch";
done:
    return status;
}

static enum dvit_status open_file(struct dvit_weight_file **out, const char *path, bool is_shard,
                                  struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    enum content content = CONTENT_SAFETENSORS;
    *out = NULL;
    struct dvit_weight_file *file = calloc(1, sizeof *file);
    if (!file)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    DVIT_TRY(dvit_file_bytes_load(&file->bytes, path, error));
    status = recognise(file->bytes.data, file->bytes.size_bytes, &content, error);
    if (status == DVIT_OK && is_shard && content == CONTENT_INDEX)
        status = dvit_error_set(error, DVIT_ERROR_FORMAT, "is an index, expected a shard");
    if (status != DVIT_OK) {
        dvit_error_prefix(error, "\"%s\"", path);
        goto done;
    }
    if (content == CONTENT_SAFETENSORS)
        DVIT_TRY(open_safetensors(file, path, error));
    else if (content == CONTENT_INDEX)
        DVIT_TRY(open_index(file, path, error));
    else
        DVIT_TRY(open_torch(file, content == CONTENT_TORCH_ZIP, path, error));
    index_names(file);
    *out = file;
    file = NULL;
done:
    dvit_weight_file_free(file);
    return status;
}

static bool is_weight_name(const char *name)
{
    static const char *const ends[] = {".safetensors", ".pth", ".pt",   ".bin",     ".ckpt", ".tar",
                                       ".npz",         ".h5",  ".onnx", ".msgpack", ".keras"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t end = strlen(ends[i]);
        if (length > end && strcmp(name + length - end, ends[i]) == 0)
            return true;
    }
    return false;
}

/* A folder without the names that are looked for: which other weight files lie in it. */
static enum dvit_status refuse_folder(const char *path, struct dvit_error *error)
{
    struct dvit_names names = {0};
    char found[300] = "";
    size_t used = 0, count = 0;
    enum dvit_status status = dvit_folder_list(path, &names, error);
    if (status != DVIT_OK)
        return status;
    for (size_t i = 0; i < names.count; i++) {
        if (!is_weight_name(names.items[i]) || ++count > 8 || used >= sizeof found)
            continue;
        used += (size_t)snprintf(found + used, sizeof found - used, "%s\"%s\"", used ? ", " : "",
                                 dvit_text_show(names.items[i]).text);
    }
    dvit_names_free(&names);
    return dvit_error_set(error, DVIT_ERROR_NOT_FOUND,
                          "\"%s\": is a folder without model.safetensors or pytorch_model.bin "
                          "(or the .index.json of either)%s%s%s",
                          path, count ? "; it holds " : "", found,
                          count == 0   ? ""
                          : count == 1 ? ": name that file"
                                       : ": name one of these files");
}

/* The file that a path means: itself, or of a folder the first of the names that Hugging Face gives
 * its weights, or a run folder's best model. *out is malloc'ed. */
static enum dvit_status locate(char **out, const char *path, struct dvit_error *error)
{
    static const char *const names[] = {"",
                                        "/model.safetensors",
                                        "/model.safetensors.index.json",
                                        "/pytorch_model.bin",
                                        "/pytorch_model.bin.index.json",
                                        "/best.safetensors"};
    enum { COUNT = sizeof names / sizeof *names };
    size_t length = strlen(path), room = length + 64;
    char *found = malloc(room);
    *out = found;
    if (!found)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    snprintf(found, room, "%s", path);
    if (!dvit_folder_exists(path))
        return DVIT_OK;
    while (length > 1 && path[length - 1] == '/')
        length--;
    for (int i = 1; i < COUNT; i++) {
        snprintf(found, room, "%.*s%s", (int)length, path, names[i]);
        if (dvit_file_exists(found))
            return DVIT_OK;
    }
    snprintf(found, room, "%.*s/last.safetensors", (int)length, path);
    bool has_last = dvit_file_exists(found);
    if (has_last)
        dvit_error_set(error, DVIT_ERROR_NOT_FOUND,
                       "\"%s\": is a run folder without best.safetensors; its last model is "
                       "\"%s\"",
                       path, found);
    free(found);
    *out = NULL;
    return has_last ? DVIT_ERROR_NOT_FOUND : refuse_folder(path, error);
}

enum dvit_status dvit_weight_file_open(struct dvit_weight_file **out, const char *path,
                                       struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, path);
    char *located;
    enum dvit_status status = locate(&located, path, error);
    if (status == DVIT_OK)
        status = open_file(out, located, false, error);
    if (status == DVIT_OK)
        (*out)->path = located;
    else
        free(located);
    return status;
}

const char *dvit_weight_file_path(const struct dvit_weight_file *file)
{
    return file->path;
}

void dvit_weight_file_free(struct dvit_weight_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->shard_count; i++)
        dvit_weight_file_free(file->shards[i]);
    free(file->shards);
    dvit_shard_index_free(file->index);
    dvit_safetensors_free(file->safetensors);
    free(file->metadata);
    dvit_torch_file_free(file->torch);
    free(file->path);
    free(file->tensors);
    free(file->by_name);
    free(file->values_by_name);
    dvit_file_bytes_free(&file->bytes);
    free(file);
}

/* ---- looking inside ---- */

const char *dvit_weight_file_format(const struct dvit_weight_file *file)
{
    if (!file)
        return NULL;
    return file->format;
}

size_t dvit_weight_file_tensor_count(const struct dvit_weight_file *file)
{
    if (!file)
        return 0;
    return file->tensor_count;
}

const struct dvit_tensor_view *dvit_weight_file_view(const struct dvit_weight_file *file,
                                                     size_t index)
{
    return file->tensors[index];
}

struct dvit_stored_tensor dvit_weight_file_tensor(const struct dvit_weight_file *file, size_t index)
{
    if (index >= dvit_weight_file_tensor_count(file))
        return (struct dvit_stored_tensor){0};
    const struct dvit_tensor_view *view = file->tensors[index];
    struct dvit_stored_tensor tensor = {.name = view->name,
                                        .dtype = dvit_dtype_name(view->dtype),
                                        .rank = view->rank,
                                        .elements = dvit_tensor_elements(view),
                                        .size_bytes = view->size_bytes};
    memcpy(tensor.shape, view->shape, sizeof tensor.shape);
    return tensor;
}

enum dvit_status dvit_weight_file_read(const struct dvit_weight_file *file, size_t index,
                                       float *out, struct dvit_error *error)
{
    DVIT_REQUIRE(error, file, out);
    if (index >= file->tensor_count)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "tensor %zu of %zu", index,
                              file->tensor_count);
    dvit_tensor_round_f32(file->tensors[index], out);
    return DVIT_OK;
}

size_t dvit_weight_file_value_count(const struct dvit_weight_file *file)
{
    if (!file)
        return 0;
    return file->value_count;
}

struct dvit_stored_value dvit_weight_file_value(const struct dvit_weight_file *file, size_t index)
{
    if (index >= dvit_weight_file_value_count(file))
        return (struct dvit_stored_value){0};
    return file->values[index];
}

const struct dvit_tensor_view *dvit_weight_file_find(const struct dvit_weight_file *file,
                                                     const char *name)
{
    const struct dvit_tensor_view key = {.name = name}, *wanted = &key;
    const struct dvit_tensor_view **found =
        bsearch(&wanted, file->by_name, file->tensor_count, sizeof *file->by_name, compare_tensors);
    return found ? *found : NULL;
}

const struct dvit_stored_value *dvit_weight_file_find_value(const struct dvit_weight_file *file,
                                                            const char *name)
{
    const struct dvit_stored_value key = {.name = name}, *wanted = &key;
    const struct dvit_stored_value **found =
        bsearch(&wanted, file->values_by_name, file->value_count, sizeof *file->values_by_name,
                compare_values);
    return found ? *found : NULL;
}

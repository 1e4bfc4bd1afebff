/* Walking the contents of a PyTorch file.
 *
 * Dictionaries, lists and the state of objects are followed; a tensor or a simple value at the end
 * of a path becomes an entry under that path. Keys are joined by '/'. A list of many leaves is one
 * line, but tensors in it are always found. Modules (torch.save(model)) call their tensors as their
 * state_dict() does: "blocks.0.norm1.weight". Recursion is bounded by DVIT_TORCH_MAX_NESTING. */
#include "weights/torch_tree.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "weights/text.h"

struct walker {
    struct dvit_torch_file *file;
    const struct dvit_torch_source *source;
    struct dvit_error *error;
    char path[DVIT_TORCH_MAX_NAME + 1];
    size_t path_bytes;
    int depth;
    size_t visits;
    bool only_tensors; /* inside a list that has its line already */
    bool in_module;    /* what is walked next is a part of a module: its names follow a '.' */
};

static enum dvit_status no_memory(struct walker *w)
{
    return dvit_pool_failed(&w->file->pool, w->error);
}

static enum dvit_status count_visit(struct walker *w)
{
    if (w->depth > DVIT_TORCH_MAX_NESTING)
        return dvit_error_set(w->error, DVIT_ERROR_LIMIT,
                              "\"%s\" nests deeper than %d levels, or contains itself",
                              dvit_text_show(w->path).text, DVIT_TORCH_MAX_NESTING);
    if (++w->visits > DVIT_TORCH_MAX_VISITS)
        return dvit_error_set(w->error, DVIT_ERROR_LIMIT, "has more than %d values",
                              DVIT_TORCH_MAX_VISITS);
    return DVIT_OK;
}

/* ---- paths ---- */

static enum dvit_status path_push(struct walker *w, char separator, const void *name, size_t length)
{
    size_t slash = w->path_bytes ? 1 : 0;
    if (length > DVIT_TORCH_MAX_NAME - slash ||
        w->path_bytes > DVIT_TORCH_MAX_NAME - slash - length)
        return dvit_error_set(w->error, DVIT_ERROR_LIMIT,
                              "a name below \"%s\" makes a path of more than %d bytes",
                              dvit_text_show(w->path).text, DVIT_TORCH_MAX_NAME);
    if (memchr(name, 0, length))
        return dvit_error_set(w->error, DVIT_ERROR_FORMAT, "a name below \"%s\" holds a zero byte",
                              dvit_text_show(w->path).text);
    if (slash)
        w->path[w->path_bytes++] = separator;
    memcpy(w->path + w->path_bytes, name, length);
    w->path_bytes += length;
    w->path[w->path_bytes] = 0;
    return DVIT_OK;
}

static void path_cut(struct walker *w, size_t length)
{
    w->path_bytes = length;
    w->path[length] = 0;
}

/* Two's complement bytes as a hexadecimal number of that many bytes. */
static void print_big(const struct dvit_value *value, char *text, size_t capacity)
{
    size_t used = (size_t)snprintf(text, capacity, "0x");
    for (size_t i = value->count; i-- > 0 && used + 3 < capacity;)
        used += (size_t)snprintf(text + used, capacity - used, "%02x", value->bytes[i]);
}

/* What a key of a dictionary is called in a path; keys that are no names go by their place. */
static enum dvit_status push_key(struct walker *w, char separator, const struct dvit_value *key,
                                 size_t place)
{
    char text[32];
    switch (key->kind) {
    case DVIT_VALUE_TEXT:
        return path_push(w, separator, key->bytes, key->count);
    case DVIT_VALUE_INT:
        snprintf(text, sizeof text, "%" PRId64, key->integer);
        break;
    case DVIT_VALUE_BOOL:
        snprintf(text, sizeof text, "%s", key->integer ? "true" : "false");
        break;
    case DVIT_VALUE_FLOAT:
        dvit_decimal_shortest(text, sizeof text, key->real, 15);
        break;
    default:
        snprintf(text, sizeof text, "#%zu", place);
    }
    return path_push(w, separator, text, strlen(text));
}

/* ---- entries ---- */

static enum dvit_status add_value(struct walker *w, const char *kind, const void *text,
                                  size_t length)
{
    struct dvit_torch_file *file = w->file;
    if (w->only_tensors)
        return DVIT_OK;
    if (file->value_count == DVIT_TORCH_MAX_VALUES)
        return dvit_error_set(w->error, DVIT_ERROR_LIMIT, "has more than %d values",
                              DVIT_TORCH_MAX_VALUES);
    struct dvit_stored_value *values =
        dvit_pool_grow(&file->pool, file->values, file->value_count, sizeof *values);
    if (!values)
        return no_memory(w);
    file->values = values;
    const char *name = dvit_pool_text(&file->pool, w->path, w->path_bytes);
    const char *copy = dvit_pool_text(&file->pool, text, length);
    if (!name || !copy)
        return no_memory(w);
    values[file->value_count++] = (struct dvit_stored_value){name, kind, copy};
    return DVIT_OK;
}

static enum dvit_status add_text(struct walker *w, const char *kind, const char *text)
{
    return add_value(w, kind, text, strlen(text));
}

static enum dvit_status add_tensor(struct walker *w, const struct dvit_torch_tensor *tensor)
{
    struct dvit_torch_file *file = w->file;
    if (file->tensor_count == DVIT_TORCH_MAX_TENSORS)
        return dvit_error_set(w->error, DVIT_ERROR_LIMIT, "has more than %d tensors",
                              DVIT_TORCH_MAX_TENSORS);
    struct dvit_tensor_view *views =
        dvit_pool_grow(&file->pool, file->tensors, file->tensor_count, sizeof *views);
    const char *name = dvit_pool_text(&file->pool, w->path, w->path_bytes);
    if (!views || !name)
        return no_memory(w);
    file->tensors = views;
    views += file->tensor_count++;
    *views =
        (struct dvit_tensor_view){.name = name,
                                  .dtype = tensor->dtype,
                                  .rank = tensor->rank,
                                  .data = tensor->data,
                                  .size_bytes = tensor->elements * dvit_dtype_size(tensor->dtype)};
    memcpy(views->shape, tensor->shape, sizeof views->shape);
    if (tensor->is_contiguous)
        return DVIT_OK;
    struct dvit_torch_scattered *scattered =
        dvit_pool_grow(&file->pool, file->scattered, file->scattered_count, sizeof *scattered);
    if (!scattered)
        return no_memory(w);
    file->scattered = scattered;
    scattered[file->scattered_count++] =
        (struct dvit_torch_scattered){file->tensor_count - 1, *tensor};
    return DVIT_OK;
}

/* ---- the walk ---- */

static enum dvit_status walk(struct walker *w, const struct dvit_value *value);

static enum dvit_status walk_below(struct walker *w, const struct dvit_value *value)
{
    w->depth++;
    enum dvit_status status = walk(w, value);
    w->depth--;
    return status;
}

static enum dvit_status walk_dict(struct walker *w, const struct dvit_value *dict)
{
    enum dvit_status status = DVIT_OK;
    size_t length = w->path_bytes;
    for (size_t i = 0; i < dict->count; i++) {
        DVIT_TRY(push_key(w, '/', dict->items[2 * i], i));
        DVIT_TRY(walk_below(w, dict->items[2 * i + 1]));
        path_cut(w, length);
    }
    if (dict->count == 0)
        status = add_text(w, "list", "{}");
done:
    return status;
}

static bool has_items(const struct dvit_value *value)
{
    return value->kind == DVIT_VALUE_LIST || value->kind == DVIT_VALUE_TUPLE;
}

/* Adds the leaves of a list to *leaves until there are too many for lines of their own. A dict or
 * an object in it counts as one. */
static enum dvit_status count_leaves(struct walker *w, const struct dvit_value *list,
                                     size_t *leaves)
{
    enum dvit_status status = count_visit(w);
    for (size_t i = 0; status == DVIT_OK && i < list->count; i++) {
        if (*leaves > DVIT_TORCH_MAX_LIST_LEAVES)
            break;
        if (!has_items(list->items[i])) {
            ++*leaves;
            continue;
        }
        w->depth++;
        status = count_leaves(w, list->items[i], leaves);
        w->depth--;
    }
    return status;
}

static enum dvit_status walk_list(struct walker *w, const struct dvit_value *list)
{
    enum dvit_status status = DVIT_OK;
    size_t length = w->path_bytes, leaves = 0;
    bool only_tensors = w->only_tensors;
    char text[32];
    if (list->count == 0)
        return add_text(w, "list", list->kind == DVIT_VALUE_LIST ? "[]" : "()");
    if (!only_tensors)
        DVIT_TRY(count_leaves(w, list, &leaves));
    if (leaves > DVIT_TORCH_MAX_LIST_LEAVES) {
        snprintf(text, sizeof text, "%" PRIu32 " items", list->count);
        DVIT_TRY(add_text(w, "list", text));
        w->only_tensors = true;
    }
    for (size_t i = 0; i < list->count; i++) {
        int digits = snprintf(text, sizeof text, "%zu", i);
        DVIT_TRY(path_push(w, '/', text, (size_t)digits));
        DVIT_TRY(walk_below(w, list->items[i]));
        path_cut(w, length);
    }
done:
    w->only_tensors = only_tensors;
    return status;
}

/* Which table of a module a key of its state is: parameters, buffers or submodules. */
static const char *module_table(const struct dvit_value *key, const struct dvit_value *value)
{
    static const char *const tables[] = {"_parameters", "_buffers", "_modules"};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (dvit_value_is_text(key, tables[i]) && value->kind == DVIT_VALUE_DICT)
            return tables[i];
    return NULL;
}

/* Whether the state of an object is that of a torch.nn.Module. */
static bool is_module(const struct dvit_value *state)
{
    bool parameters = false, modules = false;
    for (size_t i = 0; state->kind == DVIT_VALUE_DICT && i < state->count; i++) {
        const char *table = module_table(state->items[2 * i], state->items[2 * i + 1]);
        parameters = parameters || (table && strcmp(table, "_parameters") == 0);
        modules = modules || (table && strcmp(table, "_modules") == 0);
    }
    return parameters && modules;
}

/* One of a module's tables: its entries are called as in state_dict(). */
static enum dvit_status walk_table(struct walker *w, const struct dvit_value *table, char separator,
                                   bool of_modules)
{
    enum dvit_status status = count_visit(w);
    size_t length = w->path_bytes;
    for (size_t i = 0; status == DVIT_OK && i < table->count; i++) {
        DVIT_TRY(push_key(w, separator, table->items[2 * i], i));
        w->in_module = of_modules;
        DVIT_TRY(walk_below(w, table->items[2 * i + 1]));
        path_cut(w, length);
    }
done:
    return status;
}

/* The state of a module, which is itself part of another one where `nested`. */
static enum dvit_status walk_module(struct walker *w, const struct dvit_value *state, bool nested)
{
    enum dvit_status status = DVIT_OK;
    size_t length = w->path_bytes;
    char separator = nested ? '.' : '/';
    for (size_t i = 0; i < state->count; i++) {
        const struct dvit_value *key = state->items[2 * i], *value = state->items[2 * i + 1];
        const char *table = module_table(key, value);
        if (table) {
            DVIT_TRY(walk_table(w, value, separator, strcmp(table, "_modules") == 0));
            continue;
        }
        DVIT_TRY(push_key(w, '/', key, i));
        DVIT_TRY(walk_below(w, value));
        path_cut(w, length);
    }
done:
    return status;
}

/* A tensor, or a line that names the class, and what the object holds. */
static enum dvit_status walk_object(struct walker *w, const struct dvit_value *object, bool nested)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_torch_tensor tensor;
    enum dvit_torch_kind kind;
    status = dvit_torch_tensor_parse(&kind, &tensor, object, w->source, w->error);
    if (status != DVIT_OK)
        dvit_error_prefix(w->error, "tensor \"%s\"", dvit_text_show(w->path).text);
    if (status != DVIT_OK || kind == DVIT_TORCH_TENSOR)
        return status == DVIT_OK ? add_tensor(w, &tensor) : status;
    DVIT_TRY(add_text(w, "object", dvit_value_class_show(object).text));
    if (kind == DVIT_TORCH_FOREIGN_TENSOR)
        goto done;
    for (int part = DVIT_OBJECT_STATE; part <= DVIT_OBJECT_CONTENT; part++) {
        const struct dvit_value *inner = object->items[part];
        if (inner && is_module(inner))
            DVIT_TRY(walk_module(w, inner, nested));
        else if (inner && inner->count > 0 && (inner->kind == DVIT_VALUE_DICT || has_items(inner)))
            DVIT_TRY(walk_below(w, inner));
    }
done:
    return status;
}

static enum dvit_status walk(struct walker *w, const struct dvit_value *value)
{
    char text[600]; /* LONG1 has at most 255 bytes */
    bool nested = w->in_module;
    enum dvit_status status = count_visit(w);
    w->in_module = false;
    if (status != DVIT_OK)
        return status;
    switch ((enum dvit_value_kind)value->kind) {
    case DVIT_VALUE_DICT:
        return walk_dict(w, value);
    case DVIT_VALUE_LIST:
    case DVIT_VALUE_TUPLE:
        return walk_list(w, value);
    case DVIT_VALUE_OBJECT:
        return walk_object(w, value, nested);
    case DVIT_VALUE_NONE:
        return add_text(w, "none", "None");
    case DVIT_VALUE_BOOL:
        return add_text(w, "bool", value->integer ? "true" : "false");
    case DVIT_VALUE_INT:
        snprintf(text, sizeof text, "%" PRId64, value->integer);
        return add_text(w, "int", text);
    case DVIT_VALUE_BIG:
        print_big(value, text, sizeof text);
        return add_text(w, "int", text);
    case DVIT_VALUE_FLOAT:
        dvit_decimal_shortest(text, sizeof text, value->real, 15);
        return add_text(w, "float", text);
    case DVIT_VALUE_TEXT:
        if (!memchr(value->bytes, 0, value->count))
            return add_value(w, "text", value->bytes, value->count);
        /* fall through */
    case DVIT_VALUE_BYTES:
        snprintf(text, sizeof text, "%" PRIu32 " bytes", value->count);
        return add_text(w, "object", text);
    case DVIT_VALUE_SET:
        return add_text(w, "list", "set()");
    case DVIT_VALUE_GLOBAL:
        return add_text(w, "object", dvit_value_class_show(value).text);
    case DVIT_VALUE_PERSISTENT:
        return add_text(w, "object", "persistent id");
    }
    return DVIT_OK;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Different keys may make one path: {1: …, "1": …}. */
static enum dvit_status check_names(struct walker *w)
{
    struct dvit_torch_file *file = w->file;
    const char **names = dvit_pool_take(&file->pool, file->tensor_count, sizeof *names);
    if (!names)
        return no_memory(w);
    for (size_t i = 0; i < file->tensor_count; i++)
        names[i] = file->tensors[i].name;
    qsort(names, file->tensor_count, sizeof *names, compare_names);
    for (size_t i = 1; i < file->tensor_count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return dvit_error_set(w->error, DVIT_ERROR_FORMAT, "tensor \"%s\" is there twice",
                                  dvit_text_show(names[i]).text);
    return DVIT_OK;
}

enum dvit_status dvit_torch_tree_list(struct dvit_torch_file *file, const struct dvit_value *root,
                                      const struct dvit_torch_source *source,
                                      struct dvit_error *error)
{
    struct walker w = {.file = file, .source = source, .error = error};
    enum dvit_status status = walk(&w, root);
    return status == DVIT_OK ? check_names(&w) : status;
}

/* Tensors and storages as torch.save writes them:
 *     _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])
 *     _rebuild_parameter(tensor, requires_grad, hooks[, state])
 * with offset and stride in elements. Every number is checked against the storage before a pointer
 * is made of it. Knows neither pickles nor where a storage lies. */
#include "weights/torch_tensor.h"

#include <inttypes.h>
#include <string.h>

#include "weights/text.h"

enum { TILE = 64 /* elements: a cache line each */ };

static const struct {
    const char *name;
    bool has_dtype;
    enum dvit_dtype dtype;
    size_t element_bytes;
} storages[] = {
    {"FloatStorage", true, DVIT_DTYPE_F32, 4},
    {"HalfStorage", true, DVIT_DTYPE_F16, 2},
    {"BFloat16Storage", true, DVIT_DTYPE_BF16, 2},
    {"DoubleStorage", true, DVIT_DTYPE_F64, 8},
    {"LongStorage", true, DVIT_DTYPE_I64, 8},
    {"IntStorage", true, DVIT_DTYPE_I32, 4},
    {"ShortStorage", true, DVIT_DTYPE_I16, 2},
    {"CharStorage", true, DVIT_DTYPE_I8, 1},
    {"ByteStorage", true, DVIT_DTYPE_U8, 1},
    {"BoolStorage", true, DVIT_DTYPE_BOOL, 1},
    {"ComplexFloatStorage", false, 0, 8},
    {"ComplexDoubleStorage", false, 0, 16},
    {"QInt8Storage", false, 0, 1},
    {"QUInt8Storage", false, 0, 1},
    {"QInt32Storage", false, 0, 4},
    {"UntypedStorage", false, 0, 1},
};

/* Old files keep the device in the module's name. */
static bool find_class(const struct dvit_value *class, struct dvit_torch_storage *out)
{
    for (size_t i = 0; i < sizeof storages / sizeof *storages; i++) {
        const char *name = storages[i].name;
        if (!dvit_value_is_global(class, "torch", name) &&
            !dvit_value_is_global(class, "torch.cuda", name) &&
            !dvit_value_is_global(class, "torch.storage", name))
            continue;
        out->class_name = name;
        out->has_dtype = storages[i].has_dtype;
        out->dtype = storages[i].dtype;
        out->element_bytes = storages[i].element_bytes;
        return true;
    }
    return false;
}

static bool read_size(const struct dvit_value *value, size_t *out)
{
    if (value->kind != DVIT_VALUE_INT || value->integer < 0)
        return false;
    *out = (size_t)value->integer;
    return true;
}

/* The sixth item of a legacy id: (key, offset, size) in elements. */
static bool read_view(const struct dvit_value *view, struct dvit_torch_storage *out)
{
    if (view->kind == DVIT_VALUE_NONE)
        return true;
    out->has_view = true;
    return view->kind == DVIT_VALUE_TUPLE && view->count == 3 &&
           read_size(view->items[1], &out->view_begin) &&
           read_size(view->items[2], &out->view_elements) && out->view_begin <= out->elements &&
           out->view_elements <= out->elements - out->view_begin;
}

enum dvit_status dvit_torch_storage_parse(struct dvit_torch_storage *out,
                                          const struct dvit_value *persistent,
                                          struct dvit_error *error)
{
    const struct dvit_value *id = persistent->items[0];
    *out = (struct dvit_torch_storage){0};
    if (id->kind != DVIT_VALUE_TUPLE || id->count < 1 ||
        !dvit_value_is_text(id->items[0], "storage"))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "a persistent id is not that of a storage (whole pickled modules are "
                              "not read; save a state_dict)");
    if (id->count < 5 || id->count > 6 || id->items[2]->kind != DVIT_VALUE_TEXT)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "the persistent id of a storage is not (\"storage\", class, key, "
                              "location, elements)");
    out->key = id->items[2]->bytes;
    out->key_bytes = id->items[2]->count;
    char key[64];
    dvit_text_escape((const char *)out->key, out->key_bytes, key, sizeof key);
    if (!find_class(id->items[1], out))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "storage \"%s\" is of unknown class %s", key,
                              dvit_value_class_show(id->items[1]).text);
    uint64_t elements;
    size_t checked;
    if (!read_size(id->items[4], &out->elements))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "storage \"%s\" has no number of elements",
                              key);
    elements = out->elements;
    if (!dvit_shape_elements(&elements, 1, out->element_bytes, &checked))
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "storage \"%s\": %" PRIu64 " elements exceed the address space", key,
                              elements);
    if (id->count == 6 && !read_view(id->items[5], out))
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "storage \"%s\": its view lies outside its %zu elements", key,
                              out->elements);
    return DVIT_OK;
}

/* The call whose arguments begin with storage, offset, size, stride; parameters are unwrapped. NULL
 * for anything else. */
static const struct dvit_value *find_rebuild(const struct dvit_value *object)
{
    static const char utils[] = "torch._utils";
    for (int wraps = 0; wraps < 2 && object->kind == DVIT_VALUE_OBJECT; wraps++) {
        const struct dvit_value *class = object->items[DVIT_OBJECT_CLASS];
        const struct dvit_value *args = object->items[DVIT_OBJECT_ARGS];
        if (dvit_value_is_global(class, utils, "_rebuild_tensor_v2") ||
            dvit_value_is_global(class, utils, "_rebuild_tensor_v3") ||
            dvit_value_is_global(class, utils, "_rebuild_tensor"))
            return object;
        if (args->count < 1 ||
            (!dvit_value_is_global(class, utils, "_rebuild_parameter") &&
             !dvit_value_is_global(class, utils, "_rebuild_parameter_with_state")))
            return NULL;
        object = args->items[0];
    }
    return NULL;
}

static bool read_extents(const struct dvit_value *sizes, const struct dvit_value *strides,
                         struct dvit_torch_tensor *out)
{
    if (sizes->kind != DVIT_VALUE_TUPLE || strides->kind != DVIT_VALUE_TUPLE ||
        sizes->count != strides->count || sizes->count > DVIT_TENSOR_MAX_RANK)
        return false;
    out->rank = (int)sizes->count;
    for (int i = 0; i < out->rank; i++) {
        size_t size, stride;
        if (!read_size(sizes->items[i], &size) || !read_size(strides->items[i], &stride))
            return false;
        out->shape[i] = size;
        out->stride[i] = size == 1 ? 0 : stride; /* never stepped along */
    }
    return true;
}

static bool is_row_major(const struct dvit_torch_tensor *t)
{
    uint64_t expected = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->shape[i] == 1)
            continue;
        if (t->stride[i] != expected)
            return false;
        expected *= t->shape[i];
    }
    return true;
}

/* Walks the axes from the smallest stride: each must step over all that the smaller ones reach, so
 * no two elements meet. This holds for every slice and transpose of a contiguous tensor. *reach is
 * the distance to the last element. */
static bool axes_are_apart(const struct dvit_torch_tensor *t, uint64_t *reach)
{
    int order[DVIT_TENSOR_MAX_RANK], count = 0;
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] == 1)
            continue;
        int at = count++;
        for (; at > 0 && t->stride[order[at - 1]] > t->stride[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    *reach = 0;
    for (int k = 0; k < count; k++) {
        uint64_t span;
        if (t->stride[order[k]] <= *reach ||
            __builtin_mul_overflow(t->shape[order[k]] - 1, t->stride[order[k]], &span) ||
            __builtin_add_overflow(*reach, span, reach))
            return false;
    }
    return true;
}

static enum dvit_status place(struct dvit_torch_tensor *t, const struct dvit_torch_storage *storage,
                              const unsigned char *bytes, size_t offset, struct dvit_error *error)
{
    size_t begin = storage->has_view ? storage->view_begin : 0;
    size_t available = storage->has_view ? storage->view_elements : storage->elements;
    uint64_t reach = 0;
    char shape[192], stride[192];
    t->dtype = storage->dtype;
    dvit_shape_format(t->shape, t->rank, shape, sizeof shape);
    dvit_shape_format(t->stride, t->rank, stride, sizeof stride);
    if (!dvit_shape_elements(t->shape, t->rank, storage->element_bytes, &t->elements))
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "shape %s exceeds the address space", shape);
    t->is_contiguous = t->elements == 0 || is_row_major(t);
    if (t->elements && !axes_are_apart(t, &reach))
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "strides %s of shape %s let elements share a place", stride, shape);
    if (offset > available || (t->elements && reach >= available - offset))
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "shape %s with strides %s from element %zu reaches outside its "
                              "storage of %zu elements",
                              shape, stride, offset, available);
    t->data = bytes + (begin + offset) * storage->element_bytes;
    return DVIT_OK;
}

enum dvit_status dvit_torch_tensor_parse(enum dvit_torch_kind *kind, struct dvit_torch_tensor *out,
                                         const struct dvit_value *object,
                                         const struct dvit_torch_source *source,
                                         struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_value *call = find_rebuild(object);
    struct dvit_torch_storage storage;
    const unsigned char *bytes;
    size_t offset;
    *kind = DVIT_TORCH_NOT_TENSOR;
    *out = (struct dvit_torch_tensor){0};
    if (!call)
        return DVIT_OK;
    const struct dvit_value *args = call->items[DVIT_OBJECT_ARGS];
    if (args->count < 4 || args->items[0]->kind != DVIT_VALUE_PERSISTENT)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "the arguments of %s are not storage, offset, size, strides",
                  dvit_value_class_show(call).text);
    *kind = DVIT_TORCH_FOREIGN_TENSOR;
    status = dvit_torch_storage_parse(&storage, args->items[0], error);
    if (status == DVIT_ERROR_UNSUPPORTED || (status == DVIT_OK && !storage.has_dtype) ||
        dvit_value_is_global(call->items[DVIT_OBJECT_CLASS], "torch._utils", "_rebuild_tensor_v3"))
        return DVIT_OK;
    DVIT_TRY(status);
    if (!read_size(args->items[1], &offset) || !read_extents(args->items[2], args->items[3], out))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "offset, size and strides are not non-negative integers of rank at most %d",
                  DVIT_TENSOR_MAX_RANK);
    DVIT_TRY(source->find(source->context, &storage, &bytes, error));
    DVIT_TRY(place(out, &storage, bytes, offset, error));
    *kind = DVIT_TORCH_TENSOR;
done:
    return status;
}

/* An axis of a tensor: how many steps, and how far each goes in the file and in row-major order. */
struct axis {
    size_t extent, from_bytes, to_bytes;
};

/* The width is a constant in each branch, so each copy is one move. */
static void copy_line(unsigned char *out, const unsigned char *in, size_t count,
                      const struct axis *axis, size_t width)
{
    for (size_t i = 0; i < count; i++) {
        const unsigned char *from = in + i * axis->from_bytes;
        unsigned char *to = out + i * axis->to_bytes;
        if (width == 4)
            memcpy(to, from, 4);
        else if (width == 2)
            memcpy(to, from, 2);
        else if (width == 8)
            memcpy(to, from, 8);
        else
            *to = *from;
    }
}

/* Two axes in squares, so that the lines which one of them jumps between stay in cache. */
static void copy_plane(unsigned char *out, const unsigned char *in, const struct axis *outer,
                       const struct axis *inner, size_t width)
{
    for (size_t k = 0; k < inner->extent; k += TILE) {
        size_t count = inner->extent - k < TILE ? inner->extent - k : TILE;
        for (size_t i = 0; i < outer->extent; i++)
            copy_line(out + i * outer->to_bytes + k * inner->to_bytes,
                      in + i * outer->from_bytes + k * inner->from_bytes, count, inner, width);
    }
}

/* The last axis goes innermost, the one that is nearest in the file around it; axes[2 …] are the
 * others. Absent ones have one step. */
static int order_axes(const struct dvit_torch_tensor *t, struct axis axes[DVIT_TENSOR_MAX_RANK + 2])
{
    size_t width = dvit_dtype_size(t->dtype), to_bytes = width;
    int count = 2;
    axes[0] = axes[1] = (struct axis){1, 0, 0};
    for (int i = t->rank - 1; i >= 0; to_bytes *= t->shape[i--]) {
        struct axis axis = {t->shape[i], t->stride[i] * width, to_bytes};
        if (axis.extent == 1)
            continue;
        if (axes[0].extent == 1) {
            axes[0] = axis;
        } else if (axes[1].extent == 1 || axis.from_bytes < axes[1].from_bytes) {
            axes[count] = axes[1];
            count += axes[1].extent != 1;
            axes[1] = axis;
        } else {
            axes[count++] = axis;
        }
    }
    return count;
}

void dvit_torch_tensor_copy(const struct dvit_torch_tensor *t, unsigned char *out)
{
    struct axis axes[DVIT_TENSOR_MAX_RANK + 2];
    size_t index[DVIT_TENSOR_MAX_RANK + 2] = {0}, from = 0, to = 0;
    int count = order_axes(t, axes), i;
    do {
        copy_plane(out + to, t->data + from, &axes[1], &axes[0], dvit_dtype_size(t->dtype));
        for (i = 2; i < count; i++) { /* an odometer over the other axes */
            from += axes[i].from_bytes;
            to += axes[i].to_bytes;
            if (++index[i] < axes[i].extent)
                break;
            from -= axes[i].from_bytes * axes[i].extent;
            to -= axes[i].to_bytes * axes[i].extent;
            index[i] = 0;
        }
    } while (i < count);
}

/* Opening PyTorch files: the form's pickle becomes a tree of inert values, the tree becomes lists,
 * and tensors whose strides are not row-major are copied into order. The tree is dropped before
 * those copies are made, so that one budget covers both. */
#include "weights/torch_file.h"

#include <stdlib.h>
#include <string.h>

#include "weights/torch_form.h"
#include "weights/torch_tree.h"

enum {
    /* Values of a pickle never need more than this, however large the file around it. */
    MAX_TREE_BYTES = 304 << 20
};

static size_t budget(size_t size_bytes)
{
    size_t sum;
    return __builtin_add_overflow(size_bytes, (size_t)DVIT_TORCH_SPARE, &sum) ? size_bytes : sum;
}

static enum dvit_status list_contents(struct dvit_torch_file *file, const unsigned char *data,
                                      size_t size_bytes, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_torch_form form = {0};
    size_t limit = budget(size_bytes);
    struct dvit_pool tree = {.limit_bytes = limit < MAX_TREE_BYTES ? limit : MAX_TREE_BYTES};
    if (dvit_torch_is_legacy(data, size_bytes))
        DVIT_TRY(dvit_torch_legacy_open(&form, data, size_bytes, &tree, error));
    else
        DVIT_TRY(dvit_torch_zip_open(&form, data, size_bytes, &tree, error));
    file->pool.limit_bytes = limit - tree.used_bytes;
    DVIT_TRY(dvit_torch_tree_list(file, form.root, &form.source, error));
done:
    if (form.free_context)
        form.free_context(form.source.context);
    dvit_pool_free(&tree);
    return status;
}

static enum dvit_status gather_scattered(struct dvit_torch_file *file, struct dvit_error *error)
{
    for (size_t i = 0; i < file->scattered_count; i++) {
        const struct dvit_torch_scattered *scattered = &file->scattered[i];
        struct dvit_tensor_view *view = &file->tensors[scattered->index];
        unsigned char *bytes = dvit_pool_take(&file->pool, view->size_bytes, 1);
        if (!bytes)
            return dvit_pool_failed(&file->pool, error);
        dvit_torch_tensor_copy(&scattered->tensor, bytes);
        view->data = bytes;
    }
    return DVIT_OK;
}

enum dvit_status dvit_torch_file_parse(struct dvit_torch_file **out, const unsigned char *data,
                                       size_t size_bytes, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = NULL;
    struct dvit_torch_file *file = calloc(1, sizeof *file);
    if (!file)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory");
    DVIT_TRY(list_contents(file, data, size_bytes, error));
    file->pool.limit_bytes = budget(size_bytes);
    DVIT_TRY(gather_scattered(file, error));
    *out = file;
    file = NULL;
done:
    dvit_torch_file_free(file);
    return status;
}

void dvit_torch_file_free(struct dvit_torch_file *file)
{
    if (!file)
        return;
    dvit_pool_free(&file->pool);
    free(file);
}

const struct dvit_tensor_view *dvit_torch_file_tensors(const struct dvit_torch_file *file,
                                                       size_t *count)
{
    *count = file->tensor_count;
    return file->tensors;
}

const struct dvit_stored_value *dvit_torch_file_values(const struct dvit_torch_file *file,
                                                       size_t *count)
{
    *count = file->value_count;
    return file->values;
}

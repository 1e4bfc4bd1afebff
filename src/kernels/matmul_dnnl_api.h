/* Where oneDNN's C APIs 2 and 3 differ, under one set of names: memory descriptors (values in 2,
 * owned handles in 3), the sum post-operation, and how a matrix product is described. Checked with
 * 2.6.3 and 3.2.0. For matmul_dnnl.c alone. */
#ifndef DVIT_KERNELS_MATMUL_DNNL_API_H
#define DVIT_KERNELS_MATMUL_DNNL_API_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>

/* A memory descriptor: a value in API 2, an owned handle in API 3. */
struct layout {
    dnnl_memory_desc_t desc;
    bool present;
};

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t desc_view;

static desc_view view(const struct layout *layout)
{
    return layout->desc;
}

static dnnl_status_t layout_strided(struct layout *layout, dnnl_data_type_t type,
                                    const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    dnnl_status_t s = dnnl_memory_desc_create_with_strides(&layout->desc, 2, dims, type, strides);
    layout->present = s == dnnl_success;
    return s;
}

static dnnl_status_t layout_any(struct layout *layout, const dnnl_dims_t dims)
{
    dnnl_status_t s =
        dnnl_memory_desc_create_with_tag(&layout->desc, 2, dims, dnnl_f32, dnnl_format_tag_any);
    layout->present = s == dnnl_success;
    return s;
}

static dnnl_status_t layout_copy(struct layout *layout, desc_view source)
{
    dnnl_status_t s = dnnl_memory_desc_clone(&layout->desc, source);
    layout->present = s == dnnl_success;
    return s;
}

static void layout_free(struct layout *layout)
{
    if (layout->present)
        dnnl_memory_desc_destroy(layout->desc);
    layout->present = false;
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                              const struct layout *source, const struct layout *weights,
                              const struct layout *bias, const struct layout *target,
                              dnnl_primitive_attr_t attributes)
{
    return dnnl_matmul_primitive_desc_create(out, engine, source->desc, weights->desc,
                                             bias->present ? bias->desc : NULL, target->desc,
                                             attributes);
}
#else
typedef const dnnl_memory_desc_t *desc_view;

static desc_view view(const struct layout *layout)
{
    return &layout->desc;
}

static dnnl_status_t layout_strided(struct layout *layout, dnnl_data_type_t type,
                                    const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    layout->present = true;
    return dnnl_memory_desc_init_by_strides(&layout->desc, 2, dims, type, strides);
}

static dnnl_status_t layout_any(struct layout *layout, const dnnl_dims_t dims)
{
    layout->present = true;
    return dnnl_memory_desc_init_by_tag(&layout->desc, 2, dims, dnnl_f32, dnnl_format_tag_any);
}

static dnnl_status_t layout_copy(struct layout *layout, desc_view source)
{
    layout->desc = *source;
    layout->present = true;
    return dnnl_success;
}

static void layout_free(struct layout *layout)
{
    layout->present = false;
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                              const struct layout *source, const struct layout *weights,
                              const struct layout *bias, const struct layout *target,
                              dnnl_primitive_attr_t attributes)
{
    dnnl_matmul_desc_t operation;
    dnnl_status_t s = dnnl_matmul_desc_init(&operation, &source->desc, &weights->desc,
                                            bias->present ? &bias->desc : NULL, &target->desc);
    if (s != dnnl_success)
        return s;
    return dnnl_primitive_desc_create(out, &operation, attributes, engine, NULL);
}
#endif

#endif

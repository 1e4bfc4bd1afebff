/* What operators share: access to graph and run, and the splitting of work among members. */
#include "ops/op.h"

#include <string.h>

const struct dvit_value *dvit_op_input(const struct dvit_graph *graph, const struct dvit_op *op,
                                       int slot)
{
    int value = op->inputs[slot];
    return value == DVIT_NONE ? NULL : &graph->values[value];
}

int dvit_graph_patches(const struct dvit_graph *graph, int layout)
{
    return layout == 0 ? graph->patches : graph->kept[layout - 1];
}

bool dvit_graph_decides(const struct dvit_graph *graph, int layout)
{
    return layout > graph->stages && dvit_graph_patches(graph, layout) > 0;
}

size_t dvit_graph_row_bytes(const struct dvit_graph *graph, int value)
{
    const struct dvit_value *v = &graph->values[value];
    return v->width * dvit_number_bytes(v->format.number);
}

size_t dvit_graph_rows(const struct dvit_graph *graph, int value)
{
    const struct dvit_value *v = &graph->values[value];
    if (v->rows == DVIT_ROWS_IMAGES)
        return 1;
    if (v->rows == DVIT_ROWS_PIXELS)
        return (size_t)graph->map_width * (size_t)graph->map_height;
    size_t patches = (size_t)dvit_graph_patches(graph, v->stage);
    return v->rows == DVIT_ROWS_PATCHES ? patches : patches + (size_t)graph->prefix;
}

bool dvit_op_trains(const struct dvit_graph *graph, const struct dvit_op *op, int slot)
{
    int parameter = op->parameters[slot];
    return parameter != DVIT_NONE && graph->trained && graph->trained[parameter];
}

bool dvit_op_accumulates(const struct dvit_op *op, int slot)
{
    return op->accumulate >> slot & 1u;
}

static const char *rows_name(enum dvit_rows rows)
{
    static const char *const names[] = {"tokens", "patches", "images", "pixels"};
    return names[rows];
}

enum dvit_status dvit_graph_expect(const struct dvit_graph *graph, const struct dvit_op *op,
                                   int slot, enum dvit_rows rows, size_t width,
                                   struct dvit_error *error)
{
    const struct dvit_value *value = dvit_op_input(graph, op, slot);
    if (!value)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "%s \"%s\": input %d is missing",
                              op->class->kind, op->name, slot);
    if (value->rows != rows || (width && value->width != width))
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "%s \"%s\": input %d is [%s][%zu], expected [%s][%zu]",
                              op->class->kind, op->name, slot, rows_name(value->rows), value->width,
                              rows_name(rows), width);
    return DVIT_OK;
}

struct dvit_span dvit_span_share(size_t total, int index, int parts)
{
    size_t count = (size_t)parts, part = (size_t)index;
    size_t base = total / count, extra = total % count;
    size_t first = part * base + (part < extra ? part : extra);
    return (struct dvit_span){first, first + base + (part < extra)};
}

struct dvit_span dvit_run_images(const struct dvit_run *run)
{
    return dvit_span_share((size_t)run->images, run->member, run->members);
}

struct dvit_span dvit_run_image_rows(const struct dvit_run *run, enum dvit_rows rows, int stage,
                                     int image)
{
    if (rows == DVIT_ROWS_IMAGES)
        return (struct dvit_span){(size_t)image, (size_t)image + 1};
    if (rows == DVIT_ROWS_PIXELS) {
        size_t map = (size_t)run->graph->map_width * (size_t)run->graph->map_height;
        return (struct dvit_span){map * (size_t)image, map * ((size_t)image + 1)};
    }
    const int *offset = run->layout[stage].offset;
    int before = rows == DVIT_ROWS_PATCHES ? run->graph->prefix : 0;
    return (struct dvit_span){(size_t)(offset[image] - before * image),
                              (size_t)(offset[image + 1] - before * (image + 1))};
}

size_t dvit_run_total_rows(const struct dvit_run *run, enum dvit_rows rows, int stage)
{
    return run->images ? dvit_run_image_rows(run, rows, stage, run->images - 1).last : 0;
}

struct dvit_span dvit_run_rows(const struct dvit_run *run, enum dvit_rows rows, int stage)
{
    if (run->by_rows)
        return dvit_span_share(dvit_run_total_rows(run, rows, stage), run->member, run->members);
    struct dvit_span images = dvit_run_images(run);
    if (images.first == images.last)
        return (struct dvit_span){0, 0};
    return (struct dvit_span){
        dvit_run_image_rows(run, rows, stage, (int)images.first).first,
        dvit_run_image_rows(run, rows, stage, (int)images.last - 1).last,
    };
}

void *dvit_run_row(const struct dvit_run *run, int value, size_t row)
{
    if (value == DVIT_NONE)
        return NULL;
    return (char *)run->values[value] + row * dvit_graph_row_bytes(run->graph, value);
}

void dvit_run_round(const struct dvit_run *run, int value, void *to, const float *from,
                    size_t count)
{
    const struct dvit_format *format = &run->graph->values[value].format;
    switch (format->number) {
    case DVIT_NUMBER_F32:
        memcpy(to, from, count * sizeof *from);
        break;
    case DVIT_NUMBER_BF16:
        run->kernels->to_bf16(to, from, count);
        break;
    case DVIT_NUMBER_U8:
        run->kernels->quantise(to, from, count, format->bytes);
        break;
    }
}

void dvit_run_store_rows(const struct dvit_run *run, int value, size_t row, const float *from,
                         size_t rows)
{
    dvit_run_round(run, value, dvit_run_row(run, value, row), from,
                   rows * run->graph->values[value].width);
}

float *dvit_run_value(const struct dvit_run *run, int value)
{
    return value == DVIT_NONE ? NULL : run->values[value];
}

float *dvit_run_gradient(const struct dvit_run *run, int value)
{
    return value == DVIT_NONE || !run->gradients ? NULL : run->gradients[value];
}

const float *dvit_run_parameter(const struct dvit_run *run, const struct dvit_op *op, int slot)
{
    int parameter = op->parameters[slot];
    return parameter == DVIT_NONE ? NULL : run->parameters[parameter];
}

float *dvit_run_parameter_gradient(const struct dvit_run *run, const struct dvit_op *op, int slot)
{
    int parameter = op->parameters[slot];
    return parameter == DVIT_NONE ? NULL : run->parameter_gradients[parameter];
}

int dvit_chunk_count(size_t rows, size_t chunk_rows)
{
    return (int)(rows / chunk_rows + (rows % chunk_rows != 0));
}

void dvit_run_note(const struct dvit_run *run, enum dvit_status status)
{
    int none = DVIT_OK;
    if (status != DVIT_OK)
        atomic_compare_exchange_strong(run->failure, &none, (int)status);
}

/* A model's tensors as a file that a test edits, and loading it with options. */
#ifndef DVIT_TESTS_LOAD_BENCH_H
#define DVIT_TESTS_LOAD_BENCH_H

#include "random_model.h"
#include "tensor_list.h"

static const char *const bench_shape = "vit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3";

/* A folder with a model's tensors, to be edited and written as a file without a description. */
struct bench {
    char folder[32], path[128];
    struct dvit_model *model;
    struct tensor_list list;
    struct dvit_load_options options;
};

static inline struct bench bench_open(const char *shape, int stages)
{
    struct bench b = {.model = random_model(shape, stages, 0.7, 31, 1)};
    b.list = tensor_list_of(&b.model->config, b.model->weights);
    b.options.heads = b.model->config.heads;
    test_folder_create(b.folder);
    snprintf(b.path, sizeof b.path, "%s/model.safetensors", b.folder);
    return b;
}

static inline void bench_close(struct bench *b)
{
    tensor_list_free(&b->list);
    dvit_model_free(b->model);
    test_folder_remove(b->folder);
}

static inline struct dvit_model *bench_load(struct bench *b)
{
    struct dvit_model *model;
    struct dvit_error error;
    tensor_list_write(&b->list, b->path);
    assert_ok(dvit_model_load(&model, b->path, &b->options, &error), &error);
    return model;
}

static inline void bench_fails(struct bench *b, enum dvit_status code, const char *part)
{
    struct dvit_model *model = (void *)b;
    struct dvit_error error;
    tensor_list_write(&b->list, b->path);
    assert_fails(dvit_model_load(&model, b->path, &b->options, &error), &error, code, part);
    assert_non_null(strstr(error.message, b->path));
    assert_null(model);
}

static inline bool has_note(const struct dvit_model *model, const char *part)
{
    for (size_t i = 0; dvit_model_note(model, i); i++)
        if (strstr(dvit_model_note(model, i), part))
            return true;
    return false;
}

static inline void write_text(const char *folder, const char *name, const char *content)
{
    char path[128];
    struct dvit_error error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(dvit_file_replace(path, content, strlen(content), &error), &error);
}

static inline void assert_same_weights(const struct dvit_model *a, const struct dvit_model *b)
{
    assert_int_equal(a->parameters.count, b->parameters.count);
    for (size_t i = 0; i < a->parameters.count; i++) {
        assert_string_equal(a->parameters.items[i].name, b->parameters.items[i].name);
        assert_memory_equal(dvit_model_weights(a, i), dvit_model_weights(b, i),
                            a->parameters.items[i].count * sizeof(float));
    }
}

#endif

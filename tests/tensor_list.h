/* Lists of tensors that a test edits before they are a file: those of a model, renamed, reshaped,
 * removed, with others added. */
#ifndef DVIT_TESTS_TENSOR_LIST_H
#define DVIT_TESTS_TENSOR_LIST_H

#include "models/parameters.h"
#include "test_util.h"
#include "weights/safetensors.h"

struct tensor_list {
    char (*names)[1200]; /* [capacity] */
    struct dvit_tensor_view *views;
    const struct dvit_tensor_view **pointers; /* what dvit_tensor_names_create takes */
    size_t count, capacity;
};

static inline struct dvit_tensor_view *tensor_list_add(struct tensor_list *list, const char *name,
                                                       int rank, const uint64_t *shape,
                                                       const void *data)
{
    assert_true(list->count < list->capacity);
    size_t i = list->count++, elements;
    snprintf(list->names[i], sizeof list->names[i], "%s", name);
    list->views[i] = (struct dvit_tensor_view){
        .name = list->names[i], .dtype = DVIT_DTYPE_F32, .rank = rank, .data = data};
    for (int k = 0; k < rank; k++)
        list->views[i].shape[k] = shape[k];
    assert_true(dvit_shape_elements(shape, rank, 4, &elements));
    list->views[i].size_bytes = 4 * elements;
    list->pointers[i] = &list->views[i];
    return &list->views[i];
}

/* The tensors of a configuration's table; `weights` (may be NULL) is laid out as it says. */
static inline struct tensor_list tensor_list_of(const struct dvit_config *config,
                                                const float *weights)
{
    struct dvit_parameters table;
    struct dvit_error error;
    assert_ok(dvit_parameters_create(&table, config, &error), &error);
    size_t capacity = 3 * table.count + 16;
    struct tensor_list list = {.names = calloc(capacity, sizeof *list.names),
                               .views = calloc(capacity, sizeof *list.views),
                               .pointers = calloc(capacity, sizeof *list.pointers),
                               .capacity = capacity};
    assert_true(list.names && list.views && list.pointers);
    for (size_t i = 0; i < table.count; i++) {
        const struct dvit_parameter *item = &table.items[i];
        uint64_t shape[4] = {0};
        for (int k = 0; k < item->rank; k++)
            shape[k] = item->shape[k];
        tensor_list_add(&list, item->name, item->rank, shape,
                        weights ? weights + item->offset : NULL);
    }
    dvit_parameters_free(&table);
    return list;
}

static inline void tensor_list_free(struct tensor_list *list)
{
    free(list->names);
    free(list->views);
    free(list->pointers);
}

static inline struct dvit_tensor_view *tensor_list_find(struct tensor_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return &list->views[i];
    fail_msg("no tensor %s in the list", name);
    return NULL;
}

static inline void tensor_list_rename(struct tensor_list *list, const char *from, const char *to)
{
    size_t i = (size_t)(tensor_list_find(list, from) - list->views);
    snprintf(list->names[i], sizeof list->names[i], "%s", to);
}

static inline void tensor_list_remove(struct tensor_list *list, const char *name)
{
    size_t i = (size_t)(tensor_list_find(list, name) - list->views), last = --list->count;
    memcpy(list->names[i], list->names[last], sizeof list->names[i]);
    list->views[i] = list->views[last];
    list->views[i].name = list->names[i];
}

static inline void tensor_list_prefix(struct tensor_list *list, const char *prefix)
{
    for (size_t i = 0; i < list->count; i++) {
        char name[1100];
        snprintf(name, sizeof name, "%s", list->names[i]);
        snprintf(list->names[i], sizeof list->names[i], "%s%s", prefix, name);
    }
}

/* `from` in every name becomes `to`. */
static inline void tensor_list_replace(struct tensor_list *list, const char *from, const char *to)
{
    for (size_t i = 0; i < list->count; i++) {
        char name[1100];
        snprintf(name, sizeof name, "%s", list->names[i]);
        const char *at = strstr(name, from);
        if (at)
            snprintf(list->names[i], sizeof list->names[i], "%.*s%s%s", (int)(at - name), name, to,
                     at + strlen(from));
    }
}

/* qkv as three tensors, and everything else as Hugging Face calls it; `family` is "vit." or so. */
static inline void tensor_list_hugging_face(struct tensor_list *list, const char *family)
{
    static const char *const others[][2] = {
        {"cls_token", "embeddings.cls_token"},
        {"dist_token", "embeddings.distillation_token"},
        {"pos_embed", "embeddings.position_embeddings"},
        {"patch_embed.proj", "embeddings.patch_embeddings.projection"},
        {"norm1", "layernorm_before"},
        {"norm2", "layernorm_after"},
        {"attn.proj", "attention.output.dense"},
        {"mlp.fc1", "intermediate.dense"},
        {"mlp.fc2", "output.dense"},
        {"blocks.", "encoder.layer."}};
    static const char *const parts[] = {"query", "key", "value"};
    for (size_t i = list->count; i-- > 0;) {
        struct dvit_tensor_view whole = list->views[i];
        const char *at = strstr(list->names[i], "attn.qkv."), *data = whole.data;
        if (!at)
            continue;
        char block[64], half[16], name[128];
        uint64_t shape[2] = {whole.shape[0] / 3, whole.shape[1]};
        snprintf(block, sizeof block, "%.*s", (int)(at - list->names[i]), list->names[i]);
        snprintf(half, sizeof half, "%s", at + strlen("attn.qkv."));
        for (size_t p = 0; p < 3; p++) {
            snprintf(name, sizeof name, "%sattention.attention.%s.%s", block, parts[p], half);
            if (p > 0)
                tensor_list_add(list, name, whole.rank, shape,
                                data ? data + p * (whole.size_bytes / 3) : NULL);
            else
                snprintf(list->names[i], sizeof list->names[i], "%s", name);
        }
        list->views[i].shape[0] /= 3;
        list->views[i].size_bytes /= 3;
    }
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], "norm.weight") == 0 ||
            strcmp(list->names[i], "norm.bias") == 0) {
            bool weight = list->names[i][5] == 'w';
            snprintf(list->names[i], sizeof list->names[i], "layernorm.%s",
                     weight ? "weight" : "bias");
        }
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        tensor_list_replace(list, others[k][0], others[k][1]);
    tensor_list_prefix(list, family);
    bool distilled = false;
    for (size_t i = 0; i < list->count; i++)
        distilled |= strstr(list->names[i], "head_dist.") != NULL;
    char from[32];
    snprintf(from, sizeof from, "%shead_dist.", family);
    tensor_list_replace(list, from, "distillation_classifier.");
    snprintf(from, sizeof from, "%shead.", family);
    tensor_list_replace(list, from, distilled ? "cls_classifier." : "classifier.");
}

/* Hugging Face's names as transformers 5 has them in memory. */
static inline void tensor_list_transformers_5(struct tensor_list *list)
{
    static const char *const others[][2] = {{"encoder.layer.", "layers."},
                                            {"attention.attention.query", "attention.q_proj"},
                                            {"attention.attention.key", "attention.k_proj"},
                                            {"attention.attention.value", "attention.v_proj"},
                                            {"attention.output.dense", "attention.o_proj"},
                                            {"intermediate.dense", "mlp.fc1"},
                                            {"output.dense", "mlp.fc2"}};
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        tensor_list_replace(list, others[k][0], others[k][1]);
}

/* A safetensors file without any description. */
static inline void tensor_list_write(const struct tensor_list *list, const char *path)
{
    struct dvit_error error;
    struct dvit_safetensors_entry *entries = calloc(list->count + 1, sizeof *entries);
    for (size_t i = 0; i < list->count; i++) {
        const struct dvit_tensor_view *view = &list->views[i];
        entries[i] = (struct dvit_safetensors_entry){
            .name = view->name, .dtype = view->dtype, .rank = view->rank, .data = view->data};
        memcpy(entries[i].shape, view->shape, sizeof entries[i].shape);
    }
    assert_ok(dvit_safetensors_write(path, entries, list->count, NULL, 0, &error), &error);
    free(entries);
}

#endif

/* Families of models: each row of the table is told by its tensors or its model type, and a file of
 * one that is not supported is refused with its sentence. */
#include "load_bench.h"
#include "tensor_list.h"
#include "weights/families.h"

static const struct dvit_stated_kind silent = {.model_type = ""};

/* A name that the pattern is part of. */
static void example(const char *pattern, char name[128])
{
    size_t used = (size_t)snprintf(name, 128, "backbone.");
    for (; *pattern; pattern++)
        name[used++] = *pattern == '#' ? '3' : *pattern;
    name[used] = 0;
}

static void each_row_is_told_by_its_tensors(void **state)
{
    (void)state;
    const struct dvit_family *row;
    size_t supported = 0, others = 0;
    for (size_t i = 0; (row = dvit_family_get(i)) != NULL; i++) {
        struct dvit_tensor_view views[DVIT_FAMILY_TENSORS] = {{0}};
        const struct dvit_tensor_view *pointers[DVIT_FAMILY_TENSORS];
        char names[DVIT_FAMILY_TENSORS][128];
        size_t count = 0;
        for (; count < DVIT_FAMILY_TENSORS && row->tensors[count]; count++) {
            example(row->tensors[count], names[count]);
            views[count].name = names[count];
            pointers[count] = &views[count];
        }
        const struct dvit_family *found = dvit_family_find(pointers, count, &silent);
        if (!found || strcmp(found->what, row->what) != 0)
            fail_msg("%s is taken for %s", row->what, found ? found->what : "nothing");
        row->supported ? supported++ : others++;
        /* part of a word is not the word */
        for (size_t k = 0; k < count; k++) {
            size_t length = strlen(names[k]);
            memcpy(names[k] + length, "x", 2);
        }
        if (strchr(row->tensors[0], '#') == NULL)
            assert_true(dvit_family_find(pointers, 1, &silent) != row);
    }
    assert_true(supported >= 3 && others >= 15);
}

static void each_row_is_told_by_its_model_type(void **state)
{
    (void)state;
    const struct dvit_family *row;
    for (size_t i = 0; (row = dvit_family_get(i)) != NULL; i++) {
        struct dvit_stated_kind kind = {.model_type = ""};
        if (!row->model_type)
            continue;
        snprintf(kind.model_type, sizeof kind.model_type, "%s", row->model_type);
        const struct dvit_family *found = dvit_family_find(NULL, 0, &kind);
        assert_non_null(found);
        assert_string_equal(found->what, row->what);
    }
}

/* A file that would be a model, but for the row's tensors. */
static void files_of_others_are_refused_in_one_sentence(void **state)
{
    (void)state;
    const struct dvit_family *row;
    uint64_t one = 1;
    for (size_t i = 0; (row = dvit_family_get(i)) != NULL; i++) {
        struct bench b = bench_open(bench_shape, 0);
        char name[128];
        if (row->absent || row->supported) {
            bench_close(&b);
            continue;
        }
        for (size_t k = 0; k < DVIT_FAMILY_TENSORS && row->tensors[k]; k++) {
            example(row->tensors[k], name);
            tensor_list_add(&b.list, name + strlen("backbone."), 1, &one, b.model->weights);
        }
        bench_fails(&b, DVIT_ERROR_UNSUPPORTED, row->what);
        bench_close(&b);
    }
}

static void a_missing_class_token_is_told(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    tensor_list_remove(&b.list, "cls_token");
    bench_fails(&b, DVIT_ERROR_UNSUPPORTED, "without a class token: not supported");
    bench_close(&b);
}

static void config_json_is_part_of_the_sentence(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_stated_kind kind;
    static const char dino[] = "{\"model_type\": \"dinov2\", \"architectures\": [\"Dinov2Model\"]}";
    dvit_stated_kind_read(&kind, dino, sizeof dino - 1);
    assert_string_equal(kind.model_type, "dinov2");
    assert_string_equal(kind.architecture, "Dinov2Model");
    assert_fails(dvit_family_explain(NULL, 0, &kind, DVIT_ERROR_MISMATCH, &error), &error,
                 DVIT_ERROR_UNSUPPORTED,
                 "is a DINOv2 in transformers' names, config.json: model_type \"dinov2\": not "
                 "supported");
    static const char swin[] = "{\"architecture\": \"swin_tiny_patch4_window7_224\"}";
    dvit_stated_kind_read(&kind, swin, sizeof swin - 1);
    assert_fails(dvit_family_explain(NULL, 0, &kind, DVIT_ERROR_MISMATCH, &error), &error,
                 DVIT_ERROR_UNSUPPORTED,
                 "is a Swin transformer, config.json: architecture "
                 "\"swin_tiny_patch4_window7_224\"");
    static const char *const broken[] = {"", "{", "[]",
                                         "{\"model_type\": 3, \"architectures\": 4}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        dvit_stated_kind_read(&kind, broken[i], strlen(broken[i]));
        assert_string_equal(kind.model_type, "");
        assert_string_equal(kind.architecture, "");
    }
    /* What is supported, or unknown, keeps its own error. */
    error = (struct dvit_error){DVIT_ERROR_MISMATCH, "as it was"};
    snprintf(kind.model_type, sizeof kind.model_type, "vit");
    assert_int_equal(dvit_family_explain(NULL, 0, &kind, DVIT_ERROR_MISMATCH, &error),
                     DVIT_ERROR_MISMATCH);
    assert_string_equal(error.message, "as it was");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_is_told_by_its_tensors),
        cmocka_unit_test(each_row_is_told_by_its_model_type),
        cmocka_unit_test(files_of_others_are_refused_in_one_sentence),
        cmocka_unit_test(a_missing_class_token_is_told),
        cmocka_unit_test(config_json_is_part_of_the_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

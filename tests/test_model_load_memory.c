/* Every allocation of loading and saving a model failed once: an error that says so, never a crash,
 * never a leak (the latter under the address sanitizer). */
#include "failing_allocator.h"
#include "load_bench.h"

/* Fails one allocation after the other until loading succeeds; returns how many were failed. */
static long load_until_it_works(const struct bench *b)
{
    for (long failed = 0;; failed++) {
        struct dvit_model *model = NULL;
        struct dvit_error error = {.message = ""};
        allocations_until_failure = failed;
        enum dvit_status status = dvit_model_load(&model, b->path, &b->options, &error);
        bool reached = allocations_until_failure < 0;
        allocations_until_failure = -1;
        if (status == DVIT_OK && !reached) {
            assert_same_weights(model, b->model);
            dvit_model_free(model);
            return failed;
        }
        if (status == DVIT_OK) { /* a library inside found another way */
            dvit_model_free(model);
            continue;
        }
        assert_null(model);
        if (status != DVIT_ERROR_MEMORY)
            fail_msg("allocation %ld: %s: %s", failed, dvit_status_name(status), error.message);
        assert_true(error.message[0]);
    }
}

static void loading_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 1);
    tensor_list_write(&b.list, b.path);
    assert_true(load_until_it_works(&b) >= 15);
    b.options.keep = 0.5;
    struct dvit_error error;
    assert_ok(dvit_model_save(b.model, b.path, NULL, &error), &error);
    assert_true(load_until_it_works(&b) >= 15);
    bench_close(&b);
}

static void hugging_faces_too(void **state)
{
    (void)state;
    struct bench b = bench_open(bench_shape, 0);
    b.options.heads = 0;
    tensor_list_hugging_face(&b.list, "vit.");
    tensor_list_write(&b.list, b.path);
    write_text(b.folder, "config.json",
               "{\"num_attention_heads\":3,\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":\"c\"}}");
    write_text(b.folder, "preprocessor_config.json", "{\"size\":32}");
    assert_true(load_until_it_works(&b) >= 15);
    bench_close(&b);
}

static void saving_survives_every_failed_allocation(void **state)
{
    (void)state;
    static const char *const names[] = {"a.safetensors", "a.pth"};
    for (int i = 0; i < 2; i++) {
        struct bench b = bench_open(bench_shape, 1);
        const struct dvit_save_options half = {.dtype = "f16"};
        snprintf(b.path, sizeof b.path, "%s/%s", b.folder, names[i]);
        enum dvit_status status = DVIT_ERROR_MEMORY;
        long failed = 0;
        for (; status != DVIT_OK; failed++) {
            struct dvit_error error = {.message = ""};
            allocations_until_failure = failed;
            status = dvit_model_save(b.model, b.path, &half, &error);
            allocations_until_failure = -1;
            assert_int_equal(error.message[0] != 0, status != DVIT_OK);
            assert_int_equal(dvit_file_exists(b.path), status == DVIT_OK);
            assert_int_equal(test_folder_count(b.folder), status == DVIT_OK);
        }
        assert_true(failed >= 6);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_survives_every_failed_allocation),
        cmocka_unit_test(hugging_faces_too),
        cmocka_unit_test(saving_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

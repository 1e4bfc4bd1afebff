/* Names of tensors: where a state dict lies in a file, what wrappers put before names, and every
 * naming scheme against the parameter table. */
#include "tensor_list.h"
#include "weights/names.h"

static struct dvit_config small_config(const char *traits)
{
    struct dvit_config config;
    struct dvit_error error;
    char text[200];
    snprintf(text, sizeof text, "%sdim=8,depth=2,heads=2,patch=4,image=16,classes=3%s",
             strncmp(traits, "lvvit", 5) == 0 ? "lvvit:" : "vit:",
             strncmp(traits, "lvvit", 5) == 0 ? traits + 5 : traits);
    assert_ok(dvit_config_parse(text, &config, &error), &error);
    dvit_config_add_stages(&config, 1, 0.7);
    return config;
}

/* Every parameter is found under its name, whole or as three parts, and nothing else is there. */
static void assert_complete(const struct dvit_tensor_names *names, const struct dvit_config *config)
{
    struct dvit_parameters table;
    struct dvit_error error;
    size_t found = 0;
    assert_ok(dvit_parameters_create(&table, config, &error), &error);
    for (size_t i = 0; i < table.count; i++) {
        size_t first = dvit_tensor_names_lookup(names, table.items[i].name);
        if (first == names->count)
            fail_msg("%s was not found", table.items[i].name);
        size_t parts = (size_t)names->items[first].parts;
        for (size_t p = 0; p < parts; p++) {
            const struct dvit_named_tensor *tensor = &names->items[first + p];
            assert_string_equal(tensor->name, table.items[i].name);
            assert_int_equal(tensor->part, p);
            assert_int_equal(tensor->view->size_bytes * parts, table.items[i].count * 4);
        }
        found += parts;
    }
    assert_int_equal(found, names->count);
    dvit_parameters_free(&table);
}

static struct dvit_tensor_names names_of(const struct tensor_list *list, bool average,
                                         struct dvit_notes *notes)
{
    struct dvit_tensor_names names;
    struct dvit_error error;
    assert_ok(dvit_tensor_names_create(&names, list->pointers, list->count, average, notes, &error),
              &error);
    return names;
}

static void state_dicts_are_found_where_they_lie(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *root;
        bool average;
    } places[] = {
        {"", "", false},
        {"model/", "model/", false},
        {"state_dict/", "state_dict/", false},
        {"module/", "module/", false},
        {"module.", "", false},
        {"_orig_mod.", "", false},
        {"model/_orig_mod.module.", "model/", false},
        {"state_dict/module.module.", "state_dict/", false},
        {"model/state_dict/", "model/state_dict/", false},
        {"model_ema/", "model_ema/", true},
        {"state_dict_ema/module.", "state_dict_ema/", true},
        {"model_ema/module/", "model_ema/module/", true},
    };
    struct dvit_config config = small_config("");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct tensor_list list = tensor_list_of(&config, NULL);
        struct dvit_notes notes = {0};
        tensor_list_prefix(&list, places[i].prefix);
        struct dvit_tensor_names names = names_of(&list, places[i].average, &notes);
        assert_string_equal(names.root, places[i].root);
        assert_int_equal(names.naming, DVIT_NAMING_OFFICIAL);
        assert_int_equal(notes.count, 0);
        assert_complete(&names, &config);
        dvit_tensor_names_free(&names);
        tensor_list_free(&list);
    }
}

static void what_lies_beside_is_noted(void **state)
{
    (void)state;
    struct dvit_config config = small_config("");
    struct tensor_list list = tensor_list_of(&config, NULL);
    struct dvit_notes notes = {0};
    tensor_list_prefix(&list, "model/");
    tensor_list_add(&list, "optimizer/state/0/exp_avg", 1, (uint64_t[]){3}, NULL);
    tensor_list_add(&list, "optimizer/state/0/exp_avg_sq", 1, (uint64_t[]){3}, NULL);
    tensor_list_add(&list, "model_ema/cls_token", 3, (uint64_t[]){1, 1, 8}, NULL);
    struct dvit_tensor_names names = names_of(&list, false, &notes);
    assert_complete(&names, &config);
    assert_int_equal(notes.count, 1);
    assert_non_null(strstr(notes.items[0], "3 tensors"));
    assert_non_null(strstr(notes.items[0], "optimizer, model_ema"));
    dvit_tensor_names_free(&names);
    dvit_notes_free(&notes);
    /* Averaged weights that are not there are not replaced by others. */
    struct dvit_error error;
    for (size_t i = 0; i < list.count; i++)
        list.names[i][0] = 'n';
    assert_fails(dvit_tensor_names_create(&names, list.pointers, list.count, true, &notes, &error),
                 &error, DVIT_ERROR_NOT_FOUND, "no averaged weights");
    assert_null(names.items);
    dvit_notes_free(&notes);
    tensor_list_free(&list);
}

static void hugging_faces_names_are_ours(void **state)
{
    (void)state;
    static const char *const families[] = {"vit.", "deit.", "", "module.vit."};
    for (size_t i = 0; i < 2 * sizeof families / sizeof *families; i++) {
        struct dvit_config config = small_config(i % 2 ? ",distilled=1" : "");
        struct dvit_notes notes = {0};
        config.stages = 0;
        struct tensor_list list = tensor_list_of(&config, NULL);
        tensor_list_hugging_face(&list, families[i / 2]);
        tensor_list_add(&list, "vit.pooler.dense.weight", 2, (uint64_t[]){8, 8}, NULL);
        tensor_list_add(&list, "vit.embeddings.mask_token", 3, (uint64_t[]){1, 1, 8}, NULL);
        struct dvit_tensor_names names = names_of(&list, false, &notes);
        assert_int_equal(names.naming, DVIT_NAMING_HUGGING_FACE);
        assert_complete(&names, &config);
        assert_int_equal(notes.count, 2);
        assert_non_null(strstr(notes.items[0], "\"vit.pooler.dense.weight\" is not used"));
        assert_non_null(strstr(notes.items[1], "pretraining"));
        dvit_notes_free(&notes);
        dvit_tensor_names_free(&names);
        tensor_list_free(&list);
    }
}

static void published_spellings_are_ours(void **state)
{
    (void)state;
    struct dvit_config config = small_config(",layer_scale=1"), lvvit = small_config("lvvit");
    struct dvit_notes notes = {0};
    struct tensor_list list = tensor_list_of(&config, NULL);
    tensor_list_replace(&list, "ls1.gamma", "gamma_1"); /* DeiT-III's authors */
    tensor_list_replace(&list, "ls2.gamma", "gamma_2");
    struct dvit_tensor_names names = names_of(&list, false, &notes);
    assert_complete(&names, &config);
    dvit_tensor_names_free(&names);
    tensor_list_free(&list);

    list = tensor_list_of(&lvvit, NULL);
    for (int i = 1; i <= 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "patch_embed.bn%d.num_batches_tracked", i);
        tensor_list_add(&list, name, 0, NULL, NULL);
    }
    names = names_of(&list, false, &notes);
    assert_complete(&names, &lvvit);
    assert_int_equal(notes.count, 3);
    dvit_notes_free(&notes);
    dvit_tensor_names_free(&names);
    tensor_list_free(&list);
}

/* Names without a rule keep theirs (official) or have none, and are somebody else's to refuse. */
static void unknown_names_stay_unknown(void **state)
{
    (void)state;
    struct dvit_config config = small_config("");
    struct tensor_list list = tensor_list_of(&config, NULL);
    struct dvit_notes notes = {0};
    struct dvit_error error;
    static const char *const odd[] = {"blocks.007.gamma_1", "blocks.1234567.gamma_1", "mask_tokens",
                                      "blocks..gamma_1", "blocks.-1.norm1.weight"};
    char endless[1100];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    tensor_list_add(&list, endless, 1, (uint64_t[]){1}, NULL);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        tensor_list_add(&list, odd[i], 1, (uint64_t[]){1}, NULL);
    struct dvit_tensor_names names = names_of(&list, false, &notes);
    assert_int_equal(names.count, list.count);
    assert_int_equal(dvit_tensor_names_lookup(&names, endless), names.count);
    assert_string_equal(names.items[0].name, ""); /* too long for a parameter */
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_string_equal(dvit_tensor_names_find(&names, odd[i])->name, odd[i]);
    assert_int_equal(dvit_tensor_names_indices(&names, "blocks."),
                     8); /* 7 is one, 1234567 is not */
    assert_int_equal(dvit_tensor_names_indices(&names, "score_predictor."), 1);
    assert_int_equal(dvit_tensor_names_indices(&names, "layers."), 0);
    dvit_tensor_names_free(&names);
    tensor_list_add(&list, "pre_logits.fc.weight", 2, (uint64_t[]){8, 8}, NULL);
    assert_fails(dvit_tensor_names_create(&names, list.pointers, list.count, false, &notes, &error),
                 &error, DVIT_ERROR_UNSUPPORTED, "\"pre_logits.fc.weight\"");
    assert_int_equal(notes.count, 0);
    tensor_list_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_dicts_are_found_where_they_lie),
        cmocka_unit_test(what_lies_beside_is_noted),
        cmocka_unit_test(hugging_faces_names_are_ours),
        cmocka_unit_test(published_spellings_are_ours),
        cmocka_unit_test(unknown_names_stay_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

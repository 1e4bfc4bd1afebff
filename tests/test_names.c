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
    assert_ok(dvit_tensor_names_create(&names, list->pointers, list->count,
                                       &(struct dvit_state_choice){.average = average}, notes,
                                       &error),
              &error);
    return names;
}

static void state_dicts_are_found_where_they_lie(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        bool average;
        const char *note; /* NULL: the place is usual */
    } places[] = {
        {"", false, NULL},
        {"model/", false, NULL},
        {"state_dict/", false, NULL},
        {"module/", false, NULL},
        {"module.", false, NULL},
        {"_orig_mod.", false, NULL},
        {"model/_orig_mod.module.", false, NULL},
        {"state_dict/module.module.", false, NULL},
        {"model/state_dict/", false, NULL},
        {"model_ema/", true, NULL},
        {"state_dict_ema/module.", true, NULL},
        {"model_ema/module/", true, NULL},
        {"state_dict/model.", false, NULL},
        {"net/", false, "the weights lie under \"net\""},
        {"model_state_dict/", false, "under \"model_state_dict\""},
        {"a/b/0/c/", false, "under \"a/b/0/c\""},
        {"backbone.", false, "behind the prefix \"backbone.\""},
        {"timm_model.", false, "behind the prefix \"timm_model.\""},
        {"state_dict/model.encoder.", false,
         "under \"state_dict\", behind the prefix "
         "\"model.encoder.\""},
        {"model_ema/", false, "under \"model_ema\": averaged ones, the file has no others"},
        {"ema_model.", true, "behind the prefix \"ema_model.\""},
    };
    struct dvit_config config = small_config("");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct tensor_list list = tensor_list_of(&config, NULL);
        struct dvit_notes notes = {0};
        tensor_list_prefix(&list, places[i].prefix);
        struct dvit_tensor_names names = names_of(&list, places[i].average, &notes);
        assert_string_equal(dvit_state_dict_show(&names.place).text, places[i].prefix);
        assert_int_equal(names.place.naming, DVIT_NAMING_OFFICIAL);
        assert_int_equal(notes.count, places[i].note ? 1 : 0);
        if (places[i].note)
            assert_non_null(strstr(notes.items[0], places[i].note));
        assert_complete(&names, &config);
        dvit_notes_free(&notes);
        dvit_tensor_names_free(&names);
        tensor_list_free(&list);
    }
}

/* A list of the same tensors under each of these prefixes. */
static struct tensor_list several(const struct dvit_config *config, const char *const *prefixes)
{
    struct tensor_list all = tensor_list_of(config, NULL);
    size_t count = all.count;
    tensor_list_free(&all);
    all = (struct tensor_list){.capacity = 4 * count};
    all.names = calloc(all.capacity, sizeof *all.names);
    all.views = calloc(all.capacity, sizeof *all.views);
    all.pointers = calloc(all.capacity, sizeof *all.pointers);
    assert_true(all.names && all.views && all.pointers);
    for (; *prefixes; prefixes++) {
        struct tensor_list one = tensor_list_of(config, NULL);
        tensor_list_prefix(&one, *prefixes);
        for (size_t i = 0; i < one.count; i++)
            tensor_list_add(&all, one.names[i], one.views[i].rank, one.views[i].shape, NULL);
        tensor_list_free(&one);
    }
    return all;
}

static void of_several_one_is_chosen(void **state)
{
    (void)state;
    static const struct {
        const char *prefixes[4];
        struct dvit_state_choice choice;
        const char *place; /* NULL: refused with … */
        enum dvit_status status;
        const char *message;
    } cases[] = {
        {{"student/module.backbone.", "teacher/backbone."},
         {0},
         NULL,
         DVIT_ERROR_MISMATCH,
         "holds 2 vision transformers: \"student/module.backbone.\", \"teacher/backbone.\"; choose "
         "one with --weights-key KEY"},
        {{"student/module.backbone.", "teacher/backbone."},
         {.key = "teacher"},
         "teacher/backbone.",
         DVIT_OK,
         NULL},
        {{"student/module.backbone.", "teacher/backbone."},
         {.key = "student/module.backbone."},
         "student/module.backbone.",
         DVIT_OK,
         NULL},
        {{"student/module.backbone.", "teacher/backbone."},
         {.key = "teach"},
         NULL,
         DVIT_ERROR_NOT_FOUND,
         "no vision transformer under the key \"teach\"; there is one at \"student/"},
        {{"student.", "teacher.", "ema."}, {.average = true}, "ema.", DVIT_OK, NULL},
        {{"student.", "teacher.", "ema."}, {0}, NULL, DVIT_ERROR_MISMATCH, "holds 2 vision"},
        {{"student.", "teacher.", "ema."}, {.key = "ema"}, "ema.", DVIT_OK, NULL},
        {{"model/", "model_ema/"}, {0}, "model/", DVIT_OK, NULL},
        {{"model/", "model_ema/"}, {.average = true}, "model_ema/", DVIT_OK, NULL},
        {{"", "model_ema."}, {.key = ""}, "", DVIT_OK, NULL},
        {{"models/a.", "models/b."}, {.key = "models"}, NULL, DVIT_ERROR_MISMATCH, "holds 2"},
        {{"model/", "other/"}, {.own = true}, "model/", DVIT_OK, NULL},
    };
    struct dvit_config config = small_config("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor_list list = several(&config, cases[i].prefixes);
        struct dvit_notes notes = {0};
        struct dvit_error error;
        struct dvit_tensor_names names;
        if (cases[i].place) {
            assert_ok(dvit_tensor_names_create(&names, list.pointers, list.count, &cases[i].choice,
                                               &notes, &error),
                      &error);
            assert_string_equal(dvit_state_dict_show(&names.place).text, cases[i].place);
            if (*cases[i].place) /* else the others are inside it, and unexpected */
                assert_complete(&names, &config);
        } else {
            assert_fails(dvit_tensor_names_create(&names, list.pointers, list.count,
                                                  &cases[i].choice, &notes, &error),
                         &error, cases[i].status, cases[i].message);
        }
        dvit_notes_free(&notes);
        dvit_tensor_names_free(&names);
        tensor_list_free(&list);
    }
}

/* A head after a backbone without one. */
static void heads_beside_their_backbone_are_found(void **state)
{
    (void)state;
    static const char *const heads[] = {"head", "fc", "classifier", "linear"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct dvit_config config = small_config("");
        struct tensor_list list = tensor_list_of(&config, NULL);
        struct dvit_notes notes = {0};
        char name[64];
        tensor_list_prefix(&list, "state_dict/model.backbone.");
        snprintf(name, sizeof name, "state_dict/model.%s.weight", heads[i]);
        tensor_list_rename(&list, "state_dict/model.backbone.head.weight", name);
        snprintf(name, sizeof name, "state_dict/model.%s.bias", heads[i]);
        tensor_list_rename(&list, "state_dict/model.backbone.head.bias", name);
        tensor_list_add(&list, "state_dict/model.head.mlp.0.weight", 2, (uint64_t[]){8, 8}, NULL);
        struct dvit_tensor_names names = names_of(&list, false, &notes);
        assert_complete(&names, &config);
        assert_int_equal(notes.count, 2);
        assert_non_null(strstr(notes.items[1], "1 tensors that are not the model's weights"));
        dvit_notes_free(&notes);
        dvit_tensor_names_free(&names);
        tensor_list_free(&list);
    }
    /* A backbone that has a head keeps it. */
    struct dvit_config config = small_config("");
    struct tensor_list list = tensor_list_of(&config, NULL);
    struct dvit_notes notes = {0};
    tensor_list_prefix(&list, "backbone.");
    tensor_list_add(&list, "fc.weight", 2, (uint64_t[]){3, 8}, NULL);
    struct dvit_tensor_names names = names_of(&list, false, &notes);
    assert_complete(&names, &config);
    dvit_notes_free(&notes);
    dvit_tensor_names_free(&names);
    tensor_list_free(&list);
}

/* What FSDP, checkpointing and torch.compile put inside names. */
static void wrappers_inside_names_are_dropped(void **state)
{
    (void)state;
    struct dvit_config config = small_config("");
    struct tensor_list list = tensor_list_of(&config, NULL);
    struct dvit_notes notes = {0};
    tensor_list_replace(&list, "blocks.0.", "blocks.0._fsdp_wrapped_module._orig_mod.");
    tensor_list_replace(&list, "blocks.1.", "blocks.1._checkpoint_wrapped_module.");
    struct dvit_tensor_names names = names_of(&list, false, &notes);
    assert_complete(&names, &config);
    assert_int_equal(notes.count, 0);
    dvit_tensor_names_free(&names);
    tensor_list_free(&list);
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
    assert_fails(dvit_tensor_names_create(&names, list.pointers, list.count,
                                          &(struct dvit_state_choice){.average = true}, &notes,
                                          &error),
                 &error, DVIT_ERROR_NOT_FOUND, "no averaged weights");
    assert_null(names.items);
    dvit_notes_free(&notes);
    tensor_list_free(&list);
}

static void hugging_faces_names_are_ours(void **state)
{
    (void)state;
    static const char *const families[] = {"vit.", "deit.", "", "module.vit.",
                                           "vit.", "deit.", "", "module.vit."};
    for (size_t i = 0; i < 2 * sizeof families / sizeof *families; i++) {
        struct dvit_config config = small_config(i % 2 ? ",distilled=1" : "");
        struct dvit_notes notes = {0};
        config.stages = 0;
        struct tensor_list list = tensor_list_of(&config, NULL);
        tensor_list_hugging_face(&list, families[i / 2]);
        char name[64];
        snprintf(name, sizeof name, "%spooler.dense.weight", families[i / 2]);
        tensor_list_add(&list, name, 2, (uint64_t[]){8, 8}, NULL);
        snprintf(name, sizeof name, "%sembeddings.mask_token", families[i / 2]);
        tensor_list_add(&list, name, 3, (uint64_t[]){1, 1, 8}, NULL);
        if (i >= sizeof families / sizeof *families) /* both namings have each family once */
            tensor_list_transformers_5(&list);
        struct dvit_tensor_names names = names_of(&list, false, &notes);
        assert_int_equal(names.place.naming, DVIT_NAMING_HUGGING_FACE);
        assert_complete(&names, &config);
        assert_int_equal(notes.count, 2);
        assert_non_null(strstr(notes.items[0], "pooler.dense.weight\" is not used"));
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
    assert_fails(dvit_tensor_names_create(&names, list.pointers, list.count,
                                          &(struct dvit_state_choice){0}, &notes, &error),
                 &error, DVIT_ERROR_UNSUPPORTED, "\"pre_logits.fc.weight\"");
    assert_int_equal(notes.count, 0);
    tensor_list_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_dicts_are_found_where_they_lie),
        cmocka_unit_test(of_several_one_is_chosen),
        cmocka_unit_test(heads_beside_their_backbone_are_found),
        cmocka_unit_test(wrappers_inside_names_are_dropped),
        cmocka_unit_test(what_lies_beside_is_noted),
        cmocka_unit_test(hugging_faces_names_are_ours),
        cmocka_unit_test(published_spellings_are_ours),
        cmocka_unit_test(unknown_names_stay_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

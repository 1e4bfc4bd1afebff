/* Configurations from tensors: every published shape is recognised from its names and shapes alone,
 * traits from what is there; guesses are noted; what is no vision transformer, or claims absurd
 * sizes, is refused. */
#include "tensor_list.h"
#include "models/presets.h"
#include "weights/recognise.h"

static enum dvit_status recognise(const struct tensor_list *list, const struct dvit_stated *stated,
                                  struct dvit_config *out, struct dvit_notes *notes,
                                  struct dvit_error *error)
{
    static const struct dvit_stated nothing = {0};
    struct dvit_tensor_names names;
    assert_ok(dvit_tensor_names_create(&names, list->pointers, list->count,
                                       &(struct dvit_state_choice){0}, notes, error),
              error);
    enum dvit_status status = dvit_recognise(out, &names, stated ? stated : &nothing, notes, error);
    dvit_tensor_names_free(&names);
    return status;
}

static void assert_same_config(const struct dvit_config *got, const struct dvit_config *expected)
{
    assert_string_equal(got->name, expected->name);
    assert_int_equal(got->image_width, expected->image_width);
    assert_int_equal(got->image_height, expected->image_height);
    assert_int_equal(got->patch, expected->patch);
    assert_int_equal(got->dim, expected->dim);
    assert_int_equal(got->depth, expected->depth);
    assert_int_equal(got->heads, expected->heads);
    assert_int_equal(got->mlp, expected->mlp);
    assert_int_equal(got->classes, expected->classes);
    assert_true(got->norm_eps == expected->norm_eps && got->skip_lam == expected->skip_lam);
    assert_int_equal(got->stem_width, expected->stem_width);
    assert_int_equal(got->qkv_bias, expected->qkv_bias);
    assert_int_equal(got->distilled, expected->distilled);
    assert_int_equal(got->layer_scale, expected->layer_scale);
    assert_int_equal(got->mean_pool, expected->mean_pool);
    assert_int_equal(got->aux_head, expected->aux_head);
    assert_int_equal(got->stages, expected->stages);
    assert_true(got->keep == expected->keep);
    for (int s = 0; s < expected->stages; s++)
        assert_int_equal(got->stage_block[s], expected->stage_block[s]);
}

static void every_preset_is_recognised(void **state)
{
    (void)state;
    struct dvit_error error;
    for (size_t i = 0; dvit_config_preset_name(i); i++)
        for (int stages = 0; stages <= 3; stages += 3) {
            struct dvit_config config, got;
            struct dvit_notes notes = {0};
            assert_ok(dvit_config_parse(dvit_config_preset_name(i), &config, &error), &error);
            if (stages)
                dvit_config_add_stages(&config, stages, 0.7);
            struct tensor_list list = tensor_list_of(&config, NULL);
            assert_ok(recognise(&list, NULL, &got, &notes, &error), &error);
            assert_same_config(&got, &config);
            assert_int_equal(notes.count, 0);
            tensor_list_free(&list);
        }
}

static void traits_are_seen(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "vit:dim=128,depth=5,patch=8,image=40,classes=7,heads=2",
        "vit:dim=128,depth=5,patch=8,image=40,classes=7,heads=2,mlp=300,layer_scale=1",
        "vit:dim=128,depth=5,patch=8,image=40,classes=7,heads=2,mean_pool=1",
        "vit:dim=128,depth=5,patch=8,image=40,classes=7,heads=2,distilled=1",
        "lvvit:dim=128,depth=5,patch=8,image=40,classes=7,heads=2,stem_width=24",
    };
    struct dvit_error error;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct dvit_config config, got;
        struct dvit_notes notes = {0};
        assert_ok(dvit_config_parse(texts[i], &config, &error), &error);
        dvit_config_add_stages(&config, 2, 0.7);
        struct tensor_list list = tensor_list_of(&config, NULL);
        assert_ok(recognise(&list, NULL, &got, &notes, &error), &error);
        assert_same_config(&got, &config);
        bool lvvit = config.stem_width > 0;
        assert_int_equal(notes.count, lvvit ? 2 : 1);
        assert_non_null(strstr(notes.items[0], "warning: heads 2 is a guess, of width 128"));
        if (lvvit)
            assert_non_null(strstr(notes.items[1], "skip_lam 2"));
        dvit_notes_free(&notes);
        tensor_list_free(&list);
    }
}

static struct tensor_list small_list(void)
{
    struct dvit_config config;
    struct dvit_error error;
    assert_ok(
        dvit_config_parse("vit:dim=24,depth=2,heads=3,patch=4,image=16,classes=3", &config, &error),
        &error);
    return tensor_list_of(&config, NULL);
}

/* The heads of a shape without any record of them, and whether they are a guess. */
static void published_heads_are_known(void **state)
{
    (void)state;
    static const struct {
        int dim, depth, mlp, heads;
        bool guess;
    } cases[] = {
        {192, 12, 768, 3, false},    {384, 12, 1536, 6, false},   {1024, 24, 4096, 16, false},
        {1280, 32, 5120, 16, false}, {1280, 32, 128, 16, false},  {1408, 40, 6144, 16, false},
        {1664, 48, 8192, 16, false}, {1152, 27, 4304, 16, false}, {768, 8, 2304, 8, false},
        {192, 9, 384, 12, false},    {512, 12, 2048, 8, false},   {1280, 1, 128, 16, true},
        {192, 9, 768, 3, true},      {192, 12, 384, 3, true},     {384, 7, 384, 6, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dvit_config c = {.dim = cases[i].dim, .depth = cases[i].depth, .mlp = cases[i].mlp};
        int known = dvit_known_heads(&c);
        assert_int_equal(known != 0, !cases[i].guess);
        assert_int_equal(known ? known : dvit_usual_heads(c.dim), cases[i].heads);
    }
    assert_int_equal(dvit_usual_heads(240), 0);
    assert_int_equal(dvit_usual_heads(32), 0);
}

static void heads_come_from_who_knows(void **state)
{
    (void)state;
    struct dvit_error error;
    struct dvit_config got;
    struct dvit_notes notes = {0};
    struct tensor_list list = small_list();
    assert_fails(recognise(&list, NULL, &got, &notes, &error), &error, DVIT_ERROR_MISMATCH,
                 "width 24 leaves the number of attention heads open");
    assert_ok(recognise(&list, &(struct dvit_stated){.heads = 4}, &got, &notes, &error), &error);
    assert_int_equal(got.heads, 4);
    assert_int_equal(notes.count, 0);
    assert_fails(recognise(&list, &(struct dvit_stated){.heads = 5}, &got, &notes, &error), &error,
                 DVIT_ERROR_ARGUMENT, "not a multiple of heads 5");
    assert_fails(recognise(&list, &(struct dvit_stated){.heads = -1}, &got, &notes, &error), &error,
                 DVIT_ERROR_ARGUMENT, "heads is -1");
    assert_ok(recognise(&list, &(struct dvit_stated){.heads = 4, .norm_eps = 1e-12f}, &got, &notes,
                        &error),
              &error);
    assert_true(got.norm_eps == 1e-12f);
    tensor_list_free(&list);
    /* A published model counts only where it has the same stem: 240 wide and 12 deep is LV-ViT-T.
     */
    struct dvit_config config;
    assert_ok(dvit_config_parse("vit:dim=240,depth=12,heads=4,patch=4,image=16,classes=3", &config,
                                &error),
              &error);
    list = tensor_list_of(&config, NULL);
    assert_fails(recognise(&list, NULL, &got, &notes, &error), &error, DVIT_ERROR_MISMATCH,
                 "width 240 leaves the number of attention heads open");
    tensor_list_free(&list);
}

static void grids_are_square_unless_stated(void **state)
{
    (void)state;
    static const struct {
        int rows, image_width, image_height, wanted_width, wanted_height; /* pixels */
        int width, height;                                                /* 0: refused */
    } cases[] = {
        {17, 0, 0, 0, 0, 16, 16},   /* 4 × 4 and the class token */
        {17, 0, 0, 32, 8, 16, 16},  /* a wish does not change what the file holds */
        {17, 32, 8, 0, 0, 32, 8},   /* a record does */
        {17, 64, 64, 0, 0, 16, 16}, /* unless it cannot be */
        {16, 0, 0, 0, 0, 16, 16},   /* no row for the class token */
        {13, 0, 0, 16, 12, 16, 12}, {12, 0, 0, 12, 16, 12, 16}, {13, 0, 0, 0, 0, 0, 0},
        {13, 0, 0, 20, 12, 0, 0},   {13, 0, 0, -16, -12, 0, 0}, {1, 0, 0, 0, 0, 4, 4},
        {0, 0, 0, 0, 0, 0, 0},
    };
    struct dvit_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor_list list = small_list();
        struct dvit_config got;
        struct dvit_notes notes = {0};
        struct dvit_stated stated = {.heads = 3,
                                     .image_width = cases[i].image_width,
                                     .image_height = cases[i].image_height,
                                     .wanted_width = cases[i].wanted_width,
                                     .wanted_height = cases[i].wanted_height};
        tensor_list_find(&list, "pos_embed")->shape[1] = (uint64_t)cases[i].rows;
        if (cases[i].width) {
            assert_ok(recognise(&list, &stated, &got, &notes, &error), &error);
            assert_int_equal(got.image_width, cases[i].width);
            assert_int_equal(got.image_height, cases[i].height);
        } else {
            assert_fails(recognise(&list, &stated, &got, &notes, &error), &error,
                         DVIT_ERROR_MISMATCH, "no square grid of patches");
        }
        tensor_list_free(&list);
    }
}

static void old_patch_embeddings_tell_their_patch(void **state)
{
    (void)state;
    struct tensor_list list = small_list();
    struct dvit_config got;
    struct dvit_notes notes = {0};
    struct dvit_error error;
    struct dvit_tensor_view *patch = tensor_list_find(&list, "patch_embed.proj.weight");
    patch->rank = 2;
    patch->shape[1] = 3 * 4 * 4;
    patch->shape[2] = patch->shape[3] = 0;
    assert_ok(recognise(&list, &(struct dvit_stated){.heads = 3}, &got, &notes, &error), &error);
    assert_int_equal(got.patch, 4);
    tensor_list_free(&list);
}

static void files_without_a_head_have_one_class(void **state)
{
    (void)state;
    struct tensor_list list = small_list();
    struct dvit_config got;
    struct dvit_notes notes = {0};
    struct dvit_error error;
    tensor_list_remove(&list, "head.weight");
    tensor_list_remove(&list, "head.bias");
    assert_ok(recognise(&list, &(struct dvit_stated){.heads = 3}, &got, &notes, &error), &error);
    assert_int_equal(got.classes, 1);
    tensor_list_free(&list);
}

static void other_files_are_no_transformers(void **state)
{
    (void)state;
    static const char *const needed[] = {"patch_embed.proj.weight", "pos_embed",
                                         "blocks.0.mlp.fc1.weight"};
    struct dvit_config got;
    struct dvit_notes notes = {0};
    struct dvit_error error;
    struct tensor_list list = small_list();
    list.count = 0;
    assert_fails(recognise(&list, NULL, &got, &notes, &error), &error, DVIT_ERROR_MISMATCH,
                 "not a vision transformer that dvit knows: of 0 tensors");
    tensor_list_add(&list, "layer1.0.conv1.weight", 1, (uint64_t[]){1}, NULL);
    assert_fails(recognise(&list, NULL, &got, &notes, &error), &error, DVIT_ERROR_MISMATCH,
                 "one is layer1.0.conv1.weight");
    tensor_list_free(&list);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        list = small_list();
        tensor_list_remove(&list, needed[i]);
        assert_fails(recognise(&list, NULL, &got, &notes, &error), &error, DVIT_ERROR_MISMATCH,
                     needed[i]);
        tensor_list_free(&list);
    }
}

/* Shapes and numbers that no model has: a message, and no arithmetic that overflows. */
static void absurd_sizes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int axis;
        uint64_t extent;
    } cases[] = {
        {"blocks.0.mlp.fc1.weight", 0, 0},
        {"blocks.0.mlp.fc1.weight", 1, 0},
        {"blocks.0.mlp.fc1.weight", 0, 1 << 20},
        {"blocks.0.mlp.fc1.weight", 1, UINT64_MAX},
        {"head.weight", 0, 0},
        {"head.weight", 0, UINT64_MAX},
        {"pos_embed", 1, UINT64_MAX},
        {"pos_embed", 1, 1ull << 32},
        {"patch_embed.proj.weight", 2, 0},
        {"patch_embed.proj.weight", 2, UINT64_MAX},
        {"patch_embed.proj.weight", 2, 1 << 14},
    };
    struct dvit_config got;
    struct dvit_notes notes = {0};
    struct dvit_error error = {0};
    const struct dvit_stated stated = {
        .heads = 3, .wanted_width = 1 << 30, .wanted_height = 1 << 30};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor_list list = small_list();
        tensor_list_find(&list, cases[i].name)->shape[cases[i].axis] = cases[i].extent;
        if (recognise(&list, &stated, &got, &notes, &error) == DVIT_OK)
            fail_msg("%s[%d] = %llu was accepted", cases[i].name, cases[i].axis,
                     (unsigned long long)cases[i].extent);
        tensor_list_free(&list);
    }
    static const char *const scalars[] = {"blocks.0.mlp.fc1.weight", "pos_embed",
                                          "patch_embed.proj.weight"};
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        struct tensor_list list = small_list();
        tensor_list_find(&list, scalars[i])->rank = 0;
        if (recognise(&list, &stated, &got, &notes, &error) == DVIT_OK)
            fail_msg("scalar %s was accepted", scalars[i]);
        tensor_list_free(&list);
    }
    struct tensor_list list = small_list();
    tensor_list_add(&list, "blocks.999999.norm1.weight", 1, (uint64_t[]){24}, NULL);
    assert_fails(recognise(&list, &stated, &got, &notes, &error), &error, DVIT_ERROR_ARGUMENT,
                 "depth is 1000000, expected 1 to 256");
    tensor_list_remove(&list, "blocks.999999.norm1.weight");
    tensor_list_add(&list, "score_predictor.999999.in_conv.0.weight", 1, (uint64_t[]){24}, NULL);
    assert_fails(recognise(&list, &stated, &got, &notes, &error), &error, DVIT_ERROR_ARGUMENT,
                 "stages is 1000000");
    tensor_list_free(&list);
    dvit_notes_free(&notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_preset_is_recognised),
        cmocka_unit_test(traits_are_seen),
        cmocka_unit_test(published_heads_are_known),
        cmocka_unit_test(heads_come_from_who_knows),
        cmocka_unit_test(grids_are_square_unless_stated),
        cmocka_unit_test(old_patch_embeddings_tell_their_patch),
        cmocka_unit_test(files_without_a_head_have_one_class),
        cmocka_unit_test(other_files_are_no_transformers),
        cmocka_unit_test(absurd_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

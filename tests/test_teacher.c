/* Teachers: which a student may have, which terms they speak to, that they see its pictures in
 * their own normalisation, and that a dense student learns from one. Answers are compared with
 * those of a session, which runs the same model in another way. */
#include "training_bench.h"

#include "dvit/infer.h"
#include "random_model.h"

enum { IMAGES = 5, CLASSES = 6 };
#define SIZE    "image=16,classes=6"
#define STUDENT "vit:dim=16,depth=2,heads=2,patch=4," SIZE

/* Trainer, student and pixels for a teacher that is looked at. */
struct school {
    struct dvit_model *student, *teacher;
    struct dvit_trainer *trainer;
    float *pixels;
    int labels[IMAGES];
};

static struct dvit_train_options school_options(void)
{
    struct dvit_train_options options = dvit_train_options_sparsify();
    options.epochs = 1000;
    options.batch = IMAGES;
    options.threads = 2;
    options.warmup_epochs = options.backbone_freeze_epochs = 0;
    options.ema_decay = 0;
    options.weight_token = 0;
    return options;
}

static enum dvit_status school_open(struct school *s, const char *student, int stages,
                                    struct dvit_model *teacher,
                                    const struct dvit_train_options *options,
                                    struct dvit_error *error)
{
    *s = (struct school){.student = random_model(student, stages, .7, 21, 1), .teacher = teacher};
    s->pixels = random_pixels(s->student, IMAGES, 5);
    for (int i = 0; i < IMAGES; i++)
        s->labels[i] = i % CLASSES;
    return dvit_trainer_create(&s->trainer, s->student, teacher, options, 1, options->epochs,
                               error);
}

static void school_micro(struct school *s)
{
    struct dvit_error error;
    struct dvit_micro_batch batch = {.images = IMAGES, .pixels = s->pixels, .labels = s->labels};
    assert_ok(dvit_trainer_micro(s->trainer, &batch, &error), &error);
}

static void school_close(struct school *s)
{
    dvit_trainer_free(s->trainer);
    dvit_model_free(s->student);
    dvit_model_free(s->teacher);
    free(s->pixels);
}

/* ---- what they answer ---- */

static void session_logits(const struct dvit_model *model, const float *pixels, float *logits)
{
    struct dvit_session *session = NULL;
    struct dvit_session_options options = dvit_session_options_default();
    struct dvit_error error;
    options.keep = 1;
    options.max_batch = IMAGES;
    assert_ok(dvit_session_create(&session, model, &options, &error), &error);
    assert_ok(dvit_session_run(session, pixels, IMAGES, logits, &error), &error);
    dvit_session_free(session);
}

static double divergence(const float *teacher, const float *student)
{
    double t = 0, s = 0, sum = 0;
    for (int k = 0; k < CLASSES; k++) {
        t += exp(teacher[k]);
        s += exp(student[k]);
    }
    for (int k = 0; k < CLASSES; k++)
        sum += exp(teacher[k]) / t * ((teacher[k] - log(t)) - (student[k] - log(s)));
    return sum;
}

/* Of any shape and kind, pruned ones too: as they answer in evaluation, undivided. */
static void any_model_teaches_by_its_logits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int stages;
    } teachers[] = {
        {"vit:dim=24,depth=3,heads=3,patch=8," SIZE, 0},
        {"vit:dim=16,depth=2,heads=2,patch=4,distilled=1," SIZE, 0},
        {"vit:dim=12,depth=1,heads=1,patch=2,mean_pool=1," SIZE, 0},
        {"lvvit:dim=16,depth=2,heads=2,patch=8,stem_width=8,image=16,classes=6", 0},
        {"vit:dim=16,depth=4,heads=4,patch=4," SIZE, 3},
    };
    for (size_t i = 0; i < sizeof teachers / sizeof *teachers; i++) {
        struct school s;
        struct dvit_error error;
        struct dvit_train_options options = school_options();
        float expected[IMAGES * CLASSES];
        double kl = 0;
        struct dvit_model *teacher =
            random_model(teachers[i].text, teachers[i].stages, .5, 31 + i, 1);
        assert_ok(school_open(&s, STUDENT, 1, teacher, &options, &error), &error);
        school_micro(&s);
        session_logits(teacher, s.pixels, expected);
        assert_true(golden_error(s.trainer->teacher_logits, expected, IMAGES * CLASSES) < 1e-5);
        const float *student = s.trainer->training.values[s.trainer->values.logits];
        for (int image = 0; image < IMAGES; image++)
            kl += divergence(expected + image * CLASSES, student + image * CLASSES) / IMAGES;
        assert_float_equal(s.trainer->losses.kl, kl, 1e-5);
        assert_true(s.trainer->losses.token == 0);
        school_close(&s);
    }
}

/* Between models with auxiliary heads the class head speaks alone, as LV-ViT's students have it. */
static void class_head_speaks_to_class_head(void **state)
{
    (void)state;
    struct school s;
    struct dvit_error error;
    struct dvit_train_options options = school_options();
    float whole[IMAGES * CLASSES];
    const char *text = "lvvit:dim=16,depth=2,heads=2,patch=8,stem_width=8,image=16,classes=6";
    struct dvit_model *teacher = random_model(text, 0, 1, 41, 1);
    assert_ok(school_open(&s, text, 1, teacher, &options, &error), &error);
    school_micro(&s);
    session_logits(teacher, s.pixels, whole);
    double alone = golden_error(s.trainer->teacher_logits, whole, IMAGES * CLASSES);
    assert_true(alone > 1e-2);
    assert_true(s.trainer->losses.aux > 0); /* no teacher's patches: the label speaks to each */
    float *before = malloc(IMAGES * CLASSES * sizeof *before);
    memcpy(before, s.trainer->teacher_logits, IMAGES * CLASSES * sizeof *before);
    school_close(&s);
    /* With the token term the class head is the same, and the label is silent. */
    options.weight_token = .5;
    teacher = random_model(text, 0, 1, 41, 1);
    assert_ok(school_open(&s, text, 1, teacher, &options, &error), &error);
    school_micro(&s);
    assert_true(golden_error(s.trainer->teacher_logits, before, IMAGES * CLASSES) < 1e-6);
    assert_true(s.trainer->losses.aux == 0 && s.trainer->losses.token > 0);
    free(before);
    school_close(&s);
}

/* A teacher made for other means sees the picture that the student sees. */
static void teachers_normalise_for_themselves(void **state)
{
    (void)state;
    struct school s;
    struct dvit_error error;
    struct dvit_train_options options = school_options();
    float expected[IMAGES * CLASSES];
    struct dvit_model *teacher =
        random_model("vit:dim=24,depth=2,heads=2,patch=8," SIZE, 0, 1, 7, 1);
    for (int i = 0; i < 3; i++) {
        teacher->preprocess.mean[i] = .5f;
        teacher->preprocess.std[i] = .5f + .1f * (float)i;
    }
    assert_ok(school_open(&s, STUDENT, 1, teacher, &options, &error), &error);
    school_micro(&s);
    float *own = malloc(IMAGES * 3 * 256 * sizeof *own);
    const struct dvit_preprocess *from = &s.student->preprocess, *to = &teacher->preprocess;
    for (int i = 0; i < IMAGES * 3 * 256; i++) {
        int c = i / 256 % 3;
        double share = (double)s.pixels[i] * from->std[c] + from->mean[c]; /* of full brightness */
        own[i] = (float)((share - to->mean[c]) / to->std[c]);
    }
    session_logits(teacher, own, expected);
    assert_true(golden_error(s.trainer->teacher_logits, expected, IMAGES * CLASSES) < 1e-5);
    session_logits(teacher, s.pixels, expected);
    assert_true(golden_error(s.trainer->teacher_logits, expected, IMAGES * CLASSES) > 1e-2);
    free(own);
    school_close(&s);
}

/* Without augmentation the bits of an answer depend on the image alone, so that they may be kept.
 */
static void answers_to_still_images_have_one_value(void **state)
{
    const char *precision = *state;
    struct dvit_train_options options = school_options();
    float first[CLASSES];
    options.augment = false;
    options.precision = precision;
    options.cpu = strcmp(precision, "bf16") != 0 || dvit_cpu_has_bf16() ? "auto" : "reference";
    for (int threads = 1; threads <= 3; threads++) {
        struct school s;
        struct dvit_error error;
        struct dvit_model *teacher =
            random_model("vit:dim=40,depth=3,heads=5,patch=2,mlp=72," SIZE, 0, 1, 9, 1);
        options.threads = threads;
        assert_ok(school_open(&s, STUDENT, 0, teacher, &options, &error), &error);
        for (int i = 1; i < IMAGES; i++)
            memcpy(s.pixels + i * 768, s.pixels, 768 * sizeof *s.pixels);
        school_micro(&s);
        if (threads == 1)
            memcpy(first, s.trainer->teacher_logits, sizeof first);
        for (int i = 0; i < IMAGES; i++)
            assert_memory_equal(s.trainer->teacher_logits + i * CLASSES, first, sizeof first);
        school_close(&s);
    }
}

/* ---- who may teach ---- */

static void refuse(const char *student, const char *teacher_text, double token, const char *why)
{
    struct school s;
    struct dvit_error error;
    struct dvit_train_options options = school_options();
    options.weight_token = token;
    struct dvit_model *teacher = random_model(teacher_text, 0, 1, 3, 1);
    assert_fails(school_open(&s, student, 1, teacher, &options, &error), &error,
                 DVIT_ERROR_MISMATCH, why);
    school_close(&s);
}

static void teachers_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const char *classes = "vit:dim=16,depth=2,heads=2,patch=4,image=16,classes=7";
    const char *size = "vit:dim=16,depth=2,heads=2,patch=4,image=24,classes=6";
    refuse(STUDENT, classes, 0, "the teacher knows 7 classes, the student 6");
    refuse(STUDENT, size, 0, "24 × 24, the student of 16 × 16");
    refuse(STUDENT, "vit:dim=16,depth=2,heads=2,patch=8," SIZE, .5, "patches of 8 pixels");
    refuse(STUDENT, "vit:dim=32,depth=2,heads=2,patch=4," SIZE, .5, "width 32");
    refuse(STUDENT, "vit:dim=16,depth=2,heads=2,patch=4,distilled=1," SIZE, .5, "two heads");
    refuse(STUDENT, "vit:dim=16,depth=2,heads=2,patch=4,mean_pool=1," SIZE, .5, "patches' mean");
}

static void tokens_are_compared_between_like_models(void **state)
{
    (void)state;
    struct school s;
    struct dvit_error error;
    struct dvit_train_options options = school_options();
    options.weight_token = .5;
    struct dvit_model *deeper =
        random_model("vit:dim=16,depth=5,heads=4,patch=4,mlp=24," SIZE, 0, 1, 3, 1);
    assert_ok(school_open(&s, STUDENT, 1, deeper, &options, &error), &error);
    assert_true(dvit_train_compares_tokens(s.student, deeper));
    school_micro(&s);
    assert_true(s.trainer->losses.token > 0);
    school_close(&s);
    struct dvit_model *wide = random_model("vit:dim=32,depth=2,heads=2,patch=4," SIZE, 0, 1, 3, 1);
    struct dvit_model *like = random_model(STUDENT, 0, 1, 3, 1);
    assert_false(dvit_train_compares_tokens(like, wide));
    dvit_model_free(wide);
    dvit_model_free(like);
}

/* A teacher whom no term reads costs nothing and changes nothing, whatever its shape. */
static void a_teacher_without_weight_never_runs(void **state)
{
    (void)state;
    struct school with, without;
    struct dvit_error error;
    struct dvit_train_options options = school_options();
    options.weight_kl = 0;
    struct dvit_model *teacher =
        random_model("vit:dim=16,depth=2,heads=2,patch=4,image=24,classes=9", 0, 1, 3, 1);
    assert_ok(school_open(&with, STUDENT, 1, teacher, &options, &error), &error);
    assert_ok(school_open(&without, STUDENT, 1, NULL, &options, &error), &error);
    school_micro(&with);
    school_micro(&without);
    assert_null(with.trainer->teacher.graph);
    assert_memory_equal(with.trainer->gradients, without.trainer->gradients,
                        with.student->parameters.floats * sizeof(float));
    school_close(&with);
    school_close(&without);
}

/* ---- learning from one ---- */

/* A dense student without a label, as in classical distillation: its distribution comes to be the
 * teacher's, on the head that listens. */
static void a_dense_student_learns_from_its_teacher(void **state)
{
    (void)state;
    const char *const students[] = {STUDENT,
                                    "vit:dim=16,depth=2,heads=2,patch=4,distilled=1," SIZE};
    for (int i = 0; i < 2; i++) {
        struct school s;
        struct dvit_error error;
        struct dvit_train_options options = school_options();
        bool skipped;
        double first = 0;
        options.learning_rate = options.min_learning_rate = 5e-3;
        options.backbone_lr_scale = 1;
        options.freeze_embeddings = false;
        options.weight_cls = 0;
        options.weight_kl = 1;
        struct dvit_model *teacher =
            random_model("vit:dim=24,depth=3,heads=3,patch=8," SIZE, 0, 1, 77, 1);
        assert_ok(school_open(&s, students[i], 0, teacher, &options, &error), &error);
        for (int step = 0; step < 120; step++) {
            school_micro(&s);
            first = step == 0 ? s.trainer->losses.kl : first;
            dvit_trainer_update(s.trainer, &skipped);
            assert_false(skipped);
        }
        assert_true(first > .2);
        assert_true(s.trainer->losses.kl < .02 * first);
        school_close(&s);
    }
}

int main(void)
{
    static char f32[] = "f32", bf16[] = "bf16";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_model_teaches_by_its_logits),
        cmocka_unit_test(class_head_speaks_to_class_head),
        cmocka_unit_test(teachers_normalise_for_themselves),
        cmocka_unit_test_prestate(answers_to_still_images_have_one_value, f32),
        cmocka_unit_test_prestate(answers_to_still_images_have_one_value, bf16),
        cmocka_unit_test(teachers_that_cannot_be_are_refused),
        cmocka_unit_test(tokens_are_compared_between_like_models),
        cmocka_unit_test(a_teacher_without_weight_never_runs),
        cmocka_unit_test(a_dense_student_learns_from_its_teacher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

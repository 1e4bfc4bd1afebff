/* Creating a teacher, and its answers to a micro-batch: computed, or kept from an earlier epoch.
 *
 * Where answers may be kept – without augmentation – each image passes alone. In a group, the rows
 * of an image share a matrix product with others', and how a product rounds may depend on how many
 * rows it has; alone, an image has one answer, computed or kept. */
#include "train/teacher.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/hash.h"
#include "weights/model_file.h"

enum { TEACHER_GROUP = 4 };

/* ---- which teacher speaks to which term ---- */

static bool same_tokens(const struct dvit_config *c, const struct dvit_config *d)
{
    return d->patch == c->patch && d->dim == c->dim && d->distilled == c->distilled &&
           d->mean_pool == c->mean_pool && d->aux_head == c->aux_head;
}

bool dvit_train_compares_tokens(const struct dvit_model *student, const struct dvit_model *teacher)
{
    if (!student || !teacher)
        return false;
    return same_tokens(&student->config, &teacher->config);
}

static const char *head_kind(const struct dvit_config *c)
{
    if (c->aux_head)
        return "an auxiliary head";
    if (c->mean_pool)
        return "a head on the patches' mean";
    return c->distilled && !c->one_head ? "two heads" : "a head on the class token";
}

static enum dvit_status check(const struct dvit_teacher *t, const struct dvit_config *c,
                              struct dvit_error *error)
{
    const struct dvit_config *d = &t->model->config;
    if (d->classes != c->classes)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "the teacher knows %d classes, the student %d: name a teacher of the "
                              "same classes, or none (--w-kl 0 --w-token 0)",
                              d->classes, c->classes);
    if (d->image_width != c->image_width || d->image_height != c->image_height)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "the teacher reads images of %d × %d, the student of %d × %d, and "
                              "both see the same pixels: open the teacher at the student's size",
                              d->image_width, d->image_height, c->image_width, c->image_height);
    if (t->tokens && !same_tokens(c, d))
        return dvit_error_set(
            error, DVIT_ERROR_MISMATCH,
            "the token term compares patch by patch: the teacher has patches of %d pixels, width "
            "%d and %s, the student %d, %d and %s. With a token weight of 0 it teaches by its "
            "classes alone",
            d->patch, d->dim, head_kind(d), c->patch, c->dim, head_kind(c));
    return DVIT_OK;
}

/* Patch logits of models with an auxiliary head, else tokens. */
static size_t compared_per_image(const struct dvit_config *c)
{
    size_t patches = (size_t)dvit_config_patches(c);
    if (c->aux_head)
        return patches * (size_t)c->classes;
    return (patches + (size_t)dvit_config_prefix(c)) * (size_t)c->dim;
}

/* ---- creating ---- */

static void choose_scale(struct dvit_teacher *t, const struct dvit_model *student)
{
    const struct dvit_preprocess *from = &student->preprocess, *to = &t->model->preprocess;
    for (int i = 0; i < 3; i++) {
        t->renormalises =
            t->renormalises || from->mean[i] != to->mean[i] || from->std[i] != to->std[i];
        t->scale[i] = (float)((double)from->std[i] / to->std[i]);
        t->shift[i] = (float)(((double)from->mean[i] - to->mean[i]) / to->std[i]);
    }
}

static void lay_out(struct dvit_teacher *t)
{
    t->parameters = dvit_arena_take(&t->arena, t->model->parameters.count, sizeof *t->parameters);
    size_t images = t->renormalises ? (size_t)t->members * (size_t)t->group : 0;
    t->renormalised = dvit_arena_take(&t->arena, images * t->pixels, sizeof *t->renormalised);
}

static enum dvit_status build(struct dvit_teacher *t, const struct dvit_config *student,
                              const struct dvit_teacher_place *place, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *own = &t->model->config;
    struct dvit_vit_options how = {
        .keep = 1.0,
        .bf16 = place->bf16,
        /* between models with auxiliary heads, class head speaks to class head */
        .want_tokens = t->tokens || (own->aux_head && student->aux_head),
    };
    DVIT_TRY(dvit_vit_build(&t->graph, &t->values, own, &t->model->parameters, &how, error));
    DVIT_TRY(dvit_products_create(&t->products, t->graph, place->kernels->cpu, t->members, error));
    for (int images = 1; images <= t->group; images++)
        DVIT_TRY(dvit_products_prepare(&t->products, t->graph, images, false, error));
    dvit_parameters_pointers(&t->model->parameters, t->model->weights, t->parameters);
    DVIT_TRY(dvit_products_reserve(&t->products, t->graph, error));
    DVIT_TRY(dvit_products_pack(&t->products, t->graph, (const float *const *)t->parameters, NULL,
                                error));
    t->lanes = calloc((size_t)t->members, sizeof *t->lanes);
    if (!t->lanes)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "teacher: out of memory");
    for (int m = 0; m < t->members; m++)
        DVIT_TRY(dvit_forward_create(&t->lanes[m], t->graph, place->kernels, &t->products, t->group,
                                     1, error));
done:
    return status;
}

enum dvit_status dvit_teacher_create(struct dvit_teacher *t, const struct dvit_model *model,
                                     const struct dvit_model *student,
                                     const struct dvit_train_options *options,
                                     const struct dvit_teacher_place *place,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_config *c = &student->config;
    *t = (struct dvit_teacher){
        .model = model, .members = place->members, .bf16 = place->bf16, .cpu = place->kernels->cpu};
    bool wanted = options->weight_kl > 0 || options->weight_token > 0;
    if (c->stages && wanted && !model)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "training a dynamic model needs a teacher (--teacher FILE), unless the "
                  "distillation and token weights are 0 (--w-kl 0 --w-token 0)");
    t->logits = model && options->weight_kl > 0;
    t->tokens = model && options->weight_token > 0;
    if (!dvit_teacher_runs(t))
        goto done;
    DVIT_TRY(check(t, c, error));
    t->pixels = 3 * (size_t)c->image_width * (size_t)c->image_height;
    t->classes = (size_t)c->classes;
    t->compared = t->tokens ? compared_per_image(c) : 0;
    t->group = options->augment ? TEACHER_GROUP : 1;
    choose_scale(t, student);
    lay_out(t);
    DVIT_TRY(dvit_arena_commit(&t->arena, "teacher", error));
    lay_out(t);
    DVIT_TRY(build(t, c, place, error));
done:
    return status;
}

void dvit_teacher_free(struct dvit_teacher *t)
{
    dvit_teacher_cache_close(t->cache);
    for (int m = 0; t->lanes && m < t->members; m++)
        dvit_forward_free(&t->lanes[m]);
    free(t->lanes);
    dvit_products_free(&t->products);
    dvit_graph_free(t->graph);
    dvit_arena_free(&t->arena);
    *t = (struct dvit_teacher){0};
}

bool dvit_teacher_runs(const struct dvit_teacher *t)
{
    return t->logits || t->tokens;
}

/* ---- answering ---- */

/* The same pictures, normalised as the teacher wants them. */
static const float *own_pixels(struct dvit_teacher *t, const float *pixels, int member,
                               size_t images)
{
    if (!t->renormalises)
        return pixels;
    float *own = t->renormalised + (size_t)member * (size_t)t->group * t->pixels;
    size_t plane = t->pixels / 3;
    for (size_t i = 0; i < 3 * images; i++)
        for (size_t k = i * plane; k < (i + 1) * plane; k++)
            own[k] = pixels[k] * t->scale[i % 3] + t->shift[i % 3];
    return own;
}

static void compute(struct dvit_teacher *t, const struct dvit_teacher_job *job, int member,
                    size_t first, size_t count)
{
    struct dvit_forward *lane = &t->lanes[member];
    const struct dvit_vit_values *v = &t->values;
    int compared = v->patch_logits != DVIT_NONE ? v->patch_logits : v->tokens;
    struct dvit_forward_job run = {
        .forward = lane,
        .parameters = (const float *const *)t->parameters,
        .images = (int)count,
        .failure = job->failure,
    };
    dvit_forward_begin(lane, (int)count);
    lane->values[v->pixels] =
        (float *)own_pixels(t, job->pixels + first * t->pixels, member, count); /* only read */
    dvit_forward_run(&run, 0, member);
    memcpy(job->logits + first * t->classes, lane->values[v->logits],
           count * t->classes * sizeof(float));
    if (t->tokens)
        memcpy(job->compared + first * t->compared, lane->values[compared],
               count * t->compared * sizeof(float));
}

static void answer_kept(struct dvit_teacher *t, const struct dvit_teacher_job *job, int member,
                        size_t image)
{
    float *logits = job->logits + image * t->classes;
    float *compared = t->tokens ? job->compared + image * t->compared : NULL;
    uint64_t pixels = dvit_hash(0, job->pixels + image * t->pixels, t->pixels * sizeof(float));
    if (dvit_teacher_cache_read(t->cache, job->indices[image], pixels, logits, compared))
        return;
    compute(t, job, member, image, 1);
    if (atomic_load(job->failure) == DVIT_OK)
        dvit_teacher_cache_write(t->cache, job->indices[image], pixels, logits, compared);
}

void dvit_teacher_run(struct dvit_teacher *t, const struct dvit_teacher_job *job, int member,
                      struct dvit_span images)
{
    bool kept = t->cache && job->indices;
    size_t group = kept ? 1 : (size_t)t->group;
    for (size_t first = images.first; first < images.last; first += group) {
        size_t left = images.last - first;
        if (kept)
            answer_kept(t, job, member, first);
        else
            compute(t, job, member, first, left < group ? left : group);
    }
}

/* ---- keeping answers ---- */

uint64_t dvit_teacher_weights(const struct dvit_model *model)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < model->parameters.count; i++)
        hash = dvit_hash(hash, model->weights + model->parameters.items[i].offset,
                         model->parameters.items[i].count * sizeof(float));
    return hash;
}

/* Of everything that the model's answers depend on: its weights and what describes it. */
static enum dvit_status fingerprint(const struct dvit_model *model, uint64_t *out,
                                    struct dvit_error *error)
{
    struct dvit_model_metadata metadata = {0};
    enum dvit_status status = dvit_model_metadata_create(&metadata, model, error);
    if (status != DVIT_OK)
        return status;
    uint64_t hash = 0;
    for (int i = 0; i < 2; i++) /* configuration and preprocessing; labels change no answer */
        hash = dvit_hash(hash, metadata.texts[i], strlen(metadata.texts[i]));
    *out = hash ^ dvit_teacher_weights(model);
    dvit_model_metadata_free(&metadata);
    return DVIT_OK;
}

static enum dvit_status describe(char key[1024], const struct dvit_teacher *t,
                                 const struct dvit_dataset *data,
                                 const struct dvit_preprocess *input, struct dvit_error *error)
{
    uint64_t teacher;
    enum dvit_status status = fingerprint(t->model, &teacher, error);
    if (status != DVIT_OK)
        return status;
    const float *m = input->mean, *s = input->std;
    dvit_decimal_format(
        key, 1024,
        "by dvit %s, %s products of %s, kernels %s\nteacher %016" PRIx64 "\ndata %s\n"
        "input %d × %d, fit %d, side %d, %s, %s, mean %a %a %a, std %a %a %a\n",
        dvit_version(), t->bf16 ? "bf16" : "f32", dvit_matmul_backend(), dvit_cpu_name(t->cpu),
        teacher, dvit_dataset_fingerprint(data), input->crop_width, input->crop_height,
        (int)input->fit, input->resize_side, input->bilinear ? "bilinear" : "bicubic",
        input->pillow13 ? "pillow13" : "pillow12", m[0], m[1], m[2], s[0], s[1], s[2]);
    return DVIT_OK;
}

enum dvit_status dvit_teacher_keep(struct dvit_teacher *t, const struct dvit_train_options *options,
                                   const struct dvit_dataset *data,
                                   const struct dvit_preprocess *input, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char key[1024];
    if (!options->cache_teacher)
        return DVIT_OK;
    if (!dvit_teacher_runs(t))
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "there are no teacher's answers to keep: no term of the loss reads any");
    if (options->augment)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "a teacher's answers can be kept only for images that stay the same, and "
                  "augmentation (crops, flips, mixing) shows other pixels each time: train "
                  "without it, or without keeping them");
    DVIT_TRY(describe(key, t, data, input, error));
    struct dvit_teacher_answers answers = {key, dvit_dataset_size(data), t->classes, t->compared};
    status = dvit_teacher_cache_open(&t->cache, options->cache_teacher, &answers,
                                     options->cache_limit_gb * 1e9, error);
    if (status == DVIT_ERROR_IO || status == DVIT_ERROR_NOT_FOUND) { /* no reason not to train */
        snprintf(t->trouble, sizeof t->trouble,
                 "%.1200s; the teacher's answers are computed each time", error->message);
        status = DVIT_OK;
    }
done:
    return status;
}

bool dvit_teacher_news(struct dvit_teacher *t, char text[DVIT_TEACHER_CACHE_NEWS])
{
    if (t->cache)
        return dvit_teacher_cache_news(t->cache, text);
    memcpy(text, t->trouble, sizeof t->trouble);
    t->trouble[0] = '\0';
    return text[0] != '\0';
}

/* The teacher of a training: a frozen model that answers the very images that the student is
 * trained on, in evaluation mode, dense.
 *
 * It may have another width, depth, patch and head than the student; the token term compares patch
 * by patch and takes one that agrees in all but depth. Where the two were made for other means and
 * standard deviations, the teacher gets the same pictures in its own. */
#ifndef DVIT_TRAIN_TEACHER_H
#define DVIT_TRAIN_TEACHER_H

#include "dvit/train.h"
#include "graph/forward.h"
#include "models/model.h"
#include "models/vit.h"
#include "train/teacher_cache.h"

struct dvit_teacher {
    const struct dvit_model *model;
    bool logits, tokens; /* which terms of the loss it speaks to; without any it never runs */
    size_t pixels, classes;
    size_t compared; /* floats of an image that the token term compares; 0 without it */
    int group;       /* images that a member takes through it together */

    struct dvit_graph *graph;
    struct dvit_vit_values values;
    struct dvit_products products;
    struct dvit_forward *lanes; /* [members] */
    int members;
    struct dvit_arena arena;
    float **parameters;
    bool renormalises;
    float scale[3], shift[3]; /* of the student's pixels, to the teacher's */
    float *renormalised;      /* [members][group][pixels]; only where renormalises */
    bool bf16;
    enum dvit_cpu cpu;
    struct dvit_teacher_cache *cache;      /* of its answers, or NULL; owned */
    char trouble[DVIT_TEACHER_CACHE_NEWS]; /* why there is none; "" where nothing is to be told */
};

/* How the student's trainer computes. */
struct dvit_teacher_place {
    const struct dvit_kernels *kernels;
    bool bf16;
    int members;
};

/* `model` may be NULL where the options' weights ask for none. Frees with dvit_teacher_free, also
 * after an error. */
enum dvit_status dvit_teacher_create(struct dvit_teacher *teacher, const struct dvit_model *model,
                                     const struct dvit_model *student,
                                     const struct dvit_train_options *options,
                                     const struct dvit_teacher_place *place,
                                     struct dvit_error *error);
void dvit_teacher_free(struct dvit_teacher *teacher);
/* A hash of the model's weights. */
uint64_t dvit_teacher_weights(const struct dvit_model *model);
bool dvit_teacher_runs(const struct dvit_teacher *teacher);

/* Images to answer. */
struct dvit_teacher_job {
    const float *pixels;     /* [images][3][H][W], as the student sees them */
    const uint32_t *indices; /* [images] into the data set; NULL: nothing is kept */
    float *logits;           /* [images][classes] */
    float *compared;         /* [images][compared] */
    atomic_int *failure;
};
/* Answers `images` of the job; a member of the team. */
void dvit_teacher_run(struct dvit_teacher *teacher, const struct dvit_teacher_job *job, int member,
                      struct dvit_span images);

/* Has the teacher keep its answers to the images of `data`, read as `input` says, where the options
 * ask for it. Options or files that stand against it are an error; where only the disk does, that
 * is news, and answers are computed. */
enum dvit_status dvit_teacher_keep(struct dvit_teacher *teacher,
                                   const struct dvit_train_options *options,
                                   const struct dvit_dataset *data,
                                   const struct dvit_preprocess *input, struct dvit_error *error);
/* What a user should know about kept answers, each once; false where there is nothing new. Between
 * micro-batches. */
bool dvit_teacher_news(struct dvit_teacher *teacher, char text[DVIT_TEACHER_CACHE_NEWS]);

#endif

/* Evaluation: the accuracy, speed and pruning statistics of a session over a data set, and what it
 * answered to every image. */
#ifndef DVIT_EVAL_H
#define DVIT_EVAL_H

#include "dvit/data.h"
#include "dvit/infer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* dvit_dataset_open with options->classes from the model: its labels, and ImageNet's ids where it
 * is a model of ImageNet-1k (a thousand classes that are only numbered, or most of whose labels are
 * ImageNet's). A folder may hold some of the model's classes then. `options` may be NULL; a table
 * of classes in it is not looked at. Errors as for dvit_dataset_open. */
DVIT_API enum dvit_status dvit_dataset_open_for(struct dvit_dataset **out,
                                                const struct dvit_model *model, const char *spec,
                                                const char *split,
                                                const struct dvit_dataset_options *options,
                                                struct dvit_error *error);

enum { DVIT_PREDICTION_TOP = 5 };

/* What was answered to one image. */
struct dvit_prediction {
    int label;                              /* the truth */
    int top[DVIT_PREDICTION_TOP];           /* classes, best first; −1 where there are fewer, and
                                             * throughout where the image could not be read or the
                                             * model's answer is not finite */
    bool read;                              /* the image could be read */
    float probability[DVIT_PREDICTION_TOP]; /* of each; 0 where there is none */
};
/* An image that could not be read. */
struct dvit_unread {
    size_t index; /* into the data set */
    char *message;
};

/* Accuracy of a session over a data set. */
struct dvit_evaluation {
    size_t images;     /* counted: readable ones */
    size_t unanswered; /* of these: the model's logits were not finite. Wrong in top-1 and top-5 */
    size_t skipped;
    double top1, top5;         /* shares of `images`, in 0 … 1; top5 is 1 where K ≤ 5 */
    double loss;               /* mean cross-entropy of answered images, no smoothing; NaN: none */
    double images_per_s;       /* of the whole pipeline, decoding included */
    double model_images_per_s; /* of the model alone */
    int stages;
    double kept_share[DVIT_MAX_STAGES]; /* of all patches, per stage */
    bool has_masks;
    double object_kept_share[DVIT_MAX_STAGES]; /* of the object's pixels, in patches kept */

    /* With options.want_predictions, owned, freed by dvit_evaluation_free; else NULL and 0. */
    struct dvit_prediction *predictions; /* [prediction_count], of data set image 0, 1, … */
    size_t prediction_count;
    struct dvit_unread *unread; /* [skipped], ascending */
    char **class_names;         /* [classes], the data set's */
    int classes;
};
struct dvit_evaluate_options {
    int batch;   /* ≤ the session's max_batch */
    int workers; /* loader threads */
    bool strict;
    size_t limit;          /* first so many images; 0 = all */
    bool want_predictions; /* default false: nothing in the result needs freeing */
};
/* `progress` may be NULL; called with images done and total. Nothing is allocated from image to
 * image but for those that cannot be read. */
DVIT_API enum dvit_status
dvit_evaluate(struct dvit_session *session, const struct dvit_model *model,
              struct dvit_dataset *dataset, const struct dvit_evaluate_options *options,
              void (*progress)(void *context, size_t done, size_t total), void *context,
              struct dvit_evaluation *out, struct dvit_error *error);
/* Frees what the evaluation owns; legal at any time, also on a zeroed one. */
DVIT_API void dvit_evaluation_free(struct dvit_evaluation *evaluation);

/* ------------------------------------------------------------- from predictions to counts --- */

struct dvit_class_counts {
    size_t images, unanswered; /* readable images of the class; of these without an answer */
    size_t top1, top5;         /* right at first, among the five */
};
/* Fills out[evaluation->classes]; zero without predictions. */
DVIT_API void dvit_evaluation_class_counts(const struct dvit_evaluation *evaluation,
                                           struct dvit_class_counts *out);

struct dvit_confusion {
    int label, answer; /* that differ */
    size_t images;
};
/* Every pair of classes that was confused, most frequent first, ties by label, then by answer.
 * *out is freed with free; NULL where nothing was confused. */
DVIT_API enum dvit_status dvit_evaluation_confusions(const struct dvit_evaluation *evaluation,
                                                     struct dvit_confusion **out, size_t *count,
                                                     struct dvit_error *error);

/* ---------------------------------------------------------------------------------- files --- */

/* All files are written atomically. CSV: UTF-8, quoted as in RFC 4180, lines end in a line feed,
 * one header line; bytes of file names that are not UTF-8 are written as \xNN. */

enum { DVIT_MAX_CONFUSION_CLASSES = 10000 };

/* The confusion matrix as CSV: label,label_name,images, then one column per class (its index) with
 * the images of the row's class that were answered so. One row per class. DVIT_ERROR_LIMIT beyond
 * DVIT_MAX_CONFUSION_CLASSES classes. */
DVIT_API enum dvit_status dvit_evaluation_write_confusion(const char *path,
                                                          const struct dvit_evaluation *evaluation,
                                                          struct dvit_error *error);

/* One of several evaluations over the same images. */
struct dvit_evaluated {
    const char *model; /* its name, as shown */
    double keep;
    const struct dvit_evaluation *evaluation;
};
/* Whether dvit_predictions_write knows the format: `path` ends in .csv, .json or .jsonl. */
DVIT_API enum dvit_status dvit_predictions_check(const char *path, struct dvit_error *error);
/* All predictions of each evaluation in turn, in the order of the data set. CSV with the columns
 *   path,label,label_name,prediction,prediction_name,probability,top2,probability2, … top5,
 *   probability5,correct,correct5,model,keep,error
 * (correct is 1 or 0; an image that could not be read, or to which the model gave no finite answer,
 * has an error and nothing between label_name and model), or JSON, one object per line:
 *   {"file", "class", "label", "top": [{"class", "label", "probability"}, …], "correct", "model",
 *    "keep"}, with "error" in the place of "top" and "correct". */
DVIT_API enum dvit_status dvit_predictions_write(const char *path,
                                                 const struct dvit_dataset *dataset,
                                                 const struct dvit_evaluated *evaluated, int count,
                                                 struct dvit_error *error);

#ifdef __cplusplus
}
#endif
#endif

/* Counts that follow from predictions: per class, and of each pair of classes that was confused. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "dvit/eval.h"
#include "eval/predictions.h"

void dvit_evaluation_class_counts(const struct dvit_evaluation *evaluation,
                                  struct dvit_class_counts *out)
{
    if (!evaluation || !out || evaluation->classes < 1)
        return;
    memset(out, 0, (size_t)evaluation->classes * sizeof *out);
    for (size_t i = 0; i < evaluation->prediction_count; i++) {
        const struct dvit_prediction *prediction = &evaluation->predictions[i];
        struct dvit_class_counts *counts = &out[prediction->label];
        if (!prediction->read)
            continue;
        counts->images++;
        counts->unanswered += prediction->top[0] < 0;
        counts->top1 += prediction->top[0] == prediction->label;
        for (int k = 0; k < DVIT_PREDICTION_TOP; k++)
            counts->top5 += prediction->top[k] == prediction->label;
    }
}

int dvit_confusion_by_classes(const void *a, const void *b)
{
    const struct dvit_confusion *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return (x->answer > y->answer) - (x->answer < y->answer);
}

static int by_frequency(const void *a, const void *b)
{
    const struct dvit_confusion *x = a, *y = b;
    if (x->images != y->images)
        return x->images > y->images ? -1 : 1;
    return dvit_confusion_by_classes(a, b);
}

/* Equal neighbours of a sorted list become one; returns how many are left. */
static size_t merge(struct dvit_confusion *pairs, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && dvit_confusion_by_classes(&pairs[kept - 1], &pairs[i]) == 0)
            pairs[kept - 1].images++;
        else
            pairs[kept++] = pairs[i];
    }
    return kept;
}

enum dvit_status dvit_evaluation_confusions(const struct dvit_evaluation *evaluation,
                                            struct dvit_confusion **out, size_t *count,
                                            struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_CLEAR(count);
    DVIT_REQUIRE(error, evaluation, out, count);
    size_t wrong = 0;
    for (size_t i = 0; i < evaluation->prediction_count; i++) {
        const struct dvit_prediction *prediction = &evaluation->predictions[i];
        wrong += prediction->top[0] >= 0 && prediction->top[0] != prediction->label;
    }
    if (wrong == 0)
        return DVIT_OK;
    struct dvit_confusion *pairs = calloc(wrong, sizeof *pairs);
    if (!pairs)
        return dvit_error_set(error, DVIT_ERROR_MEMORY,
                              "evaluation: out of memory for %zu wrong answers", wrong);
    size_t used = 0;
    for (size_t i = 0; i < evaluation->prediction_count; i++) {
        const struct dvit_prediction *prediction = &evaluation->predictions[i];
        if (prediction->top[0] >= 0 && prediction->top[0] != prediction->label)
            pairs[used++] = (struct dvit_confusion){prediction->label, prediction->top[0], 1};
    }
    qsort(pairs, used, sizeof *pairs, dvit_confusion_by_classes);
    *count = merge(pairs, used);
    qsort(pairs, *count, sizeof *pairs, by_frequency);
    *out = pairs;
    return DVIT_OK;
}

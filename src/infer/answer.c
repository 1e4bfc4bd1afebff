/* From logits to answers: whether they are numbers, softmax, and the best classes. */
#include <math.h>

#include "base/error.h"
#include "dvit/infer.h"

void dvit_softmax(const float *logits, int classes, float *probabilities)
{
    if (!logits || !probabilities || classes < 1)
        return;
    double high = logits[0], sum = 0;
    for (int k = 1; k < classes; k++)
        high = logits[k] > high ? logits[k] : high;
    for (int k = 0; k < classes; k++)
        sum += exp(logits[k] - high);
    for (int k = 0; k < classes; k++)
        probabilities[k] = (float)(exp(logits[k] - high) / sum);
}

bool dvit_logits_finite(const float *logits, int classes)
{
    if (!logits)
        return false;
    for (int k = 0; k < classes; k++)
        if (!isfinite(logits[k]))
            return false;
    return true;
}

enum dvit_status dvit_answer_check(const struct dvit_model *model, const float *logits,
                                   struct dvit_error *error)
{
    DVIT_REQUIRE(error, model, logits);
    struct dvit_error cause = {0};
    int classes = dvit_model_config(model)->classes, bad = 0;
    if (dvit_logits_finite(logits, classes))
        return DVIT_OK;
    for (int k = 0; k < classes; k++)
        bad += !isfinite(logits[k]);
    if (dvit_model_check_finite(model, &cause) == DVIT_OK)
        return dvit_error_set(error, DVIT_ERROR_NUMERIC,
                              "no answer: %d of %d logits are not finite, although all weights are",
                              bad, classes);
    return dvit_error_set(error, DVIT_ERROR_NUMERIC,
                          "no answer: %d of %d logits are not finite: %s", bad, classes,
                          cause.message);
}

/* True if a stands before b: larger, or equal and of lower index; NaN stands last. */
static bool before(const float *values, int a, int b)
{
    float x = values[a], y = values[b];
    if (isnan(x) || isnan(y))
        return isnan(x) == isnan(y) ? a < b : isnan(y);
    return x > y || (x == y && a < b);
}

void dvit_top_k(const float *values, int count, int k, int *indices)
{
    if (!values || !indices)
        return;
    int held = 0;
    for (int i = 0; k > 0 && i < count; i++) {
        int at = held < k ? held++ : k;
        if (at == k && !before(values, i, indices[k - 1]))
            continue;
        if (at == k)
            at = k - 1;
        for (; at > 0 && before(values, i, indices[at - 1]); at--)
            indices[at] = indices[at - 1];
        indices[at] = i;
    }
}

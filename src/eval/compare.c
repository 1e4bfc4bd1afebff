/* Several sessions over the same images, each beside the first: who still answers the same, and who
 * keeps the same patches. Counts are exact integers; times are not taken. */
#include <stdlib.h>

#include "base/error.h"
#include "dvit/quantize.h"
#include "infer/session.h"

/* What is counted of one session. */
struct counts {
    size_t right, agreeing, unanswered;
    size_t kept[DVIT_MAX_STAGES], other[DVIT_MAX_STAGES]; /* patches; those the base dropped */
};

/* How many of `kept` are not in `base`; both ascending. */
static size_t count_others(const int *kept, int count, const int *base, int base_count)
{
    size_t others = 0;
    for (int i = 0, k = 0; i < count; i++) {
        while (k < base_count && base[k] < kept[i])
            k++;
        others += k == base_count || base[k] != kept[i];
    }
    return others;
}

static void count_image(struct counts *counts, const struct dvit_session *session,
                        const struct dvit_session *base, int image, int answer, int base_answer,
                        int label)
{
    counts->unanswered += answer < 0;
    counts->right += answer == label;
    counts->agreeing += answer >= 0 && answer == base_answer;
    for (int s = 0; s < dvit_session_stages(session); s++) {
        int count, base_count;
        const int *kept = dvit_session_kept(session, image, s, &count);
        const int *base_kept = dvit_session_kept(base, image, s, &base_count);
        counts->kept[s] += (size_t)count;
        counts->other[s] += count_others(kept, count, base_kept, base_count);
    }
}

static enum dvit_status run_batch(struct dvit_session *const *sessions, int count, int classes,
                                  const struct dvit_batch *batch, int images, float *logits,
                                  int *answers, struct counts *counts, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    for (int n = 0; n < count; n++) {
        DVIT_TRY(dvit_session_run(sessions[n], batch->pixels, images, logits, error));
        for (int i = 0; i < images; i++) {
            int answer = -1; /* none */
            const float *own = logits + (size_t)i * (size_t)classes;
            if (dvit_logits_finite(own, classes))
                dvit_top_k(own, classes, 1, &answer);
            if (n == 0)
                answers[i] = answer;
            count_image(&counts[n], sessions[n], sessions[0], i, answer, answers[i],
                        batch->labels[i]);
        }
    }
done:
    return status;
}

static void summarise(const struct counts *counts, size_t images, int stages,
                      struct dvit_comparison *out)
{
    double all = images ? (double)images : 1;
    *out = (struct dvit_comparison){.images = images,
                                    .unanswered = counts->unanswered,
                                    .top1 = (double)counts->right / all,
                                    .agreement = (double)counts->agreeing / all,
                                    .stages = stages};
    for (int s = 0; s < stages; s++)
        out->other_kept[s] =
            counts->kept[s] ? (double)counts->other[s] / (double)counts->kept[s] : 0;
}

static enum dvit_status check_sessions(struct dvit_session *const *sessions, int count,
                                       const struct dvit_model *model, struct dvit_error *error)
{
    if (count < 1)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "comparison of %d sessions, expected at least 1", count);
    for (int i = 0; i < count; i++) {
        if (!sessions[i])
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "session %d of %d is NULL", i, count);
        enum dvit_status status = dvit_session_check_model(sessions[i], model, error);
        if (status != DVIT_OK)
            return status;
    }
    double keep = dvit_session_describe(sessions[0]).keep;
    for (int i = 1; i < count; i++)
        if (dvit_session_describe(sessions[i]).keep != keep)
            return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                                  "sessions at keep ratios %g and %g cannot be compared", keep,
                                  dvit_session_describe(sessions[i]).keep);
    return DVIT_OK;
}

enum dvit_status dvit_compare_sessions(struct dvit_session *const *sessions, int count,
                                       const struct dvit_model *model, struct dvit_dataset *dataset,
                                       const struct dvit_compare_options *options,
                                       void (*progress)(void *context, size_t done, size_t total),
                                       void *context, struct dvit_comparison *out,
                                       struct dvit_error *error)
{
    DVIT_REQUIRE(error, sessions, model, dataset, options, out);
    enum dvit_status status = check_sessions(sessions, count, model, error);
    if (status != DVIT_OK)
        return status;
    const int classes = dvit_model_config(model)->classes;
    size_t wanted = dvit_dataset_size(dataset), done = 0;
    struct dvit_loader *loader = NULL;
    struct dvit_loader_options load = dvit_loader_options_default();
    load.batch = options->batch;
    load.workers = options->workers;
    load.strict = options->strict;
    load.seed = options->seed;
    load.shuffle = true; /* folders are in the order of their classes */
    load.preprocess = *dvit_model_preprocess(model);
    wanted = options->limit && options->limit < wanted ? options->limit : wanted;
    size_t images = (size_t)(options->batch > 0 ? options->batch : 1);
    float *logits = calloc(images * (size_t)classes, sizeof *logits);
    int *answers = calloc(images, sizeof *answers);
    struct counts *counts = calloc((size_t)count + 1, sizeof *counts);
    const struct dvit_batch *batch;
    if (!logits || !answers || !counts)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "comparison: out of memory");
    DVIT_TRY(dvit_loader_create(&loader, dataset, &load, error));
    DVIT_TRY(dvit_loader_start(loader, 0, 0, error));
    while (done < wanted) {
        DVIT_TRY(dvit_loader_next(loader, &batch, error));
        if (!batch)
            break;
        size_t own = (size_t)batch->count < wanted - done ? (size_t)batch->count : wanted - done;
        DVIT_TRY(
            run_batch(sessions, count, classes, batch, (int)own, logits, answers, counts, error));
        done += own;
        if (progress)
            progress(context, done, wanted);
    }
    for (int n = 0; n < count; n++)
        summarise(&counts[n], done, dvit_session_stages(sessions[n]), &out[n]);
    for (int n = 0; n < count; n++)
        out[n].skipped = dvit_loader_skipped_count(loader);
done:
    dvit_loader_free(loader);
    free(logits);
    free(answers);
    free(counts);
    return status;
}

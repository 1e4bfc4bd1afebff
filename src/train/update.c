/* The end of a step: gradient norm, clipping, AdamW by parameter group, EMA. */
#include <math.h>

#include "train/trainer.h"

/* The rate of one parameter at this step. */
static double rate_of(const struct dvit_trainer *t, const struct dvit_parameter *item)
{
    return item->group == DVIT_GROUP_PREDICTOR ? t->learning_rate : t->backbone_learning_rate;
}

/* Whether all but the predictors stand still at this step. A rate of 0 does not say so: warm-up
 * begins there. */
static bool backbone_stands(const struct dvit_trainer *t)
{
    const struct dvit_train_options *o = &t->options;
    long freeze = (long)(o->backbone_freeze_epochs * (double)t->steps_per_epoch);
    return t->progress.step < freeze || o->backbone_lr_scale == 0;
}

static void set_rates(struct dvit_trainer *t)
{
    const struct dvit_train_options *o = &t->options;
    long warmup = (long)(o->warmup_epochs * (double)t->steps_per_epoch);
    double scheduled = dvit_schedule_rate(o->learning_rate, o->min_learning_rate, t->progress.step,
                                          warmup, t->total_steps);
    t->learning_rate = ldexp(scheduled, -(int)t->progress.rollbacks);
    t->backbone_learning_rate = backbone_stands(t) ? 0 : t->learning_rate * o->backbone_lr_scale;
}

/* Σ g² over this member's share of every parameter being updated, and whether all gradients are
 * finite (a frozen backbone's go into its moments, so they count too). */
static double member_squares(const struct dvit_trainer *t, int member, int members)
{
    const struct dvit_parameters *p = &t->model->parameters;
    bool stands = backbone_stands(t);
    double updated = 0, every = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (!t->trained[i])
            continue;
        struct dvit_span share = dvit_span_share(p->items[i].count, member, members);
        double squares = t->kernels.sum_squares(t->parameter_gradients[i] + share.first,
                                                share.last - share.first);
        every += squares;
        if (!stands || p->items[i].group == DVIT_GROUP_PREDICTOR)
            updated += squares;
    }
    return isfinite(every) ? updated : INFINITY;
}

static void update_share(struct dvit_trainer *t, double scale, int member, int members)
{
    const struct dvit_train_options *o = &t->options;
    const struct dvit_parameters *p = &t->model->parameters;
    double step = (double)(t->progress.adam_step + 1);
    struct dvit_adamw_step adam = {
        .beta1 = (float)o->beta1,
        .beta2 = (float)o->beta2,
        .eps = (float)o->adam_eps,
        .bias1 = (float)(1.0 - pow(o->beta1, step)),
        .bias2 = (float)(1.0 - pow(o->beta2, step)),
        .gradient_scale = (float)scale,
    };
    for (size_t i = 0; i < p->count; i++) {
        const struct dvit_parameter *item = &p->items[i];
        struct dvit_span share = dvit_span_share(item->count, member, members);
        size_t offset = item->offset + share.first, count = share.last - share.first;
        adam.learning_rate = (float)rate_of(t, item);
        adam.weight_decay = item->decays ? (float)o->weight_decay : 0.0f;
        if (t->trained[i])
            t->kernels.adamw(t->model->weights + offset, t->moment1 + offset, t->moment2 + offset,
                             t->gradients + offset, count, &adam);
        if (t->average)
            t->kernels.ema(t->average->weights + offset, t->model->weights + offset,
                           (float)o->ema_decay, count);
    }
}

static void update_member(void *context, int member, int members)
{
    struct dvit_trainer *t = context;
    t->partial[member] = member_squares(t, member, members);
    dvit_threads_barrier(t->threads);
    double squares = 0, scale = 1;
    for (int m = 0; m < members; m++)
        squares += t->partial[m];
    double norm = sqrt(squares);
    if (member == 0)
        t->gradient_norm = norm;
    if (!isfinite(norm) || !isfinite(t->losses.total))
        return;
    if (t->options.clip_norm > 0 && norm > t->options.clip_norm)
        scale = t->options.clip_norm / (norm + 1e-6);
    update_share(t, scale, member, members);
}

void dvit_trainer_update(struct dvit_trainer *t, bool *skipped)
{
    set_rates(t);
    dvit_threads_run(t->threads, update_member, t);
    *skipped = !isfinite(t->gradient_norm) || !isfinite(t->losses.total);
    t->progress.step++;
    t->progress.adam_step += !*skipped;
    t->progress.bad_steps += *skipped;
    t->progress.bad_in_row = *skipped ? t->progress.bad_in_row + 1 : 0;
    t->micro = 0;
}

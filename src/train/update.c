/* The end of a step: gradient norm, clipping, the optimiser by parameter, EMA. */
#include <math.h>

#include "train/trainer.h"

/* The rate of one parameter at this step. */
static double rate_of(const struct dvit_trainer *t, size_t index)
{
    bool predictor = t->model->parameters.items[index].group == DVIT_GROUP_PREDICTOR;
    return (predictor ? t->learning_rate : t->backbone_learning_rate) * t->rate_scale[index];
}

static double decay_of(const struct dvit_trainer *t, size_t index)
{
    return t->model->parameters.items[index].decays ? t->weight_decay : 0;
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
    t->weight_decay = o->weight_decay;
    if (o->weight_decay_end >= 0)
        t->weight_decay = dvit_schedule_rate(o->weight_decay, o->weight_decay_end, t->progress.step,
                                             0, t->total_steps);
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

/* This member's share of one parameter. */
struct piece {
    float *weight, *gradient, *moment1, *moment2;
    size_t count;
};

static struct piece piece_of(const struct dvit_trainer *t, size_t index, int member, int members)
{
    const struct dvit_parameter *item = &t->model->parameters.items[index];
    struct dvit_span share = dvit_span_share(item->count, member, members);
    size_t offset = item->offset + share.first;
    return (struct piece){
        .weight = t->model->weights + offset,
        .gradient = t->gradients + offset,
        .moment1 = t->moment1 + offset,
        .moment2 = t->moment2 ? t->moment2 + offset : NULL,
        .count = share.last - share.first,
    };
}

static struct dvit_adamw_step adam_step(const struct dvit_trainer *t, double scale)
{
    const struct dvit_train_options *o = &t->options;
    double step = (double)(t->progress.adam_step + 1);
    return (struct dvit_adamw_step){
        .beta1 = (float)o->beta1,
        .beta2 = (float)o->beta2,
        .eps = (float)o->adam_eps,
        .bias1 = (float)(1.0 - pow(o->beta1, step)),
        .bias2 = (float)(1.0 - pow(o->beta2, step)),
        .gradient_scale = (float)scale,
    };
}

static void update_adamw(struct dvit_trainer *t, double scale, int member, int members)
{
    struct dvit_adamw_step step = adam_step(t, scale);
    for (size_t i = 0; i < t->model->parameters.count; i++) {
        if (!t->trained[i])
            continue;
        struct piece p = piece_of(t, i, member, members);
        step.learning_rate = (float)rate_of(t, i);
        step.weight_decay = (float)decay_of(t, i);
        t->kernels.adamw(p.weight, p.moment1, p.moment2, p.gradient, p.count, &step);
    }
}

static void update_sgd(struct dvit_trainer *t, double scale, int member, int members)
{
    struct dvit_sgd_step step = {
        .momentum = (float)t->options.momentum,
        .gradient_scale = (float)scale,
        .nesterov = t->options.nesterov,
    };
    for (size_t i = 0; i < t->model->parameters.count; i++) {
        if (!t->trained[i])
            continue;
        struct piece p = piece_of(t, i, member, members);
        step.learning_rate = (float)rate_of(t, i);
        step.weight_decay = (float)decay_of(t, i);
        t->kernels.sgd(p.weight, p.moment1, p.gradient, p.count, &step);
    }
}

/* ‖w‖/‖u‖ of one parameter, 1 where either is 0 or the parameter does not decay. */
static double trust_of(const struct dvit_trainer *t, size_t index, int members)
{
    size_t count = t->model->parameters.count;
    double weight = 0, direction = 0;
    for (int m = 0; m < members; m++) {
        weight += t->norms[2 * ((size_t)m * count + index)];
        direction += t->norms[2 * ((size_t)m * count + index) + 1];
    }
    if (decay_of(t, index) == 0 || weight == 0 || direction == 0)
        return 1;
    return sqrt(weight / direction);
}

/* Directions take the gradients' place; the norms of whole parameters need everyone's share. */
static void update_lamb(struct dvit_trainer *t, double scale, int member, int members)
{
    struct dvit_adamw_step step = adam_step(t, scale);
    size_t count = t->model->parameters.count;
    for (size_t i = 0; i < count; i++) {
        if (!t->trained[i])
            continue;
        struct piece p = piece_of(t, i, member, members);
        double *norms = &t->norms[2 * ((size_t)member * count + i)];
        step.weight_decay = (float)decay_of(t, i);
        t->kernels.lamb_direction(p.gradient, p.moment1, p.moment2, p.weight, p.count, &step);
        norms[0] = t->kernels.sum_squares(p.weight, p.count);
        norms[1] = t->kernels.sum_squares(p.gradient, p.count);
    }
    dvit_threads_barrier(t->threads);
    for (size_t i = 0; i < count; i++) {
        double rate = rate_of(t, i);
        if (!t->trained[i] || rate == 0)
            continue;
        struct piece p = piece_of(t, i, member, members);
        t->kernels.add_scaled(p.weight, p.weight, p.gradient,
                              (float)(-rate * trust_of(t, i, members)), p.count);
    }
}

static void update_average(struct dvit_trainer *t, int member, int members)
{
    const struct dvit_parameters *parameters = &t->model->parameters;
    for (size_t i = 0; t->average && i < parameters->count; i++) {
        struct piece p = piece_of(t, i, member, members);
        float *average = t->average->weights + (p.weight - t->model->weights);
        t->kernels.ema(average, p.weight, (float)t->options.ema_decay, p.count);
    }
}

static void update_share(struct dvit_trainer *t, double scale, int member, int members)
{
    switch (t->optimizer) {
    case DVIT_OPTIMIZER_ADAMW:
        update_adamw(t, scale, member, members);
        break;
    case DVIT_OPTIMIZER_LAMB:
        update_lamb(t, scale, member, members);
        break;
    case DVIT_OPTIMIZER_SGD:
        update_sgd(t, scale, member, members);
        break;
    }
    update_average(t, member, members);
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

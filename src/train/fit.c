/* Options against the length of the run: those left to fit are chosen, those that do not fit are
 * told. One place knows all steps; nothing else compares epochs with steps. */
#include <math.h>
#include <stdio.h>

#include "base/decimal.h"
#include "train/options.h"

/* Of a run that is long enough. */
static const double usual_epochs = 5, usual_decay = .9999;
/* The largest share of a run that warm-up and freezing take by themselves. */
static const double most_of_run = .25;
/* The largest share of the first weights in the average at the end. */
static const double most_left = .01;

/* Rounded, so that other mathematical libraries choose the same. */
static double fitting_decay(long total_steps)
{
    double decay = exp(log(most_left) / (double)(total_steps > 1 ? total_steps : 1));
    return fmin(usual_decay, floor(1e6 * decay) / 1e6);
}

void dvit_train_options_fit(struct dvit_train_options *o, long total_steps)
{
    double epochs = fmin(usual_epochs, most_of_run * o->epochs);
    if (o->warmup_epochs == DVIT_TRAIN_FIT)
        o->warmup_epochs = epochs;
    if (o->backbone_freeze_epochs == DVIT_TRAIN_FIT)
        o->backbone_freeze_epochs = epochs;
    if (o->ema_decay == DVIT_TRAIN_FIT)
        o->ema_decay = fitting_decay(total_steps);
}

/* ---- sentences ---- */

/* Epochs in the words of the run: its own, or steps where a limit ends it sooner. */
static void length_of(const struct dvit_train_plan *p, char text[40])
{
    if (p->last_step < p->total_steps)
        snprintf(text, 40, "%ld steps", p->last_step);
    else
        snprintf(text, 40, "%d epochs", p->used->epochs);
}

static bool note_warmup(const struct dvit_train_plan *p, char text[300])
{
    const struct dvit_train_options *o = p->used;
    char length[40];
    long warmup = (long)(o->warmup_epochs * (double)p->steps_per_epoch);
    length_of(p, length);
    if (warmup > 1 && warmup >= p->last_step) {
        double reached = dvit_schedule_rate(o->learning_rate, o->min_learning_rate,
                                            p->last_step - 1, warmup, p->total_steps);
        dvit_decimal_format(
            text, 300,
            "warning: the warm-up of %g epochs is not over at the end of the run of "
            "%s: the learning rate reaches %.3g, not %.3g (--warmup-epochs)",
            o->warmup_epochs, length, reached, o->learning_rate);
        return true;
    }
    if (p->asked->warmup_epochs != DVIT_TRAIN_FIT || o->warmup_epochs >= usual_epochs)
        return false;
    dvit_decimal_format(text, 300,
                        "warm-up: %g epochs instead of %g, a quarter of the run of %d epochs "
                        "(--warmup-epochs)",
                        o->warmup_epochs, usual_epochs, o->epochs);
    return true;
}

static bool note_freeze(const struct dvit_train_plan *p, char text[300])
{
    const struct dvit_train_options *o = p->used;
    char length[40];
    long freeze = (long)(o->backbone_freeze_epochs * (double)p->steps_per_epoch);
    if (!p->has_backbone_to_freeze || freeze == 0)
        return false;
    length_of(p, length);
    if (freeze >= p->last_step) {
        dvit_decimal_format(text, 300,
                            "warning: the backbone is frozen for %g epochs, the run has %s: it "
                            "never moves (--freeze-epochs)",
                            o->backbone_freeze_epochs, length);
        return true;
    }
    if (p->asked->backbone_freeze_epochs != DVIT_TRAIN_FIT ||
        o->backbone_freeze_epochs >= usual_epochs)
        return false;
    dvit_decimal_format(text, 300,
                        "the backbone is frozen for %g epochs instead of %g, a quarter of the run "
                        "of %d epochs (--freeze-epochs)",
                        o->backbone_freeze_epochs, usual_epochs, o->epochs);
    return true;
}

static bool note_average(const struct dvit_train_plan *p, char text[300])
{
    double decay = p->used->ema_decay;
    double left = pow(decay, (double)p->last_step);
    if (decay > 0 && left > .3 && p->last_step > 1) {
        dvit_decimal_format(text, 300,
                            "warning: after %ld steps at an EMA decay of %g, %.0f %% of the "
                            "averaged weights are those of the start (--ema)",
                            p->last_step, decay, 100 * left);
        return true;
    }
    if (p->asked->ema_decay != DVIT_TRAIN_FIT || decay >= usual_decay)
        return false;
    dvit_decimal_format(text, 300, "EMA decay: %g instead of %g, for a run of %ld steps (--ema)",
                        decay, usual_decay, p->total_steps);
    return true;
}

static bool note_limit(const struct dvit_train_plan *p, char text[300])
{
    const struct dvit_train_options *o = p->used;
    if (p->last_step >= p->total_steps)
        return false;
    long warmup = (long)(o->warmup_epochs * (double)p->steps_per_epoch);
    dvit_decimal_format(text, 300,
                        "--max-steps ends the run after %ld of %ld steps; the schedule is that of "
                        "all %d epochs, and the learning rate still %.3g at the end",
                        p->last_step, p->total_steps, o->epochs,
                        dvit_schedule_rate(o->learning_rate, o->min_learning_rate, p->last_step - 1,
                                           warmup, p->total_steps));
    return true;
}

bool dvit_train_plan_note(const struct dvit_train_plan *plan, int index, char text[300])
{
    static bool (*const notes[])(const struct dvit_train_plan *,
                                 char[300]) = {note_warmup, note_freeze, note_average, note_limit};
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        if (notes[i](plan, text) && index-- == 0)
            return true;
    return false;
}

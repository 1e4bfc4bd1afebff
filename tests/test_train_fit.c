/* Options against the length of the run: what is left to fit is chosen, what does not fit is told.
 */
#include "test_util.h"

#include <math.h>

#include "train/options.h"

static struct dvit_train_plan plan_of(const struct dvit_train_options *asked,
                                      struct dvit_train_options *used, long steps_per_epoch,
                                      long limit)
{
    long total = steps_per_epoch * asked->epochs;
    *used = *asked;
    dvit_train_options_fit(used, total);
    return (struct dvit_train_plan){.asked = asked,
                                    .used = used,
                                    .steps_per_epoch = steps_per_epoch,
                                    .total_steps = total,
                                    .last_step = limit ? limit : total,
                                    .has_backbone_to_freeze = true};
}

static bool says(const struct dvit_train_plan *plan, const char *words)
{
    char text[300];
    for (int i = 0; dvit_train_plan_note(plan, i, text); i++)
        if (strstr(text, words))
            return true;
    return false;
}

static int notes(const struct dvit_train_plan *plan)
{
    char text[300];
    int count = 0;
    while (dvit_train_plan_note(plan, count, text))
        count++;
    return count;
}

static void a_long_run_has_the_usual(void **state)
{
    (void)state;
    struct dvit_train_options asked = dvit_train_options_sparsify(), used;
    struct dvit_train_plan plan = plan_of(&asked, &used, 2000, 0);
    assert_true(used.warmup_epochs == 5 && used.backbone_freeze_epochs == 5);
    assert_true(used.ema_decay == .9999);
    assert_int_equal(notes(&plan), 0);
}

static void a_short_run_has_what_fits(void **state)
{
    (void)state;
    struct dvit_train_options asked = dvit_train_options_sparsify(), used;
    asked.epochs = 3;
    struct dvit_train_plan plan = plan_of(&asked, &used, 200, 0);
    assert_true(used.warmup_epochs == .75 && used.backbone_freeze_epochs == .75);
    assert_true(pow(used.ema_decay, 600) < .0101 && pow(used.ema_decay, 600) > .009);
    assert_int_equal(notes(&plan), 3);
    assert_true(says(&plan, "warm-up: 0.75 epochs instead of 5"));
    assert_true(says(&plan, "frozen for 0.75 epochs instead of 5"));
    assert_true(says(&plan, "EMA decay: "));
    for (long steps = 1; steps < 40; steps++) { /* always in its range */
        plan = plan_of(&asked, &used, steps, 0);
        assert_true(used.ema_decay > 0 && used.ema_decay < 1);
    }
    asked = dvit_train_options_dense();
    asked.epochs = 1;
    plan = plan_of(&asked, &used, 1, 0);
    assert_true(used.ema_decay > 0 && used.backbone_freeze_epochs == 0);
}

static void what_was_asked_for_stays_and_is_told(void **state)
{
    (void)state;
    struct dvit_train_options asked = dvit_train_options_sparsify(), used;
    asked.epochs = 3;
    asked.warmup_epochs = asked.backbone_freeze_epochs = 5;
    asked.ema_decay = .9999;
    struct dvit_train_plan plan = plan_of(&asked, &used, 200, 0);
    assert_true(used.warmup_epochs == 5 && used.backbone_freeze_epochs == 5);
    assert_true(used.ema_decay == .9999);
    assert_int_equal(notes(&plan), 3);
    assert_true(says(&plan, "warning: the warm-up of 5 epochs is not over at the end of the run of "
                            "3 epochs: the learning rate reaches 0.0006, not 0.001"));
    assert_true(says(&plan, "it never moves"));
    assert_true(says(&plan, "94 % of the averaged weights"));
    plan.has_backbone_to_freeze = false;
    assert_int_equal(notes(&plan), 2);
    asked.warmup_epochs = 1;
    asked.ema_decay = .99;
    plan = plan_of(&asked, &used, 200, 0);
    plan.has_backbone_to_freeze = false;
    assert_int_equal(notes(&plan), 0);
}

/* A limit of steps ends the run, and does not shorten its schedule. */
static void a_limit_of_steps_is_told(void **state)
{
    (void)state;
    struct dvit_train_options asked = dvit_train_options_dense(), used;
    struct dvit_train_plan plan = plan_of(&asked, &used, 2000, 100);
    assert_true(says(&plan, "ends the run after 100 of 60000 steps"));
    assert_true(says(&plan, "the run of 100 steps: the learning rate reaches 9.9e-06"));
    assert_true(says(&plan, "99 % of the averaged weights"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_run_has_the_usual),
        cmocka_unit_test(a_short_run_has_what_fits),
        cmocka_unit_test(what_was_asked_for_stays_and_is_told),
        cmocka_unit_test(a_limit_of_steps_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

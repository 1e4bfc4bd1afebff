/* `dvit sparsify`: pruning stages for a dense model, learnt with the dense model as teacher. */
#include <stddef.h>

#include "training_run.h"
#include "training_signals.h"
#include "workbench.h"

/* How many stages, from --stages, --stage-blocks and what the model has; 0 after an error. */
static int choose_stages(const struct cli_options *options, const struct dvit_config *config)
{
    int listed = options->stage_blocks.count;
    if (options->stages && listed && options->stages != listed) {
        cli_error("--stage-blocks names %d blocks, expected %d as --stages says", listed,
                  options->stages);
        return 0;
    }
    if (listed)
        return listed;
    if (options->stages)
        return options->stages;
    return config->stages ? config->stages : 3;
}

static int open_teacher(struct dvit_model **out, const struct dvit_model *student,
                        struct cli_options *options)
{
    *out = NULL;
    if (options->teacher)
        return cli_training_teacher(out, student, options);
    return cli_training_check_teacher(student, options);
}

/* A head of random weights has nothing to teach about classes. */
static void tell_new_head(struct cli_options *options)
{
    bool own_teacher = !options->teacher && options->train.weight_kl > 0;
    cli_note("the new head learns at %g of --lr (--backbone-lr-scale)%s",
             options->train.backbone_lr_scale,
             own_teacher ? "; it has nothing to teach yet, so --w-kl is 0. Better: train it first "
                           "with `dvit train`, or name a --teacher"
                         : "");
    if (own_teacher)
        options->train.weight_kl = 0;
}

/* One ratio, or a span of them for elastic training and one in it to record. */
static void choose_keep(struct cli_options *options)
{
    double usual = options->train.keep;
    struct cli_span span = options->keep_span;
    bool holds = span.low <= usual && usual <= span.high;
    options->train.keep = holds ? usual : (span.low + span.high) / 2;
    options->train.elastic_low = span.low < span.high ? span.low : 0;
    options->train.elastic_high = span.low < span.high ? span.high : 0;
}

/* --pruning, and the one ratio of a model that pools. */
static int choose_pruning(struct cli_options *options, struct dvit_model *dense)
{
    struct dvit_error error = {0};
    enum dvit_pruning pruning = dvit_model_config(dense)->pruning;
    struct dvit_train_options usual = dvit_train_options_sparsify();
    struct cli_span span = options->keep_span;
    if (options->pruning && dvit_pruning_parse(options->pruning, &pruning, &error) != DVIT_OK)
        return cli_fail(&error);
    if (dvit_model_set_pruning(dense, pruning, &error) != DVIT_OK)
        return cli_fail(&error);
    if (pruning == DVIT_PRUNING_POOL && span.low == usual.keep && span.high == usual.keep)
        options->train.keep = DVIT_POOL_KEEP;
    return CLI_EXIT_OK;
}

int cli_cmd_sparsify(const struct cli_options *given)
{
    struct dvit_error error = {0};
    struct cli_options own = *given;
    const struct cli_options *options = &own;
    choose_keep(&own);
    struct dvit_model *dense = NULL, *teacher = NULL, *model = NULL;
    struct cli_training_data data = {0};
    int stages = 0;
    bool new_head = false;
    int code = cli_signals_start();
    if (code == CLI_EXIT_OK)
        code = cli_training_start(&dense, &new_head, &data, options);
    if (code == CLI_EXIT_OK && new_head)
        tell_new_head(&own);
    if (code == CLI_EXIT_OK)
        code = choose_pruning(&own, dense);
    if (code == CLI_EXIT_OK) {
        stages = choose_stages(options, dvit_model_config(dense));
        code = stages ? open_teacher(&teacher, dense, &own) : CLI_EXIT_USAGE;
    }
    if (code == CLI_EXIT_OK &&
        dvit_model_sparsify(&model, dense, stages,
                            options->stage_blocks.count ? options->stage_blocks.values : NULL,
                            options->train.keep, options->seed, &error) != DVIT_OK)
        code = cli_fail(&error);
    if (code == CLI_EXIT_OK) {
        const struct dvit_model *parent = dvit_model_config(dense)->stages == 0 ? dense : NULL;
        code = cli_training_run(model, teacher ? teacher : parent, &data, options);
    }
    cli_training_close(&data);
    dvit_model_free(model);
    dvit_model_free(teacher);
    dvit_model_free(dense);
    return code;
}

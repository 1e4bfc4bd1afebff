/* `dvit sparsify`: pruning stages for a dense model, learnt with the dense model as teacher. */
#include <stddef.h>

#include "training_run.h"
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

static int open_teacher(struct dvit_model **out, const struct dvit_config *config,
                        const struct cli_options *options)
{
    struct dvit_error error = {0};
    *out = NULL;
    if (options->teacher)
        return dvit_model_load(out, options->teacher, NULL, &error) == DVIT_OK ? CLI_EXIT_OK
                                                                         : cli_fail(&error);
    if (config->stages > 0 && (options->train.weight_kl > 0 || options->train.weight_token > 0)) {
        cli_error("\"%s\" is a dynamic model already and no teacher: name its dense model with "
                  "--teacher FILE, or do without with --w-kl 0 --w-token 0",
                  options->model);
        return CLI_EXIT_USAGE;
    }
    return CLI_EXIT_OK;
}

int cli_cmd_sparsify(const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_model *dense = NULL, *teacher = NULL, *model = NULL;
    struct cli_training_data data = {0};
    int stages = 0;
    int code = cli_model_open(&dense, options->model, options, 0, false);
    if (code == CLI_EXIT_OK) {
        stages = choose_stages(options, dvit_model_config(dense));
        code = stages ? open_teacher(&teacher, dvit_model_config(dense), options) : CLI_EXIT_USAGE;
    }
    if (code == CLI_EXIT_OK &&
        dvit_model_sparsify(&model, dense, stages,
                            options->stage_blocks.count ? options->stage_blocks.values : NULL,
                            options->train.keep, options->seed, &error) != DVIT_OK)
        code = cli_fail(&error);
    if (code == CLI_EXIT_OK)
        code = cli_training_open(&data, options, dvit_model_config(model)->image_width);
    if (code == CLI_EXIT_OK)
        code = cli_make_folder(options->train.out);
    if (code == CLI_EXIT_OK) {
        const struct dvit_model *own = dvit_model_config(dense)->stages == 0 ? dense : NULL;
        code = cli_training_run(model, teacher ? teacher : own, &data, options);
    }
    cli_training_close(&data);
    dvit_model_free(model);
    dvit_model_free(teacher);
    dvit_model_free(dense);
    return code;
}

/* `dvit train`: a dense vision transformer from labelled images. */
#include <string.h>

#include "training_run.h"
#include "training_signals.h"
#include "workbench.h"

/* A new model of random weights for the data set; training gives it labels and preprocessing. */
static int create_model(struct dvit_model **out, struct dvit_config *config, bool names_classes,
                        const struct dvit_dataset *set, const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_load_options load = cli_load_options(options, 0, options->model);
    if (!names_classes)
        config->classes = dvit_dataset_classes(set);
    if (cli_model_create(out, config, &load, &error) != DVIT_OK)
        return cli_fail(&error);
    cli_note("\"%s\": a new model of %zu parameters for %d classes, random weights from seed %llu",
             options->model, dvit_model_parameters(*out), dvit_model_config(*out)->classes,
             (unsigned long long)options->seed);
    return CLI_EXIT_OK;
}

/* Without a teacher nothing is distilled; of a dense model that is what one expects. */
static void learn_from_labels(const struct dvit_model *model, struct cli_options *options)
{
    options->train.weight_kl = options->train.weight_token = 0;
    if (dvit_model_config(model)->stages > 0)
        cli_note("\"%s\" is a dynamic model and no --teacher is named: it learns from the labels "
                 "alone (--w-kl 0 --w-token 0)",
                 options->model);
}

int cli_cmd_train(const struct cli_options *given)
{
    struct cli_options own = *given;
    const struct cli_options *options = &own;
    struct dvit_error error = {0};
    struct dvit_config config;
    struct dvit_model *model = NULL, *teacher = NULL;
    struct cli_training_data data = {0};
    bool new_head = false;
    bool is_text = strncmp(options->model, "vit:", 4) == 0;
    bool names_classes = is_text && strstr(options->model, "classes=") != NULL;
    bool is_new = !cli_is_model_file(options->model) &&
                  dvit_config_parse(options->model, &config, &error) == DVIT_OK;
    if (!is_new && is_text && !cli_is_model_file(options->model))
        return cli_fail(&error);
    int side = options->image_size.width;
    int code = cli_signals_start();
    if (code == CLI_EXIT_OK)
        code = is_new ? cli_training_open(&data, options, side ? side : config.image_width)
                      /* a file, or nothing: the library says what it could have been */
                      : cli_training_start(&model, &new_head, &data, options);
    if (code == CLI_EXIT_OK && is_new)
        code = create_model(&model, &config, names_classes, data.train, options);
    if (code == CLI_EXIT_OK && options->teacher)
        code = cli_training_teacher(&teacher, model, &own);
    else if (code == CLI_EXIT_OK)
        learn_from_labels(model, &own);
    if (code == CLI_EXIT_OK)
        code = cli_training_run(model, teacher, &data, options);
    cli_training_close(&data);
    dvit_model_free(teacher);
    dvit_model_free(model);
    return code;
}

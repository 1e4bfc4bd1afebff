/* `dvit train`: a dense vision transformer from labelled images. */
#include <string.h>

#include "training_run.h"
#include "workbench.h"

/* A new model of random weights for the data set; training gives it labels and preprocessing. */
static int create_model(struct dvit_model **out, struct dvit_config *config, bool names_classes,
                        const struct dvit_dataset *set, const struct cli_options *options)
{
    struct dvit_error error = {0};
    if (!names_classes)
        config->classes = dvit_dataset_classes(set);
    if (dvit_model_create(out, config, options->seed, &error) != DVIT_OK)
        return cli_fail(&error);
    cli_note("\"%s\": a new model of %zu parameters for %d classes, random weights from seed %llu",
             options->model, dvit_model_parameters(*out), config->classes,
             (unsigned long long)options->seed);
    return CLI_EXIT_OK;
}

int cli_cmd_train(const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_config config;
    struct dvit_model *model = NULL;
    struct cli_training_data data = {0};
    int code = CLI_EXIT_OK;
    bool is_text = strncmp(options->model, "vit:", 4) == 0;
    bool names_classes = is_text && strstr(options->model, "classes=") != NULL;
    bool is_new = !cli_is_file(options->model) &&
                  dvit_config_parse(options->model, &config, &error) == DVIT_OK;
    if (!is_new && is_text && !cli_is_file(options->model))
        return cli_fail(&error);
    if (!is_new) /* a file, or a name that is nothing: the library says what it could have been */
        code = cli_model_open(&model, options->model, options, 0, false);
    if (code == CLI_EXIT_OK && !is_new)
        config = *dvit_model_config(model);
    if (code == CLI_EXIT_OK)
        code = cli_training_open(&data, options, config.image_width);
    if (code == CLI_EXIT_OK && is_new)
        code = create_model(&model, &config, names_classes, data.train, options);
    if (code == CLI_EXIT_OK)
        code = cli_make_folder(options->train.out);
    if (code == CLI_EXIT_OK)
        code = cli_training_run(model, NULL, &data, options);
    cli_training_close(&data);
    dvit_model_free(model);
    return code;
}

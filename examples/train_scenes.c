/* Trains a small dense model on rendered scenes, then makes it dynamic: the whole way in one file.
 *
 *     train_scenes FOLDER [EPOCHS]
 *
 * Writes FOLDER/dense and FOLDER/pruned, each a run folder with best.safetensors in it, and prints
 * the accuracy after every epoch. */
#include <stdio.h>
#include <stdlib.h>

#include "dvit/dvit.h"

static void report(void *context, const struct dvit_train_event *event)
{
    if (event->kind == DVIT_TRAIN_EVALUATED)
        printf("%s, epoch %d: %.1f %% right\n", (const char *)context, event->epoch + 1,
               100 * event->val_top1);
}

/* The two splits, shared by both runs. */
struct scenes {
    struct dvit_dataset *train, *validation;
};

static enum dvit_status open_scenes(struct scenes *scenes, struct dvit_error *error)
{
    static const char spec[] = "builtin:scenes,image=32,classes=4,train=512,val=128";
    enum dvit_status status = dvit_dataset_open(&scenes->train, spec, "train", NULL, error);
    if (status == DVIT_OK)
        status = dvit_dataset_open(&scenes->validation, spec, "val", NULL, error);
    return status;
}

static enum dvit_status train(struct dvit_model *model, const struct dvit_model *teacher,
                              const struct scenes *scenes, struct dvit_train_options options,
                              const char *folder, char *name, int epochs, struct dvit_error *error)
{
    char out[4096];
    snprintf(out, sizeof out, "%s/%s", folder, name);
    options.out = out;
    options.epochs = epochs;
    options.batch = 32;
    options.warmup_epochs = 0.5;
    options.backbone_freeze_epochs = 0;
    options.ema_decay = 0;
    return dvit_train(model, teacher, scenes->train, scenes->validation, &options, report, name,
                      NULL, error);
}

static enum dvit_status run(const char *folder, int epochs, struct dvit_error *error)
{
    struct scenes scenes = {0};
    struct dvit_config config;
    struct dvit_model *dense = NULL, *pruned = NULL;
    enum dvit_status status = open_scenes(&scenes, error);
    if (status == DVIT_OK)
        status = dvit_config_parse("vit:dim=48,depth=4,heads=3,patch=4,image=32,classes=4", &config,
                                   error);
    if (status == DVIT_OK)
        status = dvit_model_create(&dense, &config, 0, error);
    if (status == DVIT_OK)
        status =
            train(dense, NULL, &scenes, dvit_train_options_dense(), folder, "dense", epochs, error);
    if (status == DVIT_OK)
        status = dvit_model_sparsify(&pruned, dense, 3, NULL, 0.7, 0, error);
    if (status == DVIT_OK)
        status = train(pruned, dense, &scenes, dvit_train_options_sparsify(), folder, "pruned",
                       epochs, error);
    dvit_model_free(pruned);
    dvit_model_free(dense);
    dvit_dataset_free(scenes.train);
    dvit_dataset_free(scenes.validation);
    return status;
}

int main(int count, char **arguments)
{
    struct dvit_error error = {0};
    char *end = NULL;
    long epochs = count == 3 ? strtol(arguments[2], &end, 10) : 4;
    if (count < 2 || count > 3 || (end && (*end || epochs < 1 || epochs > 1000))) {
        fprintf(stderr, "usage: train_scenes FOLDER [EPOCHS]\n");
        return 2;
    }
    if (run(arguments[1], (int)epochs, &error) != DVIT_OK) {
        fprintf(stderr, "train_scenes: %s\n", error.message);
        return 1;
    }
    return 0;
}

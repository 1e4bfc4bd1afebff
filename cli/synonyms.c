/* Words of timm, DeiT, DynamicViT, Hugging Face, Lightning, torchvision and YOLO for what dvit has
 * under another name. A row without advice is read as its option, and told; one with advice is an
 * error that gives it, because the value means something else here. */
#include "synonyms.h"

#include <string.h>

#define DEVICE                                                                                     \
    "dvit computes on the processor: leave it out; --threads and --cpu say on how many cores and " \
    "with which instructions"
#define HALF                                                                                       \
    "bfloat16 products are --precision bf16, or --precision auto where the processor has them"
#define NOT_16   "there is no 16-bit float besides bfloat16: --precision bf16"
#define DEFAULT  "leave it out: dvit does so anyway"
#define SCHEDULE "leave it out: the schedule is a cosine after --warmup-epochs, down to --min-lr"
#define OWN_PLACE                                                                                  \
    "leave it out: a run folder (--out) has log.jsonl, log.csv and TensorBoard's events"

static const struct cli_synonym rows[] = {
    /* the work */
    {"batch-size", "batch", NULL},
    {"bs", "batch", NULL},
    {"train-batch-size", "batch", NULL},
    {"eval-batch-size", "batch", "--batch counts for training and evaluation alike"},
    {"per-device-train-batch-size", "batch", NULL},
    {"per-device-eval-batch-size", "batch", "--batch counts for training and evaluation alike"},
    {"b", "batch", "options begin with two dashes: --batch N"},
    {"num-epochs", "epochs", NULL},
    {"num-train-epochs", "epochs", NULL},
    {"max-epochs", "epochs", NULL},
    {"nb-epochs", "epochs", NULL},
    {"num-workers", "workers", NULL},
    {"dataloader-num-workers", "workers", NULL},
    {"j", "workers", "options begin with two dashes: --workers N"},
    {"num-threads", "threads", NULL},
    {"nproc", "threads", NULL},
    {"random-seed", "seed", NULL},
    {"manual-seed", "seed", NULL},
    {"update-freq", "accumulate", NULL},
    {"accum-iter", "accumulate", NULL},
    {"grad-accum-steps", "accumulate", NULL},
    {"gradient-accumulation-steps", "accumulate", NULL},
    {"accumulate-grad-batches", "accumulate", NULL},
    {"steps", "max-steps", NULL},
    {"num-steps", "max-steps", NULL},
    {"max-iters", "max-steps", NULL},
    {"num-samples", "limit", NULL},
    {"max-samples", "limit", NULL},
    {"topk", "top", NULL},
    {"k", "top", "options begin with two dashes: --top K"},

    /* places */
    {"output-dir", "out", NULL},
    {"output", "out", NULL},
    {"outdir", "out", NULL},
    {"out-dir", "out", NULL},
    {"save-dir", "out", NULL},
    {"save-path", "out", NULL},
    {"work-dir", "out", NULL},
    {"logdir", "out", NULL},
    {"log-dir", "out", NULL},
    {"o", "out", "options begin with two dashes: --out FOLDER"},
    {"data-path", "data", NULL},
    {"data-dir", "data", NULL},
    {"data-root", "data", NULL},
    {"dataset", "data", NULL},
    {"dataset-path", "data", NULL},
    {"train-dir", "data", "--data takes the folder that has train/ and val/"},
    {"val-dir", "data", "--data takes the folder that has train/ and val/"},
    {"data-set", "data", "--data takes a folder, of images or of CIFAR's binary files"},
    {"calib-data", "calibrate", NULL},
    {"calibration-data", "calibrate", NULL},
    {"labels", "labels-file", NULL},
    {"class-map", "labels-file", NULL},

    /* models */
    {"weights", "model", NULL},
    {"checkpoint", "model", NULL},
    {"checkpoint-path", "model", NULL},
    {"ckpt", "model", NULL},
    {"ckpt-path", "model", NULL},
    {"model-path", "model", NULL},
    {"model-name", "model", NULL},
    {"model-name-or-path", "model", NULL},
    {"initial-checkpoint", "model", NULL},
    {"pretrained-path", "model", NULL},
    {"finetune", "model", NULL},
    {"arch", "model", NULL},
    {"m", "model", "options begin with two dashes: --model MODEL"},
    {"pretrained", "model", "dvit downloads nothing: give the file of the weights, --model FILE"},
    {"teacher-model", "teacher", NULL},
    {"teacher-path", "teacher", NULL},
    {"img-size", "image-size", NULL},
    {"imgsz", "image-size", NULL},
    {"input-size", "image-size", NULL},
    {"resolution", "image-size", NULL},
    {"num-classes", "classes", NULL},
    {"nb-classes", "classes", NULL},
    {"num-labels", "classes", NULL},
    {"num-heads", "heads", NULL},
    {"use-ema", "average", NULL},

    /* pruning */
    {"keep-ratio", "keep", NULL},
    {"keep-rate", "keep", NULL},
    {"base-rate", "keep", NULL},
    {"token-ratio", "keep", NULL},
    {"pruning-loc", "stage-blocks", NULL},
    {"prune-rate", "keep", "--keep is the share of patches that stays, 1 minus the rate"},
    {"prune-ratio", "keep", "--keep is the share of patches that stays, 1 minus the ratio"},
    {"drop-ratio", "keep", "--keep is the share of patches that stays, 1 minus the ratio"},
    {"sparsity", "keep", "--keep is the share of patches that stays, 1 minus the sparsity"},

    /* optimisation */
    {"learning-rate", "lr", NULL},
    {"lr0", "lr", NULL},
    {"blr", "lr", "--lr is the rate itself, whatever the batch"},
    {"lr-scale", "backbone-lr-scale", NULL},
    {"opt", "optimizer", NULL},
    {"optim", "optimizer", NULL},
    {"optimiser", "optimizer", NULL},
    {"wd", "weight-decay", NULL},
    {"warmup", "warmup-epochs", NULL},
    {"num-warmup-epochs", "warmup-epochs", NULL},
    {"warmup-steps", "warmup-epochs", "--warmup-epochs counts epochs, also fractions: 0.5"},
    {"clip-grad", "clip", NULL},
    {"clip-grad-norm", "clip", NULL},
    {"grad-clip", "clip", NULL},
    {"max-grad-norm", "clip", NULL},
    {"gradient-clip-val", "clip", NULL},
    {"model-ema-decay", "ema", NULL},
    {"ema-decay", "ema", NULL},
    {"model-ema", "ema", "--ema X is the decay of averaged weights, 0 turns averaging off"},
    {"no-ema", "ema", "--ema 0 turns averaging off"},
    {"label-smoothing", "smoothing", NULL},
    {"drop-path-rate", "drop-path", NULL},
    {"layerwise-decay", "layer-decay", NULL},
    {"sched", NULL, SCHEDULE},
    {"scheduler", NULL, SCHEDULE},
    {"lr-scheduler", NULL, SCHEDULE},
    {"lr-scheduler-type", NULL, SCHEDULE},

    /* images */
    {"aa", "rand-augment", NULL},
    {"auto-augment", "rand-augment", NULL},
    {"randaugment", "rand-augment", NULL},
    {"reprob", "erasing", NULL},
    {"random-erase", "erasing", NULL},
    {"random-erasing", "erasing", NULL},
    {"mixup-alpha", "mixup", NULL},
    {"cutmix-alpha", "cutmix", NULL},
    {"aug-repeats", "repeated", NULL},
    {"no-aug", "no-augment", NULL},
    {"hflip", "no-flip", "images are mirrored half of the time; --no-flip turns that off"},

    /* the run */
    {"log-interval", "log-every", NULL},
    {"print-freq", "log-every", NULL},
    {"logging-steps", "log-every", NULL},
    {"save-steps", "checkpoint-every", NULL},
    {"checkpoint-hist", "keep-checkpoints", NULL},
    {"save-total-limit", "keep-checkpoints", NULL},
    {"resume-from-checkpoint", "resume", "--resume takes no value: it goes on in --out"},
    {"auto-resume", "resume", NULL},
    {"evaluate", NULL, "`dvit eval` tells the accuracy of a model"},
    {"validate", NULL, "`dvit eval` tells the accuracy of a model"},
    {"eval", NULL, "`dvit eval` tells the accuracy of a model"},
    {"test", NULL, "`dvit eval` tells the accuracy of a model"},
    {"tensorboard", NULL, OWN_PLACE},
    {"log-wandb", NULL, OWN_PLACE},
    {"wandb", NULL, OWN_PLACE},

    /* the machine */
    {"dtype", "precision", NULL},
    {"amp", "precision", HALF},
    {"use-amp", "precision", HALF},
    {"bf16", "precision", HALF},
    {"mixed-precision", "precision", HALF},
    {"fp16", "precision", NOT_16},
    {"half", "precision", NOT_16},
    {"int8", "precision", "--precision int8 runs a model that `dvit quantize` has made"},
    {"device", NULL, DEVICE},
    {"gpu", NULL, DEVICE},
    {"gpus", NULL, DEVICE},
    {"cuda", NULL, DEVICE},
    {"accelerator", NULL, DEVICE},
    {"devices", NULL, DEVICE},
    {"pin-mem", NULL, DEFAULT},
    {"channels-last", NULL, DEFAULT},
    {"deterministic", NULL, "leave it out: the same --seed and --threads give the same bits"},
    {"verbose", NULL, "leave it out: progress is shown; --quiet turns it off"},
    {"v", NULL, "the version is `dvit --version`; progress is shown without an option"},
    {"q", "quiet", "options begin with two dashes: --quiet"},
};

const struct cli_synonym *cli_synonym_at(size_t index)
{
    return index < sizeof rows / sizeof *rows ? &rows[index] : NULL;
}

const struct cli_synonym *cli_synonym_find(const char *word, size_t length, enum cli_verb_id verb)
{
    const struct cli_synonym *any = NULL, *row;
    for (size_t i = 0; (row = cli_synonym_at(i)) != NULL; i++) {
        if (strlen(row->word) != length || memcmp(row->word, word, length) != 0)
            continue;
        if (row->option && cli_option_find(row->option, strlen(row->option), verb))
            return row;
        if (!any || (!row->option && any->option))
            any = row;
    }
    return any;
}

const char *cli_synonym_command(const char *word)
{
    static const char *const commands[][2] = {
        {"predict", "classify"},   {"infer", "classify"},     {"inference", "classify"},
        {"detect", "classify"},    {"evaluate", "eval"},      {"validate", "eval"},
        {"validation", "eval"},    {"val", "eval"},           {"test", "eval"},
        {"finetune", "train"},     {"fit", "train"},          {"fine-tune", "train"},
        {"prune", "sparsify"},     {"sparse", "sparsify"},    {"distill", "sparsify"},
        {"export", "convert"},     {"save", "convert"},       {"quantise", "quantize"},
        {"quant", "quantize"},     {"calibrate", "quantize"}, {"ptq", "quantize"},
        {"benchmark", "bench"},    {"speed", "bench"},        {"profile", "bench"},
        {"compare", "diff"},       {"summary", "info"},       {"inspect", "info"},
        {"show", "info"},          {"dataset", "data"},       {"html", "report"},
        {"tensorboard", "report"}, {"plot", "report"},        {"machine", "cpu"},
        {"system", "cpu"},         {"man", "help"},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i][0]) == 0)
            return commands[i][1];
    return NULL;
}

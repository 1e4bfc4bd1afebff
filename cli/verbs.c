/* The tables of commands and of exit codes. */
#include "cli.h"

#include <assert.h>
#include <limits.h>

#include "command_line.h"

const char *const cli_exit_table[] = {
    [CLI_EXIT_OK] = "done",
    [CLI_EXIT_FAILURE] = "failed: a file, the data, memory or the disk",
    [CLI_EXIT_USAGE] = "the command line is wrong; nothing was done",
    [CLI_EXIT_SOME_FAILED] = "some images could not be read; the others were answered",
    [CLI_EXIT_INTERRUPTED] = "training stopped on request, its state saved; go on with --resume",
    [CLI_EXIT_DIFFERENT] = "`dvit diff`: the files differ",
};
static_assert(sizeof(cli_exit_table) / sizeof(*cli_exit_table) == CLI_EXIT_COUNT,
              "a meaning for each exit code");

const struct cli_verb cli_verbs[] = {
    [VERB_TRAIN] =
        {"train", "[MODEL]", 0, 1, "model", NO_PATH, NO_PATH, "train a dense vision transformer",
         "Trains a vision transformer on labelled images and writes the run folder. With --json "
         "each event is one object on standard output.\n"
         "Ctrl-C or SIGTERM saves the state and stops; the same command with --resume goes on. A "
         "second one ends the program at once. SIGHUP (a closed terminal), SIGUSR2 and SIGXCPU "
         "stop it alike, unless they are ignored when it starts (nohup), and so does the end of "
         "whatever reads its output. SIGUSR1 saves the state, says so, and the training goes "
         "on.\n"
         "The folder keeps best.safetensors, last.safetensors (the same file where they are equal) "
         "and state.safetensors, which only --resume needs: three to four times the model's size. "
         "While the run goes on, good.safetensors is the state that a rollback returns to.\n",
         "dvit train --data builtin:scenes --model vit:dim=96,depth=6,heads=3,patch=8,image=64 "
         "--out runs/dense",
         cli_cmd_train},
    [VERB_SPARSIFY] =
        {"sparsify", "[MODEL]", 0, 1, "model", NO_PATH, NO_PATH,
         "make a dynamic model from a dense one: learn which patches to keep",
         "Adds pruning stages to a trained dense model and trains them, with the dense model as "
         "teacher (DynamicViT). The run folder, signals and --json are as for `dvit train`.\n",
         "dvit sparsify --data builtin:scenes --model runs/dense/best.safetensors --keep 0.7 "
         "--out runs/keep07",
         cli_cmd_sparsify},
    [VERB_EVAL] =
        {"eval", "[MODEL…]", 0, CLI_MAX_TEXTS, "model", NO_PATH, NO_PATH,
         "accuracy, cost and speed of models over a data set",
         "Runs each model at each keep ratio over the data set and prints one table. The speed of "
         "the models alone is then measured in turn, in rounds, so that the speed-ups (against "
         "the first row) are fair.\n"
         "The class folders of --data may be some of the model's classes: they are known by the "
         "model's labels, or by ImageNet ids (n01440764) where it is a model of ImageNet-1k. Where "
         "no name is known, as many folders as classes are matched by rank in byte order, and the "
         "numbers 0 to K-1 are class indices; other numbers are refused. A flat folder of images "
         "takes its labels from --labels-file.\n",
         "dvit eval --model runs/keep07/best.safetensors --data builtin:scenes --keep 1,0.7",
         cli_cmd_eval},
    [VERB_CLASSIFY] =
        {"classify", "IMAGE…", 1, INT_MAX, NULL, PATH_DATA, PATH_DATA,
         "name what is in images, and show what was kept",
         "Prints the best classes of each image, and the patches kept. An operand that is a "
         "folder stands for the images in it and below: JPEG, PNG, WebP, GIF (the first frame), "
         "PNM "
         "and BMP files, by their names or else their content. Every image gets an answer or an "
         "error, also one of another format; one that cannot be read does not stop the others.\n",
         "dvit classify --model runs/keep07/best.safetensors --picture cat.png cat.jpg",
         cli_cmd_classify},
    [VERB_INFO] =
        {"info", "[MODEL]", 0, 1, "model", NO_PATH, NO_PATH,
         "what is in a model file; layers, shapes, cost and memory",
         "Tells everything about a model that does not need data. Costs are multiply-accumulates "
         "of one image, twice: all that is computed, and as the literature counts (without the "
         "predictors' first product).\n"
         "Of a file it also tells the format and what else is stored there. A file of tensors that "
         "is no model is shown too, with the reason on standard error.\n",
         "dvit info deit-s --keep 0.7", cli_cmd_info},
    [VERB_CONVERT] =
        {"convert", "IN OUT", 2, 2, NULL, PATH_MODEL, PATH_OUTPUT,
         "write a model in another format or number type",
         "Reads any model that dvit can read and writes it as one file that is complete: weights, "
         "shape, preprocessing and labels. OUT is a .pth for PyTorch where its name ends in .pth, "
         ".pt, .bin or .pth.tar, otherwise safetensors. Under OUT there is either its former "
         "content or all of the new.\n",
         "dvit convert deit_small_distilled.pth deit.safetensors --dtype bf16", cli_cmd_convert},
    [VERB_QUANTIZE] =
        {"quantize", "[MODEL]", 0, 1, "model", NO_PATH, NO_PATH,
         "write a model for int8: weights in bytes, ranges measured",
         "Runs the model in f32 over images, dense and at its own keep ratio, and measures the "
         "range of what goes into each layer that may run in bytes: of the stem, the blocks and "
         "the "
         "predictors. The file written holds their "
         "weights as bytes with a scale for each output, the ranges, and all else in f32; it loads "
         "wherever a model does, and runs in bytes with --precision int8.\n"
         "In the end a table shows what bf16 and int8 cost on images that were not measured (where "
         "there are none, it says so): accuracy, answers that are no longer those of f32, and how "
         "many of the patches that they "
         "keep f32 drops.\n",
         "dvit quantize runs/keep07/best.safetensors --calibrate builtin:scenes --out "
         "int8.safetensors",
         cli_cmd_quantize},
    [VERB_DIFF] =
        {"diff", "A B", 2, 2, NULL, PATH_MODEL, PATH_MODEL,
         "tensors that differ between two files, and by how much",
         "Compares two files of tensors and lists what differs: tensors that only one of them has, "
         "shapes, number types, values. Where both are models they are compared as models, so that "
         "format, number type and spelling of the names do not matter; others tensor by tensor as "
         "they are stored. Values are compared as 32-bit floats; NaN equals NaN.\n"
         "The relative difference is the largest difference over the largest magnitude in A.\n",
         "dvit diff runs/a/best.safetensors runs/b/best.safetensors --tolerance 1e-6",
         cli_cmd_diff},
    [VERB_BENCH] =
        {"bench", "[MODEL…]", 0, CLI_MAX_TEXTS, "model", NO_PATH, NO_PATH,
         "speed of the dense and the pruned path",
         "Measures the dense path and the pruned path of the same weights in turn, in rounds, in "
         "one process, at every precision, batch size and number of streams, and prints the "
         "median speed, the time of a batch that 50, 90 and 99 % of all runs did not exceed, the "
         "share of this machine's matrix product rate that they reach, and the memory they take. A "
         "model without stages is given random predictors, which cost what trained ones cost.\n"
         "With --data also the accuracy, and a plot of both. --profile, --start and --train "
         "measure something else instead: where the time goes, how long it takes from a file to "
         "the first answer, a training step.\n",
         "dvit bench --model deit-s --keep 0.7 --batch 1,8,32", cli_cmd_bench},
    [VERB_CPU] = {"cpu", "", 0, 0, NULL, NO_PATH, NO_PATH, "what dvit uses of this machine",
                  "Prints the processor, the kernel level, the matrix product backend and the "
                  "default thread count.\n",
                  "dvit cpu", cli_cmd_cpu},
    [VERB_DATA] =
        {"data", "[SPEC]", 0, 1, "data", NO_PATH, NO_PATH, "what a data set holds",
         "Opens both splits of a data set and prints counts, classes, sizes and fingerprints. "
         "With --check every image is read and the unreadable ones are named. With --augmented "
         "--preview shows a batch as training with the same options sees it.\n",
         "dvit data --data photos --check --preview sheet.png", cli_cmd_data},
    [VERB_REPORT] =
        {"report", "RUN…", 1, CLI_MAX_TEXTS, NULL, PATH_RUN, PATH_RUN,
         "an HTML page of training curves and kept patches",
         "Makes one HTML file from run folders: their curves, what dynamic models kept while they "
         "trained, and with --data a gallery of what each run's best model keeps of some images. "
         "Several runs share the charts.\n",
         "dvit report runs/dense runs/keep07 --data builtin:scenes --out report.html",
         cli_cmd_report},
    [VERB_HELP] = {"help", "[COMMAND]", 0, 1, NULL, NO_PATH, NO_PATH, "help on a command",
                   "Prints the help of a command, the manual page or the shell completion; all "
                   "are made from the same tables.\n",
                   "dvit help train", cli_cmd_help},
};
static_assert(sizeof(cli_verbs) / sizeof(*cli_verbs) == VERB_COUNT, "a row for each verb");

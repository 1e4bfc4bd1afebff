/* Data sets of labelled images, and the loader that turns them into prepared batches ahead of use.
 *
 *     struct dvit_dataset *set = NULL;
 *     struct dvit_loader *loader = NULL;
 *     dvit_dataset_open(&set, "builtin:scenes,image=64", "train", NULL, &error);
 *     struct dvit_loader_options options = dvit_loader_options_default();
 *     options.preprocess = preprocess;
 *     dvit_loader_create(&loader, set, &options, &error);
 *     dvit_loader_start(loader, epoch, 0, &error);
 *     while (dvit_loader_next(loader, &batch, &error) == DVIT_OK && batch)
 *         …                                  // batch is borrowed until the next call
 *
 * What a batch holds is a pure function of (data set, seed, epoch, batch index): the number of
 * workers and the batch an epoch was entered at never change a bit of it. */
#ifndef DVIT_DATA_H
#define DVIT_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dvit/config.h"
#include "dvit/image.h"
#include "dvit/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dvit_augment; /* what is done to single images; NULL wherever it is named means nothing */

/* ------------------------------------------------------------------------------ data sets --- */

struct dvit_dataset;

/* Classes that labels shall be indices of, e.g. a model's. */
struct dvit_class_names {
    int count;                /* 1 … DVIT_MAX_CLASSES */
    const char *const *names; /* [count]; NULL: they have none */
    const char *const *ids;   /* [count] second names, e.g. ImageNet's "n01440764"; NULL: none */
};

struct dvit_dataset_options {
    size_t cache_bytes; /* decoded images kept in memory, first come, up to this; 0 = none;
                         * default 512 MiB */
    bool orient;        /* obey EXIF orientation; default false, as the field does for data sets */
    int scene_side;     /* builtin:scenes where the spec names no image=: pixels, 16 … 1024;
                         * default 64 */
    /* Borrowed while the data set is opened: */
    const char *labels_file; /* labels of a flat folder, see dvit_dataset_open; default NULL */
    const struct dvit_class_names
        *classes; /* labels become indices of these: by name where each
                   * class of the data set bears a name or id of one, else
                   * by rank where none does and there are as many (a name
                   * that differs in case or Unicode normalisation only is
                   * an error); default NULL: the data set's own classes */
};
DVIT_API struct dvit_dataset_options dvit_dataset_options_default(void);

/* Opens one split of a data set. `split` is "train" or "val"; `options` may be NULL (defaults).
 * `spec` is one of
 *   FOLDER           with train/ and val/, each with one sub-folder per class; or a folder whose
 *                    sub-folders are the classes (both splits read the same images then).
 *                    Classes are the sub-folders' names in byte order, which must be UTF-8. Whole
 *                    numbers 0 … K − 1 are class indices, with leading zeros or without; other sets
 *                    of whole numbers are an error, but where options.classes has these names.
 *                    Images are what dvit_file_kind says, in a class folder or deeper. "Training",
 *                    "valid", "test" and the like, in any case, are taken for the splits where they
 *                    hold folders and no images, and are an error where not: never classes. With
 *                    options.classes the other split is not looked at.
 *   FOLDER           with options.labels_file: the images lie directly in FOLDER/<split> where that
 *                    exists, else in FOLDER. The list is a text of one line per image: a class (the
 *                    lines follow the images in byte order of their names), or a file name and a
 *                    class parted by a tab, a comma or a blank. A class is an index from 0 or a
 * name or id of options.classes; without those only indices are known, and there are as many
 * classes as the highest says. FOLDER           with CIFAR binary files: data_batch_1 … 5.bin,
 * test_batch.bin and optional batches.meta.txt, or train.bin, test.bin and optional
 * fine_label_names.txt. builtin:scenes[,image=64][,classes=8][,train=4000][,val=1000][,seed=0]
 *                    cluttered backgrounds with one small object each, rendered on demand.
 * Errors: DVIT_ERROR_NOT_FOUND for a missing folder or split; DVIT_ERROR_FORMAT for a folder
 * without classes or images and for damaged CIFAR files; DVIT_ERROR_MISMATCH where train/ and val/
 * disagree on the classes; DVIT_ERROR_ARGUMENT for a bad spec, naming the key and its range. */
DVIT_API enum dvit_status dvit_dataset_open(struct dvit_dataset **out, const char *spec,
                                            const char *split,
                                            const struct dvit_dataset_options *options,
                                            struct dvit_error *error);
/* Image files in the order given, without labels (0 throughout, of one class): for classifying what
 * has none. A name is not looked at before its image is read. Of `options` (may be NULL)
 * cache_bytes and orient matter. Errors: DVIT_ERROR_ARGUMENT where count is 0. */
DVIT_API enum dvit_status dvit_dataset_open_files(struct dvit_dataset **out,
                                                  const char *const *paths /* [count] */,
                                                  size_t count,
                                                  const struct dvit_dataset_options *options,
                                                  struct dvit_error *error);
/* No loader on it may be alive. NULL is legal. */
DVIT_API void dvit_dataset_free(struct dvit_dataset *dataset);

DVIT_API size_t dvit_dataset_size(const struct dvit_dataset *dataset); /* ≥ 1 images */
DVIT_API int dvit_dataset_classes(const struct dvit_dataset *dataset);
/* Borrowed; NULL past the last class. */
DVIT_API const char *dvit_dataset_class_name(const struct dvit_dataset *dataset, int label);
/* A path, "data_batch_1.bin/17" or "scenes/val/17"; borrowed; NULL past the last image. */
DVIT_API const char *dvit_dataset_item_name(const struct dvit_dataset *dataset, size_t index);
/* 0 … classes − 1, or −1 past the last image. */
DVIT_API int dvit_dataset_label(const struct dvit_dataset *dataset, size_t index);
/* Whether dvit_dataset_read gives object masks. */
DVIT_API bool dvit_dataset_has_masks(const struct dvit_dataset *dataset);
/* 16 hexadecimal digits: a hash of the class names and of each image's name relative to the data
 * set, label and size in bytes. Stays the same when the folder moves. Borrowed. */
DVIT_API const char *dvit_dataset_fingerprint(const struct dvit_dataset *dataset);

/* Things worth one line to the user, found while opening: files of unsupported kinds with their
 * numbers, images beside the class folders, dead links, classes without images or with sub-folders
 * alone, splits of other names, missing CIFAR files, classes matched in part or by rank. NULL past
 * the last; borrowed. */
DVIT_API const char *dvit_dataset_warning(const struct dvit_dataset *dataset, size_t index);
/* Images read so far whose EXIF orientation asks for a turn (ignored unless options.orient). */
DVIT_API size_t dvit_dataset_rotated(const struct dvit_dataset *dataset);

/* Images read so far that are PNG files of 16-bit grey: of those Pillow's convert("RGB") makes
 * other pixels, see dvit_image_decode. */
DVIT_API size_t dvit_dataset_grey16(const struct dvit_dataset *dataset);

/* The image files in a folder and below, in byte order of their names: those that dvit reads and
 * those of other formats, so that each gets an answer or an error. Free with dvit_image_files_free,
 * which is legal on a zeroed struct and NULL. */
struct dvit_image_files {
    char **paths; /* [count], owned */
    size_t count;
};
DVIT_API enum dvit_status dvit_image_files_list(struct dvit_image_files *out, const char *folder,
                                                struct dvit_error *error);
DVIT_API void dvit_image_files_free(struct dvit_image_files *files);

/* One image of a data set. */
struct dvit_sample {
    struct dvit_image image; /* owned */
    uint8_t *mask; /* [height][width], 1 = object, 0 = background; NULL if unknown; owned */
    int label;
};
/* Decodes or renders image `index` into `out` (free with dvit_sample_free; zeroed on failure). The
 * error names the image. Safe to call from several threads at once. */
DVIT_API enum dvit_status dvit_dataset_read(struct dvit_dataset *dataset, size_t index,
                                            struct dvit_sample *out, struct dvit_error *error);
/* Frees what the sample owns and zeroes it; legal on a zeroed sample. */
DVIT_API void dvit_sample_free(struct dvit_sample *sample);

/* --------------------------------------------------------------------------------- loader --- */

struct dvit_loader;

/* Bounds of the two α below, where they are not 0. */
#define DVIT_MIN_MIX_ALPHA 1e-3
#define DVIT_MAX_MIX_ALPHA 100.0

/* Mixing of each batch with itself reversed: image i with image count − 1 − i. One draw per batch,
 * of the share that each image keeps. Where both kinds are on, each has half of the batches. */
struct dvit_mixing {
    double mixup;           /* α of Beta(α, α): pixels are blended; 0 = off */
    double cutmix;          /* the same for a box that the partner's pixels replace; 0 = off */
    double label_smoothing; /* of batch.targets, in [0, 1) */
};

struct dvit_loader_options {
    int batch;    /* images, 1 … 4096; default 64 */
    int workers;  /* threads that prepare ahead, 0 … 64; 0 = inside dvit_loader_next; default 1 */
    int ahead;    /* batches prepared ahead of the one lent out, 1 … 64; default 2 */
    size_t limit; /* only the first so many images of the data set; 0 = all (default) */
    uint64_t seed;      /* of shuffling and augmentation; default 0 */
    bool shuffle;       /* a new order each epoch; default false */
    bool drop_last;     /* leave out a last batch that is not full; default false */
    bool strict;        /* an unreadable image is an error instead of a gap; default false */
    bool want_masks;    /* fill batch.masks; needs a data set with masks and augment == NULL */
    bool want_pictures; /* fill batch.pictures; default false */
    const struct dvit_augment *augment; /* NULL = the evaluation geometry; copied */
    const struct dvit_mixing *mixing;   /* NULL = none; copied */
    int repeats; /* times that an image comes in a row, each time varied anew, 1 … 64; an epoch has
                    as many images as ever, but different ones only a share of it; default 1 */
    struct dvit_preprocess preprocess; /* its crop size is the network's input size */
};
/* Everything default; `preprocess` is zero and must be set. */
DVIT_API struct dvit_loader_options dvit_loader_options_default(void);

/* Prepared images; W, H = the crop of options.preprocess. Borrowed from the loader. */
struct dvit_batch {
    size_t index;            /* of this batch in its epoch */
    int count;               /* images; 1 … options.batch: unreadable ones leave no gap */
    int width, height;       /* W, H */
    const float *pixels;     /* [count][3][H][W], normalised */
    const int *labels;       /* [count] */
    const uint32_t *indices; /* [count], into the data set */
    const uint8_t *masks;    /* [count][H][W], 1 = object; NULL unless wanted */
    const uint8_t *pictures; /* [count][H][W][3], RGB before normalisation, erasing and mixing; NULL
                                unless wanted */
    const float *targets;    /* [count][classes], smoothed and mixed; NULL without mixing */
    double own_share;        /* of each image's own label in its targets; the rest is that of image
                                count − 1 − i; 1 without mixing */
};

/* Creates a loader and its threads; `dataset` must outlive it. All batch memory is allocated here.
 * DVIT_ERROR_ARGUMENT names an option out of range; DVIT_ERROR_MISMATCH: masks wanted of a data set
 * that has none. */
DVIT_API enum dvit_status dvit_loader_create(struct dvit_loader **out, struct dvit_dataset *dataset,
                                             const struct dvit_loader_options *options,
                                             struct dvit_error *error);
DVIT_API void dvit_loader_free(struct dvit_loader *loader);

/* Batches of one epoch, counted before unreadable images are known. */
DVIT_API size_t dvit_loader_batches(const struct dvit_loader *loader);

/* Begins epoch `epoch` (≥ 0) at batch `first_batch` (0 … batches; batches = at its end), from
 * whatever the loader was doing. Batches lent out before are no longer valid. */
DVIT_API enum dvit_status dvit_loader_start(struct dvit_loader *loader, uint64_t epoch,
                                            size_t first_batch, struct dvit_error *error);

/* Lends the next batch; *out is NULL at the end of the epoch. A batch of which no image was
 * readable is passed over. Errors: with strict, the first unreadable image in order; without, an
 * epoch begun at batch 0 that ends without a single readable image (DVIT_ERROR_FORMAT); a call
 * before dvit_loader_start (DVIT_ERROR_ARGUMENT). After an error only start, free and asking what
 * was skipped are legal. */
DVIT_API enum dvit_status dvit_loader_next(struct dvit_loader *loader,
                                           const struct dvit_batch **out, struct dvit_error *error);

/* An image that could not be read, reported once however many epochs meet it. */
struct dvit_skip {
    uint32_t index;      /* into the data set */
    const char *name;    /* borrowed */
    const char *message; /* why; borrowed from the loader */
};
/* Distinct images skipped so far. To be called by the thread that calls dvit_loader_next. */
DVIT_API size_t dvit_loader_skipped_count(const struct dvit_loader *loader);
/* Skip number `i` in the order of discovery; false past the last. */
DVIT_API bool dvit_loader_skipped(const struct dvit_loader *loader, size_t i,
                                  struct dvit_skip *out);

#ifdef __cplusplus
}
#endif
#endif

/* Where the images of a split are, and what the classes are called. */
#ifndef DVIT_DATA_SPLITS_H
#define DVIT_DATA_SPLITS_H

#include "base/file.h"
#include "data/dataset.h"

enum dvit_split_role { DVIT_SPLIT_NONE, DVIT_SPLIT_TRAIN, DVIT_SPLIT_VAL, DVIT_SPLIT_TEST };
/* The split that a folder of this name holds by custom: "train", "Training", "valid", "TEST", … */
enum dvit_split_role dvit_split_role(const char *name);

/* What a name says in passing, as "seg_train" or "train2017": a word of a split among others. */
bool dvit_split_is_mentioned(const char *name);

struct dvit_split {
    char *base;                /* the folder whose sub-folders are the classes; owned */
    struct dvit_names classes; /* in the order of their indices; owned */
    enum dvit_numbering numbering;
    bool found; /* there are folders of splits: the other split has other images */
};
/* Finds the split of the data set in the folder `path`. Classes of train/ and val/ must agree where
 * the data set's own indices count, which is where no classes are given in its options. Folders
 * that bear another name of a split are taken for it with a warning, or are an error: never
 * classes. Free with dvit_split_free, also after a failure. */
enum dvit_status dvit_split_find(struct dvit_dataset *dataset, const char *path, const char *split,
                                 struct dvit_split *out, struct dvit_error *error);
void dvit_split_free(struct dvit_split *split);

/* The folder of a split of flat images: by one of its names, else `path` itself. malloc'ed; NULL
 * without memory. */
char *dvit_split_flat_base(const char *path, const char *split);

#endif

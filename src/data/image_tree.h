/* A folder of images walked through, however deep: the one walk of data sets and of
 * dvit_image_files_list. */
#ifndef DVIT_DATA_IMAGE_TREE_H
#define DVIT_DATA_IMAGE_TREE_H

#include <stdint.h>

#include "base/error.h"
#include "dvit/image.h"

enum dvit_tree_entry_type {
    DVIT_TREE_FILE,
    DVIT_TREE_FOLDER,    /* is gone into after this */
    DVIT_TREE_DEAD_LINK, /* leads to nothing */
    DVIT_TREE_LOOP,      /* a link to a folder that it lies in: not gone into */
};

struct dvit_tree_entry {
    enum dvit_tree_entry_type type;
    enum dvit_file_kind kind; /* of a file; of a dead link, what its name promises */
    const char *path, *name;
    int depth;           /* 0: in the folder itself */
    uint64_t size_bytes; /* of a file */
};

typedef enum dvit_status dvit_tree_visit(void *context, const struct dvit_tree_entry *entry,
                                         struct dvit_error *error);

/* Visits what is in `folder` and below, by names in byte order. Files and folders of the system
 * (DVIT_FILE_HIDDEN), devices and the like are passed over. */
enum dvit_status dvit_image_tree_walk(const char *folder, dvit_tree_visit *visit, void *context,
                                      struct dvit_error *error);

#endif

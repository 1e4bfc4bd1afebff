/* Inside of a data set: the tables every kind fills, and the borrowing read the loader uses.
 *
 * A kind (folder, CIFAR, scenes) is one function that fills an empty data set with classes, items,
 * warnings and either resident pixels or a `read` function. All else is shared. */
#ifndef DVIT_DATA_DATASET_H
#define DVIT_DATA_DATASET_H

#include <stdatomic.h>

#include "base/error.h"
#include "data/scenes.h"
#include "dvit/data.h"

enum { DVIT_MAX_ITEMS = 100000000 }; /* images of one split; indices are 32 bits */

/* What the names of class folders are, see class_numbers.c. */
enum dvit_numbering {
    DVIT_CLASSES_NAMED,
    DVIT_CLASSES_INDEXED,     /* the numbers 0 … K − 1 */
    DVIT_CLASSES_MISNUMBERED, /* other whole numbers */
};

struct dvit_item {
    size_t name; /* offset into names */
    int label;
};

struct dvit_dataset {
    /* Filled by the kind. */
    struct dvit_item *items; /* [size] */
    size_t size, item_capacity;
    char *names; /* 0-terminated strings, one after the other */
    size_t names_used, names_capacity;
    char **class_names; /* [classes] */
    int classes;
    char **warnings; /* [warning_count] */
    size_t warning_count;
    uint64_t hash; /* of all that was added, see dvit_dataset_fingerprint */
    bool has_masks;
    enum dvit_numbering numbering; /* of the classes' names */

    /* Makes image `index`; thread-safe; the error names the image. NULL where pixels are resident.
     */
    enum dvit_status (*read)(struct dvit_dataset *dataset, size_t index, struct dvit_sample *out,
                             struct dvit_error *error);
    unsigned char *resident; /* [size][resident_side][resident_side][3], or NULL */
    int resident_side;
    struct dvit_scene_style scenes;

    /* Shared. */
    struct dvit_dataset_options options;
    char fingerprint[17];
    _Atomic(struct dvit_sample *) *cache; /* [size]; an entry is set once and then constant */
    atomic_size_t cache_left_bytes;
    atomic_uchar *peculiar; /* [size]; what was seen of an image: stored turned, 16-bit grey */
    atomic_size_t turned_count, grey16_count;
};

/* For kinds, while opening. `relative` is the name hashed into the fingerprint. */
enum dvit_status dvit_dataset_add_class(struct dvit_dataset *dataset, const char *name,
                                        struct dvit_error *error);
enum dvit_status dvit_dataset_add_item(struct dvit_dataset *dataset, const char *name,
                                       const char *relative, int label, uint64_t size_bytes,
                                       struct dvit_error *error);
enum dvit_status dvit_dataset_warn(struct dvit_dataset *dataset, struct dvit_error *error,
                                   const char *format, ...) __attribute__((format(printf, 3, 4)));
void dvit_dataset_hash(struct dvit_dataset *dataset, const void *data, size_t size);

/* Labels for the items of a flat folder, sorted by name, from options.labels_file; `root_length`
 * bytes of each item's name stand before the file's own. Sets the classes too. */
enum dvit_status dvit_dataset_read_labels(struct dvit_dataset *dataset, size_t root_length,
                                          struct dvit_error *error);

/* The kinds. Each fills a zeroed data set (options are set) or fails; the caller frees. */
enum dvit_status dvit_dataset_open_folder(struct dvit_dataset *dataset, const char *path,
                                          const char *split, struct dvit_error *error);
/* `read` of data sets whose items are named by their paths. */
enum dvit_status dvit_dataset_read_file(struct dvit_dataset *dataset, size_t index,
                                        struct dvit_sample *out, struct dvit_error *error);
enum dvit_status dvit_dataset_open_list(struct dvit_dataset *dataset, const char *const *paths,
                                        size_t count, struct dvit_error *error);
bool dvit_dataset_is_cifar(const char *path);
enum dvit_status dvit_dataset_open_cifar(struct dvit_dataset *dataset, const char *path,
                                         const char *split, struct dvit_error *error);
enum dvit_status dvit_dataset_open_builtin(struct dvit_dataset *dataset, const char *spec,
                                           const char *split, struct dvit_error *error);

/* One image, without a copy where it is in memory already. */
struct dvit_view {
    struct dvit_image image; /* borrowed: of the data set, or of own */
    const uint8_t *mask;     /* [height][width] or NULL; borrowed alike */
    int label;
    struct dvit_sample own; /* what release frees */
};
enum dvit_status dvit_dataset_view(struct dvit_dataset *dataset, size_t index,
                                   struct dvit_view *out, struct dvit_error *error);
void dvit_view_release(struct dvit_view *view);

#endif

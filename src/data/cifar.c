/* CIFAR-10 and CIFAR-100 in their binary form, held in memory as interleaved RGB.
 *
 * A record is the label (CIFAR-100: coarse, then fine; the fine one is used), then 32×32 bytes each
 * of red, green and blue. The files carry no header: a size that is not a multiple of the record,
 * or a label out of range, is all that tells damage, so both are checked. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/dataset.h"

enum {
    SIDE = 32,
    PLANE = SIDE * SIDE, /* bytes */
    MAX_FILES = 5,
    MAX_FILE_BYTES = 1 << 30,
    MAX_NAMES_BYTES = 1 << 20,
};

struct variant {
    const char *train[MAX_FILES + 1]; /* NULL-terminated */
    const char *val;
    const char *names;
    int classes;
    size_t label_bytes; /* the last of them is the label */
};
static const struct variant variants[2] = {
    {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
      "data_batch_5.bin", NULL},
     "test_batch.bin",
     "batches.meta.txt",
     10,
     1},
    {{"train.bin", NULL}, "test.bin", "fine_label_names.txt", 100, 2},
};

static bool has_file(const char *folder, const char *name)
{
    char *path = dvit_path_join(folder, name);
    bool exists = path && dvit_file_exists(path);
    free(path);
    return exists;
}

static const struct variant *find_variant(const char *path)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (has_file(path, variants[i].val))
            return &variants[i];
        for (size_t f = 0; variants[i].train[f]; f++)
            if (has_file(path, variants[i].train[f]))
                return &variants[i];
    }
    return NULL;
}

bool dvit_dataset_is_cifar(const char *path)
{
    return find_variant(path) != NULL;
}

/* The names file has one class a line; without it classes are "0", "1", …. */
static enum dvit_status add_classes(struct dvit_dataset *dataset, const char *folder,
                                    const struct variant *variant, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *text = NULL;
    size_t size = 0;
    char *path = dvit_path_join(folder, variant->names);
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
    bool named = dvit_file_exists(path);
    if (named) {
        DVIT_TRY(dvit_file_read(path, MAX_NAMES_BYTES, &text, &size, error));
        char *rest = NULL;
        for (char *line = strtok_r((char *)text, "\r\n", &rest); line;
             line = strtok_r(NULL, "\r\n", &rest))
            DVIT_TRY(dvit_dataset_add_class(dataset, line, error));
        if (dataset->classes != variant->classes)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT, "\"%s\": names %d classes, expected %d", path,
                      dataset->classes, variant->classes);
    }
    for (int i = 0; !named && i < variant->classes; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        DVIT_TRY(dvit_dataset_add_class(dataset, name, error));
    }
done:
    free(text);
    free(path);
    return status;
}

static void interleave(unsigned char *out, const unsigned char *planes)
{
    for (int i = 0; i < PLANE; i++)
        for (int channel = 0; channel < 3; channel++)
            out[i * 3 + channel] = planes[channel * PLANE + i];
}

/* Appends the records of one file. */
static enum dvit_status add_file(struct dvit_dataset *dataset, const char *folder, const char *name,
                                 const struct variant *variant, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *data = NULL;
    size_t size = 0, record = variant->label_bytes + 3 * PLANE;
    char *path = dvit_path_join(folder, name);
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
    DVIT_TRY(dvit_file_read(path, MAX_FILE_BYTES, &data, &size, error));
    if (size == 0 || size % record != 0)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "\"%s\": has %zu bytes, expected a multiple of %zu (one record)", path, size,
                  record);
    size_t count = size / record, first = dataset->size;
    unsigned char *larger = realloc(dataset->resident, (first + count) * 3 * PLANE);
    if (!larger)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory for %zu images", path, count);
    dataset->resident = larger;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *in = data + i * record;
        int label = in[variant->label_bytes - 1];
        if (label >= variant->classes)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT, "\"%s\": record %zu has label %d, expected 0 … %d",
                      path, i, label, variant->classes - 1);
        char item[64];
        snprintf(item, sizeof item, "%s/%zu", name, i);
        DVIT_TRY(dvit_dataset_add_item(dataset, item, item, label, record, error));
        interleave(dataset->resident + (first + i) * 3 * PLANE, in + variant->label_bytes);
    }
done:
    free(data);
    free(path);
    return status;
}

enum dvit_status dvit_dataset_open_cifar(struct dvit_dataset *dataset, const char *path,
                                         const char *split, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct variant *variant = find_variant(path);
    dataset->resident_side = SIDE;
    DVIT_TRY(add_classes(dataset, path, variant, error));
    if (strcmp(split, "val") == 0) {
        DVIT_TRY(add_file(dataset, path, variant->val, variant, error));
        goto done;
    }
    for (size_t i = 0; variant->train[i]; i++) {
        if (has_file(path, variant->train[i]))
            DVIT_TRY(add_file(dataset, path, variant->train[i], variant, error));
        else
            DVIT_TRY(
                dvit_dataset_warn(dataset, error, "\"%s\": has no %s", path, variant->train[i]));
    }
    if (dataset->size == 0)
        DVIT_FAIL(error, DVIT_ERROR_NOT_FOUND, "\"%s\": has %s but no %s", path, variant->val,
                  variant->train[0]);
done:
    return status;
}

/* Single image files as a data set: without labels, of one class, in the order given. It is how
 * images that somebody wants classified are read ahead. Reading a file is folder.c's. */
#include "data/dataset.h"

enum dvit_status dvit_dataset_open_list(struct dvit_dataset *dataset, const char *const *paths,
                                        size_t count, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    if (count == 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "data set: a list of no files, expected at least 1");
    DVIT_TRY(dvit_dataset_add_class(dataset, "image", error));
    for (size_t i = 0; i < count; i++)
        DVIT_TRY(dvit_dataset_add_item(dataset, paths[i], paths[i], 0, 0, error));
    dataset->read = dvit_dataset_read_file;
done:
    return status;
}

/* What of the loader's options is inside. */
#ifndef DVIT_DATA_LOADER_OPTIONS_H
#define DVIT_DATA_LOADER_OPTIONS_H

#include "dvit/data.h"

/* DVIT_OK, or which option is out of range or does not fit the data set. */
enum dvit_status dvit_loader_options_check(const struct dvit_loader_options *options,
                                           const struct dvit_dataset *dataset,
                                           struct dvit_error *error);

#endif

/* libFuzzer target: any bytes as the index.json of a sharded model. No accepted name may lead out
 * of the index's folder; what is refused must say why. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weights/sharded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct dvit_shard_index *index;
    struct dvit_error error = {.message = ""};
    dvit_shard_index_is(data, size_bytes);
    if (dvit_shard_index_parse(&index, data, size_bytes, &error) != DVIT_OK) {
        if (index || !error.message[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < dvit_shard_index_file_count(index); i++) {
        const char *name = dvit_shard_index_file(index, i);
        if (!name[0] || strchr(name, '/') || strcmp(name, "..") == 0)
            abort();
    }
    for (size_t i = 0; i < dvit_shard_index_count(index); i++) {
        const struct dvit_shard_row *row = dvit_shard_index_row(index, i);
        if (row->file >= dvit_shard_index_file_count(index))
            abort();
        if (i > 0 && strcmp(row[-1].tensor, row->tensor) >= 0)
            abort();
    }
    dvit_shard_index_free(index);
    return 0;
}

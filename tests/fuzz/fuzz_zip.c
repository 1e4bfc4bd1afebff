/* libFuzzer target: any bytes as a stored zip archive. What is accepted must lie inside the input
 * without overlap and be found by its name; what is refused must say why. */
#include <stdint.h>
#include <stdlib.h>

#include "weights/file_kinds.h"
#include "weights/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_entry(const struct dvit_zip *zip, size_t index, const uint8_t *data,
                        size_t size_bytes)
{
    const struct dvit_zip_entry *entry = dvit_zip_entry(zip, index);
    if (entry->data < data || entry->size_bytes > (size_t)(data + size_bytes - entry->data))
        abort();
    if (entry->name < data || entry->name_bytes > (size_t)(data + size_bytes - entry->name))
        abort();
    if (dvit_zip_find(zip, (const char *)entry->name, entry->name_bytes) != entry)
        abort();
    for (size_t i = 0; i < index; i++) {
        const struct dvit_zip_entry *other = dvit_zip_entry(zip, i);
        if (entry->size_bytes && other->size_bytes &&
            entry->data < other->data + other->size_bytes &&
            other->data < entry->data + entry->size_bytes)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct dvit_zip *zip;
    struct dvit_error error = {.message = ""};
    if (dvit_file_kind_refuse(data, size_bytes, &error) == DVIT_OK || !error.message[0])
        abort();
    error.message[0] = 0;
    if (dvit_file_kind_check_zip(data, size_bytes, &error) != DVIT_OK && !error.message[0])
        abort();
    error.message[0] = 0;
    if (dvit_zip_open(&zip, data, size_bytes, &error) != DVIT_OK) {
        if (zip || !error.message[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < dvit_zip_count(zip); i++)
        check_entry(zip, i, data, size_bytes);
    dvit_zip_free(zip);
    return 0;
}

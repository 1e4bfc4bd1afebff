/* libFuzzer target: any bytes as a PyTorch file, zip or legacy. The tensors of an accepted one are
 * read to the last element, values to the last character; what is refused must say why. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weights/torch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_tensors(const struct dvit_torch_file *file)
{
    size_t count;
    const struct dvit_tensor_view *views = dvit_torch_file_tensors(file, &count);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *bytes = views[i].data;
        if (dvit_tensor_elements(&views[i]) * dvit_dtype_size(views[i].dtype) !=
            views[i].size_bytes)
            abort();
        if (strlen(views[i].name) > DVIT_TORCH_MAX_NAME)
            abort();
        for (size_t k = 0; k < views[i].size_bytes; k++)
            sum = (uint8_t)(sum + bytes[k]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct dvit_torch_file *file;
    struct dvit_error error = {.message = ""};
    size_t count;
    if (dvit_torch_file_parse(&file, data, size_bytes, &error) != DVIT_OK) {
        if (file || !error.message[0])
            abort();
        return 0;
    }
    check_tensors(file);
    const struct dvit_stored_value *values = dvit_torch_file_values(file, &count);
    for (size_t i = 0; i < count; i++)
        if (!values[i].name || !values[i].kind || !values[i].text ||
            strlen(values[i].name) > DVIT_TORCH_MAX_NAME)
            abort();
    dvit_torch_file_free(file);
    return 0;
}

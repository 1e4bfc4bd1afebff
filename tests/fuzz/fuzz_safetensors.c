/* libFuzzer target: any bytes as a safetensors file. What is accepted must lie inside the input and
 * be found by its name; what is refused must say why. Build with -Dfuzz=true and CC=clang, run
 * tests/fuzz/fuzz_safetensors CORPUS_FOLDER. */
#include <stdint.h>
#include <stdlib.h>

#include "weights/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_view(const struct dvit_safetensors *file, const struct dvit_tensor_view *view,
                       const uint8_t *data, size_t size_bytes)
{
    const uint8_t *begin = view->data;
    if (begin < data || view->size_bytes > (size_t)(data + size_bytes - begin))
        abort();
    if (dvit_tensor_elements(view) * dvit_dtype_size(view->dtype) != view->size_bytes)
        abort();
    if (dvit_safetensors_find(file, view->name) != view)
        abort();
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < view->size_bytes; i++)
        sum = (uint8_t)(sum + begin[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct dvit_safetensors *file;
    struct dvit_error error = {.message = ""};
    if (dvit_safetensors_parse(&file, data, size_bytes, "fuzz", &error) != DVIT_OK) {
        if (file || !error.message[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < dvit_safetensors_count(file); i++)
        check_view(file, dvit_safetensors_view(file, i), data, size_bytes);
    dvit_safetensors_metadata(file, "format");
    dvit_safetensors_free(file);
    return 0;
}

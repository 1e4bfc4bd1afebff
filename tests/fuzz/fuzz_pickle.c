/* libFuzzer target: any bytes as a pickle. Every value of an accepted one must be whole; memory
 * must keep to the pool's limit. */
#include <stdint.h>
#include <stdlib.h>

#include "weights/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

enum { LIMIT = 4 << 20, MAX_DEPTH = 50, MAX_VISITS = 20000 };

static size_t item_count(const struct dvit_value *value)
{
    switch (value->kind) {
    case DVIT_VALUE_LIST:
    case DVIT_VALUE_TUPLE:
        return value->count;
    case DVIT_VALUE_DICT:
        return 2 * (size_t)value->count;
    case DVIT_VALUE_OBJECT:
        return DVIT_OBJECT_PARTS;
    case DVIT_VALUE_PERSISTENT:
        return 1;
    default:
        return 0;
    }
}

/* Touches a value and, as far as the bounds go, all below it. */
static void visit(const struct dvit_value *value, int depth, size_t *visits, const uint8_t *data,
                  size_t size_bytes)
{
    if (!value || depth > MAX_DEPTH || ++*visits > MAX_VISITS)
        return;
    if (value->kind > DVIT_VALUE_PERSISTENT)
        abort();
    if (value->kind == DVIT_VALUE_TEXT || value->kind == DVIT_VALUE_BYTES ||
        value->kind == DVIT_VALUE_BIG || value->kind == DVIT_VALUE_GLOBAL)
        if (value->bytes < data || value->count > (size_t)(data + size_bytes - value->bytes))
            abort();
    if (value->kind == DVIT_VALUE_GLOBAL || value->kind == DVIT_VALUE_OBJECT)
        dvit_value_class_show(value);
    for (size_t i = 0; i < item_count(value); i++)
        visit(value->items[i], depth + 1, visits, data, size_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct dvit_pool pool = {.limit_bytes = LIMIT};
    struct dvit_pickle pickle;
    struct dvit_error error = {.message = ""};
    size_t visits = 0;
    if (dvit_pickle_read(&pickle, data, size_bytes, &pool, &error) != DVIT_OK) {
        if (pickle.root || !error.message[0])
            abort();
    } else {
        if (pickle.size_bytes > size_bytes)
            abort();
        visit(pickle.root, 0, &visits, data, size_bytes);
        visit(pickle.persistent, 0, &visits, data, size_bytes);
    }
    if (pool.used_bytes > LIMIT)
        abort();
    dvit_pool_free(&pool);
    return 0;
}

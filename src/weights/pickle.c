/* The instructions of a pickle: one function per kind, and the table that knows them.
 *
 * What is not in the table below is refused by name. Every value is made in a bounded pool, texts
 * stay in the pickle, and no step takes more than a constant number of values, so that the time is
 * linear in the pickle's size. The machine does not recurse, however deep values nest; it does not
 * look at what a value means (torch_tensor.c does). */
#include "weights/pickle.h"

#include <string.h>

#include "weights/pickle_machine.h"
#include "weights/text.h"

enum { PROTOCOL = 2 };

typedef enum dvit_status step_function(struct dvit_machine *m, unsigned char opcode);

/* ---- simple values ---- */

static enum dvit_status step_constant(struct dvit_machine *m, unsigned char opcode)
{
    switch (opcode) {
    case 'N':
        return dvit_machine_push(m, m->none);
    case 0x88:
        return dvit_machine_push(m, m->truths[1]);
    case 0x89:
        return dvit_machine_push(m, m->truths[0]);
    default:
        return dvit_machine_push(m, m->empty_tuple);
    }
}

static enum dvit_status step_empty(struct dvit_machine *m, unsigned char opcode)
{
    return dvit_machine_push(m, dvit_machine_make(m, opcode == ']'   ? DVIT_VALUE_LIST
                                                     : opcode == '}' ? DVIT_VALUE_DICT
                                                                     : DVIT_VALUE_SET));
}

static enum dvit_status step_int(struct dvit_machine *m, unsigned char opcode)
{
    uint64_t number;
    enum dvit_status status = dvit_machine_take_number(m,
                                                       opcode == 'K'   ? 1
                                                       : opcode == 'M' ? 2
                                                                       : 4,
                                                       &number);
    struct dvit_value *value = status == DVIT_OK ? dvit_machine_make(m, DVIT_VALUE_INT) : NULL;
    if (value)
        value->integer = opcode == 'J' ? (int32_t)(uint32_t)number : (int64_t)number;
    return status == DVIT_OK ? dvit_machine_push(m, value) : status;
}

static enum dvit_status step_long(struct dvit_machine *m, unsigned char opcode)
{
    (void)opcode;
    enum dvit_status status = DVIT_OK;
    uint64_t width, bits = 0;
    const unsigned char *bytes;
    DVIT_TRY(dvit_machine_take_number(m, 1, &width));
    DVIT_TRY(dvit_machine_take(m, width, &bytes));
    struct dvit_value *value = dvit_machine_make(m, width <= 8 ? DVIT_VALUE_INT : DVIT_VALUE_BIG);
    if (!value)
        return dvit_machine_no_memory(m);
    if (width > 8) {
        value->bytes = bytes;
        value->count = (uint32_t)width;
    } else if (width > 0) {
        memcpy(&bits, bytes, width);
        unsigned shift = (unsigned)(64 - 8 * width); /* the sign is in the last byte */
        value->integer = (int64_t)(bits << shift) >> shift;
    }
    status = dvit_machine_push(m, value);
done:
    return status;
}

static enum dvit_status step_float(struct dvit_machine *m, unsigned char opcode)
{
    (void)opcode;
    const unsigned char *bytes;
    enum dvit_status status = dvit_machine_take(m, 8, &bytes);
    if (status != DVIT_OK)
        return status;
    struct dvit_value *value = dvit_machine_make(m, DVIT_VALUE_FLOAT);
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    if (value)
        memcpy(&value->real, &bits, sizeof bits);
    return dvit_machine_push(m, value);
}

static enum dvit_status step_text(struct dvit_machine *m, unsigned char opcode)
{
    enum dvit_status status = DVIT_OK;
    uint64_t length;
    const unsigned char *bytes;
    DVIT_TRY(dvit_machine_take_number(m, opcode == 'X' ? 4 : 1, &length));
    if (length > DVIT_PICKLE_MAX_TEXT)
        DVIT_FAIL(m->error, DVIT_ERROR_LIMIT, "pickle: a text of %llu bytes, the limit is %d",
                  (unsigned long long)length, DVIT_PICKLE_MAX_TEXT);
    DVIT_TRY(dvit_machine_take(m, length, &bytes));
    struct dvit_value *value =
        dvit_machine_make(m, dvit_text_is_utf8(bytes, length) ? DVIT_VALUE_TEXT : DVIT_VALUE_BYTES);
    if (value) {
        value->bytes = bytes;
        value->count = (uint32_t)length;
    }
    status = dvit_machine_push(m, value);
done:
    return status;
}

/* ---- containers ---- */

static enum dvit_status step_mark(struct dvit_machine *m, unsigned char opcode)
{
    (void)opcode;
    return dvit_machine_mark(m);
}

static enum dvit_status step_tuple(struct dvit_machine *m, unsigned char opcode)
{
    struct dvit_value **items;
    size_t count;
    enum dvit_status status = DVIT_OK;
    if (opcode == 't') {
        DVIT_TRY(dvit_machine_pop_mark(m, &items, &count));
    } else {
        count = (size_t)(opcode - 0x84); /* TUPLE1 is 0x85 */
        DVIT_TRY(dvit_machine_need(m, count));
        m->height -= count;
        items = m->stack + m->height;
    }
    struct dvit_value *tuple = dvit_machine_make_items(m, DVIT_VALUE_TUPLE, count);
    if (tuple && count) {
        tuple->count = (uint32_t)count;
        memcpy(tuple->items, items, count * sizeof *items);
    }
    status = dvit_machine_push(m, tuple);
done:
    return status;
}

/* The list or dict that items added to `target` go to: itself, or an object's content. */
static enum dvit_status content_of(struct dvit_machine *m, struct dvit_value *target,
                                   enum dvit_value_kind kind, struct dvit_value **out)
{
    *out = target;
    if (target->kind == DVIT_VALUE_OBJECT) {
        if (!target->items[DVIT_OBJECT_CONTENT])
            target->items[DVIT_OBJECT_CONTENT] = dvit_machine_make(m, kind);
        *out = target->items[DVIT_OBJECT_CONTENT];
        if (!*out)
            return dvit_machine_no_memory(m);
    }
    if ((*out)->kind != (uint32_t)kind)
        return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                              "pickle: byte %zu adds items to what is not a %s", m->at - 1,
                              kind == DVIT_VALUE_LIST ? "list" : "dict");
    return DVIT_OK;
}

static enum dvit_status add_item(struct dvit_machine *m, struct dvit_value *list,
                                 struct dvit_value *item)
{
    struct dvit_value **items = dvit_pool_grow(m->pool, list->items, list->count, sizeof *items);
    if (!items)
        return dvit_machine_no_memory(m);
    list->items = items;
    items[list->count++] = item;
    return DVIT_OK;
}

static enum dvit_status add_pair(struct dvit_machine *m, struct dvit_value *dict,
                                 struct dvit_value *key, struct dvit_value *value)
{
    struct dvit_value **items =
        dvit_pool_grow(m->pool, dict->items, dict->count, 2 * sizeof *items);
    if (!items)
        return dvit_machine_no_memory(m);
    dict->items = items;
    items[2 * dict->count] = key;
    items[2 * dict->count + 1] = value;
    dict->count++;
    return DVIT_OK;
}

static enum dvit_status step_append(struct dvit_machine *m, unsigned char opcode)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value **items, *list;
    size_t count = 1;
    if (opcode == 'e') {
        DVIT_TRY(dvit_machine_pop_mark(m, &items, &count));
        DVIT_TRY(dvit_machine_need(m, 1));
    } else {
        DVIT_TRY(dvit_machine_need(m, 2));
        items = m->stack + --m->height;
    }
    DVIT_TRY(content_of(m, m->stack[m->height - 1], DVIT_VALUE_LIST, &list));
    for (size_t i = 0; i < count; i++)
        DVIT_TRY(add_item(m, list, items[i]));
done:
    return status;
}

static enum dvit_status step_set_item(struct dvit_machine *m, unsigned char opcode)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_value **items, *dict;
    size_t count = 2;
    if (opcode == 'u') {
        DVIT_TRY(dvit_machine_pop_mark(m, &items, &count));
        DVIT_TRY(dvit_machine_need(m, 1));
    } else {
        DVIT_TRY(dvit_machine_need(m, 3));
        m->height -= 2;
        items = m->stack + m->height;
    }
    if (count % 2 != 0)
        DVIT_FAIL(m->error, DVIT_ERROR_FORMAT, "pickle: byte %zu sets a key without a value",
                  m->at - 1);
    DVIT_TRY(content_of(m, m->stack[m->height - 1], DVIT_VALUE_DICT, &dict));
    for (size_t i = 0; i < count; i += 2)
        DVIT_TRY(add_pair(m, dict, items[i], items[i + 1]));
done:
    return status;
}

/* ---- classes and objects: names and arguments, kept ---- */

static enum dvit_status step_global(struct dvit_machine *m, unsigned char opcode)
{
    (void)opcode;
    enum dvit_status status = DVIT_OK;
    const unsigned char *begin = m->data + m->at;
    size_t module = 0, name = 0;
    DVIT_TRY(dvit_machine_take_line(m, &module));
    DVIT_TRY(dvit_machine_take_line(m, &name));
    struct dvit_value *value = dvit_machine_make(m, DVIT_VALUE_GLOBAL);
    if (value) {
        value->bytes = begin;
        value->count = (uint32_t)(module + 1 + name);
    }
    status = dvit_machine_push(m, value);
done:
    return status;
}

static bool is_pair(const struct dvit_value *value)
{
    return (value->kind == DVIT_VALUE_LIST || value->kind == DVIT_VALUE_TUPLE) && value->count == 2;
}

/* OrderedDict() or, as Python 2 wrote it, OrderedDict([[key, value], …]). *out is NULL when the
 * arguments are neither. */
static enum dvit_status make_ordered_dict(struct dvit_machine *m, const struct dvit_value *args,
                                          struct dvit_value **out)
{
    enum dvit_status status = DVIT_OK;
    *out = NULL;
    if (args->count > 1 || (args->count == 1 && args->items[0]->kind != DVIT_VALUE_LIST))
        return DVIT_OK;
    struct dvit_value *pairs = args->count ? args->items[0] : NULL;
    for (size_t i = 0; pairs && i < pairs->count; i++)
        if (!is_pair(pairs->items[i]))
            return DVIT_OK;
    struct dvit_value *dict = dvit_machine_make(m, DVIT_VALUE_DICT);
    if (!dict)
        return dvit_machine_no_memory(m);
    for (size_t i = 0; pairs && i < pairs->count; i++)
        DVIT_TRY(add_pair(m, dict, pairs->items[i]->items[0], pairs->items[i]->items[1]));
    *out = dict;
done:
    return status;
}

/* REDUCE and NEWOBJ. */
static enum dvit_status step_object(struct dvit_machine *m, unsigned char opcode)
{
    (void)opcode;
    enum dvit_status status = DVIT_OK;
    struct dvit_value *object = NULL;
    DVIT_TRY(dvit_machine_need(m, 2));
    struct dvit_value *args = dvit_machine_pop(m), *class = dvit_machine_pop(m);
    if (args->kind != DVIT_VALUE_TUPLE)
        DVIT_FAIL(m->error, DVIT_ERROR_FORMAT,
                  "pickle: byte %zu makes an object of arguments that are not a tuple", m->at - 1);
    if (class->kind != DVIT_VALUE_GLOBAL && class->kind != DVIT_VALUE_OBJECT)
        DVIT_FAIL(m->error, DVIT_ERROR_FORMAT,
                  "pickle: byte %zu makes an object of what is not a class", m->at - 1);
    if (dvit_value_is_global(class, "collections", "OrderedDict"))
        DVIT_TRY(make_ordered_dict(m, args, &object));
    if (!object) {
        object = dvit_machine_make_items(m, DVIT_VALUE_OBJECT, DVIT_OBJECT_PARTS);
        if (!object)
            return dvit_machine_no_memory(m);
        object->items[DVIT_OBJECT_CLASS] = class;
        object->items[DVIT_OBJECT_ARGS] = args;
    }
    status = dvit_machine_push(m, object);
done:
    return status;
}

/* An object keeps its state. A dict has none that matters: state_dict() hangs its versions on the
 * OrderedDict. */
static enum dvit_status step_build(struct dvit_machine *m, unsigned char opcode)
{
    (void)opcode;
    enum dvit_status status = dvit_machine_need(m, 2);
    if (status != DVIT_OK)
        return status;
    struct dvit_value *state = dvit_machine_pop(m), *target = m->stack[m->height - 1];
    if (target->kind == DVIT_VALUE_OBJECT)
        target->items[DVIT_OBJECT_STATE] = state;
    else if (target->kind != DVIT_VALUE_DICT)
        return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                              "pickle: byte %zu gives a state to what is not an object", m->at - 1);
    return DVIT_OK;
}

/* Legacy files of whole modules: ('module', class, source file, source) stands for the class. */
static struct dvit_value *module_class(const struct dvit_value *id)
{
    bool is_module = id->kind == DVIT_VALUE_TUPLE && id->count >= 2 &&
                     dvit_value_is_text(id->items[0], "module") &&
                     id->items[1]->kind == DVIT_VALUE_GLOBAL;
    return is_module ? id->items[1] : NULL;
}

static enum dvit_status step_persistent(struct dvit_machine *m, unsigned char opcode)
{
    (void)opcode;
    enum dvit_status status = dvit_machine_need(m, 1);
    if (status != DVIT_OK)
        return status;
    struct dvit_value *id = dvit_machine_pop(m), *class = module_class(id);
    if (class)
        return dvit_machine_push(m, class);
    struct dvit_value *value = dvit_machine_make_items(m, DVIT_VALUE_PERSISTENT, 2);
    if (!value)
        return dvit_machine_no_memory(m);
    value->items[0] = id;
    value->items[1] = m->persistent;
    m->persistent = value;
    return dvit_machine_push(m, value);
}

static enum dvit_status step_put(struct dvit_machine *m, unsigned char opcode)
{
    uint64_t index;
    enum dvit_status status = dvit_machine_take_number(m, opcode == 'q' ? 1 : 4, &index);
    if (status == DVIT_OK)
        status = dvit_machine_need(m, 1);
    return status == DVIT_OK ? dvit_machine_put(m, index) : status;
}

static enum dvit_status step_get(struct dvit_machine *m, unsigned char opcode)
{
    uint64_t index;
    enum dvit_status status = dvit_machine_take_number(m, opcode == 'h' ? 1 : 4, &index);
    return status == DVIT_OK ? dvit_machine_get(m, index) : status;
}

/* ---- the table ---- */

static step_function *const steps[256] = {
    ['N'] = step_constant, [0x88] = step_constant, [0x89] = step_constant, [')'] = step_constant,
    [']'] = step_empty,    ['}'] = step_empty,     [0x8f] = step_empty,    ['J'] = step_int,
    ['K'] = step_int,      ['M'] = step_int,       [0x8a] = step_long,     ['G'] = step_float,
    ['X'] = step_text,     ['U'] = step_text,      ['('] = step_mark,      ['t'] = step_tuple,
    [0x85] = step_tuple,   [0x86] = step_tuple,    [0x87] = step_tuple,    ['a'] = step_append,
    ['e'] = step_append,   ['s'] = step_set_item,  ['u'] = step_set_item,  ['c'] = step_global,
    ['R'] = step_object,   [0x81] = step_object,   ['b'] = step_build,     ['Q'] = step_persistent,
    ['q'] = step_put,      ['r'] = step_put,       ['h'] = step_get,       ['j'] = step_get,
};

static enum dvit_status refuse(struct dvit_machine *m, unsigned char opcode)
{
    int protocol;
    const char *name = dvit_pickle_opcode_name(opcode, &protocol);
    if (!name)
        return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                              "pickle: unknown opcode 0x%02x at byte %zu", opcode, m->at - 1);
    return dvit_error_set(m->error, DVIT_ERROR_UNSUPPORTED,
                          "pickle: %s (of protocol %d) at byte %zu is refused: files of torch.save "
                          "do not use it",
                          name, protocol, m->at - 1);
}

static enum dvit_status begin(struct dvit_machine *m)
{
    if (m->size_bytes < 2 || m->data[0] != 0x80)
        return dvit_error_set(m->error, DVIT_ERROR_UNSUPPORTED,
                              "pickle: does not begin with its protocol; protocol 2 is read");
    if (m->data[1] != PROTOCOL)
        return dvit_error_set(m->error, DVIT_ERROR_UNSUPPORTED,
                              "pickle: protocol %d; protocol 2 is read, which torch.save writes "
                              "unless told otherwise",
                              m->data[1]);
    m->at = 2;
    m->none = dvit_machine_make(m, DVIT_VALUE_NONE);
    m->truths[0] = dvit_machine_make(m, DVIT_VALUE_BOOL);
    m->truths[1] = dvit_machine_make(m, DVIT_VALUE_BOOL);
    m->empty_tuple = dvit_machine_make(m, DVIT_VALUE_TUPLE);
    if (!m->none || !m->truths[0] || !m->truths[1] || !m->empty_tuple)
        return dvit_machine_no_memory(m);
    m->truths[1]->integer = 1;
    return DVIT_OK;
}

static enum dvit_status run(struct dvit_machine *m)
{
    enum dvit_status status = begin(m);
    while (status == DVIT_OK) {
        if (m->at == m->size_bytes)
            return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                                  "pickle: ends at byte %zu without STOP", m->at);
        unsigned char opcode = m->data[m->at++];
        if (opcode == '.')
            break;
        status = steps[opcode] ? steps[opcode](m, opcode) : refuse(m, opcode);
    }
    if (status == DVIT_OK && (m->height != 1 || m->mark_count != 0))
        status = dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                                "pickle: stops with %zu values and %zu marks, expected 1 and 0",
                                m->height, m->mark_count);
    return status;
}

enum dvit_status dvit_pickle_read(struct dvit_pickle *out, const unsigned char *data,
                                  size_t size_bytes, struct dvit_pool *pool,
                                  struct dvit_error *error)
{
    struct dvit_machine m = {.data = data, .size_bytes = size_bytes, .pool = pool, .error = error};
    *out = (struct dvit_pickle){0};
    if (m.size_bytes > DVIT_PICKLE_MAX_BYTES) /* back to back, the next one may begin there */
        m.size_bytes = DVIT_PICKLE_MAX_BYTES;
    enum dvit_status status = run(&m);
    if (status == DVIT_ERROR_FORMAT && m.at == m.size_bytes && m.size_bytes < size_bytes)
        status = dvit_error_set(error, DVIT_ERROR_LIMIT, "pickle: longer than %d bytes",
                                DVIT_PICKLE_MAX_BYTES);
    if (status == DVIT_OK)
        *out = (struct dvit_pickle){m.stack[0], m.persistent, m.at};
    return status;
}

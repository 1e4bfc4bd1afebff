/* The parts of the pickle machine: a stack with marks on it, a memo in pages that are made when
 * they are first written, and operands read within the pickle's bounds. What the instructions do
 * with them is in pickle.c. */
#include "weights/pickle_machine.h"

#include <string.h>

#include "weights/text.h"

enum { PAGE_ENTRIES = 1024, PAGES = DVIT_PICKLE_MAX_MEMO / PAGE_ENTRIES, FIRST_CAPACITY = 4 };

enum dvit_status dvit_machine_no_memory(struct dvit_machine *m)
{
    return dvit_pool_failed(m->pool, m->error);
}

struct dvit_value *dvit_machine_make(struct dvit_machine *m, enum dvit_value_kind kind)
{
    struct dvit_value *value = dvit_pool_take(m->pool, 1, sizeof *value);
    if (value)
        value->kind = kind;
    return value;
}

struct dvit_value *dvit_machine_make_items(struct dvit_machine *m, enum dvit_value_kind kind,
                                           size_t count)
{
    struct dvit_value *value = dvit_machine_make(m, kind);
    if (value && count)
        value->items = dvit_pool_take(m->pool, count, sizeof *value->items);
    return value && count && !value->items ? NULL : value;
}

/* ---- the stack ---- */

enum dvit_status dvit_machine_push(struct dvit_machine *m, struct dvit_value *value)
{
    if (!value)
        return dvit_machine_no_memory(m);
    if (m->height == DVIT_PICKLE_MAX_STACK)
        return dvit_error_set(m->error, DVIT_ERROR_LIMIT,
                              "pickle: more than %d values on the stack", DVIT_PICKLE_MAX_STACK);
    if (m->height == m->stack_capacity) {
        struct dvit_value **stack = dvit_pool_grow(m->pool, m->stack, m->height, sizeof *stack);
        if (!stack)
            return dvit_machine_no_memory(m);
        m->stack = stack;
        m->stack_capacity = m->height ? 2 * m->height : FIRST_CAPACITY;
    }
    m->stack[m->height++] = value;
    return DVIT_OK;
}

/* Values above the last mark. */
static size_t available(const struct dvit_machine *m)
{
    return m->height - (m->mark_count ? m->marks[m->mark_count - 1] : 0);
}

enum dvit_status dvit_machine_need(struct dvit_machine *m, size_t count)
{
    if (available(m) >= count)
        return DVIT_OK;
    return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                          "pickle: byte %zu takes %zu values from a stack of %zu", m->at - 1, count,
                          available(m));
}

struct dvit_value *dvit_machine_pop(struct dvit_machine *m)
{
    return m->stack[--m->height];
}

enum dvit_status dvit_machine_pop_mark(struct dvit_machine *m, struct dvit_value ***items,
                                       size_t *count)
{
    *items = NULL;
    *count = 0;
    if (m->mark_count == 0)
        return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                              "pickle: byte %zu takes values down to a mark, there is none",
                              m->at - 1);
    *count = available(m);
    m->height = m->marks[--m->mark_count];
    *items = m->stack + m->height;
    return DVIT_OK;
}

enum dvit_status dvit_machine_mark(struct dvit_machine *m)
{
    if (m->mark_count == DVIT_PICKLE_MAX_STACK)
        return dvit_error_set(m->error, DVIT_ERROR_LIMIT, "pickle: more than %d open marks",
                              DVIT_PICKLE_MAX_STACK);
    if (m->mark_count == m->mark_capacity) {
        uint32_t *marks = dvit_pool_grow(m->pool, m->marks, m->mark_count, sizeof *marks);
        if (!marks)
            return dvit_machine_no_memory(m);
        m->marks = marks;
        m->mark_capacity = m->mark_count ? 2 * m->mark_count : FIRST_CAPACITY;
    }
    m->marks[m->mark_count++] = (uint32_t)m->height;
    return DVIT_OK;
}

/* ---- the memo ---- */

enum dvit_status dvit_machine_put(struct dvit_machine *m, uint64_t index)
{
    if (index >= DVIT_PICKLE_MAX_MEMO)
        return dvit_error_set(m->error, DVIT_ERROR_LIMIT,
                              "pickle: memo entry %llu, the limit is %d", (unsigned long long)index,
                              DVIT_PICKLE_MAX_MEMO);
    if (!m->memo)
        m->memo = dvit_pool_take(m->pool, PAGES, sizeof *m->memo);
    if (!m->memo)
        return dvit_machine_no_memory(m);
    struct dvit_value ***page = &m->memo[index / PAGE_ENTRIES];
    if (!*page)
        *page = dvit_pool_take(m->pool, PAGE_ENTRIES, sizeof **page);
    if (!*page)
        return dvit_machine_no_memory(m);
    (*page)[index % PAGE_ENTRIES] = m->stack[m->height - 1];
    return DVIT_OK;
}

enum dvit_status dvit_machine_get(struct dvit_machine *m, uint64_t index)
{
    struct dvit_value **page =
        m->memo && index < DVIT_PICKLE_MAX_MEMO ? m->memo[index / PAGE_ENTRIES] : NULL;
    struct dvit_value *value = page ? page[index % PAGE_ENTRIES] : NULL;
    if (!value)
        return dvit_error_set(m->error, DVIT_ERROR_FORMAT, "pickle: memo entry %llu was never set",
                              (unsigned long long)index);
    return dvit_machine_push(m, value);
}

/* ---- reading operands ---- */

enum dvit_status dvit_machine_take(struct dvit_machine *m, size_t count, const unsigned char **out)
{
    *out = NULL;
    if (count > m->size_bytes - m->at)
        return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                              "pickle: ends at byte %zu, inside the operand at byte %zu",
                              m->size_bytes, m->at);
    *out = m->data + m->at;
    m->at += count;
    return DVIT_OK;
}

enum dvit_status dvit_machine_take_number(struct dvit_machine *m, int width, uint64_t *out)
{
    const unsigned char *bytes;
    enum dvit_status status = dvit_machine_take(m, (size_t)width, &bytes);
    *out = 0;
    for (int i = 0; status == DVIT_OK && i < width; i++)
        *out |= (uint64_t)bytes[i] << 8 * i;
    return status;
}

/* A line without its newline. */
enum dvit_status dvit_machine_take_line(struct dvit_machine *m, size_t *length)
{
    const unsigned char *line = m->data + m->at;
    size_t left = m->size_bytes - m->at;
    size_t window = left < DVIT_PICKLE_MAX_GLOBAL + 1 ? left : DVIT_PICKLE_MAX_GLOBAL + 1;
    const unsigned char *end = window ? memchr(line, '\n', window) : NULL;
    if (!end)
        return dvit_error_set(m->error, window == left ? DVIT_ERROR_FORMAT : DVIT_ERROR_LIMIT,
                              "pickle: the name at byte %zu does not end within %d bytes", m->at,
                              DVIT_PICKLE_MAX_GLOBAL);
    *length = (size_t)(end - line);
    if (*length == 0 || !dvit_text_is_utf8(line, *length) || memchr(line, 0, *length))
        return dvit_error_set(m->error, DVIT_ERROR_FORMAT,
                              "pickle: the bytes at %zu are not a name", m->at);
    m->at += *length + 1;
    return DVIT_OK;
}

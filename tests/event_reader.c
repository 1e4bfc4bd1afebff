/* A small Protocol Buffers reader for the messages that an event file holds. */
#include "event_reader.h"

struct bytes {
    const unsigned char *at, *end;
};

static uint64_t little_endian(const unsigned char *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

/* Bit by bit, as the polynomial is written down. */
static uint32_t masked_checksum(const unsigned char *data, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < 8 * size; i++) {
        uint32_t bit = (data[i / 8] >> i % 8 ^ crc) & 1;
        crc = crc >> 1 ^ bit * 0x82f63b78u;
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static uint64_t take_varint(struct bytes *in)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(in->at < in->end && shift < 64);
        value |= (uint64_t)(*in->at & 127) << shift;
        if (!(*in->at++ & 128))
            return value;
    }
}

/* One field: its number and wire type; *block where it is one, else *number. */
static int take_field(struct bytes *in, int *wire, uint64_t *number, struct bytes *block)
{
    uint64_t key = take_varint(in);
    *wire = (int)(key & 7);
    if (*wire == 0) {
        *number = take_varint(in);
    } else if (*wire == 2) {
        uint64_t length = take_varint(in);
        assert_true(length <= (uint64_t)(in->end - in->at));
        *block = (struct bytes){in->at, in->at + length};
        in->at += length;
    } else {
        int width = *wire == 1 ? 8 : 4;
        assert_true(*wire == 1 || *wire == 5);
        assert_true(in->end - in->at >= width);
        *number = little_endian(in->at, width);
        in->at += width;
    }
    return (int)(key >> 3);
}

static void copy_text(char *out, size_t room, struct bytes text)
{
    size_t length = (size_t)(text.end - text.at);
    assert_true(length < room);
    memcpy(out, text.at, length);
    out[length] = 0;
}

static void read_picture(struct bytes in, struct read_event *event)
{
    while (in.at < in.end) {
        int wire;
        uint64_t number = 0;
        struct bytes block = {0};
        int field = take_field(&in, &wire, &number, &block);
        assert_in_range(field, 1, 4);
        assert_int_equal(wire, field == 4 ? 2 : 0);
        if (field == 4)
            event->png_bytes = (size_t)(block.end - block.at);
        else
            event->picture[field - 1] = number;
    }
}

static void read_value(struct bytes in, struct read_event *event)
{
    while (in.at < in.end) {
        int wire;
        uint64_t number = 0;
        struct bytes block = {0};
        int field = take_field(&in, &wire, &number, &block);
        uint32_t bits = (uint32_t)number;
        if (field == 1 && wire == 2)
            copy_text(event->tag, sizeof event->tag, block);
        else if (field == 2 && wire == 5)
            memcpy(&event->value, &bits, 4);
        else if (field == 4 && wire == 2)
            read_picture(block, event);
        else
            fail_msg("a summary's value has field %d, wire type %d", field, wire);
    }
}

static struct read_event *add_event(struct read_events *events, const struct read_event *event)
{
    events->items = realloc(events->items, (events->count + 1) * sizeof *events->items);
    assert_non_null(events->items);
    events->items[events->count] = *event;
    return &events->items[events->count++];
}

static void read_summary(struct bytes in, const struct read_event *head, struct read_events *events)
{
    while (in.at < in.end) {
        int wire;
        uint64_t number;
        struct bytes block;
        assert_int_equal(take_field(&in, &wire, &number, &block), 1);
        assert_int_equal(wire, 2);
        read_value(block, add_event(events, head));
    }
}

static void read_message(struct bytes in, struct read_events *events)
{
    struct read_event event = {0};
    bool summarised = false;
    while (in.at < in.end) {
        int wire, inner_wire;
        uint64_t number = 0;
        struct bytes block = {0}, inner;
        int field = take_field(&in, &wire, &number, &block);
        if (field == 1 && wire == 1)
            memcpy(&event.time, &number, 8);
        else if (field == 2 && wire == 0)
            event.step = number;
        else if (field == 3 && wire == 2)
            copy_text(event.version, sizeof event.version, block);
        else if (field == 5 && wire == 2)
            read_summary(block, &event, events);
        else if (field == 7 && wire == 2)
            assert_int_equal(take_field(&block, &inner_wire, &event.start, &inner), 1);
        else
            fail_msg("an event has field %d, wire type %d", field, wire);
        summarised = summarised || field == 5;
    }
    if (!summarised)
        add_event(events, &event);
}

struct read_events events_of(const unsigned char *data, size_t size)
{
    struct read_events events = {0};
    while (size > 0) {
        uint64_t length = size >= 12 ? little_endian(data, 8) : 0;
        if (size < 16 || size - 16 < length) {
            events.cut = true;
            break;
        }
        assert_int_equal(little_endian(data + 8, 4), masked_checksum(data, 8));
        assert_int_equal(little_endian(data + 12 + length, 4),
                         masked_checksum(data + 12, (size_t)length));
        read_message((struct bytes){data + 12, data + 12 + length}, &events);
        data += 16 + length;
        size -= 16 + (size_t)length;
    }
    return events;
}

/* The path of the index-th event file, NULL beyond them; frees with free(). */
static char *event_path(const char *folder, size_t index)
{
    struct dvit_names names;
    struct dvit_error error;
    char *path = NULL;
    assert_ok(dvit_folder_list(folder, &names, &error), &error);
    for (size_t i = 0; i < names.count && !path; i++)
        if (strncmp(names.items[i], "events.out.tfevents.", 20) == 0 && index-- == 0)
            path = dvit_path_join(folder, names.items[i]);
    dvit_names_free(&names);
    return path;
}

size_t event_file_count(const char *folder)
{
    size_t count = 0;
    for (char *path; (path = event_path(folder, count)); count++)
        free(path);
    return count;
}

struct read_events events_in(const char *folder, size_t index)
{
    struct dvit_error error;
    unsigned char *data;
    size_t size;
    char *path = event_path(folder, index);
    assert_non_null(path);
    assert_ok(dvit_file_read(path, 1 << 28, &data, &size, &error), &error);
    struct read_events events = events_of(data, size);
    free(data);
    free(path);
    return events;
}

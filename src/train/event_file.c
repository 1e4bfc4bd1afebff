/* Writes event files by hand: the six messages that are needed take fewer lines than a library.
 *
 * Numbers of fields and wire types are those of TensorFlow's event.proto and summary.proto; as
 * protoc's own code does, fields of value 0 are left out. Reads nothing back. */
#define _GNU_SOURCE
#include "train/event_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum {
    MAX_FILES = 1000,             /* of one process in one second */
    MAX_PICTURE_BYTES = 64 << 20, /* readers refuse larger messages */
    COLOURS_RGB = 3,              /* Summary.Image.colorspace */
    SESSION_START = 1,            /* SessionLog.status */
};

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* ---- checksums ---- */

static uint32_t crc32c_byte(uint32_t crc, unsigned char byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    return crc;
}

uint32_t dvit_crc32c(const void *data, size_t size_bytes)
{
    uint32_t table[256], crc = 0xffffffffu;
    const unsigned char *bytes = data;
    for (int i = 0; i < 256; i++)
        table[i] = crc32c_byte(0, (unsigned char)i);
    for (size_t i = 0; i < size_bytes; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
    return ~crc;
}

/* So that the checksum of data that hold checksums stays a good one (record_writer.cc). */
static uint32_t masked_crc(const void *data, size_t size)
{
    uint32_t crc = dvit_crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- messages ---- */

/* A message being written. Once memory is out nothing more is added. */
struct message {
    unsigned char *bytes; /* owned */
    size_t size, capacity;
    bool failed;
};

static void add_bytes(struct message *message, const void *bytes, size_t count)
{
    if (message->failed || count == 0)
        return;
    if (message->capacity - message->size < count) {
        size_t capacity = (message->size + count) * 2;
        unsigned char *grown = realloc(message->bytes, capacity);
        if (!grown) {
            message->failed = true;
            return;
        }
        message->bytes = grown;
        message->capacity = capacity;
    }
    memcpy(message->bytes + message->size, bytes, count);
    message->size += count;
}

static void add_little_endian(struct message *message, uint64_t value, int bytes)
{
    unsigned char text[8];
    for (int i = 0; i < bytes; i++)
        text[i] = (unsigned char)(value >> 8 * i);
    add_bytes(message, text, (size_t)bytes);
}

static void add_varint(struct message *message, uint64_t value)
{
    unsigned char text[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7)
        text[count++] = (unsigned char)(value | 0x80);
    text[count++] = (unsigned char)value;
    add_bytes(message, text, count);
}

static void add_key(struct message *message, int field, enum wire wire)
{
    add_varint(message, (uint64_t)field << 3 | (uint64_t)wire);
}

static void add_integer(struct message *message, int field, uint64_t value)
{
    if (value == 0)
        return;
    add_key(message, field, WIRE_VARINT);
    add_varint(message, value);
}

static void add_double(struct message *message, int field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_key(message, field, WIRE_64);
    add_little_endian(message, bits, 8);
}

static void add_float(struct message *message, int field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_key(message, field, WIRE_32);
    add_little_endian(message, bits, 4);
}

static void add_block(struct message *message, int field, const void *bytes, size_t size)
{
    add_key(message, field, WIRE_BYTES);
    add_varint(message, size);
    add_bytes(message, bytes, size);
}

static void add_text(struct message *message, int field, const char *text)
{
    add_block(message, field, text, strlen(text));
}

/* Adds `part` as a field and frees it. */
static void add_part(struct message *message, int field, struct message *part)
{
    add_block(message, field, part->bytes, part->size);
    message->failed = message->failed || part->failed;
    free(part->bytes);
    *part = (struct message){0};
}

static struct message begin_event(double time_s, long step)
{
    struct message event = {0};
    add_double(&event, 1, time_s);
    add_integer(&event, 2, (uint64_t)step);
    return event;
}

/* Frames the event, appends it and frees it. */
static enum dvit_status write_event(struct dvit_event_file *file, struct message *event,
                                    struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct message record = {.failed = event->failed};
    add_little_endian(&record, event->size, 8);
    if (!record.failed)
        add_little_endian(&record, masked_crc(record.bytes, 8), 4);
    add_bytes(&record, event->bytes, event->size);
    add_little_endian(&record, masked_crc(event->bytes, event->size), 4);
    if (record.failed)
        status =
            dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", file->records.path);
    else
        status = dvit_record_file_add(&file->records, record.bytes, record.size, error);
    free(record.bytes);
    free(event->bytes);
    *event = (struct message){0};
    return status;
}

enum dvit_status dvit_event_file_add_scalars(struct dvit_event_file *file, double time_s, long step,
                                             const struct dvit_event_scalar *scalars, size_t count,
                                             struct dvit_error *error)
{
    struct message event = begin_event(time_s, step), summary = {0};
    for (size_t i = 0; i < count; i++) {
        struct message value = {0};
        add_text(&value, 1, scalars[i].tag);
        add_float(&value, 2, scalars[i].value);
        add_part(&summary, 1, &value);
    }
    add_part(&event, 5, &summary);
    if (count > 0)
        return write_event(file, &event, error);
    free(event.bytes);
    return DVIT_OK;
}

enum dvit_status dvit_event_file_add_picture(struct dvit_event_file *file, double time_s, long step,
                                             const struct dvit_event_picture *picture,
                                             struct dvit_error *error)
{
    if (picture->png_bytes > MAX_PICTURE_BYTES)
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "\"%s\": a picture of %zu bytes, expected at most %d",
                              file->records.path, picture->png_bytes, MAX_PICTURE_BYTES);
    struct message event = begin_event(time_s, step), summary = {0}, value = {0}, image = {0};
    add_integer(&image, 1, (uint64_t)picture->height);
    add_integer(&image, 2, (uint64_t)picture->width);
    add_integer(&image, 3, COLOURS_RGB);
    add_block(&image, 4, picture->png, picture->png_bytes);
    add_text(&value, 1, picture->tag);
    add_part(&value, 4, &image);
    add_part(&summary, 1, &value);
    add_part(&event, 5, &summary);
    return write_event(file, &event, error);
}

/* ---- the file ---- */

static enum dvit_status open_new(struct dvit_event_file *file, const char *folder, double time_s,
                                 struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char host[65] = "", name[160];
    if (gethostname(host, sizeof host - 1) != 0 || !*host)
        snprintf(host, sizeof host, "localhost");
    for (char *at = host; *at; at++)
        if (*at == '/')
            *at = '-';
    for (int n = 0; n < MAX_FILES; n++) {
        bool exists;
        snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.%d", (long long)time_s,
                 host, (long)getpid(), n);
        char *path = dvit_path_join(folder, name);
        if (!path)
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
        status = dvit_record_file_open(&file->records, path, DVIT_OPEN_UNUSED, &exists, error);
        free(path);
        if (status == DVIT_OK || !exists)
            break;
    }
    return status;
}

enum dvit_status dvit_event_file_create(struct dvit_event_file *file, const char *folder,
                                        double time_s, long first_step, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct message version = begin_event(time_s, 0), start = begin_event(time_s, first_step);
    struct message session = {0};
    *file = (struct dvit_event_file){0};
    add_text(&version, 3, "brain.Event:2");
    add_integer(&session, 1, SESSION_START);
    add_part(&start, 7, &session);
    DVIT_TRY(open_new(file, folder, time_s, error));
    DVIT_TRY(write_event(file, &version, error));
    DVIT_TRY(write_event(file, &start, error));
done:
    free(version.bytes);
    free(start.bytes);
    if (status != DVIT_OK)
        dvit_event_file_close(file);
    return status;
}

void dvit_event_file_close(struct dvit_event_file *file)
{
    dvit_record_file_close(&file->records);
}

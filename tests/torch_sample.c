/* Writes whatever it is told to write, true or not. */
#include "torch_sample.h"

#include <stdlib.h>
#include <string.h>

void bytes_put(struct bytes *out, const void *data, size_t size_bytes)
{
    if (size_bytes > out->capacity - out->size_bytes) {
        out->capacity = 2 * (out->size_bytes + size_bytes) + 64;
        out->data = realloc(out->data, out->capacity);
        if (!out->data)
            abort();
    }
    if (size_bytes)
        memcpy(out->data + out->size_bytes, data, size_bytes);
    out->size_bytes += size_bytes;
}

void bytes_number(struct bytes *out, uint64_t value, int width)
{
    for (int i = 0; i < width; i++) {
        unsigned char byte = (unsigned char)(value >> 8 * i);
        bytes_put(out, &byte, 1);
    }
}

void bytes_repeat(struct bytes *out, const void *data, size_t size_bytes, size_t times)
{
    for (size_t i = 0; i < times; i++)
        bytes_put(out, data, size_bytes);
}

/* Both headers from the flags to the sizes. */
static void put_common(struct bytes *out, unsigned flags, unsigned method, uint32_t crc,
                       uint32_t size_bytes)
{
    bytes_number(out, flags, 2);
    bytes_number(out, method, 2);
    bytes_number(out, 0, 4); /* time and date */
    bytes_number(out, crc, 4);
    bytes_number(out, size_bytes, 4);
    bytes_number(out, size_bytes, 4);
}

static void put_zip64_field(struct bytes *out, uint64_t size_bytes, const uint64_t *offset)
{
    bytes_number(out, 1, 2);
    bytes_number(out, offset ? 24 : 16, 2);
    bytes_number(out, size_bytes, 8);
    bytes_number(out, size_bytes, 8);
    if (offset)
        bytes_number(out, *offset, 8);
}

static void put_local(struct bytes *out, const struct zip_record *r)
{
    const char *name = r->local_name ? r->local_name : r->name;
    uint32_t size = r->size_claim ? r->size_claim : (uint32_t)r->size_bytes;
    size = r->zip64 ? UINT32_MAX : r->local_size ? r->local_size : size;
    bytes_literal(out, "PK\3\4\x14\0");
    put_common(out, r->local_flags ? r->local_flags : r->flags,
               r->local_method ? r->local_method : r->method, r->local_crc, size);
    bytes_number(out, strlen(name), 2);
    bytes_number(out, r->zip64 ? 20 : 0, 2);
    bytes_put(out, name, strlen(name));
    if (r->zip64)
        put_zip64_field(out, r->size_bytes, NULL);
    bytes_put(out, r->data, r->size_bytes);
}

static void put_central(struct bytes *out, const struct zip_record *r, uint64_t offset)
{
    uint32_t size = r->size_claim ? r->size_claim : (uint32_t)r->size_bytes;
    if (r->offset_plus_one)
        offset = r->offset_plus_one - 1;
    bytes_literal(out, "PK\1\2\x14\0\x14\0");
    put_common(out, r->flags, r->method, 0, r->zip64 ? UINT32_MAX : size);
    bytes_number(out, strlen(r->name), 2);
    bytes_number(out, r->zip64 ? 28 : 0, 2);
    bytes_repeat(out, "", 1, 10); /* comment, disk, attributes */
    bytes_number(out, r->zip64 ? UINT32_MAX : offset, 4);
    bytes_put(out, r->name, strlen(r->name));
    if (r->zip64)
        put_zip64_field(out, r->size_bytes, &offset);
}

static void put_zip64_end(struct bytes *out, size_t count, uint64_t size_bytes, uint64_t offset)
{
    uint64_t at = out->size_bytes;
    bytes_literal(out, "PK\6\6");
    bytes_number(out, 44, 8);
    bytes_number(out, 45, 2);
    bytes_number(out, 45, 2);
    bytes_number(out, 0, 8); /* disks */
    bytes_number(out, count, 8);
    bytes_number(out, count, 8);
    bytes_number(out, size_bytes, 8);
    bytes_number(out, offset, 8);
    bytes_literal(out, "PK\6\7\0\0\0\0");
    bytes_number(out, at, 8);
    bytes_number(out, 1, 4);
}

void zip_build(struct bytes *out, const struct zip_record *records, size_t count, int zip64)
{
    uint64_t *offsets = calloc(count + 1, sizeof *offsets);
    if (!offsets)
        abort();
    for (size_t i = 0; i < count; i++) {
        offsets[i] = out->size_bytes;
        put_local(out, &records[i]);
    }
    uint64_t begin = out->size_bytes;
    for (size_t i = 0; i < count; i++)
        put_central(out, &records[i], offsets[i]);
    uint64_t size_bytes = out->size_bytes - begin;
    if (zip64)
        put_zip64_end(out, count, size_bytes, begin);
    bytes_literal(out, "PK\5\6\0\0\0\0");
    bytes_number(out, count, 2);
    bytes_number(out, count, 2);
    bytes_number(out, size_bytes, 4);
    bytes_number(out, begin, 4);
    bytes_number(out, 0, 2);
    free(offsets);
}

void torch_zip_build(struct bytes *out, const struct bytes *pickle, const void *storage,
                     size_t storage_bytes)
{
    struct zip_record records[] = {
        {.name = "a/data.pkl", .data = pickle->data, .size_bytes = pickle->size_bytes},
        {.name = "a/data/0", .data = storage, .size_bytes = storage_bytes},
    };
    zip_build(out, records, storage ? 2 : 1, ZIP_WITH_ZIP64);
}

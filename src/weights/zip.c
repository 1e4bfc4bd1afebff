/* Reader of stored zip archives, ZIP64 included.
 *
 * From the end: the end record, the ZIP64 record before it where there is one, the central
 * directory, then each entry's local header. Two readers of one archive must not see two contents,
 * so whatever is written twice has to agree and nothing may overlap. No decompression, no
 * checksums, no comments, one disk. */
#include "weights/zip.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "weights/text.h"

enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    ZIP64_EXTRA = 1,
    FLAG_DESCRIPTOR = 1 << 3, /* sizes and checksum of the local header follow the payload */
    FLAG_UTF8 = 1 << 11,
    FLAG_ENCRYPTED = 1 << 0,
};
static const uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50,
                      end_signature = 0x06054b50, end64_signature = 0x06064b50,
                      locator_signature = 0x07064b50;

struct directory {
    uint64_t offset, size_bytes, count;
    uint64_t end; /* where the end records begin */
};

struct record {
    struct dvit_zip_entry entry;
    uint64_t begin, end; /* local header to the payload's last byte */
};

struct dvit_zip {
    const unsigned char *data;
    size_t size_bytes;
    struct record *records; /* [count], by name once opened */
    size_t count;
    const unsigned char *top; /* [top_bytes], the top folder with its slash */
    size_t top_bytes;
};

/* Of a central or local header. */
struct header {
    unsigned flags, method, name_bytes, extra_bytes;
    uint32_t crc;
    uint64_t stored_bytes, size_bytes, offset;
    const unsigned char *name, *extra;
};

static uint64_t load(const unsigned char *bytes, int width)
{
    uint64_t value = 0;
    for (int i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static struct dvit_shown_text show(const unsigned char *name, size_t length)
{
    struct dvit_shown_text shown;
    dvit_text_escape((const char *)name, length, shown.text, sizeof shown.text);
    return shown;
}

/* A field of the end record is its ZIP64 twin, or all ones where it does not fit. */
static bool agrees(uint64_t small, uint64_t large, int width)
{
    uint64_t ones = (UINT64_C(1) << 8 * width) - 1;
    return small == large || (small == ones && large >= ones);
}

static enum dvit_status read_end64(const struct dvit_zip *zip, const unsigned char *end,
                                   struct directory *out, struct dvit_error *error)
{
    const unsigned char *locator = end - LOCATOR_BYTES;
    uint64_t locator_at = (uint64_t)(locator - zip->data), at = load(locator + 8, 8);
    if (load(locator + 4, 4) != 0 || load(locator + 16, 4) != 1)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "zip: spans several disks");
    if (locator_at < END64_BYTES || at > locator_at - END64_BYTES)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: ZIP64 record at %" PRIu64 " does not lie before its locator",
                              at);
    const unsigned char *record = zip->data + at;
    if (load(record, 4) != end64_signature || load(record + 4, 8) != locator_at - at - 12)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "zip: damaged ZIP64 record");
    if (load(record + 16, 4) != 0 || load(record + 20, 4) != 0)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "zip: spans several disks");
    *out = (struct directory){.count = load(record + 32, 8),
                              .size_bytes = load(record + 40, 8),
                              .offset = load(record + 48, 8),
                              .end = at};
    if (load(record + 24, 8) != out->count || !agrees(load(end + 10, 2), out->count, 2) ||
        !agrees(load(end + 12, 4), out->size_bytes, 4) ||
        !agrees(load(end + 16, 4), out->offset, 4))
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: ZIP64 record and end record disagree");
    return DVIT_OK;
}

static enum dvit_status read_end(const struct dvit_zip *zip, struct directory *out,
                                 struct dvit_error *error)
{
    if (zip->size_bytes < END_BYTES)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "zip: %zu bytes, expected at least %d",
                              zip->size_bytes, END_BYTES);
    const unsigned char *end = zip->data + zip->size_bytes - END_BYTES;
    if (load(end, 4) != end_signature || load(end + 20, 2) != 0)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: does not end with an end record: truncated, or a comment");
    if (load(end + 4, 2) != 0 || load(end + 6, 2) != 0 || load(end + 8, 2) != load(end + 10, 2))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "zip: spans several disks");
    *out = (struct directory){.count = load(end + 10, 2),
                              .size_bytes = load(end + 12, 4),
                              .offset = load(end + 16, 4),
                              .end = (uint64_t)(end - zip->data)};
    enum dvit_status status = DVIT_OK;
    if (out->end >= LOCATOR_BYTES && load(end - LOCATOR_BYTES, 4) == locator_signature)
        status = read_end64(zip, end, out, error);
    if (status != DVIT_OK)
        return status;
    if (out->size_bytes > out->end || out->offset != out->end - out->size_bytes)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: directory at %" PRIu64 " of %" PRIu64
                              " bytes does not end at %" PRIu64,
                              out->offset, out->size_bytes, out->end);
    if (out->count > DVIT_ZIP_MAX_ENTRIES)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "zip: %" PRIu64 " entries, the limit is %d",
                              out->count, DVIT_ZIP_MAX_ENTRIES);
    return DVIT_OK;
}

/* Fills in the numbers that stand as all ones from the ZIP64 field, in its fixed order. */
static bool apply_zip64(struct header *h)
{
    uint64_t *const fields[] = {&h->size_bytes, &h->stored_bytes, &h->offset};
    const unsigned char *field = NULL;
    size_t left = 0, at = 0;
    while (at + 4 <= h->extra_bytes) {
        size_t length = load(h->extra + at + 2, 2);
        if (length > h->extra_bytes - at - 4)
            return false;
        if (load(h->extra + at, 2) == ZIP64_EXTRA) {
            if (field)
                return false;
            field = h->extra + at + 4;
            left = length;
        }
        at += 4 + length;
    }
    for (int i = 0; i < 3; i++) {
        if (*fields[i] != UINT32_MAX)
            continue;
        if (left < 8)
            return false;
        *fields[i] = load(field, 8);
        field += 8;
        left -= 8;
    }
    return true;
}

static enum dvit_status check_name(const struct header *h, struct dvit_error *error)
{
    const unsigned char *name = h->name, *slash = memchr(name, '/', h->name_bytes);
    if (h->name_bytes > DVIT_ZIP_MAX_NAME)
        return dvit_error_set(error, DVIT_ERROR_LIMIT, "zip: a name of %u bytes, the limit is %d",
                              h->name_bytes, DVIT_ZIP_MAX_NAME);
    if (!dvit_text_is_utf8(name, h->name_bytes) || memchr(name, 0, h->name_bytes) ||
        memchr(name, '\\', h->name_bytes))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "zip: \"%s\" is not a record's name",
                              show(name, h->name_bytes).text);
    if (!slash || slash == name)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: record \"%s\" is not below a top folder, as PyTorch's are",
                              show(name, h->name_bytes).text);
    size_t begin = 0;
    for (size_t i = 0; i <= h->name_bytes; i++) {
        if (i < h->name_bytes && name[i] != '/')
            continue;
        size_t length = i - begin;
        if ((length == 1 && name[begin] == '.') ||
            (length == 2 && name[begin] == '.' && name[begin + 1] == '.'))
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "zip: record \"%s\" climbs out of its folder",
                                  show(name, h->name_bytes).text);
        begin = i + 1;
    }
    return DVIT_OK;
}

/* The first record says what the top folder is called. */
static enum dvit_status check_top(struct dvit_zip *zip, const struct header *h,
                                  struct dvit_error *error)
{
    if (!zip->top) {
        const unsigned char *slash = memchr(h->name, '/', h->name_bytes);
        zip->top = h->name;
        zip->top_bytes = (size_t)(slash - h->name) + 1;
    }
    if (h->name_bytes < zip->top_bytes || memcmp(h->name, zip->top, zip->top_bytes) != 0)
        return dvit_error_set(
            error, DVIT_ERROR_FORMAT, "zip: record \"%s\" is not below the top folder \"%s\"",
            show(h->name, h->name_bytes).text, show(zip->top, zip->top_bytes).text);
    return DVIT_OK;
}

static enum dvit_status check_method(const struct header *h, struct dvit_error *error)
{
    if (h->flags & FLAG_ENCRYPTED)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "zip: record \"%s\" is encrypted",
                              show(h->name, h->name_bytes).text);
    if (h->method != 0)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "zip: record \"%s\" is compressed (method %u); PyTorch stores",
                              show(h->name, h->name_bytes).text, h->method);
    if (h->flags & ~(unsigned)(FLAG_DESCRIPTOR | FLAG_UTF8))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "zip: record \"%s\" has unknown flags 0x%04x",
                              show(h->name, h->name_bytes).text, h->flags);
    if (h->stored_bytes != h->size_bytes)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: record \"%s\" is stored, but of %" PRIu64 " bytes in %" PRIu64,
                              show(h->name, h->name_bytes).text, h->size_bytes, h->stored_bytes);
    return DVIT_OK;
}

/* The central header at `at`; *next is where the following one begins. */
static enum dvit_status read_central(const struct dvit_zip *zip, const struct directory *directory,
                                     uint64_t at, struct header *h, uint64_t *next,
                                     struct dvit_error *error)
{
    uint64_t left = directory->end - at;
    const unsigned char *p = zip->data + at;
    if (left < CENTRAL_BYTES || load(p, 4) != central_signature)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "zip: no directory entry at byte %" PRIu64,
                              at);
    *h = (struct header){.flags = (unsigned)load(p + 8, 2),
                         .method = (unsigned)load(p + 10, 2),
                         .crc = (uint32_t)load(p + 16, 4),
                         .stored_bytes = load(p + 20, 4),
                         .size_bytes = load(p + 24, 4),
                         .name_bytes = (unsigned)load(p + 28, 2),
                         .extra_bytes = (unsigned)load(p + 30, 2),
                         .offset = load(p + 42, 4),
                         .name = p + CENTRAL_BYTES};
    uint64_t length = CENTRAL_BYTES + h->name_bytes + h->extra_bytes + load(p + 32, 2);
    if (length > left)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: directory entry at byte %" PRIu64 " ends outside it", at);
    if (load(p + 34, 2) != 0)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "zip: spans several disks");
    h->extra = h->name + h->name_bytes;
    *next = at + length;
    if (!apply_zip64(h))
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "zip: record \"%s\": damaged ZIP64 field",
                              show(h->name, h->name_bytes).text);
    enum dvit_status status = check_name(h, error);
    return status == DVIT_OK ? check_method(h, error) : status;
}

static enum dvit_status disagreement(const struct header *central, const char *what,
                                     struct dvit_error *error)
{
    return dvit_error_set(error, DVIT_ERROR_FORMAT,
                          "zip: record \"%s\": local header and directory disagree on its %s",
                          show(central->name, central->name_bytes).text, what);
}

static enum dvit_status check_local(const unsigned char *p, const struct header *central,
                                    struct dvit_error *error)
{
    struct header local = {.flags = (unsigned)load(p + 6, 2),
                           .method = (unsigned)load(p + 8, 2),
                           .crc = (uint32_t)load(p + 14, 4),
                           .stored_bytes = load(p + 18, 4),
                           .size_bytes = load(p + 22, 4),
                           .name_bytes = (unsigned)load(p + 26, 2),
                           .extra_bytes = (unsigned)load(p + 28, 2),
                           .name = p + LOCAL_BYTES};
    local.extra = local.name + local.name_bytes;
    if (local.name_bytes != central->name_bytes ||
        memcmp(local.name, central->name, local.name_bytes) != 0)
        return disagreement(central, "name", error);
    if (local.method != central->method)
        return disagreement(central, "method", error);
    if (local.flags != central->flags)
        return disagreement(central, "flags", error);
    if (local.flags & FLAG_DESCRIPTOR)
        return DVIT_OK;
    if (!apply_zip64(&local) || local.size_bytes != central->size_bytes ||
        local.stored_bytes != central->stored_bytes)
        return disagreement(central, "size", error);
    return local.crc == central->crc ? DVIT_OK : disagreement(central, "checksum", error);
}

/* Where the payload lies is the local header's to say: its extra field differs from the
 * directory's. */
static enum dvit_status locate(const struct dvit_zip *zip, const struct directory *directory,
                               const struct header *central, struct record *out,
                               struct dvit_error *error)
{
    uint64_t limit = directory->offset;
    if (limit < LOCAL_BYTES || central->offset > limit - LOCAL_BYTES ||
        load(zip->data + central->offset, 4) != local_signature)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: record \"%s\": no local header at byte %" PRIu64,
                              show(central->name, central->name_bytes).text, central->offset);
    const unsigned char *p = zip->data + central->offset;
    uint64_t left = limit - central->offset;
    uint64_t head = LOCAL_BYTES + load(p + 26, 2) + load(p + 28, 2);
    if (head > left || central->size_bytes > left - head)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "zip: record \"%s\" of %" PRIu64
                              " bytes does not fit before the directory",
                              show(central->name, central->name_bytes).text, central->size_bytes);
    *out = (struct record){.entry = {.name = central->name + zip->top_bytes,
                                     .name_bytes = central->name_bytes - zip->top_bytes,
                                     .data = p + head,
                                     .size_bytes = (size_t)central->size_bytes},
                           .begin = central->offset,
                           .end = central->offset + head + central->size_bytes};
    return check_local(p, central, error);
}

static enum dvit_status read_directory(struct dvit_zip *zip, const struct directory *directory,
                                       struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    uint64_t at = directory->offset;
    struct header header;
    for (uint64_t i = 0; i < directory->count; i++) {
        DVIT_TRY(read_central(zip, directory, at, &header, &at, error));
        DVIT_TRY(check_top(zip, &header, error));
        DVIT_TRY(locate(zip, directory, &header, &zip->records[i], error));
        zip->count++;
    }
    if (at != directory->end)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "zip: directory of %" PRIu64 " entries ends at byte %" PRIu64
                  ", expected %" PRIu64,
                  directory->count, at, directory->end);
done:
    return status;
}

static int compare_places(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static int compare_names(const void *a, const void *b)
{
    const struct dvit_zip_entry *x = a, *y = b; /* the first member of a record */
    size_t shorter = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
    int order = shorter ? memcmp(x->name, y->name, shorter) : 0;
    return order ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static enum dvit_status check_together(struct dvit_zip *zip, struct dvit_error *error)
{
    struct record *r = zip->records;
    qsort(r, zip->count, sizeof *r, compare_places);
    for (size_t i = 1; i < zip->count; i++)
        if (r[i].begin < r[i - 1].end)
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "zip: records \"%s\" and \"%s\" overlap",
                                  show(r[i - 1].entry.name, r[i - 1].entry.name_bytes).text,
                                  show(r[i].entry.name, r[i].entry.name_bytes).text);
    qsort(r, zip->count, sizeof *r, compare_names);
    for (size_t i = 1; i < zip->count; i++)
        if (compare_names(&r[i - 1], &r[i]) == 0)
            return dvit_error_set(error, DVIT_ERROR_FORMAT, "zip: record \"%s\" is there twice",
                                  show(r[i].entry.name, r[i].entry.name_bytes).text);
    return DVIT_OK;
}

enum dvit_status dvit_zip_open(struct dvit_zip **out, const unsigned char *data, size_t size_bytes,
                               struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct directory directory;
    *out = NULL;
    struct dvit_zip *zip = calloc(1, sizeof *zip);
    if (!zip)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "zip: out of memory");
    zip->data = data;
    zip->size_bytes = size_bytes;
    DVIT_TRY(read_end(zip, &directory, error));
    if (directory.count > directory.size_bytes / CENTRAL_BYTES)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "zip: %" PRIu64 " entries do not fit in a directory of %" PRIu64 " bytes",
                  directory.count, directory.size_bytes);
    zip->records = calloc(directory.count + 1, sizeof *zip->records); /* never a request for 0 */
    if (!zip->records)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "zip: out of memory for %" PRIu64 " entries",
                  directory.count);
    DVIT_TRY(read_directory(zip, &directory, error));
    DVIT_TRY(check_together(zip, error));
    *out = zip;
    zip = NULL;
done:
    dvit_zip_free(zip);
    return status;
}

bool dvit_zip_names(const unsigned char *data, size_t size_bytes,
                    void (*visit)(void *context, const unsigned char *name, size_t length),
                    void *context)
{
    const struct dvit_zip zip = {.data = data, .size_bytes = size_bytes};
    struct directory directory;
    if (read_end(&zip, &directory, NULL) != DVIT_OK)
        return false;
    for (uint64_t at = directory.offset, i = 0; i < directory.count; i++) {
        const unsigned char *p = data + at;
        uint64_t left = directory.end - at;
        if (left < CENTRAL_BYTES || load(p, 4) != central_signature)
            return i > 0;
        uint64_t name = load(p + 28, 2),
                 length = CENTRAL_BYTES + name + load(p + 30, 2) + load(p + 32, 2);
        if (length > left)
            return i > 0;
        visit(context, p + CENTRAL_BYTES, name);
        at += length;
    }
    return directory.count > 0;
}

void dvit_zip_free(struct dvit_zip *zip)
{
    if (!zip)
        return;
    free(zip->records);
    free(zip);
}

size_t dvit_zip_count(const struct dvit_zip *zip)
{
    return zip->count;
}

const struct dvit_zip_entry *dvit_zip_entry(const struct dvit_zip *zip, size_t index)
{
    return &zip->records[index].entry;
}

const struct dvit_zip_entry *dvit_zip_find(const struct dvit_zip *zip, const char *name,
                                           size_t name_bytes)
{
    const struct dvit_zip_entry key = {.name = (const unsigned char *)name,
                                       .name_bytes = name_bytes};
    const struct record *found =
        bsearch(&key, zip->records, zip->count, sizeof *found, compare_names);
    return found ? &found->entry : NULL;
}

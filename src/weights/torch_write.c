/* Writer of PyTorch's zip form: a stored zip of data.pkl, byteorder, data/<index>, version. The
 * pickle says what torch.save would say, without a memo: every name stands where it is used. Four
 * gigabytes are enough for every model dvit has, so there is no ZIP64; larger files are refused. */
#include "weights/torch_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "weights/text.h"
#include "weights/pickle.h"

#define TOP "archive/"

enum {
    PAYLOAD_ALIGNMENT = 64,
    LOCAL_BYTES = 30,
    EXTRA_BYTES = 4, /* head of the extra field that pads */
    CRC_TABLES = 8,
    OTHER_RECORDS = 3 /* data.pkl, byteorder, version */
};

static const struct {
    enum dvit_dtype dtype;
    const char *storage;
} storages[] = {
    {DVIT_DTYPE_F64, "DoubleStorage"}, {DVIT_DTYPE_F32, "FloatStorage"},
    {DVIT_DTYPE_F16, "HalfStorage"},   {DVIT_DTYPE_BF16, "BFloat16Storage"},
    {DVIT_DTYPE_I64, "LongStorage"},   {DVIT_DTYPE_I32, "IntStorage"},
    {DVIT_DTYPE_I16, "ShortStorage"},  {DVIT_DTYPE_I8, "CharStorage"},
    {DVIT_DTYPE_U8, "ByteStorage"},    {DVIT_DTYPE_BOOL, "BoolStorage"},
};

static const char *storage_of(enum dvit_dtype dtype)
{
    for (size_t i = 0; i < sizeof storages / sizeof *storages; i++)
        if (storages[i].dtype == dtype)
            return storages[i].storage;
    return NULL;
}

/* ---- bytes in memory ---- */

struct buffer {
    unsigned char *bytes;
    size_t size_bytes, capacity;
    bool failed; /* memory was out: what follows is dropped */
};

static void put(struct buffer *b, const void *bytes, size_t count)
{
    if (b->failed)
        return;
    if (count > b->capacity - b->size_bytes) {
        size_t capacity = 2 * (b->size_bytes + count) + 256;
        unsigned char *larger = realloc(b->bytes, capacity);
        b->failed = larger == NULL;
        if (!larger)
            return;
        b->bytes = larger;
        b->capacity = capacity;
    }
    if (count)
        memcpy(b->bytes + b->size_bytes, bytes, count);
    b->size_bytes += count;
}

static void put_number(struct buffer *b, uint64_t value, int width)
{
    unsigned char bytes[8];
    for (int i = 0; i < width; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    put(b, bytes, (size_t)width);
}

/* ---- the pickle ---- */

static void put_text(struct buffer *b, const char *text)
{
    size_t length = strlen(text);
    put(b, "X", 1);
    put_number(b, length, 4);
    put(b, text, length);
}

static void put_global(struct buffer *b, const char *module, const char *name)
{
    put(b, "c", 1);
    put(b, module, strlen(module));
    put(b, "\n", 1);
    put(b, name, strlen(name));
    put(b, "\n", 1);
}

static void put_int(struct buffer *b, uint64_t value)
{
    if (value <= UINT8_MAX) {
        put(b, "K", 1);
        put_number(b, value, 1);
    } else if (value <= INT32_MAX) {
        put(b, "J", 1);
        put_number(b, value, 4);
    } else { /* LONG1, whose last bit is the sign; sizes stay below 2^63 */
        put(b, "\x8a\x08", 2);
        put_number(b, value, 8);
    }
}

static void put_ordered_dict(struct buffer *b)
{
    put_global(b, "collections", "OrderedDict");
    put(b, ")R", 2);
}

static size_t elements_of(const struct dvit_safetensors_entry *entry)
{
    size_t count = 0;
    dvit_shape_elements(entry->shape, entry->rank, dvit_dtype_size(entry->dtype), &count);
    return count;
}

static void put_tensor(struct buffer *b, const struct dvit_safetensors_entry *entry, size_t index)
{
    char key[24];
    uint64_t stride[DVIT_TENSOR_MAX_RANK], step = 1;
    snprintf(key, sizeof key, "%zu", index);
    put_global(b, "torch._utils", "_rebuild_tensor_v2");
    put(b, "((", 2);
    put_text(b, "storage");
    put_global(b, "torch", storage_of(entry->dtype));
    put_text(b, key);
    put_text(b, "cpu");
    put_int(b, elements_of(entry));
    put(b, "tQK\0(", 5); /* the storage by its id; offset 0 */
    for (int i = entry->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= entry->shape[i] ? entry->shape[i] : 1;
    }
    for (int i = 0; i < entry->rank; i++)
        put_int(b, entry->shape[i]);
    put(b, "t(", 2);
    for (int i = 0; i < entry->rank; i++)
        put_int(b, stride[i]);
    put(b, "t\x89", 2);  /* no gradient */
    put_ordered_dict(b); /* no hooks */
    put(b, "tR", 2);
}

static void put_pickle(struct buffer *b, const struct dvit_safetensors_entry *entries, size_t count,
                       const struct dvit_safetensors_pair *pairs, size_t pair_count)
{
    put(b, "\x80\x02}(", 4);
    put_text(b, "model");
    put_ordered_dict(b);
    put(b, "(", 1);
    for (size_t i = 0; i < count; i++) {
        put_text(b, entries[i].name);
        put_tensor(b, &entries[i], i);
    }
    put(b, "u", 1);
    for (size_t i = 0; i < pair_count; i++) {
        put_text(b, pairs[i].key);
        put_text(b, pairs[i].value);
    }
    put(b, "u.", 2);
}

/* ---- the archive ---- */

/* CRC-32 of zip (polynomial 0xEDB88320, reflected), eight bytes a step. */
struct crc {
    uint32_t tables[CRC_TABLES][256];
};

static void crc_init(struct crc *crc)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0);
        crc->tables[0][i] = value;
    }
    for (int t = 1; t < CRC_TABLES; t++)
        for (int i = 0; i < 256; i++) {
            uint32_t before = crc->tables[t - 1][i];
            crc->tables[t][i] = before >> 8 ^ crc->tables[0][before & 0xFF];
        }
}

static uint32_t crc_of(const struct crc *crc, const unsigned char *bytes, size_t count)
{
    uint32_t value = UINT32_MAX;
    for (; count >= CRC_TABLES; count -= CRC_TABLES, bytes += CRC_TABLES) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        word ^= value;
        value = 0;
        for (int i = 0; i < CRC_TABLES; i++)
            value ^= crc->tables[CRC_TABLES - 1 - i][word >> 8 * i & 0xFF];
    }
    for (; count > 0; count--, bytes++)
        value = value >> 8 ^ crc->tables[0][(value ^ *bytes) & 0xFF];
    return ~value;
}

struct archive {
    struct dvit_file_writer writer;
    struct crc crc;
    struct buffer directory;
    uint64_t at; /* bytes written */
    size_t records;
    struct dvit_error *error;
};

static enum dvit_status emit(struct archive *a, const void *bytes, size_t count)
{
    a->at += count;
    return dvit_file_write(&a->writer, bytes, count, a->error);
}

/* What local and central header share, from the version to the name's length. */
static void put_header(struct buffer *b, uint32_t crc, size_t size_bytes, size_t name_bytes)
{
    put_number(b, 20, 2);         /* version 2.0 */
    put_number(b, 1 << 11, 2);    /* names are UTF-8 */
    put_number(b, 0, 2);          /* stored */
    put_number(b, 0x00210000, 4); /* 1 January 1980, the first date there is */
    put_number(b, crc, 4);
    put_number(b, size_bytes, 4);
    put_number(b, size_bytes, 4);
    put_number(b, name_bytes, 2);
}

static enum dvit_status add_record(struct archive *a, const char *name, const void *bytes,
                                   size_t size_bytes)
{
    enum dvit_status status = DVIT_OK;
    static const unsigned char zeros[PAYLOAD_ALIGNMENT];
    struct buffer head = {0};
    size_t name_bytes = strlen(name), begin = a->at + LOCAL_BYTES + name_bytes + EXTRA_BYTES;
    size_t padding = (PAYLOAD_ALIGNMENT - begin % PAYLOAD_ALIGNMENT) % PAYLOAD_ALIGNMENT;
    uint32_t crc = crc_of(&a->crc, bytes, size_bytes);
    struct buffer *directory = &a->directory;
    put(directory, "PK\1\2\x14\0", 6);
    put_header(directory, crc, size_bytes, name_bytes);
    put(directory, zeros, 12); /* no extra field, comment, disk, attributes */
    put_number(directory, a->at, 4);
    put(directory, name, name_bytes);
    put(&head, "PK\3\4", 4);
    put_header(&head, crc, size_bytes, name_bytes);
    put_number(&head, EXTRA_BYTES + padding, 2);
    put(&head, name, name_bytes);
    put(&head, "FB", 2); /* the extra field that PyTorch pads with */
    put_number(&head, padding, 2);
    put(&head, zeros, padding);
    if (head.failed || directory->failed)
        DVIT_FAIL(a->error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", a->writer.path);
    DVIT_TRY(emit(a, head.bytes, head.size_bytes));
    DVIT_TRY(emit(a, bytes, size_bytes));
    a->records++;
done:
    free(head.bytes);
    return status;
}

static enum dvit_status finish(struct archive *a)
{
    struct buffer *end = &a->directory;
    size_t directory_bytes = end->size_bytes;
    put(end, "PK\5\6\0\0\0\0", 8);
    put_number(end, a->records, 2);
    put_number(end, a->records, 2);
    put_number(end, directory_bytes, 4);
    put_number(end, a->at, 4);
    put_number(end, 0, 2); /* no comment */
    if (end->failed)
        return dvit_error_set(a->error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", a->writer.path);
    return emit(a, end->bytes, end->size_bytes);
}

static enum dvit_status write_archive(struct archive *a, const struct buffer *pickle,
                                      const struct dvit_safetensors_entry *entries, size_t count)
{
    enum dvit_status status = DVIT_OK;
    char name[sizeof TOP + 32];
    DVIT_TRY(add_record(a, TOP "data.pkl", pickle->bytes, pickle->size_bytes));
    DVIT_TRY(add_record(a, TOP "byteorder", "little", 6));
    for (size_t i = 0; i < count; i++) {
        size_t size_bytes = elements_of(&entries[i]) * dvit_dtype_size(entries[i].dtype);
        snprintf(name, sizeof name, TOP "data/%zu", i);
        DVIT_TRY(add_record(a, name, entries[i].data, size_bytes));
    }
    DVIT_TRY(add_record(a, TOP "version", "3\n", 2));
    DVIT_TRY(finish(a));
done:
    return status;
}

/* ---- checks ---- */

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Texts are UTF-8, no name stands twice. */
static enum dvit_status check_names(const char **names, size_t count, const char *what,
                                    struct dvit_error *error)
{
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        struct dvit_shown_text shown = dvit_text_show(names[i]);
        size_t length = strlen(names[i]);
        if (!dvit_text_is_utf8(names[i], length))
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "%s \"%s\": name is not UTF-8", what,
                                  shown.text);
        if (length > DVIT_SAFETENSORS_MAX_NAME)
            return dvit_error_set(error, DVIT_ERROR_LIMIT,
                                  "%s \"%s\": name has %zu bytes, the limit is %d", what,
                                  shown.text, length, DVIT_SAFETENSORS_MAX_NAME);
        if (i > 0 && strcmp(names[i - 1], names[i]) == 0)
            return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "%s \"%s\": given twice", what,
                                  shown.text);
    }
    return DVIT_OK;
}

static enum dvit_status check_entry(const struct dvit_safetensors_entry *entry, uint64_t *total,
                                    struct dvit_error *error)
{
    size_t elements = 0;
    if (entry->rank < 0 || entry->rank > DVIT_TENSOR_MAX_RANK)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "tensor \"%s\": rank %d, expected 0 to %d",
                              dvit_text_show(entry->name).text, entry->rank, DVIT_TENSOR_MAX_RANK);
    if (!storage_of(entry->dtype))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "tensor \"%s\": PyTorch files have no storage of %s",
                              dvit_text_show(entry->name).text, dvit_dtype_name(entry->dtype));
    size_t width = dvit_dtype_size(entry->dtype);
    if (!dvit_shape_elements(entry->shape, entry->rank, width, &elements) ||
        elements * width > UINT32_MAX)
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "tensor \"%s\": larger than 4 GiB, the limit of these files",
                              dvit_text_show(entry->name).text);
    if (elements && !entry->data)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "tensor \"%s\": no data, expected %zu bytes",
                              dvit_text_show(entry->name).text, elements * width);
    *total += elements * width + 4 * PAYLOAD_ALIGNMENT; /* headers and padding are less than that */
    return DVIT_OK;
}

static enum dvit_status check_arguments(const struct dvit_safetensors_entry *entries, size_t count,
                                        const struct dvit_safetensors_pair *pairs,
                                        size_t pair_count, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    uint64_t total = 0;
    const char **names = NULL;
    if (count > UINT16_MAX - OTHER_RECORDS - 1 || pair_count >= DVIT_SAFETENSORS_MAX_METADATA)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "%zu tensors and %zu texts, the limits are %d and %d",
                  count, pair_count, UINT16_MAX - OTHER_RECORDS - 1,
                  DVIT_SAFETENSORS_MAX_METADATA - 1);
    names = calloc(count + pair_count + 1, sizeof *names);
    if (!names)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++) {
        names[i] = entries[i].name;
        DVIT_TRY(check_entry(&entries[i], &total, error));
        total += strlen(entries[i].name) + 512; /* its part of the pickle */
    }
    DVIT_TRY(check_names(names, count, "tensor", error));
    for (size_t i = 0; i < pair_count; i++) {
        size_t length = strlen(pairs[i].value);
        names[i] = pairs[i].key;
        total += length;
        if (length > DVIT_PICKLE_MAX_TEXT || !dvit_text_is_utf8(pairs[i].value, length))
            DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                      "\"%s\": its text is not UTF-8 of at most %d bytes",
                      dvit_text_show(pairs[i].key).text, DVIT_PICKLE_MAX_TEXT);
    }
    names[pair_count] = "model";
    DVIT_TRY(check_names(names, pair_count + 1, "entry", error));
    if (total > UINT32_MAX - UINT16_MAX)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT,
                  "%" PRIu64 " bytes of tensors, the limit of these files is 4 GiB", total);
done:
    free(names);
    return status;
}

enum dvit_status dvit_torch_write(const char *path, const struct dvit_safetensors_entry *entries,
                                  size_t count, const struct dvit_safetensors_pair *pairs,
                                  size_t pair_count, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct buffer pickle = {0};
    struct archive *archive = NULL;
    status = check_arguments(entries, count, pairs, pair_count, error);
    if (status != DVIT_OK) {
        dvit_error_prefix(error, "\"%s\"", path);
        return status;
    }
    archive = calloc(1, sizeof *archive);
    put_pickle(&pickle, entries, count, pairs, pair_count);
    if (!archive || pickle.failed)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", path);
    if (pickle.size_bytes > DVIT_PICKLE_MAX_BYTES)
        DVIT_FAIL(error, DVIT_ERROR_LIMIT, "\"%s\": names and texts of %zu bytes, the limit is %d",
                  path, pickle.size_bytes, DVIT_PICKLE_MAX_BYTES);
    archive->error = error;
    crc_init(&archive->crc);
    DVIT_TRY(dvit_file_begin(&archive->writer, path, error));
    DVIT_TRY(write_archive(archive, &pickle, entries, count));
    DVIT_TRY(dvit_file_commit(&archive->writer, error));
done:
    if (archive) {
        dvit_file_abandon(&archive->writer);
        free(archive->directory.bytes);
    }
    free(archive);
    free(pickle.bytes);
    return status;
}

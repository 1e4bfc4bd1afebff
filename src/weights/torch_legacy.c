/* The legacy form, which torch.save wrote until version 1.6: five pickles back to back (magic
 * number, protocol version, system info, the object, the list of storage keys), then for each key
 * an i64 number of elements and the elements. A storage's element size is known only from the
 * persistent ids in the object, so those are gathered first. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "weights/text.h"
#include "weights/torch_file.h"
#include "weights/torch_form.h"

enum { PROTOCOL_VERSION = 1001, COUNT_BYTES = 8, MAGIC_BYTES = 15 };

/* PROTO 2, LONG1 of 10 bytes 0x1950a86a20f9469cfc6c, STOP. */
static const unsigned char magic[MAGIC_BYTES] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                                 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

struct blob {
    struct dvit_torch_storage storage; /* as the first id describes it */
    const unsigned char *data;         /* NULL until the list of keys names it */
};

struct blobs {
    struct blob *items; /* [count], by key */
    size_t count;
};

bool dvit_torch_is_legacy(const unsigned char *data, size_t size_bytes)
{
    return size_bytes >= MAGIC_BYTES && memcmp(data, magic, MAGIC_BYTES) == 0;
}

static int compare_keys(const void *a, const void *b)
{
    const struct dvit_torch_storage *x = a, *y = b; /* the first member of a blob */
    size_t shorter = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
    int order = shorter ? memcmp(x->key, y->key, shorter) : 0;
    return order ? order : (x->key_bytes > y->key_bytes) - (x->key_bytes < y->key_bytes);
}

static struct dvit_shown_text show_key(const struct dvit_torch_storage *storage)
{
    struct dvit_shown_text shown;
    dvit_text_escape((const char *)storage->key, storage->key_bytes, shown.text, sizeof shown.text);
    return shown;
}

/* One blob per key from all persistent ids; those of one key have to agree. */
static enum dvit_status gather(struct blobs *blobs, const struct dvit_value *persistent,
                               struct dvit_pool *pool, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t total = 0, kept = 0;
    for (const struct dvit_value *p = persistent; p; p = p->items[1])
        total++;
    blobs->items = dvit_pool_take(pool, total, sizeof *blobs->items);
    if (!blobs->items)
        return dvit_pool_failed(pool, error);
    struct blob *items = blobs->items, *end = items;
    for (const struct dvit_value *p = persistent; p; p = p->items[1], end++)
        DVIT_TRY(dvit_torch_storage_parse(&end->storage, p, error));
    qsort(items, total, sizeof *items, compare_keys);
    for (size_t i = 0; i < total; i++) {
        if (kept == 0 || compare_keys(&items[kept - 1], &items[i]) != 0)
            items[kept++] = items[i];
        else if (items[kept - 1].storage.class_name != items[i].storage.class_name ||
                 items[kept - 1].storage.elements != items[i].storage.elements)
            DVIT_FAIL(error, DVIT_ERROR_FORMAT, "storage \"%s\" is described in two ways",
                      show_key(&items[i].storage).text);
    }
    blobs->count = kept;
done:
    return status;
}

static struct blob *find_blob(const struct blobs *blobs, const struct dvit_torch_storage *wanted)
{
    return bsearch(wanted, blobs->items, blobs->count, sizeof *blobs->items, compare_keys);
}

/* The blob of the next key at data[*at]. */
static enum dvit_status place_blob(struct blobs *blobs, const struct dvit_value *key,
                                   const unsigned char *data, size_t size_bytes, size_t *at,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_torch_storage wanted = {0};
    if (key->kind != DVIT_VALUE_TEXT)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "a storage key is not a text");
    wanted.key = key->bytes;
    wanted.key_bytes = key->count;
    struct blob *blob = find_blob(blobs, &wanted);
    if (!blob)
        DVIT_FAIL(
            error, DVIT_ERROR_UNSUPPORTED,
            "storage \"%s\" is in the file but not in the object: its element size is unknown",
            show_key(&wanted).text);
    if (blob->data)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "storage \"%s\" is there twice",
                  show_key(&wanted).text);
    uint64_t elements = 0;
    if (size_bytes - *at < COUNT_BYTES)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "ends at byte %zu, before storage \"%s\"", size_bytes,
                  show_key(&wanted).text);
    memcpy(&elements, data + *at, COUNT_BYTES);
    *at += COUNT_BYTES;
    if (elements != blob->storage.elements)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "storage \"%s\" has %" PRIu64 " elements, the object says %zu",
                  show_key(&wanted).text, elements, blob->storage.elements);
    size_t bytes = blob->storage.elements * blob->storage.element_bytes;
    if (bytes > size_bytes - *at)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "storage \"%s\" of %zu bytes ends outside the file",
                  show_key(&wanted).text, bytes);
    blob->data = data + *at;
    *at += bytes;
done:
    return status;
}

static enum dvit_status find_storage(void *context, const struct dvit_torch_storage *storage,
                                     const unsigned char **out, struct dvit_error *error)
{
    const struct blob *blob = find_blob(context, storage);
    if (!blob || !blob->data)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "storage \"%s\" is not in the file",
                              show_key(storage).text);
    *out = blob->data;
    return DVIT_OK;
}

/* The pickle at data[*at]. */
static enum dvit_status next(struct dvit_pickle *out, const unsigned char *data, size_t size_bytes,
                             size_t *at, const char *what, struct dvit_pool *pool,
                             struct dvit_error *error)
{
    enum dvit_status status = dvit_pickle_read(out, data + *at, size_bytes - *at, pool, error);
    if (status != DVIT_OK)
        dvit_error_prefix(error, "%s at byte %zu", what, *at);
    *at += out->size_bytes;
    return status;
}

static enum dvit_status check_head(const struct dvit_value *version, const struct dvit_value *info,
                                   struct dvit_error *error)
{
    if (version->kind != DVIT_VALUE_INT || version->integer != PROTOCOL_VERSION)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "is not of version %d of the legacy form", PROTOCOL_VERSION);
    if (info->kind != DVIT_VALUE_DICT)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "system info is not a dict");
    for (size_t i = 0; i < info->count; i++) {
        const struct dvit_value *value = info->items[2 * i + 1];
        if (dvit_value_is_text(info->items[2 * i], "little_endian") &&
            (value->kind != DVIT_VALUE_BOOL || !value->integer))
            return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                                  "byte order is not little, which alone is read");
    }
    return DVIT_OK;
}

static void free_nothing(void *context)
{
    (void)context; /* blobs live in the pool */
}

enum dvit_status dvit_torch_legacy_open(struct dvit_torch_form *out, const unsigned char *data,
                                        size_t size_bytes, struct dvit_pool *pool,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_pickle version, info, object, keys;
    size_t at = MAGIC_BYTES;
    *out = (struct dvit_torch_form){0};
    if (!dvit_torch_is_legacy(data, size_bytes))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "does not begin with PyTorch's magic number");
    struct blobs *blobs = dvit_pool_take(pool, 1, sizeof *blobs);
    if (!blobs)
        return dvit_pool_failed(pool, error);
    DVIT_TRY(next(&version, data, size_bytes, &at, "version", pool, error));
    DVIT_TRY(next(&info, data, size_bytes, &at, "system info", pool, error));
    DVIT_TRY(check_head(version.root, info.root, error));
    DVIT_TRY(next(&object, data, size_bytes, &at, "object", pool, error));
    DVIT_TRY(next(&keys, data, size_bytes, &at, "storage keys", pool, error));
    DVIT_TRY(gather(blobs, object.persistent, pool, error));
    if (keys.root->kind != DVIT_VALUE_LIST)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "storage keys are not a list");
    for (size_t i = 0; i < keys.root->count; i++)
        DVIT_TRY(place_blob(blobs, keys.root->items[i], data, size_bytes, &at, error));
    if (at != size_bytes)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "%zu bytes after the last storage", size_bytes - at);
    *out = (struct dvit_torch_form){object.root, {blobs, find_storage}, free_nothing};
done:
    return status;
}

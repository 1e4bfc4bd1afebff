/* The zip form: <name>/data.pkl is the object, <name>/data/<key> the raw elements of a storage.
 * <name>/.data/ and version numbers say nothing that is needed here. Archives of other kinds are
 * refused by file_kinds.c. */
#include <string.h>

#include "weights/file_kinds.h"
#include "weights/text.h"
#include "weights/torch_form.h"
#include "weights/zip.h"

static const struct dvit_zip_entry *find(const struct dvit_zip *zip, const char *name)
{
    return dvit_zip_find(zip, name, strlen(name));
}

static enum dvit_status check_byte_order(const struct dvit_zip *zip, struct dvit_error *error)
{
    const struct dvit_zip_entry *entry = find(zip, "byteorder");
    if (!entry || (entry->size_bytes == 6 && memcmp(entry->data, "little", 6) == 0))
        return DVIT_OK;
    char shown[32];
    size_t length = entry->size_bytes < 16 ? entry->size_bytes : 16;
    dvit_text_escape((const char *)entry->data, length, shown, sizeof shown);
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                          "byte order is \"%s\", only \"little\" is read", shown);
}

static enum dvit_status find_storage(void *context, const struct dvit_torch_storage *storage,
                                     const unsigned char **out, struct dvit_error *error)
{
    static const char folder[] = "data/";
    char name[sizeof folder + 64], shown[64];
    const struct dvit_zip_entry *entry = NULL;
    dvit_text_escape((const char *)storage->key, storage->key_bytes, shown, sizeof shown);
    if (storage->key_bytes <= 64) {
        memcpy(name, folder, sizeof folder - 1);
        memcpy(name + sizeof folder - 1, storage->key, storage->key_bytes);
        entry = dvit_zip_find(context, name, sizeof folder - 1 + storage->key_bytes);
    }
    if (!entry)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "there is no record \"data/%s\"", shown);
    if (storage->has_view)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "storage \"%s\" is a view, which zip files do not have", shown);
    if (entry->size_bytes != storage->elements * storage->element_bytes)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "record \"data/%s\" has %zu bytes, a %s of %zu elements takes %zu",
                              shown, entry->size_bytes, storage->class_name, storage->elements,
                              storage->elements * storage->element_bytes);
    *out = entry->data;
    return DVIT_OK;
}

static void free_zip(void *context)
{
    dvit_zip_free(context);
}

enum dvit_status dvit_torch_zip_open(struct dvit_torch_form *out, const unsigned char *data,
                                     size_t size_bytes, struct dvit_pool *pool,
                                     struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_zip *zip = NULL;
    struct dvit_pickle pickle;
    *out = (struct dvit_torch_form){0};
    DVIT_TRY(dvit_file_kind_check_zip(data, size_bytes, error));
    DVIT_TRY(dvit_zip_open(&zip, data, size_bytes, error));
    const struct dvit_zip_entry *entry = find(zip, "data.pkl");
    if (!entry)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "is a zip archive without data.pkl, so not a file of torch.save");
    DVIT_TRY(check_byte_order(zip, error));
    DVIT_TRY(dvit_pickle_read(&pickle, entry->data, entry->size_bytes, pool, error));
    if (pickle.size_bytes != entry->size_bytes)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "data.pkl has %zu bytes after its STOP",
                  entry->size_bytes - pickle.size_bytes);
    *out = (struct dvit_torch_form){pickle.root, {zip, find_storage}, free_zip};
    zip = NULL;
done:
    dvit_zip_free(zip);
    return status;
}

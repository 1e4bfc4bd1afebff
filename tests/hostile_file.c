/* Parsing with a stopwatch and a count of what is allocated. */
#include "hostile_file.h"

#include "test_util.h"

#include <time.h>

#include "peak_memory.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SECONDS = 60 };
#else
enum { SECONDS = 1 }; /* of the processor */
#endif
enum { SPARE = 64 << 20 };

static const float storage[24];

enum dvit_status hostile_parse(const struct bytes *bytes, struct dvit_torch_file **out,
                               struct dvit_error *error)
{
    error->message[0] = 0;
    clock_t begin = clock();
    peak_memory_begin();
    enum dvit_status status = dvit_torch_file_parse(out, bytes->data, bytes->size_bytes, error);
    size_t peak = peak_memory_end();
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    if (peak > bytes->size_bytes + SPARE) /* the file itself is the other half */
        fail_msg("%zu bytes for a file of %zu", peak, bytes->size_bytes);
    if (seconds > SECONDS)
        fail_msg("took %g s for a file of %zu bytes: %s", seconds, bytes->size_bytes,
                 error->message);
    if (bytes->size_bytes > 1 << 20)
        printf("  %7.1f MB file, %7.1f MB beside it, %.2f s: %s\n",
               (double)bytes->size_bytes / (1 << 20), (double)peak / (1 << 20), seconds,
               status == DVIT_OK ? "inert" : error->message);
    return status;
}

void hostile_refuse(const struct bytes *bytes, enum dvit_status code, const char *message)
{
    struct dvit_error error;
    struct dvit_torch_file *file;
    enum dvit_status status = hostile_parse(bytes, &file, &error);
    assert_null(file);
    if (status != code || !strstr(error.message, message))
        fail_msg("%s: %s\nexpected %s: %s", dvit_status_name(status), error.message,
                 dvit_status_name(code), message);
}

void hostile_refuse_pickle(const struct bytes *pickle, enum dvit_status code, const char *message)
{
    struct bytes bytes = {0};
    torch_zip_build(&bytes, pickle, storage, sizeof storage);
    hostile_refuse(&bytes, code, message);
    free(bytes.data);
}

struct dvit_torch_file *hostile_accept_pickle(const struct bytes *pickle, struct bytes *bytes)
{
    struct dvit_error error;
    struct dvit_torch_file *file;
    *bytes = (struct bytes){0};
    torch_zip_build(bytes, pickle, storage, sizeof storage);
    assert_ok(hostile_parse(bytes, &file, &error), &error);
    return file;
}

void hostile_discard(struct dvit_torch_file *file, struct bytes *bytes)
{
    dvit_torch_file_free(file);
    free(bytes->data);
}

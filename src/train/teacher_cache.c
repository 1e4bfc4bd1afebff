/* A file of one record per image of a data set: the image's hash, a checksum, the answer.
 *
 * Nothing in the file is believed: its header must be, byte for byte, the one that this run would
 * write, and a record counts only if its checksum is right and its pixels' hash is that of the
 * image at hand. So a file of another teacher, a cut or damaged one, a record half written when a
 * run was killed, and images that changed under their names cost time and nothing else. Records are
 * written in place, in any order and by several runs at once; what was never written is a hole.
 * None of this keeps someone from forging answers: so the file and its folder must be such that
 * only the user and root can write them. */
#define _GNU_SOURCE
#include "train/teacher_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/decimal.h"
#include "base/file.h"
#include "base/hash.h"

enum { HEADER_BYTES = 2048 };

static const char magic[] = "dvit: what a teacher answered, format 1\n";

struct record_head {
    uint64_t pixels, checksum;
};

struct dvit_teacher_cache {
    char *path;
    int descriptor;
    size_t images, classes, compared;
    uint64_t record_bytes, whole_bytes, free_bytes; /* free: on the disk, when it was opened */
    bool begun_anew; /* the file that was there could not be believed */
    bool told_place, told_failure;
    atomic_bool writes;
    atomic_int failure; /* errno of the write that failed, or 0 */
    _Atomic uint64_t found, missing;
};

/* Sizes were checked: nothing overflows from here on. */
static enum dvit_status measure(struct dvit_teacher_cache *cache,
                                const struct dvit_teacher_answers *answers, double limit_bytes,
                                struct dvit_error *error)
{
    double record = sizeof(struct record_head) +
                    sizeof(float) * ((double)answers->classes + (double)answers->compared);
    double whole = HEADER_BYTES + record * (double)answers->images;
    if (!(whole <= limit_bytes) || whole > (double)(INT64_MAX / 2))
        return dvit_error_set(
            error, DVIT_ERROR_LIMIT,
            "keeping the teacher's answers to %zu images takes %.3g GB, %.3g KB each, and the "
            "limit is %.3g GB: raise it, or leave out the token term, which takes the most",
            answers->images, whole / 1e9, record / 1e3, limit_bytes / 1e9);
    cache->images = answers->images;
    cache->classes = answers->classes;
    cache->compared = answers->compared;
    cache->record_bytes = (uint64_t)record;
    cache->whole_bytes = HEADER_BYTES + cache->record_bytes * answers->images;
    return DVIT_OK;
}

static enum dvit_status write_header(char header[HEADER_BYTES],
                                     const struct dvit_teacher_answers *answers,
                                     struct dvit_error *error)
{
    memset(header, 0, HEADER_BYTES);
    int length = snprintf(header, HEADER_BYTES, "%s%simages %zu\nlogits %zu\ncompared %zu\n", magic,
                          answers->key, answers->images, answers->classes, answers->compared);
    if (length < 0 || length >= HEADER_BYTES - (int)sizeof(uint64_t))
        return dvit_error_set(error, DVIT_ERROR_LIMIT,
                              "the description of the teacher's answers has %d bytes, expected "
                              "less than %d",
                              length, HEADER_BYTES - (int)sizeof(uint64_t));
    uint64_t checksum = dvit_hash(0, header, HEADER_BYTES - sizeof checksum);
    memcpy(header + HEADER_BYTES - sizeof checksum, &checksum, sizeof checksum);
    return DVIT_OK;
}

static enum dvit_status name_file(struct dvit_teacher_cache *cache, const char *folder,
                                  const char header[HEADER_BYTES], struct dvit_error *error)
{
    char name[48];
    snprintf(name, sizeof name, "teacher-%016" PRIx64 ".cache", dvit_hash(1, header, HEADER_BYTES));
    cache->path = dvit_path_join(folder, name);
    if (!cache->path)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
    return DVIT_OK;
}

static enum dvit_status io_error(const struct dvit_teacher_cache *cache, const char *what,
                                 struct dvit_error *error)
{
    return dvit_error_set(error, DVIT_ERROR_IO, "\"%s\": cannot %s: %s", cache->path, what,
                          strerror(errno));
}

/* An empty file becomes a cache; anything else must have our header. One that begins as ours does
 * and goes on differently was damaged, and is begun anew. */
static enum dvit_status check_header(struct dvit_teacher_cache *cache,
                                     const char header[HEADER_BYTES], struct dvit_error *error)
{
    char found[HEADER_BYTES] = {0};
    ssize_t length = pread(cache->descriptor, found, HEADER_BYTES, 0);
    if (length < 0)
        return io_error(cache, "read the file", error);
    if (length == HEADER_BYTES && memcmp(found, header, HEADER_BYTES) == 0)
        return DVIT_OK;
    if (length > 0 && memcmp(found, magic, sizeof magic - 1) != 0)
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "\"%s\" is not a file of a teacher's answers: move it, or name "
                              "another folder",
                              cache->path);
    if (!atomic_load(&cache->writes)) {
        errno = EROFS;
        return io_error(cache, "begin the file", error);
    }
    if (ftruncate(cache->descriptor, 0) != 0 ||
        pwrite(cache->descriptor, header, HEADER_BYTES, 0) != HEADER_BYTES)
        return io_error(cache, "begin the file", error);
    return DVIT_OK;
}

/* is_new: nothing is in the file that others could have written. */
static enum dvit_status try_to_open(struct dvit_teacher_cache *cache, bool is_new,
                                    struct dvit_error *error)
{
    enum dvit_status status =
        dvit_file_open(&cache->descriptor, cache->path, DVIT_OPEN_UPDATE, NULL, error);
    atomic_store(&cache->writes, status == DVIT_OK);
    if (status != DVIT_OK)
        status = dvit_file_open(&cache->descriptor, cache->path, DVIT_OPEN_READ, NULL, error);
    if (status == DVIT_OK && is_new)
        dvit_file_protect(cache->descriptor);
    if (status == DVIT_OK)
        status = dvit_file_check_trust(cache->descriptor, cache->path, error);
    return status;
}

/* A file that is not to be believed is removed, and another one begun: which is believed unless its
 * folder is the reason. */
static enum dvit_status open_file(struct dvit_teacher_cache *cache, struct dvit_error *error)
{
    struct stat about;
    struct statvfs disk;
    bool is_new = !dvit_file_exists(cache->path);
    enum dvit_status status = try_to_open(cache, is_new, error);
    if (status != DVIT_OK && cache->descriptor >= 0 && !is_new && unlink(cache->path) == 0) {
        close(cache->descriptor);
        cache->begun_anew = true;
        status = try_to_open(cache, true, error);
    }
    if (status == DVIT_OK && fstat(cache->descriptor, &about) == 0 &&
        fstatvfs(cache->descriptor, &disk) == 0)
        cache->free_bytes =
            (uint64_t)disk.f_bavail * disk.f_frsize + (uint64_t)about.st_blocks * 512;
    return status;
}

enum dvit_status dvit_teacher_cache_open(struct dvit_teacher_cache **out, const char *folder,
                                         const struct dvit_teacher_answers *answers,
                                         double limit_bytes, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char header[HEADER_BYTES];
    *out = NULL;
    struct dvit_teacher_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "teacher's answers: out of memory");
    cache->descriptor = -1;
    DVIT_TRY(measure(cache, answers, limit_bytes, error));
    DVIT_TRY(write_header(header, answers, error));
    DVIT_TRY(name_file(cache, folder, header, error));
    DVIT_TRY(dvit_folder_create_own(folder, error));
    DVIT_TRY(open_file(cache, error));
    DVIT_TRY(check_header(cache, header, error));
    *out = cache;
    cache = NULL;
done:
    dvit_teacher_cache_close(cache);
    return status;
}

void dvit_teacher_cache_close(struct dvit_teacher_cache *cache)
{
    if (!cache)
        return;
    if (cache->descriptor >= 0)
        close(cache->descriptor);
    free(cache->path);
    free(cache);
}

/* ---- records ---- */

static off_t place_of(const struct dvit_teacher_cache *cache, uint32_t image)
{
    return (off_t)(HEADER_BYTES + cache->record_bytes * image);
}

static uint64_t checksum_of(const struct dvit_teacher_cache *cache, uint32_t image, uint64_t pixels,
                            const float *logits, const float *compared)
{
    uint64_t sum = dvit_hash(pixels, &image, sizeof image);
    sum = dvit_hash(sum, logits, cache->classes * sizeof *logits);
    return dvit_hash(sum, compared, cache->compared * sizeof *compared);
}

bool dvit_teacher_cache_read(struct dvit_teacher_cache *cache, uint32_t image, uint64_t pixels,
                             float *logits, float *compared)
{
    struct record_head head = {0};
    struct iovec parts[3] = {{&head, sizeof head},
                             {logits, cache->classes * sizeof *logits},
                             {compared, cache->compared * sizeof *compared}};
    bool found = image < cache->images &&
                 preadv(cache->descriptor, parts, 3, place_of(cache, image)) ==
                     (ssize_t)cache->record_bytes &&
                 head.pixels == pixels &&
                 head.checksum == checksum_of(cache, image, pixels, logits, compared);
    atomic_fetch_add(found ? &cache->found : &cache->missing, 1);
    return found;
}

void dvit_teacher_cache_write(struct dvit_teacher_cache *cache, uint32_t image, uint64_t pixels,
                              const float *logits, const float *compared)
{
    struct record_head head = {pixels, checksum_of(cache, image, pixels, logits, compared)};
    const struct iovec parts[3] = {{&head, sizeof head},
                                   {(float *)logits, cache->classes * sizeof *logits},
                                   {(float *)compared, cache->compared * sizeof *compared}};
    if (image >= cache->images || !atomic_load(&cache->writes))
        return;
    ssize_t written = pwritev(cache->descriptor, parts, 3, place_of(cache, image));
    if (written == (ssize_t)cache->record_bytes)
        return;
    atomic_store(&cache->failure, written < 0 ? errno : ENOSPC);
    atomic_store(&cache->writes, false);
}

/* ---- what is told ---- */

static void tell_place(const struct dvit_teacher_cache *cache, char text[DVIT_TEACHER_CACHE_NEWS])
{
    const char *more = "";
    if (!atomic_load(&cache->writes))
        more = "; it can only be read: what is not in it is computed each time";
    else if (cache->free_bytes < cache->whole_bytes)
        more = "; the disk has no room for all of it: the rest is computed each time";
    dvit_decimal_format(
        text, DVIT_TEACHER_CACHE_NEWS,
        "the teacher's answers are kept in \"%.900s\"%s: %.3g MB when all %zu images are in "
        "it, %.3g MB free%s",
        cache->path,
        cache->begun_anew ? ", begun anew because others could have written the file that was there"
                          : "",
        (double)cache->whole_bytes / 1e6, cache->images, (double)cache->free_bytes / 1e6, more);
}

bool dvit_teacher_cache_news(struct dvit_teacher_cache *cache, char text[DVIT_TEACHER_CACHE_NEWS])
{
    int failure = atomic_load(&cache->failure);
    if (!cache->told_place) {
        cache->told_place = true;
        tell_place(cache, text);
        return true;
    }
    if (!failure || cache->told_failure)
        return false;
    cache->told_failure = true;
    snprintf(text, DVIT_TEACHER_CACHE_NEWS,
             "\"%.900s\": cannot keep more of the teacher's answers: %s; the rest is computed each "
             "time",
             cache->path, strerror(failure));
    return true;
}

struct dvit_teacher_cache_counts dvit_teacher_cache_count(const struct dvit_teacher_cache *cache)
{
    return (struct dvit_teacher_cache_counts){atomic_load(&cache->found),
                                              atomic_load(&cache->missing)};
}

/* Building zip archives and pickles for tests, honest ones and lying ones. */
#ifndef DVIT_TORCH_SAMPLE_H
#define DVIT_TORCH_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Growing bytes; freed with free(bytes.data). */
struct bytes {
    unsigned char *data;
    size_t size_bytes, capacity;
};
void bytes_put(struct bytes *out, const void *data, size_t size_bytes);
void bytes_number(struct bytes *out, uint64_t value, int width); /* little-endian */
void bytes_repeat(struct bytes *out, const void *data, size_t size_bytes, size_t times);
/* A string literal, zeros and all. */
#define bytes_literal(out, literal) bytes_put(out, literal, sizeof(literal) - 1)

/* One record of an archive. Names are those in the archive, with the top folder. What is 0 or NULL
 * is derived from the data. */
struct zip_record {
    const char *name;
    const void *data;
    size_t size_bytes;
    const char *local_name;   /* in the local header, when it lies */
    unsigned method;          /* in both headers */
    unsigned local_method;    /* in the local header, when not 0 */
    unsigned flags;           /* in both headers */
    unsigned local_flags;     /* in the local header, when not 0 */
    uint32_t size_claim;      /* in both headers, when not 0 */
    uint32_t local_size;      /* in the local header, when not 0 */
    uint32_t local_crc;       /* in the local header, when not 0 */
    uint32_t offset_plus_one; /* in the directory, when not 0 */
    bool zip64;               /* sizes and offset in ZIP64 fields, local and central */
};

enum { ZIP_NO_ZIP64 = 0, ZIP_WITH_ZIP64 = 1 };

/* Appends the archive to *out. Checksums are 0. With ZIP_WITH_ZIP64 there is a ZIP64 record and
 * locator beside the end record, as PyTorch writes them. */
void zip_build(struct bytes *out, const struct zip_record *records, size_t count, int zip64);

/* The archive of torch.save for a pickle and one storage "0" (none when storage is NULL). */
void torch_zip_build(struct bytes *out, const struct bytes *pickle, const void *storage,
                     size_t storage_bytes);

#endif

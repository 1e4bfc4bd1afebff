/* Shared by the image tests: the pixels of tools/reference/image_goldens.py, its checksum, and the
 * way to its files. */
#ifndef DVIT_TEST_IMAGE_UTIL_H
#define DVIT_TEST_IMAGE_UTIL_H

#include "test_util.h"

#include "base/rng.h"
#include "dvit/image.h"

/* Byte `index` of the noise of that seed. */
static inline unsigned char noise_byte(uint32_t index, uint32_t seed)
{
    uint32_t x = index * 2654435761u + seed * 40503u;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (unsigned char)x;
}

/* A noise image; caller frees. */
static inline struct dvit_image noise_image(int width, int height, uint32_t seed)
{
    struct dvit_image image;
    struct dvit_error error;
    assert_ok(dvit_image_create(&image, width, height, &error), &error);
    uint32_t bytes = 3 * (uint32_t)width * (uint32_t)height;
    for (uint32_t i = 0; i < bytes; i++)
        image.pixels[i] = noise_byte(i, seed);
    return image;
}

/* CRC-32 as in zlib. */
static inline uint32_t crc32_of(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint32_t crc = 0xffffffffu;
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
            table[i] = c;
        }
    while (size--)
        crc = table[(crc ^ *p++) & 255] ^ crc >> 8;
    return ~crc;
}

static inline uint32_t image_crc(const struct dvit_image *image)
{
    return crc32_of(image->pixels, 3 * (size_t)image->width * (size_t)image->height);
}

static inline bool images_equal(const struct dvit_image *a, const struct dvit_image *b)
{
    return a->width == b->width && a->height == b->height &&
           memcmp(a->pixels, b->pixels, 3 * (size_t)a->width * (size_t)a->height) == 0;
}

static inline void assert_empty(const struct dvit_image *image)
{
    assert_null(image->pixels);
    assert_int_equal(image->width, 0);
    assert_int_equal(image->height, 0);
}

/* "<source root>/<path>", in a buffer that the next call overwrites. */
static inline const char *source_path(const char *path)
{
    static char full[1024];
    const char *root = getenv("DVIT_SOURCE_ROOT");
    snprintf(full, sizeof full, "%s/%s", root ? root : "..", path);
    return full;
}

static inline const char *golden_path(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "tests/golden/image/%s", name);
    return source_path(path);
}

/* A golden file's bytes; caller frees. */
static inline unsigned char *read_golden(const char *name, size_t *size)
{
    unsigned char *data;
    struct dvit_error error;
    assert_ok(dvit_file_read(golden_path(name), 1 << 20, &data, size, &error), &error);
    return data;
}

/* Calls `check` for each line of a table that is not a comment; returns how many. */
static inline int for_each_golden(const char *table, void (*check)(const char *line))
{
    char line[256];
    int count = 0;
    FILE *file = fopen(golden_path(table), "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        check(line);
        count++;
    }
    fclose(file);
    return count;
}

#endif

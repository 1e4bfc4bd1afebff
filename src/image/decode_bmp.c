/* BMP without compression: 1, 4, 8 bits with a palette, 16 (555, 565), 24 and 32 bits, bottom-up
 * and top-down, headers from OS/2's 12 bytes to version 5's 124. Run-length coding and embedded
 * JPEG or PNG are refused by name. Alpha is dropped. */
#include <stdbool.h>
#include <string.h>

#include "image/decode.h"

enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40, LARGEST_HEADER = 124 };
enum { RAW = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3, JPEG = 4, PNG = 5, ALPHA_BITFIELDS = 6 };

struct bmp {
    const unsigned char *data;
    size_t size;
    size_t header_bytes;
    size_t pixels_at; /* offset of the first stored row */
    uint32_t width, height, bits, compression;
    bool top_down;
    uint32_t colours;       /* entries in the palette */
    size_t palette_at;      /* its offset */
    unsigned palette_entry; /* bytes of an entry */
    uint32_t mask[3];       /* of R, G, B in a 16- or 32-bit pixel */
    struct dvit_error *error;
};

static enum dvit_status fail_early(const struct bmp *bmp)
{
    return dvit_error_set(bmp->error, DVIT_ERROR_FORMAT, "BMP data end early, after %zu bytes",
                          bmp->size);
}

static enum dvit_status read_sizes(struct bmp *bmp)
{
    enum dvit_status status = DVIT_OK;
    const unsigned char *header = bmp->data + FILE_HEADER;
    if (bmp->size < FILE_HEADER + CORE_HEADER)
        return fail_early(bmp);
    bmp->pixels_at = dvit_le32(bmp->data + 10);
    bmp->header_bytes = dvit_le32(header);
    if (bmp->header_bytes != CORE_HEADER &&
        (bmp->header_bytes < INFO_HEADER || bmp->header_bytes > LARGEST_HEADER))
        DVIT_FAIL(bmp->error, DVIT_ERROR_FORMAT,
                  "damaged BMP: header of %zu bytes, expected 12 or 40 to 124", bmp->header_bytes);
    if (bmp->header_bytes > bmp->size - FILE_HEADER)
        return fail_early(bmp);
    if (bmp->header_bytes == CORE_HEADER) {
        bmp->width = dvit_le16(header + 4);
        bmp->height = dvit_le16(header + 6);
        bmp->bits = dvit_le16(header + 10);
        return DVIT_OK;
    }
    bmp->width = dvit_le32(header + 4); /* a negative width is above every limit */
    bmp->height = dvit_le32(header + 8);
    bmp->top_down = bmp->height > INT32_MAX;
    if (bmp->top_down)
        bmp->height = 0u - bmp->height;
    bmp->bits = dvit_le16(header + 14);
    bmp->compression = dvit_le32(header + 16);
    bmp->colours = dvit_le32(header + 32);
done:
    return status;
}

static enum dvit_status check_kind(const struct bmp *bmp)
{
    static const char *const names[] = {"none", "RLE8", "RLE4", "bitfields", "JPEG", "PNG"};
    enum dvit_status status = DVIT_OK;
    uint32_t bits = bmp->bits, kind = bmp->compression;
    if (kind == RLE8 || kind == RLE4 || kind == JPEG || kind == PNG)
        DVIT_FAIL(bmp->error, DVIT_ERROR_UNSUPPORTED,
                  "BMP with %s compression, expected an uncompressed one", names[kind]);
    if (kind != RAW && kind != BITFIELDS && kind != ALPHA_BITFIELDS)
        DVIT_FAIL(bmp->error, DVIT_ERROR_FORMAT, "damaged BMP: unknown compression %lu",
                  (unsigned long)kind);
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        DVIT_FAIL(bmp->error, DVIT_ERROR_UNSUPPORTED,
                  "BMP with %lu bits per pixel, expected 1, 4, 8, 16, 24 or 32",
                  (unsigned long)bits);
    if (kind != RAW && bits != 16 && bits != 32)
        DVIT_FAIL(bmp->error, DVIT_ERROR_UNSUPPORTED,
                  "BMP with bit masks and %lu bits per pixel, expected 16 or 32",
                  (unsigned long)bits);
done:
    return status;
}

/* Whether the mask is one whole byte of a 32-bit pixel. */
static bool is_byte_mask(uint32_t mask)
{
    return mask == 0xffu || mask == 0xff00u || mask == 0xff0000u || mask == 0xff000000u;
}

static enum dvit_status read_masks(struct bmp *bmp)
{
    static const uint32_t mask555[3] = {0x7c00, 0x3e0, 0x1f}, mask565[3] = {0xf800, 0x7e0, 0x1f};
    static const uint32_t mask888[3] = {0xff0000, 0xff00, 0xff};
    enum dvit_status status = DVIT_OK;
    memcpy(bmp->mask, bmp->bits == 16 ? mask555 : mask888, sizeof bmp->mask);
    if (bmp->compression == RAW)
        return DVIT_OK;
    size_t at = FILE_HEADER + INFO_HEADER; /* after the header, or part of a longer one */
    if (at + 12 > bmp->size)
        return fail_early(bmp);
    bool zero = true;
    for (int c = 0; c < 3; c++) {
        bmp->mask[c] = dvit_le32(bmp->data + at + 4 * (size_t)c);
        zero = zero && bmp->mask[c] == 0;
    }
    if (zero) /* some writers leave them out */
        memcpy(bmp->mask, bmp->bits == 16 ? mask555 : mask888, sizeof bmp->mask);
    bool known = bmp->bits == 32 ? is_byte_mask(bmp->mask[0]) && is_byte_mask(bmp->mask[1]) &&
                                       is_byte_mask(bmp->mask[2])
                                 : memcmp(bmp->mask, mask555, sizeof mask555) == 0 ||
                                       memcmp(bmp->mask, mask565, sizeof mask565) == 0;
    if (!known)
        DVIT_FAIL(bmp->error, DVIT_ERROR_UNSUPPORTED,
                  "BMP with bit masks %08lx %08lx %08lx, expected 555, 565 or whole bytes",
                  (unsigned long)bmp->mask[0], (unsigned long)bmp->mask[1],
                  (unsigned long)bmp->mask[2]);
done:
    return status;
}

static enum dvit_status find_palette(struct bmp *bmp)
{
    enum dvit_status status = DVIT_OK;
    if (bmp->bits > 8)
        return DVIT_OK;
    if (bmp->colours == 0)
        bmp->colours = 1u << bmp->bits;
    if (bmp->colours > 256)
        DVIT_FAIL(bmp->error, DVIT_ERROR_FORMAT, "damaged BMP: %lu palette colours, at most 256",
                  (unsigned long)bmp->colours);
    bmp->palette_entry = bmp->header_bytes == CORE_HEADER ? 3 : 4;
    bmp->palette_at = FILE_HEADER + bmp->header_bytes;
    if ((size_t)bmp->colours * bmp->palette_entry > bmp->size - bmp->palette_at)
        return fail_early(bmp);
done:
    return status;
}

/* One stored row to RGB; index beyond the palette is black. */
static void read_palette_row(const struct bmp *bmp, const unsigned char *row, unsigned char *rgb)
{
    unsigned per_byte = 8 / bmp->bits, mask = (1u << bmp->bits) - 1;
    for (uint32_t x = 0; x < bmp->width; x++, rgb += 3) {
        unsigned shift = 8 - bmp->bits * (x % per_byte + 1);
        unsigned index = (unsigned)row[x / per_byte] >> shift & mask;
        if (index >= bmp->colours)
            continue;
        const unsigned char *bgr = bmp->data + bmp->palette_at + index * bmp->palette_entry;
        rgb[0] = bgr[2];
        rgb[1] = bgr[1];
        rgb[2] = bgr[0];
    }
}

static void read_masked_row(const struct bmp *bmp, const unsigned char *row, unsigned char *rgb)
{
    unsigned shift[3];
    for (int c = 0; c < 3; c++)
        for (shift[c] = 0; !(bmp->mask[c] >> shift[c] & 1);)
            shift[c]++;
    for (uint32_t x = 0; x < bmp->width; x++)
        for (int c = 0; c < 3; c++) {
            uint32_t pixel =
                bmp->bits == 16 ? dvit_le16(row + 2 * (size_t)x) : dvit_le32(row + 4 * (size_t)x);
            uint32_t largest = bmp->mask[c] >> shift[c];
            *rgb++ = (unsigned char)((pixel >> shift[c] & largest) * 255 / largest);
        }
}

static void read_rgb_row(const struct bmp *bmp, const unsigned char *row, unsigned char *rgb)
{
    for (uint32_t x = 0; x < bmp->width; x++, rgb += 3, row += 3) {
        rgb[0] = row[2];
        rgb[1] = row[1];
        rgb[2] = row[0];
    }
}

static void read_rows(const struct bmp *bmp, size_t row_bytes, struct dvit_image *out)
{
    for (uint32_t y = 0; y < bmp->height; y++) {
        const unsigned char *row = bmp->data + bmp->pixels_at + y * row_bytes;
        uint32_t line = bmp->top_down ? y : bmp->height - 1 - y;
        unsigned char *rgb = out->pixels + 3 * (size_t)bmp->width * line;
        if (bmp->bits <= 8)
            read_palette_row(bmp, row, rgb);
        else if (bmp->bits == 24)
            read_rgb_row(bmp, row, rgb);
        else
            read_masked_row(bmp, row, rgb);
    }
}

enum dvit_status dvit_decode_bmp(struct dvit_image *out, const struct dvit_decode_source *source,
                                 int *orientation, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct bmp bmp = {.data = source->data, .size = source->size, .error = error};
    DVIT_TRY(read_sizes(&bmp));
    DVIT_TRY(check_kind(&bmp));
    DVIT_TRY(dvit_decode_check(source->limits, bmp.width, bmp.height, error));
    DVIT_TRY(read_masks(&bmp));
    DVIT_TRY(find_palette(&bmp));
    size_t row_bytes = ((size_t)bmp.width * bmp.bits + 31) / 32 * 4; /* rows are whole words */
    if (bmp.pixels_at > bmp.size || row_bytes * bmp.height > bmp.size - bmp.pixels_at)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "BMP data end early: %zu bytes, expected %zu of pixels from offset %zu", bmp.size,
                  row_bytes * bmp.height, bmp.pixels_at);
    DVIT_TRY(dvit_decode_begin(out, source->limits, bmp.width, bmp.height, error));
    read_rows(&bmp, row_bytes, out);
done:
    return status;
}

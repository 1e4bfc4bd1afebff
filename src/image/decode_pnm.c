/* PNM: P1 to P6, plain and binary, one image. Samples become 8 bits as Pillow rounds them; 16-bit
 * grey is scaled like everything else. PAM (P7) and float maps are refused in decode.c. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "image/decode.h"

struct pnm {
    const unsigned char *data;
    size_t size, at;
    int kind;          /* 1 … 6 */
    bool plain;        /* P1 … P3: decimal text */
    unsigned channels; /* 1, or 3 for P3 and P6 */
    unsigned maxval;   /* 1 for P1 and P4 */
    uint32_t width, height;
    const unsigned char *scaled; /* [maxval + 1] sample → 0 … 255 */
    struct dvit_error *error;
};

static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static enum dvit_status fail_early(const struct pnm *pnm)
{
    return dvit_error_set(pnm->error, DVIT_ERROR_FORMAT, "PNM data end early, after %zu bytes",
                          pnm->size);
}

/* White space and comments; a comment runs from # to the end of its line. */
static void skip_space(struct pnm *pnm)
{
    while (pnm->at < pnm->size) {
        int c = pnm->data[pnm->at];
        if (c == '#')
            while (pnm->at < pnm->size && !memchr("\r\n", pnm->data[pnm->at], 2))
                pnm->at++;
        else if (is_space(c))
            pnm->at++;
        else
            return;
    }
}

/* A decimal number up to `limit`; `what` names it in the error. */
static enum dvit_status read_number(struct pnm *pnm, const char *what, uint32_t limit,
                                    uint32_t *out)
{
    enum dvit_status status = DVIT_OK;
    uint64_t value = 0;
    skip_space(pnm);
    size_t first = pnm->at;
    for (; pnm->at < pnm->size; pnm->at++) {
        int c = pnm->data[pnm->at];
        if (c < '0' || c > '9')
            break;
        value = value * 10 + (uint64_t)(c - '0');
        if (value > limit)
            DVIT_FAIL(pnm->error, DVIT_ERROR_FORMAT, "damaged PNM: %s is above %lu", what,
                      (unsigned long)limit);
    }
    if (pnm->at == first && pnm->at == pnm->size)
        return fail_early(pnm);
    if (pnm->at == first)
        DVIT_FAIL(pnm->error, DVIT_ERROR_FORMAT,
                  "damaged PNM: byte 0x%02x at offset %zu, expected a digit of the %s",
                  pnm->data[first], first, what);
    *out = (uint32_t)value;
done:
    return status;
}

static enum dvit_status read_header(struct pnm *pnm)
{
    enum dvit_status status = DVIT_OK;
    uint32_t maxval = 1;
    pnm->kind = pnm->data[1] - '0';
    pnm->plain = pnm->kind <= 3;
    pnm->channels = pnm->kind % 3 == 0 ? 3 : 1;
    pnm->at = 2;
    DVIT_TRY(read_number(pnm, "width", UINT32_MAX, &pnm->width));
    DVIT_TRY(read_number(pnm, "height", UINT32_MAX, &pnm->height));
    if (pnm->kind % 3 != 1)
        DVIT_TRY(read_number(pnm, "maximum value", 65535, &maxval));
    if (maxval == 0)
        DVIT_FAIL(pnm->error, DVIT_ERROR_FORMAT, "damaged PNM: the maximum value is 0");
    pnm->maxval = maxval;
    if (pnm->at == pnm->size)
        return fail_early(pnm);
    if (!is_space(pnm->data[pnm->at]))
        DVIT_FAIL(pnm->error, DVIT_ERROR_FORMAT,
                  "damaged PNM: byte 0x%02x after the header, expected white space",
                  pnm->data[pnm->at]);
    pnm->at++; /* exactly one; the next byte may be a sample */
done:
    return status;
}

/* The nearest of 0 … 255, halves to even, in the order of operations that Pillow uses. */
static unsigned char *scale_table(unsigned maxval)
{
    unsigned char *table = malloc((size_t)maxval + 1);
    if (!table)
        return NULL;
    for (unsigned v = 0; v <= maxval; v++)
        table[v] = (unsigned char)rint((double)v / maxval * 255);
    return table;
}

/* One sample of a plain file. Bits of P1 need no space between them. */
static enum dvit_status read_plain_sample(struct pnm *pnm, uint32_t *sample)
{
    enum dvit_status status = DVIT_OK;
    if (pnm->kind != 1)
        return read_number(pnm, "sample", pnm->maxval, sample);
    skip_space(pnm);
    if (pnm->at == pnm->size)
        return fail_early(pnm);
    int c = pnm->data[pnm->at];
    if (c != '0' && c != '1')
        DVIT_FAIL(pnm->error, DVIT_ERROR_FORMAT,
                  "damaged PNM: byte 0x%02x at offset %zu, expected 0 or 1", (unsigned)c, pnm->at);
    pnm->at++;
    *sample = c == '0'; /* 1 is black */
done:
    return status;
}

static enum dvit_status read_plain(struct pnm *pnm, struct dvit_image *out)
{
    enum dvit_status status = DVIT_OK;
    size_t pixels = (size_t)out->width * (size_t)out->height;
    unsigned char *rgb = out->pixels;
    for (size_t i = 0; i < pixels; i++, rgb += 3) {
        for (unsigned c = 0; c < pnm->channels; c++) {
            uint32_t sample = 0;
            DVIT_TRY(read_plain_sample(pnm, &sample));
            rgb[c] = pnm->scaled[sample];
        }
        if (pnm->channels == 1)
            rgb[1] = rgb[2] = rgb[0];
    }
done:
    return status;
}

static void read_bits(const struct pnm *pnm, struct dvit_image *out)
{
    size_t width = (size_t)out->width, row_bytes = (width + 7) / 8;
    for (size_t y = 0; y < (size_t)out->height; y++) {
        const unsigned char *row = pnm->data + pnm->at + y * row_bytes;
        unsigned char *rgb = out->pixels + 3 * width * y;
        for (size_t x = 0; x < width; x++)
            memset(rgb + 3 * x, row[x / 8] >> (7 - x % 8) & 1 ? 0 : 255, 3);
    }
}

static void read_samples(const struct pnm *pnm, struct dvit_image *out)
{
    size_t pixels = (size_t)out->width * (size_t)out->height;
    const unsigned char *from = pnm->data + pnm->at;
    bool wide = pnm->maxval > 255;
    unsigned char *rgb = out->pixels;
    for (size_t i = 0; i < pixels; i++, rgb += 3) {
        for (unsigned c = 0; c < pnm->channels; c++) {
            unsigned sample = wide ? (unsigned)from[0] << 8 | from[1] : from[0];
            from += wide ? 2 : 1;
            rgb[c] = pnm->scaled[sample < pnm->maxval ? sample : pnm->maxval];
        }
        if (pnm->channels == 1)
            rgb[1] = rgb[2] = rgb[0];
    }
}

/* Bytes that the samples take at least; the limits keep the product small. */
static size_t payload_bytes(const struct pnm *pnm)
{
    size_t width = pnm->width, height = pnm->height;
    if (pnm->kind == 4)
        return (width + 7) / 8 * height;
    return width * height * pnm->channels * (!pnm->plain && pnm->maxval > 255 ? 2 : 1);
}

enum dvit_status dvit_decode_pnm(struct dvit_image *out, const struct dvit_decode_source *source,
                                 int *orientation, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    unsigned char *table = NULL;
    struct pnm pnm = {.data = source->data, .size = source->size, .error = error};
    DVIT_TRY(read_header(&pnm));
    DVIT_TRY(dvit_decode_check(source->limits, pnm.width, pnm.height, error));
    if (payload_bytes(&pnm) > pnm.size - pnm.at)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT,
                  "PNM data end early: %zu bytes of samples, expected at least %zu",
                  pnm.size - pnm.at, payload_bytes(&pnm));
    DVIT_TRY(dvit_decode_begin(out, source->limits, pnm.width, pnm.height, error));
    table = scale_table(pnm.maxval);
    if (!table)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "out of memory for a PNM sample table");
    pnm.scaled = table;
    if (pnm.plain)
        DVIT_TRY(read_plain(&pnm, out));
    else if (pnm.kind == 4)
        read_bits(&pnm, out);
    else
        read_samples(&pnm, out);
done:
    free(table);
    return status;
}

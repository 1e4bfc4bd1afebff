/* The tables of image formats: those that dvit reads, those that it names in a refusal, and the
 * endings of file names. The content decides the decoder; a name decides only whether a file is
 * looked at as an image, and saves opening it. */
#include "image/image_formats.h"

#include <string.h>
#include <strings.h>

#include "base/file.h"

static bool starts_with(const unsigned char *data, size_t size, size_t offset, const char *magic,
                        size_t length)
{
    return size >= offset + length && memcmp(data + offset, magic, length) == 0;
}

static bool is_jpeg(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "\xff\xd8\xff", 3);
}
static bool is_png(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "\x89PNG\r\n\x1a\n", 8);
}
static bool is_webp(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "RIFF", 4) && starts_with(data, size, 8, "WEBP", 4);
}
static bool is_gif(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "GIF87a", 6) || starts_with(data, size, 0, "GIF89a", 6);
}
static bool is_pnm(const unsigned char *data, size_t size)
{
    return size >= 3 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6' &&
           memchr(" \t\r\n\v\f#", data[2], 7);
}
static bool is_bmp(const unsigned char *data, size_t size)
{
    return starts_with(data, size, 0, "BM", 2);
}

static const struct dvit_image_format formats[] = {
    {"JPEG", is_jpeg, dvit_decode_jpeg}, {"PNG", is_png, dvit_decode_png},
    {"WebP", is_webp, dvit_decode_webp}, {"GIF", is_gif, dvit_decode_gif},
    {"PNM", is_pnm, dvit_decode_pnm},    {"BMP", is_bmp, dvit_decode_bmp},
};

const struct dvit_image_format *dvit_image_format_find(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].matches(data, size))
            return &formats[i];
    return NULL;
}

/* Formats that users do have, named in the refusal; the first that matches counts. */
static const struct known {
    const char *name, *magic;
    size_t offset, length;
    bool is_image;
} known_formats[] = {
    {"a Canon raw image", "II*\0\x10\0\0\0CR", 0, 10, true},
    {"a TIFF image", "II*\0", 0, 4, true},
    {"a TIFF image", "MM\0*", 0, 4, true},
    {"a TIFF image", "II+\0", 0, 4, true},
    {"a TIFF image", "MM\0+", 0, 4, true},
    {"an AVIF image", "ftypavi", 4, 7, true},
    {"a HEIC image", "ftyphe", 4, 6, true},
    {"a HEIF image", "ftypmif1", 4, 8, true},
    {"a HEIF image", "ftypmsf1", 4, 8, true},
    {"a Canon raw image", "ftypcrx ", 4, 8, true},
    {"a video or another ISO media file", "ftyp", 4, 4, false},
    {"a JPEG XL image", "\0\0\0\x0cJXL ", 0, 8, true},
    {"a JPEG 2000 image", "\0\0\0\x0cjP  ", 0, 8, true},
    {"a JPEG 2000 image", "\xff\x4f\xff\x51", 0, 4, true},
    {"a Photoshop image", "8BPS", 0, 4, true},
    {"an OpenEXR image", "\x76\x2f\x31\x01", 0, 4, true},
    {"a Radiance image", "#?RADIANCE", 0, 10, true},
    {"a DDS image", "DDS |\0\0\0", 0, 8, true},
    {"a QOI image", "qoif\0", 0, 5, true},
    {"a FITS image", "SIMPLE  =", 0, 9, true},
    {"a DICOM image", "DICM", 128, 4, true},
    {"a Fujifilm raw image", "FUJIFILMCCD-RAW", 0, 15, true},
    {"a PAM image", "P7\n", 0, 3, true},
    {"a PFM image", "PF\n", 0, 3, true},
    {"a PFM image", "Pf\n", 0, 3, true},
    {"an ICO image", "\0\0\1\0", 0, 4, false}, /* too short to tell an image by it alone */
    {"a CUR image", "\0\0\2\0", 0, 4, false},
    {"a JPEG XL image", "\xff\x0a", 0, 2, false},
    {"a PDF document", "%PDF", 0, 4, true},
    {"a PostScript document", "%!PS", 0, 4, false},
    {"an SVG image", "<svg", 0, 4, true},
    {"a ZIP archive", "PK\3\4", 0, 4, false},
    {"a gzip archive", "\x1f\x8b", 0, 2, false},
};

static const struct known *find_known(const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < sizeof known_formats / sizeof *known_formats; i++) {
        const struct known *known = &known_formats[i];
        if (starts_with(data, size, known->offset, known->magic, known->length))
            return known;
    }
    return NULL;
}

/* The format has no mark at its start: the footer of its second version, or a header in which every
 * field has a legal value. */
static bool is_tga(const unsigned char *data, size_t size)
{
    enum { HEADER = 18, FOOTER = 26 };
    static const char footer[] = "TRUEVISION-XFILE."; /* with its terminator */
    if (size > HEADER + FOOTER && memcmp(data + size - sizeof footer, footer, sizeof footer) == 0)
        return true;
    if (size <= HEADER || data[2] == 0)
        return false;
    bool mapped = memcmp(data + 3, "\0\0\0\0\0", 5) != 0; /* the range of a colour map */
    return data[1] == mapped && memchr(mapped ? "\1\11" : "\2\3\12\13", data[2], mapped ? 2 : 4) &&
           dvit_le16(data + 12) > 0 && dvit_le16(data + 14) > 0 && data[16] &&
           memchr("\10\17\20\30\40", data[16], 5) && (data[17] & 0xc0) == 0;
}

/* ASCII, or bytes in the order that UTF-8 has them. */
static bool looks_like_text(const unsigned char *data, size_t size)
{
    size_t checked = size < 512 ? size : 512;
    for (size_t i = 0; i < checked; i++) {
        unsigned char c = data[i], before = i ? data[i - 1] : 0;
        if (c < 0x20 ? !memchr("\t\n\v\f\r", c, 5) : c == 0x7f || c >= 0xf5)
            return false;
        if ((c & 0xc0) == 0x80 ? before < 0x80 : before >= 0xc2)
            return false;
    }
    return true;
}

static bool holds(const unsigned char *data, size_t size, const char *word)
{
    size_t length = strlen(word), checked = size < 1024 ? size : 1024;
    for (size_t i = 0; i + length <= checked; i++)
        if (memcmp(data + i, word, length) == 0)
            return true;
    return false;
}

const char *dvit_image_format_describe(const unsigned char *data, size_t size)
{
    if (is_tga(data, size))
        return "a TGA image";
    const struct known *known = find_known(data, size);
    if (known)
        return known->name;
    if (!looks_like_text(data, size))
        return "unknown data";
    if (holds(data, size, "<svg"))
        return "an SVG image";
    return holds(data, size, "<!DOCTYPE html") || holds(data, size, "<html") ? "an HTML page"
                                                                             : "text";
}

/* ---- files ---- */

static const char *const read_endings[] = {"jpg", "jpeg", "jpe", "jfif", "png", "ppm",  "pgm",
                                           "pbm", "pnm",  "bmp", "webp", "gif", "apng", "mpo"};
static const char *const foreign_endings[] = {
    "tif", "tiff", "avif",  "avifs", "heic", "heics", "heif", "hif", "jp2", "j2k", "jpf", "jpx",
    "jpm", "j2c",  "jxl",   "jxr",   "ico",  "cur",   "icns", "tga", "psd", "psb", "svg", "svgz",
    "pdf", "eps",  "dds",   "exr",   "hdr",  "qoi",   "pcx",  "pam", "pfm", "xcf", "raw", "dng",
    "cr2", "cr3",  "crw",   "nef",   "nrw",  "arw",   "srf",  "sr2", "orf", "rw2", "raf", "pef",
    "srw", "dcm",  "dicom", "fits",  "fit",  "wmf",   "emf",  "xbm", "xpm", "sgi", "ras", "dib"};
static const char *const system_names[] = {"Thumbs.db", "ehthumbs.db", "desktop.ini",
                                           "__MACOSX",  "@eaDir",      "$RECYCLE.BIN"};

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(word, words[i]) == 0)
            return true;
    return false;
}

#define IS_ONE_OF(word, words) is_one_of(word, words, sizeof(words) / sizeof *(words))

const char *dvit_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool dvit_file_name_is_hidden(const char *name)
{
    return name[0] == '.' || IS_ONE_OF(name, system_names);
}

/* Content that cannot be by chance that of something else: longer marks than decoders need. */
static bool is_surely_image(const unsigned char *data, size_t size)
{
    if (is_pnm(data, size))
        return size > 3 && ((data[3] >= '0' && data[3] <= '9') || data[3] == '#' || data[2] == '#');
    if (is_bmp(data, size))
        return size >= 18 && dvit_le32(data + 6) == 0 && dvit_le32(data + 14) >= 12 &&
               dvit_le32(data + 14) <= 124;
    return dvit_image_format_find(data, size) != NULL;
}

enum dvit_file_kind dvit_file_kind(const char *path)
{
    enum { PEEKED = 512 };
    unsigned char data[PEEKED];
    size_t size = 0;
    if (!path)
        return DVIT_FILE_OTHER;
    const char *name = dvit_path_name(path), *dot = strrchr(name, '.');
    if (dvit_file_name_is_hidden(name))
        return DVIT_FILE_HIDDEN;
    if (dot && IS_ONE_OF(dot + 1, read_endings))
        return DVIT_FILE_IMAGE;
    if (dvit_file_peek(path, data, sizeof data, &size) && is_surely_image(data, size))
        return DVIT_FILE_IMAGE;
    if (dot && IS_ONE_OF(dot + 1, foreign_endings))
        return DVIT_FILE_FOREIGN;
    const struct known *known = find_known(data, size);
    return known && known->is_image ? DVIT_FILE_FOREIGN : DVIT_FILE_OTHER;
}

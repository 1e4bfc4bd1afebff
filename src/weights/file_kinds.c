/* Tables of what people give a program like this by mistake, or because they do not know better:
 * the other frameworks' formats, compressed files, downloads that went wrong. */
#include "weights/file_kinds.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "weights/text.h"
#include "weights/zip.h"

#define NPZ                                                                                        \
    "a NumPy archive (.npz), as Google publishes its ViT; timm reads it: "                         \
    "timm.create_model(NAME, checkpoint_path=FILE), then save the model's state_dict()"
#define TO_PYTORCH "; load it in Python and save the PyTorch model's state_dict()"
#define WEB_PAGE   "a web page or XML, not weights: a download went wrong"
#define UNPACK     "; decompress it first"

/* Bytes at a fixed place. The first row that fits counts. */
static const struct {
    size_t at;
    const char *begin;
    size_t length;
    const char *what;
} marks[] = {
    {0, "\x89HDF\r\n\x1a\n", 8, "an HDF5 file (Keras)" TO_PYTORCH},
    {0, "version https://git-lfs", 23,
     "a Git LFS pointer: the file itself has not been downloaded (git lfs pull)"},
    {0, "\x93NUMPY", 6, "a NumPy array (.npy)" TO_PYTORCH},
    {0, "GGUF", 4, "a GGUF file (ggml)" TO_PYTORCH},
    {0, "lmgg", 4, "a ggml file" TO_PYTORCH},
    {0, "fmgg", 4, "a ggml file" TO_PYTORCH},
    {0, "tjgg", 4, "a ggml file" TO_PYTORCH},
    {4, "TFL3", 4, "a TensorFlow Lite model (.tflite)" TO_PYTORCH},
    {4, "ORTM", 4, "an ONNX Runtime model (.ort)" TO_PYTORCH},
    {4, "ET12", 4, "an ExecuTorch program (.pte)" TO_PYTORCH},
    {0, "ptrt", 4, "a TensorRT engine, made for one machine" TO_PYTORCH},
    {0, "\x1f\x8b", 2, "compressed with gzip" UNPACK},
    {0,
     "\xfd"
     "7zXZ",
     6, "compressed with xz" UNPACK},
    {0, "BZh", 3, "compressed with bzip2" UNPACK},
    {0, "\x28\xb5\x2f\xfd", 4, "compressed with zstd" UNPACK},
    {0, "\x04\x22\x4d\x18", 4, "compressed with lz4" UNPACK},
    {0, "7z\xbc\xaf\x27\x1c", 6, "a 7-Zip archive" UNPACK},
    {0, "Rar!\x1a", 5, "a RAR archive" UNPACK},
    {0, "%PDF", 4, "a PDF document, not weights"},
    {0, "\x89PNG", 4, "a PNG image, not weights"},
    {0, "\xff\xd8\xff", 3, "a JPEG image, not weights"},
    {0, "GIF8", 4, "a GIF image, not weights"},
    {0, "RIFF", 4, "an image, sound or film (RIFF), not weights"},
    {0,
     "\x7f"
     "ELF",
     4, "a program (ELF), not weights"},
    {0, "MZ", 2, "a Windows program, not weights"},
    {0, "MATLAB 5.0", 10, "a MATLAB file" TO_PYTORCH},
    {0, "PK\5\6", 4, "an empty zip archive"},
    {257, "ustar", 5,
     "a tar archive: unpack it first (PyTorch before 2016 wrote such; load and save it again with "
     "a newer one)"},
};

/* Members of zip archives: names that end so, below any folder. The first row that fits counts. */
static const struct {
    const char *name; /* "*.npy": ends so; "code/": a folder; else a whole name */
    const char *what; /* NULL: torch.save's */
} members[] = {
    {"constants.pkl", "a TorchScript archive, which holds a program (code/, constants.pkl); save "
                      "the model's state_dict instead"},
    {"code/", "a TorchScript archive, which holds a program (code/, constants.pkl); save the "
              "model's state_dict instead"},
    {"data.pkl", NULL},
    {"*.npy", NPZ},
    {"model.weights.h5", "a Keras model (.keras)" TO_PYTORCH},
    {"saved_model.pb", "a zipped TensorFlow model (SavedModel)" TO_PYTORCH},
    {"*.mlmodel", "a Core ML package" TO_PYTORCH},
    {"[Content_Types].xml", "an office document, not weights"},
    {"MANIFEST.MF", "a Java archive, not weights"},
    {"*.safetensors", "a zip archive with a safetensors file in it: unpack it first"},
    {"*.pth", "a zip archive with a PyTorch file in it: unpack it first"},
    {"*.pt", "a zip archive with a PyTorch file in it: unpack it first"},
    {"*.bin", "a zip archive with a weight file in it: unpack it first"},
    {"*.ckpt", "a zip archive with a checkpoint in it: unpack it first"},
    {"*.onnx", "a zip archive with an ONNX model in it: unpack it first; ONNX is not read"},
    {"*.h5", "a zip archive with an HDF5 file in it: unpack it first; HDF5 is not read"},
};
enum { MEMBERS = sizeof members / sizeof *members };

/* ---- the content of single files ---- */

/* A varint of at most 2 bytes; 0 where there is none. */
static size_t small_varint(const unsigned char *data, size_t left, unsigned *value)
{
    if (left < 1)
        return 0;
    *value = data[0] & 0x7fu;
    if (data[0] < 0x80)
        return 1;
    if (left < 2 || data[1] >= 0x80)
        return 0;
    *value |= (unsigned)data[1] << 7;
    return 2;
}

/* ONNX's ModelProto: ir_version (a small number), then a text (producer, domain), a model version,
 * the graph, or the operator sets. */
static bool is_onnx(const unsigned char *data, size_t size_bytes)
{
    unsigned version, length;
    if (size_bytes < 4 || data[0] != 0x08 || data[1] < 1 || data[1] > 30)
        return false;
    version = data[2];
    if (version == 0x28 || version == 0x3a)
        return true;
    if (version != 0x12 && version != 0x1a && version != 0x22 && version != 0x42)
        return false;
    return small_varint(data + 3, size_bytes - 3, &length) > 0;
}

/* A MessagePack map whose first key is a short text, as flax writes {"params": …}. */
static bool is_msgpack(const unsigned char *data, size_t size_bytes)
{
    size_t at;
    if (size_bytes < 4)
        return false;
    if (data[0] > 0x80 && data[0] <= 0x8f)
        at = 1;
    else if (data[0] == 0xde)
        at = 3;
    else if (data[0] == 0xdf && size_bytes > 5)
        at = 5;
    else
        return false;
    size_t length = data[at] >= 0xa1 && data[at] <= 0xbf ? data[at] & 0x1fu : 0;
    if (data[at] == 0xd9 && at + 1 < size_bytes) {
        length = data[at + 1];
        at++;
    }
    return length > 0 && length < size_bytes - at - 1 && dvit_text_is_utf8(data + at + 1, length) &&
           data[at + 1] >= ' ';
}

/* A TensorFlow checkpoint's .index is a table of LevelDB's, with its number at the end. */
static bool is_tensorflow_index(const unsigned char *data, size_t size_bytes)
{
    static const unsigned char magic[] = {0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb};
    return size_bytes >= 48 && memcmp(data + size_bytes - sizeof magic, magic, sizeof magic) == 0;
}

enum { SHOWN_TEXT = 60, LOOKED_AT = 4096 };

static char lower(unsigned char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool is_markup(const unsigned char *data, size_t size_bytes)
{
    static const char *const tags[] = {"<!doctype", "<html", "<head", "<?xml", "<body"};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        size_t k = 0;
        while (tags[i][k] && k < size_bytes && lower(data[k]) == tags[i][k])
            k++;
        if (!tags[i][k])
            return true;
    }
    return false;
}

/* How many of the first bytes are text: none, where one is a control character. */
static size_t text_bytes(const unsigned char *data, size_t size_bytes)
{
    size_t length = size_bytes < LOOKED_AT ? size_bytes : LOOKED_AT;
    for (size_t i = 0; i < length; i++)
        if (data[i] < ' ' && data[i] != '\n' && data[i] != '\r' && data[i] != '\t')
            return 0;
    for (int cut = 0; cut < 4 && length > 0; cut++, length--) /* a character may be cut */
        if (dvit_text_is_utf8(data, length))
            return length;
    return 0;
}

static enum dvit_status refuse_text(const unsigned char *data, size_t size_bytes,
                                    struct dvit_error *error)
{
    char shown[SHOWN_TEXT + 16];
    size_t begin = size_bytes >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (begin < size_bytes && strchr(" \t\r\n", data[begin]) && data[begin])
        begin++;
    if (is_markup(data + begin, size_bytes - begin))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "is %s", WEB_PAGE);
    size_t line = 0, length = text_bytes(data + begin, size_bytes - begin);
    if (length == 0)
        return DVIT_OK;
    while (line < length && data[begin + line] != '\n' && data[begin + line] != '\r')
        line++;
    dvit_text_escape((const char *)data + begin, line, shown, sizeof shown);
    if (data[begin] == '{' || data[begin] == '[')
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "is JSON, not a weight file that is known here; it begins \"%s\"",
                              shown);
    return dvit_error_set(error, DVIT_ERROR_FORMAT,
                          "is text, not a weight file that is known here; it begins \"%s\"", shown);
}

enum dvit_status dvit_file_kind_refuse(const unsigned char *data, size_t size_bytes,
                                       struct dvit_error *error)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (size_bytes >= marks[i].at + marks[i].length &&
            memcmp(data + marks[i].at, marks[i].begin, marks[i].length) == 0)
            return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "is %s", marks[i].what);
    if (size_bytes == 0)
        return dvit_error_set(error, DVIT_ERROR_FORMAT, "is empty");
    if (size_bytes >= 2 && data[0] == 0x80 && data[1] <= 5)
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "is a plain pickle of protocol %d, not a file of torch.save; load it "
                              "in Python and save its tensors with torch.save",
                              data[1]);
    if (is_onnx(data, size_bytes))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "is an ONNX model%s", TO_PYTORCH);
    if (is_tensorflow_index(data, size_bytes))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                              "is the index of a TensorFlow "
                              "checkpoint%s",
                              TO_PYTORCH);
    enum dvit_status status = refuse_text(data, size_bytes, error);
    if (status != DVIT_OK)
        return status;
    if (is_msgpack(data, size_bytes))
        return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "is MessagePack (flax, JAX)%s",
                              TO_PYTORCH);
    return dvit_error_set(error, DVIT_ERROR_FORMAT,
                          "is not a weight file that is known here: safetensors, the index.json of "
                          "a sharded model, or a file of torch.save");
}

/* ---- zip archives ---- */

static bool fits(const char *pattern, const unsigned char *name, size_t length)
{
    size_t wanted = strlen(pattern);
    if (*pattern == '*')
        return length >= wanted - 1 &&
               memcmp(name + length - (wanted - 1), pattern + 1, wanted - 1) == 0;
    bool folder = pattern[wanted - 1] == '/';
    for (size_t i = 0; i + wanted <= length; i++)
        if ((i == 0 || name[i - 1] == '/') && memcmp(name + i, pattern, wanted) == 0 &&
            (folder || i + wanted == length))
            return true;
    return false;
}

struct seen {
    bool rows[MEMBERS];
    char first[100];
};

static void look_at(void *context, const unsigned char *name, size_t length)
{
    struct seen *seen = context;
    if (!*seen->first)
        dvit_text_escape((const char *)name, length, seen->first, sizeof seen->first);
    for (size_t i = 0; i < MEMBERS; i++)
        seen->rows[i] = seen->rows[i] || fits(members[i].name, name, length);
}

enum dvit_status dvit_file_kind_check_zip(const unsigned char *data, size_t size_bytes,
                                          struct dvit_error *error)
{
    struct seen seen = {.first = ""};
    if (!dvit_zip_names(data, size_bytes, look_at, &seen))
        return DVIT_OK; /* damaged: the reader says how */
    for (size_t i = 0; i < MEMBERS; i++)
        if (seen.rows[i])
            return members[i].what
                       ? dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "is %s", members[i].what)
                       : DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                          "is a zip archive of other files (\"%s\"), without data.pkl not one of "
                          "torch.save",
                          seen.first);
}

/* Finds and reads the goldens. */
#include "weight_goldens.h"

#include "test_util.h"

const char *const weight_goldens[] = {"checkpoint.pth",
                                      "checkpoint_legacy.pth",
                                      "types.pth",
                                      "types_legacy.pth",
                                      "foreign.pth",
                                      "foreign_legacy.pth",
                                      "written.pth",
                                      "views_legacy.pth",
                                      "pytorch_model-00001-of-00002.bin",
                                      NULL};

char *weight_golden_path(const char *name)
{
    const char *root = getenv("DVIT_SOURCE_ROOT");
    char *folder = dvit_path_join(root ? root : ".", "tests/golden/weights");
    char *path = dvit_path_join(folder, name);
    assert_non_null(path);
    free(folder);
    return path;
}

unsigned char *weight_golden_read(const char *name, size_t *size_bytes)
{
    struct dvit_error error;
    unsigned char *bytes;
    char *path = weight_golden_path(name);
    assert_ok(dvit_file_read(path, 1 << 20, &bytes, size_bytes, &error), &error);
    free(path);
    unsigned char *exact = malloc(*size_bytes);
    assert_non_null(exact);
    memcpy(exact, bytes, *size_bytes);
    free(bytes);
    return exact;
}

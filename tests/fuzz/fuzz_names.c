/* libFuzzer target: any list of tensors, one a line as "NAME EXTENT EXTENT …" or, where they are no
 * F32, "NAME TYPE EXTENT …", as a state dict to be named, recognised and checked. A configuration
 * that comes out must be one; what is refused must say why. Build with -Dfuzz=true and CC=clang,
 * run tests/fuzz/fuzz_names CORPUS_FOLDER with tests/fuzz/seeds/fuzz_names as the first corpus. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weights/assemble.h"
#include "weights/families.h"
#include "weights/recognise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

enum { MAX_TENSORS = 256 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

static struct dvit_tensor_view parse_line(char *line)
{
    struct dvit_tensor_view view = {.name = line, .dtype = DVIT_DTYPE_F32};
    char *at = strchr(line, ' '), *end = at ? strchr(at + 1, ' ') : NULL;
    if (end) {
        *end = 0;
        bool typed = dvit_dtype_parse(at + 1, &view.dtype);
        *end = ' ';
        if (typed) {
            *at = 0;
            at = end;
        }
    }
    while (at && view.rank < DVIT_TENSOR_MAX_RANK) {
        *at++ = 0;
        view.shape[view.rank++] = strtoull(at, NULL, 10);
        at = strchr(at, ' ');
    }
    return view;
}

static void try_list(const struct dvit_tensor_view *const *views, size_t count, bool average)
{
    struct dvit_error error = {.message = ""};
    struct dvit_notes notes = {0};
    struct dvit_tensor_names names;
    struct dvit_config config;
    const struct dvit_stated stated = {.heads = average ? 0 : 1, .wanted_width = 64};
    const struct dvit_state_choice choice = {.average = average};
    const struct dvit_stated_kind kind = {.model_type = "vit"};
    if (dvit_family_explain(views, count, &kind, DVIT_OK, &error) != DVIT_OK)
        require(error.message[0]);
    error.message[0] = 0;
    if (dvit_tensor_names_create(&names, views, count, &choice, &notes, &error) != DVIT_OK) {
        require(error.message[0] && !names.items);
    } else if (dvit_recognise(&config, &names, &stated, &notes, &error) != DVIT_OK) {
        require(error.message[0]);
    } else {
        struct dvit_assembly assembly = {.names = &names,
                                         .stored = &config,
                                         .new_heads = average,
                                         .bare_positions =
                                             dvit_recognise_bare_positions(&config, &names),
                                         .foreign = true};
        require(dvit_config_check(&config, &error) == DVIT_OK);
        require(dvit_assembly_check(&assembly, &error) == DVIT_OK || error.message[0]);
    }
    dvit_tensor_names_free(&names);
    dvit_notes_free(&notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct dvit_tensor_view views[MAX_TENSORS];
    const struct dvit_tensor_view *pointers[MAX_TENSORS];
    size_t count = 0;
    char *text = malloc(size_bytes + 1), *rest = text;
    if (!text)
        return 0;
    memcpy(text, data, size_bytes);
    text[size_bytes] = 0;
    for (char *line = rest; line && *line && count < MAX_TENSORS; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = 0;
        views[count] = parse_line(line);
        pointers[count] = &views[count];
        count++;
    }
    try_list(pointers, count, false);
    try_list(pointers, count, true);
    free(text);
    return 0;
}

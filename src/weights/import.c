/* dvit_model_load: any file of tensors that names.c and recognise.c understand becomes a model.
 * What the file does not say – heads, classes, image size, keep ratio – is chosen here: what the
 * caller asks for, what the file records, what is usual; each choice is noted. Preprocessing and
 * labels are import_describe.c's, formats weight_file.c's, tensors assemble.c's. */
#include "weights/import.h"

#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "models/defects.h"
#include "weights/assemble.h"
#include "weights/families.h"
#include "weights/model_file.h"
#include "weights/model_json.h"
#include "weights/recognise.h"
#include "weights/text.h"

static void import_free(struct dvit_import *import)
{
    dvit_hf_config_free(&import->hf);
    dvit_timm_config_free(&import->timm);
    dvit_tensor_names_free(&import->names);
    dvit_notes_free(&import->notes);
    free(import->views);
    dvit_weight_file_free(import->file);
}

static enum dvit_status list_tensors(struct dvit_import *import, struct dvit_error *error)
{
    size_t count = dvit_weight_file_tensor_count(import->file);
    import->views = calloc(count + 1, sizeof *import->views);
    if (!import->views)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "%zu tensors: out of memory", count);
    for (size_t i = 0; i < count; i++)
        import->views[i] = dvit_weight_file_view(import->file, i);
    const struct dvit_state_choice choice = {
        .average = import->options.average, .key = import->key, .own = import->own};
    return dvit_tensor_names_create(&import->names, import->views, count, &choice, &import->notes,
                                    error);
}

static enum dvit_status read_hf_config(struct dvit_import *import, struct dvit_error *error)
{
    unsigned char *text;
    size_t size_bytes;
    enum dvit_status status = DVIT_OK;
    DVIT_TRY(dvit_import_beside(import, "config.json", &text, &size_bytes, error));
    import->described = text != NULL;
    if (text)
        DVIT_TRY(dvit_hf_config_parse(&import->hf, text, size_bytes, error));
    else
        DVIT_TRY(dvit_notes_add(&import->notes, error,
                                "no config.json beside the file: layer norms of eps 1e-12"));
    if (!text)
        import->hf.norm_eps = 1e-12f;
done:
    free(text);
    return status;
}

/* timm's description, if there is one. Something else, or something broken, may stand there for
 * reasons of its own. */
static enum dvit_status read_timm_config(struct dvit_import *import, struct dvit_error *error)
{
    unsigned char *text;
    size_t size_bytes;
    struct dvit_error reason;
    enum dvit_status status =
        dvit_import_beside(import, "config.json", &text, &size_bytes, &reason);
    if (status == DVIT_OK && text)
        status = dvit_timm_config_parse(&import->timm, text, size_bytes, &reason);
    free(text);
    if (status == DVIT_OK || (!import->timm.found && status != DVIT_ERROR_MEMORY))
        return DVIT_OK; /* import_describe.c notes what stands there instead */
    return dvit_error_set(error, status, "%s", reason.message);
}

/* --- what the file holds -------------------------------------------------------------------- */

static enum dvit_status read_own_config(struct dvit_import *import, struct dvit_error *error)
{
    static const char *const keys[] = {"dvit.config", "dvit.preprocess", "dvit.labels"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!dvit_import_recorded(import, keys[i]))
            return dvit_error_set(error, DVIT_ERROR_FORMAT,
                                  "no \"%s\" in the metadata: this is not a model that dvit wrote",
                                  keys[i]);
    if (dvit_tensor_names_find(&import->names, "model.cls_token"))
        return dvit_error_set(error, DVIT_ERROR_FORMAT,
                              "this is the state of a training run, for resuming it; its models "
                              "are best.safetensors and last.safetensors");
    return dvit_error_of_file(
        dvit_config_from_json(dvit_import_recorded(import, "dvit.config"), &import->stored, error),
        error);
}

static enum dvit_status recognise(struct dvit_import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const struct dvit_load_options *options = &import->options;
    bool hugging_face = import->names.place.naming == DVIT_NAMING_HUGGING_FACE;
    if (hugging_face)
        DVIT_TRY(read_hf_config(import, error));
    else
        DVIT_TRY(read_timm_config(import, error));
    const struct dvit_timm_config *timm = &import->timm;
    int heads = timm->heads ? timm->heads : import->hf.heads;
    struct dvit_stated stated = {
        .heads = options->heads ? options->heads : heads,
        .image_width = timm->image_width ? timm->image_width : import->hf.image_width,
        .image_height = timm->image_height ? timm->image_height : import->hf.image_height,
        .wanted_width = options->image_width,
        .wanted_height = options->image_height ? options->image_height : options->image_width,
        .norm_eps = timm->norm_eps > 0 ? timm->norm_eps : import->hf.norm_eps};
    DVIT_TRY(dvit_recognise(&import->stored, &import->names, &stated, &import->notes, error));
    DVIT_TRY(dvit_hf_config_compare(&import->hf, &import->stored, error));
    DVIT_TRY(dvit_timm_config_compare(timm, &import->stored,
                                      dvit_tensor_names_find(&import->names, "head.weight") != NULL,
                                      error));
    if (import->described)
        import->stored.qkv_bias = !import->hf.no_qkv_bias;
done:
    return status;
}

/* --- what the caller wants ------------------------------------------------------------------ */

static enum dvit_status choose_keep(struct dvit_import *import, struct dvit_error *error)
{
    struct dvit_config *c = &import->wanted;
    const char *text = dvit_import_recorded(import, "args/base_rate");
    char *end = NULL;
    double rate = text ? dvit_decimal_parse(text, &end) : 0;
    if (import->options.keep != 0)
        c->keep = import->options.keep;
    if (import->own || c->stages == 0)
        return DVIT_OK;
    if (import->options.keep != 0)
        return dvit_notes_add(&import->notes, error, "keep ratio %g, as asked for", c->keep);
    if (text && *text && *end == 0 && rate > 0 && rate <= 1) {
        c->keep = rate;
        return dvit_notes_add(&import->notes, error, "keep ratio %g: the file's args.base_rate",
                              rate);
    }
    return dvit_notes_add(&import->notes, error, "keep ratio %g: the file records %s%s%s", c->keep,
                          text ? "\"" : "none", text ? dvit_text_show(text).text : "",
                          text ? "\", which is none" : "");
}

static enum dvit_status choose_classes(struct dvit_import *import, struct dvit_error *error)
{
    int wanted = import->options.classes;
    bool headless = !import->own && !dvit_tensor_names_find(&import->names, "head.weight");
    if (wanted == 0 || (wanted == import->stored.classes && !headless))
        return DVIT_OK;
    import->new_heads = true;
    import->wanted.classes = wanted;
    if (headless)
        return dvit_notes_add(&import->notes, error,
                              "the head for %d classes is new: the file has none", wanted);
    return dvit_notes_add(&import->notes, error,
                          "the head for %d classes is new: the file's is for %d", wanted,
                          import->stored.classes);
}

static enum dvit_status choose_size(struct dvit_import *import, struct dvit_error *error)
{
    struct dvit_config *c = &import->wanted;
    const struct dvit_load_options *options = &import->options;
    if (options->image_width)
        c->image_width = c->image_height = options->image_width;
    if (options->image_height)
        c->image_height = options->image_height;
    if (c->image_width == import->stored.image_width &&
        c->image_height == import->stored.image_height)
        return DVIT_OK;
    return dvit_notes_add(
        &import->notes, error, "position embeddings interpolated from %d × %d to %d × %d patches%s",
        import->stored.image_width / c->patch, import->stored.image_height / c->patch,
        c->image_width / c->patch, c->image_height / c->patch,
        dvit_import_is_timm(import) ? ", antialiased as timm does"
        : import->own || import->names.place.naming == DVIT_NAMING_HUGGING_FACE
            ? ""
            : ", as DeiT does, without timm's antialiasing");
}

static enum dvit_status apply_options(struct dvit_import *import, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_config *c = &import->wanted;
    *c = import->stored;
    if (import->options.heads)
        c->heads = import->options.heads;
    DVIT_TRY(choose_classes(import, error));
    DVIT_TRY(choose_size(import, error));
    DVIT_TRY(choose_keep(import, error));
    DVIT_TRY(dvit_config_check(c, error));
    bool same_shape = c->heads == import->stored.heads && c->classes == import->stored.classes &&
                      c->image_width == import->stored.image_width &&
                      c->image_height == import->stored.image_height;
    if (!import->own || !same_shape)
        dvit_recognise_preset(c);
done:
    return status;
}

/* What a file of 8 bits tells about its ranges; only ever shown, so what is no number is none. */
static size_t calibration_images(const struct dvit_import *import)
{
    const char *text = dvit_import_recorded(import, DVIT_CALIBRATION_KEY);
    size_t length = text ? strlen(text) : 0;
    if (length == 0 || length > 9 || strspn(text, "0123456789") != length)
        return 0;
    return (size_t)strtoul(text, NULL, 10);
}

/* --- what does not become a model --------------------------------------------------------------
 */

/* A file that failed with `status` may be of a family that is known and not supported. */
static enum dvit_status explain(const struct dvit_import *import, enum dvit_status status,
                                struct dvit_error *error)
{
    struct dvit_stated_kind kind = {.model_type = ""};
    unsigned char *text = NULL;
    size_t size_bytes;
    if (import->own || (status != DVIT_ERROR_MISMATCH && status != DVIT_ERROR_UNSUPPORTED))
        return status;
    if (dvit_import_beside(import, "config.json", &text, &size_bytes, NULL) == DVIT_OK && text)
        dvit_stated_kind_read(&kind, text, size_bytes);
    free(text);
    return dvit_family_explain(import->views, dvit_weight_file_tensor_count(import->file), &kind,
                               status, error);
}

/* Whether all is there but a head. */
static bool lacks_a_head(const struct dvit_import *import, const struct dvit_assembly *assembly)
{
    struct dvit_assembly without = *assembly;
    without.new_heads = true;
    return !import->own && !assembly->new_heads &&
           !dvit_tensor_names_find(&import->names, "head.weight") &&
           dvit_assembly_check(&without, NULL) == DVIT_OK;
}

/* Whether the tensors are those of import->stored. What the file is comes before which of its
 * tensors do not fit. */
static enum dvit_status check(const struct dvit_import *import, struct dvit_assembly *assembly,
                              struct dvit_error *error)
{
    enum dvit_status status = dvit_assembly_check(assembly, error);
    if (status != DVIT_ERROR_MISMATCH)
        return status;
    if (lacks_a_head(import, assembly))
        return dvit_error_set(error, status,
                              "has no classifier: it is a feature extractor; start a new one for N "
                              "classes with --classes N, in training with --classes data");
    status = explain(import, status, error);
    if (status != DVIT_ERROR_MISMATCH)
        return status;
    assembly->problem = import->options.problem;
    assembly->context = import->options.context;
    return dvit_assembly_check(assembly, error);
}

/* --- the model ------------------------------------------------------------------------------ */

static enum dvit_status build(struct dvit_import *import, struct dvit_model **out,
                              struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_model *model = NULL;
    struct dvit_assembly assembly = {
        .names = &import->names,
        .stored = &import->stored,
        .new_heads = import->new_heads,
        .bare_positions =
            !import->own && dvit_recognise_bare_positions(&import->stored, &import->names),
        .antialiased = dvit_import_is_timm(import),
        .foreign = !import->own};
    /* A file may claim anything: memory is asked for only once all tensors have been seen. */
    DVIT_TRY(check(import, &assembly, error));
    DVIT_TRY(dvit_import_preprocess(import, error));
    DVIT_TRY(dvit_model_allocate(&model, &import->wanted, error));
    if (import->new_heads)
        dvit_model_initialise(model, DVIT_GROUP_HEAD, import->options.seed);
    DVIT_TRY(dvit_assembly_read(&assembly, model, error));
    model->calibration_images = calibration_images(import);
    DVIT_TRY(dvit_model_set_preprocess(model, &import->preprocess, error));
    DVIT_TRY(dvit_import_labels(import, model, error));
    model->notes = import->notes;
    import->notes = (struct dvit_notes){0};
    DVIT_TRY(dvit_model_note_defects(model, error));
    *out = model;
    model = NULL;
done:
    dvit_model_free(model);
    return status;
}

/* A run folder stands for one of its models. */
static enum dvit_status note_run_folder(struct dvit_import *import, const char *given,
                                        struct dvit_error *error)
{
    static const char best[] = "/best.safetensors";
    size_t length = strlen(import->path), end = sizeof best - 1;
    if (strcmp(given, import->path) == 0 || length < end ||
        strcmp(import->path + length - end, best) != 0)
        return DVIT_OK;
    return dvit_notes_add(&import->notes, error, "a run folder: its best.safetensors is read");
}

enum dvit_status dvit_model_load(struct dvit_model **out, const char *path,
                                 const struct dvit_load_options *options, struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, path);
    return dvit_model_load_key(out, path, NULL, options, error);
}

static bool asks_for_anything(const struct dvit_load_options *options)
{
    return options->heads || options->image_width || options->image_height || options->classes ||
           options->keep != 0 || options->preprocess;
}

enum dvit_status dvit_model_load_key(struct dvit_model **out, const char *path, const char *key,
                                     const struct dvit_load_options *options,
                                     struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, path);
    struct dvit_import import = {.path = path, .key = key};
    if (options)
        import.options = *options;
    enum dvit_status status = dvit_weight_file_open(&import.file, path, error);
    if (status != DVIT_OK)
        return status; /* names the file itself */
    import.path = dvit_weight_file_path(import.file);
    import.own = dvit_import_recorded(&import, "dvit.config") != NULL;
    DVIT_TRY(note_run_folder(&import, path, error));
    DVIT_TRY(list_tensors(&import, error));
    status = import.own ? read_own_config(&import, error) : recognise(&import, error);
    if (status != DVIT_OK) {
        status = explain(&import, status, error);
        goto done;
    }
    DVIT_TRY(apply_options(&import, error));
    DVIT_TRY(build(&import, out, error));
done:
    if (!asks_for_anything(&import.options))
        status = dvit_error_of_file(status, error);
    if (status != DVIT_OK)
        dvit_error_prefix(error, "\"%s\"", path);
    import_free(&import);
    return status;
}

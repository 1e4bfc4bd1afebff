/* config.json as transformers writes it for ViT and DeiT, through jansson. Only what changes the
 * answer is read; what would change it in a way that dvit does not compute is refused by name.
 * preprocessor_config.json is hf_preprocess.c. */
#include "weights/hf_config.h"

#include <string.h>

#include "weights/hf_json.h"
#include "weights/text.h"

static const char *const file_name = "config.json";

static enum dvit_status read_image_size(struct dvit_hf_config *c, const json_t *root,
                                        struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    const json_t *size = json_object_get(root, "image_size");
    if (!json_is_array(size)) {
        DVIT_TRY(dvit_hf_whole(root, file_name, "image_size", 0, &c->image_width, error));
        c->image_height = c->image_width;
        return DVIT_OK;
    }
    if (json_array_size(size) != 2)
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "%s: image_size has %zu entries, expected 2", file_name,
                  json_array_size(size));
    DVIT_TRY(dvit_hf_whole_value(json_array_get(size, 0), file_name, "image_size[0]",
                                 &c->image_height, error));
    DVIT_TRY(dvit_hf_whole_value(json_array_get(size, 1), file_name, "image_size[1]",
                                 &c->image_width, error));
done:
    return status;
}

/* A text that must be one of two, or absent (*which is then −1). */
static enum dvit_status read_choice(const json_t *root, const char *key, const char *const *choices,
                                    int *which, struct dvit_error *error)
{
    const json_t *value = json_object_get(root, key);
    *which = -1;
    if (!value || json_is_null(value))
        return DVIT_OK;
    const char *text = json_string_value(value);
    for (int i = 0; text && choices[i]; i++)
        if (strcmp(text, choices[i]) == 0) {
            *which = i;
            return DVIT_OK;
        }
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "%s: %s is \"%s\", expected \"%s\"%s%s%s",
                          file_name, key, dvit_text_show(text ? text : "?").text, choices[0],
                          choices[1] ? " or \"" : "", choices[1] ? choices[1] : "",
                          choices[1] ? "\"" : "");
}

/* A model of another problem has logits that a softmax would make nonsense of. */
static enum dvit_status read_problem(const json_t *root, struct dvit_error *error)
{
    const char *problem = json_string_value(json_object_get(root, "problem_type"));
    if (!problem || strcmp(problem, "single_label_classification") == 0)
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                          "%s: problem_type is \"%s\", which dvit does not answer: it takes one "
                          "class of several (\"single_label_classification\")",
                          file_name, dvit_text_show(problem).text);
}

static enum dvit_status read_fields(struct dvit_hf_config *c, const json_t *root,
                                    struct dvit_error *error)
{
    static const char *const families[] = {"vit", "deit", NULL}, *const gelu[] = {"gelu", NULL};
    enum dvit_status status = DVIT_OK;
    int family, activation, channels;
    bool bias;
    double eps;
    DVIT_TRY(read_choice(root, "model_type", families, &family, error));
    DVIT_TRY(read_choice(root, "hidden_act", gelu, &activation, error));
    DVIT_TRY(read_problem(root, error));
    DVIT_TRY(dvit_hf_whole(root, file_name, "num_channels", 3, &channels, error));
    if (channels != 3)
        DVIT_FAIL(error, DVIT_ERROR_UNSUPPORTED, "%s: num_channels is %d, expected 3", file_name,
                  channels);
    DVIT_TRY(dvit_hf_whole(root, file_name, "num_attention_heads", 0, &c->heads, error));
    DVIT_TRY(dvit_hf_whole(root, file_name, "hidden_size", 0, &c->dim, error));
    DVIT_TRY(dvit_hf_whole(root, file_name, "num_hidden_layers", 0, &c->depth, error));
    DVIT_TRY(dvit_hf_whole(root, file_name, "intermediate_size", 0, &c->mlp, error));
    DVIT_TRY(dvit_hf_whole(root, file_name, "patch_size", 0, &c->patch, error));
    DVIT_TRY(dvit_hf_flag(root, file_name, "qkv_bias", true, &bias, error));
    DVIT_TRY(dvit_hf_number(root, file_name, "layer_norm_eps", 1e-12, &eps, error));
    DVIT_TRY(read_image_size(c, root, error));
    DVIT_TRY(dvit_label_table_read(&c->labels, json_object_get(root, "id2label"), error));
    c->deit = family == 1;
    c->no_qkv_bias = !bias;
    c->norm_eps = (float)eps;
    if (!(c->norm_eps > 0 && c->norm_eps < 1))
        DVIT_FAIL(error, DVIT_ERROR_FORMAT, "%s: layer_norm_eps is %g, expected between 0 and 1",
                  file_name, eps);
done:
    return status;
}

enum dvit_status dvit_hf_config_parse(struct dvit_hf_config *out, const void *text,
                                      size_t size_bytes, struct dvit_error *error)
{
    json_t *root;
    *out = (struct dvit_hf_config){0};
    enum dvit_status status = dvit_hf_json(text, size_bytes, file_name, &root, error);
    if (status == DVIT_OK)
        status = read_fields(out, root, error);
    json_decref(root);
    if (status != DVIT_OK)
        dvit_hf_config_free(out);
    return status;
}

void dvit_hf_config_free(struct dvit_hf_config *config)
{
    dvit_label_table_free(&config->labels);
    *config = (struct dvit_hf_config){0};
}

enum dvit_status dvit_hf_config_compare(const struct dvit_hf_config *stated,
                                        const struct dvit_config *config, struct dvit_error *error)
{
    const struct {
        const char *key;
        int stated, got;
    } sizes[] = {{"hidden_size", stated->dim, config->dim},
                 {"num_hidden_layers", stated->depth, config->depth},
                 {"intermediate_size", stated->mlp, config->mlp},
                 {"patch_size", stated->patch, config->patch},
                 {"image_size", stated->image_width, config->image_width},
                 {"image_size", stated->image_height, config->image_height}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].stated && sizes[i].stated != sizes[i].got)
            return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                                  "%s: %s is %d, but the tensors are of a model with %d", file_name,
                                  sizes[i].key, sizes[i].stated, sizes[i].got);
    return DVIT_OK;
}

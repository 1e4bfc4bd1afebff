/* From tensors to a configuration. Sizes and traits are read from shapes and from which tensors
 * there are; what shapes cannot tell (heads, the grid of an oblong image, LV-ViT's residual
 * divisor) comes from who stated it, then from a published model of the same shape, then from a
 * rule. Whether the file is complete is the business of assemble.c. */
#include "weights/recognise.h"

#include <stdio.h>
#include <string.h>

#include "models/presets.h"
#include "models/traits.h"
#include "weights/text.h"

/* Beyond every bound of dvit_config_check, and still far from overflow. */
enum { BEYOND = 1 << 24 };

static bool has(const struct dvit_tensor_names *names, const char *name)
{
    return dvit_tensor_names_find(names, name) != NULL;
}

/* Extent `axis` of a tensor; 0 where it is missing or has fewer axes. */
static int extent(const struct dvit_tensor_names *names, const char *name, int axis)
{
    const struct dvit_tensor_view *view = dvit_tensor_names_find(names, name);
    if (!view || axis >= view->rank)
        return 0;
    return view->shape[axis] < BEYOND ? (int)view->shape[axis] : BEYOND;
}

static int square_root(int value)
{
    int root = 0;
    while ((long)(root + 1) * (root + 1) <= value)
        root++;
    return root;
}

static enum dvit_status require_skeleton(const struct dvit_tensor_names *names,
                                         struct dvit_error *error)
{
    static const char *const skeleton[] = {"patch_embed.proj.weight", "pos_embed",
                                           "blocks.0.mlp.fc1.weight"};
    for (size_t i = 0; i < sizeof skeleton / sizeof *skeleton; i++)
        if (!has(names, skeleton[i]))
            return dvit_error_set(
                error, DVIT_ERROR_MISMATCH,
                "not a vision transformer that dvit knows: of %zu tensors%s%s none is \"%s\"%s%s",
                names->count, names->place.body_bytes ? " under " : "",
                dvit_state_dict_show(&names->place).text, skeleton[i],
                names->count ? "; one is " : "",
                names->count ? dvit_text_show(names->items[0].view->name).text : "");
    return DVIT_OK;
}

static void read_sizes(struct dvit_config *c, const struct dvit_tensor_names *names)
{
    const char *heads[] = {"head.weight", "head_dist.weight", "aux_head.weight"};
    const char *patch = "patch_embed.proj.weight";
    c->dim = extent(names, "blocks.0.mlp.fc1.weight", 1);
    c->mlp = extent(names, "blocks.0.mlp.fc1.weight", 0);
    c->depth = dvit_tensor_names_indices(names, "blocks.");
    c->classes = 1;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (has(names, heads[i])) {
            c->classes = extent(names, heads[i], 0);
            break;
        }
    /* [C,3,p,p]; old ones are matrices, [C,3p²]; behind LV-ViT's stem [C,width,p/2,p/2] */
    c->patch = extent(names, patch, 2);
    if (extent(names, patch, 3) == 0)
        c->patch = square_root(extent(names, patch, 1) / 3);
    if (has(names, "patch_embed.conv1.weight"))
        c->patch *= 2;
}

/* transformers' DeiTForImageClassification: a "classifier" on the class token beside a distillation
 * token. Elsewhere a second head that is not there is missing. */
static bool has_one_head(const struct dvit_tensor_names *names)
{
    const struct dvit_tensor_view *head = dvit_tensor_names_find(names, "head.weight");
    return names->place.naming == DVIT_NAMING_HUGGING_FACE && head &&
           !strstr(head->name, "cls_classifier") && !has(names, "head_dist.weight");
}

static void read_traits(struct dvit_config *c, const struct dvit_tensor_names *names)
{
    if (has(names, "patch_embed.conv1.weight"))
        dvit_config_make_lvvit(c, extent(names, "patch_embed.conv1.weight", 0));
    c->qkv_bias = has(names, "blocks.0.attn.qkv.bias");
    c->distilled = has(names, "dist_token") || has(names, "head_dist.weight");
    c->one_head = c->distilled && has_one_head(names);
    c->layer_scale = has(names, "blocks.0.ls1.gamma");
    c->mean_pool = has(names, "fc_norm.weight") && !has(names, "norm.weight");
    c->aux_head = has(names, "aux_head.weight");
}

/* The published model of the same width, depth and stem, or NULL. */
static const struct dvit_preset *related_preset(const struct dvit_config *c)
{
    for (size_t i = 0; dvit_preset_get(i); i++) {
        const struct dvit_preset *preset = dvit_preset_get(i);
        if (preset->dim == c->dim && preset->depth == c->depth &&
            preset->stem_width == c->stem_width)
            return preset;
    }
    return NULL;
}

static enum dvit_status choose_heads(struct dvit_config *c, const struct dvit_stated *stated,
                                     struct dvit_notes *notes, struct dvit_error *error)
{
    c->heads = stated->heads ? stated->heads : dvit_known_heads(c);
    if (c->heads)
        return DVIT_OK;
    c->heads = dvit_usual_heads(c->dim);
    if (!c->heads)
        return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                              "width %d leaves the number of attention heads open, and nothing "
                              "records it: state it with --heads (dvit_load_options.heads)",
                              c->dim);
    return dvit_notes_add(
        notes, error,
        "warning: heads %d is a guess, of width %d and depth %d: the file records "
        "none, and wrong heads give wrong answers without any error; state them "
        "with --heads",
        c->heads, c->dim, c->depth);
}

static enum dvit_status choose_skip_lam(struct dvit_config *c, struct dvit_notes *notes,
                                        struct dvit_error *error)
{
    const struct dvit_preset *related = related_preset(c);
    c->skip_lam = 1;
    if (!c->stem_width)
        return DVIT_OK;
    c->skip_lam = related ? related->skip_lam : 2;
    if (related)
        return DVIT_OK;
    return dvit_notes_add(notes, error,
                          "skip_lam 2: no published LV-ViT has this shape, and files record none");
}

/* Takes the size if its grid of patches has `patches` cells, or as many as there are rows. */
static bool take_grid(struct dvit_config *c, int width, int height, int patches, int rows)
{
    if (c->patch < 1 || width < c->patch || height < c->patch)
        return false;
    long long cells = (long long)(width / c->patch) * (height / c->patch);
    if (cells != patches && cells != rows)
        return false;
    c->image_width = width;
    c->image_height = height;
    return true;
}

/* The grid that the positions are of: as recorded, else a square, else as asked for. Without rows
 * for prefix tokens there are as many rows as patches. */
static enum dvit_status choose_grid(struct dvit_config *c, const struct dvit_tensor_names *names,
                                    const struct dvit_stated *stated, struct dvit_error *error)
{
    int rows = extent(names, "pos_embed", 1), patches = rows - dvit_config_prefix(c);
    int side = square_root(patches > 0 ? patches : 0), all = square_root(rows);
    int patch = c->patch < DVIT_MAX_IMAGE_SIDE ? c->patch : DVIT_MAX_IMAGE_SIDE;
    if (take_grid(c, stated->image_width, stated->image_height, patches, rows) ||
        take_grid(c, side * patch, side * patch, patches, patches) ||
        take_grid(c, all * patch, all * patch, rows, rows) ||
        take_grid(c, stated->wanted_width, stated->wanted_height, patches, rows))
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "\"pos_embed\" has %d rows, which is no square grid of patches: state "
                          "image width and height in pixels (a patch has %d)",
                          rows, c->patch);
}

enum dvit_status dvit_recognise(struct dvit_config *config, const struct dvit_tensor_names *names,
                                const struct dvit_stated *stated, struct dvit_notes *notes,
                                struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_config c = {.norm_eps = 1e-6f, .keep = 1};
    DVIT_TRY(require_skeleton(names, error));
    read_sizes(&c, names);
    read_traits(&c, names);
    if (stated->norm_eps > 0)
        c.norm_eps = stated->norm_eps;
    DVIT_TRY(choose_heads(&c, stated, notes, error));
    DVIT_TRY(choose_skip_lam(&c, notes, error));
    DVIT_TRY(choose_grid(&c, names, stated, error));
    int stages = dvit_tensor_names_indices(names, "score_predictor.");
    if (dvit_tensor_names_find(names, "score_predictor.0.places"))
        c.pruning = DVIT_PRUNING_STATIC;
    if (stages > 0)
        dvit_config_add_stages(&c, stages, DVIT_DEFAULT_KEEP);
    dvit_recognise_preset(&c);
    DVIT_TRY(dvit_config_check(&c, error));
    *config = c;
done:
    return status;
}

bool dvit_recognise_bare_positions(const struct dvit_config *config,
                                   const struct dvit_tensor_names *names)
{
    return extent(names, "pos_embed", 1) == dvit_config_patches(config);
}

static bool same_model(const struct dvit_config *a, const struct dvit_config *b)
{
    return a->image_width == b->image_width && a->image_height == b->image_height &&
           a->patch == b->patch && a->dim == b->dim && a->depth == b->depth &&
           a->heads == b->heads && a->mlp == b->mlp && a->classes == b->classes &&
           a->norm_eps == b->norm_eps && a->stem_width == b->stem_width &&
           a->skip_lam == b->skip_lam && a->qkv_bias == b->qkv_bias &&
           a->distilled == b->distilled && a->one_head == b->one_head &&
           a->layer_scale == b->layer_scale && a->mean_pool == b->mean_pool &&
           a->aux_head == b->aux_head;
}

void dvit_recognise_preset(struct dvit_config *config)
{
    struct dvit_config preset;
    snprintf(config->name, sizeof config->name, "%s", config->stem_width ? "lvvit" : "vit");
    for (size_t i = 0; dvit_config_preset_name(i); i++)
        if (dvit_config_parse(dvit_config_preset_name(i), &preset, NULL) == DVIT_OK &&
            same_model(config, &preset))
            snprintf(config->name, sizeof config->name, "%s", preset.name);
}

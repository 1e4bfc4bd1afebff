/* The table of families. A family that dvit learns to read becomes `supported` here; those rows
 * are for the tests, which walk the table. More particular rows come first. */
#include "weights/families.h"

#include <stdio.h>
#include <string.h>

#include "weights/hf_json.h"
#include "weights/text.h"

#define AS_STATE_DICT                                                                              \
    "load it in Python and save a timm model of the same weights: its state_dict()"

/* what it is | tensors | absent | model_type | advice | supported */
static const struct dvit_family families[] = {
    {"LoRA adapters, not a whole model",
     {"lora_A"},
     NULL,
     NULL,
     "merge them with peft's merge_and_unload() and save the result",
     false},
    {"a model quantised by bitsandbytes", {"SCB"}, NULL, NULL, "save it in f32 or f16", false},
    {"a model quantised by bitsandbytes",
     {"quant_state"},
     NULL,
     NULL,
     "save it in f32 or f16",
     false},
    {"a SAM", {"prompt_encoder"}, NULL, "sam", NULL, false},
    {"a SAM image encoder (relative positions: rel_pos_h)",
     {"blocks.#.attn.rel_pos_h"},
     NULL,
     NULL,
     NULL,
     false},
    {"a CLIP in OpenAI's names",
     {"class_embedding", "transformer.resblocks.#.ln_1"},
     NULL,
     NULL,
     AS_STATE_DICT,
     false},
    {"a CLIP in transformers' names (pre_layrnorm: a norm before the blocks)",
     {"vision_model.pre_layrnorm"},
     NULL,
     "clip",
     NULL,
     false},
    {"a CLIP image tower (norm_pre: a norm before the blocks)",
     {"norm_pre.weight"},
     NULL,
     "vit_base_patch16_clip",
     NULL,
     false},
    {"a SigLIP (attn_pool: attention pooling instead of a class token)",
     {"attn_pool.latent"},
     NULL,
     "siglip",
     NULL,
     false},
    {"a SigLIP in transformers' names",
     {"vision_model.embeddings.patch_embedding"},
     "vision_model.pre_layrnorm",
     "siglip2",
     NULL,
     false},
    {"a DINOv3 (rotary positions)", {"rope_embed.periods"}, NULL, "dinov3", NULL, false},
    {"a DINOv3 (rotary positions, register tokens)",
     {"reg_token", "blocks.#.gamma_1"},
     "pos_embed",
     "vit_small_patch16_dinov3",
     NULL,
     false},
    {"a DINOv3 in transformers' names",
     {"layer.#.attention.q_proj", "embeddings.register_tokens"},
     NULL,
     "dinov3_vit",
     NULL,
     false},
    {"an EVA-02 (rotary positions: rope)", {"rope.freqs_cos"}, NULL, "eva02", NULL, false},
    {"an EVA-02 (SwiGLU: mlp.w1)",
     {"blocks.#.mlp.w1.weight", "blocks.#.attn.q_bias"},
     NULL,
     NULL,
     NULL,
     false},
    {"an EVA-02 (mlp.fc1_g: a gated MLP)", {"blocks.#.mlp.fc1_g"}, NULL, NULL, NULL, false},
    {"a BEiT in transformers' names", {"beit.embeddings"}, NULL, "beit", NULL, false},
    {"a BEiT or EVA (relative positions)",
     {"relative_position_bias_table", "blocks.#.attn.q_bias"},
     NULL,
     NULL,
     NULL,
     false},
    {"a BEiT or EVA (q_bias and v_bias: keys without a bias)",
     {"blocks.#.attn.q_bias"},
     NULL,
     "eva",
     NULL,
     false},
    {"a DINOv2 with register tokens (register_tokens)",
     {"register_tokens"},
     NULL,
     "dinov2_with_registers",
     NULL,
     false},
    {"a ViT with register tokens (reg_token)", {"reg_token"}, NULL, NULL, NULL, false},
    {"a DINOv2 in transformers' names",
     {"layer.#.layer_scale1.lambda1"},
     NULL,
     "dinov2",
     "timm's vit_…_dinov2 holds the same weights in names that are read",
     false},
    {"a DINOv2 of a training run, its blocks in chunks (blocks.0.0)",
     {"blocks.#.#.norm1"},
     NULL,
     NULL,
     "rename blocks.CHUNK.BLOCK to blocks.BLOCK",
     false},
    {"a DINOv2 giant (SwiGLU: mlp.w12)", {"blocks.#.mlp.w12"}, NULL, NULL, NULL, false},
    {"an MAE with its decoder",
     {"decoder_embed"},
     NULL,
     "vit_mae",
     "leave out the tensors whose names begin with decoder, then train it with --classes",
     false},
    {"a ViT with norms of queries and keys (q_norm)", {"attn.q_norm"}, NULL, NULL, NULL, false},
    {"a CaiT (blocks_token_only)", {"blocks_token_only.#"}, NULL, "cait", NULL, false},
    {"a Swin transformer in transformers' names",
     {"encoder.layers.#.blocks.#"},
     NULL,
     "swinv2",
     NULL,
     false},
    {"a Swin transformer", {"layers.#.blocks.#"}, NULL, "swin", NULL, false},
    {"a ViT in torchvision's names",
     {"encoder.layers.encoder_layer_#"},
     NULL,
     NULL,
     AS_STATE_DICT,
     false},
    {"a ViT in OpenMMLab's names",
     {"layers.#.ln1", "layers.#.ffn"},
     NULL,
     NULL,
     AS_STATE_DICT,
     false},
    {"a ViT in vit-pytorch's names", {"to_patch_embedding"}, NULL, NULL, AS_STATE_DICT, false},
    {"a ViT in the names of ViT-pytorch, as converted from Google's .npz",
     {"encoder.layer.#.attention_norm"},
     NULL,
     NULL,
     AS_STATE_DICT,
     false},
    {"a T2T-ViT (tokens_to_token)", {"tokens_to_token"}, NULL, "t2t", NULL, false},
    {"a LeViT (attention_bias)", {"attention_biases"}, NULL, "levit", NULL, false},
    {"a PiT, which pools between its stages",
     {"transformers.#.blocks.#"},
     NULL,
     "pit",
     NULL,
     false},
    {"a pyramid transformer (PVT, SegFormer)",
     {"patch_embed1.proj"},
     NULL,
     "segformer",
     NULL,
     false},
    {"an MViT or Hiera (attention that pools)", {"attn.pool_q"}, NULL, "mvit", NULL, false},
    {"a CrossViT (several patch sizes)", {"patch_embed.#.proj"}, NULL, "crossvit", NULL, false},
    {"a video transformer (temporal attention)",
     {"temporal_attn"},
     NULL,
     "timesformer",
     NULL,
     false},
    {"a DPT (depth or segmentation)", {"dpt.embeddings"}, NULL, "dpt", NULL, false},
    {"a ConvNeXt", {"stages.#.blocks.#.conv_dw"}, NULL, "convnext", NULL, false},
    {"a ResNet", {"layer1.#.conv1"}, NULL, "resnet", NULL, false},
    {"a convolutional network, not a vision transformer",
     {"conv1.weight", "fc.weight"},
     NULL,
     NULL,
     NULL,
     false},
    {"an EfficientNet or MobileNet", {"conv_stem.weight"}, NULL, "efficientnet", NULL, false},
    {"a convolutional network (features), not a vision transformer",
     {"features.#"},
     "blocks.#",
     "mobilenet",
     NULL,
     false},
    {"a diffusion model", {"model.diffusion_model"}, NULL, NULL, NULL, false},
    {"a diffusion model", {"down_blocks.#"}, NULL, NULL, NULL, false},
    {"a language model", {"layers.#.self_attn.q_proj", "embed_tokens"}, NULL, "llama", NULL, false},
    {"a BERT", {"encoder.layer.#.attention.self.query"}, NULL, "bert", NULL, false},
    {"a ViT that pools the mean of its patches, without a class token",
     {"pos_embed", "blocks.#.norm1"},
     "cls_token",
     NULL,
     NULL,
     false},
    {"only a linear classifier, without the backbone that it was trained on",
     {"linear.weight"},
     "blocks.#",
     NULL,
     "name the backbone's file",
     false},
    /* what is read */
    {"a ViT or DeiT in transformers' names",
     {"patch_embeddings.projection", "layernorm_before"},
     NULL,
     "vit",
     NULL,
     true},
    {"an LV-ViT", {"patch_embed.conv1.weight", "blocks.#.attn.qkv"}, NULL, NULL, NULL, true},
    {"a ViT or DeiT in timm's names",
     {"patch_embed.proj.weight", "blocks.#.attn.qkv"},
     NULL,
     "deit",
     NULL,
     true},
};

const struct dvit_family *dvit_family_get(size_t index)
{
    return index < sizeof families / sizeof *families ? &families[index] : NULL;
}

static bool is_separator(char c)
{
    return c == '.' || c == '/';
}

/* Whether `name` begins with the whole parts of `pattern`. */
static bool begins(const char *pattern, const char *name)
{
    for (; *pattern; pattern++) {
        if (*pattern == '#') {
            size_t digits = strspn(name, "0123456789");
            if (digits == 0)
                return false;
            name += digits;
        } else if (*pattern == '.' ? is_separator(*name) : *name == *pattern) {
            name++;
        } else {
            return false;
        }
    }
    return *name == 0 || is_separator(*name);
}

static bool contains(const char *pattern, const char *name)
{
    for (const char *at = name; *at; at++)
        if ((at == name || is_separator(at[-1])) && begins(pattern, at))
            return true;
    return false;
}

static bool any(const char *pattern, const struct dvit_tensor_view *const *views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (contains(pattern, views[i]->name))
            return true;
    return false;
}

static bool has_tensors(const struct dvit_family *row, const struct dvit_tensor_view *const *views,
                        size_t count)
{
    for (int i = 0; i < DVIT_FAMILY_TENSORS && row->tensors[i]; i++)
        if (!any(row->tensors[i], views, count))
            return false;
    return !row->absent || !any(row->absent, views, count);
}

static bool has_type(const struct dvit_family *row, const struct dvit_stated_kind *kind)
{
    return row->model_type &&
           (strcmp(kind->model_type, row->model_type) == 0 ||
            strncmp(kind->architecture, row->model_type, strlen(row->model_type)) == 0);
}

const struct dvit_family *dvit_family_find(const struct dvit_tensor_view *const *views,
                                           size_t count, const struct dvit_stated_kind *kind)
{
    const struct dvit_family *found = NULL;
    for (size_t i = 0; i < sizeof families / sizeof *families && !found; i++)
        if (has_tensors(&families[i], views, count))
            found = &families[i];
    for (size_t i = 0; i < sizeof families / sizeof *families && (!found || found->supported); i++)
        if (has_type(&families[i], kind))
            return &families[i];
    return found;
}

void dvit_stated_kind_read(struct dvit_stated_kind *out, const void *text, size_t size_bytes)
{
    json_t *root;
    *out = (struct dvit_stated_kind){.model_type = ""};
    if (dvit_hf_json(text, size_bytes, "config.json", &root, NULL) != DVIT_OK)
        return;
    const char *type = json_string_value(json_object_get(root, "model_type"));
    const char *name = json_string_value(json_object_get(root, "architecture"));
    if (!name)
        name = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    snprintf(out->model_type, sizeof out->model_type, "%s", type ? type : "");
    snprintf(out->architecture, sizeof out->architecture, "%s", name ? name : "");
    json_decref(root);
}

enum dvit_status dvit_family_explain(const struct dvit_tensor_view *const *views, size_t count,
                                     const struct dvit_stated_kind *kind, enum dvit_status status,
                                     struct dvit_error *error)
{
    const struct dvit_family *row = dvit_family_find(views, count, kind);
    char stated[300] = "";
    if (!row || row->supported)
        return status;
    if (*kind->model_type)
        snprintf(stated, sizeof stated, ", config.json: model_type \"%s\"",
                 dvit_text_show(kind->model_type).text);
    else if (*kind->architecture)
        snprintf(stated, sizeof stated, ", config.json: architecture \"%s\"",
                 dvit_text_show(kind->architecture).text);
    return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED, "is %s%s: not supported%s%s", row->what,
                          stated, row->advice ? "; " : "", row->advice ? row->advice : "");
}

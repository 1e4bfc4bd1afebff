"""The published models in plain PyTorch: the oracle of tests/golden/published and of parity.py.

On top of vit_reference.py (DeiT, prediction modules, masked softmax, losses) this adds distilled
DeiT, DeiT-III's layer scale, average-pool heads, LV-ViT, and the names that Hugging Face gives to
the same tensors. Written from the formulas, for reading: parameters in a dict that maps a published
name to a tensor, no modules. Everything works in float32 and float64. It reads and writes no files
(published_files.py does) and does no images (parity.py does).

Symbols as in vit_reference.py; P prefix tokens (the class token and, in distilled models, the
distillation token after it), T = P + N.
"""

import dataclasses

import torch
import torch.nn.functional as F

import vit_reference as ref

BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
STEM_CONVOLUTIONS = 3
AUX_SHARE = 0.5  # of the auxiliary head in LV-ViT's answer, and of its loss


@dataclasses.dataclass(frozen=True)
class Config(ref.Config):
    """A published model; a plain DeiT unless a field says otherwise."""

    stem: int = 0  # channels of LV-ViT's convolutional stem; 0: a patch convolution
    skip_lam: float = 1.0  # both residual branches are divided by it
    qkv_bias: bool = True
    distilled: bool = False
    layer_scale: bool = False
    mean_pool: bool = False  # head(fc_norm(mean of the patch tokens)); there is no `norm`
    position_of_prefix: bool = True  # False: pos_embed has no rows for prefix tokens (DeiT-III)
    linear_patch: bool = False  # patch embedding stored as [C, 3 p p] (old timm)

    @property
    def aux_head(self):
        return self.stem > 0

    @property
    def prefix(self):
        return 2 if self.distilled else 1

    @property
    def tokens(self):
        return self.patches + self.prefix


def lvvit(image_width, image_height, dim, depth, heads, classes, stages=(), stem=64, skip_lam=2.0):
    return Config(image_width, image_height, 16, dim, depth, heads, 3 * dim, classes, stages,
                  norm_eps=1e-5, stem=stem, skip_lam=skip_lam, qkv_bias=False)


LVVIT = {  # image side, width, depth, heads, channels of the stem, skip_lam
    "lvvit-t": (224, 240, 12, 4, 64, 1.0), "lvvit-s": (224, 384, 16, 6, 64, 2.0),
    "lvvit-m": (224, 512, 20, 8, 64, 2.0), "lvvit-l": (288, 768, 24, 12, 128, 3.0)}


def preset(name, stages=()):
    """The published shapes by name, 1000 classes."""
    if name in LVVIT:
        side, *shape, stem, skip_lam = LVVIT[name]
        return lvvit(side, side, *shape, 1000, stages, stem, skip_lam)
    base, _, kind = name.partition(" ")
    config = Config(**dataclasses.asdict(ref.preset(base, stages)))
    return dataclasses.replace(config, distilled=kind == "distilled")


# ---------------------------------------------------------------------------- names and shapes


def parameter_shapes(config):
    """Name -> shape of every trained parameter, with the names of DeiT, timm and LV-ViT."""
    c, k, p = config.dim, config.classes, config.patch
    shapes = ref.parameter_shapes(config)
    shapes["pos_embed"] = (1, config.tokens if config.position_of_prefix else config.patches, c)
    if config.linear_patch:
        shapes["patch_embed.proj.weight"] = (c, 3 * p * p)
    if config.stem:
        for i in range(1, STEM_CONVOLUTIONS + 1):
            side, inputs = (7, 3) if i == 1 else (3, config.stem)
            shapes[f"patch_embed.conv{i}.weight"] = (config.stem, inputs, side, side)
            shapes[f"patch_embed.bn{i}.weight"] = shapes[f"patch_embed.bn{i}.bias"] = (config.stem,)
        shapes["patch_embed.proj.weight"] = (c, config.stem, p // 2, p // 2)
    for i in range(config.depth):
        if not config.qkv_bias:
            del shapes[f"blocks.{i}.attn.qkv.bias"]
        if config.layer_scale:
            shapes[f"blocks.{i}.ls1.gamma"] = shapes[f"blocks.{i}.ls2.gamma"] = (c,)
    if config.mean_pool:
        for half in ("weight", "bias"):
            shapes["fc_norm." + half] = shapes.pop("norm." + half)
    if config.aux_head:
        shapes |= {"aux_head.weight": (k, c), "aux_head.bias": (k,)}
    if config.distilled:
        shapes |= {"dist_token": (1, 1, c), "head_dist.weight": (k, c), "head_dist.bias": (k,)}
    return shapes


def statistics_shapes(config):
    """Name -> shape of what batch norm carries along: state, not parameters."""
    count = STEM_CONVOLUTIONS if config.stem else 0
    return {f"patch_embed.bn{i}.{name}": shape for i in range(1, count + 1)
            for name, shape in (("running_mean", (config.stem,)), ("running_var", (config.stem,)),
                                ("num_batches_tracked", ()))}


def huggingface(params, config, family):
    """The same weights under the names of transformers; `family` is "vit" or "deit". The qkv rows
    become query, key and value."""
    renamed = {}
    outer = {"cls_token": "embeddings.cls_token", "dist_token": "embeddings.distillation_token",
             "pos_embed": "embeddings.position_embeddings",
             "patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    inner = {"norm1": "layernorm_before", "norm2": "layernorm_after",
             "attn.proj": "attention.output.dense", "mlp.fc1": "intermediate.dense",
             "mlp.fc2": "output.dense"}
    heads = {"head": "cls_classifier", "head_dist": "distillation_classifier"}
    heads = heads if config.distilled else {"head": "classifier"}
    for name, value in params.items():
        stem, _, half = name.rpartition(".")
        if name in outer:
            renamed[f"{family}.{outer[name]}"] = value
        elif stem in outer:
            renamed[f"{family}.{outer[stem]}.{half}"] = value
        elif stem in heads:
            renamed[f"{heads[stem]}.{half}"] = value
        else:
            _, index, layer = stem.split(".", 2)
            layer_name = f"{family}.encoder.layer.{index}."
            if layer == "attn.qkv":
                for part, rows in zip(("query", "key", "value"), value.chunk(3)):
                    renamed[f"{layer_name}attention.attention.{part}.{half}"] = rows
            else:
                renamed[f"{layer_name}{inner[layer]}.{half}"] = value
    return renamed


# ---------------------------------------------------------------------------- embedding


def batch_norm(params, name, x, running):
    """Over images and positions of each channel. running None: with the stored statistics.
    Otherwise with those of the batch, and the new running ones go to `running`: momentum .1, the
    variance unbiased there and biased here."""
    if running is None:
        mean, variance = params[name + ".running_mean"], params[name + ".running_var"]
    else:
        mean = x.mean((0, 2, 3))
        variance = (x - mean[:, None, None]).square().mean((0, 2, 3))
        count = x.numel() // x.shape[1]
        fresh = {"mean": mean, "var": variance * count / (count - 1)}
        for key, value in fresh.items():
            old = params[f"{name}.running_{key}"]
            running[f"{name}.running_{key}"] = torch.lerp(old, value.detach(), BATCH_NORM_MOMENTUM)
    scale = params[name + ".weight"] / torch.sqrt(variance + BATCH_NORM_EPS)
    return (x - mean[:, None, None]) * scale[:, None, None] + params[name + ".bias"][:, None, None]


def stem(params, pixels, running, trace):
    """conv 7x7 s2, twice conv 3x3 s1, each with batch norm and ReLU."""
    x = pixels
    for i in range(1, STEM_CONVOLUTIONS + 1):
        weight = params[f"patch_embed.conv{i}.weight"]
        x = F.conv2d(x, weight, stride=2 if i == 1 else 1, padding=weight.shape[-1] // 2)
        x = torch.relu(batch_norm(params, f"patch_embed.bn{i}", x, running))
        trace[f"stem.{i}"] = x
    return x


def embed(params, config, pixels, running, trace):
    weight, bias = params["patch_embed.proj.weight"], params["patch_embed.proj.bias"]
    if config.stem:
        pixels = stem(params, pixels, running, trace)
    if config.linear_patch:
        weight = weight.view(config.dim, 3, config.patch, config.patch)
    x = F.conv2d(pixels, weight, bias, stride=weight.shape[-1])
    x = x.flatten(2).transpose(1, 2)  # row-major patch order
    trace["patch_embed"] = x
    position = params["pos_embed"]
    if not config.position_of_prefix:
        x = x + position
    prefix = [params["cls_token"]] + ([params["dist_token"]] if config.distilled else [])
    x = torch.cat([token.expand(len(x), -1, -1) for token in prefix] + [x], 1)
    return x + position if config.position_of_prefix else x


def interpolate_position(position, prefix, old, new):
    """pos_embed [1][prefix + rows·columns][C] of the grid `old` (rows, columns) for another grid:
    bicubic with a = -0.75, pixel centres, no antialiasing; prefix rows untouched."""
    grid = position[:, prefix:].unflatten(1, old).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new, mode="bicubic", align_corners=False)
    return torch.cat([position[:, :prefix], grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)


# ---------------------------------------------------------------------------- forward


def block(params, config, index, x, policy):
    name = f"blocks.{index}."

    def branch(y, scale):
        y = y * params[name + scale] if config.layer_scale else y
        return y / config.skip_lam

    y = ref.layer_norm(params, name + "norm1", x, config.norm_eps)
    y = F.linear(y, params[name + "attn.qkv.weight"], params.get(name + "attn.qkv.bias"))
    y = ref.linear(params, name + "attn.proj", ref.attention(y, config.heads, policy))
    x = x + branch(y, "ls1.gamma")
    y = ref.layer_norm(params, name + "norm2", x, config.norm_eps)
    y = ref.linear(params, name + "mlp.fc2", ref.gelu(ref.linear(params, name + "mlp.fc1", y)))
    return x + branch(y, "ls2.gamma")


def kept_mean(tokens, decision):
    """Mean of the tokens [B][N][C] that are kept; over none it is 0."""
    count = decision.sum(1, keepdim=True)
    mean = (tokens * decision[..., None]).sum(1) / torch.where(count > 0, count, 1.0)
    return torch.where(count > 0, mean, 0.0)


def finish(params, config, x, decision, trace):
    """From the residual stream to logits. trace["class"], ["distillation"] and ["aux"] are what
    training sees; ["logits"] is the answer at evaluation, over the patches present."""
    trace["residual"] = x
    if config.mean_pool:
        x = ref.layer_norm(params, "fc_norm", kept_mean(x[:, config.prefix:], decision),
                           config.norm_eps)
        trace["class"] = trace["logits"] = ref.linear(params, "head", x)
        return trace
    x = trace["norm"] = ref.layer_norm(params, "norm", x, config.norm_eps)
    trace["class"] = trace["logits"] = ref.linear(params, "head", x[:, 0])
    if config.distilled:
        trace["distillation"] = ref.linear(params, "head_dist", x[:, 1])
        trace["logits"] = (trace["class"] + trace["distillation"]) / 2
    if config.aux_head:
        trace["aux"] = ref.linear(params, "aux_head", x[:, config.prefix:])
        kept = trace["aux"].masked_fill(decision[..., None] == 0, -torch.inf)
        trace["logits"] = trace["class"] + AUX_SHARE * kept.amax(1)
    return trace


def forward_dense(params, config, pixels, running=None):
    """running: a dict that receives the running statistics; batch norm then trains."""
    trace = {}
    x = embed(params, config, pixels, running, trace)
    for i in range(config.depth):
        x = trace[f"block.{i}.output"] = block(params, config, i, x, None)
    return finish(params, config, x, torch.ones_like(x[:, config.prefix:, 0]), trace)


def forward_masked(params, config, pixels, noise, running=None):
    """The training forward; noise [S][B][N][2] is added to log p. Prefix tokens are always kept.
    trace["logits"] is what the pruned forward would answer with these decisions."""
    trace = {}
    x = embed(params, config, pixels, running, trace)
    decision = torch.ones_like(x[:, config.prefix:, 0])
    always = torch.ones_like(x[:, :config.prefix, 0])
    for i in range(config.depth):
        if i in config.stages:
            s = config.stages.index(i)
            log_p = ref.predictor(params, s, x[:, config.prefix:], decision)
            decision = ref.decide(log_p, noise[s]) * decision
            trace[f"stage.{s}.log_p"], trace[f"stage.{s}.decision"] = log_p, decision
        x = block(params, config, i, x, torch.cat([always, decision], 1))
        trace[f"block.{i}.output"] = x
    return finish(params, config, x, decision, trace)


def forward_pruned(params, config, pixels, forced=None):
    """The inference forward; stage.s.kept and stage.s.log_p as in vit_reference.py.

    forced: kept patches per stage [S][B][k] to take instead of the best ones."""
    trace = {}
    x = embed(params, config, pixels, None, trace)
    present = torch.arange(config.patches).expand(len(x), -1)
    for i in range(config.depth):
        if i in config.stages:
            s = config.stages.index(i)
            patches = x[:, config.prefix:]
            log_p = ref.predictor(params, s, patches, torch.ones_like(patches[..., 0]))
            order = torch.sort(log_p[..., 0], descending=True, stable=True).indices
            chosen = order[:, :config.kept(s)].sort(-1).values
            if forced is not None:
                chosen = torch.searchsorted(present.contiguous(), forced[s].contiguous())
            trace[f"present.{s}"] = present  # before the cut
            present = present.gather(1, chosen)
            patches = patches.gather(1, chosen[..., None].expand(-1, -1, config.dim))
            x = torch.cat([x[:, :config.prefix], patches], 1)
            trace[f"stage.{s}.log_p"], trace[f"stage.{s}.kept"] = log_p, present
        x = block(params, config, i, x, None)
    return finish(params, config, x, torch.ones_like(x[:, config.prefix:, 0]), trace)


def forward(params, config, pixels):
    """The answer of a model as it is published: pruned where it has stages."""
    return (forward_pruned if config.stages else forward_dense)(params, config, pixels)


# ---------------------------------------------------------------------------- losses


def compared_tokens(config, trace):
    """What the token loss compares, per patch: LV-ViT's auxiliary logits; the final norm; of a
    mean-pool model, which norms no token, the residual stream as it is."""
    if config.aux_head:
        return trace["aux"]
    return trace["residual" if config.mean_pool else "norm"][:, config.prefix:]


def token_divergence(student, teacher, decision):
    """KL(teacher || student) of logits per token [B][N][K]: sum over classes, mean over all tokens
    kept in the batch; 0 without any."""
    mask = decision.detach()
    if mask.sum() == 0:
        return student.new_zeros(())
    teacher, student = torch.log_softmax(teacher, -1), torch.log_softmax(student, -1)
    divergence = (teacher.exp() * (teacher - student)).sum(-1)
    return (divergence * mask).sum() / mask.sum()


def losses(config, student, teacher, targets, ratio_weight=2.0):
    """Of a masked trace and a dense one in evaluation mode: the four terms, unweighted, and the
    total. Cross entropy is always the class head's. KL is against the teacher's answer and works on
    the distillation head where there is one; LV-ViT's takes the class head of both."""
    decisions = [student[f"stage.{s}.decision"] for s in range(len(config.stages))]
    answer = teacher["class" if config.aux_head else "logits"].detach()
    pair = compared_tokens(config, student), compared_tokens(config, teacher).detach()
    token = token_divergence if config.aux_head else ref.token_loss
    terms = {
        "cls": ref.cross_entropy(student["class"], targets),
        "ratio": ref.ratio_loss(config, decisions),
        "kl": ref.kl_loss(answer, student["distillation" if config.distilled else "class"]),
        "token": token(*pair, decisions[-1]),
    }
    terms["total"] = (terms["cls"] + ratio_weight * terms["ratio"] + 0.5 * terms["kl"]
                      + 0.5 * terms["token"])
    return terms


def dense_loss(config, trace, targets):
    """Training without a teacher. LV-ViT: every patch token learns the image's target. Distilled:
    both heads do, half each."""
    loss = ref.cross_entropy(trace["class"], targets)
    if config.aux_head:
        tokens = -(targets[:, None] * torch.log_softmax(trace["aux"], -1)).sum(-1)
        return loss + AUX_SHARE * tokens.mean()
    if config.distilled:
        return 0.5 * loss + 0.5 * ref.cross_entropy(trace["distillation"], targets)
    return loss

"""DeiT, LV-ViT and their DynamicViT forms as a module that PyTorch runs and exports well.

The formulas are those of tools/reference/published.py, which peers.py checks it against; here they
use PyTorch's fused operators, gather whole rows of the flattened tokens, and have shapes that an
export can fold. Parameters bear the published names. Inference only, with pruning by removal:
each stage scores the patches that are left and gathers the best.
"""

import torch
import torch.nn.functional as F
from torch import nn

import published
import vit_reference


class Attention(nn.Module):
    """The factor of the scores lies in the rows of q already (see prepared)."""

    fused = True  # False writes the products out, which other runtimes recognise best

    def __init__(self, dim, heads, qkv_bias):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=qkv_bias), nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        q, k, v = (part.view(batch, tokens, self.heads, dim // self.heads).transpose(1, 2)
                   for part in self.qkv(x).split(dim, -1))
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        else:
            x = torch.softmax(q @ k.transpose(-2, -1), -1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.share = 1.0 / config.skip_lam
        self.norm1 = nn.LayerNorm(config.dim, config.norm_eps)
        self.attn = Attention(config.dim, config.heads, config.qkv_bias)
        self.norm2 = nn.LayerNorm(config.dim, config.norm_eps)
        self.mlp = Mlp(config.dim, config.mlp)

    def forward(self, x):
        x = x + self.branch(self.attn(self.norm1(x)))
        return x + self.branch(self.mlp(self.norm2(x)))

    def branch(self, y):
        return y if self.share == 1.0 else y * self.share


class Predictor(nn.Module):
    """log p of keeping each patch."""

    def __init__(self, dim):
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(dim, vit_reference.PREDICTOR_NORM_EPS),
                                     nn.Linear(dim, dim), nn.GELU())
        self.out_conv = nn.Sequential(nn.Linear(dim, dim // 2), nn.GELU(),
                                      nn.Linear(dim // 2, dim // 4), nn.GELU(),
                                      nn.Linear(dim // 4, 2), nn.LogSoftmax(-1))

    def forward(self, patches):
        x = self.in_conv(patches)
        half = x.shape[-1] // 2
        whole = x[..., half:].mean(1, keepdim=True).expand(-1, x.shape[1], -1)
        return self.out_conv(torch.cat([x[..., :half], whole], -1))[..., 0]


class PatchEmbed(nn.Module):
    def __init__(self, config):
        super().__init__()
        inputs, side = (config.stem, config.patch // 2) if config.stem else (3, config.patch)
        for i in range(1, published.STEM_CONVOLUTIONS + 1 if config.stem else 1):
            kernel, stride, channels = (7, 2, 3) if i == 1 else (3, 1, config.stem)
            convolution = nn.Conv2d(channels, config.stem, kernel, stride, kernel // 2)
            self.add_module(f"conv{i}", convolution)
        self.proj = nn.Conv2d(inputs, config.dim, side, side)

    def forward(self, x):
        for name, module in self.named_children():
            x = module(x) if name == "proj" else F.relu(module(x))
        return x.flatten(2).transpose(1, 2)


class DynamicViT(nn.Module):
    """Answers (logits, patches chosen at stage 0, 1, …). Indices are into the patches that the stage
    before left, in any order."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.score_predictor = nn.ModuleList(Predictor(config.dim) for _ in config.stages)
        self.norm = nn.LayerNorm(config.dim, config.norm_eps)
        self.head = nn.Linear(config.dim, config.classes)
        if config.aux_head:
            self.aux_head = nn.Linear(config.dim, config.classes)

    def forward(self, pixels):
        x = self.patch_embed(pixels)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        choices = []
        for i, block in enumerate(self.blocks):
            if i in self.config.stages:
                x, chosen = self.prune(x, len(choices))
                choices.append(chosen)
            x = block(x)
        return (self.answer(x), *choices)

    def prune(self, x, stage):
        batch, tokens, dim = x.shape
        scores = self.score_predictor[stage](x[:, 1:])
        chosen = torch.topk(scores, self.config.kept(stage), sorted=False).indices
        rows = torch.cat([torch.zeros_like(chosen[:, :1]), chosen + 1], 1)
        if batch > 1:
            rows = rows + torch.arange(0, batch * tokens, tokens)[:, None]
        x = x.reshape(batch * tokens, dim).index_select(0, rows.flatten())
        return x.view(batch, self.config.kept(stage) + 1, dim), chosen

    def answer(self, x):
        if not self.config.aux_head:
            return self.head(self.norm(x[:, 0]))
        x = self.norm(x)
        return self.head(x[:, 0]) + published.AUX_SHARE * self.aux_head(x[:, 1:]).amax(1)


def prepared(state, config):
    """The state dict with each batch norm of a stem folded into the convolution before it, and the
    scores' factor, D^-1/2, in the rows of q: a power of two for all published models, so exact."""
    state = dict(state)
    for i in range(1, published.STEM_CONVOLUTIONS + 1 if config.stem else 1):
        norm = {key: state.pop(f"patch_embed.bn{i}.{key}")
                for key in ("weight", "bias", "running_mean", "running_var")}
        state.pop(f"patch_embed.bn{i}.num_batches_tracked", None)
        scale = norm["weight"] / torch.sqrt(norm["running_var"] + published.BATCH_NORM_EPS)
        name = f"patch_embed.conv{i}."
        state[name + "weight"] = state[name + "weight"] * scale[:, None, None, None]
        state[name + "bias"] = norm["bias"] - norm["running_mean"] * scale
    factor = torch.ones(3 * config.dim)
    factor[:config.dim] = (config.dim // config.heads) ** -0.5
    for name in [name for name in state if ".attn.qkv." in name]:
        state[name] = state[name] * (factor[:, None] if state[name].ndim == 2 else factor)
    return state


def build(state, config, fused=True):
    """The module with these weights, ready to answer; a dense `config` leaves predictors out."""
    state = {name: value for name, value in prepared(state, config).items()
             if config.stages or not name.startswith("score_predictor.")}
    model = DynamicViT(config)
    for block in model.blocks:
        block.attn.fused = fused
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)

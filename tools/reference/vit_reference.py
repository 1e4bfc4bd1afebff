"""DynamicViT in plain PyTorch: the oracle of the golden files in tests/golden/model.

Written for reading, not for speed: one function per formula, parameters in a dict that maps a
checkpoint name to a tensor, no modules, no global state. Everything works in float32 and float64;
the goldens are computed in float64. It does not read images or checkpoints and does not know
LV-ViT or distilled DeiT.

Symbols: B images, N patches, T = N + 1 tokens (class token first), C width, H heads, D = C / H,
M hidden width of the MLP, K classes, S pruning stages, rho keep ratio.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F

EPS = 1e-6  # of the masked softmax
EXPONENT_CAP = math.log(1.0 / EPS)  # of a dropped token, in the backward pass
PREDICTOR_NORM_EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class Config:
    """A vision transformer; dense where `stages` is empty."""

    image_width: int
    image_height: int
    patch: int
    dim: int
    depth: int
    heads: int
    mlp: int
    classes: int
    stages: tuple = ()  # 0-based index of the block before which each stage prunes
    keep: float = 0.7  # rho
    norm_eps: float = 1e-6

    @property
    def patches(self):
        return (self.image_width // self.patch) * (self.image_height // self.patch)

    @property
    def tokens(self):
        return self.patches + 1

    def dense(self):
        return dataclasses.replace(self, stages=())

    def ratio(self, stage):
        """Cumulative keep ratio of a 0-based stage."""
        return math.pow(self.keep, stage + 1)

    def kept(self, stage):
        """Patches that remain after a 0-based stage, relative to the initial N."""
        return max(1, int(self.patches * self.ratio(stage)))


TINY = Config(image_width=32, image_height=24, patch=8, dim=24, depth=4, heads=3, mlp=40,
              classes=5, stages=(1, 2, 3), keep=0.7)


def preset(name, stages=(3, 6, 9)):
    """The DeiT presets, 1000 classes."""
    dim, heads, image = {
        "deit-t": (192, 3, 224), "deit-256": (256, 4, 224), "deit-s": (384, 6, 224),
        "deit-b": (768, 12, 224), "deit-s-384": (384, 6, 384), "deit-b-384": (768, 12, 384),
    }[name]
    return Config(image, image, 16, dim, 12, heads, 4 * dim, 1000, stages)


def parameter_shapes(config):
    """Name -> shape of every parameter, in the order of a checkpoint."""
    c, m, p = config.dim, config.mlp, config.patch
    shapes = {"cls_token": (1, 1, c), "pos_embed": (1, config.tokens, c),
              "patch_embed.proj.weight": (c, 3, p, p), "patch_embed.proj.bias": (c,)}

    def linear(name, rows, columns):
        shapes[name + ".weight"] = (rows, columns)
        shapes[name + ".bias"] = (rows,)

    def norm(name):
        shapes[name + ".weight"] = (c,)
        shapes[name + ".bias"] = (c,)

    for i in range(config.depth):
        block = f"blocks.{i}."
        norm(block + "norm1")
        linear(block + "attn.qkv", 3 * c, c)
        linear(block + "attn.proj", c, c)
        norm(block + "norm2")
        linear(block + "mlp.fc1", m, c)
        linear(block + "mlp.fc2", c, m)
    norm("norm")
    linear("head", config.classes, c)
    for s in range(len(config.stages)):
        module = f"score_predictor.{s}."
        norm(module + "in_conv.0")
        linear(module + "in_conv.1", c, c)
        linear(module + "out_conv.0", c // 2, c)
        linear(module + "out_conv.2", c // 4, c // 2)
        linear(module + "out_conv.4", 2, c // 4)
    return shapes


def linear(params, name, x):
    return F.linear(x, params[name + ".weight"], params[name + ".bias"])


def layer_norm(params, name, x, eps):
    weight, bias = params[name + ".weight"], params[name + ".bias"]
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).square().mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def gelu(x):
    """Exact, with erf."""
    return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


# ---------------------------------------------------------------------------- attention


class MaskedSoftmax(torch.autograd.Function):
    """A_ij = (e_ij + eps/T) / (sum_j e_ij + eps), e_ij = exp(a_ij - m_i) G_ij, G_ij = policy_j
    except G_ii = 1.

    m_i is the maximum over kept j and i itself (reference: over all j) and a constant in the
    backward pass. There, with t_ij = (dA_ij - sum_k dA_ik A_ik) / (sum_j e_ij + eps):
        da_ij     = t_ij e_ij
        dpolicy_j = sum over heads and i != j of t_ij exp(min(a_ij - m_i, ln(1/eps)))
    The minimum changes nothing for kept tokens, whose exponent is never positive.
    """

    @staticmethod
    def forward(ctx, scores, policy, reference):
        tokens = scores.shape[-1]
        diagonal = torch.eye(tokens, dtype=torch.bool, device=scores.device)
        gate = torch.where(diagonal, torch.ones_like(scores), policy[:, None, None, :])
        if reference:
            maximum = scores.amax(-1, keepdim=True)
        else:
            counted = diagonal | (policy > 0.5)[:, None, None, :]
            maximum = scores.masked_fill(~counted, -math.inf).amax(-1, keepdim=True)
        exponential = torch.exp((scores - maximum).clamp(max=EXPONENT_CAP))
        gated = exponential * gate
        total = gated.sum(-1, keepdim=True) + EPS
        attention = (gated + EPS / tokens) / total
        ctx.save_for_backward(exponential, gated, total, attention, diagonal)
        return attention

    @staticmethod
    def backward(ctx, grad):
        exponential, gated, total, attention, diagonal = ctx.saved_tensors
        inner = (grad - (grad * attention).sum(-1, keepdim=True)) / total
        grad_gate = (inner * exponential).masked_fill(diagonal, 0.0)
        return inner * gated, grad_gate.sum((1, 2)), None


def attention(qkv, heads, policy=None, reference=False):
    """qkv [B][T][3C] with rows [q; k; v], each in `heads` heads of D; returns [B][T][C].

    Plain softmax without a policy, else the masked one with policy [B][T]."""
    batch, tokens, width = qkv.shape
    head_dim = width // 3 // heads
    q, k, v = qkv.view(batch, tokens, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-2, -1) * head_dim ** -0.5
    if policy is None:
        weights = torch.softmax(scores, -1)
    else:
        weights = MaskedSoftmax.apply(scores, policy, reference)
    return (weights @ v).transpose(1, 2).reshape(batch, tokens, width // 3)


# ---------------------------------------------------------------------------- model


def embed(params, config, pixels, trace):
    x = F.conv2d(pixels, params["patch_embed.proj.weight"], params["patch_embed.proj.bias"],
                 stride=config.patch)
    x = x.flatten(2).transpose(1, 2)  # row-major patch order
    trace["patch_embed"] = x
    x = torch.cat([params["cls_token"].expand(len(x), -1, -1), x], 1) + params["pos_embed"]
    trace["tokens"] = x
    return x


def drop_path(branch, keep, rate):
    """keep [B] of 0/1, one per sample; survivors are divided by 1 - rate."""
    return branch if keep is None else branch * (keep / (1.0 - rate))[:, None, None]


def block(params, config, index, x, trace, policy=None, reference=False, drop=None):
    """One pre-norm block. drop = (keep [2][B], rate): the draws of both residual branches."""
    name = f"blocks.{index}."
    keep, rate = drop if drop is not None else ((None, None), 0.0)

    def note(key, value):
        trace[f"block.{index}.{key}"] = value
        return value

    y = note("norm1", layer_norm(params, name + "norm1", x, config.norm_eps))
    y = note("qkv", linear(params, name + "attn.qkv", y))
    y = note("attention", attention(y, config.heads, policy, reference))
    x = note("residual", x + drop_path(linear(params, name + "attn.proj", y), keep[0], rate))
    y = note("norm2", layer_norm(params, name + "norm2", x, config.norm_eps))
    y = note("fc1", linear(params, name + "mlp.fc1", y))
    y = note("gelu", gelu(y))
    return note("output", x + drop_path(linear(params, name + "mlp.fc2", y), keep[1], rate))


def drop_rate(config, rate, index):
    """Drop path grows linearly from 0 at the first block to `rate` at the last."""
    return rate * index / (config.depth - 1)


def predictor(params, stage, patches, decision):
    """log p [B][N][2] (index 0 = keep) of un-normalised patch tokens [B][N][C].

    decision [B][N]: 1 for tokens that still count in the global mean. The mean over no tokens is
    the constant 0."""
    name = f"score_predictor.{stage}."
    half = patches.shape[-1] // 2
    u = layer_norm(params, name + "in_conv.0", patches, PREDICTOR_NORM_EPS)
    u = gelu(linear(params, name + "in_conv.1", u))
    count = decision.sum(1)[:, None]
    mean = (u[..., half:] * decision[..., None]).sum(1) / torch.where(count > 0, count, 1.0)
    mean = torch.where(count > 0, mean, 0.0)
    z = torch.cat([u[..., :half], mean[:, None, :].expand(-1, u.shape[1], -1)], -1)
    z = gelu(linear(params, name + "out_conv.0", z))
    z = gelu(linear(params, name + "out_conv.2", z))
    return torch.log_softmax(linear(params, name + "out_conv.4", z), -1)


class HardKeep(torch.autograd.Function):
    """Forward: 1 where keep is the larger of the two noisy logits (a tie keeps). Backward: the
    gradient goes to the softmax's keep probability unchanged (straight-through)."""

    @staticmethod
    def forward(ctx, probability, keep):
        return keep.to(probability.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def decide(log_p, noise, hard=True):
    noisy = log_p + noise  # temperature 1
    probability = torch.softmax(noisy, -1)[..., 0]
    if not hard:
        return probability
    return HardKeep.apply(probability, noisy[..., 0] >= noisy[..., 1])


def finish(params, config, x, trace):
    x = layer_norm(params, "norm", x, config.norm_eps)
    trace["norm"] = x
    trace["logits"] = linear(params, "head", x[:, 0])
    return trace


def forward_dense(params, config, pixels, drop=None, drop_path_rate=0.0):
    """Every intermediate of the dense forward, by name; "logits" is the result.

    drop [depth][2][B] of 0/1 turns drop path on."""
    trace = {}
    x = embed(params, config, pixels, trace)
    for i in range(config.depth):
        draws = None if drop is None else (drop[i], drop_rate(config, drop_path_rate, i))
        x = block(params, config, i, x, trace, drop=draws)
    return finish(params, config, x, trace)


def forward_masked(params, config, pixels, noise, reference=False, hard=True, drop=None,
                   drop_path_rate=0.0):
    """The training forward: all tokens stay, dropped ones are masked out of every softmax.

    noise [S][B][N][2] is added to log p. hard=False uses the probability itself as decision, which
    makes the whole function smooth (to be checked by finite differences)."""
    trace = {}
    x = embed(params, config, pixels, trace)
    decision = torch.ones(len(x), config.patches, dtype=x.dtype)
    one = torch.ones(len(x), 1, dtype=x.dtype)
    for i in range(config.depth):
        if i in config.stages:
            s = config.stages.index(i)
            log_p = predictor(params, s, x[:, 1:], decision)
            decision = decide(log_p, noise[s], hard) * decision
            trace[f"stage.{s}.log_p"] = log_p
            trace[f"stage.{s}.decision"] = decision
        draws = None if drop is None else (drop[i], drop_rate(config, drop_path_rate, i))
        policy = torch.cat([one, decision], 1)
        x = block(params, config, i, x, trace, policy, reference, draws)
    return finish(params, config, x, trace)


def forward_pruned(params, config, pixels):
    """The inference forward: at stage s the kept(s) best patches stay, the others are removed.

    stage.s.kept [B][k_s] holds indices of the original patch grid, ascending; of equal scores the
    lower index wins. stage.s.log_p covers the patches present before the cut."""
    trace = {}
    x = embed(params, config, pixels, trace)
    present = torch.arange(config.patches).expand(len(x), -1)
    for i in range(config.depth):
        if i in config.stages:
            s = config.stages.index(i)
            log_p = predictor(params, s, x[:, 1:], torch.ones_like(x[:, 1:, 0]))
            order = torch.sort(log_p[..., 0], descending=True, stable=True).indices
            chosen = order[:, :config.kept(s)].sort(-1).values
            present = present.gather(1, chosen)
            rows = torch.cat([torch.zeros_like(chosen[:, :1]), chosen + 1], 1)
            x = x.gather(1, rows[..., None].expand(-1, -1, config.dim))
            trace[f"stage.{s}.log_p"] = log_p
            trace[f"stage.{s}.kept"] = present
        x = block(params, config, i, x, trace)
    return finish(params, config, x, trace)


# ---------------------------------------------------------------------------- losses


def smooth_targets(labels, classes, smoothing, dtype=torch.float64):
    targets = torch.full((len(labels), classes), smoothing / classes, dtype=dtype)
    targets[torch.arange(len(labels)), labels] = 1.0 - smoothing + smoothing / classes
    return targets


def cross_entropy(logits, targets):
    return -(targets * torch.log_softmax(logits, -1)).sum(-1).mean()


def ratio_loss(config, decisions, batch_mean=False):
    """decisions: [B][N] per stage. batch_mean compares the mean over the batch with rho_s (the
    "dynamic" variant), which lets single images keep fewer tokens."""
    loss = 0.0
    for s, decision in enumerate(decisions):
        share = decision.mean() if batch_mean else decision.mean(1)
        loss = loss + (share - config.ratio(s)).square().mean()
    return loss / len(decisions)


def kl_loss(teacher_logits, student_logits):
    teacher, student = torch.log_softmax(teacher_logits, -1), torch.log_softmax(student_logits, -1)
    return (teacher.exp() * (teacher - student)).sum(-1).mean()


def token_loss(student, teacher, decision):
    """Mean square over the channels of all tokens [B][N][C] kept in the batch; 0 without any."""
    mask = decision.detach()
    if mask.sum() == 0:
        return student.new_zeros(())
    square = (student - teacher).square() * mask[..., None]
    return square.sum() / (mask.sum() * student.shape[-1])


def losses(config, student, teacher, targets, ratio_weight=2.0, batch_mean=False):
    """The four terms, unweighted, and the weighted total. `student` is a masked trace, `teacher` a
    dense one."""
    decisions = [student[f"stage.{s}.decision"] for s in range(len(config.stages))]
    terms = {
        "cls": cross_entropy(student["logits"], targets),
        "ratio": ratio_loss(config, decisions, batch_mean),
        "kl": kl_loss(teacher["logits"].detach(), student["logits"]),
        "token": token_loss(student["norm"][:, 1:], teacher["norm"][:, 1:].detach(),
                            decisions[-1]),
    }
    terms["total"] = (terms["cls"] + ratio_weight * terms["ratio"] + 0.5 * terms["kl"]
                      + 0.5 * terms["token"])
    return terms


# ---------------------------------------------------------------------------- optimiser


def learning_rate(iteration, base, total, warmup, minimum=1e-6):
    """Linear from 0 to base at iteration warmup - 1, then a cosine towards `minimum`."""
    if iteration < warmup:
        return base if warmup == 1 else base * iteration / (warmup - 1)
    progress = (iteration - warmup) / (total - warmup)
    return minimum + 0.5 * (base - minimum) * (1.0 + math.cos(math.pi * progress))


def is_predictor(name):
    return name.startswith("score_predictor.")


def is_embedding(name):
    return name in ("cls_token", "pos_embed")


def is_decayed(name, tensor):
    """No weight decay on biases, 1-D parameters and the two embeddings."""
    return tensor.dim() > 1 and not name.endswith(".bias") and not is_embedding(name)


class AdamW:
    """Decoupled weight decay; bias-corrected moments; eps outside the root."""

    def __init__(self, params, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05):
        self.betas, self.eps, self.weight_decay, self.steps = betas, eps, weight_decay, 0
        self.moments = {n: (torch.zeros_like(t), torch.zeros_like(t)) for n, t in params.items()}

    def step(self, params, grads, rates):
        """In place. rates: name -> learning rate; a name that is absent is never updated, and a
        rate of 0 still accumulates moments."""
        self.steps += 1
        beta1, beta2 = self.betas
        correction1, correction2 = 1 - beta1 ** self.steps, 1 - beta2 ** self.steps
        for name, rate in rates.items():
            param, grad, (first, second) = params[name], grads[name], self.moments[name]
            if is_decayed(name, param):
                param.mul_(1 - rate * self.weight_decay)
            first.mul_(beta1).add_(grad, alpha=1 - beta1)
            second.mul_(beta2).add_(grad.square(), alpha=1 - beta2)
            denominator = torch.sqrt(second / correction2) + self.eps
            param.sub_(rate * (first / correction1) / denominator)


def sparsify_rates(params, rate, backbone_frozen, backbone_scale=0.01):
    """Learning rate per tensor of DynamicViT training; cls_token and pos_embed stay as they are."""
    backbone = 0.0 if backbone_frozen else rate * backbone_scale
    return {n: rate if is_predictor(n) else backbone for n in params if not is_embedding(n)}


def update_ema(ema, params, decay):
    for name, value in params.items():
        ema[name].mul_(decay).add_(value, alpha=1 - decay)

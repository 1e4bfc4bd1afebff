"""Ten steps of each optimiser on a tiny dynamic model, with given gradients: tests/golden/optim.

AdamW and gradient descent are torch.optim's. LAMB is written out after timm 1.0's `Lamb` with
max_grad_norm=None: bias correction, trust ratio only where weights decay, no bound of the ratio.
Parameter groups, layer decay and both schedules are spelled out here from names, not taken from dvit.
"""

import math
import os

import torch

import safetensors_file

OUT = os.path.join(os.path.dirname(__file__), "..", "..", "tests", "golden", "optim")
DIM, DEPTH, MLP, PATCH, TOKENS, CLASSES = 8, 2, 12, 2, 5, 3
STEPS, WARMUP = 10, 2
RATE, RATE_END, BACKBONE, LAYER_DECAY = 0.02, 0.001, 0.5, 0.7
DECAY, DECAY_END = 0.1, 0.01
# The gradient of step t is A·first[t] + B·second[t]: powers of two, so that sums round alike.
FIRST = (1, -0.5, 2, 0.25, 1, -1, 0.5, 4, -2, 1)
SECOND = (0, 1, -1, 2, 0.5, 0.25, -4, 1, 1, -0.5)


def shapes():
    yield "cls_token", (1, 1, DIM)
    yield "pos_embed", (1, TOKENS, DIM)
    yield "patch_embed.proj.weight", (DIM, 3, PATCH, PATCH)
    yield "patch_embed.proj.bias", (DIM,)
    for block in range(DEPTH):
        for name, shape in (("norm1.weight", (DIM,)), ("norm1.bias", (DIM,)),
                            ("attn.qkv.weight", (3 * DIM, DIM)), ("attn.qkv.bias", (3 * DIM,)),
                            ("attn.proj.weight", (DIM, DIM)), ("attn.proj.bias", (DIM,)),
                            ("norm2.weight", (DIM,)), ("norm2.bias", (DIM,)),
                            ("mlp.fc1.weight", (MLP, DIM)), ("mlp.fc1.bias", (MLP,)),
                            ("mlp.fc2.weight", (DIM, MLP)), ("mlp.fc2.bias", (DIM,))):
            yield "blocks.%d.%s" % (block, name), shape
    yield "norm.weight", (DIM,)
    yield "norm.bias", (DIM,)
    yield "head.weight", (CLASSES, DIM)
    yield "head.bias", (CLASSES,)
    for name, shape in (("in_conv.0.weight", (DIM,)), ("in_conv.0.bias", (DIM,)),
                        ("in_conv.1.weight", (DIM, DIM)), ("in_conv.1.bias", (DIM,)),
                        ("out_conv.0.weight", (DIM // 2, DIM)), ("out_conv.0.bias", (DIM // 2,)),
                        ("out_conv.2.weight", (DIM // 4, DIM // 2)), ("out_conv.2.bias", (DIM // 4,)),
                        ("out_conv.4.weight", (2, DIM // 4)), ("out_conv.4.bias", (2,))):
        yield "score_predictor.0." + name, shape


def layer(name):
    if name.startswith(("cls_token", "pos_embed", "patch_embed")):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else DEPTH + 1


def decays(name, tensor):
    return tensor.dim() > 1 and name not in ("cls_token", "pos_embed")


def rate(name, step):
    if step < WARMUP:
        scheduled = RATE * step / (WARMUP - 1)
    else:
        share = (step - WARMUP) / (STEPS - WARMUP)
        scheduled = RATE_END + 0.5 * (RATE - RATE_END) * (1 + math.cos(math.pi * share))
    if name.startswith("score_predictor"):
        return scheduled
    return scheduled * BACKBONE * LAYER_DECAY ** (DEPTH + 1 - layer(name))


def decay(name, tensor, step):
    if not decays(name, tensor):
        return 0.0
    return DECAY_END + 0.5 * (DECAY - DECAY_END) * (1 + math.cos(math.pi * step / STEPS))


class Lamb(torch.optim.Optimizer):
    def __init__(self, groups, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(groups, {"lr": 0, "weight_decay": 0, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            group["step"] = group.get("step", 0) + 1
            for w in group["params"]:
                state = self.state[w]
                if not state:
                    state["m"], state["v"] = torch.zeros_like(w), torch.zeros_like(w)
                m, v = state["m"], state["v"]
                m.mul_(beta1).add_(w.grad, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(w.grad, w.grad, value=1 - beta2)
                root = (v / (1 - beta2 ** group["step"])).sqrt().add_(group["eps"])
                update = m / (1 - beta1 ** group["step"]) / root
                if group["weight_decay"] != 0:
                    update.add_(w, alpha=group["weight_decay"])
                    length, size = update.norm(), w.norm()
                    if length > 0 and size > 0:
                        update.mul_(size / length)
                w.add_(update, alpha=-group["lr"])


OPTIMIZERS = {
    "adamw": lambda groups: torch.optim.AdamW(groups, eps=1e-8),
    "lamb": Lamb,
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0, momentum=0.9),
    "nesterov": lambda groups: torch.optim.SGD(groups, lr=0, momentum=0.9, nesterov=True),
}


def run(make, initial, first, second):
    """In double: what is stored is the formula's answer, not one way of rounding it."""
    weights = {name: tensor.double().requires_grad_() for name, tensor in initial.items()}
    optimizer = make([{"params": [weight]} for weight in weights.values()])
    for step in range(STEPS):
        for group, (name, weight) in zip(optimizer.param_groups, weights.items()):
            group["lr"] = rate(name, step)
            group["weight_decay"] = decay(name, weight, step)
            weight.grad = (first[name] * FIRST[step] + second[name] * SECOND[step]).double()
        optimizer.step()
    return {name: weight.detach().float() for name, weight in weights.items()}


def main():
    torch.manual_seed(11)
    initial = {name: torch.randn(shape) * 0.2 for name, shape in shapes()}
    initial["head.weight"].zero_()  # a norm of 0: LAMB's ratio is 1
    first = {name: torch.randn(shape) * 0.1 for name, shape in shapes()}
    second = {name: torch.randn(shape) * 0.1 for name, shape in shapes()}
    out = {}
    for prefix, tensors in (("initial.", initial), ("first.", first), ("second.", second)):
        out.update({prefix + name: tensor for name, tensor in tensors.items()})
    for kind, make in OPTIMIZERS.items():
        results = run(make, initial, first, second)
        out.update({"%s.%s" % (kind, name): tensor for name, tensor in results.items()})
    os.makedirs(OUT, exist_ok=True)
    safetensors_file.save(os.path.join(OUT, "ten_steps.safetensors"), out)


if __name__ == "__main__":
    main()

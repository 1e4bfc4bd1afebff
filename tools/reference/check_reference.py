"""Checks of vit_reference.py against independent facts: parameter and token counts, autograd,
finite differences, torch's own operators and AdamW, and masked = pruned. Run it before trusting new goldens."""

import math

import torch
import torch.nn.functional as F

import vit_reference as ref

F64 = torch.float64


def require(condition, text):
    if not condition:
        raise SystemExit("FAILED: " + text)
    print("ok  ", text)


def random_params(config, seed):
    generator = torch.Generator().manual_seed(seed)
    params = {}
    for name, shape in ref.parameter_shapes(config).items():
        offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        offset = 1.0 if name.endswith("in_conv.0.weight") else offset
        params[name] = torch.randn(shape, generator=generator, dtype=F64) * 0.2 + offset
    return params


def gumbel(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return -torch.log(-torch.log(torch.rand(shape, generator=generator, dtype=F64)))


def pixels_of(config, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, config.image_height, config.image_width, generator=generator,
                       dtype=F64)


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def check_counts():
    expected = {"deit-t": (5717416, 5899582), "deit-256": (9982184, 10304942),
                "deit-s": (22050664, 22774414), "deit-b": (86567656, 89452846),
                "deit-s-384": (22196584, 22920334), "deit-b-384": (86859496, 89744686)}
    for name, counts in expected.items():
        config = ref.preset(name)
        got = tuple(sum(math.prod(s) for s in ref.parameter_shapes(c).values())
                    for c in (config.dense(), config))
        require(got == counts, f"parameters of {name}: {got}")
    tokens = {0.9: (176, 158, 142), 0.8: (156, 125, 100), 0.7: (137, 96, 67),
              0.6: (117, 70, 42), 0.5: (98, 49, 24)}
    for keep, kept in tokens.items():
        config = ref.dataclasses.replace(ref.preset("deit-s"), keep=keep)
        require(tuple(map(config.kept, range(3))) == kept, f"tokens at 224/16, keep {keep}: {kept}")
    config = ref.preset("deit-s-384")
    require(tuple(map(config.kept, range(3))) == (403, 282, 197), "tokens at 384/16, keep 0.7")
    for side, keep, stage, kept in ((10, 0.7, 1, 48), (25, 0.6, 2, 134)):
        config = ref.Config(side, side, 1, 4, 3, 1, 4, 2, (0, 1, 2), keep)
        require(config.kept(stage) == kept, f"double arithmetic at {side}x{side}: {kept}")


def plain_masked_softmax(scores, policy, reference):
    """The same formula, differentiated by autograd: no cap."""
    tokens = scores.shape[-1]
    eye = torch.eye(tokens, dtype=scores.dtype)
    gate = policy[:, None, None, :] * (1 - eye) + eye
    counted = scores if reference else scores.masked_fill((gate <= 0.5) & (eye == 0), -math.inf)
    maximum = counted.amax(-1, keepdim=True).detach()
    e = torch.exp(scores - maximum) * gate
    return (e + ref.EPS / tokens) / (e.sum(-1, keepdim=True) + ref.EPS)


def check_softmax():
    generator = torch.Generator().manual_seed(5)
    for scale, text in ((1.0, "small gaps"), (6.0, "large gaps")):
        scores = torch.randn(2, 3, 7, 7, generator=generator, dtype=F64) * scale
        policy = (torch.rand(2, 7, generator=generator, dtype=F64) > 0.5).to(F64)
        policy[:, 0] = 1
        upstream = torch.randn(2, 3, 7, 7, generator=generator, dtype=F64)
        for reference in (False, True):
            grads = []
            for function in (ref.MaskedSoftmax.apply, plain_masked_softmax):
                a, p = scores.clone().requires_grad_(), policy.clone().requires_grad_()
                out = function(a, p, reference)
                grads.append((out.detach(), *torch.autograd.grad(out, (a, p), upstream)))
            worst = [relative(x, y) for x, y in zip(*grads)]
            gap = (scores - scores.masked_fill(
                ~((policy > 0.5)[:, None, None, :] | torch.eye(7, dtype=torch.bool)), -math.inf)
                .amax(-1, keepdim=True)).max().item()
            same = max(worst) < 1e-12
            if reference or gap < ref.EXPONENT_CAP:
                require(same, f"masked softmax = autograd, {text}, reference={reference}")
            else:
                require(max(worst[:2]) < 1e-12 and worst[2] > 1e-3,
                        f"the cap changes only the policy's gradient at gap {gap:.1f}")


def check_prune_equals_mask():
    config, params = ref.TINY, random_params(ref.TINY, 1)
    pixels = pixels_of(config, 4, 2)
    pruned = ref.forward_pruned(params, config, pixels)
    noise = forcing_noise(config, pruned)
    masked = ref.forward_masked(params, config, pixels, noise)
    error = (masked["logits"] - pruned["logits"]).abs().max().item()
    require(error < 1e-4, f"masked = pruned: {error:.1e}")
    eps = ref.EPS
    ref.EPS = 1e-12
    error = (ref.forward_masked(params, config, pixels, noise)["logits"]
             - pruned["logits"]).abs().max().item()
    ref.EPS = eps
    require(error < 1e-10, f"masked = pruned with eps 1e-12: {error:.1e}")
    dense = ref.forward_dense(params, config, pixels)["logits"]
    one = ref.dataclasses.replace(config, keep=1.0)
    error = (ref.forward_pruned(params, one, pixels)["logits"] - dense).abs().max().item()
    require(error < 1e-13, f"keep 1 = dense: {error:.1e}")


def check_builtins():
    """Layer norm, GELU, attention, cross entropy and KL against torch's own."""
    config, params = ref.TINY.dense(), random_params(ref.TINY.dense(), 12)
    pixels = pixels_of(config, 3, 13)
    trace = ref.forward_dense(params, config, pixels)
    x, p = trace["tokens"], "blocks.0."
    y = F.layer_norm(x, (config.dim,), params[p + "norm1.weight"], params[p + "norm1.bias"], 1e-6)
    q, k, v = ref.linear(params, p + "attn.qkv", y).chunk(3, -1)
    heads = [t.unflatten(-1, (config.heads, -1)).transpose(1, 2) for t in (q, k, v)]
    y = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
    x = x + ref.linear(params, p + "attn.proj", y)
    y = F.layer_norm(x, (config.dim,), params[p + "norm2.weight"], params[p + "norm2.bias"], 1e-6)
    x = x + ref.linear(params, p + "mlp.fc2", F.gelu(ref.linear(params, p + "mlp.fc1", y)))
    error = relative(trace["block.0.output"], x)
    require(error < 1e-14, f"a block = torch's layer norm, attention and GELU: {error:.1e}")
    labels, other = torch.tensor([0, 3, 4]), trace["logits"].flip(0)
    ours = ref.cross_entropy(other, ref.smooth_targets(labels, config.classes, 0.1))
    theirs = F.cross_entropy(other, labels, label_smoothing=0.1)
    require(abs(ours - theirs) < 1e-13, "cross entropy with smoothing = torch's")
    ours = ref.kl_loss(trace["logits"], other)
    theirs = F.kl_div(torch.log_softmax(other, -1), torch.log_softmax(trace["logits"], -1),
                      reduction="batchmean", log_target=True)
    require(abs(ours - theirs) < 1e-13, "KL = torch's")


def forcing_noise(config, pruned):
    """Noise that makes a masked forward decide as a pruned one did."""
    batch = len(pruned["logits"])
    noise = torch.zeros(len(config.stages), batch, config.patches, 2, dtype=F64)
    noise[..., 1] = 100.0
    for s in range(len(config.stages)):
        for b in range(batch):
            kept = pruned[f"stage.{s}.kept"][b]
            noise[s, b, kept, 0], noise[s, b, kept, 1] = 100.0, 0.0
    return noise


def check_finite_differences():
    """Of the dense CE, and of the whole DynamicViT loss with soft decisions (smooth)."""
    config, params = ref.TINY, random_params(ref.TINY, 3)
    teacher_params = random_params(config.dense(), 4)
    pixels, noise = pixels_of(config, 2, 6), gumbel((3, 2, config.patches, 2), 7)
    targets = ref.smooth_targets(torch.tensor([1, 4]), config.classes, 0.1)
    teacher = ref.forward_dense(teacher_params, config.dense(), pixels)

    def dense(p):
        return ref.cross_entropy(ref.forward_dense(p, config, pixels)["logits"], targets)

    def dynamic(p):
        trace = ref.forward_masked(p, config, pixels, noise, reference=True, hard=False)
        mask = (trace["stage.2.decision"] > 0.2).to(F64)
        decisions = [trace[f"stage.{s}.decision"] for s in range(3)]
        return (ref.cross_entropy(trace["logits"], targets) + 2 * ref.ratio_loss(config, decisions)
                + 0.5 * ref.kl_loss(teacher["logits"], trace["logits"])
                + 0.5 * ref.token_loss(trace["norm"][:, 1:], teacher["norm"][:, 1:], mask))

    for label, loss in (("dense", dense), ("dynamic", dynamic)):
        leaves = {n: t.clone().requires_grad_() for n, t in params.items()}
        grads = torch.autograd.grad(loss(leaves), list(leaves.values()), allow_unused=True)
        worst = 0.0
        for (name, value), grad in zip(params.items(), grads):
            if grad is None:
                continue
            at = grad.abs().argmax()
            values = []
            for step in (1e-5, -1e-5):
                moved = dict(params)
                moved[name] = value.clone()
                moved[name].view(-1)[at] += step
                values.append(loss(moved).item())
            numeric = (values[0] - values[1]) / 2e-5
            exact = grad.view(-1)[at].item()
            worst = max(worst, abs(numeric - exact) / (abs(exact) + 1e-4))
        require(worst < 1e-4, f"finite differences, {label}, every parameter: {worst:.1e}")


def check_straight_through():
    log_p = torch.log_softmax(torch.randn(4, 6, 2, dtype=F64), -1).requires_grad_()
    noise = gumbel((4, 6, 2), 8)
    soft = torch.softmax(log_p + noise, -1)
    hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
    theirs = (hard - soft.detach() + soft)[..., 0]
    ours = ref.decide(log_p, noise)
    upstream = torch.randn(4, 6, dtype=F64)
    a, = torch.autograd.grad(ours, log_p, upstream)
    b, = torch.autograd.grad(theirs, log_p, upstream)
    require(torch.equal(ours, hard[..., 0]) and relative(a, b) < 1e-14, "straight-through decision")


def check_nothing_kept():
    config, params = ref.TINY, random_params(ref.TINY, 9)
    leaves = {n: t.clone().requires_grad_() for n, t in params.items()}
    noise = torch.zeros(3, 2, config.patches, 2, dtype=F64)
    noise[..., 1] = 100.0
    pixels = pixels_of(config, 2, 10)
    trace = ref.forward_masked(leaves, config, pixels, noise)
    terms = ref.losses(config, trace, ref.forward_dense(params, config, pixels),
                       ref.smooth_targets(torch.tensor([0, 1]), config.classes, 0.1))
    grads = torch.autograd.grad(terms["total"], list(leaves.values()), allow_unused=True)
    require(terms["token"] == 0 and all(g is None or g.isfinite().all() for g in grads),
            "no patch kept in a batch: finite loss and gradients, token term 0")


def check_optimizer():
    torch.manual_seed(11)
    ours = {"a.weight": torch.randn(3, 4, dtype=F64), "a.bias": torch.randn(4, dtype=F64)}
    theirs = {n: t.clone().requires_grad_() for n, t in ours.items()}
    optimizer = torch.optim.AdamW([
        {"params": [theirs["a.weight"]], "weight_decay": 0.05},
        {"params": [theirs["a.bias"]], "weight_decay": 0.0}], lr=1e-2)
    mine = ref.AdamW(ours)
    for step in range(5):
        rate = 0.0 if step < 2 else 1e-2
        grads = {n: torch.randn_like(t) for n, t in ours.items()}
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, t in theirs.items():
            t.grad = grads[name].clone()
        optimizer.step()
        mine.step(ours, grads, dict.fromkeys(ours, rate))
    require(all(relative(ours[n], theirs[n].detach()) < 1e-14 for n in ours), "AdamW = torch.optim")
    rates = [ref.learning_rate(i, 1.0, 10, 3) for i in range(10)]
    require(rates[:4] == [0.0, 0.5, 1.0, 1.0] and 1e-6 < rates[9] < rates[8] < 1, "schedule")


def main():
    check_counts()
    check_softmax()
    check_straight_through()
    check_builtins()
    check_prune_equals_mask()
    check_nothing_kept()
    check_finite_differences()
    check_optimizer()


if __name__ == "__main__":
    main()

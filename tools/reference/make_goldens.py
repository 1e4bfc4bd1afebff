"""Writes tests/golden/model/*.safetensors with vit_reference.py.

Inputs are rounded to float32 first; everything is then computed in float64 and stored as float32.
Afterwards the same is computed in float32, and the largest error per file is printed: what a
float32 implementation can be expected to reach. Seeds are chosen so that no decision hangs on
rounding: the margins are checked here. See tests/golden/model/README.md for the contents.

usage: python make_goldens.py [output folder]
"""

import os
import sys

import numpy
import torch

import check_reference
import safetensors_file
import vit_reference as ref

BATCH = 3
STEPS = 10
POOL = 2  # different batches of images in the training steps; step t uses batch t % POOL
WARMUP = 2
FROZEN = 3  # iterations in which the backbone's learning rate is 0
SPARSIFY_RATE = 2e-2
DENSE_RATE = 1e-3
EMA_DECAY = 0.9
SMOOTHING = 0.1
DROP_RATE = 0.5

# Seeds of the random streams, one per purpose.
STUDENT, TEACHER, PIXELS, NOISE, STEP_PIXELS, STEP_NOISE, DROP, GAP = (
    100, 101, 235, 103, 104, 317, 106, 107)

# Least distance of a noisy logit pair from a tie, of the last kept score from the first dropped
# one, and of a noisy logit pair in the training steps.
LEAST_MARGINS = (5e-3, 2e-3, 5e-3)


def normal(rng, shape, std=1.0, mean=0.0):
    """Values that are exact in float32, held in float64."""
    values = (rng.standard_normal(shape) * std + mean).astype(numpy.float32)
    return torch.from_numpy(values.astype(numpy.float64))


def gumbel(rng, shape):
    values = -numpy.log(-numpy.log(rng.random(shape)))
    return torch.from_numpy(values.astype(numpy.float32).astype(numpy.float64))


def make_student(config):
    """Weights with spread: attention is peaked, no bias is 0, no norm is the identity."""
    rng = numpy.random.default_rng(STUDENT)
    params = {}
    for name, shape in ref.parameter_shapes(config).items():
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "in_conv.0.weight")):
            params[name] = normal(rng, shape, 0.2, 1.0)
        elif len(shape) == 1:
            params[name] = normal(rng, shape, 0.15)
        elif name.startswith("patch_embed"):
            params[name] = normal(rng, shape, 0.08)
        else:
            params[name] = normal(rng, shape, 0.3 if "qkv" in name or "out_conv" in name else 0.2)
        if name.endswith("out_conv.4.bias"):  # most patches are kept at each stage
            params[name] = torch.tensor([0.75, -0.75], dtype=torch.float64)
    return params


def make_teacher(student):
    rng = numpy.random.default_rng(TEACHER)
    return {n: (t + normal(rng, t.shape, 0.05)).float().double()
            for n, t in student.items() if not ref.is_predictor(n)}


def cast(value, dtype):
    if isinstance(value, dict):
        return {n: cast(v, dtype) for n, v in value.items()}
    return value.to(dtype) if value.is_floating_point() else value


def decision_margin(config, trace, noise):
    noisy = [trace[f"stage.{s}.log_p"] + noise[s] for s in range(len(config.stages))]
    return min((z[..., 0] - z[..., 1]).abs().min().item() for z in noisy)


def prune_margin(config, trace):
    """Smallest score difference between the last kept patch and the first dropped one."""
    margin = float("inf")
    for s in range(len(config.stages)):
        score = trace[f"stage.{s}.log_p"][..., 0].sort(-1, descending=True).values
        count = config.kept(s)
        margin = min(margin, (score[:, count - 1] - score[:, count]).min().item())
    return margin


def make_inputs():
    config = ref.TINY
    shape = (BATCH, 3, config.image_height, config.image_width)
    draws = (len(config.stages), BATCH, config.patches, 2)
    student = make_student(config)
    drop = numpy.random.default_rng(DROP).random((config.depth, 2, BATCH)) >= 0.4
    labels = torch.tensor([1, 4, 0], dtype=torch.int64)
    pool_labels = torch.tensor([[2, 0, 3], [4, 1, 2]], dtype=torch.int64)
    return {
        "student": student,
        "teacher": make_teacher(student),
        "pixels": normal(numpy.random.default_rng(PIXELS), shape),
        "noise": gumbel(numpy.random.default_rng(NOISE), draws),
        "drop": torch.from_numpy(drop.astype(numpy.float64)),
        "labels": labels,
        "step_pixels": normal(numpy.random.default_rng(STEP_PIXELS), (POOL, *shape)),
        "step_labels": pool_labels,
        "step_noise": gumbel(numpy.random.default_rng(STEP_NOISE), (STEPS, *draws)),
    }


def targets_of(labels, dtype):
    rows = ref.smooth_targets(labels.reshape(-1), ref.TINY.classes, SMOOTHING, dtype)
    return rows.view(*labels.shape, -1)


def prefixed(prefix, values):
    return {prefix + name: value for name, value in values.items()}


def forward_golden(inputs, dtype):
    config, params = ref.TINY, inputs["student"]
    pixels, noise = inputs["pixels"], inputs["noise"]
    dense = ref.forward_dense(params, config, pixels)
    masked = ref.forward_masked(params, config, pixels, noise)
    pruned = ref.forward_pruned(params, config, pixels)
    forcing = check_reference.forcing_noise(config, pruned).to(dtype)
    keys = ("stage.", "norm", "logits")
    out = {"pixels": pixels, **prefixed("dense.", dense), "masked.noise": noise}
    out |= prefixed("masked.", {k: v for k, v in masked.items()
                                if k.startswith(keys) or k.endswith("output")})
    out |= prefixed("pruned.", {k: v for k, v in pruned.items() if k.startswith("stage.")})
    out["pruned.logits"] = pruned["logits"]
    out["forced.noise"] = forcing
    out["forced.logits"] = ref.forward_masked(params, config, pixels, forcing)["logits"]
    out["reference.logits"] = ref.forward_masked(params, config, pixels, noise, True)["logits"]
    out["drop.keep"], out["drop.rate"] = inputs["drop"], torch.tensor([DROP_RATE], dtype=dtype)
    out["drop.logits"] = ref.forward_dense(params, config, pixels, inputs["drop"],
                                           DROP_RATE)["logits"]
    margins = decision_margin(config, masked, noise), prune_margin(config, pruned)
    return out, margins


def student_losses(params, inputs, pixels, noise, targets):
    config = ref.TINY
    student = ref.forward_masked(params, config, pixels, noise)
    with torch.no_grad():
        teacher = ref.forward_dense(inputs["teacher"], config.dense(), pixels)
    return ref.losses(config, student, teacher, targets), student, teacher


def loss_golden(inputs, dtype):
    config, targets = ref.TINY, targets_of(inputs["labels"], dtype)
    leaves = {n: t.clone().requires_grad_() for n, t in inputs["student"].items()}
    pixels = inputs["pixels"].clone().requires_grad_()
    terms, student, teacher = student_losses(leaves, inputs, pixels, inputs["noise"], targets)
    grads = torch.autograd.grad(terms["total"], [*leaves.values(), pixels])
    out = prefixed("loss.", {n: t.detach().reshape(1) for n, t in terms.items()})
    decisions = [student[f"stage.{s}.decision"].detach() for s in range(len(config.stages))]
    out["loss.ratio_batch_mean"] = ref.ratio_loss(config, decisions, True).reshape(1)
    out |= {"labels": inputs["labels"], "targets": targets,
            "teacher.logits": teacher["logits"], "teacher.norm": teacher["norm"]}
    out |= {"grad." + n: g for n, g in zip([*leaves, "pixels"], grads)}
    return out


def gradient(loss, leaves):
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))


def sparsify_steps(inputs, dtype):
    params = {n: t.clone() for n, t in inputs["student"].items()}
    ema = {n: t.clone() for n, t in params.items()}
    optimizer, rows, margin = ref.AdamW(params), [], float("inf")
    targets = targets_of(inputs["step_labels"], dtype)
    for step in range(STEPS):
        leaves = {n: t.clone().requires_grad_() for n, t in params.items()}
        noise, batch = inputs["step_noise"][step], step % POOL
        terms, student, _ = student_losses(leaves, inputs, inputs["step_pixels"][batch], noise,
                                           targets[batch])
        rate = ref.learning_rate(step, SPARSIFY_RATE, STEPS, WARMUP)
        rates = ref.sparsify_rates(params, rate, step < FROZEN)
        optimizer.step(params, gradient(terms["total"], leaves), rates)
        ref.update_ema(ema, params, EMA_DECAY)
        margin = min(margin, decision_margin(ref.TINY, student, noise))
        shares = [student[f"stage.{s}.decision"].mean().item() for s in range(3)]
        rows.append(([t.item() for t in terms.values()], rate, rates["norm.weight"], shares))
    out = {"sparsify.rate": numpy.array([r[1] for r in rows]),
           "sparsify.backbone_rate": numpy.array([r[2] for r in rows]),
           "sparsify.share": numpy.array([r[3] for r in rows])}
    for i, name in enumerate(terms):
        out["sparsify.loss." + name] = numpy.array([r[0][i] for r in rows])
    out |= prefixed("sparsify.param.", params) | prefixed("sparsify.ema.", ema)
    return out, margin


def dense_steps(inputs, dtype):
    config = ref.TINY.dense()
    params = {n: t.clone() for n, t in inputs["student"].items() if not ref.is_predictor(n)}
    optimizer, losses, rates, norms = ref.AdamW(params), [], [], []
    targets = targets_of(inputs["step_labels"], dtype)
    for step in range(STEPS):
        leaves = {n: t.clone().requires_grad_() for n, t in params.items()}
        batch = step % POOL
        logits = ref.forward_dense(leaves, config, inputs["step_pixels"][batch])["logits"]
        loss = ref.cross_entropy(logits, targets[batch])
        grads = gradient(loss, leaves)
        rates.append(ref.learning_rate(step, DENSE_RATE, STEPS, WARMUP))
        optimizer.step(params, grads, dict.fromkeys(params, rates[-1]))
        losses.append(loss.item())
        norms.append(sum(g.square().sum().item() for g in grads.values()) ** 0.5)
    out = {"dense.rate": numpy.array(rates), "dense.loss": numpy.array(losses),
           "dense.gradient_norm": numpy.array(norms)}
    return out | prefixed("dense.param.", params)


def steps_golden(inputs, dtype):
    out = {"pixels": inputs["step_pixels"], "labels": inputs["step_labels"],
           "targets": targets_of(inputs["step_labels"], dtype), "noise": inputs["step_noise"]}
    sparsify, margin = sparsify_steps(inputs, dtype)
    return out | sparsify | dense_steps(inputs, dtype), margin


def gap_of(qkv, policy, heads):
    """Largest a_ij - m_i: how far a dropped token's logit exceeds the kept ones'."""
    batch, tokens, width = qkv.shape
    q, k, _ = qkv.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-2, -1) * (width // 3 // heads) ** -0.5
    counted = torch.eye(tokens, dtype=torch.bool) | (policy > 0.5)[:, None, None, :]
    return (scores - scores.masked_fill(~counted, -torch.inf).amax(-1, keepdim=True)).max().item()


def gap_inputs(config_heads=2, tokens=7, head_dim=8, batch=2):
    """Two cases: "gap" with logits up to 50 in favour of dropped tokens, and "agree" where every
    row's maximum is a kept token's, so that the reference's maximum is the same."""
    rng = numpy.random.default_rng(GAP)
    width = 3 * config_heads * head_dim
    upstream = normal(rng, (batch, tokens, width // 3))
    policy = torch.tensor([[1, 1, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0]], dtype=torch.float64)
    qkv = normal(rng, (batch, tokens, width))
    scale = (50.0 / gap_of(qkv, policy, config_heads)) ** 0.5
    qkv[..., :2 * width // 3] *= scale  # queries and keys
    gap = qkv.float().double()
    agree = normal(rng, (batch, tokens, width))
    query, key = agree[..., :width // 3], agree[..., width // 3:2 * width // 3]
    query.abs_()
    key.abs_()
    key *= torch.where(policy > 0.5, 1.0, -1.0)[..., None]  # dropped: every logit is negative
    return {"gap": gap, "agree": agree, "policy": policy, "upstream": upstream}


def gap_golden(inputs, dtype, heads=2):
    out = {"heads": numpy.array([heads]), "policy": inputs["policy"],
           "grad.output": inputs["upstream"]}
    for case in ("gap", "agree"):
        qkv = inputs[case].clone().requires_grad_()
        policy = inputs["policy"].clone().requires_grad_()
        output = ref.attention(qkv, heads, policy)
        grads = torch.autograd.grad(output, (qkv, policy), inputs["upstream"])
        reference = ref.attention(inputs[case], heads, inputs["policy"], True)
        out |= {case + ".qkv": inputs[case], case + ".output": output.detach(),
                case + ".grad.qkv": grads[0], case + ".grad.policy": grads[1],
                case + ".output_reference": reference}
    return out


def compute(dtype):
    inputs, gaps = cast(make_inputs(), dtype), cast(gap_inputs(), dtype)
    forward, margins = forward_golden(inputs, dtype)
    steps, step_margin = steps_golden(inputs, dtype)
    files = {"tiny_student": inputs["student"], "tiny_teacher": inputs["teacher"],
             "tiny_forward": forward, "tiny_loss": loss_golden(inputs, dtype),
             "tiny_steps": steps, "tiny_gap": gap_golden(gaps, dtype)}
    return files, (*margins, step_margin)


def as_array(value):
    return numpy.asarray(value.detach() if isinstance(value, torch.Tensor) else value)


def report(exact, single):
    """Per file the three largest errors of float32, each relative to the tensor's largest value."""
    for file in exact:
        errors = []
        for name, value in exact[file].items():
            a, b = as_array(value).astype("f8"), as_array(single[file][name]).astype("f8")
            errors.append((abs(a - b).max() / max(abs(a).max(), 1e-30), name))
        worst = ", ".join(f"{name} {error:.1e}" for error, name in sorted(errors)[:-4:-1])
        print(f"{file}: {worst}")


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../../tests/golden/model")
    torch.set_num_threads(1)
    exact, margins = compute(torch.float64)
    print("margins of decisions, of the cut, of decisions in the steps:",
          *(f"{m:.1e}" for m in margins))
    if any(margin < least for margin, least in zip(margins, LEAST_MARGINS)):
        raise SystemExit("a decision is too near its threshold: choose other seeds")
    total = 0
    for name, tensors in exact.items():
        path = os.path.join(folder, name + ".safetensors")
        safetensors_file.save(path, {n: as_array(t) for n, t in tensors.items()})
        total += os.path.getsize(path)
        print(f"{name}.safetensors: {os.path.getsize(path)} bytes, {len(tensors)} tensors")
    print(f"{total} bytes in all")
    report(exact, compute(torch.float32)[0])


if __name__ == "__main__":
    main()

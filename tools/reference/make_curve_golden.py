"""Fifty steps of training a tiny dynamic model with a teacher: tests/golden/model/tiny_curve.

The model, its teacher, the two batches of pixels and the recipe are those of make_goldens.py's ten
steps; warm-up is 5 steps and the backbone stands for 10. Each step has noise of its own. A noisy
pair of logits near a tie would let rounding decide what is kept, and two right implementations
would part; such a pair's noise is drawn again until it is not, so the noise is part of the golden.

Prints how far float32 PyTorch is from it, step by step: what a float32 implementation can reach.
"""

import os
import sys

import numpy
import torch

import make_goldens as goldens
import safetensors_file
import vit_reference as ref

STEPS, WARMUP, FROZEN = 50, 5, 10
NOISE = 401
LEAST_MARGIN = 0.05
PARTS = ("cls", "ratio", "kl", "token", "total")


def draw_noise(rng, params, inputs, pixels):
    """Noise with which no decision is nearer to a tie than LEAST_MARGIN. Later stages see what
    earlier ones decided, so this goes on until a whole forward pass is clear."""
    config = ref.TINY
    noise = goldens.gumbel(rng, (len(config.stages), goldens.BATCH, config.patches, 2))
    while True:
        trace = ref.forward_masked(params, config, pixels, noise)
        near = torch.stack([((z[..., 0] - z[..., 1]).abs() < LEAST_MARGIN) for z in (
            trace[f"stage.{s}.log_p"] + noise[s] for s in range(len(config.stages)))])
        if not near.any():
            return noise
        noise = torch.where(near[..., None], goldens.gumbel(rng, noise.shape), noise)


def run(inputs, dtype, noise=None):
    params = {n: t.clone() for n, t in inputs["student"].items()}
    optimizer, rng = ref.AdamW(params), numpy.random.default_rng(NOISE)
    targets = goldens.targets_of(inputs["step_labels"], dtype)
    curves = {name: [] for name in (*PARTS, "gradient_norm")}
    used = []
    for step in range(STEPS):
        batch = step % goldens.POOL
        pixels = inputs["step_pixels"][batch]
        own = draw_noise(rng, params, inputs, pixels) if noise is None else noise[step].to(dtype)
        used.append(own)
        leaves = {n: t.clone().requires_grad_() for n, t in params.items()}
        terms, _, _ = goldens.student_losses(leaves, inputs, pixels, own, targets[batch])
        grads = goldens.gradient(terms["total"], leaves)
        rate = ref.learning_rate(step, goldens.SPARSIFY_RATE, STEPS, WARMUP)
        frozen = step < FROZEN
        moving = [g for n, g in grads.items()
                  if ref.is_predictor(n) or not (frozen or ref.is_embedding(n))]
        for name in PARTS:
            curves[name].append(terms[name].item())
        curves["gradient_norm"].append(
            torch.sqrt(sum(g.double().square().sum() for g in moving)).item())
        optimizer.step(params, grads, ref.sparsify_rates(params, rate, frozen))
    return curves, params, torch.stack(used)


def change_error(initial, exact, single):
    """Largest error of float32's change of a tensor, relative to that tensor's largest change; the
    third of a qkv bias that belongs to the keys has no gradient but rounding and is left out."""
    worst = (0.0, "")
    for name, start in initial.items():
        a, b = (exact[name] - start).flatten(), (single[name].double() - start).flatten()
        if name.endswith("attn.qkv.bias"):
            third = len(a) // 3
            a[third:2 * third], b[third:2 * third] = 0, 0
        scale = a.abs().max().item()
        if scale > 0:
            worst = max(worst, ((a - b).abs().max().item() / scale, name))
    return worst


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../../tests/golden/model")
    torch.set_num_threads(1)
    inputs = goldens.cast(goldens.make_inputs(), torch.float64)
    curves, params, noise = run(inputs, torch.float64)
    out = {"noise": noise, **{"curve." + n: numpy.array(v) for n, v in curves.items()},
           **goldens.prefixed("param.", params)}
    path = os.path.join(folder, "tiny_curve.safetensors")
    safetensors_file.save(path, {n: goldens.as_array(t) for n, t in out.items()})
    print(f"{path}: {os.path.getsize(path)} bytes")
    single, moved, _ = run(goldens.cast(inputs, torch.float32), torch.float32, noise)
    for name, values in curves.items():
        errors = [abs(a - b) / max(abs(v) for v in values) for a, b in zip(values, single[name])]
        print(f"{name}: {values[0]:.4g} → {values[-1]:.4g}; float32 is off by "
              + ", ".join(f"{max(errors[i:i + 10]):.1e}" for i in range(0, STEPS, 10)))
    print("weights' change: %.1e (%s)" % change_error(inputs["student"], params, moved))


if __name__ == "__main__":
    main()

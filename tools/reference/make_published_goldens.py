"""Writes tests/golden/published: small models of every published kind, what they answer, their
losses, gradients and batch statistics; position embeddings on other grids; and, in files/, small
weights in every published container and naming.

Inputs are rounded to float32, everything is computed in float64 and stored as float32. Afterwards
the same is computed in float32 and the largest errors are printed. Seeds are the first for which no
decision and no cut hangs on rounding. Contents: tests/golden/published/README.md.

usage: python make_published_goldens.py [output folder]
"""

import dataclasses
import os
import pathlib
import shutil
import sys

import numpy
import torch

import make_goldens
import published
import published_files as files
import safetensors_file
import vit_reference as ref
from check_reference import forcing_noise
from make_goldens import cast, decision_margin, gumbel, normal, prefixed, prune_margin

BATCH = 3
FILE_BATCH = 2
SMOOTHING = 0.1
LEAST_MARGINS = (5e-3, 2e-3)  # of a noisy logit pair from a tie; of the last kept score
STAGES = (1, 2, 3)

BASE = published.Config(32, 24, 8, 24, 4, 3, 40, 5, STAGES)
CASES = {
    "lvvit": published.lvvit(64, 48, 24, 4, 3, 5, STAGES, stem=8),
    "distilled": dataclasses.replace(BASE, distilled=True),
    "layer_scale": dataclasses.replace(BASE, layer_scale=True),
    "mean_pool": dataclasses.replace(BASE, mean_pool=True),
}
DENSE_TRAINING = ("lvvit", "distilled")
# Square, because a file does not say how its patches lie.
FILE_VIT = published.Config(32, 32, 8, 16, 4, 2, 32, 5)
FILE_LVVIT = published.lvvit(64, 64, 16, 4, 2, 5, stem=8)
GRIDS = {"14x14_24x24": ((14, 14), (24, 24)), "14x14_10x10": ((14, 14), (10, 10)),
         "4x4_3x6": ((4, 4), (3, 6)), "7x7_9x5": ((7, 7), (9, 5))}  # rows x columns


def random_weights(config, rng):
    """Weights with spread, so that nothing is the identity and attention is peaked."""
    params = {}
    for name, shape in published.parameter_shapes(config).items():
        mean, std = 0.0, 0.3 if "qkv" in name or "out_conv" in name else 0.2
        if len(shape) == 1:
            scale = "norm" in name or ".bn" in name or "in_conv.0" in name
            mean, std = (1.0, 0.2) if name.endswith("weight") and scale else (0.0, 0.15)
        elif ".conv" in name or len(shape) == 4:
            std = 1.2 / numpy.prod(shape[1:]) ** 0.5
        elif name == "patch_embed.proj.weight":
            std = 0.08
        if name.endswith("gamma"):
            mean, std = 0.6, 0.3
        params[name] = normal(rng, shape, std, mean)
        if name.endswith("out_conv.4.bias"):  # most patches are kept at each stage
            params[name] = torch.tensor([0.75, -0.75], dtype=torch.float64)
    for name, shape in published.statistics_shapes(config).items():
        if name.endswith("mean"):
            params[name] = normal(rng, shape, 0.2)
        elif name.endswith("var"):
            spread = (0.5 + rng.random(shape)).astype("f4").astype("f8")
            params[name] = torch.from_numpy(spread)
        else:
            params[name] = torch.tensor(7)
    return params


def nearby(params, rng):
    """A teacher: another model of the same shape, dense. Statistics and counts stay."""
    return {n: t if "running" in n or "tracked" in n else
            (t + normal(rng, tuple(t.shape), 0.05)).float().double()
            for n, t in params.items() if not ref.is_predictor(n)}


def pixels_of(config, batch, rng):
    return normal(rng, (batch, 3, config.image_height, config.image_width))


def draw(config, seed):
    rng = numpy.random.default_rng(seed)
    student = random_weights(config, rng)
    labels = torch.tensor([1, 4, 0])
    return {"student": student, "teacher": nearby(student, rng),
            "pixels": pixels_of(config, BATCH, rng), "labels": labels,
            "noise": gumbel(rng, (len(config.stages), BATCH, config.patches, 2)),
            "targets": ref.smooth_targets(labels, config.classes, SMOOTHING).float().double()}


def is_statistic(name):
    return "running_" in name or name.endswith("tracked")


def leaves_of(params):
    return {n: t.clone().requires_grad_() for n, t in params.items() if not is_statistic(n)}


def gradients(loss, leaves):
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))


def inference(config, inputs):
    params, pixels = inputs["student"], inputs["pixels"]
    keys = ("patch_embed", "block.", "norm", "class", "distillation", "aux", "logits", "stage.")

    def chosen(prefix, trace):
        return prefixed(prefix, {n: t for n, t in trace.items() if n.startswith(keys)})

    dense = published.forward_dense(params, config, pixels)
    pruned = published.forward_pruned(params, config, pixels)
    pruned = {n: t for n, t in pruned.items() if n.startswith(("stage.", "logits"))}
    return {"pixels": pixels, **chosen("dense.", dense), **chosen("pruned.", pruned)}, pruned


def training(config, inputs):
    """One step of DynamicViT training, up to the gradients."""
    leaves, running = leaves_of(inputs["student"]), {}
    pixels = inputs["pixels"].clone().requires_grad_()
    params = inputs["student"] | leaves
    student = published.forward_masked(params, config, pixels, inputs["noise"], running)
    with torch.no_grad():
        teacher = published.forward_dense(inputs["teacher"], config, inputs["pixels"])
    terms = published.losses(config, student, teacher, inputs["targets"])
    grads = gradients(terms["total"], leaves | {"pixels": pixels})
    keys = ("stage.", "block.", "class", "distillation", "aux", "norm", "residual")
    out = {"labels": inputs["labels"], "targets": inputs["targets"],
           "masked.noise": inputs["noise"]}
    out |= prefixed("masked.", {n: t for n, t in student.items() if n.startswith(keys)})
    out |= prefixed("teacher.", {n: t for n, t in teacher.items() if n in (*keys, "logits")})
    out |= prefixed("loss.", {n: t.reshape(1) for n, t in terms.items()})
    return out | prefixed("grad.", grads) | prefixed("stat.", running), student


def dense_training(config, inputs):
    """One step of dense training without a teacher, on the student's backbone."""
    backbone = {n: t for n, t in inputs["student"].items() if not ref.is_predictor(n)}
    leaves, running = leaves_of(backbone), {}
    trace = published.forward_dense(backbone | leaves, config, inputs["pixels"], running)
    loss = published.dense_loss(config, trace, inputs["targets"])
    out = {"dense_training.loss": loss.reshape(1), "dense_training.class": trace["class"]}
    out |= prefixed("dense_training.grad.", gradients(loss, leaves))
    return out | prefixed("dense_training.stat.", running)


def compute(name, config, inputs):
    """Everything of a case, and the margins of its decisions."""
    out, pruned = inference(config, inputs)
    trained, student = training(config, inputs)
    margins = decision_margin(config, student, inputs["noise"]), prune_margin(config, pruned)
    out |= trained
    if name in DENSE_TRAINING:
        out |= dense_training(config, inputs)
    check_masked_is_pruned(config, inputs, pruned)
    return out, margins


def check_masked_is_pruned(config, inputs, pruned):
    noise = forcing_noise(config, pruned).to(inputs["pixels"].dtype)
    masked = published.forward_masked(inputs["student"], config, inputs["pixels"], noise)
    error = (masked["logits"] - pruned["logits"]).abs().max().item()
    if error > 1e-4:
        raise SystemExit(f"masked and pruned differ by {error:.1e}")


def settle(name, config):
    """The first seed without a narrow decision."""
    for seed in range(1000, 2000):
        inputs = draw(config, seed)
        out, margins = compute(name, config, inputs)
        if all(m >= least for m, least in zip(margins, LEAST_MARGINS)):
            return seed, inputs, out, margins
    raise SystemExit(f"{name}: no seed with wide margins")


def write_case(folder, name, config):
    seed, inputs, out, margins = settle(name, config)
    for role in ("student", "teacher"):
        path = folder / f"{name}_{role}.safetensors"
        files.safetensors_file(files.stored(inputs[role]), config, path)
    safetensors_file.save(folder / f"{name}.safetensors",
                          {n: make_goldens.as_array(t) for n, t in out.items()})
    shares = [out[f"masked.stage.{s}.decision"].mean().item() for s in range(len(config.stages))]
    print(f"{name}: seed {seed}, margins {margins[0]:.1e} {margins[1]:.1e}, kept in training",
          *(f"{s:.2f}" for s in shares))
    inputs = {n: cast(t, torch.float32) for n, t in inputs.items()}
    make_goldens.report({name: out}, {name: compute(name, config, inputs)[0]})


def write_positions(folder):
    rng, out = numpy.random.default_rng(1), {}
    for name, (old, new) in GRIDS.items():
        for prefix in (1, 2):
            position = normal(rng, (1, prefix + old[0] * old[1], 4))
            out[f"{name}.{prefix}.from"] = position
            out[f"{name}.{prefix}.to"] = published.interpolate_position(position, prefix, old, new)
    safetensors_file.save(folder / "positions.safetensors", out)


# ---------------------------------------------------------------------------- files/

DYNAMIC = {"stages": STAGES}
DEIT3 = {"layer_scale": True, "position_of_prefix": False}
HUGGING = {"norm_eps": 1e-12}
FORMS = {  # path in files/ -> (shape, what differs from it, writer, stored type)
    "dynamicvit.pth": (FILE_VIT, DYNAMIC, files.dynamicvit, torch.float32),
    "deit.pth": (FILE_VIT, {}, files.deit_legacy, torch.float32),
    "deit_distilled.pth": (FILE_VIT, {"distilled": True}, files.deit, torch.float32),
    "dynamicvit_distilled.pth": (FILE_VIT, {"distilled": True} | DYNAMIC, files.dynamicvit,
                                 torch.float16),
    "timm.safetensors": (FILE_VIT, {}, files.safetensors_file, torch.float32),
    "timm_deit3.safetensors": (FILE_VIT, DEIT3, files.safetensors_file, torch.bfloat16),
    "timm_mean_pool.safetensors": (FILE_VIT, {"mean_pool": True}, files.safetensors_file,
                                   torch.float16),
    "timm_linear_patch.pth": (FILE_VIT, {"linear_patch": True}, files.bare_legacy, torch.float32),
    "timm_averaged.pth.tar": (FILE_VIT, {}, files.averaged, torch.float32),
    "parallel.pth": (FILE_VIT, DYNAMIC, files.parallel, torch.bfloat16),
    "compiled.pt": (FILE_VIT, {}, files.compiled, torch.float64),
    "lvvit.pth.tar": (FILE_LVVIT, {}, files.bare, torch.float32),
    "lvvit_dynamic.pth": (FILE_LVVIT, DYNAMIC, files.dynamicvit, torch.float32),
    "hf_vit": (FILE_VIT, HUGGING, files.huggingface, torch.float32),
    "hf_deit": (FILE_VIT, HUGGING | {"distilled": True}, files.huggingface_bin, torch.float32),
    "hf_sharded": (FILE_VIT, HUGGING, files.huggingface_sharded, torch.float16),
}


def write_form(folder, path, form, pixels):
    """Writes one file and returns what the weights in it, as rounded by it, answer."""
    shape, changes, write, dtype = form
    config = dataclasses.replace(shape, **changes)
    for seed in range(2000, 3000):
        rng = numpy.random.default_rng(seed)
        state = files.stored(random_weights(config, rng), dtype)
        params = {n: t.double() if t.is_floating_point() else t for n, t in state.items()}
        trace = published.forward(params, config, pixels)
        if prune_margin(config, trace) >= LEAST_MARGINS[1]:
            break
    write(state, config, folder / path)
    out = {f"{path}.logits": trace["logits"]}
    out |= {f"{path}.{n}": t for n, t in trace.items() if n.endswith(".kept")}
    if write is files.averaged:  # the weights that are not averaged are half of these
        halved = {n: t / 2 for n, t in params.items()}
        out[f"{path}.trained.logits"] = published.forward(halved, config, pixels)["logits"]
    return out


def write_forms(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rng = numpy.random.default_rng(3)
    vit, lvvit = (pixels_of(c, FILE_BATCH, rng) for c in (FILE_VIT, FILE_LVVIT))
    out = {"pixels.32x32": vit, "pixels.64x64": lvvit}
    for path, form in FORMS.items():
        out |= write_form(folder, path, form, vit if form[0] is FILE_VIT else lvvit)
    safetensors_file.save(folder / "expected.safetensors",
                          {n: make_goldens.as_array(t) for n, t in out.items()})


def main():
    default = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/published"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, config in CASES.items():
        write_case(folder, name, config)
    write_positions(folder)
    write_forms(folder / "files")
    size = sum(os.path.getsize(p) for p in folder.rglob("*") if p.is_file())
    print(f"{size} bytes in all")


if __name__ == "__main__":
    main()

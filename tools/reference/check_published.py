"""Checks of published.py against independent facts: published parameter counts, torch's own batch
norm, finite differences; and, where timm and transformers are installed, their models with the same
weights, loaded by name, and the pixels that they make of pictures. Run it before trusting new goldens.

usage: python check_published.py
"""

import dataclasses
import importlib.util
import math
import pathlib
import tempfile

import numpy
import torch
import torch.nn.functional as F
from PIL import Image

import make_published_goldens as goldens
import parity
import published
import published_files as files
import vit_reference as ref
from check_reference import relative, require

F64 = torch.float64


def check_counts():
    expected = {"lvvit-s": ((4, 8, 12), 26151824, 26875574),
                "lvvit-m": ((5, 10, 15), 55830544, 57115030),
                "deit-t": ((3, 6, 9), 5717416, 5899582), "deit-s": ((3, 6, 9), 22050664, 22774414),
                "deit-s distilled": ((3, 6, 9), 22436432, 23160182)}
    for name, (stages, *counts) in expected.items():
        got = [sum(map(math.prod, published.parameter_shapes(published.preset(name, s)).values()))
               for s in ((), stages)]
        require(got == counts, f"parameters of {name}: {got}")


def check_batch_norm():
    torch.manual_seed(1)
    x, name = torch.randn(3, 4, 5, 6, dtype=F64), "bn"
    params = {"bn.weight": torch.rand(4, dtype=F64), "bn.bias": torch.rand(4, dtype=F64),
              "bn.running_mean": torch.rand(4, dtype=F64),
              "bn.running_var": torch.rand(4, dtype=F64)}
    for training in (True, False):
        mean, var = params["bn.running_mean"].clone(), params["bn.running_var"].clone()
        theirs = F.batch_norm(x, mean, var, params["bn.weight"], params["bn.bias"], training, 0.1)
        running = {} if training else None
        ours = published.batch_norm(params, name, x, running)
        require(relative(ours, theirs) < 1e-14, f"batch norm = torch's, training={training}")
        if training:
            require(relative(running["bn.running_mean"], mean) < 1e-14
                    and relative(running["bn.running_var"], var) < 1e-14, "running statistics")


def check_finite_differences(name):
    """Of the dense training loss, and of the DynamicViT loss in the parameters behind the last
    decision, which it does not step over."""
    config, inputs = goldens.CASES[name], goldens.draw(goldens.CASES[name], 5)
    teacher = published.forward_dense(inputs["teacher"], config, inputs["pixels"])

    def dense(params):
        trace = published.forward_dense(params, config, inputs["pixels"], {})
        return published.dense_loss(config, trace, inputs["targets"])

    def dynamic(params):
        trace = published.forward_masked(params, config, inputs["pixels"], inputs["noise"], {})
        return published.losses(config, trace, teacher, inputs["targets"])["total"]

    last = [n for n in inputs["student"] if n.startswith(("blocks.3", "norm", "fc_norm", "head",
                                                          "aux_head"))]
    for label, loss, names in (("dense", dense, None), ("dynamic", dynamic, last)):
        leaves = goldens.leaves_of(inputs["student"])
        leaves = {n: t for n, t in leaves.items() if names is None or n in names}
        grads = torch.autograd.grad(loss(inputs["student"] | leaves), list(leaves.values()),
                                    allow_unused=True)
        worst = 0.0
        for (key, value), grad in zip(leaves.items(), grads):
            if grad is None:
                continue
            at, values = grad.abs().argmax(), []
            for step in (1e-6, -1e-6):
                moved = value.detach().clone()
                moved.view(-1)[at] += step
                values.append(loss(inputs["student"] | {key: moved}).item())
            exact = grad.view(-1)[at].item()
            worst = max(worst, abs((values[0] - values[1]) / 2e-6 - exact) / (abs(exact) + 1e-3))
        require(worst < 1e-4, f"finite differences, {name}, {label}: {worst:.1e}")


def weights(config, seed=1):
    return goldens.random_weights(config, numpy.random.default_rng(seed))


def same_answer(text, config, params, model):
    """`model` has loaded the weights by name; evaluation mode."""
    pixels = goldens.pixels_of(config, 2, numpy.random.default_rng(2))
    with torch.no_grad():
        theirs = model.double().eval()(pixels)
    theirs = theirs if isinstance(theirs, torch.Tensor) else theirs.logits
    error = relative(published.forward_dense(params, config, pixels)["logits"], theirs)
    require(error < 1e-6, f"{text}: {error:.1e}")


def check_timm():
    from timm.models import deit, vision_transformer

    size = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 4, "num_heads": 2,
            "mlp_ratio": 2, "num_classes": 5}
    shape = goldens.FILE_VIT
    kinds = {"ViT": ({}, vision_transformer.VisionTransformer, {}),
             "average pool": ({"mean_pool": True}, vision_transformer.VisionTransformer,
                              {"global_pool": "avg"}),
             "DeiT-III": (goldens.DEIT3, vision_transformer.VisionTransformer,
                          {"init_values": 1e-6, "no_embed_class": True}),
             "distilled": ({"distilled": True}, deit.VisionTransformerDistilled, {})}
    for kind, (changes, build, options) in kinds.items():
        config = dataclasses.replace(shape, **changes)
        params, model = weights(config), build(**size, **options)
        model.load_state_dict(params)
        same_answer(f"timm's {kind}", config, params, model)
    config = dataclasses.replace(shape, linear_patch=True)
    params, model = weights(config), vision_transformer.VisionTransformer(**size)
    model.load_state_dict(vision_transformer.checkpoint_filter_fn(params, model))
    same_answer("timm's old linear patch embedding", config, params, model)


def check_transformers():
    """Reads the folders that published_files.py writes."""
    import transformers

    kinds = {"vit": ({}, files.huggingface, transformers.ViTForImageClassification),
             "deit": ({"distilled": True}, files.huggingface_bin,
                      transformers.DeiTForImageClassificationWithTeacher)}
    for family, (changes, write, build) in kinds.items():
        config = dataclasses.replace(goldens.FILE_VIT, norm_eps=1e-12, **changes)
        params = weights(config)
        with tempfile.TemporaryDirectory() as folder:
            write(files.stored(params), config, folder, family)
            model, info = build.from_pretrained(folder, output_loading_info=True)
            processor = transformers.AutoImageProcessor.from_pretrained(folder)
        require(not info["missing_keys"] and not info["unexpected_keys"],
                f"Hugging Face's {family} finds its tensors; {type(processor).__name__}")
        same_answer(f"Hugging Face's {family}", config, params, model)


def same_pixels(text, theirs, row, paths):
    """theirs: image -> pixels [3][224][224]."""
    gap = max(abs(numpy.asarray(theirs(Image.open(p).convert("RGB")))
                  - parity.prepare(p, row, (224, 224))).max() for p in paths)
    require(gap == 0, f"pixels as {text} makes them")


def check_timm_pixels():
    from timm.data import create_transform

    with tempfile.TemporaryDirectory() as folder:
        paths = parity.draw_pictures(pathlib.Path(folder))
        for write, name, (mean, std) in ((files.safetensors_file, "timm", files.IMAGENET),
                                         (files.timm_folder, "timm, mean 0.5", files.HALF)):
            theirs = create_transform((3, 224, 224), is_training=False, interpolation="bicubic",
                                      crop_pct=0.9, mean=mean, std=std)
            same_pixels(name, theirs, parity.Row("", "", write, "", prepare=name), paths)


def check_transformers_pixels():
    import transformers

    config = published.preset("deit-s")
    kinds = {"vit": (files.huggingface, ()),
             "deit": (files.huggingface_bin, (files.BICUBIC, files.IMAGENET))}
    for family, (write, options) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            paths = parity.draw_pictures(pathlib.Path(folder))
            files.describe_huggingface({}, config, folder, family, *options)
            load = transformers.AutoImageProcessor.from_pretrained
            processor = load(folder, backend="pil")
            row = parity.Row("", "", write, "bin" if options else "", prepare="huggingface")
            same_pixels(type(processor).__name__,
                        lambda image: processor(images=image)["pixel_values"][0], row, paths)


def main():
    check_counts()
    check_batch_norm()
    for name in goldens.CASES:
        check_finite_differences(name)
    for library, *checks in (("timm", check_timm, check_timm_pixels),
                             ("transformers", check_transformers, check_transformers_pixels)):
        if importlib.util.find_spec(library):
            for check in checks:
                check()
        else:
            print("skip", library, "is not installed")


if __name__ == "__main__":
    main()

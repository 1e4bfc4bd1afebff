"""Writes weights in every container and naming in which such models are published, with the
libraries that people publish them with: torch.save in both of its forms, and safetensors.

A form is a function of (state dict, config, folder, name); it returns the path to give to a reader.
Nothing here computes."""

import argparse
import json
import os
import pathlib

import safetensors.torch
import torch

import published

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
BILINEAR, BICUBIC = 2, 3  # Pillow's numbers, as in preprocessor_config.json


def stored(params, dtype=torch.float32):
    """As a state dict holds them: floats in `dtype`, contiguous and sharing nothing; counts as
    64-bit integers."""
    return {n: (t.to(dtype) if t.is_floating_point() else t.to(torch.int64)).clone().contiguous()
            for n, t in params.items()}


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def save_torch(path, value, legacy=False):
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def optimizer_state(state):
    """What AdamW leaves after a step, for the first two tensors."""
    leaves = [torch.nn.Parameter(t.float().clone()) for t in list(state.values())[:2]]
    optimizer = torch.optim.AdamW(leaves, lr=1e-3)
    for leaf in leaves:
        leaf.grad = torch.ones_like(leaf)
    optimizer.step()
    return optimizer.state_dict()


def dynamicvit(state, config, path):
    """A training checkpoint of the DynamicViT repository."""
    args = argparse.Namespace(model="deit-s", base_rate=config.keep, input_size=config.image_width,
                              lr=1e-3, epochs=30, distill=True,
                              output_dir=pathlib.PurePosixPath("out"))
    return save_torch(path, {"model": state, "optimizer": optimizer_state(state), "epoch": 29,
                             "scaler": {}, "args": args})


def deit_legacy(state, config, path):
    return save_torch(path, {"model": state}, legacy=True)


def deit(state, config, path):
    return save_torch(path, {"model": state})


def bare(state, config, path):
    return save_torch(path, state)


def bare_legacy(state, config, path):
    return save_torch(path, state, legacy=True)


def parallel(state, config, path):
    return save_torch(path, {"state_dict": prefixed("module.", state), "epoch": 3})


def compiled(state, config, path):
    return save_torch(path, {"model": prefixed("_orig_mod.", state)})


def averaged(state, config, path):
    """A training checkpoint of timm: the averaged weights lie beside the trained ones, which are
    half of them here."""
    half = {n: t / 2 if t.is_floating_point() else t for n, t in state.items()}
    return save_torch(path, {"epoch": 9, "arch": "vit", "state_dict": half,
                             "state_dict_ema": state, "version": 2, "metric": 79.5})


def safetensors_file(state, config, path):
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    return path


def describe_huggingface(state, config, folder, family, resample=BILINEAR, mean_std=HALF):
    """config.json and preprocessor_config.json as transformers writes them."""
    os.makedirs(folder, exist_ok=True)
    distilled = "WithTeacher" if config.distilled else ""
    kind = {"vit": "ViT", "deit": "DeiT"}[family]
    labels = {str(i): f"LABEL_{i}" for i in range(config.classes)}
    description = {
        "architectures": [f"{kind}ForImageClassification{distilled}"], "model_type": family,
        "attention_probs_dropout_prob": 0.0, "encoder_stride": 16, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0, "hidden_size": config.dim, "id2label": labels,
        "image_size": config.image_width, "initializer_range": 0.02,
        "intermediate_size": config.mlp, "label2id": {v: int(k) for k, v in labels.items()},
        "layer_norm_eps": config.norm_eps, "num_attention_heads": config.heads,
        "num_channels": 3, "num_hidden_layers": config.depth, "patch_size": config.patch,
        "qkv_bias": config.qkv_bias, "torch_dtype": "float32", "transformers_version": "4.40.0"}
    prepare = {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": mean_std[0],
        "image_processor_type": "ViTImageProcessor", "image_std": mean_std[1],
        "resample": resample, "rescale_factor": 1 / 255,
        "size": {"height": config.image_height, "width": config.image_width}}
    if family == "deit":  # squashed to 8/7 of the side, then the centre
        side = config.image_width * 8 // 7
        prepare |= {"image_processor_type": "DeiTImageProcessor", "do_center_crop": True,
                    "crop_size": {"height": config.image_height, "width": config.image_width},
                    "size": {"height": side, "width": side}}
    for name, value in (("config", description), ("preprocessor_config", prepare)):
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)
            file.write("\n")
    return published.huggingface(state, config, family)


def timm_folder(state, config, folder):
    """As timm's models lie on the hub; many of its ViTs were trained with mean and std 0.5."""
    os.makedirs(folder, exist_ok=True)
    size = [3, config.image_height, config.image_width]
    prepare = {"tag": "augreg_in1k", "custom_load": False, "input_size": size,
               "fixed_input_size": True, "interpolation": "bicubic", "crop_pct": 0.9,
               "crop_mode": "center", "mean": HALF[0], "std": HALF[1], "num_classes": config.classes,
               "pool_size": None, "first_conv": "patch_embed.proj", "classifier": "head"}
    description = {"architecture": f"vit_small_patch{config.patch}_{size[1]}",
                   "num_classes": config.classes, "num_features": config.dim,
                   "global_pool": "token", "pretrained_cfg": prepare}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(description, file, indent=2)
        file.write("\n")
    return safetensors_file(state, config, os.path.join(folder, "model.safetensors"))


def huggingface(state, config, folder, family="vit"):
    renamed = describe_huggingface(state, config, folder, family)
    return safetensors_file(renamed, config, os.path.join(folder, "model.safetensors"))


def huggingface_bin(state, config, folder, family="deit"):
    renamed = describe_huggingface(state, config, folder, family, BICUBIC, IMAGENET)
    return save_torch(os.path.join(folder, "pytorch_model.bin"), renamed)


def huggingface_sharded(state, config, folder, family="vit"):
    """Two files, and an index that says which tensor lies where."""
    renamed = describe_huggingface(state, config, folder, family)
    names, where = list(renamed), {}
    for i, part in enumerate((names[:len(names) // 2], names[len(names) // 2:]), 1):
        file_name = f"model-0000{i}-of-00002.safetensors"
        safetensors_file({n: renamed[n] for n in part}, config, os.path.join(folder, file_name))
        where |= dict.fromkeys(part, file_name)
    size = sum(t.numel() * t.element_size() for t in renamed.values())
    path = os.path.join(folder, "model.safetensors.index.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"metadata": {"total_size": size}, "weight_map": where}, file, indent=2)
        file.write("\n")
    return path

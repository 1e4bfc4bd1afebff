#!/usr/bin/env python3
"""Writes tests/golden/published/positions_antialiased.safetensors: grids of vectors, and what
PyTorch's antialiased bicubic interpolation makes of them, which timm uses for position embeddings.

Usage: python tools/reference/position_goldens.py   (in the repository's root)
"""
import torch
from safetensors.torch import save_file

DIM = 66
GRIDS = [((8, 8), (4, 4)), ((6, 6), (10, 10)), ((9, 9), (6, 5)), ((7, 5), (3, 11)),
         ((1, 1), (2, 3))]  # fmt: skip

torch.manual_seed(5)
tensors = {}
for (h, w), size in GRIDS:
    grid = torch.randn(1, DIM, h, w)
    # in double: what float32 strays by is not the matter here
    out = torch.nn.functional.interpolate(
        grid.double(), size=size, mode="bicubic", antialias=True, align_corners=False
    ).float()
    name = f"{h}x{w}_{size[0]}x{size[1]}"
    tensors[name + ".from"] = grid[0].permute(1, 2, 0).reshape(h * w, DIM).contiguous()
    tensors[name + ".to"] = out[0].permute(1, 2, 0).reshape(size[0] * size[1], DIM).contiguous()
save_file(tensors, "tests/golden/published/positions_antialiased.safetensors")

#!/usr/bin/env python3
"""Writes tests/golden/image/resize_pillow13.txt: what Pillow 13 makes of noise images.

Pillow 13 takes the vertical pass of a resize first where that loses much more height than width;
Pillow 12 and before, which image_goldens.py asks, always took the horizontal one first. This needs
another version than requirements.txt pins:

    python3 -m venv venv13 && venv13/bin/pip install pillow==13.0.0 numpy
    venv13/bin/python tools/reference/pillow13_goldens.py   (in the repository's root)
"""
import pathlib
import random
import zlib

import numpy as np
import PIL
from PIL import Image

assert PIL.__version__ == "13.0.0", PIL.__version__
OUT = pathlib.Path("tests/golden/image/resize_pillow13.txt")
FILTERS = {0: Image.Resampling.BILINEAR, 1: Image.Resampling.BICUBIC}


def pixels(width, height, seed):
    """As in image_goldens.py and tests/test_image_util.h."""
    x = (np.arange(width * height * 3, dtype=np.uint64) * 2654435761 + seed * 40503) & 0xFFFFFFFF
    x ^= x >> np.uint64(15)
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> np.uint64(13)
    return (x & 255).astype(np.uint8).reshape(height, width, 3)


def sizes():
    fixed = [
        (40, 200, 32, 32), (40, 200, 64, 32), (64, 64, 48, 32), (64, 64, 48, 33), (64, 64, 49, 33),
        (64, 66, 48, 33), (64, 65, 64, 33), (64, 65, 65, 65), (64, 65, 65, 66), (64, 66, 65, 65),
        (1, 90, 7, 3), (90, 90, 91, 89), (375, 500, 256, 341), (300, 900, 224, 672),
        (200, 800, 224, 224), (3, 300, 2, 1), (17, 211, 16, 9), (5, 5, 9, 4),
    ]  # fmt: skip
    rng = random.Random(3)
    return fixed + [tuple(rng.randint(1, 120) for _ in range(4)) for _ in range(82)]


lines = []
for seed, (w, h, to_w, to_h) in enumerate(sizes()):
    image = Image.fromarray(pixels(w, h, seed))
    for number, kernel in FILTERS.items():
        result = zlib.crc32(image.resize((to_w, to_h), kernel).tobytes())
        lines.append(f"{number} {w} {h} {seed} {to_w} {to_h} {result:08x}")
OUT.write_text("# filter width height seed to_width to_height crc\n" + "\n".join(lines) + "\n")

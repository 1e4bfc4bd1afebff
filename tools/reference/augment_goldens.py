#!/usr/bin/env python3
"""Writes tests/golden/augment/operations.txt: what Pillow 12 makes of images by each of
RandAugment's operations, with forced arguments.

One case a line, with the CRC-32 of the resulting pixels. Inputs are not stored: picture(kind, …)
below is repeated in tests/test_image_ops.c. The operations are written as timm 1.0.31 calls Pillow
(timm/data/auto_augment.py); arguments are those that timm can draw, the ends of their ranges, and
some far beyond.

Usage: python tools/reference/augment_goldens.py   (in the repository's root)
"""
import pathlib
import random
import zlib

import numpy as np
import PIL
from PIL import Image, ImageEnhance, ImageOps

assert PIL.__version__ == "12.0.0", PIL.__version__
OUT = pathlib.Path("tests/golden/augment")
FILL = (124, 116, 104)
PER_OPERATION = 90
SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (2, 9), (9, 2), (3, 3), (4, 3), (5, 4), (16, 16),
         (32, 32), (33, 17), (31, 40), (64, 48), (100, 31)]  # fmt: skip


def noise(count, seed):
    """A hash of each index; the same in tests/test_image_util.h."""
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + seed * 40503) & 0xFFFFFFFF
    x ^= x >> np.uint64(15)
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> np.uint64(13)
    return (x & 255).astype(np.uint8)


def picture(kind, w, h, seed):
    """0 noise, 1 noise of few values, 2 one colour, 3 a slope that wraps, 4 dark with a spot."""
    index = np.arange(w * h * 3)
    x, y, c = index // 3 % w, index // 3 // w, index % 3
    values = noise(w * h * 3, seed).astype(np.int64)
    if kind == 1:
        values = 60 + values // 8 * 2 + 20 * c
    elif kind == 2:
        values = np.full(w * h * 3, 10 + 90 * c + seed % 50)
    elif kind == 3:
        values = (7 * x + 3 * y + 50 * c + seed) % 256
    elif kind == 4:
        values = np.where(index // 3 == w * h // 2, 255 - 40 * c, values // 32)
    return Image.fromarray(values.astype(np.uint8).reshape(h, w, 3))


def affine(*matrix):
    def run(image, argument):
        numbers = [m(image, argument) if callable(m) else m for m in matrix]
        return image.transform(image.size, Image.AFFINE, numbers, fillcolor=FILL,
                               resample=Image.Resampling.BICUBIC)  # fmt: skip

    return run


def solarize_add(image, add):
    return image.point([min(255, i + add) if i < 128 else i for i in range(256)] * 3)


def posterize(image, bits):
    return image if bits >= 8 else ImageOps.posterize(image, bits)


def rotate(image, degrees):
    return image.rotate(degrees, fillcolor=FILL, resample=Image.Resampling.BICUBIC)


def reals(low, high, *fixed):
    return lambda rng: rng.choice(fixed) if rng.random() < 0.4 else rng.uniform(low, high)


def whole(low, high, *fixed):
    return lambda rng: rng.choice(fixed) if rng.random() < 0.3 else rng.randint(low, high)


NONE = lambda rng: 0
FACTOR = reals(0.1, 1.9, 0.1, 1.9, 1.0, 0.0, 0.6, 1.4, 2.5)
OPERATIONS = [
    ("AutoContrast", lambda image, _: ImageOps.autocontrast(image), NONE),
    ("Equalize", lambda image, _: ImageOps.equalize(image), NONE),
    ("Invert", lambda image, _: ImageOps.invert(image), NONE),
    ("Rotate", rotate, reals(-30, 30, 30, -30, 27, -27, 0, -0.0, 1e-9, 45, 90, 180, -90, 359.5, 720)),
    ("Posterize", posterize, whole(-1, 8, 0, 1, 4)),
    ("Solarize", lambda image, t: ImageOps.solarize(image, t), whole(0, 256, 0, 256, 26, 128)),
    ("SolarizeAdd", solarize_add, whole(0, 128, 0, 110, 128, 99)),
    ("Color", lambda image, f: ImageEnhance.Color(image).enhance(f), FACTOR),
    ("Contrast", lambda image, f: ImageEnhance.Contrast(image).enhance(f), FACTOR),
    ("Brightness", lambda image, f: ImageEnhance.Brightness(image).enhance(f), FACTOR),
    ("Sharpness", lambda image, f: ImageEnhance.Sharpness(image).enhance(f), FACTOR),
    ("ShearX", affine(1, lambda i, k: k, 0, 0, 1, 0), reals(-0.3, 0.3, 0.3, -0.3, 0, 1, -5)),
    ("ShearY", affine(1, 0, 0, lambda i, k: k, 1, 0), reals(-0.3, 0.3, 0.3, -0.3, 0, 1, -5)),
    ("TranslateX", affine(1, 0, lambda i, k: k * i.size[0], 0, 1, 0),
     reals(-0.45, 0.45, 0.45, -0.45, 0, 0.5, 1, -2)),
    ("TranslateY", affine(1, 0, 0, 0, 1, lambda i, k: k * i.size[1]),
     reals(-0.45, 0.45, 0.45, -0.45, 0, 0.5, 1, -2)),
]  # fmt: skip


def cases(name, run, argument):
    rng = random.Random(name)
    for n in range(PER_OPERATION):
        w, h = SIZES[n % len(SIZES)]
        kind, seed, value = rng.randrange(5), rng.randrange(1000), argument(rng)
        result = run(picture(kind, w, h, seed), value)
        assert result.size == (w, h) and result.mode == "RGB"
        yield f"{name} {float(value).hex()} {kind} {w} {h} {seed} {zlib.crc32(result.tobytes()):08x}"


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    lines = [line for operation in OPERATIONS for line in cases(*operation)]
    header = "# operation argument kind width height seed crc\n"
    (OUT / "operations.txt").write_text(header + "\n".join(lines) + "\n")

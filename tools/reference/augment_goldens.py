#!/usr/bin/env python3
"""Writes tests/golden/augment: what Pillow and timm make of training images.

operations.txt: what Pillow 12 makes of images by each of RandAugment's operations, with forced
arguments. One case a line, with the CRC-32 of the resulting pixels. Inputs are not stored:
picture(kind, …) below is repeated in tests/test_image_ops.c. The operations are written as
timm 1.0.31 calls Pillow (timm/data/auto_augment.py); arguments are those that timm can draw, the
ends of their ranges, and some far beyond.
arguments.txt: timm's argument for each operation, variant and magnitude, both signs.
tables.txt: AutoAugment's pairs. policies.txt, erasing.txt: statistics of many draws by timm. mixing.txt: batches mixed by timm with
forced shares and boxes, as the CRC-32 of the f32 results.

Of timm only three files are loaded, which need no torchvision.

Usage: python tools/reference/augment_goldens.py   (in the repository's root)
"""
import importlib.metadata
import importlib.util
import pathlib
import random
import zlib

import numpy as np
import PIL
import torch
from PIL import Image, ImageEnhance, ImageOps

assert PIL.__version__ == "12.0.0", PIL.__version__
assert importlib.metadata.version("timm") == "1.0.31"
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


# ---- timm ----


def timm_file(name):
    folder = importlib.util.find_spec("timm").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location(name, f"{folder}/data/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AUTO, ERASING, MIXUP = map(timm_file, ("auto_augment", "random_erasing", "mixup"))


def our_name(name):
    """(operation, scale) of timm's name."""
    for ending in ("Increasing", "Original"):
        if name.endswith(ending):
            return name[: -len(ending)], ending.lower()
    return name.removesuffix("Rel"), "plain"


def forced_uniform(value):
    AUTO.random.random = lambda: value


def argument_lines():
    real = random.random
    for name, level in AUTO.LEVEL_TO_ARG.items():
        op, scale = our_name(name)
        if name in ("TranslateX", "TranslateY") or op not in [o[0] for o in OPERATIONS]:
            continue
        for magnitude in (0, 0.3, 1, 2.5, 5, 7.77, 8.9999, 9, 9.6, 10, 12, 25):
            for negative in (0, 1):
                forced_uniform(0.9 if negative else 0.1)
                value = level(float(magnitude), {})[0] if level else 0
                yield f"{op} {scale} {float(magnitude).hex()} {negative} {float(value).hex()}"
    AUTO.random.random = real


POLICIES = [
    "rand-m9-mstd0.5-inc1", "rand-m7-n3-p0.7-mstd101", "rand-m9-mstd0.5-tweights-n4",
    "rand-n1-p1-tweights", "rand-m5-n1-p1-mstd2", "rand-m15-mmax12-mstd3-inc1", "rand",
    "original-mstd0.5", "originalr", "v0", "v0r-mstd1",
]  # fmt: skip
DRAWS = 150000


def policy_lines():
    """Per policy and operation: how often in an image, mean and deviation of its argument."""
    for text in POLICIES:
        random.seed(text), np.random.seed(1)
        make = AUTO.rand_augment_transform if text.startswith("rand") else AUTO.auto_augment_transform
        transform, seen = make(text, dict(img_mean=FILL)), {o[0]: [] for o in OPERATIONS}

        def note(op):
            name = our_name(op.name)[0]
            op.aug_fn = lambda image, *args, **_: seen[name].append(float(args[0] if args else 0))

        ops = transform.ops if text.startswith("rand") else sum(transform.policy, [])
        [note(op) for op in ops]
        for _ in range(DRAWS):
            transform(None)
        for name, values in seen.items():
            mean, deviation = (np.mean(values), np.std(values)) if values else (0, 0)
            yield f"{text} {name} {len(values) / DRAWS:.9g} {mean:.9g} {deviation:.9g}"


def table_lines():
    for text in ("original", "originalr", "v0", "v0r"):
        for number, pair in enumerate(AUTO.auto_augment_transform(text).policy):
            for place, op in enumerate(pair):
                name, scale = our_name(op.name)
                yield f"{text} {number} {place} {name} {scale} {op.prob:.9g} {op.magnitude}"


def erasing_lines():
    """Per size and probability: share of images erased; mean and deviation of the box's share of
    the area, of the logarithm of its ratio, and of where it lies in its room."""
    for w, h, p in [(32, 32, 0.25), (224, 224, 1), (64, 16, 0.5), (5, 3, 1), (2, 2, 1), (1, 1, 1)]:
        random.seed(w)
        eraser, boxes = ERASING.RandomErasing(p, mode="const", device="cpu"), []
        ERASING._get_pixels = lambda *args, **_: torch.zeros(args[2])
        for _ in range(4000):
            image = torch.ones(1, h, w)
            eraser(image)
            rows, columns = (image[0] == 0).any(1).nonzero(), (image[0] == 0).any(0).nonzero()
            if len(rows):
                boxes.append((int(rows[0]), int(columns[0]), len(rows), len(columns)))
        if not boxes:
            yield f"{w} {h} {p} 0 0 0 0 0 0 0 0 0"
            continue
        y, x, bh, bw = np.array(boxes, dtype=np.float64).T
        values = [bh * bw / (w * h), np.log(bh / bw), y / (h - bh), x / (w - bw)]
        stats = " ".join(f"{v.mean():.9g} {v.std():.9g}" for v in values)
        yield f"{w} {h} {p} {len(boxes) / 4000:.9g} {stats}"


def batch(count, w, h, seed):
    values = noise(count * 3 * h * w, seed).astype(np.float32) / np.float32(60) - np.float32(2)
    return torch.from_numpy(values.reshape(count, 3, h, w))


def mixing_lines():
    rng = random.Random(4)
    for n in range(60):
        count, w, h = rng.choice([2, 4, 6]), rng.randint(1, 9), rng.randint(1, 9)
        classes, smoothing = rng.randint(2, 7), rng.choice([0, 0.1, 0.3])
        cut, share = n % 2, rng.choice([0.0, 1.0, rng.random(), rng.random(), rng.random()])
        cy, cx, seed = rng.randrange(h), rng.randrange(w), rng.randrange(1000)
        labels = [rng.randrange(classes) for _ in range(count)]
        mixer = MIXUP.Mixup(0 if cut else 1, cut, label_smoothing=smoothing, num_classes=classes)
        MIXUP.np.random.beta = lambda *_: share
        centres = iter([cy, cx])
        MIXUP.np.random.randint = lambda *_, **__: next(centres)
        pixels, targets = mixer(batch(count, w, h, seed), torch.tensor(labels))
        sums = [zlib.crc32(t.contiguous().numpy().astype("<f4").tobytes()) for t in (pixels, targets)]
        yield (f"{cut} {share.hex()} {cx} {cy} {count} {w} {h} {classes} {float(smoothing).hex()} "
               f"{seed} {sums[0]:08x} {sums[1]:08x} {' '.join(map(str, labels))}")  # fmt: skip


def write(name, header, lines):
    (OUT / name).write_text(f"# {header}\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write("operations.txt", "operation argument kind width height seed crc",
          [line for operation in OPERATIONS for line in cases(*operation)])  # fmt: skip
    write("arguments.txt", "operation scale magnitude negative argument", argument_lines())
    write("tables.txt", "policy pair place operation scale probability magnitude", table_lines())
    write("policies.txt", f"policy operation per_image mean deviation, {DRAWS} draws", policy_lines())
    write("erasing.txt", "width height probability share, mean and deviation of area, log ratio, top,"
          " left, 4000 draws", erasing_lines())  # fmt: skip
    write("mixing.txt", "cutmix share x y count width height classes smoothing seed crc_pixels "
          "crc_targets labels", mixing_lines())  # fmt: skip

"""The published models at their real size: dvit against PyTorch, from image file to logits.

Makes random weights of every published shape, writes them in every container with the libraries
that people publish them with, lets dump_logits read file and images, and compares with published.py
in float64 after Pillow's preprocessing: pixels bit for bit, the patches kept at every stage, logits,
parameter counts. Where a kept set differs, the scores that were swapped must be closer than a tie's
bound, and logits are compared along dvit's choice. Some files go through `dvit convert` first and
must then open in PyTorch with the same numbers. Prints one table; exits 1 if a row fails.

usage: python parity.py DUMP_LOGITS DVIT FOLDER [PHOTOS]
    FOLDER  for the files, which are removed again
    PHOTOS  a folder of photographs; pictures are drawn where it does not exist
"""

import dataclasses
import math
import pathlib
import shutil
import subprocess
import sys

import numpy
import safetensors.torch
import torch
from PIL import Image, ImageDraw

import published
import published_files as files
from image_goldens import centre_crop, short_side

LOGIT_BOUND = 1e-4  # of the spread (maximum - minimum) of an image's logits
TIE = 1e-5  # of log p: closer scores may be kept either way
CHUNK = 5  # images that PyTorch works on at once
PHOTOS = 30  # of the full rows; rows of larger images take fewer
STAGES = (3, 6, 9)

# Shape, and its parameters without and with prediction modules as published.
MODELS = {
    "DeiT-Ti": (published.preset("deit-t"), 5717416),
    "DeiT-Ti dynamic": (published.preset("deit-t", STAGES), 5899582),
    "DeiT-S": (published.preset("deit-s"), 22050664),
    "DeiT-S dynamic": (published.preset("deit-s", STAGES), 22774414),
    "DeiT-256 dynamic": (published.preset("deit-256", STAGES), 10304942),
    "DeiT-B": (published.preset("deit-b"), 86567656),
    "DeiT-B dynamic": (published.preset("deit-b", STAGES), 89452846),
    "DeiT-B-384 dynamic": (published.preset("deit-b-384", STAGES), 89744686),
    "DeiT-S-384 dynamic": (published.preset("deit-s-384", STAGES), 22920334),
    "DeiT-S distilled": (published.preset("deit-s distilled"), 22436432),
    "DeiT-S distilled, dynamic": (published.preset("deit-s distilled", STAGES), 23160182),
    "DeiT-III-S": (dataclasses.replace(published.preset("deit-s"), layer_scale=True,
                                       position_of_prefix=False),
                   22059880),  # with a row of pos_embed for the class token, which dvit adds
    "ViT-S average pool": (dataclasses.replace(published.preset("deit-s"), mean_pool=True),
                           22050664),
    "LV-ViT-S": (published.preset("lvvit-s"), 26151824),
    "LV-ViT-S dynamic": (published.preset("lvvit-s", (4, 8, 12)), 26875574),
    "LV-ViT-M": (published.preset("lvvit-m"), 55830544),
    "LV-ViT-M dynamic": (published.preset("lvvit-m", (5, 10, 15)), 57115030),
    "LV-ViT-T": (published.preset("lvvit-t"), 8534720),
    "LV-ViT-L": (published.preset("lvvit-l"), 150120272),
    "HF ViT-S": (dataclasses.replace(published.preset("deit-s"), norm_eps=1e-12), 22050664),
    "HF DeiT-S distilled": (dataclasses.replace(published.preset("deit-s distilled"),
                                                norm_eps=1e-12), 22436432),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One file and how it is run."""

    model: str
    container: str
    write: object
    path: str
    dtype: torch.dtype = torch.float32
    photos: int = PHOTOS
    size: tuple = ()  # width, height where it is not the model's own
    prepare: str = "dynamicvit"  # that, "timm"; of a folder, what is described in it
    keep: float = 0.7
    flags: tuple = ()
    convert: str = ""  # name and
    convert_type: torch.dtype = torch.float32  # number type of what dvit makes of the file


def containers(model, dynamic=False):
    """The forms in which DeiT, timm and LV-ViT names occur."""
    training = files.dynamicvit if dynamic else files.deit
    return [Row(model, ".pth zip", training, "zip.pth"),
            Row(model, ".pth legacy", files.deit_legacy, "legacy.pth"),
            Row(model, "safetensors", files.safetensors_file, "model.safetensors")]


ROWS = [
    *containers("DeiT-Ti"), *containers("DeiT-Ti dynamic", True),
    *containers("DeiT-S"),
    Row("DeiT-S", "safetensors f16", files.safetensors_file, "m.safetensors", torch.float16),
    Row("DeiT-S", "safetensors bf16", files.safetensors_file, "m.safetensors", torch.bfloat16),
    Row("DeiT-S", ".pth f64, _orig_mod.", files.compiled, "compiled.pt", torch.float64),
    Row("DeiT-S", "state_dict_ema", files.averaged, "ema.pth.tar", flags=("--average",)),
    Row("DeiT-S", "safetensors", files.safetensors_file, "m.safetensors", prepare="timm",
        flags=("--preprocess", "timm")),
    Row("DeiT-S", "safetensors", files.safetensors_file, "m.safetensors", photos=4,
        size=(384, 384)),
    Row("DeiT-S", "safetensors", files.safetensors_file, "m.safetensors", photos=8,
        size=(160, 160)),
    *containers("DeiT-S dynamic", True),
    Row("DeiT-S dynamic", ".pth bf16, module.", files.parallel, "ddp.pth", torch.bfloat16),
    Row("DeiT-S dynamic", ".pth zip, keep 0.5", files.dynamicvit, "zip.pth", keep=0.5),
    Row("DeiT-S dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=8, size=(320, 192)),
    Row("DeiT-S dynamic", ".pth zip → .pth", files.dynamicvit, "zip.pth", convert="dvit.pth"),
    Row("DeiT-S dynamic", ".pth zip → safetensors bf16", files.dynamicvit, "zip.pth",
        convert="dvit.safetensors", convert_type=torch.bfloat16),
    Row("DeiT-S-384 dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=4),
    Row("DeiT-256 dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=4),
    Row("DeiT-B", ".pth zip", files.deit, "zip.pth", photos=4),
    Row("DeiT-B dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=4),
    Row("DeiT-B-384 dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=2),
    *containers("DeiT-S distilled"), *containers("DeiT-S distilled, dynamic", True),
    Row("DeiT-S distilled, dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=8,
        size=(192, 320)),
    Row("DeiT-S", "timm's folder", files.timm_folder, "timm", prepare="timm, mean 0.5"),
    Row("DeiT-III-S", "safetensors", files.safetensors_file, "m.safetensors", prepare="timm"),
    Row("ViT-S average pool", "safetensors", files.safetensors_file, "m.safetensors",
        prepare="timm"),
    Row("LV-ViT-S", ".pth.tar, bare", files.bare, "lvvit_s.pth.tar"),
    *containers("LV-ViT-S"), *containers("LV-ViT-S dynamic", True),
    Row("LV-ViT-S dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=8, size=(256, 160)),
    Row("LV-ViT-S", ".pth.tar → .pth f16", files.bare, "lvvit_s.pth.tar", convert="dvit.pth",
        convert_type=torch.float16),
    Row("LV-ViT-T", ".pth.tar, bare", files.bare, "lvvit_t.pth.tar", photos=8),
    Row("LV-ViT-M", ".pth.tar, bare", files.bare, "lvvit_m.pth.tar", photos=4),
    Row("LV-ViT-M dynamic", ".pth zip", files.dynamicvit, "zip.pth", photos=4),
    Row("LV-ViT-L", ".pth.tar, bare", files.bare, "lvvit_l.pth.tar", photos=2),
    Row("HF ViT-S", "safetensors", files.huggingface, "vit", prepare="huggingface"),
    Row("HF ViT-S", "two shards", files.huggingface_sharded, "sharded", prepare="huggingface"),
    Row("HF ViT-S", "pytorch_model.bin", lambda *a: files.huggingface_bin(*a, "vit"), "vit_bin",
        prepare="huggingface"),
    Row("HF DeiT-S distilled", "pytorch_model.bin", files.huggingface_bin, "deit_bin",
        prepare="huggingface"),
    Row("HF DeiT-S distilled", "pytorch_model.bin → .pth", files.huggingface_bin, "deit_bin",
        prepare="huggingface", convert="dvit.pth"),
]


# ---------------------------------------------------------------------------- weights


def random_weights(config):
    """Activations and scores with spread at any width: standard deviations by fan-in."""
    generator = torch.Generator().manual_seed(1)
    gains = {"qkv": 1.6, "proj": 0.5, "fc1": 1.0, "fc2": 0.7, "in_conv": 1.4, "out_conv": 1.6,
             "head": 2.0, "patch_embed.proj": 0.8, "patch_embed.conv": 1.4}
    params = {}
    for name, shape in published.parameter_shapes(config).items():
        value = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            scale = "norm" in name or ".bn" in name or "in_conv.0" in name
            one = name.endswith(".weight") and scale or name.endswith("gamma")
            params[name] = value * 0.15 + (1.0 if one else 0.0)
        elif name in ("cls_token", "dist_token", "pos_embed"):
            params[name] = value * (0.8 if name == "pos_embed" else 0.2)
        else:
            gain = [g for part, g in gains.items() if part in name][-1]
            params[name] = value * (gain / math.prod(shape[1:]) ** 0.5)
    for name, shape in published.statistics_shapes(config).items():
        value = torch.rand(shape, generator=generator)
        params[name] = value + 0.5 if name.endswith("var") else value * 0.2
        if name.endswith("tracked"):
            params[name] = torch.tensor(1000)
    return params


# ---------------------------------------------------------------------------- images


def draw_pictures(folder):
    """Where there are no photographs: discs and noise on gradients, of several shapes."""
    rng = numpy.random.default_rng(1)
    paths = []
    for i, (width, height) in enumerate([(500, 375), (375, 500), (640, 480), (300, 300),
                                         (1024, 400), (231, 517), (256, 256), (90, 120)]):
        y, x = numpy.mgrid[0:height, 0:width]
        base = numpy.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1)
        base = (base + rng.integers(-20, 20, base.shape)).clip(0, 255).astype(numpy.uint8)
        image = Image.fromarray(base)
        for _ in range(12):
            cx, cy, r = rng.integers(0, width), rng.integers(0, height), rng.integers(5, 90)
            colour = tuple(int(c) for c in rng.integers(0, 256, 3))
            ImageDraw.Draw(image).ellipse((cx - r, cy - r, cx + r, cy + r), fill=colour)
        paths.append(folder / f"drawn_{i}.jpg")
        image.save(paths[-1], quality=92)
    return paths


def make_odd_ones(folder, path):
    """One picture in forms that data sets hold too: Pillow's conversions must be dvit's."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((400, 400))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: data sets ignore it, and so do both sides here
    forms = {"cmyk.jpg": (image.convert("CMYK"), {}), "grey.png": (image.convert("L"), {}),
             "palette.png": (image.quantize(64), {}), "alpha.webp": (image.convert("RGBA"),
                                                                     {"lossless": True}),
             "progressive.jpg": (image, {"progressive": True}), "exif.jpg": (image, {"exif": exif})}
    for name, (variant, options) in forms.items():
        variant.save(folder / name, **options)
    return [folder / name for name in forms]


def find_images(folder, photos):
    paths = sorted(photos.iterdir()) if photos and photos.is_dir() else draw_pictures(folder)
    odd = make_odd_ones(folder, paths[0])
    return odd + paths


def prepare(path, row, size):
    """The pixels [3][height][width] that the network sees, as float32."""
    image, (width, height), side = Image.open(path).convert("RGB"), size, max(size)
    mean, std = files.IMAGENET
    if row.prepare == "huggingface":
        deit, bicubic = row.write is files.huggingface_bin, "bin" in row.path
        sides = (side * 8 // 7, side * 8 // 7) if deit else (width, height)
        kernel = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
        image = centre_crop(image.resize(sides, kernel), width, height)
        mean, std = files.IMAGENET if bicubic else files.HALF
    elif row.prepare.startswith("timm"):
        mean, std = files.HALF if row.write is files.timm_folder else files.IMAGENET
        image = short_side(image, side if side >= 384 else int(side / 0.9))
        image = centre_crop(image, width, height)
    elif side >= 384:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    else:
        image = centre_crop(short_side(image, int(side / 0.875)), width, height)
    x = numpy.asarray(image, dtype=numpy.float32) / numpy.float32(255)
    x = (x - numpy.array(mean, dtype=numpy.float32)) / numpy.array(std, dtype=numpy.float32)
    return numpy.ascontiguousarray(x.transpose(2, 0, 1))


# ---------------------------------------------------------------------------- both sides


def run(*command):
    command = [str(c) for c in command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")


def convert(dvit, row, path, state, out):
    """Lets dvit rewrite the file, and opens that as people do. Its tensors must be `state`'s, with
    DeiT's or LV-ViT's names, rounded to the new type."""
    names = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
    run(dvit, "convert", path, out, "--dtype", names[row.convert_type], "--quiet")
    if out.suffix == ".pth":
        found = torch.load(out, weights_only=True)["model"]
    else:
        found = safetensors.torch.load_file(out)
    expected = {n: t.to(row.convert_type) for n, t in state.items() if not n.endswith("tracked")}
    if found.keys() != expected.keys():
        raise RuntimeError(f"converted names differ: {sorted(found.keys() ^ expected.keys())[:4]}")
    wrong = [n for n, t in expected.items() if not torch.equal(t, found[n])]
    if wrong:
        raise RuntimeError(f"converted values differ: {wrong[:4]}")
    return found


def run_dvit(dump, row, path, images, out):
    options = [*row.flags]
    options += ["--image", f"{row.size[0]}x{row.size[1]}"] if row.size else []
    options += ["--keep", row.keep] if row.keep != 0.7 else []
    run(dump, path, *images, "--out", out, *options)
    with safetensors.safe_open(out, "pt") as file:
        return {n: file.get_tensor(n) for n in file.keys()}, int(file.metadata()["parameters"])


def oracle_weights(config, state, row):
    """What the file holds, in float64, for the grid that the row asks for."""
    params = {n: t.double() if t.is_floating_point() else t for n, t in state.items()}
    if row.size:
        old = (config.image_height // config.patch, config.image_width // config.patch)
        new = (row.size[1] // config.patch, row.size[0] // config.patch)
        prefix = config.prefix if config.position_of_prefix else 0
        params["pos_embed"] = published.interpolate_position(params["pos_embed"], prefix, old, new)
        config = dataclasses.replace(config, image_width=row.size[0], image_height=row.size[1])
    return dataclasses.replace(config, keep=row.keep), params


def widest_swap(trace, stage, kept):
    """Of the scores that differ in being kept: how far the best that went lies above the worst that
    stayed, per image. 0 where the sets are equal."""
    score, present = trace[f"stage.{stage}.log_p"][..., 0], trace[f"present.{stage}"]
    gaps = []
    for b, chosen in enumerate(kept):
        stays = torch.isin(present[b], chosen)
        gaps.append((score[b][~stays].max() - score[b][stays].min()).item())
    return [max(0.0, gap) for gap in gaps]


class Oracle:
    """PyTorch's answers to one set of weights and images, kept for the next container."""

    def __init__(self):
        self.key, self.traces = None, {}

    def trace(self, key, first, run):
        if key != self.key:
            self.key, self.traces = key, {}
        if first not in self.traces:
            self.traces[first] = {n: t for n, t in run().items()
                                  if n.startswith(("stage", "present", "logits"))}
        return self.traces[first]


def compare(oracle, key, config, params, pixels, answer):
    """Worst logit error over spread, number of cuts where dvit chose otherwise, worst swap."""
    worst, swap, ties = 0.0, 0.0, 0
    for first in range(0, len(pixels), CHUNK):
        part = slice(first, first + CHUNK)
        chunk = pixels[part].double()
        trace = oracle.trace(key, first, lambda: published.forward(params, config, chunk))
        forced = [answer[f"kept.{s}"][part].long() for s in range(len(config.stages))]
        if any(not torch.equal(k, trace[f"stage.{s}.kept"]) for s, k in enumerate(forced)):
            trace = published.forward_pruned(params, config, chunk, forced)
            gaps = [gap for s, k in enumerate(forced) for gap in widest_swap(trace, s, k)]
            ties += sum(gap > 0 for gap in gaps)
            swap = max(swap, *gaps)
        spread = trace["logits"].amax(1) - trace["logits"].amin(1)
        error = (answer["logits"][part].double() - trace["logits"]).abs().amax(1) / spread
        worst = max(worst, error.nan_to_num(torch.inf).max().item())
    return worst, ties, swap


def judge(row, programs, folder, images, oracle):
    """The row's cells, and whether it passes."""
    own, expected = MODELS[row.model]
    images, shape = images[:row.photos], row.size or (own.image_width, own.image_height)
    state = files.stored(random_weights(own), row.dtype)
    path = row.write(state, own, str(folder / row.path))
    if row.convert:
        state = convert(programs[1], row, path, state, folder / row.convert)
        path = folder / row.convert
    answer, parameters = run_dvit(programs[0], row, path, images, folder / "answer.safetensors")
    pixels = numpy.stack([prepare(p, row, shape) for p in images])
    same_pixels = numpy.array_equal(pixels, answer["pixels"].numpy())
    config, params = oracle_weights(own, state, row)
    expected += (config.patches - own.patches) * config.dim  # rows of pos_embed
    key = (row.model, row.dtype, row.convert_type, shape, row.prepare, row.keep,
           row.prepare == "huggingface" and row.path)
    worst, ties, swap = compare(oracle, key, config, params, torch.from_numpy(pixels), answer)
    kept = "equal" if not ties else f"equal but {ties} ties" if swap <= TIE else "DIFFER"
    good = worst <= LOGIT_BOUND and swap <= TIE and same_pixels and parameters == expected
    return [f"{shape[0]}×{shape[1]} {row.prepare}", len(images), f"{worst:.1e}",
            "same bits" if same_pixels else "DIFFER", kept if config.stages else "–",
            f"{parameters:,}" + ("" if parameters == expected else f", not {expected:,}")], good


def print_row(cells):
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def main():
    programs, folder = sys.argv[1:3], pathlib.Path(sys.argv[3])
    photos = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    images, oracle, failed = find_images(folder / "images", photos), Oracle(), 0
    print_row(["model", "container", "input", "images", "max Δ / spread", "pixels", "kept sets",
               "parameters"])
    print_row(["---"] * 8)
    for row in ROWS:
        work = folder / "models"
        work.mkdir(exist_ok=True)
        try:
            cells, good = judge(row, programs, work, images, oracle)
        except RuntimeError as problem:
            cells, good = ["failed: " + str(problem).replace("\n", " ")] + [""] * 5, False
        failed += not good
        print_row([row.model, row.container, *cells])
        shutil.rmtree(work)
    print(f"\n{len(ROWS) - failed} rows passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""Compares dvit with Pillow, bit for bit, on whole collections of pictures.

For each file: the decoded pixels, stored and turned as EXIF says; then what the network gets, by the
presets `dynamicvit` and `timm` at 224 and 384 and by Hugging Face's squash at 224, also of the
turned picture. The pictures are those of ../shared/data/photos, the CIFAR-10 images of
../shared/data/cifar10.tar.gz (spread over all of them), the files of tests/golden/image, and
photographs written anew in other ways: CMYK, grey, palette, 16 bits, alpha, progressive, all
subsamplings, all orientations, and as PNG, WebP, BMP and PNM.

Differences that are meant are not hidden but named: a 16-bit grey PNG or PGM has its high byte where
Pillow saturates.

Usage: python tools/reference/check_photos.py BUILD/tests/pixel_dump [CIFAR_IMAGES]
"""
import argparse
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings

import numpy as np
import PIL
from PIL import Image, ImageOps

from image_goldens import orientation_tag, prepare

assert PIL.__version__ == "12.0.0", PIL.__version__
SHARED = pathlib.Path("../shared/data")
WAYS = [("dynamicvit", 224), ("dynamicvit", 384), ("timm", 224), ("timm", 384), ("squash", 224)]
HIGH_BYTE = {"png_grey16.png", "png_adam7_grey16.png", "pnm_p5_wide.pgm"}  # deliberate differences
CHUNK = 100  # files a call


def dump(tool, way, side, turn, paths):
    done = subprocess.run([tool, way, str(side), turn, *paths], capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return done.stdout


def squash(image, side):
    image = image.resize((side, side), Image.Resampling.BILINEAR)
    scaled = (np.asarray(image).astype(np.float64) * (1 / 255)).astype(np.float32)
    x = (scaled - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(x.transpose(2, 0, 1)).astype("<f4").tobytes()


def pillow(path, turned):
    with Image.open(path) as image:
        if turned:
            image = ImageOps.exif_transpose(image)
        return image.convert("RGB")


class Score:
    """Files compared and values that differ, by kind of comparison."""

    def __init__(self):
        self.files, self.values, self.different, self.named = {}, {}, {}, []

    def add(self, kind, path, ours, theirs, dtype):
        a, b = np.frombuffer(ours, dtype), np.frombuffer(theirs, dtype)
        wrong = a.size if a.size != b.size else int(np.count_nonzero(a != b))
        self.files[kind] = self.files.get(kind, 0) + 1
        self.values[kind] = self.values.get(kind, 0) + b.size
        self.different[kind] = self.different.get(kind, 0) + wrong
        if wrong:
            self.named.append(f"{kind}: {path}: {wrong} of {b.size} values differ")


def check_chunk(tool, score, paths):
    for turn in ("stored", "turned"):
        images = [pillow(path, turn == "turned") for path in paths]
        data, at = dump(tool, "decode", 0, turn, paths), 0
        for path, image in zip(paths, images):
            width, height = struct.unpack_from("=ii", data, at)
            end = at + 8 + 3 * width * height
            expected = struct.pack("=ii", *image.size) + image.tobytes()
            score.add(f"decoded, {turn}", path, data[at:end], expected, np.uint8)
            at = end
        for way, side in WAYS:
            data, size = dump(tool, way, side, turn, paths), 12 * side * side
            for i, (path, image) in enumerate(zip(paths, images)):
                expected = squash(image, side) if way == "squash" else prepare(
                    image, way, side, side)  # fmt: skip
                score.add(f"{way} {side}, {turn}", path, data[i * size : (i + 1) * size], expected,
                          np.uint32)  # fmt: skip


def check(tool, title, paths):
    score = Score()
    paths = [str(path) for path in paths]
    for first in range(0, len(paths), CHUNK):
        check_chunk(tool, score, paths[first : first + CHUNK])
    different = sum(score.different.values())
    print(f"{title}: {len(paths)} files, {sum(score.files.values())} comparisons, "
          f"{sum(score.values.values())} values, {different} differ")  # fmt: skip
    for line in score.named[:20]:
        print("  " + line)
    return different


def written_anew(photos, folder):
    """A few photographs in every way of the list."""
    for photo in photos:
        rgb, name = pillow(photo, True), folder / photo.stem
        grey, inks = rgb.convert("L"), rgb.convert("CMYK")
        alpha = rgb.copy()
        alpha.putalpha(grey)
        for way, image, kind, options in [
            ("cmyk", inks, "JPEG", {}),
            ("cmyk_progressive", inks, "JPEG", {"progressive": True}),
            ("grey", grey, "JPEG", {}),
            ("grey_progressive", grey, "JPEG", {"progressive": True}),
            ("420", rgb, "JPEG", {"subsampling": 2}),
            ("422", rgb, "JPEG", {"subsampling": 1}),
            ("444", rgb, "JPEG", {"subsampling": 0}),
            ("low", rgb, "JPEG", {"quality": 5, "progressive": True}),
            ("high", rgb, "JPEG", {"quality": 100, "subsampling": 2}),
            ("rgb", rgb, "JPEG", {"keep_rgb": True}),
            ("lossy", rgb, "WEBP", {"quality": 70}),
            ("alpha", alpha, "WEBP", {"quality": 70}),
            ("lossless", rgb, "WEBP", {"lossless": True}),
            ("rgb", rgb, "PNG", {}),
            ("alpha", alpha, "PNG", {}),
            ("grey_alpha", alpha.convert("LA"), "PNG", {}),
            ("palette", rgb.quantize(200), "PNG", {}),
            ("palette4", rgb.quantize(16), "PNG", {"bits": 4}),
            ("bits", rgb.convert("1"), "PNG", {}),
            ("rgb", rgb, "BMP", {}),
            ("palette", rgb.quantize(200), "BMP", {}),
            ("rgb", rgb, "PPM", {}),
            ("grey", grey, "PPM", {}),
        ]:  # fmt: skip
            image.save(f"{name}_{way}.{kind.lower()}", kind, **options)
        for value in range(1, 9):
            rgb.save(f"{name}_exif{value}.jpeg", "JPEG", exif=orientation_tag(value))
    return sorted(folder.iterdir())


def cifar(count, folder):
    with tarfile.open(SHARED / "cifar10.tar.gz") as archive:
        pictures = [member for member in archive if member.isfile()
                    and member.name.lower().endswith((".png", ".jpg", ".jpeg"))]  # fmt: skip
        for i, member in enumerate(pictures[:: max(1, len(pictures) // count)][:count]):
            suffix = pathlib.Path(member.name).suffix
            (folder / f"{i:05}{suffix}").write_bytes(archive.extractfile(member).read())
    return sorted(folder.iterdir())


def main():
    warnings.simplefilter("ignore")  # Pillow's, on broken EXIF
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("cifar_images", nargs="?", type=int, default=600)
    chosen = parser.parse_args()
    different = 0
    golden = sorted(p for p in pathlib.Path("tests/golden/image").iterdir()
                    if p.suffix != ".txt" and p.name not in HIGH_BYTE)  # fmt: skip
    different += check(chosen.tool, "golden files", golden)
    photos = sorted((SHARED / "photos").glob("*"))
    with tempfile.TemporaryDirectory() as scratch:
        if photos:
            different += check(chosen.tool, "photographs", photos)
            folder = pathlib.Path(scratch) / "anew"
            folder.mkdir()
            different += check(chosen.tool, "photographs written anew",
                               written_anew(photos[::12], folder))  # fmt: skip
        if (SHARED / "cifar10.tar.gz").exists():
            folder = pathlib.Path(scratch) / "cifar"
            folder.mkdir()
            different += check(chosen.tool, "CIFAR-10", cifar(chosen.cifar_images, folder))
    print("equal" if different == 0 else f"{different} values differ")
    sys.exit(different != 0)


if __name__ == "__main__":
    main()

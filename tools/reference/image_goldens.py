#!/usr/bin/env python3
"""Writes tests/golden/image: small image files, and what Pillow 12 makes of them.

Tables hold one case a line, with the CRC-32 of the expected bytes. Inputs of resize, crop and
preprocessing are not stored: pixels(width, height, seed) below is repeated in the C tests.
Deliberate differences from Pillow (16-bit grey keeps its high byte, or is scaled in PNM) are
computed here from the samples.

Usage: python tools/reference/image_goldens.py   (in the repository's root)
"""
import io
import pathlib
import random
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

assert PIL.__version__ == "12.0.0", PIL.__version__
OUT = pathlib.Path("tests/golden/image")


def noise(count, seed):
    """A hash of each index; the same in tests/test_image_util.c."""
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + seed * 40503) & 0xFFFFFFFF
    x ^= x >> np.uint64(15)
    x = (x * 2246822519) & 0xFFFFFFFF
    x ^= x >> np.uint64(13)
    return (x & 255).astype(np.uint8)


def pixels(width, height, seed):
    return noise(width * height * 3, seed).reshape(height, width, 3)


def crc(data):
    return f"{zlib.crc32(bytes(data)):08x}"


# ---- resize ----

FILTERS = {0: Image.Resampling.BILINEAR, 1: Image.Resampling.BICUBIC}


def resize_sizes():
    fixed = [
        (1, 1, 1, 1), (1, 1, 7, 5), (1, 9, 1, 3), (1, 9, 4, 9), (1, 64, 3, 7), (64, 1, 7, 3),
        (9, 1, 3, 1), (7, 5, 1, 1), (5, 7, 5, 7), (5, 7, 5, 3), (5, 7, 2, 7), (300, 2, 1, 1),
        (2, 300, 2, 299), (100, 100, 101, 99), (64, 48, 32, 24), (32, 24, 64, 48),
        (333, 250, 224, 224), (250, 333, 256, 340), (100, 30, 30, 100), (3, 3, 200, 200),
        (500, 375, 341, 256), (37, 211, 1, 211), (37, 211, 37, 1), (2, 2, 3, 3),
    ]  # fmt: skip
    rng = random.Random(1)
    drawn = [tuple(rng.randint(1, 120) for _ in range(4)) for _ in range(88)]
    return fixed + drawn


def resize_table():
    lines = []
    for i, (w, h, to_w, to_h) in enumerate(resize_sizes()):
        image = Image.fromarray(pixels(w, h, i))
        for number, kernel in FILTERS.items():
            result = image.resize((to_w, to_h), kernel)
            lines.append(f"{number} {w} {h} {i} {to_w} {to_h} {crc(result.tobytes())}")
    write_table("resize.txt", "filter width height seed to_width to_height crc", lines)


def write_table(name, header, lines):
    (OUT / name).write_text(f"# {header}\n" + "\n".join(lines) + "\n")


# ---- preprocessing, as torchvision orders it ----


def short_side(image, side):
    w, h = image.size
    if w <= h:
        size = (side, int(side * h / w))
    else:
        size = (int(side * w / h), side)
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def centre_crop(image, crop_w, crop_h):
    w, h = image.size
    left, top = max(0, (crop_w - w) // 2), max(0, (crop_h - h) // 2)
    right, bottom = max(0, (crop_w - w + 1) // 2), max(0, (crop_h - h + 1) // 2)
    padded = Image.new("RGB", (w + left + right, h + top + bottom))
    padded.paste(image, (left, top))
    x, y = round((padded.width - crop_w) / 2.0), round((padded.height - crop_h) / 2.0)
    return padded.crop((x, y, x + crop_w, y + crop_h))


def prepare(image, preset, w, h):
    side = max(w, h)
    if preset == "dynamicvit" and side >= 384:
        image = image.resize((w, h), Image.Resampling.BICUBIC)
    elif preset == "dynamicvit":
        resized = int(side / 0.875) if side > 32 else side
        image = centre_crop(short_side(image, resized), w, h)
    elif preset == "timm":
        image = centre_crop(short_side(image, side if side >= 384 else int(side / 0.9)), w, h)
    x = np.asarray(image, dtype=np.float32) / np.float32(255)
    x = x - np.array([0.485, 0.456, 0.406], dtype=np.float32)
    x = x / np.array([0.229, 0.224, 0.225], dtype=np.float32)
    assert x.dtype == np.float32
    return np.ascontiguousarray(x.transpose(2, 0, 1)).astype("<f4").tobytes()


def preprocess_table():
    lines = []
    sizes = [(500, 375), (375, 500), (64, 64), (33, 90), (1, 1), (224, 224), (257, 301), (32, 32),
             (31, 40), (3, 200)]  # fmt: skip
    inputs = [("dynamicvit", 224, 224), ("timm", 224, 224), ("dynamicvit", 32, 32),
              ("dynamicvit", 28, 28), ("dynamicvit", 384, 384), ("timm", 384, 384),
              ("dynamicvit", 64, 64), ("timm", 64, 64), ("dynamicvit", 96, 64),
              ("timm", 40, 72)]  # fmt: skip
    for seed, (w, h) in enumerate(sizes):
        image = Image.fromarray(pixels(w, h, seed))
        for preset, to_w, to_h in inputs:
            result = crc(prepare(image, preset, to_w, to_h))
            lines.append(f"{preset} {w} {h} {seed} {to_w} {to_h} {result}")
    image = Image.fromarray(pixels(32, 24, 99))
    lines.append(f"none 32 24 99 32 24 {crc(prepare(image, 'none', 32, 24))}")
    write_table("preprocess.txt", "preset width height seed to_width to_height crc", lines)


def crop_table():
    lines = []
    rng = random.Random(2)
    cases = [(10, 10, 4, 4), (11, 11, 4, 4), (13, 9, 8, 8), (5, 5, 8, 8), (5, 20, 8, 8),
             (20, 5, 8, 9), (8, 8, 8, 8), (1, 1, 4, 3)]  # fmt: skip
    cases += [tuple(rng.randint(1, 40) for _ in range(4)) for _ in range(92)]
    for seed, (w, h, to_w, to_h) in enumerate(cases):
        result = centre_crop(Image.fromarray(pixels(w, h, seed)), to_w, to_h)
        lines.append(f"{w} {h} {seed} {to_w} {to_h} {crc(result.tobytes())}")
    write_table("crop.txt", "width height seed to_width to_height crc", lines)


# ---- decoding ----

CASES = []  # (file name, orientation, expected upright RGB or None for Pillow's)


def add(name, data, expected=None):
    (OUT / name).write_bytes(data)
    CASES.append((name, expected))


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(w=23, h=17):
    """Smooth with some noise: compresses, and still has every kind of edge."""
    y, x = np.mgrid[0:h, 0:w]
    smooth = np.stack([x * 255 // w, y * 255 // h, (x + y) * 255 // (w + h)], -1)
    return Image.fromarray((smooth * 3 // 4 + pixels(w, h, 7) // 4).astype(np.uint8))


def orientation_tag(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def resampled(data, factors):
    """The JPEG with other sampling factors of its first component."""
    at = data.index(b"\xff\xc0")
    return data[: at + 11] + bytes([factors]) + data[at + 12 :]


def jpegs():
    rgb = picture()
    for name, options in {
        "420": {"subsampling": 2}, "422": {"subsampling": 1}, "444": {"subsampling": 0},
        "progressive": {"progressive": True}, "rgb": {"keep_rgb": True},
        "optimised": {"optimize": True, "quality": 30},
    }.items():  # fmt: skip
        add(f"jpeg_{name}.jpg", encoded(rgb, "JPEG", **options))
    for name, image in {"grey": rgb.convert("L"), "restart": rgb}.items():
        rows = 1 if name == "restart" else 0
        add(f"jpeg_progressive_{name}.jpg",
            encoded(image, "JPEG", progressive=True, restart_marker_rows=rows))  # fmt: skip
    # The same blocks under other sampling factors: 8 of 16×8 pixels are 8 of 8×16, 4 of 16×16 are
    # 4 of 32×8 or of 8×32.
    for name, subsampling, factors in [("440", 1, 0x12), ("411", 2, 0x41), ("410", 2, 0x14)]:
        add(f"jpeg_{name}.jpg", resampled(encoded(picture(32, 32), "JPEG",
            subsampling=subsampling), factors))  # fmt: skip
    add("jpeg_restart.jpg", encoded(rgb, "JPEG", restart_marker_rows=1))
    add("jpeg_trailing.jpg", encoded(rgb, "JPEG") + b"trailing bytes")
    add("jpeg_grey.jpg", encoded(rgb.convert("L"), "JPEG"))
    inks = Image.fromarray(noise(23 * 17 * 4, 3).reshape(17, 23, 4) // 3, "CMYK")
    cmyk = encoded(inks, "JPEG", quality=90)
    add("jpeg_cmyk.jpg", cmyk)
    add("jpeg_progressive_cmyk.jpg", encoded(inks, "JPEG", progressive=True))
    adobe = cmyk.index(b"\xff\xee")
    add("jpeg_ycck.jpg", cmyk[: adobe + 15] + b"\x02" + cmyk[adobe + 16 :])
    add("jpeg_cmyk_plain.jpg", cmyk[:adobe] + cmyk[adobe + 16 :])
    for value in range(1, 9):
        add(f"exif_{value}.jpg", encoded(picture(11, 6), "JPEG", exif=orientation_tag(value)))
    big_endian = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    broken = b"Exif\0\0MM\0*\0\xff\xff\xff\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    add("exif_broken.jpg", encoded(picture(11, 6), "JPEG", exif=broken))
    add("exif_progressive_cmyk.jpg",
        encoded(inks, "JPEG", progressive=True, exif=orientation_tag(6)))  # fmt: skip
    add("exif_big_endian.jpg", encoded(picture(11, 6), "JPEG", exif=big_endian))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_rows(samples, depth):
    """Filter type 0 before each row; samples [height][values] of `depth` bits."""
    rows = b""
    for row in samples:
        if depth == 16:
            data = np.asarray(row, dtype=">u2").tobytes()
        else:
            bits = np.asarray(row, dtype=np.uint8)[:, None] >> np.arange(depth)[::-1] & 1
            data = np.packbits(bits.reshape(-1)).tobytes()
        rows += b"\0" + data
    return rows


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2)]  # fmt: skip


def png(samples, depth, colour, extra=b"", interlaced=False, end=True):
    """samples [height][width][channels]; extra: chunks before IDAT."""
    h, w = samples.shape[:2]
    header = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced))
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    rows = b""
    for x, y, dx, dy in passes:
        part = samples[y::dy, x::dx]
        if part.size:
            rows += pack_rows(part.reshape(part.shape[0], -1), depth)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + (chunk(b"IEND", b"") if end else b"")


def sample_array(channels, depth, seed, w=13, h=9):
    values = noise(w * h * channels * 2, seed).astype(np.uint16)
    values = values[0::2] * 256 + values[1::2]
    return (values >> (16 - depth)).reshape(h, w, channels)


def pngs():
    high = lambda s: np.repeat((s[..., :1] >> 8).astype(np.uint8), 3, axis=2)
    palette = noise(768, 5).tobytes()
    for depth in (1, 2, 4, 8):
        add(f"png_grey{depth}.png", png(sample_array(1, depth, depth), depth, 0))
        colours = chunk(b"PLTE", palette[: 3 << depth])
        add(f"png_palette{depth}.png", png(sample_array(1, depth, depth), depth, 3, colours))
    grey16 = sample_array(1, 16, 20)
    add("png_grey16.png", png(grey16, 16, 0), high(grey16))
    for name, channels, depth, colour in [
        ("rgb8", 3, 8, 2), ("rgb16", 3, 16, 2), ("grey_alpha8", 2, 8, 4),
        ("grey_alpha16", 2, 16, 4), ("rgba8", 4, 8, 6), ("rgba16", 4, 16, 6),
    ]:  # fmt: skip
        add(f"png_{name}.png", png(sample_array(channels, depth, 30), depth, colour))
    three = chunk(b"PLTE", palette[:9])
    add("png_palette_short.png", png(sample_array(1, 4, 6), 4, 3, three))
    add("png_palette_trns.png", png(sample_array(1, 2, 6), 2, 3,
        chunk(b"PLTE", palette[:12]) + chunk(b"tRNS", b"\0\x80\xff")))  # fmt: skip
    add("png_grey_trns.png", png(sample_array(1, 4, 6), 4, 0, chunk(b"tRNS", b"\0\x05")))
    add("png_rgb_trns.png", png(sample_array(3, 8, 6), 8, 2, chunk(b"tRNS", b"\0\1\0\2\0\3")))
    add("png_gamma.png", png(sample_array(3, 8, 6), 8, 2, chunk(b"gAMA", b"\0\0\x10\0")))
    add("png_adam7_rgb.png", png(sample_array(3, 8, 8), 8, 2, interlaced=True))
    add("png_adam7_palette.png", png(sample_array(1, 4, 8), 4, 3, chunk(b"PLTE", palette[:48]),
        interlaced=True))  # fmt: skip
    add("png_adam7_grey1.png", png(sample_array(1, 1, 8), 1, 0, interlaced=True))
    add("png_adam7_rgba16.png", png(sample_array(4, 16, 8), 16, 6, interlaced=True))
    add("png_adam7_grey16.png", png(grey16, 16, 0, interlaced=True), high(grey16))
    add("png_no_end.png", png(sample_array(3, 8, 9), 8, 2, end=False))
    add("png_filters.png", encoded(picture(), "PNG"))
    add("exif_png.png", encoded(picture(11, 6), "PNG", exif=orientation_tag(6)))


def webps():
    rgba = picture().convert("RGBA")
    rgba.putalpha(picture().convert("L"))
    add("webp_lossy.webp", encoded(picture(), "WEBP", quality=80))
    add("webp_lossless.webp", encoded(picture(), "WEBP", lossless=True))
    add("webp_alpha.webp", encoded(rgba, "WEBP", quality=80))
    add("webp_alpha_lossless.webp", encoded(rgba, "WEBP", lossless=True, exact=True))
    add("exif_webp.webp", encoded(picture(11, 6), "WEBP", exif=orientation_tag(8)))


def gif(screen, box, palette=None, own=None, transparent=None, index=None, back=3):
    """One frame that need not fill the screen; codes of 9 bits, so no strings are used."""
    (width, height), (x, y, w, h) = screen, box

    def table(colours):
        return (0x80 | (len(colours) // 3).bit_length() - 2, colours) if colours else (0, b"")

    bits = 0
    codes = [c for i, v in enumerate(index) for c in ((256, v) if i % 254 == 0 else (v,))] + [257]
    for i, code in enumerate(codes):
        bits |= code << (9 * i)
    stored = bits.to_bytes((9 * len(codes) + 7) // 8, "little")
    flags, colours = table(palette)
    data = b"GIF89a" + struct.pack("<HHBBB", width, height, flags, back, 0) + colours
    if transparent is not None:
        data += b"!\xf9\4" + bytes([1, 0, 0, transparent]) + b"\0"
    flags, colours = table(own)
    data += b"," + struct.pack("<HHHHB", x, y, w, h, flags) + colours + b"\x08"
    for i in range(0, len(stored), 255):
        data += bytes([len(stored[i : i + 255])]) + stored[i : i + 255]
    return data + b"\0;"


def gifs():
    turned = [picture().transpose(Image.Transpose.ROTATE_180)]
    add("gif_still.gif", encoded(picture(), "GIF", interlace=0))
    add("gif_interlaced.gif", encoded(picture(), "GIF", interlace=1))
    add("gif_grey.gif", encoded(picture().convert("L"), "GIF"))
    add("gif_transparent.gif", encoded(picture().quantize(16), "GIF", transparency=3))
    add("gif_animated.gif",
        encoded(picture(), "GIF", save_all=True, append_images=turned, duration=50))  # fmt: skip
    colours = bytes([10, 20, 30, 40, 50, 60, 70, 80, 90, 200, 100, 50])
    ramp = bytes(v for i in range(4) for v in (i, i, i))
    part, index = ((13, 9), (3, 2, 4, 5)), [i * 7 % 5 for i in range(20)]  # 4: beyond the palette
    add("gif_part.gif", gif(*part, colours, index=index))
    add("gif_part_transparent.gif", gif(*part, colours, transparent=2, index=index))
    add("gif_part_beyond.gif", gif(*part, colours, transparent=99, index=index))
    add("gif_own_palette.gif", gif(*part, colours, own=colours[::-1], index=index))
    add("gif_own_ramp.gif", gif(*part, colours, own=ramp, index=index))
    add("gif_ramp.gif", gif(*part, ramp, index=index))
    add("gif_no_palette.gif", gif(*part, index=index))
    add("gif_screen_grows.gif", gif((3, 2), (2, 1, 4, 5), colours, index=index))


def webp_animations():
    rgba = picture().convert("RGBA")
    rgba.putalpha(picture().convert("L"))
    options = dict(save_all=True, append_images=[picture().transpose(Image.Transpose.ROTATE_180)])
    add("webp_animated.webp", encoded(picture(), "WEBP", lossless=True, **options))
    add("webp_animated_alpha.webp", encoded(rgba, "WEBP", quality=80, exact=True, **options))
    # The first frame away from the corner: its place is in ANMF's first six bytes, halved.
    options = dict(save_all=True, append_images=[picture(12, 10).convert("L").convert("RGB")])
    data = bytearray(encoded(picture(12, 10), "WEBP", lossless=True, **options))
    data[24:30] = (28).to_bytes(3, "little") + (18).to_bytes(3, "little")
    at = data.index(b"ANMF") + 8
    data[at : at + 6] = (3).to_bytes(3, "little") + (2).to_bytes(3, "little")
    add("webp_animated_part.webp", bytes(data))


def pnms():
    grey, rgb = noise(35, 1), noise(105, 2)
    text = lambda values: " ".join(map(str, values)).encode() + b"\n"
    add("pnm_p1.pbm", b"P1\n# bits\n7 5\n" + text(grey & 1))
    add("pnm_p1_dense.pbm", b"P1 7 5\n" + text(grey & 1).replace(b" ", b""))
    add("pnm_p2.pgm", b"P2\n7 5 # size\n255\n" + text(grey))
    add("pnm_p2_max31.pgm", b"P2 7 5 31\n" + text(grey & 31))
    add("pnm_p3.ppm", b"P3\n7 5\n200\n# samples\n" + text(rgb % 201))
    add("pnm_p4.pbm", b"P4\n13 5\n" + noise(10, 3).tobytes())
    add("pnm_p5.pgm", b"P5\n7 5\n255\n" + grey.tobytes())
    add("pnm_p5_max100.pgm", b"P5\n# a\n#b\n7 5\n100\n" + (grey % 120).astype(np.uint8).tobytes())
    add("pnm_p6.ppm", b"P6 7 5 255\n" + rgb.tobytes())
    add("pnm_p6_max6.ppm", b"P6\n7 5\n6\n" + (rgb % 7).astype(np.uint8).tobytes())
    wide = noise(210, 4).tobytes()
    add("pnm_p6_wide.ppm", b"P6\n7 5\n65535\n" + wide)
    add("pnm_p6_max1000.ppm", b"P6\n7 5\n1000\n" + bytes(b & 3 if i % 2 == 0 else b
        for i, b in enumerate(wide)))  # fmt: skip
    samples = np.frombuffer(wide[:70], dtype=">u2").astype(np.float64)
    scaled = np.rint(samples / 65535 * 255).astype(np.uint8).reshape(5, 7, 1)
    add("pnm_p5_wide.pgm", b"P5\n7 5\n65535\n" + wide[:70], np.repeat(scaled, 3, axis=2))


def bmp(bits, rows, h, compression=0, palette=b"", colours=0, header=40, tail=b"", w=13):
    """rows: stored bytes; palette also holds bit masks of a 40-byte header."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, w, h, 1, bits, compression, len(rows), 0, 0,
                           colours, 0) + tail  # fmt: skip
        info = info.ljust(header, b"\0")
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + info + palette + rows


def bmps():
    row = lambda bits, seed: noise((13 * bits + 31) // 32 * 4 * 6, seed).tobytes()
    palette = noise(1024, 5).tobytes()
    for bits in (1, 4, 8):
        add(f"bmp_palette{bits}.bmp", bmp(bits, row(bits, bits), 6, palette=palette[: 4 << bits]))
    add("bmp_palette_short.bmp", bmp(8, (np.frombuffer(row(8, 9), np.uint8) % 25).tobytes(), 6,
        palette=palette[:80], colours=20))  # fmt: skip
    for bits in (16, 24, 32):
        add(f"bmp_{bits}.bmp", bmp(bits, row(bits, bits), 6))
        add(f"bmp_{bits}_top_down.bmp", bmp(bits, row(bits, bits), -6))
    masks = lambda *values: struct.pack(f"<{len(values)}I", *values)
    add("bmp_565.bmp", bmp(16, row(16, 3), 6, 3, masks(0xF800, 0x7E0, 0x1F)))
    add("bmp_555_masks.bmp", bmp(16, row(16, 3), 6, 3, masks(0x7C00, 0x3E0, 0x1F)))
    add("bmp_32_masks.bmp", bmp(32, row(32, 3), 6, 3, masks(0xFF000000, 0xFF0000, 0xFF00)))
    add("bmp_v4.bmp", bmp(32, row(32, 4), 6, 3, header=108,
        tail=masks(0xFF, 0xFF00, 0xFF0000, 0xFF000000)))  # fmt: skip
    add("bmp_v5.bmp", bmp(24, row(24, 4), 6, header=124))
    add("bmp_core24.bmp", bmp(24, row(24, 6), 6, header=12))
    add("bmp_core4.bmp", bmp(4, row(4, 6), 6, palette=palette[:48], header=12))


def decode_table():
    jpegs()
    pngs()
    webps()
    gifs()
    webp_animations()
    pnms()
    bmps()
    lines, prepared = [], []
    for name, expected in CASES:
        image = Image.open(OUT / name)
        upright = ImageOps.exif_transpose(image).convert("RGB")
        stored = image.convert("RGB")
        orientation = image.getexif().get(0x0112, 1)
        if expected is not None:
            stored = upright = Image.fromarray(np.ascontiguousarray(expected))
        lines.append(f"{name} {orientation} {stored.width} {stored.height} "
                     f"{crc(stored.tobytes())} {crc(upright.tobytes())}")  # fmt: skip
        if name in PREPARED:
            prepared += prepared_lines(name, stored, upright)
    assert len(prepared) == 4 * len(PREPARED)
    write_table("decode.txt", "file orientation width height crc crc_upright", lines)
    write_table("prepared.txt", "file preset side crc crc_upright", prepared)


# From the file to the network's input: one of each kind.
PREPARED = {
    "jpeg_420.jpg", "jpeg_440.jpg", "jpeg_grey.jpg", "jpeg_progressive.jpg", "jpeg_cmyk.jpg",
    "jpeg_ycck.jpg", "exif_3.jpg", "exif_6.jpg", "exif_png.png", "exif_webp.webp",
    "png_grey1.png", "png_grey16.png", "png_palette8.png", "png_palette_trns.png",
    "png_rgb16.png", "png_rgba8.png", "png_grey_alpha16.png", "webp_lossy.webp",
    "webp_alpha.webp", "bmp_24.bmp", "bmp_palette4.bmp", "pnm_p5_wide.pgm", "pnm_p6.ppm",
}  # fmt: skip


def prepared_lines(name, stored, upright):
    for preset in ("dynamicvit", "timm"):
        for side in (224, 384):
            sums = [crc(prepare(image, preset, side, side)) for image in (stored, upright)]
            yield f"{name} {preset} {side} {sums[0]} {sums[1]}"


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    resize_table()
    preprocess_table()
    crop_table()
    decode_table()

"""Writes tests/fuzz/seeds: small inputs that each fuzz target starts from, taken from the goldens
and, for pickles, from what attackers write. Python's standard library only."""

import os
import shutil
import struct
import zipfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
WEIGHTS = os.path.join(ROOT, "tests/golden/weights")
IMAGES = os.path.join(ROOT, "tests/golden/image")

PICKLES = {
    "system": b"\x80\2cposix\nsystem\nX\2\0\0\0ls\x85R.",
    "getattr": b"\x80\2c__builtin__\ngetattr\nc__builtin__\n__import__\nX\2\0\0\0os\x85R"
               b"X\6\0\0\0system\x86RX\2\0\0\0ls\x85R.",
    "itself": b"\x80\2]q\0h\0a.",
    "laughs": b"\x80\2(]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(8)) + b"t.",
    "memo": b"\x80\2Nr\xff\xff\x3f\0q\xff.",
    "long": b"\x80\2\x8a\xff" + bytes(255) + b".",
    "numbers": b"\x80\2(K\1M\1\2J\1\2\3\4\x8a\2\1\2G?\xf0\0\0\0\0\0\0N\x88\x89)]}\x8ft.",
    "state": b"\x80\2cm\nC\n)\x81}X\1\0\0\0aK\1sb.",
    "content": b"\x80\2cm\nC\n)\x81K\1a(K\2K\3e.",
    "python2": b"\x80\2ccollections\nOrderedDict\n](](U\1aK\1ee\x85R}b.",
    "protocol4": b"\x80\4\x95\0\0\0\0\0\0\0\0N.",
}


def folder(target):
    path = os.path.join(ROOT, "tests/fuzz/seeds", target)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def write(path, name, data):
    with open(os.path.join(path, name), "wb") as file:
        file.write(data)


def copy(target, source, names):
    path = folder(target)
    for name in names:
        shutil.copy(os.path.join(source, name), path)
    return path


def main():
    archives = ["checkpoint.pth", "types.pth", "foreign.pth", "written.pth",
                "pytorch_model-00001-of-00002.bin"]
    legacy = ["checkpoint_legacy.pth", "types_legacy.pth", "foreign_legacy.pth", "views_legacy.pth"]
    path = folder("fuzz_pickle")
    for name, data in PICKLES.items():
        write(path, name, data)
    for name in archives[:3]:
        with zipfile.ZipFile(os.path.join(WEIGHTS, name)) as archive:
            write(path, name + ".pkl", archive.read(archive.namelist()[0]))
    copy("fuzz_torch", WEIGHTS, archives + legacy)
    path = copy("fuzz_zip", WEIGHTS, ["written.pth", "pytorch_model-00001-of-00002.bin"])
    write(path, "empty", b"PK\5\6" + bytes(18))
    with zipfile.ZipFile(os.path.join(path, "python.zip"), "w") as archive:
        for name in ("a/data.pkl", "a/data/0"):
            archive.writestr(zipfile.ZipInfo(name), b"0123")
    copy("fuzz_index", WEIGHTS, ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
    path = copy("fuzz_safetensors", WEIGHTS,
                ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
    write(path, "empty", struct.pack("<Q", 2) + b"{}")
    small = sorted((os.path.getsize(os.path.join(IMAGES, name)), name)
                   for name in os.listdir(IMAGES) if not name.endswith(".txt"))
    picked = {}
    for size, name in small:  # the smallest three of each format
        picked.setdefault(name.split("_")[0], []).append(name)
    more = {"gif_interlaced.gif", "gif_transparent.gif", "webp_animated.webp", "webp_lossless.webp"}
    copy("fuzz_image", IMAGES,
         sorted(more.union(name for names in picked.values() for name in names[:3])))


main()

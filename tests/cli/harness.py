"""Runs the command `dvit` from outside, as a user or a script would.

Every test file here is a program: meson gives it the command in DVIT_EXE and the source tree in
DVIT_SOURCE_ROOT. Standard library only. Images and models are made by the tests themselves, in a
folder that is removed at the end.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

DVIT = os.environ.get("DVIT_EXE", "dvit")
GOLDENS = os.path.join(os.environ.get("DVIT_SOURCE_ROOT", "."), "tests", "golden")
GOLDEN = os.path.join(GOLDENS, "image")
PUBLISHED = os.path.join(GOLDENS, "published", "files")

OK, FAILURE, USAGE, SOME_FAILED, INTERRUPTED, DIFFERENT = range(6)

# Small enough for seconds, with every part of a real one: three stages, two heads.
SCENES = "builtin:scenes,image=32,classes=4,train=96,val=40"
SHAPE = "vit:dim=32,depth=4,heads=2,patch=8,image=32"
PATCHES = 16


def kept_patches(keep, stages=3, patches=PATCHES):
    return [max(1, int(patches * keep ** (s + 1))) for s in range(stages)]


class Answer:
    """What one run of the command gave."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


def environment():
    """A message must not depend on the user's language."""
    return dict(os.environ, LC_ALL="C.UTF-8")


def dvit(*arguments, **options):
    options.setdefault("timeout", 240)
    done = subprocess.run([DVIT, *map(str, arguments)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
                          check=False, **options)
    return Answer(done.returncode, done.stdout.decode("utf-8", "surrogateescape"),
                  done.stderr.decode("utf-8", "replace"))


def write_bytes(path, data):
    with open(path, "wb") as stream:
        stream.write(data)
    return path


def read_bytes(path):
    with open(path, "rb") as stream:
        return stream.read()


def write_ppm(path, width=40, height=32, seed=1):
    """A picture of noise on a gradient."""
    state, pixels = seed, bytearray()
    for y in range(height):
        for x in range(width):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            noise = state >> 25
            pixels += bytes(((x * 5 + noise) & 255, (y * 7 + noise) & 255, (seed * 40 + noise) & 255))
    return write_bytes(path, b"P6\n%d %d\n255\n" % (width, height) + bytes(pixels))


def png_bytes(width, height, rows):
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def png_size(path):
    data = read_bytes(path)
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    return struct.unpack(">II", data[16:24])


class CommandTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dvit-cli-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def make_folder(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        return path

    def check(self, answer, code):
        self.assertEqual(answer.code, code, "stdout: %s\nstderr: %s" % (answer.out, answer.err))
        return answer

    def refused(self, answer, code, *words):
        """An error of one line that says these words, and no result."""
        self.check(answer, code)
        errors = [line for line in answer.err.splitlines() if line.startswith("dvit: error: ")]
        self.assertEqual(len(errors), 1, answer.err)
        for word in words:
            self.assertIn(word, errors[0])
        return errors[0]


class Models:
    """A dense and a dynamic model, trained once per test program."""

    folder = None

    @classmethod
    def make(cls):
        if cls.folder is None:
            cls.folder = tempfile.mkdtemp(prefix="dvit-models-")
            cls.train("train", "dense", SHAPE)
            cls.train("sparsify", "dynamic", cls.best("dense"), "--keep", "0.7")
        return cls

    @classmethod
    def train(cls, verb, name, model, *more):
        answer = dvit(verb, "--data", SCENES, "--model", model, "--out",
                      os.path.join(cls.folder, name), "--epochs", 2, "--batch", 16,
                      "--warmup-epochs", 0, "--ema", 0, "--threads", 2, *more)
        if answer.code != OK:
            raise AssertionError("%s failed: %s" % (verb, answer.err))

    @classmethod
    def best(cls, name):
        return os.path.join(cls.folder, name, "best.safetensors")

    @classmethod
    def remove(cls):
        if cls.folder:
            shutil.rmtree(cls.folder, True)


def main():
    program = unittest.main(exit=False, verbosity=2)
    Models.remove()
    if program.result.testsRun == 0:
        sys.exit("no test was run")
    sys.exit(not program.result.wasSuccessful())

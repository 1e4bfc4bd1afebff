"""Preparing photographs for a network: Pillow and NumPy beside dvit, asked in turn, one thread.

    prepare_images.py BENCH_PIPELINE FOLDER [ROUNDS]

Both decode, resize the short side to 256 (bicubic), cut 224x224 from the centre and normalise; the
pixels are the same. Prints milliseconds of processor time per image, medians of the rounds."""

import os
import statistics
import subprocess
import sys
import time

import numpy
import PIL
from PIL import Image

SIDE, SHORT = 224, 256
MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32)[:, None, None]
STD = numpy.array([0.229, 0.224, 0.225], numpy.float32)[:, None, None]
STEPS = ("decode", "resize and crop", "normalise")


def decode(path):
    image = Image.open(path).convert("RGB")
    image.load()
    return image


def cut(image):
    width, height = image.size
    if width <= height:
        size = SHORT, SHORT * height // width
    else:
        size = SHORT * width // height, SHORT
    resized = image.resize(size, Image.BICUBIC)
    left, top = round((size[0] - SIDE) / 2), round((size[1] - SIDE) / 2)
    return resized.crop((left, top, left + SIDE, top + SIDE))


def normalise(image):
    planes = numpy.asarray(image).transpose(2, 0, 1)
    return (planes.astype(numpy.float32) / numpy.float32(255) - MEAN) / STD


def pillow_round(paths):
    seconds = [0.0, 0.0, 0.0]
    for path in paths:
        value = path
        for number, step in enumerate((decode, cut, normalise)):
            begin = time.thread_time()
            value = step(value)
            seconds[number] += time.thread_time() - begin
    return [1e3 * total / len(paths) for total in seconds]


def dvit_round(program, folder):
    out = subprocess.run([program, folder, "--steps"], check=True, capture_output=True, text=True)
    return [float(number) for number in out.stdout.split()]


def main(program, folder, rounds=5):
    paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    ours, theirs = [], []
    pillow_round(paths)
    for _ in range(int(rounds)):
        theirs.append(pillow_round(paths))
        ours.append(dvit_round(program, folder))
    print("%d photographs, ms per image: Pillow %s with NumPy %s, and dvit"
          % (len(paths), PIL.__version__, numpy.__version__))
    rows = list(zip(STEPS, zip(*theirs), zip(*ours)))
    rows.append(("all", [sum(row) for row in theirs], [sum(row) for row in ours]))
    for name, their, our in rows:
        a, b = statistics.median(their), statistics.median(our)
        print("%-16s %8.3f %8.3f %7.2fx" % (name, a, b, a / b))


main(*sys.argv[1:])

"""The law of rooms: which room of src/ may include which, and who may include what from outside."""

import os
import re

import house

# A room may include itself, and these.
LAW = {
    "base": [],
    "kernels": ["base"],
    "image": ["base"],
    "ops": ["base", "kernels"],
    "graph": ["base", "ops"],
    "models": ["base", "graph", "ops"],
    "weights": ["base", "models"],
    "data": ["base", "image"],
    "infer": ["base", "kernels", "graph", "models", "image", "weights"],
    "eval": ["base", "data", "infer", "models", "image", "weights"],
    "train": ["base", "kernels", "graph", "models", "weights", "image", "data", "eval"],
    "report": ["base", "image"],
}
# Where the functions of a public header live: including it is including that room.
PUBLIC = {
    "status.h": "base", "config.h": "base", "image.h": "image", "model.h": "models",
    "labels.h": "models", "weights.h": "weights", "data.h": "data", "infer.h": "infer", "eval.h": "eval", "quantize.h": "eval", "train.h": "train",
    "report.h": "report",
}
# Libraries from outside, and the only files or folders that may include them.
OUTSIDE = {
    "oneapi/": ["src/kernels/matmul_dnnl.c", "src/kernels/matmul_dnnl_api.h"],
    "dnnl": [],
    "omp.h": ["src/kernels/matmul_dnnl.c"],
    "mpi.h": [],
    "immintrin.h": ["src/kernels/x86/", "src/image/x86/", "bench/bench_kernels.c"],
    "cairo": ["src/image/draw.c"],
    "jpeglib.h": ["src/image/decode_jpeg.c"],
    "png.h": ["src/image/decode_png.c", "src/image/write_png.c"],
    "gif_lib.h": ["src/image/decode_gif.c"],
    "webp/": ["src/image/decode_webp.c"],
    "jansson.h": ["src/weights/", "src/report/", "src/train/"],
    "pthread.h": ["src/base/thread_start.h", "src/data/dataset.c",
                  "cli/throughput.c", "cli/training_signals.c"],
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def check_room(path, room, name):
    if room not in LAW:
        return "%s: the room \"%s\" is not in the law" % (path, room)
    first = name.split("/")[0]
    if "/" not in name:
        return "%s: includes \"%s\"; write its room, as \"%s/%s\"" % (path, name, room, name)
    if first == "dvit":
        first = PUBLIC.get(name[len("dvit/"):], name)
    if first != room and first not in LAW[room]:
        return "%s: includes \"%s\"; %s may include %s" % (
            path, name, room, ", ".join(LAW[room]) or "nothing")
    return None


def check_outer(path, name):
    """The command and the examples stand on the public headers."""
    local = os.path.join(house.ROOT, os.path.dirname(path), name)
    if name.startswith("dvit/") or ("/" not in name and os.path.exists(local)):
        return None
    return "%s: includes \"%s\"; only include/dvit is open to it" % (path, name)


def check_system(path, name):
    for library, homes in OUTSIDE.items():
        if name.startswith(library) and not any(path.startswith(home) for home in homes):
            return "%s: includes <%s>; only %s may" % (path, name, ", ".join(homes) or "nobody")
    return None


def main():
    problems, looked_at = [], 0
    for path in house.files(["src", "include", "cli", "examples", "bench"], (".c", ".h")):
        parts = path.split("/")
        for quote, name in INCLUDE.findall(house.read(path)):
            looked_at += 1
            if quote == "<":
                problems.append(check_system(path, name))
            elif parts[0] == "src":
                problems.append(check_room(path, parts[1], name))
            elif parts[0] == "include":
                if not name.startswith("dvit/"):
                    problems.append("%s: includes \"%s\"" % (path, name))
            elif parts[0] != "bench":
                problems.append(check_outer(path, name))
    house.finish(looked_at, [problem for problem in problems if problem])


main()

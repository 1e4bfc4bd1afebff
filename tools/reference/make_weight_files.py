"""Writes tests/golden/weights: small files of torch.save in both forms, a sharded model, and what a
reader should find in them (expected.txt), as torch.load does.

expected.txt has one line per file ("F path format"), tensor ("T name dtype shape values", values as
float32) and other leaf ("V name kind text"). Storage keys of legacy files are addresses, so each
run writes other bytes; the contents are the same."""

import argparse
import collections
import io
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib

import numpy
import torch

import safetensors_file

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden/weights")
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
          torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
          torch.uint8: "U8", torch.bool: "BOOL"}


# ---- contents ----

def checkpoint():
    """What a training script saves: weights, optimizer, arguments."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / 8 - i)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 29,
            "args": argparse.Namespace(base_rate=0.7, model="deit-s", resume=None, amp=True,
                                       betas=(0.9, 0.999)),
            "max_accuracy": numpy.float64(79.25), "loss": float("inf")}


def types():
    """Every element type and every way in which a tensor can lie in its storage."""
    base = torch.arange(24, dtype=torch.float32)
    values = {"t%d" % i: (torch.arange(5) - 1).to(dtype) for i, dtype in enumerate(DTYPES)}
    values.update(
        scalar=torch.tensor(-2.5), empty=torch.zeros(0, 3), flag=torch.tensor(True),
        whole=base.reshape(4, 6), row=base[6:12], column=base.reshape(4, 6)[:, 2],
        transposed=base.reshape(4, 6).t(), permuted=base.reshape(2, 3, 4).permute(2, 0, 1),
        block=base.reshape(4, 6)[1:3, 2:5], one=base.reshape(4, 6)[:, 1:2].t(),
        half_t=torch.arange(6).half().reshape(2, 3).t(), byte_t=torch.arange(6).byte().reshape(3, 2).t(),
        double_t=torch.arange(6).double().reshape(2, 3).t(),
        parameter=torch.nn.Parameter(torch.tensor([1.5, -1.5])),
        not_finite=torch.tensor([float("inf"), -float("inf")]))
    return values


def foreign():
    """What is in a file without being a tensor that dvit reads."""
    return {"u16": torch.zeros(2, dtype=torch.uint16), "complex": torch.zeros(2, dtype=torch.complex64),
            "set": {1}, "bytes": b"a\xff", "dtype": torch.float16, "size": torch.Size([2, 3]),
            "device": torch.device("cpu"), "big": 2 ** 70, "negative": -5, "text": "h\u00e9",
            "long": list(range(17)), "short": [1, 2.5, [None]], "no": [], "none": {}, "pair": (),
            "tensors": [torch.ones(1)] * 2 + list(range(20)), 3: {"x": 1},
            "counter": collections.defaultdict(dict, a=1), "weight": torch.ones(2)}


# ---- what a reader should find ----

def class_name(value):
    """Of whatever pickle calls to make the value again."""
    if isinstance(value, (set, bytes)):
        return {set: "__builtin__.set", bytes: "_codecs.encode"}[type(value)]
    if isinstance(value, torch.dtype):
        return str(value)
    if isinstance(value, torch.Tensor):
        return "torch._utils._rebuild_tensor_v%d" % (3 if value.dtype == torch.uint16 else 2)
    if isinstance(value, argparse.Namespace):
        return "argparse.Namespace"
    call = value.__reduce_ex__(2)[0]
    return "%s.%s" % (call.__module__, call.__qualname__)


def real(value):
    for digits in (15, 16, 17):
        text = "%.*g" % (digits, value)
        if float(text) == value:
            break
    return text


def scalar(value):
    if value is None:
        return "none None"
    if isinstance(value, bool):
        return "bool " + ("true" if value else "false")
    if type(value) is int:
        return "int " + (str(value) if abs(value) < 2 ** 63 else "0x%018x" % value)
    if type(value) is float:
        return "float " + real(value)
    if isinstance(value, str):
        return "text " + value
    return "object " + class_name(value)


def leaves(value):
    return sum(leaves(item) for item in value) if type(value) in (list, tuple) else 1


def describe(value, path, lines, only_tensors=False):
    def below(key, inner, only=only_tensors):
        describe(inner, "%s/%s" % (path, key) if path else str(key), lines, only)

    def say(text):
        if not only_tensors:
            lines.append("V %s %s" % (path, text))

    if isinstance(value, torch.Tensor) and value.dtype in DTYPES:
        shape = "[%s]" % ",".join(map(str, value.shape))
        numbers = ["%.9g" % x for x in value.detach().float().flatten().tolist()]
        lines.append(" ".join(["T", path, DTYPES[value.dtype], shape] + numbers))
    elif type(value) in (dict, collections.OrderedDict):
        for key, inner in value.items():
            below(key, inner)
        if not value:
            say("list {}")
    elif type(value) in (list, tuple):
        short = leaves(value) <= 16
        if not value:
            say("list " + ("[]" if isinstance(value, list) else "()"))
        elif not short:
            say("list %d items" % len(value))
        for i, inner in enumerate(value):
            below(i, inner, only_tensors or not short)
    else:
        say(scalar(value))
        inner = vars(value) if isinstance(value, argparse.Namespace) else value
        if isinstance(inner, dict):
            for key, item in inner.items():
                below(key, item)


# ---- files that torch.save does not write any more, or that others write ----

def save_views(path):
    """A legacy file whose storages are views of one, as PyTorch 0.4 wrote them."""
    base, name = torch.arange(10, dtype=torch.float32), "77"
    parts = {"first": (0, 4), "last": (6, 4)}

    class Part:
        def __init__(self, key):
            self.key = key

    class Writer(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Part):
                return None
            offset, size = parts[value.key]
            return ("storage", torch.FloatStorage, name, "cpu", 10, (value.key, offset, size))

    class Call:
        def __init__(self, function, *arguments):
            self.call = (function, arguments)

        def __reduce__(self):
            return self.call

    rebuild = torch._utils._rebuild_tensor_v2
    value = collections.OrderedDict(
        (key, Call(rebuild, Part(key), 0, (2, 2), (2, 1), False, collections.OrderedDict()))
        for key in parts)
    with open(path, "wb") as file:
        for head in (0x1950a86a20f9469cfc6c, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(head, file, protocol=2)
        Writer(file, protocol=2).dump(value)
        pickle.dump([name], file, protocol=2)
        file.write(struct.pack("<q", 10) + base.numpy().tobytes())


def written():
    """The file that dvit_torch_write is to make of the entries in tests/test_torch_write.c."""
    entries = [("blocks.0.w", "FloatStorage", (2, 3), struct.pack("<6f", 0, 1, 2, 3, 4, 5)),
               ("h", "HalfStorage", (3,), struct.pack("<3e", 1, 2, -2)),
               ("b", "BFloat16Storage", (2,), struct.pack("<2H", 0x3f80, 0xc000)),
               ("n", "LongStorage", (), struct.pack("<q", -7)),
               ("e", "FloatStorage", (0, 70000), b""),
               ("f", "BoolStorage", (2,), b"\1\0")]
    texts = [("dvit.config", '{"a":1}'), ("note", "h\u00e9")]

    def text(value):
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    def number(value):
        return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)

    ordered = b"ccollections\nOrderedDict\n)R"
    stream = b"\x80\2}(" + text("model") + ordered + b"("
    records = []
    for i, (name, storage, shape, data) in enumerate(entries):
        count = int(numpy.prod(shape))
        strides = [int(numpy.prod([max(n, 1) for n in shape[k + 1:]])) for k in range(len(shape))]
        stream += (text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
                   b"ctorch\n" + storage.encode() + b"\n" + text(str(i)) + text("cpu") +
                   number(count) + b"tQK\0(" + b"".join(map(number, shape)) + b"t(" +
                   b"".join(map(number, strides)) + b"t\x89" + ordered + b"tR")
        records.append(("data/%d" % i, data))
    stream += b"u" + b"".join(text(key) + text(value) for key, value in texts) + b"u."
    records = [("data.pkl", stream), ("byteorder", b"little")] + records + [("version", b"3\n")]
    out, directory = b"", b""
    for name, data in records:
        name = ("archive/" + name).encode()
        common = struct.pack("<HHHIIIIH", 20, 0x800, 0, 0x210000, zlib.crc32(data), len(data),
                             len(data), len(name))
        padding = -(len(out) + 34 + len(name)) % 64
        directory += b"PK\1\2\x14\0" + common + bytes(12) + struct.pack("<I", len(out)) + name
        out += b"PK\3\4" + common + struct.pack("<H", 4 + padding) + name + b"FB"
        out += struct.pack("<H", padding) + bytes(padding) + data
    return out + directory + b"PK\5\6\0\0\0\0" + struct.pack(
        "<HHIIH", len(records), len(records), len(directory), len(out), 0)


def save_shards():
    """Two safetensors shards and two PyTorch ones with the same tensors, each with an index."""
    tensors = {"a.weight": torch.arange(6.).reshape(2, 3), "a.bias": torch.tensor([0.5, -0.5]),
               "b": torch.tensor(3, dtype=torch.int32)}
    parts = [["a.weight"], ["a.bias", "b"]]
    for form, index, save in (
            ("model-%05d-of-00002.safetensors", "model.safetensors.index.json",
             lambda part, path: safetensors_file.save(path, part)),
            ("pytorch_model-%05d-of-00002.bin", "pytorch_model.bin.index.json", torch.save)):
        places = {}
        for i, names in enumerate(parts):
            save({name: tensors[name] for name in names}, os.path.join(OUT, form % (i + 1)))
            places.update({name: form % (i + 1) for name in names})
        with open(os.path.join(OUT, index), "w", encoding="utf-8") as file:
            json.dump({"metadata": {"total_size": 36}, "weight_map": places}, file, indent=2)
            file.write("\n")
    return {name: tensors[name] for name in sorted(tensors)}


def check_written(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    return torch.load(path, weights_only=True)


def main():
    os.makedirs(OUT, exist_ok=True)
    torch.manual_seed(0)
    lines, at = [], lambda name: os.path.join(OUT, name)
    for name, value in (("checkpoint", checkpoint()), ("types", types()), ("foreign", foreign())):
        for suffix, form in ((".pth", "PyTorch zip"), ("_legacy.pth", "PyTorch legacy")):
            if suffix != ".pth":
                value.pop("u16", None)  # PyTorch cannot read its own legacy files of it
            torch.save(value, at(name + suffix), _use_new_zipfile_serialization=suffix == ".pth")
            lines.append("F %s%s %s" % (name, suffix, form))
            describe(torch.load(at(name + suffix), weights_only=False), "", lines)
    save_views(at("views_legacy.pth"))
    lines.append("F views_legacy.pth PyTorch legacy")
    describe(torch.load(at("views_legacy.pth"), weights_only=True), "", lines)
    with open(at("written.pth"), "wb") as file:
        file.write(written())
    lines.append("F written.pth PyTorch zip")
    describe(check_written(at("written.pth")), "", lines)
    shards = save_shards()
    for name, form in (("model.safetensors.index.json", "sharded safetensors"),
                       ("pytorch_model.bin.index.json", "sharded PyTorch")):
        lines.append("F %s %s" % (name, form))
        describe(shards, "", lines)
    with io.open(at("expected.txt"), "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(lines) + "\n")


# With an argument: a file that dvit wrote, to be loaded by PyTorch and shown.
if len(sys.argv) > 1:
    shown = []
    describe(check_written(sys.argv[1]), "", shown)
    print("\n".join(shown))
else:
    main()

"""Files of tensors as others write them: safetensors without metadata, and torch.save's zip with any
tree of dictionaries and objects in it. Standard library only."""

import json
import struct
import zipfile


def read_safetensors(path):
    """Name to (shape, bytes) of the f32 tensors."""
    with open(path, "rb") as stream:
        length, = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
        data = stream.read()
    return {name: (entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


def save_safetensors(path, tensors):
    header, at = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for _, data in tensors.values():
            stream.write(data)


class Pickler:
    """Protocol 2, as torch.save writes it: dict, tuple (shape, bytes) as a tensor, ("object", class,
    state), numbers, texts, None."""

    def __init__(self):
        self.storages = []

    def text(self, value):
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    def number(self, value):
        return b"J" + struct.pack("<i", value)

    def numbers(self, values):
        return b"(" + b"".join(self.number(value) for value in values) + b"t"

    def tensor(self, shape, data):
        key = str(len(self.storages))
        self.storages.append(data)
        strides, step = [], 1
        for extent in reversed(shape):
            strides.insert(0, step)
            step *= extent
        storage = (b"(" + self.text("storage") + b"ctorch\nFloatStorage\n" + self.text(key) +
                   self.text("cpu") + self.number(len(data) // 4) + b"tQ")
        return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + self.number(0) +
                self.numbers(shape) + self.numbers(strides) + b"\x89ccollections\nOrderedDict\n)R" +
                b"tR")

    def value(self, value):
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, int):
            return self.number(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            items = b"".join(self.text(key) + self.value(inner) for key, inner in value.items())
            return b"}(" + items + b"u"
        if value[0] == "object":
            module, _, name = value[1].rpartition(".")
            return (b"c" + module.encode() + b"\n" + name.encode() + b"\n)\x81" +
                    self.value(value[2]) + b"b")
        return self.tensor(*value)


def save_torch(path, tree):
    pickler = Pickler()
    data = b"\x80\x02" + pickler.value(tree) + b"."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        for key, storage in enumerate(pickler.storages):
            archive.writestr("archive/data/%d" % key, storage)

"""Writes the safetensors format: u64 header size, JSON header padded with spaces to 8 bytes, data.
Only what the goldens need: float tensors as F32, integers as I32."""

import json
import struct

import numpy


def save(path, tensors):
    """tensors: name -> torch tensor or array. Sorted by name; all elements are 4 bytes wide."""
    header, chunks, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        array = numpy.asarray(tensors[name])
        integral = numpy.issubdtype(array.dtype, numpy.integer)
        data = numpy.ascontiguousarray(array, dtype="<i4" if integral else "<f4").tobytes()
        header[name] = {"dtype": "I32" if integral else "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))

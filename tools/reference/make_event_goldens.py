"""Writes tests/golden/events/: TensorBoard event files of known content, byte for byte.

    python make_event_goldens.py

An encoder of its own, with the standard library alone: framing and checksums of TensorFlow's
record_writer.cc, messages of event.proto and summary.proto. Before it writes anything it checks its
CRC-32C against the vectors of RFC 3720, appendix B.4."""

import os
import struct

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "tests", "golden", "events")
PICTURE = bytes(range(256)) * 3  # stands for a PNG file: readers of the container do not look inside


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


VECTORS = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E,
           bytes(range(31, -1, -1)): 0x113FDB5C, b"123456789": 0xE3069283}


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def varint(value):
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    """Integers, floats (32 bits), and blocks; an integer of 0 is left out."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def event(time, step, number, value):
    return record(varint(1 << 3 | 1) + struct.pack("<d", time) + field(2, step) +
                  field(number, value))


def scalars(values):
    return b"".join(field(1, field(1, tag) + field(2, value)) for tag, value in values)


def picture(tag, width, height, png):
    image = field(1, height) + field(2, width) + field(3, 3) + field(4, png)
    return field(1, field(1, tag) + field(4, image))


def main():
    for data, crc in VECTORS.items():
        assert crc32c(data) == crc, data
    begin = event(1700000000.0, 0, 3, "brain.Event:2") + event(1700000000.0, 0, 7, field(1, 1))
    resumed = (event(1700000000.0, 0, 3, "brain.Event:2") +
               event(1700000000.0, 301, 7, field(1, 1)))
    files = {
        "begin": begin,
        "resumed": resumed,
        "scalars": begin + event(1700000001.5, 10, 5, scalars([("loss/total", 2.5)])) +
        event(1700000002.25, 123456789012, 5,
              scalars([("loss/total", -0.1), ("keep/stage_1", 0.7), ("rate/lr", 1e-30)])),
        "picture": begin + event(1700000003.0, 300, 5, picture("kept/patches", 200, 7, PICTURE)),
    }
    os.makedirs(FOLDER, exist_ok=True)
    for name, data in files.items():
        with open(os.path.join(FOLDER, name + ".tfevents"), "wb") as stream:
            stream.write(data)


if __name__ == "__main__":
    main()

"""dump_logits from outside: a picture of the network's own size, through a published file.

Environment: DUMP_LOGITS, DVIT_SOURCE_ROOT. Standard library only."""

import array
import json
import os
import struct
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["DUMP_LOGITS"]
FILES = os.path.join(os.environ["DVIT_SOURCE_ROOT"], "tests", "golden", "published", "files")
SIDE, HEADS = 32, "2"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read_safetensors(path):
    """name -> (shape, values), and the metadata."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(size)), file.read()
    metadata, tensors = header.pop("__metadata__"), {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        kind = {"F32": "f", "I32": "i"}[entry["dtype"]]
        tensors[name] = entry["shape"], array.array(kind, data[begin:end])
    return tensors, metadata


class DumpLogits(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.out = os.path.join(self.folder.name, "out.safetensors")
        self.pictures = []
        for seed in (1, 2):
            values = bytes((i * 37 * seed + i * i % 251) % 256 for i in range(SIDE * SIDE * 3))
            path = os.path.join(self.folder.name, f"{seed}.ppm")
            with open(path, "wb") as file:
                file.write(b"P6 %d %d 255\n" % (SIDE, SIDE) + values)
            self.pictures.append((path, values))

    def run_program(self, *arguments):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)

    def dump(self, model, *options):
        images = [path for path, _ in self.pictures]
        done = self.run_program(os.path.join(FILES, model), *images, "--out", self.out,
                                "--heads", HEADS, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return read_safetensors(self.out)

    def test_pixels_logits_and_kept_sets(self):
        tensors, metadata = self.dump("dynamicvit.pth", "--preprocess", "dynamicvit")
        shape, pixels = tensors["pixels"]
        self.assertEqual(shape, [2, 3, SIDE, SIDE])
        for image, (_, values) in enumerate(self.pictures):
            for at in range(0, 3 * SIDE * SIDE, 101):
                channel, place = divmod(at, SIDE * SIDE)
                expected = (values[3 * place + channel] / 255 - MEAN[channel]) / STD[channel]
                self.assertAlmostEqual(pixels[image * 3 * SIDE * SIDE + at], expected, places=5)
        self.assertEqual(tensors["logits"][0], [2, 5])
        self.assertNotEqual(tensors["logits"][1][:5], tensors["logits"][1][5:])
        for stage, count in enumerate((11, 7, 5)):
            shape, kept = tensors[f"kept.{stage}"]
            self.assertEqual(shape, [2, count])
            self.assertEqual(list(kept[:count]), sorted(set(kept[:count])))
        self.assertEqual(metadata["parameters"], "13847")

    def test_keep_ratio_and_image_size(self):
        tensors, _ = self.dump("dynamicvit.pth", "--keep", "0.5", "--image", "48x32")
        self.assertEqual(tensors["pixels"][0], [2, 3, 32, 48])
        self.assertEqual([tensors[f"kept.{s}"][0][1] for s in range(3)], [12, 6, 3])

    def test_average(self):
        trained, _ = self.dump("timm_averaged.pth.tar")
        averaged, _ = self.dump("timm_averaged.pth.tar", "--average")
        self.assertNotEqual(trained["logits"], averaged["logits"])

    def test_errors(self):
        model, image = os.path.join(FILES, "deit.pth"), self.pictures[0][0]
        for arguments in ((), (model, image), (model, "--out", self.out),
                          (model, image, "--out", self.out, "--image", "32"),
                          (model, image, "--out", self.out, "--keep", "2"),
                          (model, image, "--out")):
            self.assertEqual(self.run_program(*arguments).returncode, 2, arguments)
        done = self.run_program(model, os.path.join(self.folder.name, "none.ppm"), "--out",
                                self.out, "--heads", HEADS)
        self.assertEqual(done.returncode, 1)
        self.assertIn("none.ppm", done.stderr)


if __name__ == "__main__":
    unittest.main()

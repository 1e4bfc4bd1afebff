"""What the commands say of folders that are not as they should be: nothing is left out in silence."""

import os
import struct
import unittest
import zlib

from harness import (CommandTest, FAILURE, OK, SHAPE, SOME_FAILED, dvit, write_bytes, write_ppm)

SMALL = SHAPE + ",classes=2"


def gif(red, green, blue):
    """One pixel."""
    return (b"GIF89a\1\0\1\0\x80\0\0" + bytes((red, green, blue, 0, 0, 0)) +
            b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;")


def grey16_png(side=32):
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    rows = (b"\0" + bytes(range(2 * side))) * side
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Layouts(CommandTest):
    def pictures(self, *folders, seed=1):
        for folder in folders:
            self.make_folder(folder)
            for i in range(2):
                seed += 1
                write_ppm(self.path(folder, "%d.ppm" % i), seed=seed)

    def train(self, data, *more):
        return dvit("train", "--data", self.path(data), "--model", SMALL, "--out",
                    self.path("run-" + data.replace("/", "-")), "--epochs", 1, "--batch", 2,
                    "--warmup-epochs", 0, "--ema", 0, "--threads", 1, *more)

    def test_every_file_of_a_folder_gets_an_answer_or_an_error(self):
        folder = self.make_folder("images")
        write_ppm(os.path.join(folder, "a.ppm"))
        write_bytes(os.path.join(folder, "b.tif"), b"II*\0\x08\0\0\0")
        write_bytes(os.path.join(folder, "c.gif"), gif(200, 90, 30))
        write_bytes(os.path.join(folder, "d.avif"), b"\0\0\0\x1cftypavif\0\0\0\0")
        write_ppm(os.path.join(folder, "e.heic"))  # by its content
        write_ppm(os.path.join(folder, "noext"))
        write_bytes(os.path.join(folder, "notes.txt"), b"no image")
        write_bytes(os.path.join(folder, "Thumbs.db"), b"\xd0\xcf\x11\xe0")
        self.make_folder("images", "__MACOSX")
        write_ppm(os.path.join(folder, "__MACOSX", "x.ppm"))
        answer = self.check(dvit("classify", "--json", "--model", SMALL, folder), SOME_FAILED)
        told = {os.path.basename(line["file"]): line.get("error", "") for line in answer.lines}
        self.assertEqual(sorted(told), ["a.ppm", "b.tif", "c.gif", "d.avif", "e.heic", "noext"])
        self.assertIn("a TIFF image", told["b.tif"])
        self.assertIn("an AVIF image", told["d.avif"])
        self.assertEqual([name for name in told if told[name]], ["b.tif", "d.avif"])

    def test_data_counts_what_it_passes_over_in_both_splits(self):
        self.pictures("d/train/cat", "d/train/dog", "d/val/cat", "d/val/dog")
        write_bytes(self.path("d", "train", "cat", "x.tif"), b"II*\0")
        write_bytes(self.path("d", "val", "dog", "y.heic"), b"x")
        write_bytes(self.path("d", "val", "dog", "z.heic"), b"x")
        answer = self.check(dvit("data", "--data", self.path("d")), OK)
        self.assertIn("1 files of kinds that dvit does not read are passed over (1 .tif)", answer.err)
        self.assertIn("2 files of kinds that dvit does not read are passed over (2 .heic)",
                      answer.err)
        self.assertNotIn("the same images", answer.err)

    def test_validation_on_the_training_images_is_said(self):
        self.pictures("d/cat", "d/dog")
        answer = self.check(self.train("d"), OK)
        self.assertEqual(answer.err.count("has no train/ and val/: the same images"), 1, answer.err)
        self.assertIn("on the training images themselves", answer.err)
        self.assertNotIn("on the validation images", answer.err)
        self.pictures("copy/train/cat", "copy/train/dog")
        self.pictures("copy/val/cat", "copy/val/dog")  # the same files, once more
        self.assertIn("hold the same images", self.check(self.train("copy"), OK).err)
        self.pictures("two/train/cat", "two/train/dog")
        self.pictures("two/val/cat", "two/val/dog", seed=50)  # the same names and sizes
        answer = self.check(self.train("two"), OK)
        self.assertNotIn("the same images", answer.err)
        self.assertIn("on the validation images", answer.err)

    def test_splits_of_other_names_are_no_classes(self):
        self.pictures("d/Training/cat", "d/Training/dog")
        self.pictures("d/Testing/cat", "d/Testing/dog", seed=50)
        answer = self.check(self.train("d"), OK)
        self.assertIn('the folder "Training" is taken for it', answer.err)
        self.assertIn('the folder "Testing" is taken for it', answer.err)
        self.assertIn("on the validation images", answer.err)
        self.pictures("e/set/train/cat", "e/set/val/cat")
        self.refused(self.train("e"), FAILURE, "so it is a data set, not a class",
                     self.path("e", "set"))

    def test_eval_reads_val_alone(self):
        self.pictures("d/train/cat", "d/train/dog")
        self.pictures("d/val/cat", "d/val/dog", seed=50)
        self.check(self.train("d"), OK)
        model = self.path("run-d", "best.safetensors")
        self.pictures("f/train/cat", "f/train/cow", "f/train/dog", "f/val/dog")
        answer = self.check(dvit("eval", "--data", self.path("f/val"), "--model", model), OK)
        self.assertIn("1 of the model's 2 classes", answer.err)
        self.check(dvit("eval", "--data", self.path("f"), "--model", model), OK)
        self.pictures("g/val/1", "g/val/2")
        self.refused(dvit("eval", "--data", self.path("g"), "--model", model), FAILURE,
                     "whole numbers, 1 to 2, expected 0 to 1")

    def test_16_bit_grey_is_noted_once(self):
        self.pictures("d/val/0", "d/val/1")
        for name in "ab":
            write_bytes(self.path("d", "val", "0", name + ".png"), grey16_png())
        data = self.path("d")
        answer = self.check(dvit("eval", "--data", data, "--model", SMALL), OK)
        self.assertEqual(answer.err.count("2 images are PNG files of 16-bit grey"), 1, answer.err)
        answer = self.check(dvit("classify", "--model", SMALL, self.path("d/val/0")), OK)
        self.assertEqual(answer.err.count("2 images are PNG files of 16-bit grey"), 1, answer.err)


if __name__ == "__main__":
    unittest.main()

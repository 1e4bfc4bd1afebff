"""Damaged and impossible input: each is one clear error, never a crash, a hang or a guess."""

import json
import os
import struct
import unittest
import zlib

from harness import (CommandTest, FAILURE, GOLDEN, Models, SCENES, SHAPE, SOME_FAILED, USAGE, dvit,
                     main, png_bytes, read_bytes, write_bytes, write_ppm)

ANY_MODEL = SHAPE + ",classes=4"


class BadImages(CommandTest):
    def unreadable(self, path, *words):
        answer = dvit("classify", "--model", ANY_MODEL, "--quiet", path)
        self.assertEqual(answer.out, "")
        return self.refused(answer, FAILURE, os.path.basename(path), *words)

    def test_missing_file(self):
        self.unreadable(self.path("none.jpg"))

    def test_zero_bytes(self):
        self.unreadable(write_bytes(self.path("empty.png"), b""))

    def test_text_named_jpg(self):
        self.unreadable(write_bytes(self.path("text.jpg"), b"This is not a photograph.\n" * 40))

    def test_every_truncation_of_a_png(self):
        data = png_bytes(3, 2, (b"\0" + b"123456789") * 2)
        for size in range(1, len(data) - 12, 7):
            self.unreadable(write_bytes(self.path("cut.png"), data[:size]))

    @unittest.skipUnless(os.path.isdir(GOLDEN), "no golden images")
    def test_truncated_jpeg(self):
        data = read_bytes(os.path.join(GOLDEN, "jpeg_444.jpg"))
        for size in (3, len(data) // 3, len(data) - 2):
            self.unreadable(write_bytes(self.path("cut.jpg"), data[:size]))

    def test_a_header_of_60000_by_60000(self):
        data = png_bytes(60000, 60000, b"")
        self.unreadable(write_bytes(self.path("bomb.png"), data), "60000")
        self.unreadable(write_bytes(self.path("bomb.ppm"), b"P6 60000 60000 255\n"), "60000")

    def test_a_device_is_not_an_image(self):
        answer = dvit("classify", "--model", ANY_MODEL, "--quiet", "/dev/null", timeout=20)
        self.refused(answer, FAILURE, "/dev/null")

    def test_the_others_are_answered(self):
        good = write_ppm(self.path("good.ppm"))
        bad = write_bytes(self.path("bad.ppm"), b"P6 4 4 255\nshort")
        answer = self.check(dvit("classify", "--model", ANY_MODEL, "--json", bad, good),
                            SOME_FAILED)
        self.assertEqual([set(line) for line in answer.lines],
                         [{"file", "error"}, {"file", "top", "tokens", "kept"}])

    def test_names_that_are_not_utf8(self):
        path = os.fsencode(self.folder) + b"/\xff\xfe.ppm"
        write_ppm(path)
        answer = self.check(dvit("classify", "--model", ANY_MODEL, "--json",
                                 os.fsdecode(os.path.join(os.fsencode(self.folder)))), 0)
        self.assertIn("\ufffd", answer.lines[0]["file"])


class BadData(CommandTest):
    def refused_data(self, path, *words):
        self.refused(dvit("data", "--data", path, "--quiet"), FAILURE, *words)
        self.refused(dvit("train", "--data", path, "--model", SHAPE, "--out", self.path("run"),
                          "--quiet"), FAILURE, *words)
        self.assertFalse(os.path.exists(self.path("run")))

    def test_missing_folder(self):
        self.refused_data(self.path("none"), "none")

    def test_empty_folder(self):
        self.refused_data(self.make_folder("empty"), "empty")

    def test_folder_without_classes(self):
        write_ppm(os.path.join(self.make_folder("flat"), "1.ppm"))
        self.refused_data(self.path("flat"), "flat")

    def test_folder_without_images(self):
        write_bytes(os.path.join(self.make_folder("texts", "a"), "1.txt"), b"hello")
        self.refused_data(self.path("texts"), "texts")

    def test_builtin_out_of_range(self):
        self.refused(dvit("data", "--data", "builtin:scenes,image=99999"), USAGE, "image")
        self.refused(dvit("data", "--data", "builtin:scenes,colour=3"), USAGE, "colour")
        self.check(dvit("data", "--data", "builtin:nothing"), USAGE)

    def test_classify_a_folder_without_images(self):
        self.refused(dvit("classify", "--model", ANY_MODEL, self.make_folder("empty")), FAILURE,
                     "empty", "no image")


class BadModels(CommandTest):
    @classmethod
    def setUpClass(cls):
        Models.make()
        cls.model = read_bytes(Models.best("dense"))
        cls.header_size = struct.unpack("<Q", cls.model[:8])[0]

    def refused_model(self, data, *words, code=FAILURE):
        path = write_bytes(self.path("damaged.safetensors"), data)
        out = self.path("out.safetensors")
        error = self.refused(dvit("convert", path, out), code, "damaged.safetensors", *words)
        self.assertFalse(os.path.exists(out))
        return error

    def with_header(self, change):
        header = json.loads(self.model[8:8 + self.header_size])
        change(header)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + self.model[8 + self.header_size:]

    def test_missing(self):
        self.refused(dvit("info", self.path("none.safetensors")), FAILURE, "none.safetensors")

    def test_truncated(self):
        for size in (0, 7, 8, 100, 8 + self.header_size, len(self.model) - 1):
            self.refused_model(self.model[:size])
        self.refused_model(self.model + b"\0")

    def test_flipped_bits_of_the_header(self):
        for at in (0, 3, 7, 8, 9, self.header_size // 2):
            damaged = bytearray(self.model)
            damaged[at] ^= 0x80
            self.refused_model(bytes(damaged))

    def test_another_shape(self):
        def widen(header):
            header["norm.weight"]["shape"] = [2, 16]
        self.refused_model(self.with_header(widen), "norm.weight")

    def test_missing_and_unexpected_tensors(self):
        def rename(header):
            header["norm.wait"] = header.pop("norm.weight")
        self.refused_model(self.with_header(rename), "norm.weight")

        def add(header):
            end = max(entry["data_offsets"][1] for name, entry in header.items()
                      if name != "__metadata__")
            header["norm.extra"] = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}
        self.refused_model(self.with_header(add), "norm.extra")

    def test_no_configuration(self):
        def strip(header):
            del header["__metadata__"]
        self.refused_model(self.with_header(strip))

    def test_not_a_model(self):
        self.refused_model(b"PK\x03\x04 some other file" * 100)
        self.refused(dvit("info", self.folder), FAILURE, self.folder)

    def test_checkpoint_of_another_shape_as_start(self):
        self.refused(dvit("train", "--data", "builtin:scenes,image=32,classes=3", "--model",
                          Models.best("dense"), "--out", self.path("run"), "--quiet"), FAILURE,
                     "4", "3")

    def test_keep_below_1_of_a_dense_model(self):
        answer = dvit("eval", "--model", Models.best("dense"), "--data", SCENES, "--keep", "0.7",
                      "--quiet")
        self.assertIn(answer.code, (FAILURE, USAGE))
        self.refused(answer, answer.code, "0.7")

    def test_texts_that_are_no_model(self):
        for text in ("vit:dim=32,heads=3", ANY_MODEL + ",dim=99999999", "vit:colour=1",
                     ANY_MODEL.replace("patch=8", "patch=7"), "vit:dim=0,depth=0,heads=0,patch=0"):
            answer = dvit("info", text)
            self.assertIn(answer.code, (FAILURE, USAGE))
            self.refused(answer, answer.code)


if __name__ == "__main__":
    main()

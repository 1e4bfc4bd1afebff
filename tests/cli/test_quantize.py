"""Eight bits from the command: quantize, and the precisions beside each other."""

import json
import os
import resource
import struct
import unittest

from harness import (CommandTest, FAILURE, OK, SCENES, SHAPE, SOME_FAILED, USAGE, dvit,
                     kept_patches, main, read_bytes, write_bytes, write_ppm)

DENSE = SHAPE + ",classes=4"


class Quantize(CommandTest):
    def precisions(self):
        return self.check(dvit("cpu", "--json"), OK).lines[0]["precisions"]

    def quantize(self, model=DENSE, *more):
        path = self.path("q.safetensors")
        answer = dvit("quantize", model, "--keep", "0.7", "--calibrate", SCENES, "--out", path,
                      "--count", "24", "--limit", "16", "--quiet", *more)
        self.check(answer, OK)
        return path, answer

    def test_a_file_of_bytes_and_what_it_costs(self):
        path, answer = self.quantize(DENSE, "--json")
        file, rows = answer.lines[0], answer.lines[1:]
        self.assertEqual(file["quantised_layers"], 20)
        self.assertEqual(file["dtypes"]["I8"], 20)
        expected = [(keep, name) for keep in (0.7, 1.0) for name in self.precisions()]
        self.assertEqual([(row["keep"], row["precision"]) for row in rows], expected)
        for row in rows:
            self.assertEqual(row["images"], 16)
            self.assertEqual(len(row["other_kept"]), 3 if row["keep"] < 1 else 0)
            if row["precision"] == "f32":
                self.assertEqual(row["agreement"], 1)
                self.assertEqual(sum(row["other_kept"]), 0)
            self.assertLess(sum(row["other_kept"]), 0.5)
        info = self.check(dvit("info", path), OK)
        self.assertIn("20 layers calibrated for int8", info.out)

    def test_it_runs(self):
        if "int8" not in self.precisions():
            self.skipTest("no such products here")
        path, _ = self.quantize()
        picture = self.path("a.ppm")
        write_ppm(picture, 32, 32)
        for asked in ("int8", "auto"):
            answer = self.check(dvit("eval", "--model", path, "--data", SCENES, "--precision",
                                     asked, "--seconds", "0.1", "--json"), OK)
            self.assertEqual(answer.lines[0]["precision"], "int8")
            self.assertEqual(answer.lines[0]["tokens"], kept_patches(0.7))
            self.assertEqual("runs in int8" in answer.err, asked == "auto")
        self.check(dvit("classify", "--model", path, "--precision", "int8", picture), OK)
        self.check(dvit("info", path, "--precision", "int8"), OK)

    def test_eval_compares(self):
        path, _ = self.quantize()
        answer = self.check(dvit("eval", "--model", path, "--data", SCENES, "--keep", "0.5,1",
                                 "--compare-precisions"), OK)
        self.assertIn("40 images", answer.out)
        self.assertEqual(sum(line.startswith("f32") for line in answer.out.splitlines()), 2)
        plain = self.check(dvit("eval", "--model", DENSE, "--data", SCENES, "--limit", "8",
                                "--compare-precisions", "--json"), OK)
        self.assertNotIn("int8", [row["precision"] for row in plain.lines])
        if "int8" in self.precisions():
            self.assertIn("without int8: precision int8 needs a calibrated model", plain.err)
        self.check(dvit("eval", "--model", path, "--data", SCENES, "--compare-precisions",
                        "--per-class"), USAGE)

    def test_the_same_again(self):
        path, _ = self.quantize()
        first = read_bytes(path)
        self.quantize(DENSE, "--threads", "3", "--batch", "5")
        self.assertEqual(len(read_bytes(path)), len(first))
        copy = self.path("copy.safetensors")
        self.check(dvit("convert", path, copy, "--dtype", "int8", "--quiet"), OK)
        self.assertEqual(read_bytes(copy), read_bytes(path))
        self.check(dvit("convert", path, copy, "--quiet"), OK)
        self.check(dvit("diff", path, copy), OK)
        self.check(dvit("convert", copy, self.path("no"), "--dtype", "int8"), FAILURE)

    def test_loose_images(self):
        out = self.path("q.safetensors")
        for count, measured, checked in ((1, 1, "1 image, the ones that were measured"),
                                         (4, 4, "4 images, the ones that were measured"),
                                         (5, 4, "1 image that were not measured"),
                                         (12, 10, "2 images that were not measured")):
            folder = self.make_folder("loose%d" % count)
            for i in range(count):
                write_ppm(os.path.join(folder, "%d.ppm" % i), 32, 32)
            answer = self.check(dvit("quantize", DENSE, "--calibrate", folder, "--out", out), OK)
            self.assertIn("ranges measured on %d image" % measured, answer.out)
            self.assertIn(checked, answer.out)
            self.assertEqual("to check" in answer.err, count < 5, answer.err)
            self.assertRegex(answer.err, r"warning: ranges measured on %d images? .*128" % measured)
            self.assertNotIn("top-1", answer.out)
            info = self.check(dvit("info", out), OK)
            self.assertIn("calibrated for int8 on %d image" % measured, info.out)

    def test_enough_images_are_not_warned_about(self):
        out = self.path("q.safetensors")
        data = "builtin:scenes,image=32,classes=4,train=128,val=8"
        answer = self.check(dvit("quantize", DENSE, "--calibrate", data, "--out", out), OK)
        self.assertNotIn("warning", answer.err)
        self.assertIn("8 images that were not measured", answer.out)
        few = self.check(dvit("quantize", DENSE, "--calibrate", data, "--out", out, "--count", 127,
                              "--json"), OK)
        self.assertIn("warning: ranges measured on 127 images", few.err)
        self.assertEqual(few.lines[0]["calibration_images"], 127)
        self.assertTrue(few.lines[0]["held_out"])
        self.assertEqual(self.check(dvit("info", out, "--json"), OK).lines[0]["calibration_images"],
                         127)

    def test_a_set_without_a_validation_part_says_so(self):
        for kind in ("a", "b"):
            for i in range(3):
                write_ppm(os.path.join(self.make_folder("set", kind), "%d.ppm" % i), 32, 32)
        answer = self.check(dvit("quantize", DENSE, "--calibrate", self.path("set"), "--out",
                                 self.path("q.safetensors"), "--json"), OK)
        self.assertFalse(answer.lines[0]["held_out"])
        self.assertIn("no other images to check", answer.err)

    def test_what_a_file_tells_of_its_images_is_only_shown(self):
        path, _ = self.quantize()
        content = read_bytes(path)
        for text in (b"xy", b"-1", b"  "):
            self.assertEqual(content.count(b'"dvit.calibration_images":"24"'), 1)
            write_bytes(path, content.replace(b'images":"24"', b'images":"%s"' % text))
            info = self.check(dvit("info", path, "--json"), OK)
            self.assertNotIn("calibration_images", info.lines[0])

    def test_unreadable_images_are_told(self):
        for split in ("train", "val"):
            for kind in ("a", "b"):
                folder = self.path("set", split, kind)
                os.makedirs(folder)
                write_ppm(os.path.join(folder, "1.ppm"), 32, 32)
        with open(os.path.join(folder, "2.ppm"), "wb") as broken:
            broken.write(b"P6\n9 9\n255\n")
        answer = self.check(dvit("quantize", DENSE, "--calibrate", self.path("set"), "--out",
                                 self.path("q.safetensors"), "--json"), SOME_FAILED)
        self.assertEqual(answer.lines[1]["images"], 2)
        self.assertIn("1 of 3 images could not be read", answer.err)

    def test_refusals(self):
        out = self.path("q.safetensors")
        self.check(dvit("quantize", DENSE, "--out", out), USAGE)
        self.check(dvit("quantize", DENSE, "--calibrate", SCENES), USAGE)
        self.check(dvit("quantize", "missing.safetensors", "--calibrate", SCENES, "--out", out),
                   FAILURE)
        self.check(dvit("quantize", DENSE, "--calibrate", self.path("none"), "--out", out), FAILURE)
        self.check(dvit("quantize", DENSE, "--calibrate", SCENES, "--out",
                        self.path("no/folder/q.safetensors")), FAILURE)
        self.assertFalse(os.path.exists(out))
        refused = self.check(dvit("eval", "--model", DENSE, "--data", SCENES, "--precision",
                                  "int8", "--cpu", "reference"), FAILURE)
        self.assertIn("dvit quantize", refused.err)


class Refused(CommandTest):
    """What goes wrong says so in one line, and leaves the folder as it was."""

    def refused_cleanly(self, *arguments, words, **options):
        before = sorted(os.listdir(self.folder))
        self.refused(dvit(*arguments, "--quiet", **options), FAILURE, *words)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def quantize(self, calibrate, out, words, **options):
        self.refused_cleanly("quantize", DENSE, "--calibrate", calibrate, "--out", out, "--count",
                             8, "--limit", 4, words=words, **options)

    def small_file(self, name):
        path = self.path(name)
        self.check(dvit("quantize", DENSE, "--keep", 0.7, "--calibrate", SCENES, "--out", path,
                        "--count", 8, "--limit", 4, "--quiet"), OK)
        return path

    def test_calibration_images(self):
        out = self.path("q.safetensors")
        self.quantize(self.make_folder("empty"), out, ["empty"])
        self.quantize(write_bytes(self.path("text"), b"hello"), out, ["text", "expected a folder"])
        write_bytes(os.path.join(self.make_folder("broken"), "1.jpg"), b"no image")
        self.quantize(self.path("broken"), out, ["none of the 1 images", "1.jpg"])

    def test_outputs(self):
        self.quantize(SCENES, self.make_folder("taken"), ["taken", "folder"])
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        self.quantize(SCENES, pipe, ["pipe", "expected a file name"])
        link = self.path("link")
        os.symlink("/dev/null", link)
        self.quantize(SCENES, link, ["link", "expected a file name"])
        self.refused_cleanly("convert", DENSE, link, words=["expected a file name"])
        self.assertTrue(os.path.islink(link))
        limit = resource.RLIMIT_FSIZE
        _, hard = resource.getrlimit(limit)
        self.quantize(SCENES, self.path("large.safetensors"), ["large.safetensors", "too large"],
                      preexec_fn=lambda: resource.setrlimit(limit, (20000, hard)))

    def test_truncated_files(self):
        for name in ("q.safetensors", "q.pth"):
            whole = read_bytes(self.small_file(name))
            for size in (0, 100, len(whole) // 2, len(whole) - 1):
                cut = write_bytes(self.path("cut-" + name), whole[:size])
                self.refused_cleanly("convert", cut, self.path("out.safetensors"), "--dtype", "int8",
                                     words=["cut-"])
            self.refused_cleanly("quantize", cut, "--calibrate", SCENES, "--out",
                                 self.path("out.safetensors"), words=["cut-"])
            self.refused_cleanly("bench", "--model", cut, "--batch", 1, words=["cut-"])

    def test_scales_that_are_none(self):
        data = read_bytes(self.small_file("q.safetensors"))
        header = struct.unpack("<Q", data[:8])[0]
        tensors = json.loads(data[8:8 + header])
        for part, value in (("input_scale", float("nan")), ("weight_scale", -1.0),
                            ("weight_scale", 3e38)):
            name = "blocks.1.attn.qkv." + part
            damaged = bytearray(data)
            struct.pack_into("<f", damaged, 8 + header + tensors[name]["data_offsets"][0], value)
            path = write_bytes(self.path("damaged.safetensors"), damaged)
            for arguments in (("bench", "--model", path, "--batch", 1),
                              ("convert", path, self.path("out.safetensors"))):
                self.refused_cleanly(*arguments, words=[name, "expected a scale of 1e-30 to 1e6"])


if __name__ == "__main__":
    main()

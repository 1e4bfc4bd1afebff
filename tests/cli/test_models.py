"""Model files: convert, info, diff, the options on reading them, and published checkpoints."""

import array
import json
import math
import os
import resource
import struct
import unittest

from harness import (CommandTest, DIFFERENT, FAILURE, OK, PUBLISHED, SCENES, SHAPE, USAGE, dvit,
                     kept_patches, main, read_bytes, write_bytes, write_ppm)

DENSE = SHAPE + ",classes=4"


def parse(path):
    """Header, and where the data begins, of a safetensors file."""
    data = bytearray(read_bytes(path))
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data, 8 + size


def unparse(path, header, tail):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return write_bytes(path, struct.pack("<Q", len(text)) + text + bytes(tail))


class FileTest(CommandTest):
    def make(self, name, model=DENSE, *more):
        path = self.path(name)
        self.check(dvit("convert", model, path, "--quiet", *more), OK)
        return path

    def poke(self, source, name, values, tensor, first=0):
        """A copy of a safetensors file with some values of a tensor overwritten."""
        header, data, start = parse(source)
        at = start + header[tensor]["data_offsets"][0] + 4 * first
        data[at:at + 4 * len(values)] = struct.pack("<%df" % len(values), *values)
        return write_bytes(self.path(name), data)

    def strip(self, source, name, change=None):
        """A copy without dvit's description: tensors with published names alone."""
        header, data, start = parse(source)
        del header["__metadata__"]
        if change:
            change(header)
        return unparse(self.path(name), header, data[start:])

    def info(self, *arguments):
        return self.check(dvit("info", "--json", *arguments), OK).lines[0]

    def same(self, a, b, *more):
        self.check(dvit("diff", a, b, "--quiet", *more), OK)


class Convert(FileTest):
    def test_there_and_back(self):
        first = self.make("first.safetensors", DENSE, "--keep", "0.7")
        self.check(dvit("convert", first, self.path("second.pth")), OK)
        self.check(dvit("convert", self.path("second.pth"), self.path("third.safetensors")), OK)
        self.assertEqual(self.info(self.path("second.pth"))["file"]["format"], "PyTorch zip")
        self.same(first, self.path("second.pth"))
        self.assertEqual(read_bytes(first), read_bytes(self.path("third.safetensors")))

    def test_answers_stay(self):
        image = write_ppm(self.path("a.ppm"))
        first = self.make("first.safetensors", DENSE, "--keep", "0.7")
        self.check(dvit("convert", first, self.path("second.pth")), OK)
        a, b = (self.check(dvit("classify", "--model", model, "--json", "--logits", "--threads", 1,
                                image), OK).out for model in (first, self.path("second.pth")))
        self.assertEqual(a, b)

    def test_the_name_or_the_option_decides_the_format(self):
        for name, more, form in (("a.pth", (), "PyTorch zip"), ("a.pt", (), "PyTorch zip"),
                                 ("a.bin", (), "PyTorch zip"), ("a.pth.tar", (), "PyTorch zip"),
                                 ("a.safetensors", (), "safetensors"), ("a", (), "safetensors"),
                                 ("b.pth", ("--format", "safetensors"), "safetensors"),
                                 ("b.safetensors", ("--format", "pth"), "PyTorch zip")):
            path = self.make(name, DENSE, *more)
            self.assertEqual(self.info(path)["file"]["format"], form, name)

    def test_half_types(self):
        whole = self.make("whole.safetensors")
        for dtype, tolerance in (("f16", 2e-4), ("bf16", 1e-3)):
            for name in ("half.safetensors", "half.pth"):
                half = self.make(name, whole, "--dtype", dtype)
                file = self.info(half)["file"]
                self.assertEqual(set(file["dtypes"]), {dtype.upper()})
                self.assertEqual(2 * file["tensor_bytes"], self.info(whole)["file"]["tensor_bytes"])
                self.check(dvit("diff", whole, half), DIFFERENT)
                self.same(whole, half, "--tolerance", tolerance)

    def test_too_large_for_f16(self):
        large = self.poke(self.make("a.safetensors"), "large.safetensors", [70000.0], "head.weight")
        out = self.path("half.safetensors")
        self.refused(dvit("convert", large, out, "--dtype", "f16"), FAILURE, "head.weight")
        self.assertFalse(os.path.exists(out))
        self.check(dvit("convert", large, out, "--dtype", "bf16"), OK)

    def test_what_it_says(self):
        first = self.make("first.safetensors")
        out = self.check(dvit("convert", first, self.path("half.pth"), "--dtype", "bf16"), OK).out
        model, before, after = out.splitlines()
        self.assertIn("4 classes, 32x32 pixels", model)
        self.assertIn("first.safetensors: safetensors, ", before)
        self.assertIn("half.pth: PyTorch zip, ", after)
        self.assertIn("(BF16)", after)
        line = self.check(dvit("convert", first, self.path("b.pth"), "--json"), OK).lines[0]
        self.assertEqual(line["in"]["bytes"], os.path.getsize(first))
        self.assertEqual(line["out"]["bytes"], os.path.getsize(self.path("b.pth")))
        self.assertEqual(line["in"]["tensor_count"], line["out"]["tensor_count"])

    def test_never_onto_itself(self):
        first = self.make("first.safetensors")
        before = read_bytes(first)
        os.symlink(first, self.path("link.pth"))
        for out in (first, os.path.join(self.folder, ".", "first.safetensors"),
                    self.path("link.pth")):
            self.refused(dvit("convert", first, out, "--dtype", "f16"), USAGE, "the same file")
        self.assertEqual(read_bytes(first), before)

    def test_impossible_places(self):
        first = self.make("first.safetensors")
        self.refused(dvit("convert", first, self.path("none", "a.pth")), FAILURE, "none")
        self.refused(dvit("convert", first, self.make_folder("folder")), FAILURE, "folder")
        self.refused(dvit("convert", self.path("none"), self.path("a.pth")), FAILURE, "none")
        self.refused(dvit("convert", self.folder, self.path("a.pth")), FAILURE, self.folder)
        self.refused(dvit("convert", first), USAGE, "IN OUT")

    def test_not_a_model(self):
        for content in (b"", b"hello\n" * 100, b"PK\3\4" + bytes(200), b"\x80\x02}q\0.",
                        read_bytes(self.make("a.pth"))[:-1], b"\x89PNG\r\n\x1a\n" + bytes(64)):
            path = write_bytes(self.path("thing"), content)
            self.refused(dvit("convert", path, self.path("out.pth")), FAILURE, "thing")
            self.refused(dvit("diff", path, path), FAILURE, "thing")
            self.refused(dvit("info", path), FAILURE, "thing")
        self.assertFalse(os.path.exists(self.path("out.pth")))

    def test_full_disk(self):
        first, out = self.make("first.safetensors"), self.make("out.pth", DENSE, "--seed", 9)
        before = read_bytes(out)

        def no_large_files():  # EFBIG instead of a signal: Python ignores SIGXFSZ
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        self.refused(dvit("convert", first, out, preexec_fn=no_large_files, restore_signals=False),
                     FAILURE, "out.pth")
        self.assertEqual(read_bytes(out), before)
        self.assertEqual(sorted(os.listdir(self.folder)), ["first.safetensors", "out.pth"])

    def test_keep_is_recorded(self):
        first = self.make("first.safetensors", DENSE, "--keep", "0.7")
        second = self.make("second.safetensors", first, "--keep", "0.5")
        self.assertEqual(self.info(second)["keep"], 0.5)
        self.assertEqual(self.info(second)["tokens"], kept_patches(0.5))
        dense = self.make("dense.safetensors")
        self.refused(dvit("convert", dense, self.path("x.pth"), "--keep", "0.5"), USAGE, "dense")
        self.assertFalse(os.path.exists(self.path("x.pth")))


class Options(FileTest):
    """The options on how a model is read."""

    def test_presets_obey_them(self):
        answer = self.info("deit-t", "--image-size", "384x256", "--classes", 7, "--heads", 6,
                           "--preprocess", "timm", "--quiet")
        self.assertEqual([answer[name] for name in ("image_width", "image_height", "classes",
                                                    "heads", "patches")], [384, 256, 7, 6, 384])
        self.assertEqual(answer["preprocess"]["name"], "timm")
        self.refused(dvit("info", "deit-t", "--average"), USAGE, "--average")
        self.refused(dvit("info", "deit-t", "--image-size", 225), USAGE, "225")

    def test_another_image_size(self):
        first = self.make("first.safetensors")
        answer = dvit("info", first, "--json", "--image-size", "64x48")
        line = self.check(answer, OK).lines[0]
        self.assertEqual((line["image_width"], line["image_height"], line["patches"]), (64, 48, 48))
        self.assertEqual((line["preprocess"]["crop_width"], line["preprocess"]["crop_height"]),
                         (64, 48))
        self.assertIn(first + ": ", answer.err)
        self.assertTrue(line["notes"])
        larger = self.make("larger.safetensors", first, "--image-size", 64)
        self.assertEqual(self.info(larger)["patches"], 64)
        self.refused(dvit("info", first, "--image-size", 60), USAGE, "60")

    def test_another_class_count(self):
        first = self.make("first.safetensors")
        answer = dvit("info", first, "--json", "--classes", 9)
        self.assertEqual(self.check(answer, OK).lines[0]["classes"], 9)
        self.assertIn("9", answer.err)
        for seed in (1, 2):
            self.make("new%d.safetensors" % seed, first, "--classes", 9, "--seed", seed)
        answer = self.check(dvit("diff", self.path("new1.safetensors"),
                                 self.path("new2.safetensors"), "--json"), DIFFERENT)
        self.assertEqual([row["name"] for row in answer.lines[0]["differences"]], ["head.weight"])

    def test_notes_are_told_once_and_not_when_quiet(self):
        first = self.make("first.safetensors")
        loud = dvit("info", first, "--image-size", 64)
        notes = [line for line in loud.err.splitlines() if line.startswith("dvit: %s: " % first)]
        self.assertEqual(len(notes), len(set(notes)))
        self.assertGreaterEqual(len(notes), 1)
        self.assertEqual(dvit("info", first, "--image-size", 64, "--quiet").err, "")

    def test_heads_where_the_file_does_not_tell(self):
        bare = self.strip(self.make("first.safetensors"), "bare.safetensors")
        self.refused(dvit("convert", bare, self.path("x.pth")), FAILURE, "heads")
        self.make("x.safetensors", bare, "--heads", 2)
        self.same(self.path("first.safetensors"), self.path("x.safetensors"))
        self.refused(dvit("convert", bare, self.path("y.pth"), "--heads", 5), USAGE, "5")

    def test_a_thousand_classes_are_imagenets(self):
        path = self.make("thousand.safetensors", SHAPE + ",classes=1000")
        header, data, start = parse(path)
        del header["__metadata__"]
        bare = unparse(self.path("bare.safetensors"), header, data[start:])
        image = write_ppm(self.path("a.ppm"))
        answer = self.check(dvit("classify", "--model", bare, "--heads", 2, "--top", 1000, "--json",
                                 image), OK)
        labels = {entry["class"]: entry["label"] for entry in answer.lines[0]["top"]}
        self.assertEqual((labels[0], labels[999]), ("tench", "toilet tissue"))

    def test_every_misfit_is_told(self):
        def damage(header):
            header["norm.wait"] = header.pop("norm.weight")
            header["blocks.0.norm1.bias"]["shape"] = [2, 16]
        bad = self.strip(self.make("first.safetensors"), "bad.safetensors", damage)
        answer = dvit("convert", bad, self.path("x.pth"), "--heads", 2, "--quiet")
        self.refused(answer, FAILURE, "bad.safetensors")
        for name in ("norm.weight", "norm.wait", "blocks.0.norm1.bias"):
            lines = [line for line in answer.err.splitlines()
                     if name in line and line.startswith("dvit: %s: " % bad)]
            self.assertEqual(len(lines), 1, (name, answer.err))
        line = self.info(bad, "--heads", 2)
        self.assertEqual(len(line["misfits"]), 3)
        self.assertIn("norm.wait", " ".join(line["misfits"]))


class Info(FileTest):
    def test_of_a_model_file(self):
        path = self.make("a.safetensors", DENSE, "--keep", "0.7")
        out = self.check(dvit("info", path), OK).out
        self.assertRegex(out, r"(?m)^blocks\.0\.attn\.qkv +linear")
        self.assertRegex(out, r"(?m)^file +safetensors, [\d.]+ MiB, 86 tensors \(F32\)$")
        self.assertRegex(out, r"(?m)^contents .*dvit\.config")
        line = self.info(path)
        self.assertEqual(line["file"]["dtypes"], {"F32": 86})
        self.assertEqual(line["file"]["bytes"], os.path.getsize(path))
        self.assertEqual(line["notes"], [])

    def test_tensors(self):
        first = self.make("a.safetensors")
        path = self.poke(first, "b.safetensors", [1, 2, 3, 6], "head.bias")
        path = self.poke(path, "c.safetensors", [math.nan, math.inf], "norm.bias")
        rows = {row["name"]: row for row in self.info(path, "--tensors")["file"]["tensors"]}
        bias = rows["head.bias"]
        self.assertEqual([bias[name] for name in ("dtype", "shape", "min", "max", "mean",
                                                  "not_finite")], ["F32", [4], 1, 6, 3, 0])
        self.assertAlmostEqual(bias["std"], math.sqrt(3.5))
        norm = rows["norm.bias"]
        self.assertEqual([norm[name] for name in ("not_finite", "min", "max", "mean", "std")],
                         [2, 0, 0, 0, 0])
        out = self.check(dvit("info", path, "--tensors"), OK).out
        self.assertRegex(out, r"(?m)^head\.bias +F32 +\[4\] +1 +6 +3 +1\.871$")
        self.assertRegex(out, r"(?m)^norm\.bias .* 2$")
        self.assertNotIn("MACs (million)", out)

    def test_contents(self):
        path = self.make("a.safetensors")
        out = self.check(dvit("info", path, "--contents"), OK).out
        self.assertRegex(out, r"(?m)^format +text +pt$")
        values = {row["name"]: row for row in self.info(path, "--contents")["file"]["contents"]}
        self.assertEqual(json.loads(values["dvit.labels"]["value"]), ["0", "1", "2", "3"])

    def test_a_file_that_is_no_model_is_shown(self):
        values = array.array("f", [1, -2, 3])
        path = unparse(self.path("some.safetensors"), {
            "__metadata__": {"who": "a\x1b[31mtest"},
            "first": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
            "number": {"dtype": "I64", "shape": [], "data_offsets": [12, 20]}},
            values.tobytes() + struct.pack("<q", 7))
        answer = self.check(dvit("info", path), OK)
        self.assertRegex(answer.out, r"(?m)^first +F32 +\[3\]$")
        self.assertRegex(answer.out, r"(?m)^number +I64 +\[\]$")
        self.assertRegex(answer.out, r"1 F32, 1 I64|1 I64, 1 F32")
        self.assertIn("no model", answer.err)
        self.assertNotIn("\x1b", answer.out + answer.err)
        line = self.info(path)
        self.assertEqual({row["name"] for row in line["file"]["tensors"]}, {"first", "number"})
        self.assertIn("some.safetensors", line["reason"])
        self.assertNotIn("parameters", line)
        rows = {row["name"]: row for row in self.info(path, "--tensors")["file"]["tensors"]}
        self.assertEqual((rows["number"]["min"], rows["first"]["min"]), (7, -2))

    def test_a_terminal_sees_some_of_many_misfits(self):
        def rename(header):
            for name in list(header):
                if name.startswith("blocks."):
                    header[name.replace("norm", "form")] = header.pop(name)
        bad = self.strip(self.make("a.safetensors"), "bad.safetensors", rename)
        answer = self.check(dvit("info", bad, "--heads", 2), OK)
        told = [line for line in answer.err.splitlines() if line.startswith("dvit: %s: " % bad)]
        self.assertEqual(len(told), 21)
        self.assertIn("12 more", told[-1])
        self.assertEqual(len(self.info(bad, "--heads", 2)["misfits"]), 32)

    def test_wrong_options_stay_errors(self):
        path = self.make("a.safetensors")
        self.refused(dvit("info", path, "--heads", 3), USAGE, "3")
        self.refused(dvit("info", "deit-t", "--tensors"), USAGE, "--tensors")
        self.refused(dvit("info", "deit-t", "--contents"), USAGE, "--contents")


class Diff(FileTest):
    def setUp(self):
        super().setUp()
        self.first = self.make("first.safetensors")

    def diff(self, other, *more, code=DIFFERENT):
        return self.check(dvit("diff", self.first, other, "--json", *more), code).lines[0]

    def test_identical(self):
        answer = self.check(dvit("diff", self.first, self.first), OK)
        self.assertIn("identical: 56 tensors", answer.out)
        line = self.diff(self.first, code=OK)
        self.assertEqual((line["same"], line["different"], line["max"], line["differences"]),
                         (True, 0, 0, []))

    def test_values(self):
        other = self.poke(self.first, "other.safetensors", [0.5, -0.25], "head.bias", 1)
        line = self.diff(other)
        self.assertEqual((line["tensors"], line["different"], line["max"]), (56, 1, 0.5))
        row = line["differences"][0]
        self.assertEqual([row[name] for name in ("name", "difference", "elements", "max",
                                                 "relative")],
                         ["head.bias", "values", 2, 0.5, None])
        self.assertAlmostEqual(row["rms"], math.sqrt((0.25 + 0.0625) / 4))
        out = self.check(dvit("diff", other, self.first), DIFFERENT).out
        self.assertRegex(out, r"(?m)^head\.bias +values +\[4\] +50 +0\.5 +1 +0\.28$")
        self.assertIn("1 of 56 tensors differ; the largest difference is 0.5 in head.bias", out)

    def test_tolerance(self):
        other = self.poke(self.first, "other.safetensors", [0.5], "head.bias")
        self.diff(other, "--tolerance", "0.49")
        line = self.diff(other, "--tolerance", "0.5", code=OK)
        self.assertEqual((line["same"], line["max"]), (True, 0.5))
        self.refused(dvit("diff", self.first, other, "--tolerance", "-1"), USAGE, "--tolerance")

    def test_not_a_number(self):
        nan = self.poke(self.first, "nan.safetensors", [math.nan, math.inf], "head.bias")
        self.check(dvit("diff", nan, nan), OK)
        line = self.diff(nan, "--tolerance", "1e30")
        self.assertEqual((line["differences"][0]["elements"], line["differences"][0]["max"]),
                         (2, None))

    def test_names_and_shapes(self):
        def change(header):
            header["head.extra"] = header.pop("head.bias")
            header["cls_token"]["shape"] = [1, 32]
        other = self.strip(self.first, "other.safetensors", change)
        answer = dvit("diff", self.first, other, "--json", "--raw")
        rows = {row["name"]: row for row in self.check(answer, DIFFERENT).lines[0]["differences"]}
        self.assertEqual({name: row["difference"] for name, row in rows.items()},
                         {"cls_token": "shape", "head.bias": "only in A", "head.extra": "only in B"})
        self.assertEqual((rows["cls_token"]["shape_a"], rows["cls_token"]["shape_b"]),
                         ([1, 1, 32], [1, 32]))
        answer = dvit("diff", self.first, other)
        self.check(answer, DIFFERENT)
        self.assertIn("compared as files of tensors", answer.err)
        self.assertRegex(answer.out, r"(?m)^cls_token +shape +\[1,1,32\] / \[1,32\]$")

    def test_types_count_only_raw(self):
        """Rounded to bf16 and written as f32 again: equal as models, of other types as files."""
        half = self.make("half.safetensors", self.first, "--dtype", "bf16")
        whole = self.make("whole.safetensors", half)
        self.same(half, whole)
        answer = self.check(dvit("diff", half, whole, "--raw", "--json"), DIFFERENT)
        rows = answer.lines[0]["differences"]
        self.assertEqual({(row["difference"], row["dtype_a"], row["dtype_b"]) for row in rows},
                         {("type", "BF16", "F32")})

    def test_container_does_not_matter(self):
        self.same(self.first, self.make("other.pth", self.first))

    def test_settings(self):
        a = self.make("a.safetensors", DENSE, "--keep", "0.7")
        b = self.make("b.safetensors", a, "--keep", "0.5", "--preprocess", "none")
        answer = self.check(dvit("diff", a, b, "--json"), DIFFERENT).lines[0]
        self.assertEqual((answer["same"], answer["different"]), (False, 0))
        settings = {row["name"]: (row["a"], row["b"]) for row in answer["settings"]}
        self.assertEqual(set(settings), {"keep ratio", "preprocessing"})
        self.assertEqual(settings["keep ratio"], ("0.7", "0.5"))
        self.assertRegex(self.check(dvit("diff", a, b), DIFFERENT).out, "keep ratio +0.7 +0.5")

    def test_missing_files(self):
        self.refused(dvit("diff", self.first, self.path("none")), FAILURE, "none")
        self.refused(dvit("diff", self.path("none"), self.first), FAILURE, "none")
        self.refused(dvit("diff", self.first), USAGE, "A B")
        self.refused(dvit("diff", self.first, self.folder), FAILURE, self.folder)


class StartingPoints(FileTest):
    """A checkpoint of other classes as the beginning of a training."""

    def train(self, verb, model, *more):
        return dvit(verb, "--data", SCENES, "--model", model, "--out", self.path("run"), "--epochs",
                    1, "--max-steps", 1, "--batch", 16, "--warmup-epochs", 0, "--threads", 2, *more)

    def recorded(self, name):
        return json.loads(read_bytes(self.path("run", "config.json")))["options"][name]

    def test_a_new_head_only_when_asked_for(self):
        nine = self.make("nine.safetensors", SHAPE + ",classes=9")
        for verb in ("train", "sparsify"):
            self.refused(self.train(verb, nine), FAILURE, "9 classes", "4", "--classes data")
            self.assertFalse(os.path.exists(self.path("run")))

    def test_train(self):
        nine = self.make("nine.safetensors", SHAPE + ",classes=9")
        answer = self.check(self.train("train", nine, "--classes", "data"), OK)
        self.assertIn("dvit: %s: " % nine, answer.err)
        line = self.info(self.path("run", "last.safetensors"), "--contents")
        self.assertEqual(line["classes"], 4)
        labels = {row["name"]: row["value"] for row in line["file"]["contents"]}["dvit.labels"]
        names = [entry["label"] for entry in
                 dvit("data", "--data", SCENES, "--json").lines[0]["classes"]]
        self.assertEqual(json.loads(labels), names)

    def test_sparsify(self):
        nine = self.make("nine.safetensors", SHAPE + ",classes=9")
        answer = self.check(self.train("sparsify", nine, "--classes", "data"), OK)
        self.assertIn("--w-kl is 0", answer.err)
        self.assertEqual(self.recorded("weight_kl"), 0)
        line = self.info(self.path("run", "last.safetensors"))
        self.assertEqual((line["classes"], line["stage_blocks"]), (4, [1, 2, 3]))

    def test_sparsify_with_a_teacher(self):
        nine = self.make("nine.safetensors", SHAPE + ",classes=9")
        four = self.make("four.safetensors")
        answer = self.check(self.train("sparsify", nine, "--classes", 4, "--teacher", four), OK)
        self.assertNotIn("--w-kl is 0", answer.err)
        self.assertEqual(self.recorded("weight_kl"), 0.5)
        answer = self.train("sparsify", four, "--classes", 4, "--teacher", nine, "--quiet")
        self.refused(answer, FAILURE, "9", "4")  # a new head would be no teacher

    def test_an_equal_count_keeps_the_head(self):
        four = self.make("four.safetensors")
        answer = self.check(self.train("train", four, "--classes", "data"), OK)
        self.assertNotIn("head", answer.err)

    def test_another_size(self):
        four = self.make("four.safetensors")
        self.check(self.train("train", four, "--image-size", 48), OK)
        self.assertEqual(self.info(self.path("run", "last.safetensors"))["image_width"], 48)


@unittest.skipUnless(os.path.isdir(PUBLISHED), "no published files")
class Published(FileTest):
    """Files as PyTorch, timm and transformers write them."""

    FILES = {
        "dynamicvit.pth": "PyTorch zip", "deit.pth": "PyTorch legacy",
        "deit_distilled.pth": "PyTorch zip", "dynamicvit_distilled.pth": "PyTorch zip",
        "timm.safetensors": "safetensors", "timm_deit3.safetensors": "safetensors",
        "timm_mean_pool.safetensors": "safetensors", "timm_linear_patch.pth": "PyTorch legacy",
        "timm_averaged.pth.tar": "PyTorch zip", "parallel.pth": "PyTorch zip",
        "compiled.pt": "PyTorch zip", "lvvit.pth.tar": "PyTorch zip",
        "lvvit_dynamic.pth": "PyTorch zip", "hf_vit/model.safetensors": "safetensors",
        "hf_deit/pytorch_model.bin": "PyTorch zip",
        "hf_sharded/model.safetensors.index.json": "sharded safetensors",
    }

    def test_each_is_read_converted_and_the_same(self):
        for name, form in self.FILES.items():
            with self.subTest(file=name):
                path = os.path.join(PUBLISHED, name)
                line = self.info(path, "--heads", 2)
                self.assertEqual(line["file"]["format"], form)
                self.assertEqual((line["classes"], line["dim"], line["heads"]), (5, 16, 2))
                for out in ("out.safetensors", "out.pth"):
                    self.check(dvit("convert", path, self.path(out), "--heads", 2), OK)
                    self.same(path, self.path(out), "--heads", 2)
                    self.assertEqual(self.info(self.path(out))["preprocess"], line["preprocess"])

    def test_the_keep_ratio_and_where_it_is_from(self):
        recorded = dvit("info", os.path.join(PUBLISHED, "dynamicvit.pth"), "--heads", 2, "--json")
        self.assertEqual(self.check(recorded, OK).lines[0]["keep"], 0.7)
        path = os.path.join(PUBLISHED, "parallel.pth")
        answer = self.check(dvit("info", path, "--heads", 2, "--json"), OK)
        self.assertEqual(answer.lines[0]["keep"], 0.7)
        self.assertRegex(answer.err, r"(?m)^dvit: .*parallel\.pth: keep ratio 0\.7")
        image = write_ppm(self.path("a.ppm"))
        answer = self.check(dvit("classify", "--model", path, "--heads", 2, "--keep", "0.5",
                                 "--json", image), OK)
        self.assertEqual(answer.lines[0]["tokens"], kept_patches(0.5))

    def test_what_else_a_checkpoint_holds(self):
        path = os.path.join(PUBLISHED, "dynamicvit.pth")
        out = self.check(dvit("info", path, "--heads", 2), OK).out
        contents = [line for line in out.splitlines() if line.startswith("contents")][0]
        for word in ("model (", "optimizer (", "epoch ", "args ("):
            self.assertIn(word, contents)
        out = self.check(dvit("info", path, "--heads", 2, "--contents"), OK).out
        self.assertRegex(out, r"(?m)^args/base_rate +float +0\.7$")

    def test_averaged_weights(self):
        path = os.path.join(PUBLISHED, "timm_averaged.pth.tar")
        for name, more in (("plain", ()), ("average", ("--average",))):
            self.check(dvit("convert", path, self.path(name), "--heads", 2, *more), OK)
        self.check(dvit("diff", self.path("plain"), self.path("average")), DIFFERENT)
        self.same(path, self.path("plain"), "--heads", 2)
        deit = os.path.join(PUBLISHED, "deit.pth")
        self.refused(dvit("info", deit, "--heads", 2, "--average"), FAILURE, "averag")

    def test_a_training_begins_with_one(self):
        for verb, name in (("sparsify", "deit.pth"), ("train", "hf_vit/model.safetensors"),
                           ("sparsify", "timm.safetensors")):
            with self.subTest(file=name):
                path = os.path.join(PUBLISHED, name)
                arguments = (verb, "--data", SCENES, "--model", path, "--heads", 2, "--epochs", 1,
                             "--max-steps", 1, "--batch", 16, "--warmup-epochs", 0, "--out",
                             self.path(verb + os.path.basename(name)))
                self.refused(dvit(*arguments), FAILURE, "5 classes", "4", "--classes data")
                self.check(dvit(*arguments, "--classes", "data"), OK)


if __name__ == "__main__":
    main()

"""Models that cannot answer: NaN in the weights, absurd scales, a head that was never trained. Each is
an error or a warning, and never a class."""

import csv
import json
import os
import struct
import unittest

from harness import (CommandTest, FAILURE, OK, SCENES, SHAPE, dvit, main, read_bytes, write_bytes,
                     write_ppm)

NAN, INF = float("nan"), float("inf")


class BrokenModel(CommandTest):
    def model(self, name="m.safetensors", shape=SHAPE + ",classes=4"):
        self.check(dvit("convert", shape, self.path(name), "--quiet"), OK)
        return self.path(name)

    def poke(self, path, tensor, *values, first=0):
        """Overwrites F32 values of one tensor."""
        data = bytearray(read_bytes(path))
        size = struct.unpack("<Q", data[:8])[0]
        begin = 8 + size + json.loads(data[8:8 + size])[tensor]["data_offsets"][0] + 4 * first
        data[begin:begin + 4 * len(values)] = struct.pack("<%df" % len(values), *values)
        return write_bytes(path, data)

    def photo(self, name="a.ppm"):
        return write_ppm(self.path(name))


class NonFiniteWeights(BrokenModel):
    """Softmax hides an infinite key, rounding hides a NaN: a finite answer proves nothing."""

    def broken(self, value=NAN, tensor="blocks.0.attn.qkv.weight"):
        return self.poke(self.model(), tensor, value, first=3)

    def test_no_command_answers(self):
        data = ("--data", SCENES, "--quiet")
        for value in (NAN, INF, -INF):
            for tensor in ("blocks.0.attn.qkv.weight", "blocks.1.norm2.bias", "head.bias"):
                model, out = self.broken(value, tensor), self.path("out")
                for command in (("classify", "--model", model, self.photo(), "--quiet"),
                                ("eval", "--model", model, *data),
                                ("bench", "--model", model, "--quiet"),
                                ("quantize", model, "--calibrate", SCENES, "--out", out, "--quiet")):
                    answer = dvit(*command)
                    self.refused(answer, FAILURE, tensor, "not finite")
                    self.assertEqual(answer.out, "")

    def test_no_training_begins(self):
        model, out = self.broken(), self.path("run")
        good = self.model("good.safetensors")
        short = ("--epochs", 1, "--batch", 8, "--quiet", "--data", SCENES, "--out", out)
        for command in (("train", "--model", model), ("sparsify", "--model", model),
                        ("train", "--model", good, "--teacher", model)):
            self.refused(dvit(*command, *short), FAILURE, "blocks.0.attn.qkv.weight", "not finite")
            self.assertFalse(os.path.exists(out) and os.listdir(out), command)

    def test_a_warning_names_the_tensor_when_the_file_is_read(self):
        answer = self.check(dvit("info", self.broken()), OK)
        self.assertIn('warning: tensor "blocks.0.attn.qkv.weight" has 1 of 3072 values that are not '
                      "finite", answer.err)


class Overflow(BrokenModel):
    """All weights are finite, and the logits are not."""

    def broken(self):
        self.poke(self.model(), "norm.weight", *[1e30] * 32)
        return self.poke(self.path("m.safetensors"), "head.weight",
                         *[1e30 * (-1) ** (i + i // 32) for i in range(4 * 32)])

    def test_classify_has_no_answer(self):
        answer = dvit("classify", "--model", self.broken(), self.photo(), "--quiet")
        self.refused(answer, FAILURE, "a.ppm", "no answer", "although all weights are")
        self.assertEqual(answer.out, "")

    def test_classify_tells_it_in_json_for_each_file(self):
        answer = dvit("classify", "--model", self.broken(), self.photo(), self.photo("b.ppm"), "--json")
        self.check(answer, FAILURE)
        self.assertEqual(len(answer.lines), 2)
        for line in answer.lines:
            self.assertEqual(set(line), {"file", "error"})
            self.assertIn("not finite", line["error"])

    def evaluate(self, *arguments):
        return dvit("eval", "--data", SCENES, "--seconds", "0.01", "--rounds", 1, *arguments)

    def test_eval_counts_no_answer_as_wrong(self):
        out = self.path("p.csv")
        answer = self.check(self.evaluate("--model", self.broken(), "--json", "--predictions", out),
                            FAILURE)
        result = answer.lines[0]
        self.assertEqual((result["images"], result["unanswered"]), (40, 40))
        self.assertEqual((result["top1"], result["top5"], result["loss"]), (0, 0, None))
        self.assertIn("no answer to 40 of 40 images", answer.err)
        with open(out, newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                self.assertEqual((row["prediction"], row["probability"], row["correct"]), ("", "", ""))
                self.assertIn("no answer", row["error"])

    def test_the_table_of_eval_has_no_nan(self):
        answer = self.check(self.evaluate("--model", self.broken(), "--per-class"), FAILURE)
        self.assertNotIn("nan", answer.out)

    def test_a_good_model_beside_a_broken_one(self):
        good = self.model("good.safetensors")
        answer = self.check(self.evaluate("--model", good, "--model", self.broken(), "--json"), FAILURE)
        self.assertEqual([line["unanswered"] for line in answer.lines], [0, 40])

    def test_compare_precisions(self):
        answer = dvit("eval", "--model", self.broken(), "--data", SCENES, "--compare-precisions",
                      "--json", "--cpu", "reference", "--limit", 8)
        self.check(answer, FAILURE)
        self.assertEqual((answer.lines[0]["unanswered"], answer.lines[0]["agreement"]), (8, 0))

    def test_quantize_refuses(self):
        out = self.path("q.safetensors")
        answer = dvit("quantize", self.broken(), "--calibrate", SCENES, "--out", out, "--quiet")
        self.refused(answer, FAILURE, "not finite")
        self.assertRaises(FileNotFoundError, read_bytes, out)


class Heads(BrokenModel):
    def test_a_head_that_was_never_trained_is_a_warning(self):
        model = self.poke(self.model(), "head.weight", *[0.0] * (4 * 32))
        answer = self.check(dvit("classify", "--model", model, self.photo()), OK)
        self.assertIn("every class gets the same logit", answer.err)

    def test_a_new_head_is_none_of_that(self):
        answer = self.check(dvit("classify", "--model", self.model(), self.photo()), OK)
        self.assertNotIn("every class", answer.err)


class Scales(BrokenModel):
    def test_absurd_scales_are_refused_by_name(self):
        model, out = self.model(), self.path("q.safetensors")
        self.check(dvit("quantize", model, "--calibrate", SCENES, "--out", out, "--quiet"), OK)
        good = read_bytes(out)
        for value in (1e10, 0.0, -1.0, NAN, INF, 1e-38):
            for name in ("input_scale", "weight_scale"):
                write_bytes(out, good)
                self.poke(out, "blocks.1.mlp.fc1." + name, value)
                self.refused(dvit("classify", "--model", out, self.photo(), "--quiet"), FAILURE,
                             "blocks.1.mlp.fc1." + name, "expected a scale of 1e-30 to 1e6")


if __name__ == "__main__":
    main()

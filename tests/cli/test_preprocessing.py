"""What a model's answers depend on beside its weights, where the file is silent: heads and
preprocessing, their warnings and their options."""

import json
import struct

from harness import CommandTest, FAILURE, OK, SHAPE, USAGE, dvit, main, read_bytes, write_bytes, write_ppm

OPTIONS = ("--mean", "0.5", "--std", "0.5,0.4,0.3", "--crop", "0.95", "--interpolation", "bilinear",
           "--resize", "pillow13")
TOLD = "custom: short side to 33 (bilinear, pillow13), crop 32x32, mean 0.5 0.5 0.5, std 0.5 0.4 0.3"


def bare(source, path):
    """The tensors of a file that dvit wrote, without its description."""
    data = read_bytes(source)
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return write_bytes(path, struct.pack("<Q", len(text)) + text + data[8 + size:])


class Bare(CommandTest):
    def model(self, shape=SHAPE + ",classes=4", *more):
        made = self.path("made.safetensors")
        self.check(dvit("convert", shape, made, "--quiet", *more), OK)
        return bare(made, self.path("bare.safetensors"))

    def logits(self, model, *more):
        image = write_ppm(self.path("image.ppm"), 32, 32)
        answer = self.check(dvit("classify", "--json", "--logits", "--model", model, image, *more), OK)
        return answer.lines[0]["logits"]


class Heads(Bare):
    def test_a_guess_is_a_warning_that_names_its_option(self):
        shape = "vit:dim=128,depth=1,heads=4,mlp=64,patch=8,image=32,classes=4"
        model = self.model(shape)
        answer = self.check(dvit("info", model), OK)
        self.assertRegex(answer.err, r"warning: heads 2 is a guess.*wrong answers.*--heads")
        answer = self.check(dvit("info", model, "--heads", 4, "--json"), OK)
        self.assertNotIn("guess", answer.err)
        self.assertEqual(answer.lines[0]["heads"], 4)

    def test_published_shapes_are_known(self):
        shape = "vit:dim=192,depth=9,heads=12,mlp=384,patch=16,image=16,classes=2"
        answer = self.check(dvit("info", self.model(shape), "--json"), OK)
        self.assertEqual(answer.lines[0]["heads"], 12)
        self.assertNotIn("heads", answer.err)

    def test_widths_that_leave_them_open_are_refused(self):
        image = write_ppm(self.path("image.ppm"))
        self.refused(dvit("classify", "--model", self.model(), image), FAILURE, "--heads")


class TimmConfig(Bare):
    """config.json as timm writes it, beside tensors with its names."""

    def describe(self, model_args=None, **more):
        cfg = {"input_size": [3, 32, 32], "interpolation": "bicubic", "crop_pct": 1.0,
               "crop_mode": "center", "mean": [0.5] * 3, "std": [0.5] * 3}
        cfg.update(more.pop("cfg", {}))
        text = json.dumps(dict({"architecture": "vit_tiny", "pretrained_cfg": cfg,
                                "model_args": model_args or {}}, **more))
        write_bytes(self.path("config.json"), text.encode())

    def test_what_it_states_is_used_or_refused_by_name(self):
        model = self.model()
        image = write_ppm(self.path("image.ppm"), 32, 32)
        for wrong, word in (({"act_layer": "quick_gelu"}, "act_layer"), ({"reg_tokens": 4}, "reg_tokens"),
                            ({"depth": 5}, "depth is 5"), ({"mystery": 1}, "mystery")):
            self.describe(dict(wrong, num_heads=2))
            self.refused(dvit("classify", "--model", model, image), FAILURE, word)
        self.describe({"num_heads": 2}, global_pool="avg")
        self.refused(dvit("classify", "--model", model, image), FAILURE, "global_pool", "norm.weight")
        self.describe({"num_heads": 2}, cfg={"interpolation": "lanczos"})
        self.refused(dvit("classify", "--model", model, image), FAILURE, "lanczos", "--preprocess")
        self.describe({"num_heads": 4}, label_names=["ant", "bee", "cat", "dog"])
        answer = self.check(dvit("classify", "--model", model, image, "--json"), OK)
        self.assertEqual({one["label"] for one in answer.lines[0]["top"]}, {"ant", "bee", "cat", "dog"})
        told = self.check(dvit("info", model, "--json"), OK).lines[0]
        self.assertEqual((told["heads"], told["preprocess"]["mean"]), (4, [0.5, 0.5, 0.5]))
        self.describe({"num_heads": 4}, label_names=["ant"])
        self.assertIn("warning: config.json has names for classes",
                      self.check(dvit("info", model), OK).err)

    def test_positions_are_interpolated_as_their_owners_do(self):
        model = self.model()
        err = self.check(dvit("info", model, "--heads", 2, "--image-size", 64), OK).err
        self.assertIn("as DeiT does, without timm's antialiasing", err)
        self.describe({"num_heads": 2})
        err = self.check(dvit("info", model, "--image-size", 64), OK).err
        self.assertIn("antialiased as timm does", err)


class Options(Bare):
    def test_the_note_on_the_default_names_them(self):
        err = self.check(dvit("info", self.model(), "--heads", 2), OK).err
        for word in ('warning: preprocessing "dynamicvit"', "0.5", "--preprocess augreg", "--mean",
                     "--std", "--crop", "--interpolation"):
            self.assertIn(word, err)
        err = self.check(dvit("info", self.path("bare.safetensors"), "--heads", 2, "--mean", "0.5",
                              "--std", "0.5"), OK).err
        self.assertNotIn("warning", err)

    def test_mean_and_std_of_a_half_have_a_name(self):
        model = self.model()
        half = self.logits(model, "--heads", 2, "--preprocess", "augreg")
        self.assertEqual(half, self.logits(model, "--heads", 2, "--mean", "0.5", "--std", "0.5"))
        self.assertEqual(half, self.logits(model, "--heads", 2, "--preprocess", "none",
                                           "--mean", "0.5,0.5,0.5", "--std", "0.5"))
        self.assertNotEqual(half, self.logits(model, "--heads", 2))

    def test_each_command_that_loads_takes_them(self):
        made, out = self.path("made.safetensors"), self.path("out.safetensors")
        self.check(dvit("convert", SHAPE + ",classes=4", made, "--quiet"), OK)
        self.check(dvit("convert", made, out, *OPTIONS), OK)
        self.assertIn(TOLD, self.check(dvit("info", out), OK).out)       # stored in the file
        self.assertIn(TOLD, self.check(dvit("info", made, *OPTIONS), OK).out)
        self.assertIn("pillow12", self.check(dvit("info", made), OK).out)
        stored = self.check(dvit("info", out, "--json"), OK).lines[0]["preprocess"]
        self.assertEqual((stored["resize"], stored["filter"]), ("pillow13", "bilinear"))
        image = write_ppm(self.path("image.ppm"), 40, 90)
        one = self.check(dvit("classify", "--model", out, image, "--json", "--logits"), OK).lines[0]
        two = self.check(dvit("classify", "--model", made, image, "--json", "--logits", *OPTIONS), OK)
        self.assertEqual(one["logits"], two.lines[0]["logits"])
        scenes = "builtin:scenes,image=32,classes=4,train=16,val=8"
        self.check(dvit("eval", "--model", made, "--data", scenes, *OPTIONS, "--quiet"), OK)
        self.check(dvit("quantize", made, "--calibrate", scenes, "--out", self.path("q.safetensors"),
                        *OPTIONS, "--quiet"), OK)
        self.assertIn("custom: short side to 33", self.check(dvit("info", self.path("q.safetensors")),
                                                             OK).out)
        self.check(dvit("train", "--model", made, "--data", scenes, "--epochs", 1, "--batch", 8,
                        "--mean", "0.5", "--std", "0.5", "--out", self.path("run"), "--quiet"), OK)
        trained = self.check(dvit("info", self.path("run", "last.safetensors"), "--json"), OK)
        self.assertEqual(trained.lines[0]["preprocess"]["mean"], [0.5, 0.5, 0.5])

    def test_the_order_of_passes_differs_on_tall_images_only(self):
        model = self.path("model.safetensors")
        self.check(dvit("convert", SHAPE + ",classes=4", model, "--quiet"), OK)
        for width, height, same in ((90, 40, True), (60, 400, False)):
            image = write_ppm(self.path("image.ppm"), width, height)
            both = [self.check(dvit("classify", "--model", model, image, "--json", "--logits",
                                    "--resize", order), OK).lines[0]["logits"]
                    for order in ("pillow12", "pillow13")]
            self.assertEqual(both[0] == both[1], same)

    def test_values_out_of_range_are_refused(self):
        for wrong in (("--std", "0"), ("--std", "1e-30"), ("--std", "nan"), ("--std", "-1"),
                      ("--std", "58.4"), ("--mean", "123.675"), ("--mean", "0.5,0.5"),
                      ("--mean", "inf"), ("--crop", "0"), ("--crop", "1.5"),
                      ("--interpolation", "lanczos"), ("--resize", "pillow14")):
            self.refused(dvit("info", SHAPE, *wrong), USAGE, wrong[0])
        self.refused(dvit("info", SHAPE, "--preprocess", "none", "--crop", "0.9"), USAGE, "crop")


if __name__ == "__main__":
    main()

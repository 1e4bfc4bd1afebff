"""Where weights lie in a file: keys, prefixes, several models, whole modules. The files are made here."""

import unittest

from harness import CommandTest, FAILURE, OK, SCENES, USAGE, dvit, write_ppm
from model_files import read_safetensors, save_safetensors, save_torch

SMALL = "vit:dim=32,depth=2,heads=2,patch=8,image=32,classes=4"


class Places(CommandTest):
    def setUp(self):
        super().setUp()
        self.image = write_ppm(self.path("a.ppm"), 32, 32)
        self.plain = self.path("plain.safetensors")
        self.check(dvit("convert", SMALL, self.path("own.safetensors")), OK)
        self.tensors = read_safetensors(self.path("own.safetensors"))
        save_safetensors(self.plain, self.tensors)
        self.answer = self.logits(self.plain)

    def ask(self, model, *more):
        return dvit("classify", "--model", model, "--heads", 2, "--json", "--logits", *more,
                    self.image)

    def logits(self, model, *more):
        return self.check(self.ask(model, *more), OK).lines[0]["logits"]

    def prefixed(self, prefix, without=()):
        return {prefix + name: tensor for name, tensor in self.tensors.items()
                if not name.startswith(tuple(without))}

    def test_any_key_and_any_prefix(self):
        for number, (tree, note) in enumerate((
                ({"model_state_dict": self.tensors, "epoch": 3}, "under \"model_state_dict\""),
                ({"state_dict": self.prefixed("model.")}, None),
                ({"net": self.tensors, "acc": 1}, "under \"net\""),
                (self.prefixed("backbone."), "behind the prefix \"backbone.\""),
                ({"model_ema": self.tensors}, "averaged ones"),
                ({"a": {"b": self.prefixed("c.d.")}}, "under \"a/b\", behind the prefix \"c.d.\""))):
            path = self.path("%d.pth" % number)
            save_torch(path, tree)
            answer = self.check(self.ask(path), OK)
            self.assertEqual(answer.lines[0]["logits"], self.answer)
            self.assertEqual("the weights lie" in answer.err, note is not None, answer.err)
            self.assertIn(note or "", answer.err)

    def test_several_are_named_and_chosen(self):
        path = self.path("dino.pth")
        save_torch(path, {"student": self.prefixed("module.backbone.", ["head"]),
                          "teacher": self.prefixed("backbone.", ["norm.weight"])})
        self.refused(self.ask(path), FAILURE, "student/module.backbone.", "teacher/backbone.",
                     "--weights-key KEY")
        answer = self.check(self.ask(path, "--weights-key", "student", "--classes", 4), OK)
        self.assertIn("head for 4 classes is new", answer.err)
        self.refused(self.ask(path, "--weights-key", "teacher"), FAILURE, "norm.weight")
        self.refused(self.ask(path, "--weights-key", "nobody"), FAILURE, "nobody",
                     "student/module.backbone.")
        self.refused(self.ask(SMALL, "--weights-key", "student"), USAGE, "needs a model file")

    def test_whole_modules(self):
        def module(name, parameters, modules):
            return ("object", name, {"training": False, "_parameters": parameters, "_buffers": {},
                                     "_modules": modules})

        def tree(tensors):
            own, below = {}, {}
            for name, tensor in tensors.items():
                first, dot, rest = name.partition(".")
                if dot:
                    below.setdefault(first, {})[rest] = tensor
                else:
                    own[name] = tensor
            return module("net.Module", own, {name: tree(inner) for name, inner in below.items()})

        for number, whole in enumerate((tree(self.tensors), {"model": tree(self.tensors)},
                                        module("net.Wrapper", {}, {"module": tree(self.tensors)}))):
            path = self.path("%d.pth" % number)
            save_torch(path, whole)
            self.assertEqual(self.logits(path), self.answer)

    def test_one_head_of_a_distilled_model_stays_one(self):
        shape = SMALL + ",distilled=1,one_head=1"
        own = self.path("one_head.safetensors")
        self.check(dvit("convert", shape, own), OK)
        self.assertNotIn("head_dist.weight", read_safetensors(own))
        self.assertEqual(self.logits(own), self.logits(shape))

    def headless(self):
        path = self.path("backbone.safetensors")
        save_safetensors(path, self.prefixed("", ["head."]))
        return path

    def test_feature_extractors_take_new_heads_everywhere(self):
        model = self.headless()
        for verb in (["classify", self.image], ["bench"], ["eval", "--data", SCENES],
                     ["convert"], ["train"], ["sparsify"]):
            more = ["--data", SCENES] if verb[0] in ("train", "sparsify") else []
            name = ["--out", self.path("none")] if more else []
            operands = [model, self.path("none.pth")] if verb[0] == "convert" else []
            error = dvit(*verb, *operands, *([] if operands else ["--model", model]), "--heads", 2,
                         *more, *name)
            self.refused(error, FAILURE, "has no classifier", "--classes")
        self.check(dvit("classify", "--model", model, "--heads", 2, "--classes", 4, self.image), OK)
        self.check(dvit("eval", "--model", model, "--heads", 2, "--classes", 4, "--data", SCENES,
                        "--limit", 4), OK)
        stages = {"sparsify": ["--stages", 1]}
        for verb in ("train", "sparsify"):
            run = dvit(verb, "--model", model, "--heads", 2, "--classes", "data", "--data", SCENES,
                       "--out", self.path(verb), *stages.get(verb, []), "--epochs", 1, "--max-steps", 1, "--batch", 8,
                       "--warmup-epochs", 0, "--ema", 0)
            self.check(run, OK)
            self.assertIn("head for 4 classes is new: the file has none", run.err)


if __name__ == "__main__":
    unittest.main()

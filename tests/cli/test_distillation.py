"""Teachers of other shapes, teachers of dense models, and answers that are kept."""

import os

from harness import (CommandTest, FAILURE, Models, OK, SCENES, SHAPE, USAGE, dvit, main,
                     read_bytes)

QUICK = ("--data", SCENES, "--batch", "16", "--threads", "2", "--warmup-epochs", "0", "--ema", "0",
         "--epochs", "2", "--max-steps", "6")


class Distillation(CommandTest):
    @classmethod
    def setUpClass(cls):
        Models.make()

    def run_verb(self, verb, out, *more, model):
        return dvit(verb, *QUICK, "--model", model, "--out", self.path(out), *more)

    def step(self, answer):
        return [event for event in answer.lines if event["event"] == "step"][-1]

    def test_a_teacher_of_another_shape(self):
        wide = SHAPE.replace("dim=32", "dim=64")
        self.check(self.run_verb("train", "wide", model=wide), OK)
        answer = self.check(self.run_verb(
            "sparsify", "run", "--log-every", 1, "--json", "--teacher",
            self.path("wide", "last.safetensors"), model=Models.best("dense")), OK)
        self.assertIn("teaches by its classes alone", answer.err)
        step = self.step(answer)
        self.assertGreater(step["loss_kl"], 0)
        self.assertEqual(step["loss_token"], 0)

    def test_a_dense_student(self):
        run = ("--log-every", 1, "--json")
        alone = self.check(self.run_verb("train", "alone", *run, model=SHAPE), OK)
        taught = self.check(self.run_verb("train", "taught", *run, "--teacher",
                                          Models.best("dense"), model=SHAPE), OK)
        self.assertNotEqual(self.step(alone)["loss"], self.step(taught)["loss"])
        self.assertNotEqual(read_bytes(self.path("alone", "last.safetensors")),
                            read_bytes(self.path("taught", "last.safetensors")))

    def test_kept_answers(self):
        teacher, run = Models.best("dense"), ("--no-augment", "--w-token", "0.5")
        results = []
        for out, more in (("a", ()), ("b", ("--cache-teacher", self.path("kept"))),
                          ("c", ("--cache-teacher", self.path("kept")))):
            answer = self.check(self.run_verb("sparsify", out, *run, *more, model=teacher), OK)
            self.assertEqual("teacher's answers are kept" in answer.err, out != "a")
            results.append(read_bytes(self.path(out, "last.safetensors")))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])
        self.assertEqual(len(os.listdir(self.path("kept"))), 1)

    def test_mistakes(self):
        kept = ("--cache-teacher", self.path("kept"))
        dense = Models.best("dense")
        self.refused(self.run_verb("sparsify", "run", "--quiet", *kept, model=dense), USAGE,
                     "augmentation")
        self.refused(self.run_verb("train", "run", "--quiet", "--no-augment", *kept, model=SHAPE),
                     USAGE, "no teacher's answers")
        self.refused(self.run_verb("sparsify", "run", "--quiet", "--no-augment", *kept,
                                   "--cache-limit", "1e-6", model=dense), FAILURE, "limit")
        self.refused(self.run_verb("sparsify", "run", "--cache-limit", "0", model=dense), USAGE,
                     "--cache-limit")


if __name__ == "__main__":
    main()

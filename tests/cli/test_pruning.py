"""The ways to prune, from outside: train one, look at it, run it, and what is refused."""

import json
import os

from harness import CommandTest, FAILURE, Models, OK, SCENES, USAGE, dvit, main

QUICK = ("--data", SCENES, "--batch", "16", "--threads", "2", "--warmup-epochs", "0", "--ema", "0",
         "--epochs", "1", "--max-steps", "4")


class Pruning(CommandTest):
    def sparsify(self, out, *more):
        return dvit("sparsify", *QUICK, "--model", Models.make().best("dense"), "--out", self.path(out), *more)

    def info(self, *more):
        answer = self.check(dvit("info", "--json", *more), OK)
        return json.loads(answer.out)

    def test_each_way_is_trained_and_recorded(self):
        for kind in ("static", "random", "attention", "pool"):
            out = self.path(kind)
            self.check(self.sparsify(kind, "--pruning", kind, "--stages", "1"), OK)
            model = os.path.join(out, "last.safetensors")
            told = self.info(model)
            self.assertEqual(told["pruning"], kind)
            self.assertEqual(told["keep"], 0.25 if kind == "pool" else 0.7)
            text = self.check(dvit("info", model), OK).out
            self.assertIn("pruning: " + kind, text)
            with open(os.path.join(out, "config.json"), encoding="utf-8") as stream:
                self.assertEqual(json.load(stream)["model"]["pruning"], kind)
            answer = self.check(dvit("eval", "--data", SCENES, "--model", model, "--json",
                                     "--seconds", "0.01", "--rounds", "1"), OK)
            got = json.loads(answer.out)
            patches = told["patches"]
            self.assertEqual(got["tokens"], [patches // 4 if kind == "pool" else
                                             int(patches * 0.7)])
            self.assertEqual("object_kept_share" in got, kind != "pool")
            # a model that pools drops nothing that a picture could show
            self.assertEqual(os.path.exists(os.path.join(out, "kept")), kind != "pool")

    def test_learned_is_the_usual_way(self):
        self.check(self.sparsify("one"), OK)
        self.check(self.sparsify("two", "--pruning", "learned"), OK)
        with open(self.path("one", "last.safetensors"), "rb") as one, \
                open(self.path("two", "last.safetensors"), "rb") as two:
            self.assertEqual(one.read(), two.read())

    def test_pooling_has_one_ratio(self):
        answer = self.check(self.sparsify("out", "--pruning", "pool", "--keep", "0.5"), USAGE)
        self.assertIn("expected 0.25", answer.err)
        answer = self.check(self.sparsify("out", "--pruning", "pool", "--keep", "0.2..0.9"), USAGE)
        self.assertIn("expected 0.25", answer.err)
        self.check(self.sparsify("pool", "--pruning", "pool", "--stages", "1"), OK)
        model = self.path("pool", "last.safetensors")
        answer = self.check(dvit("eval", "--data", SCENES, "--model", model, "--keep", "0.5"),
                            USAGE)
        self.assertIn("pools its patches: expected 0.25", answer.err)

    def test_a_plot_has_a_line_for_each_way(self):
        self.check(self.sparsify("static", "--pruning", "static"), OK)
        plot = self.path("plot.svg")
        models = ("--model", Models.best("dense"), "--model", Models.best("dynamic"), "--model",
                  self.path("static", "last.safetensors"))
        quick = ("--seconds", "0.01", "--rounds", "1", "--data", SCENES)
        self.check(dvit("eval", *quick, *models, "--plot", plot, "--plot-by", "pruning"), OK)
        with open(plot, encoding="utf-8") as stream:
            text = stream.read()
        for name in ("dense", "learned", "static"):
            self.assertIn('">%s</text>' % name, text)
        self.check(dvit("eval", *quick, "--model", Models.best("dynamic"), "--keep", "1,0.7,0.5",
                        "--plot", plot), OK)
        with open(plot, encoding="utf-8") as stream:
            text = stream.read()
        self.assertEqual(text.count('class="name"'), 1)
        self.assertEqual(text.count("<circle"), 2 * 3 + 1)
        answer = self.check(dvit("eval", *quick, "--model", Models.best("dynamic"), "--plot",
                                 self.path("no", "plot.svg")), FAILURE)
        self.assertIn("there is no folder", answer.err)

    def test_stages_keep_their_way(self):
        self.check(self.sparsify("static", "--pruning", "static"), OK)
        model = self.path("static", "last.safetensors")
        answer = self.check(dvit("sparsify", *QUICK, "--model", model, "--out", self.path("other"),
                                 "--w-kl", 0, "--w-token", 0, "--pruning", "random"), FAILURE)
        self.assertIn("stages that prune by static", answer.err)

    def test_unknown_ways_are_named(self):
        answer = self.check(self.sparsify("out", "--pruning", "best"), USAGE)
        self.assertIn("learned|static|random|attention|pool", answer.err)


if __name__ == "__main__":
    main()

"""What a run tells of itself, from outside: its report, its table, its events, its pictures."""

import csv
import glob
import json
import os
import re

from harness import CommandTest, Models, OK, SCENES, SHAPE, dvit, main, read_bytes

QUICK = ("--data", SCENES, "--batch", "16", "--threads", "2", "--warmup-epochs", "0", "--ema",
         "0.9", "--log-every", "2")


class ObservingTest(CommandTest):
    def train(self, out, *more, model=SHAPE, verb="train"):
        return dvit(verb, *QUICK, "--model", model, "--out", self.path(out), *more)

    def text(self, *parts):
        return read_bytes(self.path(*parts)).decode("utf-8")


class Dense(ObservingTest):
    def test_a_run_ends_with_its_report(self):
        answer = self.check(self.train("run", "--epochs", 2), OK)
        self.assertIn("report: " + self.path("run", "report.html"), answer.err)
        page = self.text("run", "report.html")
        for words in ("Validation accuracy", "Throughput", "Learning rate", "Configuration"):
            self.assertIn(words, page)
        self.assertNotIn("epoch by epoch", page)
        self.assertFalse(os.path.exists(self.path("run", "kept")))

    def test_a_stopped_run_has_one_too(self):
        self.check(self.train("run", "--epochs", 2, "--max-steps", 3), OK)
        self.assertIn("step limit reached", self.text("run", "report.html"))

    def test_the_table_is_a_table(self):
        self.check(self.train("run", "--epochs", 2), OK)
        with open(self.path("run", "log.csv"), encoding="ascii", newline="") as stream:
            rows = list(csv.DictReader(stream))
        lines = [json.loads(line) for line in self.text("run", "log.jsonl").splitlines()]
        logged = [line for line in lines if line["event"] in ("step", "evaluated")]
        self.assertEqual([int(row["step"]) for row in rows], [line["step"] for line in logged])
        for row, line in zip(rows, logged):
            self.assertNotIn(None, row)  # more cells than names
            own, other = ("loss", "val_loss") if line["event"] == "step" else ("val_loss", "loss")
            self.assertEqual(float(row[own]), line["loss"])
            self.assertEqual(row[other], "")

    def test_events_may_be_left_out(self):
        self.check(self.train("with", "--epochs", 1), OK)
        self.check(self.train("without", "--epochs", 1, "--no-tensorboard"), OK)
        events = "events.out.tfevents.*"
        self.assertEqual(len(glob.glob(self.path("with", events))), 1)
        self.assertEqual(len(glob.glob(self.path("without", events))), 0)


class Dynamic(ObservingTest):
    @classmethod
    def setUpClass(cls):
        Models.make()

    def test_kept_patches_over_the_epochs(self):
        self.check(self.train("run", "--epochs", 3, model=Models.best("dense"), verb="sparsify"),
                   OK)
        names = ["epoch-%04d.png" % epoch for epoch in (1, 2, 3)]
        self.assertEqual(sorted(os.listdir(self.path("run", "kept"))), names)
        for name in names:
            self.assertTrue(read_bytes(self.path("run", "kept", name)).startswith(b"\x89PNG"))
        page = self.text("run", "report.html")
        self.assertEqual(re.findall("<figcaption>epoch (.)</figcaption>", page), ["1", "2", "3"])
        self.assertIn("keep_3", self.text("run", "log.csv").splitlines()[0])

    def test_drawing_does_not_change_the_run(self):
        run = ("--epochs", 2)
        dense = Models.best("dense")
        self.check(self.train("whole", *run, model=dense, verb="sparsify"), OK)
        self.check(self.train("parts", "--max-steps", 9, *run, model=dense, verb="sparsify"), OK)
        self.check(self.train("parts", "--resume", *run, model=dense, verb="sparsify"), OK)
        for name in ("last.safetensors", os.path.join("kept", "epoch-0002.png")):
            self.assertEqual(read_bytes(self.path("whole", name)),
                             read_bytes(self.path("parts", name)), name)


if __name__ == "__main__":
    main()

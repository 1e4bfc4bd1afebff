"""Training from outside: what it prints and leaves behind, stopping, going on, a full disk."""

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import time

from harness import (CommandTest, DVIT, FAILURE, GOLDENS, INTERRUPTED, Models, OK, SCENES, SHAPE, USAGE,
                     dvit, environment, main, read_bytes, write_ppm)

QUICK = ("--data", SCENES, "--batch", "16", "--threads", "2", "--warmup-epochs", "0", "--ema",
         "0.9")


SAVED_WITHIN_S = 10  # after a signal, on a machine with much else to do


class TrainingTest(CommandTest):
    def train(self, out, *more, model=SHAPE, verb="train"):
        return dvit(verb, *QUICK, "--model", model, "--out", self.path(out), *more)


class Train(TrainingTest):
    def test_run_folder_and_messages(self):
        answer = self.check(self.train("run", "--epochs", 2), OK)
        self.assertEqual(answer.out, self.path("run", "best.safetensors") + "\n")
        self.assertIn("random weights from seed 0", answer.err)
        for words in ("epoch 1/2: top-1", "epoch 2/2: top-1", "images/s", "eta",
                      "averaged weights top-1"):
            self.assertIn(words, answer.err)
        for name in ("best.safetensors", "last.safetensors", "state.safetensors", "log.jsonl",
                     "config.json"):
            self.assertTrue(os.path.exists(self.path("run", name)), name)
        with open(self.path("run", "config.json"), encoding="utf-8") as stream:
            self.assertIn("--model %s --out" % SHAPE, json.dumps(json.load(stream)))

    def test_the_data_gives_classes_and_labels(self):
        self.check(self.train("run", "--epochs", 1, "--max-steps", 1), OK)
        info = dvit("info", self.path("run", "last.safetensors"), "--json").lines[0]
        self.assertEqual(info["classes"], 4)
        data = dvit("data", "--data", SCENES, "--json").lines[0]
        image = os.path.join(self.make_folder("images"), "a.ppm")
        with open(image, "wb") as stream:
            stream.write(b"P6 50 40 255 " + bytes(50 * 40 * 3))  # a size the network does not have
        answer = self.check(dvit("classify", "--model", self.path("run", "last.safetensors"),
                                 "--json", "--top", 4, image), OK)
        self.assertEqual({entry["label"] for entry in answer.lines[0]["top"]},
                         {entry["label"] for entry in data["classes"]})

    def test_images_that_ask_for_a_turn_are_told_once(self):
        photo = os.path.join(GOLDENS, "image", "exif_6.jpg")
        for split in ("train", "val"):
            for label in ("a", "b"):
                folder = self.make_folder("photos", split, label)
                for i in range(2):
                    shutil.copy(photo, os.path.join(folder, "%d.jpg" % i))
        answer = self.check(dvit("train", "--data", self.path("photos"), "--model", SHAPE,
                                 "--out", self.path("run"), "--epochs", 2, "--batch", 2), OK)
        self.assertEqual(answer.err.count("8 images ask for a turn (EXIF orientation)"), 1)

    def test_json_events(self):
        events = self.check(self.train("run", "--epochs", 1, "--log-every", 2, "--json"), OK).lines
        kinds = [event["event"] for event in events]
        self.assertEqual(kinds[0], "started")
        self.assertEqual(kinds[-1], "result")
        self.assertEqual(events[0]["steps_per_epoch"] * 1, events[0]["total_steps"])
        self.assertIn("evaluated", kinds)
        step = next(event for event in events if event["event"] == "step")
        for name in ("loss", "loss_cls", "images_per_s", "eta_s", "learning_rate"):
            self.assertIn(name, step)
        self.assertEqual(events[-1]["model"], self.path("run", "best.safetensors"))

    def test_same_seed_same_bits(self):
        for name, seed in (("a", 3), ("b", 3), ("c", 4)):
            self.check(self.train(name, "--epochs", 1, "--seed", seed), OK)
        a, b, c = (read_bytes(self.path(name, "last.safetensors")) for name in "abc")
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)

    def test_the_seed_orders_the_images(self):
        self.check(self.train("start", "--epochs", 1), OK)
        for name, seed in (("a", 3), ("b", 4)):
            self.check(self.train(name, "--epochs", 1, "--seed", seed,
                                  model=self.path("start", "last.safetensors")), OK)
        self.assertNotEqual(read_bytes(self.path("a", "last.safetensors")),
                            read_bytes(self.path("b", "last.safetensors")))

    def test_a_terminal_sees_one_line_rewritten(self):
        ours, theirs = pty.openpty()
        with subprocess.Popen([DVIT, "train", *QUICK, "--model", SHAPE, "--out", self.path("run"),
                               "--epochs", "1", "--log-every", "1"], stdout=subprocess.PIPE,
                              stderr=theirs, env=environment()) as process:
            os.close(theirs)
            shown = b""
            try:
                while chunk := os.read(ours, 4096):
                    shown += chunk
            except OSError:  # the other end is closed
                pass
            process.communicate(timeout=240)
        os.close(ours)
        self.assertEqual(process.returncode, OK)
        self.assertGreaterEqual(shown.count(b"\r\x1b[K"), 6)
        self.assertLess(shown.count(b"images/s"), shown.count(b"\r\x1b[K") + 1)

    def test_quiet(self):
        self.assertEqual(self.train("run", "--epochs", 1, "--quiet").err, "")

    def test_mistakes(self):
        self.refused(self.train("run", model="deit-ss"), FAILURE, "deit-s")
        self.refused(self.train("run", model="vit:dim=30,depth=2,heads=4,patch=8,image=32"), USAGE,
                     "dim", "heads")
        self.refused(self.train("run", "--quiet", model=SHAPE + ",classes=9"), FAILURE, "9", "4")
        with open(self.path("file"), "w", encoding="ascii"):
            pass
        self.refused(self.train("file", "--quiet"), FAILURE, "file")
        self.refused(self.train("file/below", "--quiet"), FAILURE, "file")
        self.assertEqual(os.listdir(self.folder), ["file"])  # what could not begin leaves no folder

    def test_the_end_says_what_is_kept(self):
        answer = self.check(self.train("run", "--epochs", 1, "--ema", 0), OK)
        self.assertIn('kept in "%s": best.safetensors (' % self.path("run"), answer.err)
        self.assertIn("last.safetensors (the same file), state.safetensors (", answer.err)
        self.assertIn("needed by --resume alone)", answer.err)
        best, last = (os.stat(self.path("run", name + ".safetensors")) for name in ("best", "last"))
        self.assertEqual(best.st_ino, last.st_ino)
        self.assertNotIn("good.safetensors", os.listdir(self.path("run")))

    def test_a_learning_rate_is_searched_without_training(self):
        self.check(self.train("run", "--epochs", 1), OK)
        before = {name: read_bytes(self.path("run", name)) for name in os.listdir(self.path("run"))}
        answer = self.check(self.train("run", "--find-lr"), OK)
        self.assertIn("learning rate", answer.out)
        self.assertIn("suggest", answer.out)
        with open(self.path("run", "find_lr.json"), encoding="utf-8") as stream:
            curve = json.load(stream)
        self.assertEqual(len(curve["learning_rate"]), len(curve["smoothed_loss"]))
        self.assertTrue(curve["suggestion"] is None or 1e-8 < curve["suggestion"] <= 1)
        chart = read_bytes(self.path("run", "find_lr.svg"))
        self.assertIn(b">learning rate</text>", chart)
        self.assertIn("10⁻⁶</text>".encode(), chart)  # a logarithmic axis
        marks = 0 if curve["suggestion"] is None else 1
        self.assertEqual(answer.out.count("<- suggested"), marks)
        self.assertEqual(chart.count(b">suggested: "), marks)
        for name, content in before.items():
            self.assertEqual(read_bytes(self.path("run", name)), content, name)
        shown = self.check(self.train("run", "--find-lr", "--json"), OK).lines[0]
        self.assertEqual(shown, curve)
        dense = self.path("run", "best.safetensors")
        self.check(self.train("sparse", "--find-lr", model=dense, verb="sparsify"), OK)
        self.assertEqual(sorted(os.listdir(self.path("sparse"))), ["find_lr.json", "find_lr.svg"])


class Fitting(TrainingTest):
    """What is left to fit the run, and what does not fit it."""

    def test_a_short_run(self):
        answer = self.check(dvit("train", "--data", "builtin:scenes,image=32,classes=2,train=6,val=4", "--model",
                                 SHAPE, "--epochs", 2, "--out", self.path("run")), OK)
        for words in ("batch: 2 images instead of 64, for 6 training images", "warm-up: 0.5 epochs instead of 5",
                      "EMA decay: ", "6 steps, 3 per epoch"):
            self.assertIn(words, answer.err)
        self.assertNotIn("top-5", answer.err)
        with open(self.path("run", "config.json"), encoding="utf-8") as stream:
            options = json.load(stream)["options"]
        self.assertEqual((options["batch"], options["warmup_epochs"]), (2, .5))
        self.assertTrue(0 < options["ema_decay"] < .9999)

    def test_what_is_asked_for_is_warned_of(self):
        answer = self.check(self.train("run", "--epochs", 1, "--warmup-epochs", 5, "--ema", "0.9999"), OK)
        self.assertIn("warning: the warm-up of 5 epochs is not over", answer.err)
        self.assertIn("of the averaged weights are those of the start", answer.err)
        self.refused(self.train("other", "--batch", 1000), USAGE, "use a smaller batch")
        self.refused(self.train("other", "--warmup-epochs", "-1"), USAGE, "0 to 100000, or auto")
        self.assertFalse(os.path.exists(self.path("other")))

    def test_one_class(self):
        folder = self.make_folder("one", "train", "a")
        for i in range(4):
            write_ppm(os.path.join(folder, "%d.ppm" % i), seed=i)
        shutil.copytree(self.path("one", "train"), self.path("one", "val"))
        answer = dvit("train", "--data", self.path("one"), "--model", SHAPE, "--epochs", 1, "--out",
                      self.path("run"))
        self.assertIn("warning: the data has one class", answer.err)

    def test_more_epochs_extend_a_run_and_resuming_nothing_begins_it(self):
        answer = self.check(self.train("run", "--epochs", 1, "--resume"), OK)
        self.assertIn("holds no state to resume: the run begins", answer.err)
        answer = self.check(self.train("run", "--epochs", 2, "--resume"), OK)
        self.assertIn("extended from 1 epochs to 2", answer.err)
        self.assertIn("epoch 2/2: top-1", answer.err)
        self.refused(self.train("run", "--epochs", 1, "--resume"), FAILURE, "extended but not shortened")


class Diverged(TrainingTest):
    """A rate at which nothing is learnt: not a result."""

    def diverge(self, *more):
        return self.check(self.train("run", "--lr", "100", "--optimizer", "sgd", "--epochs", 2, *more), FAILURE)

    def test_the_last_words_say_so(self):
        answer = self.diverge()
        error = answer.err.splitlines()[-1]
        for words in ("dvit: error: the run diverged", "--lr", "--clip"):
            self.assertIn(words, error)
        self.assertNotIn("done in", answer.err)
        self.assertNotIn("nan", answer.err)

    def test_no_accuracy_is_a_gap(self):
        answer = self.diverge("--ema", 0, "--json")
        evaluations = [event for event in answer.lines if event["event"] == "evaluated"]
        with open(self.path("run", "log.jsonl"), encoding="utf-8") as stream:
            logged = [line for line in map(json.loads, stream) if line["event"] == "evaluated"]
        with open(self.path("run", "log.csv"), encoding="ascii") as stream:
            names, *rows = [line.rstrip("\n").split(",") for line in stream]
        table = [dict(zip(names, row)) for row in rows if row[0] == "evaluated"]
        gaps = 0
        for event, line, row in zip(evaluations, logged, table):
            self.assertEqual(event["val_top1"], line["top1"])
            if line["top1"] is None:
                gaps += 1
                self.assertEqual((row["val_top1"], line["top5"], line["best"]), ("", None, False))
        if gaps == len(logged):
            self.assertFalse(os.path.exists(self.path("run", "best.safetensors")))


class Sparsify(TrainingTest):
    @classmethod
    def setUpClass(cls):
        Models.make()

    def sparsify(self, out, *more, model=None):
        return self.train(out, *more, model=model or Models.best("dense"), verb="sparsify")

    def test_stages_and_losses(self):
        answer = self.check(self.sparsify("run", "--epochs", 1, "--keep", "0.5", "--stage-blocks",
                                          "1,3", "--log-every", 1, "--json"), OK)
        step = next(event for event in answer.lines if event["event"] == "step")
        self.assertEqual(len(step["keep"]), 2)
        for name in ("loss_cls", "loss_ratio", "loss_kl", "loss_token"):
            self.assertGreaterEqual(step[name], 0)
        info = dvit("info", self.path("run", "best.safetensors"), "--json").lines[0]
        self.assertEqual((info["stage_blocks"], info["keep"], info["tokens"]), ([1, 3], 0.5, [8, 4]))

    def test_frozen_backbone_stays(self):
        self.check(self.sparsify("run", "--epochs", 1, "--freeze-backbone"), OK)
        def dense_loss(model):
            return dvit("eval", "--model", model, "--data", SCENES, "--keep", 1, "--seconds",
                        "0.05", "--rounds", 1, "--json").lines[0]["loss"]
        self.assertEqual(dense_loss(Models.best("dense")),
                         dense_loss(self.path("run", "best.safetensors")))

    def test_mistakes(self):
        self.refused(self.sparsify("run", "--stages", 2, "--stage-blocks", "1,2,3"), USAGE,
                     "--stage-blocks", "--stages")
        self.refused(self.sparsify("run", model=Models.best("dynamic")), USAGE, "--teacher")
        self.refused(self.sparsify("run", "--stage-blocks", "1,4"), USAGE, "4")


    def test_a_dynamic_model_learns_from_labels_alone(self):
        scenes = SCENES.replace("classes=4", "classes=3")
        first = self.train("run", "--data", scenes, model=Models.best("dynamic"))
        error = self.refused(first, FAILURE, "--classes data")  # and the hint works
        self.assertIn("has 3", error)
        answer = self.check(self.train("run", "--data", scenes, "--epochs", 1, "--classes", "data",
                                       model=Models.best("dynamic")), OK)
        self.assertIn("learns from the labels alone", answer.err)
        self.refused(self.train("other", "--data", scenes, "--classes", "data", "--teacher", Models.best("dense"),
                                model=Models.best("dynamic")), FAILURE, "--w-kl 0 --w-token 0")


class Stopping(TrainingTest):
    def stop_after_steps(self, out, steps, number, *more):
        """Sends the signal when so many steps have been told; the exit code."""
        command = [DVIT, "train", *QUICK, "--model", SHAPE, "--out", self.path(out), "--json",
                   "--log-every", "1", *more]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment()) as process:
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "step" and event["step"] >= steps:
                    process.send_signal(number)
                    break
            process.communicate(timeout=SAVED_WITHIN_S)
            return process.returncode

    def test_stopped_and_resumed_is_the_same_as_never_stopped(self):
        run = ("--epochs", "3")
        self.check(self.train("whole", *run), OK)
        self.assertEqual(self.stop_after_steps("parts", 4, signal.SIGINT, *run), INTERRUPTED)
        self.assertEqual(self.stop_after_steps("parts", 9, signal.SIGTERM, "--resume", *run),
                         INTERRUPTED)
        self.check(self.train("parts", "--resume", *run), OK)
        for name in ("last.safetensors", "best.safetensors"):
            self.assertEqual(read_bytes(self.path("whole", name)),
                             read_bytes(self.path("parts", name)), name)

    def test_killed_and_resumed(self):
        run = ("--epochs", "2", "--checkpoint-every", "1")
        self.check(self.train("whole", *run), OK)
        self.assertEqual(self.stop_after_steps("parts", 5, signal.SIGKILL, *run), -signal.SIGKILL)
        self.check(self.train("parts", "--resume", *run), OK)
        self.assertEqual(read_bytes(self.path("whole", "last.safetensors")),
                         read_bytes(self.path("parts", "last.safetensors")))


    def test_a_signal_saves_and_a_second_trainer_is_refused(self):
        run = ("--epochs", "3", "--checkpoint-every", "0")
        whole = self.check(self.train("whole", "--json", *run), OK).lines
        usual = sum(event["event"] == "saved" for event in whole)
        command = [DVIT, "train", *QUICK, "--model", SHAPE, "--out", self.path("run"), "--json",
                   "--log-every", "1", *run]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env=environment()) as process:
            asked, answered_s, saved = None, None, 0
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "step" and asked is None:
                    asked = time.monotonic()
                    process.send_signal(signal.SIGUSR1)
                saved += event["event"] == "saved"
                if event["event"] == "saved" and saved == 1:
                    answered_s = time.monotonic() - asked
                    process.send_signal(signal.SIGSTOP)
                    self.refused(self.train("run", "--quiet", "--resume", *run), FAILURE,
                                 "held by process %d" % process.pid)
                    process.send_signal(signal.SIGCONT)
            self.assertEqual(process.wait(timeout=240), OK)
        self.assertEqual(saved, usual + 1)
        self.assertLess(answered_s, SAVED_WITHIN_S)
        for name in ("last.safetensors", "best.safetensors", "state.safetensors"):
            self.assertEqual(read_bytes(self.path("whole", name)),
                             read_bytes(self.path("run", name)), name)


class FullDisk(TrainingTest):
    def test_previous_checkpoint_stays(self):
        self.check(self.train("run", "--epochs", 2, "--max-steps", 3), OK)
        before = {name: read_bytes(self.path("run", name))
                  for name in ("best.safetensors", "last.safetensors", "state.safetensors")}

        def no_large_files():  # EFBIG instead of a signal: Python ignores SIGXFSZ
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        answer = dvit("train", *QUICK, "--model", SHAPE, "--out", self.path("run"), "--epochs",
                      2, "--resume", "--quiet", preexec_fn=no_large_files, restore_signals=False)
        self.refused(answer, FAILURE, "safetensors", "File too large")
        for name, content in before.items():
            self.assertEqual(read_bytes(self.path("run", name)), content, name)
        self.assertEqual([name for name in os.listdir(self.path("run")) if ".tmp" in name], [])


if __name__ == "__main__":
    main()

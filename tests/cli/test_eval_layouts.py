"""`dvit eval` on the layouts of ImageNet, and the files it writes of its predictions."""

import csv
import json
import os
import shutil
import tempfile
import unittest

from harness import (CommandTest, FAILURE, GOLDEN, OK, SOME_FAILED, USAGE, dvit, main, read_bytes,
                     write_bytes, write_ppm)

SHAPE = "vit:dim=16,depth=2,heads=2,patch=16,image=32"
COLUMNS = ("path,label,label_name,prediction,prediction_name,probability,top2,probability2,top3,"
           "probability3,top4,probability4,top5,probability5,correct,correct5,model,keep,error")
WNIDS = {"n01440764": 0, "n01443537": 1, "n02123159": 282, "n15075141": 999}


class EvalTest(CommandTest):
    model = SHAPE + ",classes=1000"

    def setUp(self):
        super().setUp()
        self.results = tempfile.mkdtemp(prefix="dvit-results-")  # not in the data
        self.addCleanup(shutil.rmtree, self.results, True)

    def result(self, *parts):
        return os.path.join(self.results, *parts)

    def evaluate(self, *arguments, model=None, code=OK, json_lines=True):
        return self.check(dvit("eval", "--model", model or self.model, "--seconds", "0.01",
                               "--rounds", 1, "--threads", 1, *(("--json",) if json_lines else ()),
                               *arguments), code)

    def refuse(self, code, words, *arguments, model=None):
        answer = dvit("eval", "--model", model or self.model, "--quiet", *arguments)
        self.assertEqual(answer.out, "")
        return self.refused(answer, code, *words)

    def table(self, path):
        with open(path, newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    def image(self, *parts, seed=1):
        self.make_folder(*parts[:-1])
        return write_ppm(self.path(*parts), 40, 36, seed)

    def flat(self, *names):
        for seed, name in enumerate(names):
            self.image("val", name, seed=seed)

    def list(self, text):
        return write_bytes(self.path("list.txt"),
                           text if isinstance(text, bytes) else text.encode())


class ClassFolders(EvalTest):
    def make(self, *parts):
        for seed, wnid in enumerate(WNIDS):
            self.image(*parts, wnid, "ILSVRC2012_val_0000000%d.JPEG" % seed, seed=seed)

    def check_labels(self, *arguments):
        out = self.result("p.csv")
        answer = self.evaluate(*arguments, "--predictions", out)
        rows = self.table(out)
        self.assertEqual([int(row["label"]) for row in rows], list(WNIDS.values()))
        self.assertEqual([row["path"] for row in rows], sorted(row["path"] for row in rows))
        return answer, rows

    def test_val_and_wnids(self):
        self.make("val")
        answer, _ = self.check_labels("--data", self.folder)
        self.assertIn("4 of the model's 1000 classes", answer.err)
        self.check_labels("--data", self.path("val"))  # the class folders themselves

    def test_train_and_val(self):
        self.make("val")
        self.make("train")
        self.check_labels("--data", self.folder)
        self.check_labels("--data", self.folder, "--split", "train")

    def test_a_folder_that_is_no_class(self):
        self.make("val")
        self.image("val", "n99999999", "1.JPEG")
        self.refuse(FAILURE, ["5 classes", "1000", "n99999999"], "--data", self.folder)

    def test_an_empty_class_folder(self):
        self.make("val")
        self.make_folder("val", "n15075140")
        self.refuse(FAILURE, ["n15075140"], "--data", self.folder)
        os.rename(self.path("val", "n15075140"), self.path("val", "n02123045"))  # a class indeed
        answer, _ = self.check_labels("--data", self.folder)
        self.assertIn("1 of 5 classes have no images", answer.err)

    def test_by_name_and_by_rank(self):
        """Labels are each model's own: one was trained on three classes, one knows no names."""
        for name in ("a", "b", "c"):
            for part in ("train", "val"):
                self.image("three", part, name, "1.ppm")
        self.check(dvit("train", "--data", self.path("three"), "--model", SHAPE, "--out",
                        self.path("run"), "--epochs", 1, "--batch", 3, "--threads", 1), OK)
        for name in ("c", "b"):
            self.image("val", name, "1.ppm")
        trained, out = self.path("run", "best.safetensors"), self.result("p.csv")
        answer = self.evaluate("--data", self.path("val"), "--model", SHAPE + ",classes=2",
                               "--predictions", out, model=trained)
        self.assertIn("2 of the model's 3 classes", answer.err)
        self.assertEqual([(row["model"], row["label"], row["label_name"])
                          for row in self.table(out)],
                         [(trained, "1", "b"), (trained, "2", "c"),
                          (SHAPE + ",classes=2", "0", "b"), (SHAPE + ",classes=2", "1", "c")])

    @unittest.skipUnless(os.path.isdir(GOLDEN), "no golden images")
    def test_content_decides(self):
        """CMYK, a PNG named .JPEG, and broken EXIF, as in the real data set."""
        data = read_bytes(os.path.join(GOLDEN, "exif_6.jpg"))
        broken = data.replace(b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0MM\0*\0\xff\xff\xff")
        self.assertNotEqual(data, broken)
        for name, content in (("cmyk.JPEG", read_bytes(os.path.join(GOLDEN, "jpeg_cmyk.jpg"))),
                              ("png.JPEG", read_bytes(os.path.join(GOLDEN, "png_rgb8.png"))),
                              ("exif.JPEG", broken)):
            self.make_folder("val", "n01440764")
            write_bytes(self.path("val", "n01440764", name), content)
        row = self.evaluate("--data", self.folder).lines[0]
        self.assertEqual((row["images"], row["skipped"]), (3, 0))


@unittest.skipUnless(os.path.isdir(GOLDEN), "no golden images")
class Turned(EvalTest):
    def setUp(self):
        super().setUp()
        self.make_folder("val", "n01440764")
        for name in ("exif_1.jpg", "exif_6.jpg"):
            write_bytes(self.path("val", "n01440764", name),
                        read_bytes(os.path.join(GOLDEN, name)))

    def chances(self, *arguments):
        out = self.result("p.csv")
        answer = self.evaluate("--data", self.folder, "--predictions", out, *arguments)
        return answer, [row["probability"] for row in self.table(out)]

    def test_stored_by_default_turned_on_request(self):
        answer, stored = self.chances("--keep", "1,0.7", "--stages", 1)
        self.assertEqual(answer.err.count("1 images ask for a turn"), 1)
        answer, turned = self.chances("--keep", "1,0.7", "--stages", 1, "--exif")
        self.assertNotIn("ask for a turn", answer.err)
        self.assertEqual(stored[0], turned[0])
        self.assertNotEqual(stored[1], turned[1])


class Lists(EvalTest):
    NAMES = ("ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG", "b c,d.png")

    def labels(self, text, **more):
        out = self.result("p.csv")
        self.evaluate("--data", self.folder, "--labels-file", self.list(text), "--predictions",
                      out, **more)
        return [int(row["label"]) for row in self.table(out)]

    def test_forms(self):
        self.flat(*self.NAMES)
        self.assertEqual(self.labels("490\n361\n999\n"), [490, 361, 999])
        self.assertEqual(self.labels("n15075141\nn01440764\n7\n"), [999, 0, 7])
        self.assertEqual(self.labels("%s 3\n%s n01443537\n%s 2" % (self.NAMES[1], self.NAMES[2],
                                                                   self.NAMES[0])), [2, 3, 1])
        self.assertEqual(self.labels("%s\t3\r\n%s\t4\r\n%s\t2\r\n" % (self.NAMES[1], self.NAMES[2],
                                                                      self.NAMES[0])), [2, 3, 4])

    def test_the_answers_are_those_of_class_folders(self):
        for seed, wnid in enumerate(WNIDS):
            self.image("folders", wnid, "%d.ppm" % seed, seed=seed)
        self.flat("0.ppm", "1.ppm", "2.ppm", "3.ppm")
        text = "\n".join(WNIDS)
        files = self.result("a.csv"), self.result("b.csv")
        self.evaluate("--data", self.path("folders"), "--predictions", files[0])
        self.evaluate("--data", self.folder, "--labels-file", self.list(text), "--predictions",
                      files[1])
        first, second = ([dict(row, path="") for row in self.table(path)] for path in files)
        self.assertEqual(first, second)

    def test_refusals(self):
        self.flat(*self.NAMES)
        for text, words in {
                "1\n2\n": ("2 lines for 3 images", "b c,d.png"),
                "1\n2\n3\n4\n": ("line 4", "longer than the folder"),
                "1\n1000\n2\n": ("line 2", "1000", "0 to 999", "ILSVRC devkit"),
                "1\nnone\n2\n": ("line 2", "\"none\"", "unknown"),
                "1\ncrane\n2\n": ("line 2", "unknown"),
                "x.JPEG 1\n": ("line 1", "no image \"x.JPEG\""),
                "%s 1\n%s 2\n" % (self.NAMES[0], self.NAMES[0]): ("line 2", "class in line 1"),
                "": ("0 lines",),
                b"\0": ("not a text file",),
        }.items():
            self.refuse(FAILURE, ("list.txt",) + words, "--data", self.folder, "--labels-file",
                        self.list(text))
        self.refuse(FAILURE, ["none.txt"], "--data", self.folder, "--labels-file",
                    self.path("none.txt"))
        self.refuse(USAGE, ["labels of its own"], "--data", "builtin:scenes", "--labels-file",
                    self.list("1"))
        self.refuse(FAILURE, ["need a list of their labels"], "--data", self.folder)

    def test_images_in_class_folders_need_no_list(self):
        self.image("val", "n01440764", "1.ppm")
        self.refuse(FAILURE, ["no images directly in the folder"], "--data", self.folder,
                    "--labels-file", self.list("0\n"))

    def test_only_eval_takes_a_list(self):
        self.refused(dvit("data", "--data", self.folder, "--labels-file", "x"), USAGE,
                     "--labels-file")


class Files(EvalTest):
    model = SHAPE + ",classes=3"

    def setUp(self):
        super().setUp()
        for seed in range(12):
            self.image("val", "class, %d" % (seed % 3), "%02d.ppm" % seed, seed=seed)
        self.data = ("--data", self.folder)

    def test_csv_agrees_with_the_summary(self):
        out = self.result("p.csv")
        row = self.evaluate(*self.data, "--predictions", out).lines[0]
        self.assertEqual(read_bytes(out).split(b"\n")[0].decode(), COLUMNS)
        rows = self.table(out)
        self.assertEqual(len(rows), 12)
        self.assertEqual([row["label"] for row in rows], ["0"] * 4 + ["1"] * 4 + ["2"] * 4)
        self.assertEqual(sum(int(row["correct"]) for row in rows) / 12, row["top1"])
        for entry in rows:
            self.assertEqual(entry["label_name"], "class, " + entry["label"])
            self.assertEqual(entry["correct"] == "1", entry["label"] == entry["prediction"])
            self.assertEqual(entry["correct5"], "1")
            self.assertEqual((entry["top4"], entry["top5"], entry["error"]), ("", "", ""))
            chances = [float(entry["probability" + k]) for k in ("", "2", "3")]
            self.assertEqual(chances, sorted(chances, reverse=True))
            self.assertAlmostEqual(sum(chances), 1, places=6)

    def test_answers_are_those_of_classify(self):
        out = self.result("p.jsonl")
        self.evaluate(*self.data, "--predictions", out)
        with open(out, encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream]
        self.assertEqual(set(rows[0]), {"file", "class", "label", "top", "correct", "model",
                                        "keep"})
        answer = self.check(dvit("classify", "--model", self.model, "--json",
                                 *(row["file"] for row in rows)), OK)
        for row, told in zip(rows, answer.lines):
            self.assertEqual([top["class"] for top in row["top"]],
                             [top["class"] for top in told["top"]])
            for ours, theirs in zip(row["top"], told["top"]):
                self.assertAlmostEqual(ours["probability"], theirs["probability"], places=5)

    def test_the_same_bytes_again(self):
        files = []
        for workers, batch in ((0, 12), (2, 12), (1, 5)):
            files.append(self.result("p%d%d.json" % (workers, batch)))
            self.evaluate(*self.data, "--predictions", files[-1], "--workers", workers, "--batch",
                          batch)
        self.assertEqual(read_bytes(files[0]), read_bytes(files[1]))
        order = [[json.loads(line)["file"] for line in read_bytes(path).splitlines()]
                 for path in files]
        self.assertEqual(order[0], order[2])

    def test_confusion_and_classes(self):
        out, matrix = self.result("p.csv"), self.result("c.csv")
        row = self.evaluate(*self.data, "--predictions", out, "--confusion", matrix,
                            "--per-class").lines[0]
        counts = [[0] * 3 for _ in range(3)]
        for entry in self.table(out):
            counts[int(entry["label"])][int(entry["prediction"])] += 1
        rows = self.table(matrix)
        self.assertEqual(read_bytes(matrix).split(b"\n")[0], b"label,label_name,images,0,1,2")
        for k, entry in enumerate(rows):
            self.assertEqual((entry["label"], entry["label_name"], entry["images"]),
                             (str(k), "class, %d" % k, "4"))
            self.assertEqual([int(entry[str(j)]) for j in range(3)], counts[k])
        self.assertEqual([(entry["class"], entry["label"], entry["images"], entry["top1"],
                           entry["top5"]) for entry in row["per_class"]],
                         [(k, "class, %d" % k, 4, counts[k][k] / 4, 1) for k in range(3)])
        told = [(pair["class"], pair["answer"], pair["images"]) for pair in row["confusions"]]
        self.assertEqual(told, sorted(((i, j, counts[i][j]) for i in range(3) for j in range(3)
                                       if i != j and counts[i][j]),
                                      key=lambda pair: (-pair[2], pair[0], pair[1])))

    def test_classes_are_told_on_request_only(self):
        self.assertNotIn("per_class", self.evaluate(*self.data).lines[0])
        plain = self.evaluate(*self.data, json_lines=False).out
        self.assertNotIn("class, 1", plain)
        told = self.evaluate(*self.data, "--per-class", json_lines=False).out
        self.assertRegex(told, r"(?m)^class, 1 +1 +4 +[\d.]+$")
        self.assertIn("confusions", told)

    def test_several_models_stand_one_after_the_other(self):
        out = self.result("p.csv")
        self.evaluate(*self.data, "--model", SHAPE + ",classes=3,mlp=16", "--keep", "1,0.5",
                      "--stages", 1, "--predictions", out)
        rows = self.table(out)
        self.assertEqual(len(rows), 48)
        self.assertEqual([(row["model"], row["keep"]) for row in rows[::12]],
                         [(self.model, "1"), (self.model, "0.5"),
                          (SHAPE + ",classes=3,mlp=16", "1"),
                          (SHAPE + ",classes=3,mlp=16", "0.5")])
        self.assertEqual([row["path"] for row in rows[:12]], [row["path"] for row in rows[36:]])
        self.refuse(USAGE, ["--confusion", "one --model"], *self.data, "--keep", "1,0.5",
                    "--confusion", self.result("c.csv"))

    def test_unreadable_images_have_a_row(self):
        write_bytes(self.path("val", "class, 1", "bad.jpg"), b"not an image")
        files = self.result("p.csv"), self.result("p.json")
        for path in files:
            answer = self.evaluate(*self.data, "--predictions", path, code=SOME_FAILED)
            self.assertRegex(answer.err, r"left out: .*bad\.jpg")
        rows = self.table(files[0])
        self.assertEqual(len(rows), 13)
        bad = rows[8]
        self.assertIn("bad.jpg", bad["path"])
        self.assertIn("bad.jpg", bad["error"])
        self.assertEqual((bad["label"], bad["prediction"], bad["correct"]), ("1", "", ""))
        line = json.loads(read_bytes(files[1]).splitlines()[8])
        self.assertEqual(set(line), {"file", "class", "label", "error", "model", "keep"})

    def test_names_that_are_not_utf8(self):
        os.rename(self.path("val", "class, 0", "00.ppm"),
                  os.fsencode(self.path("val", "class, 0")) + b"/\xff\xfe.ppm")
        files = self.result("p.csv"), self.result("p.json")
        for path in files:
            self.evaluate(*self.data, "--predictions", path)
        self.assertTrue(self.table(files[0])[3]["path"].endswith("/\\xff\\xfe.ppm"))
        self.assertTrue(json.loads(read_bytes(files[1]).splitlines()[3])["file"]
                        .endswith("/\ufffd\ufffd.ppm"))

    def test_what_cannot_be_written_is_said_first(self):
        self.refuse(USAGE, ["p.txt", ".jsonl"], *self.data, "--predictions", self.result("p.txt"))
        self.refuse(FAILURE, ["no folder"], *self.data, "--predictions", self.result("none", "p.csv"))
        self.refuse(FAILURE, ["no folder"], *self.data, "--confusion", self.result("none", "c.csv"))
        os.makedirs(self.result("p.csv"))
        self.refuse(FAILURE, ["it is a folder"], *self.data, "--predictions", self.result("p.csv"))
        self.refuse(USAGE, ["same file"], *self.data, "--predictions", self.result("x.csv"),
                    "--confusion", self.result("x.csv"))

    def test_nothing_is_left_of_a_failed_run(self):
        write_bytes(self.path("val", "class, 1", "bad.jpg"), b"not an image")
        out = write_bytes(self.result("p.csv"), b"former")
        self.refuse(FAILURE, ["bad.jpg"], *self.data, "--strict", "--predictions", out)
        self.assertEqual(read_bytes(out), b"former")
        self.assertEqual(os.listdir(self.results), ["p.csv"])


if __name__ == "__main__":
    main()

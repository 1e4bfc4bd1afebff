"""What the commands answer about trained models: eval, classify, info, cpu, data, report."""

import math
import os
import unittest

from harness import (CommandTest, FAILURE, GOLDEN, Models, OK, PATCHES, SCENES, SHAPE,
                     SOME_FAILED, USAGE, dvit, kept_patches, main, png_size, read_bytes,
                     write_bytes, write_ppm)


class ModelTest(CommandTest):
    @classmethod
    def setUpClass(cls):
        Models.make()
        cls.dense, cls.dynamic = Models.best("dense"), Models.best("dynamic")


class Info(CommandTest):
    def info(self, *arguments):
        return self.check(dvit("info", "--json", "--quiet", *arguments), OK).lines[0]

    def test_published_counts_of_deit_s(self):
        answer = self.info("deit-s", "--keep", "0.7", "--batch", 1)
        self.assertEqual(answer["parameters"], 22774414)
        self.assertEqual(answer["tokens"], [137, 96, 67])
        self.assertAlmostEqual(answer["gmacs"], 2.863, places=3)
        self.assertAlmostEqual(answer["gmacs_published"], 2.918, places=3)
        self.assertEqual(answer["stage_blocks"], [3, 6, 9])

    def test_dense_path(self):
        answer = self.info("--model", "deit-t", "--batch", 1)
        self.assertEqual(answer["parameters"], 5717416)
        self.assertEqual(answer["tokens"], [])
        self.assertAlmostEqual(answer["gmacs"], 1.167, places=3)

    def test_layers_add_up(self):
        answer = self.info(SHAPE + ",classes=4", "--keep", "0.5")
        self.assertEqual(sum(layer["parameters"] for layer in answer["layers"]),
                         answer["parameters"])
        self.assertAlmostEqual(sum(layer["macs"] for layer in answer["layers"]) / 1e9,
                               answer["gmacs"], places=9)

    def test_memory_grows_with_the_batch(self):
        small, large = (self.info(SHAPE + ",classes=4", "--threads", 1, "--batch", batch)["memory"]
                        for batch in (1, 64))
        self.assertGreater(small["weight_bytes"], 0)
        self.assertGreaterEqual(large["activation_bytes"], small["activation_bytes"])

    def test_random_weights_are_said_so(self):
        self.assertIn("random weights", dvit("info", "deit-t").err)

    def test_text(self):
        out = self.check(dvit("info", SHAPE + ",classes=4", "--keep", "0.7"), OK).out
        self.assertRegex(out, r"(?m)^parameters +\d+$")
        self.assertIn("%d/%d/%d patches kept of %d" % (*kept_patches(0.7), PATCHES), out)

    def test_two_names_exclude_each_other(self):
        self.refused(dvit("info", "deit-s", "--model", "deit-t"), USAGE, "exclude")
        self.refused(dvit("info"), USAGE, "--model")


class Machine(CommandTest):
    def test_cpu(self):
        answer = self.check(dvit("cpu", "--json"), OK).lines[0]
        self.assertLessEqual({"processor", "cpu", "backend", "threads", "version"}, set(answer))
        self.assertGreaterEqual(answer["threads"], 1)
        self.assertIn(answer["cpu"], self.check(dvit("cpu"), OK).out)


class Eval(ModelTest):
    def test_fields_and_statistics(self):
        answer = self.check(dvit("eval", "--model", self.dynamic, "--data", SCENES, "--keep",
                                 "1,0.7", "--seconds", "0.1", "--rounds", 2, "--batch", 8,
                                 "--json"), OK)
        dense, pruned = answer.lines
        for row in answer.lines:
            self.assertEqual((row["images"], row["skipped"]), (40, 0))
            self.assertTrue(0 <= row["top1"] <= row["top5"] <= 1)
            for name in ("loss", "images_per_s", "model_images_per_s", "gmacs"):
                self.assertGreater(row[name], 0, name)
        self.assertEqual((dense["mode"], dense["tokens"], dense["speed_up"]), ("dense", [], 1))
        self.assertEqual((pruned["mode"], pruned["tokens"]), ("pruned", kept_patches(0.7)))
        for share, count in zip(pruned["kept_share"], kept_patches(0.7)):
            self.assertAlmostEqual(share, count / PATCHES, places=6)
        self.assertEqual(len(pruned["object_kept_share"]), 3)
        for share in pruned["object_kept_share"]:
            self.assertTrue(0 <= share <= 1)
        self.assertLess(pruned["gmacs"], dense["gmacs"])
        self.assertAlmostEqual(pruned["speed_up"], pruned["model_images_per_s"] /
                               dense["model_images_per_s"], places=6)

    def test_keep_1_is_the_dense_path(self):
        """The sparsified model's backbone hardly moved: its dense path is close to its parent."""
        parent, child = (self.check(dvit("eval", "--model", model, "--data", SCENES, "--keep", 1,
                                         "--seconds", "0.05", "--rounds", 1, "--json"),
                                    OK).lines[0] for model in (self.dense, self.dynamic))
        self.assertEqual(parent["gmacs"], child["gmacs"])
        self.assertLess(abs(parent["loss"] - child["loss"]), 0.2)

    def test_two_models_in_one_table(self):
        answer = self.check(dvit("eval", "--model", self.dense, "--model", self.dynamic, "--data",
                                 SCENES, "--limit", 10, "--seconds", "0.05", "--rounds", 1), OK)
        self.assertIn("10 images", answer.out)
        rows = [line for line in answer.out.splitlines() if line.startswith(Models.folder)]
        self.assertEqual([row.split()[1] for row in rows], ["1", "0.7"])
        self.assertIn("speed-up", answer.out)

    def test_unreadable_images_are_counted(self):
        self.make_folder("val", "a"), self.make_folder("val", "b")
        self.make_folder("train", "a"), self.make_folder("train", "b")
        for split in ("train", "val"):
            for name in ("a/1.ppm", "a/2.ppm", "b/1.ppm", "b/2.ppm"):
                write_ppm(self.path(split, name), 32, 32)
        write_bytes(self.path("val", "b", "bad.jpg"), b"not an image")
        model = ("--model", SHAPE + ",classes=2", "--data", self.folder, "--seconds", "0.05",
                 "--rounds", 1, "--json")
        answer = self.check(dvit("eval", *model), SOME_FAILED)
        self.assertEqual([(row["images"], row["skipped"]) for row in answer.lines], [(4, 1)])
        self.assertIn("1 of 5 images", answer.err)
        self.refused(dvit("eval", *model, "--strict", "--quiet"), FAILURE, "bad.jpg")

    def test_class_counts_must_agree(self):
        self.refused(dvit("eval", "--model", self.dense, "--data", "builtin:scenes,classes=5",
                          "--quiet"), FAILURE, "5 classes", "model 4")


class Classify(ModelTest):
    def setUp(self):
        super().setUp()
        self.images = [write_ppm(self.path("image%d.ppm" % i), 40 + i, 32 + 3 * i, i)
                       for i in range(5)]

    def classify(self, *arguments, code=OK):
        return self.check(dvit("classify", "--model", self.dynamic, "--json", *arguments), code)

    def test_shape_of_the_answer(self):
        answer = self.classify("--top", 3, self.images[0]).lines[0]
        self.assertEqual(set(answer), {"file", "top", "tokens", "kept"})
        self.assertEqual(answer["file"], self.images[0])
        self.assertEqual(len(answer["top"]), 3)
        for entry in answer["top"]:
            self.assertEqual(set(entry), {"class", "label", "probability"})
        chances = [entry["probability"] for entry in answer["top"]]
        self.assertEqual(chances, sorted(chances, reverse=True))
        self.assertEqual(answer["tokens"], kept_patches(0.7))
        for kept, count in zip(answer["kept"], answer["tokens"]):
            self.assertEqual(len(kept), count)
            self.assertEqual(kept, sorted(set(kept)))
            self.assertTrue(0 <= kept[0] and kept[-1] < PATCHES)
        for later, earlier in zip(answer["kept"][1:], answer["kept"]):
            self.assertLessEqual(set(later), set(earlier))

    def test_logits_give_the_probabilities(self):
        answer = self.classify("--logits", "--top", 4, self.images[1]).lines[0]
        total = sum(math.exp(value) for value in answer["logits"])
        self.assertEqual(len(answer["logits"]), 4)
        for entry in answer["top"]:
            self.assertAlmostEqual(math.exp(answer["logits"][entry["class"]]) / total,
                                   entry["probability"], places=5)
        self.assertAlmostEqual(sum(entry["probability"] for entry in answer["top"]), 1, places=5)

    def test_reading_ahead_keeps_order_and_errors(self):
        """Files that cannot be read, alone and filling whole batches, anywhere in the list."""
        images = []
        for i in range(40):
            bad = i in (0, 7, 39) or 12 <= i < 21
            path = self.path("%02d.ppm" % i)
            images.append(write_bytes(path, b"P6 4 4 255\nshort") if bad
                          else write_ppm(path, 33 + i, 40, i))
        expected = None
        for batch, workers in ((4, 0), (4, 1), (3, 4), (32, 2), (64, "auto")):
            answer = self.classify("--batch", batch, "--workers", workers, "--logits",
                                   *images, code=SOME_FAILED)
            self.assertEqual([line["file"] for line in answer.lines], images)
            self.assertEqual(sum("error" in line for line in answer.lines), 12)
            seen = [line.get("error", line.get("kept")) for line in answer.lines]
            expected = expected or seen
            self.assertEqual(seen, expected)
            self.assertEqual(len(answer.err.splitlines()), 12)

    def test_no_file_can_be_read(self):
        bad = [write_bytes(self.path("bad%d.ppm" % i), b"P6 4 4 255\nshort") for i in range(5)]
        answer = self.classify("--batch", 2, *bad, code=FAILURE)
        self.assertEqual([line["file"] for line in answer.lines], bad)
        for line in answer.lines:
            self.assertIn(line["file"], line["error"])

    def test_batch_and_threads_do_not_matter(self):
        one = self.classify("--batch", 1, "--threads", 1, "--logits", *self.images).lines
        all_at_once = self.classify("--batch", 8, "--threads", 2, "--logits", *self.images).lines
        self.assertEqual([answer["file"] for answer in one], self.images)
        for a, b in zip(one, all_at_once):
            self.assertEqual(a["kept"], b["kept"])
            for x, y in zip(a["logits"], b["logits"]):
                self.assertAlmostEqual(x, y, delta=1e-4)

    def test_dense_path_keeps_no_list(self):
        answer = self.classify("--keep", 1, self.images[0]).lines[0]
        self.assertEqual((answer["tokens"], answer["kept"]), ([], []))

    def test_some_files_fail(self):
        bad = write_bytes(self.path("bad.jpg"), b"hello")
        answer = self.classify(self.images[0], bad, self.path("none.png"), self.images[1],
                               code=SOME_FAILED)
        files = [(line["file"], "error" in line) for line in answer.lines]
        self.assertEqual(files, [(self.images[0], False), (bad, True),
                                 (self.path("none.png"), True), (self.images[1], False)])
        self.assertIn("bad.jpg", answer.err)
        self.assertIn("none.png", answer.err)

    def test_a_folder_stands_for_its_images(self):
        write_bytes(self.path("notes.txt"), b"not listed")
        self.make_folder("below")
        deep = write_ppm(self.path("below", "deep.ppm"))
        answer = self.classify(self.folder)
        self.assertEqual([line["file"] for line in answer.lines], [deep] + self.images)

    def test_text(self):
        answer = self.check(dvit("classify", "--model", self.dynamic, "--top", 2, *self.images[:2]),
                            OK)
        lines = answer.out.splitlines()
        self.assertEqual(lines[0], self.images[0])
        self.assertRegex(lines[1], r"^ +\d+\.\d\d %  \S.* \(class \d\)$")
        self.assertEqual(lines[3], "  kept %d, %d, %d of %d patches" % (*kept_patches(0.7), PATCHES))

    def test_top_beyond_the_classes(self):
        self.refused(dvit("classify", "--model", self.dense, "--top", 5, self.images[0]), USAGE,
                     "--top", "1 to 4")

    def test_logits_without_json(self):
        self.refused(dvit("classify", "--model", self.dense, "--logits", self.images[0]), USAGE,
                     "--json")

    @unittest.skipUnless(os.path.exists(os.path.join(GOLDEN, "exif_6.jpg")), "no golden images")
    def test_orientation_is_obeyed_unless_told(self):
        turned = os.path.join(GOLDEN, "exif_6.jpg")
        upright = os.path.join(GOLDEN, "exif_1.jpg")
        def logits(*arguments):
            return self.classify("--logits", *arguments).lines[0]["logits"]
        self.assertNotEqual(logits(turned), logits("--no-exif", turned))
        self.assertEqual(logits(upright), logits("--no-exif", upright))


class Pictures(ModelTest):
    def setUp(self):
        super().setUp()
        self.image = write_ppm(self.path("one.ppm"))

    def draw(self, picture, *images, code=OK):
        return self.check(dvit("classify", "--model", self.dynamic, "--json", "--picture", picture,
                               *images), code)

    def test_one_picture(self):
        out = self.path("out.png")
        self.assertEqual(self.draw(out, self.image).lines[0]["picture"], out)
        width, height = png_size(out)
        self.assertGreater(width, 4 * 32)  # the original beside three stages
        first = read_bytes(out)
        self.draw(out, self.image)
        self.assertEqual(read_bytes(out), first)

    def test_many_pictures_by_prefix(self):
        other = write_ppm(self.path("two.ppm"))
        self.draw(self.path("out.png"), self.image, other)
        png_size(self.path("out-one.png")), png_size(self.path("out-two.png"))

    def test_many_pictures_in_a_folder(self):
        other = write_ppm(self.path("two.ppm"))
        self.draw(self.path("new", "folder"), self.image, other)
        self.assertEqual(sorted(os.listdir(self.path("new", "folder"))), ["one.png", "two.png"])

    def test_same_names_do_not_overwrite_each_other(self):
        self.make_folder("below")
        other = write_ppm(self.path("below", "one.ppm"), seed=2)
        self.draw(self.path("pictures"), self.image, other)
        self.assertEqual(sorted(os.listdir(self.path("pictures"))),
                         ["0001-one.png", "0002-one.png"])

    def test_the_photograph_has_its_own_resolution(self):
        wide, gaps = 2 * 16, 3 * 10  # margins, and between the views
        for width, height, view in ((300, 260, 300), (40, 32, 200), (2600, 1300, 1280)):
            image = write_ppm(self.path("photo.ppm"), width, height)
            line = self.draw(self.path("out.png"), image).lines[0]
            self.assertEqual(png_size(self.path("out.png"))[0], wide + gaps + 4 * view)
            self.assertEqual(line["picture_reduced"], width > 1280)
        told = self.check(dvit("classify", "--model", self.dynamic, "--picture",
                               self.path("out.png"), image), OK)
        self.assertIn("(reduced to 1280 pixels)", told.out)

    def test_a_wide_photograph_is_shown_one_view_below_the_other(self):
        self.draw(self.path("out.png"), write_ppm(self.path("wide.ppm"), 1000, 60))
        width, height = png_size(self.path("out.png"))
        self.assertEqual(width, 1000 + 2 * 16)
        self.assertGreater(height, 4 * 60)

    @unittest.skipUnless(os.path.exists(os.path.join(GOLDEN, "exif_6.jpg")), "no golden images")
    def test_a_turned_photograph_is_drawn_upright(self):
        turned = os.path.join(GOLDEN, "exif_6.jpg")  # stored wide, shown tall
        heights = []
        for arguments in ((turned,), ("--no-exif", turned)):
            self.draw(self.path("out.png"), *arguments)
            heights.append(png_size(self.path("out.png"))[1])
        self.assertGreater(heights[0], heights[1])

    def test_unwritable_is_found_before_the_work(self):
        answer = dvit("classify", "--model", self.dynamic, "--picture",
                      self.path("none", "out.png"), self.image)
        self.refused(answer, FAILURE, "there is no folder", "none")
        self.assertEqual(answer.out, "")
        self.refused(dvit("classify", "--model", self.dynamic, "--picture", "out.jpg", self.image),
                     USAGE, ".png")


class Data(CommandTest):
    def test_scenes(self):
        train, val = self.check(dvit("data", "--data", SCENES, "--json"), OK).lines
        self.assertEqual((train["split"], train["images"]), ("train", 96))
        self.assertEqual((val["split"], val["images"]), ("val", 40))
        self.assertEqual(len(train["classes"]), 4)
        self.assertEqual(sum(entry["images"] for entry in val["classes"]), 40)
        self.assertTrue(train["masks"])
        self.assertEqual((train["min_width"], train["max_height"]), (32, 32))

    def test_check_names_the_unreadable(self):
        self.make_folder("cat"), self.make_folder("dog")
        write_ppm(self.path("cat", "1.ppm"), 20, 30)
        write_ppm(self.path("dog", "1.ppm"), 50, 10)
        write_bytes(self.path("dog", "2.png"), b"\x89PNG\r\n\x1a\n")
        answer = self.check(dvit("data", "--data", self.folder, "--check", "--json"), SOME_FAILED)
        row = answer.lines[0]
        self.assertEqual([entry["label"] for entry in row["classes"]], ["cat", "dog"])
        self.assertEqual([entry["images"] for entry in row["classes"]], [1, 2])
        self.assertEqual((row["min_width"], row["max_width"]), (20, 50))
        self.assertEqual(len(row["unreadable"]), 1)
        self.assertIn("2.png", row["unreadable"][0]["error"])

    def test_preview(self):
        sheet = self.path("sheet.png")
        self.check(dvit("data", "--data", SCENES, "--preview", sheet, "--count", 9), OK)
        self.assertEqual(png_size(sheet), (3 * 132 + 4, 3 * 132 + 4))


class Report(ModelTest):
    def runs(self):
        return [os.path.dirname(self.dense), os.path.dirname(self.dynamic)]

    def test_page_and_gallery(self):
        page, gallery = self.path("page.html"), self.path("gallery.png")
        answer = self.check(dvit("report", *self.runs(), "--data", SCENES, "--count", 4, "--out",
                                 page, "--gallery", gallery), OK)
        self.assertEqual(answer.out.splitlines(), [page, gallery])
        html = read_bytes(page).decode("utf-8")
        self.assertIn("<html", html)
        epochs = html.count("<figcaption>epoch ")
        self.assertEqual(html.count("data:image/png;base64,") - epochs, 4)  # the dynamic run's images
        self.assertNotIn("<script", html)
        png_size(gallery)

    def test_the_page_says_what_and_when(self):
        page = self.path("page.html")
        self.check(dvit("report", *self.runs(), "--out", page), OK)
        html = read_bytes(page).decode("utf-8")
        names = ", ".join(os.path.basename(run) for run in self.runs())
        self.assertIn("<h1>%s</h1>" % names, html)
        self.assertIn("<p class=\"subtitle\">trained from 2", html)
        kept = kept_patches(0.7)[-1]
        self.assertIn(">%d of %d (%.0f %%)<" % (kept, PATCHES, 100 * kept / PATCHES), html)
        self.check(dvit("report", *self.runs(), "--out", page, "--title", "A & B"), OK)
        self.assertIn("<h1>A &amp; B</h1>", read_bytes(page).decode("utf-8"))

    def test_many_runs_are_told_apart(self):
        page = self.path("page.html")
        self.check(dvit("report", *self.runs() * 10, "--out", page), OK)
        html = read_bytes(page).decode("utf-8")
        self.assertIn(" and 17 more</h1>", html)
        for looks in ("s6", "s0 d1", "s5 d2"):
            self.assertIn('<g class="%s"' % looks, html)

    def test_curves_alone(self):
        page = self.path("page.html")
        self.check(dvit("report", self.runs()[0], "--out", page), OK)
        self.assertIn("<svg", read_bytes(page).decode("utf-8"))

    def test_mistakes(self):
        self.refused(dvit("report", self.path("none")), FAILURE, "none", "run folder")
        self.refused(dvit("report", *self.runs(), "--gallery", self.path("g.png")), USAGE, "--data")
        self.refused(dvit("report", self.folder, "--out", self.path("p.html")), FAILURE,
                     "log.jsonl")
        self.refused(dvit("report", *self.runs(), "--out", self.path("no", "p.html")), FAILURE,
                     "no")


if __name__ == "__main__":
    main()

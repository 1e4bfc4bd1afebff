"""Training augmentation from outside: bad options, same bits whatever the workers and after
resuming, what is recorded, and the picture of a batch."""

import json

from harness import (CommandTest, OK, SCENES, SHAPE, USAGE, dvit, main, png_size, read_bytes,
                     write_bytes)

RECIPE = ("--rand-augment", "rand-m9-mstd0.5-inc1", "--erasing", "0.25", "--mixup", "0.8", "--cutmix",
          "1", "--repeated", "3")


class AugmentationTest(CommandTest):
    def train(self, out, *more):
        return dvit("train", "--data", SCENES, "--model", SHAPE, "--out", self.path(out), "--batch",
                    "8", "--epochs", "1", "--threads", "1", "--warmup-epochs", "0", "--ema", "0.9",
                    *more)

    def trained(self, out, *more):
        self.check(self.train(out, *more), OK)
        return read_bytes(self.path(out, "last.safetensors"))


class Options(AugmentationTest):
    def test_bad_policies_are_refused_by_name(self):
        for policy, message in (
                ("rand-m9-w0", '"w0" is not known; expected mN, nN, pX, mstdX, mmaxN, inc0, inc1 or tweights'),
                ("rand-m9-mstd", '"mstd" needs a number from 0'),
                ("rand-n16", '"n16" needs a whole number from 1 to 15'),
                ("augmix-m3", '"augmix" is not known; expected rand, original, originalr, v0 or v0r'),
                ("original-m9", '"m9" is not known; expected mstdX'),
                ("rand-\x1b[31m", "is not known")):
            answer = self.check(self.train("run", "--rand-augment", policy), USAGE)
            self.assertIn(message, answer.err)
            self.assertNotIn("\x1b", answer.err)

    def test_numbers_out_of_range(self):
        for option, value in (("--color-jitter", "1.5"), ("--erasing", "-1"), ("--mixup", "101"),
                              ("--cutmix", "nan"), ("--repeated", "0"), ("--repeated", "65"),
                              ("--mixup", "0.0001")):
            answer = self.check(self.train("run", option, value), USAGE)
            self.assertIn("expected", answer.err)

    def test_all_is_off_by_default(self):
        plain = self.trained("plain")
        self.assertEqual(plain, self.trained("off", "--rand-augment", "none", "--color-jitter", 0,
                                             "--erasing", 0, "--mixup", 0, "--cutmix", 0,
                                             "--repeated", 1))

    def test_each_option_changes_the_run(self):
        seen = {self.trained("plain")}
        for i, more in enumerate((("--rand-augment", "rand-m9-mstd0.5-inc1"),
                                  ("--rand-augment", "rand-m9-mstd0.5"), ("--rand-augment", "v0"),
                                  ("--color-jitter", "0.4"), ("--erasing", "1"), ("--mixup", "0.8"),
                                  ("--cutmix", "1"), ("--repeated", "2"), ("--no-flip",))):
            bits = self.trained("run%d" % i, *more)
            self.assertNotIn(bits, seen, more)
            seen.add(bits)

    def test_no_augment_turns_all_off(self):
        self.assertEqual(self.trained("a", "--no-augment"), self.trained("b", "--no-augment", *RECIPE))

    def test_a_policy_takes_the_place_of_jitter(self):
        policy = ("--rand-augment", "rand-m9-mstd0.5-inc1")
        self.assertEqual(self.trained("a", *policy), self.trained("b", *policy, "--color-jitter", 1))

    def test_the_run_folder_tells(self):
        self.trained("run", *RECIPE)
        with open(self.path("run", "config.json"), encoding="utf-8") as stream:
            options = json.load(stream)["options"]
        self.assertEqual(options["rand_augment"], "rand-m9-mstd0.5-inc1")
        self.assertEqual([options[name] for name in ("erasing", "mixup", "cutmix", "repeats")],
                         [.25, .8, 1, 3])


class SameBits(AugmentationTest):
    def test_workers_change_nothing(self):
        one = self.trained("one", *RECIPE)
        for workers in (0, 3):
            self.assertEqual(one, self.trained("workers%d" % workers, *RECIPE, "--workers", workers))
        self.assertNotEqual(one, self.trained("seed", *RECIPE, "--seed", 1))

    def test_resuming_changes_nothing(self):
        whole = self.trained("whole", *RECIPE, "--epochs", 2)
        for steps in (1, 5, 12, 17):
            self.check(self.train("parts", *RECIPE, "--epochs", 2, "--max-steps", steps,
                                  *(("--resume",) if steps > 1 else ())), OK)
        self.assertEqual(whole, self.trained("parts", *RECIPE, "--epochs", 2, "--resume"))


class Preview(CommandTest):
    def sheet(self, name, *more, data=SCENES):
        path = self.path(name)
        self.check(dvit("data", "--data", data, "--preview", path, "--augmented", "--count", 9,
                        *more), OK)
        return path

    def test_a_batch_as_training_sees_it(self):
        plain, again = self.sheet("a.png"), self.sheet("b.png")
        self.assertEqual(read_bytes(plain), read_bytes(again))
        width, height = png_size(plain)
        self.assertTrue(3 * 128 < width < 700 and 3 * 128 < height < 700)
        seen = {read_bytes(plain)}
        for i, more in enumerate((("--seed", 1), RECIPE, ("--erasing", 1), ("--mixup", 1),
                                  ("--no-augment",), ("--image-size", 64))):
            bits = read_bytes(self.sheet("%d.png" % i, *more))
            self.assertNotIn(bits, seen, more)
            seen.add(bits)

    def test_unreadable_images_are_left_out(self):
        for label in ("a", "b"):
            folder = self.make_folder("photos", label)
            write_bytes(folder + "/0.png", b"no image")
            for i in range(1, 4):
                write_bytes("%s/%d.ppm" % (folder, i), b"P6 9 7 255 " + bytes(range(189)))
        path = self.path("sheet.png")
        answer = dvit("data", "--data", self.path("photos"), "--preview", path, "--augmented",
                      *RECIPE)
        self.assertIn(answer.code, (OK, 3))
        self.assertGreater(png_size(path)[0], 128)

    def test_an_option_of_augmentation_asks_for_it(self):
        path = self.path("sheet.png")
        self.check(dvit("data", "--data", SCENES, "--preview", path, "--count", 9, "--erasing", 1), OK)
        self.assertEqual(read_bytes(path), read_bytes(self.sheet("b.png", "--erasing", 1)))

    def test_nothing_to_show(self):
        for option in ("--augmented", "--no-flip"):
            answer = self.check(dvit("data", "--data", SCENES, option), USAGE)
            self.assertIn("--preview", answer.err)
        answer = self.check(dvit("data", "--data", SCENES, "--augmented", "--preview",
                                 self.path("a.png"), "--rand-augment", "rand-q1"), USAGE)
        self.assertIn('"q1" is not known', answer.err)


if __name__ == "__main__":
    main()

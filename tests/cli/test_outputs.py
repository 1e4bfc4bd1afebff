"""Outputs never destroy inputs: every output option against everything that a command reads."""

import os
import re
import shutil
import subprocess

from harness import DVIT, OK, USAGE, CommandTest, Models, dvit, environment, main, png_bytes
from harness import read_bytes, write_bytes, write_ppm

# Options by what their text names; every option with a text of its own is in one of the lists.
OUTPUTS = {"picture", "confusion", "plot", "predictions", "preview", "gallery", "out"}
FOLDERS = {"cache-teacher", "packed-cache"}
INPUTS = {"model", "data", "labels-file", "teacher", "calibrate"}
NO_PATHS = {"rand-augment"}
TEXT_ARGUMENTS = {"MODEL", "FILE", "FILE.svg", "PNG", "CSV", "FOLDER", "SPEC", "POLICY"}
VERBS = ("train", "sparsify", "eval", "classify", "info", "convert", "quantize", "diff", "bench",
         "data", "report")


def text_options(verb):
    """(name, argument, required) of the options of a command that take a text."""
    out = dvit("help", verb).out
    found = re.findall(r"(?m)^  --(\S+) (\S+)((?:.|\n(?!  --|\n))*)", out)
    return [(name, argument, "[required]" in rest) for name, argument, rest in found
            if argument in TEXT_ARGUMENTS]


class Table(CommandTest):
    def setUp(self):
        super().setUp()
        self.data = self.make_folder("data")
        for split in ("train", "val"):
            for label in ("a", "b"):
                folder = self.make_folder("data", split, label)
                for i in range(2):
                    write_ppm(os.path.join(folder, "%d.ppm" % i), seed=i + len(label))
        self.file = write_bytes(self.path("input"), b"something that is read")

    def words(self, verb, output, value, taken, taken_value):
        """A command line with one output and one input of its own, and whatever is required."""
        line = [verb, "--" + output, value]
        for name, _, required in text_options(verb):
            if name == taken:
                line += ["--" + name, taken_value]
            elif required and name != output:
                line += ["--" + name, self.path("absent")]
        operands = {"classify": [self.path("absent")], "report": [self.path("absent")]}
        return line + operands.get(verb, [])

    def test_each_text_option_is_known_here(self):
        for verb in VERBS:
            for name, _, _ in text_options(verb):
                self.assertIn(name, OUTPUTS | FOLDERS | INPUTS | NO_PATHS, verb)

    def test_each_output_against_each_input(self):
        pairs = 0
        for verb in VERBS:
            names = [name for name, _, _ in text_options(verb)]
            for output in sorted(OUTPUTS.intersection(names)):
                for taken in sorted(INPUTS.intersection(names)):
                    before = read_bytes(self.file)
                    # a run folder that holds the input; elsewhere the input itself
                    value = self.folder if verb in ("train", "sparsify") else self.file
                    is_data = taken in ("data", "calibrate")
                    if is_data:
                        value = os.path.join(self.data, "new")
                    line = self.words(verb, output, value, taken, self.data if is_data else self.file)
                    self.refused(dvit(*line), USAGE, "is an input of this command", "--" + output)
                    self.assertEqual(read_bytes(self.file), before)
                    pairs += 1
        self.assertGreater(pairs, 20)

    def test_caches_do_not_go_into_the_data(self):
        self.refused(dvit("eval", "--data", self.data, "--packed-cache",
                          os.path.join(self.data, "train")), USAGE, "is an input of this command")
        self.refused(dvit("train", "--data", self.data, "--model", "deit-t", "--out",
                          self.path("run"), "--cache-teacher", self.data), USAGE, "is an input")
        self.assertFalse(os.path.exists(self.path("run")))

    def test_links_are_followed(self):
        os.symlink("input", self.path("soft"))
        os.link(self.file, self.path("hard"))
        os.symlink("data", self.path("set"))
        os.symlink("data/val", self.path("validation"))
        model = ("eval", "--data", "builtin:scenes", "--model", self.file)
        for name in ("soft", "hard", "data/../input", "./input"):
            self.refused(dvit(*model, "--confusion", name, cwd=self.folder), USAGE, "is an input")
        data = ("eval", "--model", "deit-t", "--data")
        for out in ("set/x.csv", "validation/x.csv", "data/new/x.csv", "data"):
            self.refused(dvit(*data, "data", "--confusion", out, cwd=self.folder), USAGE,
                         "is an input")
        self.refused(dvit(*data, "set/", "--plot", "data/x.svg", cwd=self.folder), USAGE, "is an input")

    def test_two_outputs_are_two_files(self):
        os.makedirs(self.path("folder"))
        for first, second in (("x.csv", "x.csv"), ("x.csv", "./x.csv"),
                              ("folder/../x.csv", "x.csv"), (self.path("x.csv"), "x.csv")):
            self.refused(dvit("eval", "--data", "builtin:scenes", "--predictions", first,
                              "--confusion", second, cwd=self.folder), USAGE, "the same file")

    def test_descriptions_and_parts_of_a_model_are_inputs(self):
        folder = self.make_folder("published")
        for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
            write_bytes(os.path.join(folder, name), b"{}")
        for model in (folder, os.path.join(folder, "model.safetensors")):
            for name in os.listdir(folder):
                self.refused(dvit("eval", "--data", "builtin:scenes", "--model", model, "--plot",
                                  os.path.join(folder, name)), USAGE, "is an input")
        index = write_bytes(os.path.join(folder, "x.index.json"), b"{}")
        part = write_bytes(os.path.join(folder, "part-1.bin"), b"x")
        self.refused(dvit("convert", index, part), USAGE, "is an input of this command")


class Images(CommandTest):
    def setUp(self):
        super().setUp()
        self.photos = self.make_folder("photos")
        for name in ("a", "b"):
            write_bytes(os.path.join(self.photos, name + ".png"),
                        png_bytes(4, 4, (b"\0" + bytes(12)) * 4))
        self.before = {name: read_bytes(os.path.join(self.photos, name))
                       for name in os.listdir(self.photos)}

    def unharmed(self):
        self.assertEqual({name: read_bytes(os.path.join(self.photos, name))
                          for name in os.listdir(self.photos)}, self.before)

    def test_pictures_are_no_images(self):
        a, b = (os.path.join(self.photos, name + ".png") for name in "ab")
        for operands, picture in (([a], a), ([self.photos], self.photos), ([a, b], self.photos),
                                  ([a], self.photos), ([self.photos], a),
                                  ([self.photos], os.path.join(self.photos, "new.png")),
                                  ([self.photos], os.path.join(self.photos, "new"))):
            answer = dvit("classify", "--quiet", "--picture", picture, *operands)
            self.refused(answer, USAGE, "is an input of this command")
            self.unharmed()

    def test_a_picture_beside_an_image(self):
        out = os.path.join(self.photos, "a-kept.png")
        for _ in range(2): # the second replaces the first
            self.check(dvit("classify", "--quiet", os.path.join(self.photos, "a.png"), "--picture",
                            out), OK)
        os.remove(out)
        self.unharmed()


class Runs(CommandTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.path("run")
        shutil.copytree(os.path.join(Models.make().folder, "dynamic"), self.run_folder)

    def train(self, out, *more, **options):
        return dvit("train", "--data", "builtin:scenes,image=32,classes=2,train=8,val=4", "--model",
                    "vit:dim=32,depth=1,heads=1,patch=16,image=32", "--epochs", 1, "--batch", 4,
                    "--out", out, "--quiet", *more, **options)

    def test_files_of_a_run_are_not_replaced(self):
        names = [name for name in os.listdir(self.run_folder) if name != "report.html"]
        self.assertIn("log.csv", names)
        kept = os.path.join("kept", os.listdir(os.path.join(self.run_folder, "kept"))[0])
        for name in names + [kept]:
            path = os.path.join(self.run_folder, name)
            if os.path.isdir(path):
                continue
            before = read_bytes(path)
            self.refused(dvit("report", self.run_folder, "--out", path), USAGE,
                         "is an input of this command")
            self.refused(dvit("convert", "cifar10", path), USAGE, "a file of the training run")
            self.assertEqual(read_bytes(path), before)

    def test_other_files_may_stand_in_a_run_folder(self):
        page = os.path.join(self.run_folder, "page.html")
        for _ in range(2):
            self.check(dvit("report", self.run_folder, "--quiet", "--out", page), OK)
            self.check(dvit("report", self.run_folder, "--quiet"), OK)

    def test_a_run_wants_a_folder_of_its_own(self):
        for name in ("notes.txt", "best.safetensors", "config.json"):
            folder = self.make_folder("used-" + name)
            write_bytes(os.path.join(folder, name), b"mine")
            self.refused(self.train(folder), USAGE, "not empty", name, "name a new folder")
            self.assertEqual(os.listdir(folder), [name])

    def test_folders_that_a_run_takes(self):
        empty, hidden = self.make_folder("empty"), self.make_folder("hidden")
        write_bytes(os.path.join(hidden, ".gitkeep"), b"")
        self.check(self.train(empty), OK)
        self.check(self.train(hidden), OK)
        self.check(self.train(empty, "--resume"), OK)
        logged = self.make_folder("logged")
        with open(os.path.join(logged, "out.txt"), "wb") as stream:
            done = subprocess.run([DVIT, "train", "--data",
                                   "builtin:scenes,image=32,classes=2,train=8,val=4", "--model",
                                   "vit:dim=32,depth=1,heads=1,patch=16,image=32", "--epochs", "1",
                                   "--batch", "4", "--out", logged], stdout=stream, stderr=stream,
                                  env=environment(), check=False)
        self.assertEqual(done.returncode, OK)


if __name__ == "__main__":
    main()

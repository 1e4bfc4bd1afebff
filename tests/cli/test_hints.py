"""Errors end with the next command: every hint names what exists, and doing it gets further."""

import glob
import os
import re

from harness import (CommandTest, FAILURE, OK, SCENES, SHAPE, USAGE, Models, dvit, main,
                     write_bytes, write_ppm)

SOURCES = os.environ.get("DVIT_SOURCE_ROOT", ".")
VERBS = ("train", "sparsify", "eval", "classify", "info", "convert", "quantize", "diff", "bench",
         "cpu", "data", "report", "help")
FIRST = ("version", "help")  # options of dvit itself
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')


def read(*parts):
    with open(os.path.join(SOURCES, *parts), encoding="utf-8") as stream:
        return stream.read()


def options_of(verb, known={}):
    if verb not in known:
        known[verb] = set(re.findall(r"(?m)^  --([a-z0-9-]+)", dvit("help", verb).out))
    return known[verb]


def all_options():
    return set().union(*(options_of(verb) for verb in VERBS), FIRST)


def literals(text):
    """The texts of a C source, adjacent literals joined, comments left out."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r'"\s*\n\s*"', "", text)
    return LITERAL.findall(text)


class Sources(CommandTest):
    """What the sources' messages name."""

    def test_options_and_commands_in_messages_exist(self):
        files = [path for folder in ("cli", "src") for path in
                 glob.glob(os.path.join(SOURCES, folder, "**", "*.c"), recursive=True)]
        seen = 0
        for path in files:
            own = re.match(r"cmd_(\w+)\.c", os.path.basename(path))
            if "/report/" in path:  # style sheets have variables of that form
                continue
            for text in literals(read(path)):
                for command, rest in re.findall(r"`dvit ([a-z]+)([^`]*)`", text):
                    self.assertIn(command, VERBS + ("COMMAND",), path + ": " + text)
                    for option in re.findall(r"--([a-z][a-z0-9-]*)", rest):
                        self.assertIn(option, options_of(command) | {"help"}, path + ": " + text)
                        seen += 1
                outside = re.sub(r"`dvit [^`]*`", "", text)
                known = options_of(own[1]) if own else all_options()
                if path.endswith("synonyms.c"):
                    known = all_options()
                for option in re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", outside):
                    self.assertIn(option, known | set(FIRST), path + ": " + text)
                    seen += 1
        self.assertGreater(seen, 100)


class Synonyms(CommandTest):
    def rows(self):
        text = re.sub(r'"\s*\n\s*"', "", read("cli", "synonyms.c"))
        text = text[:text.index("cli_synonym_at")]
        rows = re.findall(r'\{"([^"]+)", (NULL|"[^"]+"), (NULL|"[^"]*"|[A-Z_0-9]+)\},', text)
        self.assertGreater(len(rows), 100)
        self.assertEqual(len(rows), text.count('    {"'))
        return [(word, option.strip('"'), advice) for word, option, advice in rows]

    def test_each_row(self):
        words = set()
        for word, option, advice in self.rows():
            with self.subTest(word=word):
                self.assertNotIn(word, words)
                words.add(word)
                verbs = [verb for verb in VERBS if option in options_of(verb)] or ["train"]
                self.assertTrue(option == "NULL" or option in options_of(verbs[0]))
                for verb in VERBS:  # a word that is an option here is none there
                    self.assertTrue(word not in options_of(verb) or option != "NULL"
                                    or verb not in verbs)
                if len(word) == 1:
                    self.refused(dvit(verbs[0], "-" + word), USAGE, "-" + word)
                elif advice == "NULL":
                    answer = dvit(verbs[0], "--" + word + "=", "--help") # an empty value is refused
                    flag = dvit(verbs[0], "--" + word, "--help")
                    self.assertIn(USAGE, (answer.code, flag.code), word)
                    self.assertTrue("--" + option + " is \"\"" in answer.err or flag.code == OK,
                                    answer.err)
                else:
                    self.refused(dvit(verbs[0], "--" + word, "x"), USAGE,
                                 "unknown option --" + word + "; ")

    def test_the_habits_of_others_are_read(self):
        out = self.path("run")
        answer = dvit("train", "--data-path", SCENES, "--model", SHAPE, "--batch_size", 16,
                      "--num-epochs", 1, "--learning-rate", "1e-3", "--num-workers=1",
                      "--weight_decay", 0, "--output_dir", out, "--warmup", 0)
        self.check(answer, OK)
        for word, option in (("data-path", "data"), ("batch_size", "batch"),
                             ("num-workers", "workers"), ("output_dir", "out"),
                             ("weight_decay", "weight-decay")):
            self.assertIn("--%s is read as --%s\n" % (word, option), answer.err)
        quiet = self.check(dvit("info", "--weights", "deit-t", "--batch-size", 2, "--quiet"), OK)
        self.assertEqual(quiet.err, "")
        self.assertIn("batch 2", quiet.out)

    def test_a_word_of_another_command(self):
        self.refused(dvit("info", "--learning-rate", 1), USAGE, "--lr", "`dvit train`")
        self.refused(dvit("convert", "--amp"), USAGE, "--precision")
        self.refused(dvit("eval", "-batch", 3), USAGE, "two dashes: --batch")
        self.refused(dvit("eval", "-keep_ratio", 3), USAGE, "two dashes")

    def test_commands_of_others(self):
        for word, command in (("predict", "classify"), ("evaluate", "eval"), ("prune", "sparsify"),
                              ("quantise", "quantize"), ("export", "convert")):
            self.refused(dvit(word), USAGE, '"%s"' % word, "`dvit %s`" % command)

    def test_version_and_help_anywhere(self):
        version = self.check(dvit("--version"), OK).out
        for arguments in (("-V",), ("version",), ("train", "--version"), ("eval", "x", "-V")):
            self.assertEqual(self.check(dvit(*arguments), OK).out, version)
        self.assertEqual(dvit("train", "-h").out, dvit("help", "train").out)


class Names(CommandTest):
    def test_shapes_by_their_names_elsewhere(self):
        text = read("src", "models", "presets.c")
        rows = re.findall(r'\{"(\w+)",\s*"([^"]+)"\}', text[text.index("aliases"):])
        self.assertGreater(len(rows), 30)
        presets = re.search(r"(?s)Presets:(.*?)\n\n", dvit("help", "info").out)[1].split()
        for name, shape in rows:
            self.assertTrue(shape in presets or shape.startswith("vit:"), shape)
            self.refused(dvit("info", name), FAILURE, '"%s"' % shape, "another library's name")
        for name, shape in (("google/vit-base-patch16-224", "deit-b"),
                            ("timm/vit_small_patch16_224.augreg_in1k", "deit-s"),
                            ("facebook/deit-tiny-distilled-patch16-224", "deit-t-distilled")):
            self.refused(dvit("info", name), FAILURE, '"%s"' % shape)
        self.refused(dvit("info", "google/vit-base-patch16-224.pth"), FAILURE, "cannot open")


class Operands(CommandTest):
    """A model, or the data, may stand without its option."""

    def test_models(self):
        best = Models.make().best("dense")
        few = ("--data", SCENES, "--limit", 4, "--rounds", 1, "--seconds", 0.01, "--json")
        named = self.check(dvit("eval", "--model", best, *few), OK).lines[0]
        row = self.check(dvit("eval", best, *few), OK).lines[0]
        self.assertEqual((row["model"], row["top1"]), (named["model"], named["top1"]))
        both = self.check(dvit("eval", best, Models.best("dynamic"), *few), OK)
        self.assertEqual([row["model"] for row in both.lines], [best, Models.best("dynamic")])
        self.check(dvit("bench", best, "--batch", 1, "--rounds", 1, "--seconds", 0.01), OK)
        for verb in ("train", "sparsify"):
            self.check(dvit(verb, best, "--data", SCENES, "--epochs", 1, "--batch", 16, "--out",
                            self.path(verb), "--quiet"), OK)
        self.check(dvit("quantize", "--model", best, "--calibrate", SCENES, "--count", 4, "--limit",
                        4, "--out", self.path("q.safetensors"), "--quiet"), OK)
        for arguments in (("info", best, "--model", best), ("train", best, "--model", SHAPE)):
            self.refused(dvit(*arguments), USAGE, "exclude each other")

    def test_classify_takes_a_model_first(self):
        image = write_ppm(self.path("a.ppm"), 32, 32)
        best = Models.make().best("dense")
        named = self.check(dvit("classify", "--model", best, image), OK)
        first = self.check(dvit("classify", best, image), OK)
        self.assertEqual(first.out, named.out)
        self.assertIn("is read as --model", first.err)
        self.refused(dvit("classify", best), USAGE, "IMAGE… is missing")

    def test_data(self):
        self.assertEqual(self.check(dvit("data", SCENES), OK).out,
                         self.check(dvit("data", "--data", SCENES), OK).out)

    def test_a_run_folder_is_its_best_model(self):
        Models.make()
        run, best = os.path.join(Models.folder, "dynamic"), Models.best("dynamic")
        few = ("--data", SCENES, "--limit", 4, "--rounds", 1, "--seconds", 0.01, "--json")
        by_folder = self.check(dvit("eval", run, *few), OK)
        self.assertIn("best.safetensors is read", by_folder.err)
        by_file = self.check(dvit("eval", best, *few), OK)
        self.assertEqual(by_folder.lines[0]["loss"], by_file.lines[0]["loss"])
        image, out = write_ppm(self.path("a.ppm"), 32, 32), self.path("out.safetensors")
        for arguments in (("info", run), ("info", run + "/", "--tensors"), ("diff", run, best),
                          ("classify", run, image), ("classify", "--model", run, image),
                          ("convert", run, out), ("diff", out, run),
                          ("bench", run, "--batch", 1, "--rounds", 1, "--seconds", 0.01),
                          ("bench", run, "--start", "--batch", 1, "--rounds", 1),
                          ("train", run, "--teacher", os.path.join(Models.folder, "dense"),
                           "--data", SCENES, "--epochs", 1, "--batch", 16, "--out",
                           self.path("run"), "--quiet")):
            self.check(dvit(*arguments), OK)
        os.remove(self.path("run", "best.safetensors"))
        answer = self.refused(dvit("info", self.path("run")), FAILURE, "last.safetensors")
        self.check(dvit("info", re.search(r'its last model is "([^"]+)"', answer)[1]), OK)


class Walked(CommandTest):
    """Commands that fail, and what their message says to add."""

    def setUp(self):
        super().setUp()
        self.data = "builtin:scenes,image=32,classes=4,train=32,val=8"
        self.common = ("--data", self.data, "--epochs", 1, "--batch", 16, "--quiet")

    def follow(self, first, code, *added):
        """`added`: words, each of which the first message must say."""
        message = self.refused(dvit(*first), code)
        for word in added:
            if str(word).startswith("--"):
                self.assertIn(word, message)
        return dvit(*first, *added)

    def test_a_dynamic_model_is_trained_on_other_classes(self):
        out = self.path("run")
        first = ("train", "--model", "cifar10", "--out", out, *self.common)
        self.check(self.follow(first, FAILURE, "--classes", "data"), OK)

    def test_a_dynamic_model_without_a_teacher(self):
        dynamic, dense = Models.make().best("dynamic"), Models.best("dense")
        for name, added in (("a", ("--w-kl", 0, "--w-token", 0)), ("b", ("--teacher", dense))):
            first = ("sparsify", "--model", dynamic, "--out", self.path(name), *self.common)
            self.check(self.follow(first, USAGE, *added), OK)

    def test_a_teacher_of_other_classes(self):
        first = ("train", "--model", "cifar10", "--classes", "data", "--teacher", "cifar10",
                 "--out", self.path("run"), *self.common)
        message = self.refused(dvit(*first), FAILURE, "10 classes", "of 4 classes", "--teacher")
        self.assertIn("--w-kl 0 --w-token 0", message)
        self.check(dvit(*first, "--w-kl", 0, "--w-token", 0), OK)

    def test_a_dense_model_on_other_classes(self):
        first = ("train", "--model", Models.make().best("dense"), "--out", self.path("run"),
                 "--data", "builtin:scenes,image=32,classes=3,train=32,val=8", "--epochs", 1,
                 "--batch", 16, "--quiet")
        self.check(self.follow(first, FAILURE, "--classes", "data"), OK)

    def test_a_run_that_is_there(self):
        first = ("train", "--model", SHAPE, "--out", self.path("run"), *self.common)
        self.check(dvit(*first), OK)
        self.refused(dvit(*first), USAGE, "--resume")
        self.check(dvit(*first, "--resume"), OK)

    def test_what_is_missing_comes_with_an_example(self):
        for verb in ("train", "sparsify", "eval", "data", "quantize", "info", "classify", "convert",
                     "diff", "report"):
            message = self.refused(dvit(verb), USAGE, "missing", "as in: dvit " + verb)
            for option in re.findall(r"--([a-z-]+)", message):
                self.assertIn(option, options_of(verb))

    def test_memory_is_told_before_anything_is_made(self):
        huge = "vit:dim=8192,depth=200,heads=64,patch=16,image=224"
        self.refused(dvit("info", huge), FAILURE, " GB of memory", "--batch")
        self.refused(dvit("train", "--model", huge, "--data", self.data, "--out", self.path("a"),
                          "--quiet"), FAILURE, " GB of memory", "--batch")
        self.refused(dvit("bench", "vit:dim=64,depth=32,heads=1,patch=16,image=1024", "--train",
                          "--batch", 4096, "--quiet"), FAILURE, " GB of memory", "--batch")
        large = "builtin:scenes,image=1024,classes=8,train=4096,val=4096"
        tiny = "vit:dim=32,depth=4,heads=1,patch=32,image=1024,classes=8"
        self.refused(dvit("eval", tiny, "--data", large, "--batch", 4096, "--quiet"), FAILURE,
                     " GB of memory", "--batch")
        self.refused(dvit("train", tiny, "--data", large, "--batch", 4096, "--quiet", "--out",
                          self.path("a")), FAILURE, " GB of memory", "--batch")
        self.assertFalse(os.path.exists(self.path("a", "best.safetensors")))


if __name__ == "__main__":
    main()

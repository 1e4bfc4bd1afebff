"""The command line itself: help, versions, unknown words, bounds, exit codes."""

import os
import re
import shutil
import subprocess
import unittest

from harness import CommandTest, DVIT, FAILURE, OK, USAGE, dvit, environment, main

VERBS = ("train", "sparsify", "eval", "classify", "info", "convert", "diff", "bench", "cpu", "data",
         "report", "help")


class Help(CommandTest):
    def test_overview_names_every_command_and_exit_code(self):
        answer = self.check(dvit("--help"), OK)
        for verb in VERBS:
            self.assertRegex(answer.out, r"(?m)^  %s +\S" % verb)
        for code in range(6):
            self.assertRegex(answer.out, r"(?m)^  %d  \S" % code)
        self.assertEqual(answer.out, dvit("help").out)

    def test_nothing_given(self):
        answer = self.check(dvit(), USAGE)
        self.assertEqual(answer.out, "")
        self.assertIn("usage: dvit", answer.err)

    def test_version(self):
        self.assertRegex(self.check(dvit("--version"), OK).out, r"^dvit \d+\.\d+\.\d+\n$")

    def test_help_of_a_command_both_ways(self):
        for verb in VERBS:
            answer = self.check(dvit(verb, "--help"), OK)
            self.assertEqual(answer.out, dvit("help", verb).out)
            self.assertTrue(answer.out.startswith("usage: dvit " + verb))
            self.assertIn("Exit codes:", answer.out)

    def test_lines_fit_a_terminal(self):
        for line in dvit("help", "sparsify").out.splitlines():
            if "builtin:scenes" not in line and not line.startswith("  dvit "):
                self.assertLessEqual(len(line), 80, line)

    def test_common_options_have_one_name(self):
        for verb in ("train", "sparsify", "eval", "classify", "bench"):
            for name in ("--model", "--batch", "--threads", "--seed", "--json"):
                self.assertRegex(dvit("help", verb).out, r"(?m)^  %s\b" % name)

    def test_defaults_are_the_ones_of_the_recipe(self):
        train, sparsify = dvit("help", "train").out, dvit("help", "sparsify").out
        self.assertRegex(train, r"--epochs N [^\[]*\[30\]")
        self.assertRegex(sparsify, r"--backbone-lr-scale X [^\[]*\[0\.01\]")
        self.assertRegex(sparsify, r"--w-ratio X [^\[]*\[2\]")

    def test_manual_page(self):
        page = self.check(dvit("help", "--man"), OK).out
        self.assertTrue(page.startswith(".TH DVIT 1"))
        for section in ("NAME", "COMMANDS", "EXIT STATUS", "EXAMPLES"):
            self.assertIn(".SH " + section, page)
        self.assertTrue(page.isascii())
        if shutil.which("groff"):
            done = subprocess.run(["groff", "-man", "-ww", "-Tutf8"], input=page.encode(),
                                  capture_output=True, check=False)
            self.assertEqual(done.stderr.decode().count("warning"), 0, done.stderr)

    @unittest.skipUnless(shutil.which("bash"), "no bash")
    def test_completion(self):
        def complete(*words):
            script = ('eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _dvit 2>/dev/null;'
                      ' echo "${COMPREPLY[@]}"')
            done = subprocess.run(["bash", "-c", script, "-", dvit("help", "--completion").out,
                                   "dvit", *words], capture_output=True, check=True)
            return done.stdout.decode().split()
        self.assertEqual(complete("cl"), ["classify"])
        self.assertIn("--keep", complete("eval", "--k"))
        self.assertEqual(complete("eval", "--split", ""), ["train", "val"])
        self.assertIn("deit-s", complete("bench", "--model", "deit-s"))


class Mistakes(CommandTest):
    def test_unknown_command(self):
        self.refused(dvit("trian"), USAGE, '"trian"', 'did you mean "train"')
        self.refused(dvit("xyzzyplugh"), USAGE, "dvit --help")

    def test_unknown_option_suggests_the_nearest(self):
        self.refused(dvit("eval", "--modle", "x"), USAGE, "--modle", "did you mean --model?")
        self.refused(dvit("train", "--epoch=3"), USAGE, "did you mean --epochs?")
        self.refused(dvit("eval", "--qqqqqqqqqq"), USAGE, "--qqqqqqqqqq", "--help")

    def test_option_of_another_command(self):
        self.refused(dvit("eval", "--top", "3"), USAGE, "--top", "dvit classify")

    def test_out_of_range_names_the_bound(self):
        for arguments, words in (
                (("bench", "--batch", "0"), ("--batch", '"0"', "1 to 4096")),
                (("bench", "--batch", "8,4097"), ("--batch", '"4097"', "1 to 4096")),
                (("train", "--epochs", "0"), ("--epochs", "1 to 100000")),
                (("eval", "--keep", "0"), ("--keep", "above 0, at most 1")),
                (("eval", "--keep", "1.01"), ("--keep", "above 0, at most 1")),
                (("train", "--ema", "1"), ("--ema", "below 1")),
                (("train", "--threads", "-1"), ("--threads", "0 to 256")),
                (("classify", "--top", "0"), ("--top", "1 to"))):
            self.refused(dvit(*arguments), USAGE, *words)

    def test_numbers_are_read_strictly(self):
        for value in ("5x", "", " 5", "0x5", "5.0", "1e1", "99999999999999999999", "five", "5,", "5-3"):
            self.refused(dvit("train", "--epochs", value), USAGE, "--epochs", "a whole number")
        for value in ("nan", "inf", "0.5x", "", "1e999", "0x1p-1", "1.2.3"):
            self.refused(dvit("train", "--lr", value), USAGE, "--lr", "a number")
        for value in ("-1", "1.5", "18446744073709551616"):
            self.refused(dvit("train", "--seed", value), USAGE, "--seed")

    def test_sizes(self):
        for value in ("0", "8193", "32x0"):
            self.refused(dvit("info", "--image-size", value), USAGE, "--image-size", "1 to 8192")
        for value in ("32x", "x32", "32x32x32", "32*32", "3.2"):
            self.refused(dvit("info", "--image-size", value), USAGE, "a whole number")

    def test_a_word_for_a_number(self):
        self.refused(dvit("train", "--classes", "date"), USAGE, "--classes", "1 to 1000000, or data")
        self.refused(dvit("info", "--classes", "data"), USAGE, "--classes", "a whole number")

    def test_choices(self):
        self.refused(dvit("eval", "--split", "test"), USAGE, '"test"', "train|val")
        self.refused(dvit("info", "--cpu", "z80"), USAGE, '"z80"', "avx2")
        self.refused(dvit("convert", "--dtype", "f8", "a", "b"), USAGE, '"f8"', "f32|f16|bf16")
        self.refused(dvit("info", "--preprocess", "x"), USAGE, '"x"', "dynamicvit|timm")

    def test_value_missing_or_too_much(self):
        self.refused(dvit("train", "--epochs"), USAGE, "--epochs needs a value")
        self.refused(dvit("cpu", "--json=yes"), USAGE, "--json takes no value")
        self.refused(dvit("cpu", "extra"), USAGE, '"extra"')
        self.refused(dvit("classify", "--model", "deit-t"), USAGE, "IMAGE")
        self.refused(dvit("eval", "--keep", ",".join(["0.5"] * 17)), USAGE, "at most 16")

    def test_two_ways_to_write_a_value(self):
        apart = self.check(dvit("info", "deit-t", "--keep", "0.5", "--json", "--quiet"), OK)
        joined = self.check(dvit("info", "--keep=0.5", "--json", "--quiet", "--", "deit-t"), OK)
        self.assertEqual(apart.out, joined.out)

    def test_later_value_wins(self):
        once = self.check(dvit("info", "deit-t", "--json", "--quiet", "--batch", "2"), OK)
        twice = dvit("info", "deit-t", "--json", "--quiet", "--batch", "9", "--batch", "2")
        self.assertEqual(once.out, twice.out)

    def test_full_disk_behind_standard_output(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([DVIT, "cpu"], stdout=full, stderr=subprocess.PIPE,
                                  env=environment(), check=False)
        self.assertEqual(done.returncode, FAILURE)
        self.assertIn(b"cannot write to standard output", done.stderr)

    def test_control_characters_do_not_reach_the_terminal(self):
        answer = dvit("classify", "--model", "\x1b[31mnone", "x.jpg")
        self.assertNotIn("\x1b", answer.err)
        self.assertTrue(re.search(r"\\x1b\[31mnone", answer.err), answer.err)


if __name__ == "__main__":
    main()

"""The command on a machine that is not kind: links and FIFOs where it writes, closed descriptors,
caches that others could have written, what killed processes left."""

import csv
import json
import os
import re
import signal
import stat
import struct
import subprocess

from harness import (DVIT, FAILURE, OK, SHAPE, USAGE, CommandTest, dvit, environment, main, png_bytes,
                     read_bytes, write_bytes, write_ppm)

TINY = "builtin:scenes,image=32,classes=4,train=16,val=8"


def train(folder, *more, **options):
    return dvit("train", "--data", TINY, "--model", SHAPE, "--batch", 8, "--threads", 1,
                "--epochs", 1, "--quiet", "--out", folder, *more, **options)


class TestFiles(CommandTest):
    def test_links_in_a_run_folder_keep_their_targets(self):
        for name in ("run.lock", "log.jsonl", "log.csv"):
            with self.subTest(name):
                run, victim = self.make_folder("run-" + name), self.path("victim")
                write_bytes(victim, b"precious\n")
                write_bytes(os.path.join(run, "find_lr.json"), b"{}")  # the folder of a run
                os.symlink("../victim", os.path.join(run, name))
                self.refused(train(run), FAILURE, name, "symbolic link")
                self.assertEqual(read_bytes(victim), b"precious\n")

    def test_fifos_in_a_run_folder_do_not_wait(self):
        for name in ("run.lock", "log.jsonl", "log.csv"):
            with self.subTest(name):
                run = self.make_folder("run-" + name)
                write_bytes(os.path.join(run, "find_lr.json"), b"{}")
                os.mkfifo(os.path.join(run, name))
                self.refused(train(run, timeout=60), FAILURE, name, "not a regular file")

    def test_what_killed_processes_left_is_removed(self):
        run = self.path("run")
        self.check(train(run), OK)
        for name in ("report.html.123-0.tmp", "find_lr.svg.99-3.tmp", "best.safetensors.1-0.tmp"):
            write_bytes(os.path.join(run, name), b"x")
        write_bytes(os.path.join(run, "mine.tmp"), b"x")
        self.check(train(run, "--resume"), OK)
        left = [name for name in os.listdir(run) if name.endswith(".tmp")]
        self.assertEqual(left, ["mine.tmp"])

    def test_replaced_files_keep_their_permissions(self):
        out = self.path("o.safetensors")
        for mode in (0o600, 0o640):
            write_bytes(out, b"")
            os.chmod(out, mode)
            self.check(dvit("convert", "cifar10", out, "--quiet"), OK)
            self.assertEqual(stat.S_IMODE(os.stat(out).st_mode), mode)

    def test_closed_descriptors_are_not_files_of_the_run(self):
        run = self.path("run")
        done = subprocess.run(
            ["sh", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-', DVIT, "train", "--data", TINY, "--model",
             SHAPE, "--batch", "8", "--threads", "1", "--epochs", "1", "--out", run],
            env=environment(), check=False, timeout=240)
        self.assertIn(done.returncode, (OK, FAILURE))
        for line in read_bytes(os.path.join(run, "log.jsonl")).splitlines():
            self.assertEqual((line[:1], line[-1:]), (b"{", b"}"), line)


class TestSignals(CommandTest):
    def test_a_mapped_file_that_is_shortened_is_an_error(self):
        path, size = self.path("big.safetensors"), 600 << 20
        header = json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
        write_bytes(path, struct.pack("<Q", len(header)) + header.encode())
        os.truncate(path, 8 + len(header) + size)
        process = subprocess.Popen([DVIT, "info", "--tensors", path], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=environment())
        while process.poll() is None:
            with open("/proc/%d/maps" % process.pid, encoding="utf-8", errors="replace") as maps:
                if path in maps.read():
                    break
        os.truncate(path, 1000)
        _, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err.count(b"dvit: error: ")), (FAILURE, 1), err)

    def test_a_closed_pipe_ends_quietly(self):
        for arguments in (["info", "--tensors", "cifar10"], ["help"],
                          ["classify", write_ppm(self.path("a.ppm"))]):
            with self.subTest(arguments):
                process = subprocess.Popen([DVIT, *arguments], stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, env=environment())
                process.stdout.close()
                err = process.stderr.read()
                process.stderr.close()
                self.assertEqual((process.wait(timeout=60), err), (-signal.SIGPIPE, b""))


class TestExitCodes(CommandTest):
    """2 is for the command line, 1 for what is wrong with files."""

    def edited(self, key, **changes):
        data = read_bytes(os.path.join(os.environ["DVIT_SOURCE_ROOT"], "share", "dvit",
                                       "cifar10.safetensors"))
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + size])
        described = json.loads(header["__metadata__"][key])
        described.update(changes)
        header["__metadata__"][key] = json.dumps(described)
        text = json.dumps(header).encode()
        return write_bytes(self.path("m.safetensors"),
                           struct.pack("<Q", len(text)) + text + data[8 + size:])

    def test_a_model_file_that_is_out_of_range_is_no_mistake_of_the_command_line(self):
        picture = write_ppm(self.path("a.ppm"))
        for changes in ({"depth": 0}, {"heads": 10 ** 9}, {"keep": 2.5}, {"mean_pool": True},
                        {"norm_eps": -1}, {"stem_width": 10 ** 9}):
            with self.subTest(changes):
                path = self.edited("dvit.config", **changes)
                self.refused(dvit("classify", "--model", path, picture), FAILURE, path)
        self.refused(dvit("info", "cifar10", "--image-size", 30), USAGE)

    def test_the_reason_is_the_system_s(self):
        write_bytes(self.path("file"), b"")
        self.refused(dvit("train", "--data", TINY, "--model", SHAPE, "--out",
                          self.path("file", "run")), FAILURE, "Not a directory")
        self.refused(dvit("train", "--data", TINY, "--model", SHAPE, "--out", "/proc/none/run"),
                     FAILURE, "/proc/none", "No such file or directory")
        self.refused(dvit("train", "--data", TINY, "--model", SHAPE, "--out", "a" * 300),
                     FAILURE, "File name too long")

    def test_keys_of_a_shape_stand_once(self):
        self.refused(dvit("info", "vit:dim=32,depth=1,heads=2,dim=64"), USAGE, "dim", "twice")
        self.refused(dvit("info", "vit:image=32,depth=1,width=64"), USAGE, "image", "width")


class TestPackedCache(CommandTest):
    def classify(self, folder, **options):
        picture = write_ppm(self.path("a.ppm"))
        return dvit("classify", "--packed-cache", folder, "--top", 1, picture, **options)

    def kept(self, folder):
        (name,) = [name for name in os.listdir(folder) if name.endswith(".packed")]
        return os.path.join(folder, name)

    def test_what_cannot_be_kept_is_a_warning(self):
        cache = self.path("cache")
        right = self.check(self.classify(cache), OK)
        self.assertNotIn("warning", right.err)
        path = self.kept(cache)
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/full", path)):
            os.unlink(path) if not os.path.isdir(path) else os.rmdir(path)
            make(path)
            answer = self.check(self.classify(cache, timeout=60), OK)
            self.assertIn("warning", answer.err)
            self.assertEqual(answer.out, right.out)
        answer = self.check(self.classify(write_bytes(self.path("file"), b"mine")), OK)
        self.assertIn("warning", answer.err)
        self.assertEqual(read_bytes(self.path("file")), b"mine")
        self.assertEqual(answer.out, right.out)

    def test_what_others_could_write_is_not_believed(self):
        cache = self.path("cache")
        os.umask(0)
        self.addCleanup(os.umask, 0o022)
        right = self.check(self.classify(cache), OK)
        os.umask(0o022)
        self.assertNotIn("warning", self.check(self.classify(cache), OK).err)
        os.chmod(self.kept(cache), 0o666)
        answer = self.check(self.classify(cache), OK)
        self.assertIn("may be written by others", answer.err)
        self.assertEqual(answer.out, right.out)
        self.assertNotIn("warning", self.check(self.classify(cache), OK).err)
        os.chmod(cache, 0o777)
        answer = self.check(self.classify(cache), OK)
        self.assertIn("may be written by others", answer.err)
        self.assertEqual(answer.out, right.out)


BAD = ["\x1b[31mred", "a\u009b2J", "\u202egnp", "line\nbreak", "\u2066x", "\u061cy", "\x7f"]
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class TestPrinting(CommandTest):
    """Nothing in a name is obeyed by a terminal, wherever it comes out."""

    def make_data(self, names):
        for split in ("train", "val"):
            for k, name in enumerate(names):
                folder = os.path.join(os.fsencode(self.path("data", split)), name)
                os.makedirs(folder)
                for i in range(2):
                    write_bytes(os.path.join(folder, b"%d.png" % i),
                                png_bytes(16, 16, b"".join(b"\0" + bytes([30 * k, 9 * y, 99 + i] * 16)
                                                         for y in range(16))))
        return self.path("data")

    def harmless(self, answer):
        for text in (answer.out, answer.err):
            found = CONTROLS.search(text)
            self.assertIsNone(found, text)
            self.assertNotIn("\nbreak", text)
        return answer

    def test_names_from_everywhere(self):
        data = self.make_data([name.encode() for name in BAD])
        write_bytes(self.path("data", "val", BAD[0], "\x1b[2J.png"), b"\x89PNG")
        run = self.path("\u202erun")
        self.harmless(dvit("data", "--data", data))
        self.harmless(dvit("data", "--data", data, "--check"))
        self.harmless(self.check(dvit(
            "train", "--data", data, "--model", "vit:dim=32,depth=1,heads=2,patch=8,image=16", "--out",
            run, "--epochs", 1, "--batch", 4, "--threads", 1), OK))
        model = os.path.join(run, "best.safetensors")
        for arguments in (["info", model], ["info", "--tensors", model], ["info", "--contents", model],
                          ["convert", model, self.path("\x1bo.safetensors")], ["diff", model, model],
                          ["diff", model, "cifar10"],
                          ["eval", "--data", data, "--model", model, "--per-class"],
                          ["eval", "--data", data, "--model", model, "--json"],
                          ["classify", "--model", model, self.path("data", "val", BAD[0], "0.png")],
                          ["classify", "--model", model, "--json",
                           self.path("data", "val", BAD[1], "0.png")],
                          ["classify", "--model", model, "\x1b[31mnone.png"],
                          ["eval", "--data", data, "--model", "\u202enone"],
                          ["report", run], ["\x1b[31mverb"], ["info", "--\u009boption"]):
            with self.subTest(arguments):
                answer = self.harmless(dvit(*arguments))
                if "--json" in arguments:
                    self.assertTrue(answer.lines)
        with open(os.path.join(run, "report.html"), encoding="utf-8") as page:
            self.assertIsNone(CONTROLS.search(page.read()))

    def test_bytes_that_are_no_text_are_told_apart_from_controls(self):
        data = self.make_data([b"b\x07", b"c"])
        self.assertIn("b\\x07", self.harmless(dvit("data", "--data", data)).out)
        data = self.make_data([b"caf\xe9", b"d"])
        run = self.path("run")
        self.refused(dvit("data", "--data", data), FAILURE, "caf\\xe9", "not UTF-8")
        self.refused(dvit("train", "--data", data, "--model",
                          "vit:dim=32,depth=1,heads=2,patch=8,image=16", "--out", run, "--epochs", 1,
                          "--batch", 4, "--threads", 1, "--quiet"),
                     FAILURE, "class folder", "caf\\xe9", "not UTF-8")
        self.assertFalse(os.path.exists(run))

    def test_paths_that_are_no_utf8_are_trained_in(self):
        run = os.path.join(os.fsencode(self.folder), b"r\xe9")
        self.check(dvit("train", "--data", TINY, "--model", SHAPE, "--batch", 8, "--threads", 1,
                        "--epochs", 1, "--quiet", "--out", os.fsdecode(run)), OK)
        with open(os.path.join(run, b"config.json"), encoding="utf-8") as config:
            self.assertIn("r\\xe9", json.load(config)["command"])

    def test_names_are_no_formulas(self):
        data = self.make_data([b"=1+1", b"@x", b"-1", b"+a", b"plain"])
        run, table, confusion = self.path("run"), self.path("p.csv"), self.path("c.csv")
        self.check(dvit("train", "--data", data, "--model",
                        "vit:dim=32,depth=1,heads=2,patch=8,image=16", "--out", run, "--epochs", 1,
                        "--batch", 4, "--threads", 1, "--quiet"), OK)
        self.check(dvit("eval", "--data", data, "--model", os.path.join(run, "best.safetensors"),
                        "--predictions", table, "--confusion", confusion, "--quiet"), OK)
        for path in (table, confusion):
            with open(path, encoding="utf-8", newline="") as stream:
                cells = [cell for row in csv.reader(stream) for cell in row]
            self.assertIn("'=1+1", cells)
            self.assertIn("plain", cells)
            for cell in cells:
                self.assertFalse(cell[:1] in "=+-@" and cell[:1] and not is_number(cell), cell)


def is_number(text):
    try:
        float(text)
        return True
    except ValueError:
        return False


main()

"""The command on a machine that is not kind: links and FIFOs where it writes, closed descriptors,
caches that others could have written, what killed processes left."""

import os
import stat
import subprocess

from harness import (DVIT, FAILURE, OK, SHAPE, CommandTest, dvit, environment, main,
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


main()

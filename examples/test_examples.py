"""The examples do what their first lines say."""

import glob
import os
import subprocess
import sys
import tempfile
import unittest

TRAIN, CLASSIFY = os.environ["TRAIN_SCENES"], os.environ["CLASSIFY_IMAGE"]
IMAGES = os.path.join(os.environ["DVIT_SOURCE_ROOT"], "tests", "golden", "image")


def start(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="dvit-examples-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.trained = start(TRAIN, cls.folder.name, "1")

    def best(self, name):
        return os.path.join(self.folder.name, name, "best.safetensors")

    def test_training_reports_both_runs(self):
        self.assertEqual(self.trained.returncode, 0, self.trained.stderr)
        self.assertRegex(self.trained.stdout, r"(?m)^dense, epoch 1: [\d.]+ % right$")
        self.assertRegex(self.trained.stdout, r"(?m)^pruned, epoch 1: [\d.]+ % right$")

    def test_classify_with_the_pruned_model(self):
        picture = sorted(glob.glob(os.path.join(IMAGES, "*.png")))[0]
        answer = start(CLASSIFY, self.best("pruned"), picture)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        lines = answer.stdout.splitlines()
        self.assertEqual(len(lines), 6, answer.stdout)
        self.assertEqual(lines[3:], ["stage %d kept %d of 64 patches" % (stage, kept)
                                     for stage, kept in ((1, 44), (2, 31), (3, 21))])

    def test_errors_are_said(self):
        missing = os.path.join(self.folder.name, "none.png")
        answer = start(CLASSIFY, self.best("dense"), missing)
        self.assertEqual(answer.returncode, 1)
        self.assertIn(missing, answer.stderr)
        self.assertEqual(start(CLASSIFY).returncode, 2)
        self.assertEqual(start(TRAIN, self.folder.name, "none").returncode, 2)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    sys.exit(not program.result.wasSuccessful())

"""What counts as a test, and what as a failure."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

import count_tests

CMOCKA = "[==========] Running 2 test(s).\n[==========] 2 test(s) run.\n"


def entry(stdout="", stderr="", result="OK"):
    return {"name": "x", "stdout": stdout, "stderr": stderr, "result": result, "returncode": 1}


class Programs(unittest.TestCase):
    def counts(self, *arguments, **options):
        passed, failed, skipped = count_tests.count_program(entry(*arguments, **options))
        return passed, len(failed), skipped

    def test_cmocka(self):
        good = CMOCKA + "[  PASSED  ] 2 test(s).\n"
        self.assertEqual(self.counts(good), (2, 0, 0))
        self.assertEqual(self.counts(good + good), (4, 0, 0))
        bad = ("[  FAILED  ] test_b\n" + CMOCKA + "[  PASSED  ] 1 test(s).\n"
               "[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] test_b\n")
        self.assertEqual(self.counts(bad, result="FAIL"), (1, 1, 0))
        skipped = CMOCKA + "[  PASSED  ] 1 test(s).\n[  SKIPPED ] 1 test(s), listed below:\n"
        self.assertEqual(self.counts(skipped), (1, 0, 1))

    def test_unittest(self):
        self.assertEqual(self.counts("", "Ran 3 tests in 0.1s\n\nOK\n"), (3, 0, 0))
        self.assertEqual(self.counts("", "Ran 3 tests in 0.1s\n\nOK (skipped=1)\n"), (2, 0, 1))
        bad = "ERROR: test_a (m.C)\nFAIL: test_b (m.C)\nRan 3 tests in 1s\n\nFAILED (failures=1, errors=1)\n"
        self.assertEqual(self.counts("", bad, result="FAIL"), (1, 2, 0))

    def test_checks_of_the_house(self):
        self.assertEqual(self.counts("1 passed, 0 failed\n"), (1, 0, 0))
        self.assertEqual(self.counts("a.c: bad\n0 passed, 1 failed\n", result="FAIL"), (0, 1, 0))

    def test_no_case_is_a_failure(self):
        self.assertEqual(self.counts("hello\n"), (0, 1, 0))
        self.assertEqual(self.counts("", "Ran 0 tests in 0.0s\n\nOK\n"), (0, 1, 0))

    def test_crash_and_timeout_are_failures(self):
        self.assertEqual(self.counts("[ RUN      ] test_a\n", result="FAIL"), (0, 1, 0))
        self.assertEqual(self.counts("", result="TIMEOUT"), (0, 1, 0))
        late = CMOCKA + "[  PASSED  ] 2 test(s).\n"
        self.assertEqual(self.counts(late, result="FAIL"), (2, 1, 0))


class Logs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="dvit-count-")
        self.addCleanup(self.folder.cleanup)

    def log(self, name, *entries):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(item) + "\n" for item in entries)
        return path

    def run_main(self, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = count_tests.main(arguments)
        return code, out.getvalue().splitlines()[-1]

    def test_sanitized_cases_count_once(self):
        good = entry("1 passed, 0 failed\n")
        log, again = self.log("a", good, good), self.log("b", good, entry(result="FAIL"))
        self.assertEqual(self.run_main(log), (0, "2 passed, 0 failed"))
        self.assertEqual(self.run_main(log, "--again", again), (1, "2 passed, 1 failed"))

    def test_a_missing_or_empty_log_is_a_failure(self):
        self.assertEqual(self.run_main(os.path.join(self.folder.name, "none"))[0], 1)
        self.assertEqual(self.run_main(self.log("empty"))[0], 1)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    sys.exit(not program.result.wasSuccessful())

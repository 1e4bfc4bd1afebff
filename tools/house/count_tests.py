"""Counts test cases in meson's test logs; ends with the line "N passed, N failed".

    count_tests.py LOG… [--again LOG…]

A case is a cmocka test, a unittest method, or a check of the house ("N passed, N failed" at the end
of its output). A program that ran no case, crashed or timed out is one failed case. Logs after
--again are the same cases under a sanitizer: only their failures count. Exits 1 on any failure.
"""

import json
import re
import sys

CMOCKA_RUN = re.compile(r"^\[==========\] (?:\w+: )?(\d+) test\(s\) run\.", re.M)
CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] (\w+)$", re.M)
CMOCKA_SKIPPED = re.compile(r"^\[  SKIPPED \] (\d+) test", re.M)
UNITTEST_RUN = re.compile(r"^Ran (\d+) tests? in", re.M)
UNITTEST_RESULT = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$", re.M)
UNITTEST_FAILED = re.compile(r"^(?:FAIL|ERROR): (.+)$", re.M)
OWN_COUNT = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)


def total(pattern, text):
    return sum(int(number) for number in pattern.findall(text))


def count_cmocka(text):
    names = sorted(set(CMOCKA_FAILED.findall(text)))
    return total(CMOCKA_PASSED, text), names, total(CMOCKA_SKIPPED, text)


def count_unittest(text):
    """Skipped methods are counted apart; a failed set-up is a failure without a method."""
    details = ",".join(UNITTEST_RESULT.findall(text))
    skipped = sum(int(number) for number in re.findall(r"skipped=(\d+)", details))
    names = UNITTEST_FAILED.findall(text)
    return max(0, total(UNITTEST_RUN, text) - skipped - len(names)), names, skipped


def count_program(entry):
    """(passed, names of failed cases, skipped) of one test program."""
    text = entry.get("stdout", "") + "\n" + entry.get("stderr", "")
    if CMOCKA_RUN.search(text) or CMOCKA_PASSED.search(text):
        passed, failed, skipped = count_cmocka(text)
    elif UNITTEST_RUN.search(text):
        passed, failed, skipped = count_unittest(text)
    else:
        own = OWN_COUNT.findall(text)[-1:] or [("0", "0")]
        passed, failed, skipped = int(own[0][0]), ["check"] * int(own[0][1]), 0
    if entry["result"] not in ("OK", "SKIP") and not failed:
        failed = ["the program: %s, exit status %s" % (entry["result"], entry.get("returncode"))]
    if passed + len(failed) + skipped == 0:
        failed = ["no test case ran"]
    return passed, failed, skipped


def count_log(path):
    passed, failed, skipped = 0, [], 0
    try:
        with open(path, encoding="utf-8") as stream:
            entries = [json.loads(line) for line in stream]
    except OSError as error:
        return 0, ["%s: %s" % (path, error.strerror)], 0
    for entry in entries:
        good, bad, left_out = count_program(entry)
        passed += good
        skipped += left_out
        failed += ["%s: %s" % (entry["name"], name) for name in bad]
        if bad:
            print("---- output of %s" % entry["name"])
            print((entry.get("stdout", "") + entry.get("stderr", ""))[-6000:].rstrip())
    if not entries:
        failed.append("%s: no test program ran" % path)
    return passed, failed, skipped


def main(arguments):
    again = False
    passed, failed, skipped = 0, [], 0
    for argument in arguments:
        if argument == "--again":
            again = True
            continue
        good, bad, left_out = count_log(argument)
        failed += bad
        if again:
            print("%s: %d passed again, %d failed" % (argument, good, len(bad)))
        else:
            passed += good
            skipped += left_out
    for name in failed:
        print("failed: " + name)
    if skipped:
        print("%d skipped" % skipped)
    if passed == 0 and not failed:
        failed.append("no test case ran")
    print("%d passed, %d failed" % (passed, len(failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

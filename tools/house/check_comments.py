"""Every source file opens by saying what it is; every public function stands under a comment."""

import house


def paragraph_has_comment(lines, at):
    """Whether a comment stands in the paragraph of line `at`, on it or above it."""
    while at >= 0 and lines[at].strip():
        if "/*" in lines[at] or "*/" in lines[at]:
            return True
        at -= 1
    return False


def main():
    problems, looked_at = [], 0
    for path in house.files(["include/dvit"], ".h"):
        lines = house.read(path).splitlines()
        for number, line in enumerate(lines):
            if line.startswith("DVIT_API") or " DVIT_API " in line and "define" not in line:
                looked_at += 1
                if not paragraph_has_comment(lines, number):
                    problems.append("%s:%d: no comment: %s" % (path, number + 1, line))
    for path in house.files(["src", "include", "cli", "examples", "bench", "tests"], (".c", ".h")):
        looked_at += 1
        if not house.read(path).startswith("/*"):
            problems.append("%s: does not open with a comment" % path)
    house.finish(looked_at, problems)


main()

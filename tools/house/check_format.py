"""The layout of all C files is clang-format's.

    check_format.py CLANG-FORMAT"""

import os
import subprocess
import sys

import house


def main(program):
    paths = house.files(["src", "include", "cli", "examples", "bench", "tests"], (".c", ".h"))
    done = subprocess.run([program, "--dry-run", "--Werror",
                           *[os.path.join(house.ROOT, path) for path in paths]],
                          capture_output=True, text=True, check=False)
    problems = ["%s: not as clang-format lays it out; ./run format --fix" % path
                for path in sorted({os.path.relpath(line.split(":")[0], house.ROOT)
                                    for line in done.stderr.splitlines() if ": error: " in line})]
    if done.returncode and not problems:
        problems = [done.stderr]
    house.finish(len(paths), problems)


main(*sys.argv[1:])

"""Every public header compiles alone, and twice, as C11 and as C++11, without a warning.

    check_headers.py C-COMPILER C++-COMPILER"""

import os
import subprocess
import sys

import house

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wundef", "-Werror", "-fsyntax-only"]


def compiles(compiler, language, standard, header):
    source = '#include "%s"\n#include "%s"\nint main(void) { return 0; }\n' % (header, header)
    done = subprocess.run([compiler, "-std=" + standard, *WARNINGS, "-x", language,
                           "-I", os.path.join(house.ROOT, "include"), "-"],
                          input=source, text=True, capture_output=True, check=False)
    return done.returncode == 0, done.stderr


def main(c_compiler, cxx_compiler):
    problems, looked_at = [], 0
    for path in house.files(["include/dvit"], ".h"):
        header = path[len("include/"):]
        for compiler, language, standard in ((c_compiler, "c", "c11"),
                                             (cxx_compiler, "c++", "c++11")):
            looked_at += 1
            good, message = compiles(compiler, language, standard, header)
            if not good:
                problems.append("%s as %s:\n%s" % (header, standard, message))
    house.finish(looked_at, problems)


main(*sys.argv[1:])

"""The sizes of the public structs, as they were when this soname was given.

A program reserves memory for these structs with the sizes of the headers that it was compiled with. A library
in which one has grown writes beyond that memory: such a change needs a new soname (src/meson.build), with which
old programs do not start.

Where a struct changed, this test fails. Before a release the change is taken back (a function beside the old
one), or made with a new soname. Then, or where no release has had the soname yet:

    tests/struct_sizes.py --update

writes the table, tests/struct_sizes.txt, which belongs to x86-64; elsewhere only its names are compared.

    struct_sizes.py COMPILER…"""

import os
import platform
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADERS = os.path.join(ROOT, "include")
TABLE = os.path.join(ROOT, "tests", "struct_sizes.txt")


def structs():
    """Names of all structs that the headers define."""
    found = []
    for header in sorted(os.listdir(os.path.join(HEADERS, "dvit"))):
        with open(os.path.join(HEADERS, "dvit", header), encoding="utf-8") as stream:
            found += re.findall(r"^struct (dvit_\w+) \{", stream.read(), flags=re.M)
    return sorted(found)


def measure(compiler, names):
    """{name: size in bytes}, as the compiler has it."""
    source = "#include <stdio.h>\n#include \"dvit/dvit.h\"\nint main(void)\n{\n%s    return 0;\n}\n" % "".join(
        '    printf("%%s %%zu\\n", "%s", sizeof(struct %s));\n' % (name, name) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "sizes")
        subprocess.run(compiler + ["-std=c11", "-I", HEADERS, "-x", "c", "-", "-o", program],
                       input=source, text=True, check=True)
        lines = subprocess.run([program], text=True, check=True, capture_output=True).stdout.split("\n")
    return {name: int(size) for name, size in (line.split() for line in lines if line)}


def read_table():
    with open(TABLE, encoding="utf-8") as stream:
        return {name: int(size) for name, size in (line.split() for line in stream if line[0] != "#")}


def main(arguments):
    now = measure([a for a in arguments if a != "--update"] or ["cc"], structs())
    if "--update" in arguments:
        with open(TABLE, "w", encoding="utf-8") as stream:
            stream.write("# Bytes on x86-64; see struct_sizes.py.\n")
            stream.writelines("%s %d\n" % pair for pair in sorted(now.items()))
        return
    then, problems = read_table(), []
    for name in sorted(set(now) | set(then)):
        if name not in now:
            problems.append("struct %s is gone: programs that use it need a new soname" % name)
        elif name not in then:
            problems.append("struct %s is new: tests/struct_sizes.py --update" % name)
        elif now[name] != then[name] and platform.machine() == "x86_64":
            problems.append("struct %s has %d bytes and had %d: a new soname, or the old struct as it was "
                            "(tests/struct_sizes.py says more)" % (name, now[name], then[name]))
    for problem in problems:
        print(problem)
    print("0 passed, 1 failed" if problems or not now else "1 passed, 0 failed")
    sys.exit(1 if problems or not now else 0)


main(sys.argv[1:])

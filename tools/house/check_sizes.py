"""No file over 600 lines, no function over 100, no two source files of one name."""

import os

import house

FILE_LINES, FUNCTION_LINES = 600, 100
C_FOLDERS = ["src", "include", "cli", "examples", "bench", "tests"]


def functions(lines):
    """(first line, length) of each function: its braces stand alone in column 0."""
    begin = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            begin = number
        elif line == "}" and begin:
            yield begin, number - begin + 1
            begin = None


def main():
    problems, homes, looked_at = [], {}, 0
    sources = house.files(C_FOLDERS, (".c", ".h"))
    for path in sources + house.files(["tools", "tests"], (".py", ".sh")) + ["run"]:
        lines = house.read(path).splitlines()
        looked_at += 1
        if len(lines) > FILE_LINES:
            problems.append("%s: %d lines, at most %d" % (path, len(lines), FILE_LINES))
        if path not in sources:
            continue
        homes.setdefault(os.path.basename(path), []).append(path)
        for begin, length in functions(lines):
            looked_at += 1
            if length > FUNCTION_LINES:
                problems.append("%s:%d: a function of %d lines, at most %d"
                                % (path, begin, length, FUNCTION_LINES))
    for paths in homes.values():
        # A public header may share its name with what implements it.
        inner = [path for path in paths if not path.startswith("include/")]
        if len(inner) > 1:
            problems.append("the same name twice: " + ", ".join(inner))
    house.finish(looked_at, problems)


main()

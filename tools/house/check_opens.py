"""Files are opened in one place, src/base/file.c: without following links to what is written,
without waiting for a FIFO, and nothing but regular files."""

import re

import house

HOME = "src/base/file.c"
# What else opens files; and the command's first three descriptors, before anything else is opened.
CALL = re.compile(r"(?<![\w.>])((?:f|fre)?open(?:at|at2)?(?:64)?|creat(?:64)?|mko?stemps?(?:64)?|"
                  r"mkfifo(?:at)?|mknod(?:at)?|tmpfile(?:64)?|memfd_create|shm_open|"
                  r"cairo_surface_write_to_png|json_dump_file|json_load_file)\s*\(")
ALLOWED = {("cli/main.c", "open"): 1}


def main():
    problems, looked_at, used = [], 0, {}
    for path in house.files(["src", "include", "cli"], (".c", ".h")):
        looked_at += 1
        if path == HOME:
            continue
        for number, line in enumerate(house.without_comments(house.read(path)).splitlines(), 1):
            for name in CALL.findall(line):
                used[path, name] = used.get((path, name), 0) + 1
                if used[path, name] > ALLOWED.get((path, name), 0):
                    problems.append("%s:%d: %s opens a file; use dvit_file_* of base/file.h" %
                                    (path, number, name))
    if not CALL.search(house.without_comments(house.read(HOME))):
        problems.append("%s: opens nothing: is it still the place?" % HOME)
    house.finish(looked_at, problems)


main()

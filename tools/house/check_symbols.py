"""What the library offers, asks for and keeps.

    check_symbols.py SHARED-LIBRARY ROOM-LIBRARY…

Exported are exactly the functions that the public headers declare. External names in the rooms
begin with dvit_. No room prints, exits or reads the environment, and none keeps a variable that can
change."""

import re
import subprocess
import sys

import house

# The library never does these; writing to files of its own is another matter.
FORBIDDEN = {
    "exit", "_exit", "_Exit", "quick_exit", "abort", "printf", "vprintf", "__printf_chk", "puts",
    "putchar", "perror", "stdout", "stderr", "stdin", "getenv", "secure_getenv", "setenv",
    "putenv", "signal", "sigaction", "system", "popen", "setlocale", "rand", "srand",
}
DECLARED = re.compile(r"\bDVIT_API\b[^;{]*?\b(dvit_\w+)\s*\(")
# objdump -t: address, seven flags (d: a section's own symbol), section, size, name.
SYMBOL = re.compile(r"[0-9a-f]{16} (.{7}) (\S+)\s[0-9a-f]+\s+(?:\.\w+ )?(\S+)$")
CHANGES = re.compile(r"\.data(?!\.rel\.ro)|\.bss|\.tdata|\.tbss|\*COM\*")


def lines_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def declared():
    names = set()
    for path in house.files(["include/dvit"], ".h"):
        names.update(DECLARED.findall(house.without_comments(house.read(path))))
    return names


def check_exports(library):
    exported = {line.split()[-1].split("@")[0]
                for line in lines_of("nm", "-D", "--defined-only", library)}
    wanted = declared()
    problems = ["%s: exported, but in no public header" % name
                for name in sorted(exported - wanted)]
    problems += ["%s: declared, but not exported" % name for name in sorted(wanted - exported)]
    return len(exported), problems


def check_room(library):
    looked_at, problems = 0, []
    for line in lines_of("nm", "-A", library):
        fields = line.split()
        kind, name, where = fields[-2], fields[-1], fields[0].rsplit("/", 1)[-1]
        looked_at += 1
        if kind == "U" and name in FORBIDDEN:
            problems.append("%s: uses %s" % (where, name))
        if kind.isupper() and kind not in "UWV" and not name.startswith("dvit_"):
            problems.append("%s: external name %s does not begin with dvit_" % (where, name))
    for line in lines_of("objdump", "-t", library):
        match = SYMBOL.match(line)
        if match and "d" not in match.group(1) and CHANGES.match(match.group(2)):
            problems.append("%s: %s is a variable that can change" % (library, match.group(3)))
    return looked_at, problems


def main(library, *rooms):
    looked_at, problems = check_exports(library)
    for room in rooms:
        seen, found = check_room(room)
        looked_at += seen
        problems += found
    house.finish(looked_at if rooms else 0, problems)


main(*sys.argv[1:])

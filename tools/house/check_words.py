"""Words that do not belong in the sources: unbounded or forgiving C functions, and notes to self."""

import re

import house

# Calls, and what to use instead.
BANNED = {
    "strcpy": "memcpy with a known length, or snprintf", "stpcpy": "memcpy with a known length",
    "strcat": "snprintf", "strncat": "snprintf", "strncpy": "memcpy or snprintf",
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "fgets",
    "alloca": "an arena", "strtok": "strcspn", "atoi": "strtol with its end checked",
    "atol": "strtol with its end checked", "atof": "strtod with its end checked",
    "sscanf": "strtol or strtod", "rand": "base/rng.h", "srand": "base/rng.h",
    "random": "base/rng.h", "tmpnam": "base/file.h", "mktemp": "base/file.h",
    "system": "nothing: no shell", "popen": "nothing: no shell", "setjmp": "a status",
    "longjmp": "a status", "localtime": "localtime_r",
    "gmtime": "gmtime_r", "asctime": "strftime", "ctime": "strftime", "setlocale": "nothing",
}
# libjpeg and libpng report errors by a jump, and only there.
ALLOWED = {
    "setjmp": ["src/image/decode_jpeg.c", "src/image/decode_png.c", "src/image/write_png.c"],
    "longjmp": ["src/image/decode_jpeg.c"],
}
CALL = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED))
NOTE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def main():
    problems, looked_at = [], 0
    for path in house.files(["src", "include", "cli", "examples"], (".c", ".h")):
        text = house.read(path)
        code = house.without_comments(text)
        looked_at += 1
        for number, line in enumerate(code.splitlines(), 1):
            for name in CALL.findall(line):
                if path in ALLOWED.get(name, []):
                    continue
                problems.append("%s:%d: %s is banned; use %s" % (path, number, name, BANNED[name]))
        for number, line in enumerate(text.splitlines(), 1):
            if NOTE.search(line):
                problems.append("%s:%d: a note to self: %s" % (path, number, line.strip()))
    house.finish(looked_at, problems)


main()

"""The library prints and reads floating-point numbers through src/base/decimal.c alone: the C library's own
functions have the decimal point of the program's locale."""

import re

import house

HOME = "src/base/decimal.c"
READS = re.compile(r"\b(strto(?:d|f|ld)|atof|[vw]+s?n?printf|v\w*printf)\s*\(")
PRINTS = re.compile(r"\b(printf|fprintf|dprintf|sprintf|snprintf|asprintf|sscanf|fscanf|scanf)\s*\(")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
FLOAT = re.compile(r"%[-+ #0']*(?:\d+|\*)?(?:\.(?:\d+|\*)?)?[lL]?[aAeEfFgG]")


def problems_of(path, text):
    """What is wrong in one file."""
    found, code = [], house.without_comments(text)
    for match in READS.finditer(code):
        found.append((match.start(), "%s; base/decimal.h has one that knows no locale" % match.group(1)))
    for match in PRINTS.finditer(code):
        literals = LITERAL.findall(house.call(text, match.end() - 1))
        if not literals:
            found.append((match.start(), "%s of a format that is not a literal; dvit_decimal_format "
                                         "takes it" % match.group(1)))
        elif FLOAT.search("".join(literals).replace("%%", "")):
            found.append((match.start(), "%s of a floating-point number has the locale's decimal point; "
                                         "use dvit_decimal_format" % match.group(1)))
    return ["%s:%d: %s" % (path, text.count("\n", 0, at) + 1, what) for at, what in found]


def main():
    samples = ['snprintf(t, n, "%d%%f", 1);', 'snprintf(t, n, "a %-5.3g", x);', "strtod(t, NULL);",
               "vsnprintf(t, n, format, list);", "snprintf(t, n, format, x);",
               'fprintf(f, "a"\n "%.*f", 2, x);', "strtol(t, NULL, 10);"]
    seen = [len(problems_of("sample", sample)) for sample in samples]
    problems = [] if seen == [0, 1, 1, 1, 1, 1, 0] else ["the check itself is wrong: %s" % seen]
    paths = [path for path in house.files(["src"], (".c", ".h")) if path != HOME]
    for path in paths:
        problems += problems_of(path, house.read(path))
    house.finish(len(paths), problems)


main()

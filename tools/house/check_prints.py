"""Foreign text (names of files, folders, classes, tensors, settings) reaches a terminal only through
cli/print.c, which shows it escaped. The command's other files print texts of their own, numbers, and tables
that the library has cleaned; in pages, charts and notes of the library, only src/report/markup.c writes what
is foreign."""

import re

import house

LITERAL = r'"((?:[^"\\]|\\.)*)"'
TEXT = re.compile(r"%[-+ #0']*(?:\d+|\*)?(?:\.(?:\d+|\*)?)?s")
PRINTS = re.compile(r"(?<![\w.>])((?:f|d)?printf|v(?:f|d)?printf|f?puts|perror|psignal)\s*\(")
# The printer; JSON and help, which write what they have escaped or what is dvit's own; main: the version.
ALLOWED = {"cli/print.c", "cli/console.c", "cli/json_lines.c", "cli/record.c", "cli/help.c",
           "cli/help_man.c", "cli/main.c"}


def problems_of(path, text):
    found = []
    code = house.without_comments(text)
    for match in PRINTS.finditer(code):
        literals = re.findall(LITERAL, house.call(text, match.end() - 1))
        if not literals or TEXT.search("".join(literals).replace("%%", "")):
            found.append("%s:%d: %s of a text; use cli_print, or cli_error and its like" %
                         (path, text.count("\n", 0, match.start()) + 1, match.group(1)))
    return found


def main():
    samples = ['printf("%d\\n", 1);', 'printf("%-5s", name);', "fputs(name, stdout);",
               'fputs("x", stdout);', 'cli_print("%s", name);', 'snprintf(t, n, "%s", name);',
               'fprintf(stderr, "a"\n "%.*s", 2, x);', "puts(x);", 'printf("100 %% s");']
    seen = [len(problems_of("sample", sample)) for sample in samples]
    problems = [] if seen == [0, 1, 1, 0, 0, 0, 1, 1, 0] else ["the check itself is wrong: %s" % seen]
    paths = [path for path in house.files(["cli"], (".c", ".h")) if path not in ALLOWED]
    for path in paths:
        problems += problems_of(path, house.read(path))
    house.finish(len(paths), problems)


main()

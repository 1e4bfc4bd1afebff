"""What the checks of the house share. Each check is a program: it prints what it found, then one
line "1 passed, 0 failed" or "0 passed, 1 failed" and exits 0 or 1. A check that looked at nothing
fails. Python's standard library only."""

import os
import sys

ROOT = os.environ.get("DVIT_SOURCE_ROOT") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(folders, endings):
    """Paths relative to the root, sorted."""
    found = []
    for folder in folders:
        for path, inner, names in os.walk(os.path.join(ROOT, folder)):
            inner[:] = [name for name in inner if name not in (".git", "__pycache__")]
            found += [os.path.relpath(os.path.join(path, name), ROOT)
                      for name in names if name.endswith(endings)]
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        return stream.read()


def without_comments(text):
    """C source with comments and string contents blanked, lines kept."""
    out, i, state = [], 0, None
    while i < len(text):
        two, one = text[i:i + 2], text[i]
        if state is None and two in ("/*", "//"):
            state, step = two, 2
            out.append("  ")
        elif state is None and one in "\"'":
            state, step = one, 1
            out.append(one)
        elif state == "/*" and two == "*/":
            state, step = None, 2
            out.append("  ")
        elif state == "//" and one == "\n":
            state, step = None, 1
            out.append("\n")
        elif state in ("\"", "'") and one == "\\":
            step = 2
            out.append("  ")
        elif state in ("\"", "'") and one == state:
            state, step = None, 1
            out.append(one)
        else:
            step = 1
            out.append(one if state is None or one == "\n" else " ")
        i += step
    return "".join(out)


def call(text, at):
    """From an opening parenthesis to its end."""
    depth, i, quoted = 0, at, False
    while i < len(text):
        if quoted:
            if text[i] == "\\":
                i += 1
            elif text[i] == '"':
                quoted = False
        elif text[i] == '"':
            quoted = True
        elif text[i] in "()":
            depth += 1 if text[i] == "(" else -1
            if depth == 0:
                return text[at:i + 1]
        i += 1
    return text[at:]


def finish(looked_at, problems):
    """Ends the program. looked_at: how many things the check has seen."""
    if looked_at == 0:
        problems = ["nothing was looked at"]
    for problem in problems:
        print(problem)
    print("looked at %d" % looked_at)
    print("0 passed, 1 failed" if problems else "1 passed, 0 failed")
    sys.exit(1 if problems else 0)

"""Links and paths in the documents lead somewhere, and the guide to the sources names every room."""

import os
import re

import house

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
PATH = re.compile(r"`((?:src|include|cli|tests|bench|examples|docs|tools)/[\w./-]+)`")


def exists(*parts):
    return os.path.exists(os.path.join(house.ROOT, *parts))


def main():
    problems, looked_at = [], 0
    top = [name for name in os.listdir(house.ROOT) if name.endswith(".md")]
    for path in sorted(top) + house.files(["docs", "tools", "examples"], ".md"):
        text = house.read(path)
        for target in LINK.findall(text):
            looked_at += 1
            if "://" not in target and not exists(os.path.dirname(path), target):
                problems.append("%s: the link to %s leads nowhere" % (path, target))
        for name in PATH.findall(text):
            looked_at += 1
            if not exists(name):
                problems.append("%s: there is no %s" % (path, name))
    guide = house.read("docs/ARCHITECTURE.md")
    for room in sorted({path.split("/")[1] for path in house.files(["src"], ".c")}):
        looked_at += 1
        if "src/%s/" % room not in guide:
            problems.append("docs/ARCHITECTURE.md: does not name src/%s/" % room)
    house.finish(looked_at, problems)


main()

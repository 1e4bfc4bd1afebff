"""What protects the command and the library against errors in memory, as the linker left it.

    check_hardening.py COMMAND SHARED-LIBRARY FLAG…

FLAG…: those of meson.build's protections that this compiler and linker have; others are not asked
for. A program that is not ELF's for x86-64 has no control-flow marks to look for."""

import subprocess
import sys

import house


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *arguments], check=True, capture_output=True,
                          text=True).stdout


def check(path, is_command, flags):
    header, segments = readelf("-h", path), readelf("-l", path)
    dynamic, symbols = readelf("-d", path), readelf("--dyn-syms", path)
    stack = [line.split() for line in segments.splitlines() if "GNU_STACK" in line]
    needed = [line.split()[7].split("@")[0] for line in symbols.splitlines() if " UND " in line and
              len(line.split()) > 7]
    facts = []
    if is_command:
        facts.append(("is position-independent", "DYN" in header and "PIE" in dynamic))
    if "-Wl,-z,relro" in flags:
        facts.append(("has read-only relocations (RELRO)", "GNU_RELRO" in segments))
    if "-Wl,-z,now" in flags:
        facts.append(("binds all symbols at start (BIND_NOW)",
                      "BIND_NOW" in dynamic or "Flags: NOW" in dynamic))
    if "-Wl,-z,noexecstack" in flags:
        facts.append(("has a stack that is not executable",
                      len(stack) == 1 and "E" not in stack[0][6]))
    if "-fstack-protector-strong" in flags:
        facts.append(("checks its stack frames", "__stack_chk_fail" in needed))
    if any(flag.startswith("-D_FORTIFY_SOURCE") for flag in flags):
        facts.append(("calls the checked forms of C functions (_FORTIFY_SOURCE)",
                      any(name.endswith("_chk") for name in needed)))
    if "-fcf-protection" in flags and "X86-64" in header:
        code = subprocess.run(["objdump", "-d", "-j", ".text", path], check=True,
                              capture_output=True, text=True).stdout
        facts.append(("marks the targets of indirect jumps (CET)", code.count("endbr64") > 100))
    return len(facts), ["%s: expected that it %s" % (path, what) for what, holds in facts
                        if not holds]


def main(command, library, *flags):
    looked_at, problems = check(command, True, flags)
    more, found = check(library, False, flags)
    house.finish(looked_at + more, problems + found)


main(*sys.argv[1:])

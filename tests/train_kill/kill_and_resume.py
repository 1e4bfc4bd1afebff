"""Stops a training run by SIGKILL, SIGTERM and SIGINT at twenty moments, or as many as told, and resumes it each
time.

The run that was stopped must end with the bytes of one that never was. Half of the stops are SIGKILL; half of these
come when the run is seen with a file half written, which is where a careless program would do harm. All other moments
are drawn from a seeded generator over the length of a few steps. Each exit code must be one that the stop explains,
and none is that of a crash. meson gives the command in DVIT_EXE. Standard library only.

    kill_and_resume.py                  the test: 20 stops
    kill_and_resume.py --stops 200      a soak: prints one line of JSON at the end
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

DVIT = os.environ.get("DVIT_EXE", "dvit")
STOPS, SEED = 20, 3
INTERRUPTED = 4  # the exit code of a run that was stopped and saved
OUTPUTS = ("last.safetensors", "best.safetensors", "state.safetensors")
# Small, and in memory where there is a place for it: what takes time is starting. A state is saved
# after every step, so that something is always being written; an epoch for each kill, so that the
# run is not over before.
RUN = ("train", "--data", "builtin:scenes,image=16,classes=3,train=192,val=8", "--model",
       "vit:dim=16,depth=2,heads=2,patch=8,image=16", "--batch", "8", "--threads", "1",
       "--warmup-epochs", "0.5", "--ema", "0.9", "--drop-path", "0.1",
       "--rand-augment", "rand-m9-mstd0.5-inc1", "--erasing", "0.25", "--mixup", "0.8", "--cutmix",
       "1", "--repeated", "3", "--checkpoint-every", "1", "--quiet")
MEMORY = "/dev/shm"
LONGEST_S = 240
# What comes in turn: a signal, and whether it waits for a file half written.
TURNS = ((signal.SIGTERM, False), (signal.SIGKILL, True), (signal.SIGINT, False), (signal.SIGKILL, False))
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


def allow_core_dumps():
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def start(folder, stops):
    resume = ["--resume"] if os.path.exists(os.path.join(folder, "state.safetensors")) else []
    command = [DVIT, *RUN, "--epochs", str(stops), "--out", folder, *resume]
    # Products as on a processor without AVX-512, in which a signal handler would do harm.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            env=dict(os.environ, ONEDNN_MAX_CPU_ISA="AVX2"), preexec_fn=allow_core_dumps)


def finish(folder, stops):
    process = start(folder, stops)
    _, errors = process.communicate(timeout=LONGEST_S * (1 + stops // STOPS))
    if process.returncode != 0:
        raise AssertionError("a run that was not killed failed: %s" % errors.decode("utf-8", "replace"))


def pending(folder):
    """Files being written, or left by a killed run."""
    try:
        return {name for name in os.listdir(folder) if name.endswith(".tmp")}
    except FileNotFoundError:
        return set()


def first_state_or_end(process, folder, before):
    """Waits until the run has come far enough to write, or is over."""
    path = os.path.join(folder, "state.safetensors")
    while process.poll() is None:
        try:
            if os.stat(path).st_mtime_ns != before:
                return
        except FileNotFoundError:
            pass
        time.sleep(.002)


def modified(folder):
    try:
        return os.stat(os.path.join(folder, "state.safetensors")).st_mtime_ns
    except FileNotFoundError:
        return 0


def stop(process):
    """Halts the process where it is; False if it was over."""
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        process.returncode = os.waitstatus_to_exitcode(status)
    return os.WIFSTOPPED(status)


def catch_while_writing(process, folder, left):
    """Halts the process again and again until it is seen with a file half written."""
    for _ in range(40):
        if not stop(process) or pending(folder) - left:
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(.0007)


def explained(code, number, signalled):
    """Whether a run that got the signal ends so: killed by it (the requests only before the training has begun),
    stopped and saved, or over before."""
    if not signalled:
        return code == 0
    if number == signal.SIGKILL:
        return code == -number
    return code in (INTERRUPTED, -number, 0)


def stop_once(folder, stops, at_random, number, while_writing):
    """The exit code of a run that was sent the signal; None if it ended first."""
    left, before = pending(folder), modified(folder)
    process = start(folder, stops)
    if at_random.random() < .2 and not while_writing:
        time.sleep(at_random.uniform(0, .1))  # while it starts
    else:
        first_state_or_end(process, folder, before)
        time.sleep(at_random.uniform(0, .02))
    if while_writing and process.poll() is None:
        catch_while_writing(process, folder, left)
    signalled = process.poll() is None
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=LONGEST_S)
    if not explained(process.returncode, number, signalled):
        raise AssertionError("exit code %d after %s: %s" % (process.returncode, number.name,
                                                            errors.decode("utf-8", "replace")))
    if process.returncode == INTERRUPTED and not os.path.exists(os.path.join(folder, "state.safetensors")):
        raise AssertionError("stopped without a state")
    return process.returncode if signalled else None


def check(folder):
    """Whatever is in the folder under its final name is whole."""
    for name in OUTPUTS[:2]:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            subprocess.run([DVIT, "info", path, "--json"], check=True, stdout=subprocess.DEVNULL)


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as stream:
        return stream.read()


def run(root, stops):
    """What was counted; an AssertionError where the bytes differ or an exit code is not explained."""
    whole, parts = os.path.join(root, "whole"), os.path.join(root, "parts")
    began = time.monotonic()
    finish(whole, stops)
    at_random, codes, writing, starting = random.Random(SEED), {}, 0, 0
    for i in range(stops):
        number, while_writing = TURNS[i % len(TURNS)]
        before, state = pending(parts), modified(parts)
        code = stop_once(parts, stops, at_random, number, while_writing)
        if code is None:
            break
        name = "%s: %d" % (number.name, code)
        codes[name] = codes.get(name, 0) + 1
        writing += len(pending(parts) - before)
        starting += modified(parts) == state
        if i % 10 == 9:
            check(parts)
    finish(parts, stops)
    if pending(parts):
        raise AssertionError("temporary files are left: %s" % ", ".join(sorted(pending(parts))))
    for name in OUTPUTS:
        if read(whole, name) != read(parts, name):
            raise AssertionError("%s differs from that of the run that was never stopped" % name)
    done = sum(codes.values())
    if done < stops or writing == 0:
        raise AssertionError("the run was over before it could be stopped often enough")
    crashes = sum(count for name, count in codes.items() if -int(name.split()[1]) in CRASHES)
    return {"stops": done, "exit_codes": codes, "crashes": crashes, "while_writing": writing,
            "before_a_first_save": starting, "files_identical": len(OUTPUTS),
            "seconds": round(time.monotonic() - began)}


def run_in_scratch(stops):
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    root = tempfile.mkdtemp(prefix="dvit-kill-", dir=place)
    try:
        return run(root, stops)
    finally:
        shutil.rmtree(root, True)


class KillAndResume(unittest.TestCase):
    def test_twenty_stops_leave_the_bytes_of_none(self):
        print("stopped %(stops)d times (%(exit_codes)s), %(while_writing)d of them while writing" %
              run_in_scratch(STOPS))


def soak():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stops", type=int, required=True)
    try:
        print(json.dumps(run_in_scratch(parser.parse_args().stops)))
    except AssertionError as problem:
        sys.exit("soak: %s" % problem)


if __name__ == "__main__":
    if "--stops" in sys.argv:
        soak()
    else:
        unittest.main(verbosity=2)

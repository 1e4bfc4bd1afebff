"""Kills a training run with SIGKILL at twenty moments, or as many as told, and resumes it each time.

The run that was killed must end with the bytes of one that never was. Half of the moments are drawn
from a seeded generator over the length of a few steps; in the other half it is halted until it is
seen with a file half written, which is where a careless program would do harm. meson gives the
command in DVIT_EXE. Standard library only.

    kill_and_resume.py                  the test: 20 kills
    kill_and_resume.py --kills 100      a soak: prints one line of JSON at the end
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

DVIT = os.environ.get("DVIT_EXE", "dvit")
KILLS, SEED = 20, 3
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


def start(folder, kills):
    resume = ["--resume"] if os.path.exists(os.path.join(folder, "state.safetensors")) else []
    command = [DVIT, *RUN, "--epochs", str(kills), "--out", folder, *resume]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


def finish(folder, kills):
    process = start(folder, kills)
    _, errors = process.communicate(timeout=LONGEST_S * (1 + kills // KILLS))
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


def kill_once(folder, kills, at_random, while_writing):
    """True if the run was killed, False if it ended first."""
    left, before = pending(folder), modified(folder)
    process = start(folder, kills)
    if at_random.random() < .2 and not while_writing:
        time.sleep(at_random.uniform(0, .1))  # while it starts
    else:
        first_state_or_end(process, folder, before)
        time.sleep(at_random.uniform(0, .02))
    if while_writing and process.poll() is None:
        catch_while_writing(process, folder, left)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LONGEST_S)
    return process.returncode == -signal.SIGKILL


def check(folder):
    """Whatever is in the folder under its final name is whole."""
    for name in OUTPUTS[:2]:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            subprocess.run([DVIT, "info", path, "--json"], check=True, stdout=subprocess.DEVNULL)


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as stream:
        return stream.read()


def run(root, kills):
    """What was counted; an AssertionError where the bytes differ."""
    whole, parts = os.path.join(root, "whole"), os.path.join(root, "parts")
    began = time.monotonic()
    finish(whole, kills)
    at_random, killed, writing, starting = random.Random(SEED), 0, 0, 0
    for i in range(kills):
        before, state = pending(parts), modified(parts)
        if not kill_once(parts, kills, at_random, i % 2 == 1):
            break
        killed += 1
        writing += len(pending(parts) - before)
        starting += modified(parts) == state
        if i % 10 == 9:
            check(parts)
    finish(parts, kills)
    if pending(parts):
        raise AssertionError("temporary files are left: %s" % ", ".join(sorted(pending(parts))))
    for name in OUTPUTS:
        if read(whole, name) != read(parts, name):
            raise AssertionError("%s differs from that of the run that was never killed" % name)
    if killed < kills or writing == 0:
        raise AssertionError("the run was over before it could be killed often enough")
    return {"kills": killed, "while_writing": writing, "before_a_first_save": starting,
            "files_identical": len(OUTPUTS), "seconds": round(time.monotonic() - began)}


def run_in_scratch(kills):
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    root = tempfile.mkdtemp(prefix="dvit-kill-", dir=place)
    try:
        return run(root, kills)
    finally:
        shutil.rmtree(root, True)


class KillAndResume(unittest.TestCase):
    def test_twenty_kills_leave_the_bytes_of_none(self):
        print("killed %(kills)d times, %(while_writing)d of them while writing" %
              run_in_scratch(KILLS))


def soak():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, required=True)
    try:
        print(json.dumps(run_in_scratch(parser.parse_args().kills)))
    except AssertionError as problem:
        sys.exit("soak: %s" % problem)


if __name__ == "__main__":
    if "--kills" in sys.argv:
        soak()
    else:
        unittest.main(verbosity=2)

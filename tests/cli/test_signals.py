"""Signals during a training: they save or stop, and never harm what is being computed."""

import os
import resource
import signal
import subprocess
import time

from harness import CommandTest, DVIT, INTERRUPTED, OK, SCENES, SHAPE, dvit, environment, main

RUN = ("--batch", "8", "--threads", "2", "--warmup-epochs", "0", "--ema", "0")
# Products of oneDNN, as on a processor without AVX-512: while they run, the stack pointer may point into the heap.
WIDE = "vit:dim=192,depth=3,heads=3,patch=8,image=64"
WIDE_SCENES = "builtin:scenes,image=64,classes=4,train=64,val=8"


class Signals(CommandTest):
    def start(self, out, *more, data=SCENES, model=SHAPE, **options):
        options.setdefault("stdout", subprocess.PIPE)
        process = subprocess.Popen(
            [DVIT, "train", *RUN, "--data", data, "--model", model, "--out", self.path(out), *more],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=dict(environment(), ONEDNN_MAX_CPU_ISA="AVX2"), **options)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def started(self, process):
        """Waits until the training has begun."""
        for line in process.stderr:
            if "from step" in line:
                return process
        self.fail("the training did not begin")

    def end(self, process):
        errors = process.communicate(timeout=240)[1]
        return process.returncode, errors

    def test_a_barrage_of_requests_to_save(self):
        process = self.started(self.start("run", "--epochs", "3", data=WIDE_SCENES, model=WIDE))
        while process.poll() is None:
            process.send_signal(signal.SIGUSR1)
            time.sleep(.004)
        code, errors = self.end(process)
        self.assertEqual(code, OK, errors)
        self.assertIn("saved on request after step", errors)

    def test_signals_that_stop(self):
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2", "SIGXCPU"):
            process = self.started(self.start(name, "--epochs", "1000"))
            process.send_signal(getattr(signal, name))
            code, errors = self.end(process)
            self.assertEqual(code, INTERRUPTED, name)
            self.assertIn("the same command with --resume goes on", errors)
            self.assertTrue(os.path.exists(self.path(name, "state.safetensors")))

    def test_what_is_ignored_at_the_start_stays_ignored(self):
        def ignore():
            for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGXCPU):
                signal.signal(number, signal.SIG_IGN)
        process = self.started(self.start("run", "--epochs", "6", preexec_fn=ignore))
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGXCPU):
            process.send_signal(number)
        self.assertEqual(self.end(process)[0], OK)

    def test_a_closed_terminal_and_a_termination_are_one_request(self):
        process = self.started(self.start("run", "--epochs", "1000"))
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.end(process)[0], INTERRUPTED)

    def test_a_second_request_ends_at_once(self):
        process = self.started(self.start("run", "--epochs", "1000", data=WIDE_SCENES, model=WIDE))
        process.send_signal(signal.SIGSTOP)  # so that both arrive before it can answer
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        self.assertIn(self.end(process)[0], (-signal.SIGINT, -signal.SIGTERM))

    def test_no_thread_has_handlers(self):
        process = self.started(self.start("run", "--epochs", "1000", data=WIDE_SCENES, model=WIDE))
        tasks, waiting = "/proc/%d/task" % process.pid, 0
        ours = sum(1 << (number - 1) for number in (
            signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU))
        for task in os.listdir(tasks):
            with open(os.path.join(tasks, task, "status"), encoding="ascii") as stream:
                status = dict(line.split(":", 1) for line in stream)
            self.assertEqual(int(status["SigCgt"], 16) & ours, 0, "a handler is set")
            # The thread that waits for signals has them open while it does.
            waiting += int(status["SigBlk"], 16) & ours != ours
        self.assertLessEqual(waiting, 1)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.end(process)[0], INTERRUPTED)

    def test_a_reader_that_goes_away_stops_it_saved(self):
        ours, theirs = os.pipe()
        process = self.start("run", "--epochs", "1000", "--json", stdout=theirs)
        os.close(theirs)
        os.read(ours, 100)
        os.close(ours)
        code, errors = self.end(process)
        self.assertEqual(code, INTERRUPTED, errors)
        self.assertTrue(os.path.exists(self.path("run", "state.safetensors")))

    def test_the_end_of_the_processor_time(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_CPU, (2, 30))
        process = self.start("run", "--epochs", "100000", preexec_fn=limit)
        self.assertEqual(self.end(process)[0], INTERRUPTED)


if __name__ == "__main__":
    main()

"""dvit, ONNX Runtime, OpenVINO and PyTorch on the same models, asked in turn.

    peers.py DVIT BENCH_WORKER [--quick] [--models LIST] [--precisions LIST] [--rounds 5] …

Every runtime with a model loaded is a process of its own (worker.py, bench_worker.c). All of a
section — one model, batch and precision, dense and pruned — are loaded at once and asked in turn for
a sample of at least --seconds, so what disturbs the machine disturbs all alike; before each sample is
a pause, as ONNX Runtime's threads spin for a while after an answer. Rounds begin with another worker
each time and go forwards and backwards in turn, so nobody always follows the same one. The first round tries every
setting; those clearly behind another one of the same runtime, or far behind another peer, are closed
then, and the fastest that is left counts. Rates are medians over rounds, ratios medians of the ratios
within a round. A worker whose answers are not the oracle's, within the bound of its precision, is not
timed, and that is said.

A section's samples are kept in WORK/sections with what they were measured with: the build, as its
worker names it, the runtimes' versions, the machine. A section that is there is not measured again
unless --fresh asks for it; the report says which sections were measured with which build. It is
written anew after each. --estimate prints the plan alone.
"""

import argparse
import collections
import dataclasses
import datetime
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy

import prepare
import report

HERE = pathlib.Path(__file__).resolve().parent
MODELS = {"deit-s": (1, 8, 32), "deit-t": (1, 8), "deit-b": (1, 8), "lvvit-s": (1, 8)}
PRECISIONS = ("f32", "bf16", "int8", "gain")
PAUSE = 0.1  # seconds before each sample
NEARLY = 0.9  # of a runtime's fastest setting: what is slower in the first round is closed
BEHIND = 0.75  # of the fastest peer: the same
HOPELESS = 0.6  # of these bounds
LOADING = {"dvit": 2, "ONNX Runtime": 4, "OpenVINO": 6, "PyTorch": 25}  # seconds, for the estimate

# Root mean square error of an image's logits over their standard deviation, median of the images; and
# share of the kept patches, of all stages, that are the oracle's.
BOUNDS = {"f32": (1e-2, 0.995), "bf16": (0.15, 0.96), "int8": (0.4, 0.85)}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One runtime, one way to use it, one path of the model."""

    runtime: str
    way: str
    precision: str
    keep: float
    form: str  # method of prepare.Stock
    arguments: tuple = ()  # of that method, after keep
    options: tuple = ()  # of worker.py

    @property
    def key(self):
        return f"{self.runtime}|{self.way}|{self.precision}|{prepare.kind(self.keep)}"


def onnxruntime_settings(precision, keep):
    """None in bf16, which it does not have on this kind of processor."""
    ways = {"f32": [("plain", "onnx", ()), ("transformer optimiser", "fused", ())],
            "int8": [("dynamic", "dynamic_int8", ("onnx",)),
                     ("dynamic after the optimiser", "dynamic_int8", ("fused",)),
                     ("static", "static_int8", ())]}
    return [Setting("ONNX Runtime", way, precision, keep, form, arguments)
            for way, form, arguments in ways.get(precision, [])]


def openvino_settings(precision, keep, batch):
    """A quantised model's other operators run in f32 or bf16."""
    found, quantised = [], precision == "int8"
    for inner in ("f32", "bf16") if quantised else (precision,):
        rest = f", the rest in {inner}" if quantised else ""
        form = "openvino_int8" if quantised else "onnx"
        options = ("--bf16",) if inner == "bf16" else ()
        found.append(Setting("OpenVINO", "latency hint" + rest, precision, keep, form, (), options))
        if batch > 1:
            found.append(Setting("OpenVINO", "two streams" + rest, precision, keep, form, (),
                                 (*options, "--streams", "2")))
    return found


def pytorch_settings(precision, keep):
    if precision == "int8":
        return []
    options = ("--bf16",) if precision == "bf16" else ()
    return [Setting("PyTorch", "eager", precision, keep, "weights", (), options),
            Setting("PyTorch", "compiled", precision, keep, "weights", (),
                    (*options, "--compiled"))]


def dvit_setting(precision, keep):
    form = "dvit_int8" if precision == "int8" else "weights"
    return Setting("dvit", precision, precision, keep, form)


def settings(section, keep, arguments):
    """Every way to run this path at this precision; of a gain, what is compared for it."""
    _, batch, precision = section
    if precision == "gain":
        found = (onnxruntime_settings("f32", keep) if keep == 1
                 else [dvit_setting(p, keep) for p in BOUNDS])
    else:
        found = [dvit_setting(precision, keep), *onnxruntime_settings(precision, keep),
                 *openvino_settings(precision, keep, batch), *pytorch_settings(precision, keep)]
    return [setting for setting in found if setting.runtime not in arguments.without]


class Worker:
    """A process with a model loaded."""

    def __init__(self, setting, stock, batch, arguments):
        self.setting, self.batch, self.log = setting, batch, tempfile.TemporaryFile()
        command = [str(c) for c in self.command(setting, stock, batch, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True)

    @staticmethod
    def command(setting, stock, batch, arguments):
        if setting.runtime == "dvit":
            return [arguments.worker, getattr(stock, setting.form)(), stock.pixels(), batch,
                    setting.keep, setting.precision, arguments.threads]
        names = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "PyTorch": "pytorch"}
        form = getattr(stock, setting.form)
        if setting.runtime == "PyTorch":
            model, options = form(), ["--name", stock.name, "--keep", setting.keep]
        else:
            model, options = form(setting.keep, *setting.arguments), []
        return [sys.executable, HERE / "worker.py", names[setting.runtime], model, stock.pixels(),
                batch, arguments.threads, *setting.options, *options]

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline().strip()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            raise RuntimeError(self.last_words() or "ended without a word")
        return line

    def last_words(self):
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---------------------------------------------------------------------------- answers


def read_answer(path, logits, kept):
    """What a worker wrote, in the shapes of the expected answer."""
    data = path.read_bytes()
    shapes = [logits.shape, *(k.shape for k in kept)]
    if len(data) != 4 * sum(int(numpy.prod(shape)) for shape in shapes):
        raise RuntimeError(f"an answer of {len(data)} bytes")
    found, offset = [], 0
    for number, shape in enumerate(shapes):
        count = int(numpy.prod(shape))
        kind = "<i4" if number else "<f4"
        found.append(numpy.frombuffer(data, kind, count, offset).reshape(shape))
        offset += 4 * count
    return found[0], found[1:]


def agreement(answer, expected):
    """Error of the logits and share of the kept patches, as BOUNDS says."""
    (logits, kept), (wanted, wanted_kept) = answer, expected
    error = numpy.sqrt(((logits - wanted) ** 2).mean(1)) / wanted.std(1)
    same = [numpy.isin(a, b).mean() for pair in zip(kept, wanted_kept) for a, b in zip(*pair)]
    return float(numpy.median(error)), float(numpy.mean(same)) if same else 1.0


def check(worker, stock, folder):
    """Refuses a worker that computes something else."""
    expected = stock.expected(worker.setting.keep, worker.batch)
    path = folder / "answer.raw"
    worker.ask(f"answer {path}")
    error, same = agreement(read_answer(path, *expected), expected)
    bound, share = BOUNDS[worker.setting.precision]
    if not (error <= bound and same >= share):
        raise RuntimeError(f"computes something else: logits off by {error:.3g}, "
                           f"{100 * same:.1f} % of the patches kept")
    return {"error": error, "same": same}


# ---------------------------------------------------------------------------- measuring


def sample(worker, arguments):
    time.sleep(PAUSE)
    return float(worker.ask(f"time {arguments.seconds}"))


def make(section, stock, arguments):
    """The files of all settings; what cannot be made is told when it is to be measured."""
    name, batch, _ = section
    for keep in (1, arguments.keep):
        stock.expected(keep, batch)
        for setting in settings(section, keep, arguments):
            try:
                Worker.command(setting, stock, batch, arguments)
            except Exception as problem:  # a runtime's own kind of error
                say(f"{name} batch {batch} {setting.key}: {problem}")


def open_path(section, keep, stock, arguments, record):
    """The workers of one path after the first round: of each runtime those that are nearly its
    fastest."""
    name, batch, _ = section
    open_workers, rates = [], {}
    for setting in settings(section, keep, arguments):
        try:
            worker = Worker(setting, stock, batch, arguments)
            record["agreement"][setting.key] = check(worker, stock, arguments.work)
            rates[setting.key] = sample(worker, arguments)
            open_workers.append(worker)
            say(f"{name} batch {batch} {setting.key}: {rates[setting.key]:.2f}")
        except Exception as problem:  # a runtime's own kind of error
            record["refused"][setting.key] = str(problem)
            say(f"{name} batch {batch} {setting.key}: not timed: {problem}")
    fast = keep_fast(open_workers, rates, arguments)
    record["first"] |= rates
    return fast


def keep_fast(workers, rates, arguments):
    """Closes those that are clearly behind another setting of the same runtime and precision, or far
    behind another peer: of these the first round's rate is all that is reported. Noise may have hit
    one of them, so who is not hopelessly slow gets a second chance."""
    own_best, peers_best, fast = collections.defaultdict(float), 0.0, []
    for worker in workers:
        rate, setting = rates[worker.setting.key], worker.setting
        group = setting.runtime, setting.precision
        own_best[group] = max(rate, own_best[group])
        peers_best = max(rate, peers_best) if setting.runtime != "dvit" else peers_best
    for worker in workers:
        key, setting = worker.setting.key, worker.setting
        bound = NEARLY * own_best[setting.runtime, setting.precision]
        if setting.runtime != "dvit":
            bound = max(bound, BEHIND * peers_best)
        if HOPELESS * bound < rates[key] < bound:
            rates[key] = max(rates[key], sample(worker, arguments))
        if rates[key] >= bound:
            fast.append(worker)
        else:
            worker.close()
    return fast


def measure_round(workers, number, arguments, record):
    """Everyone once, beginning with another one each time, every other time backwards."""
    turn = number % len(workers)
    order = workers[turn:] + workers[:turn]
    for worker in reversed(order) if number % 2 else order:
        record["samples"].setdefault(worker.setting.key, []).append(sample(worker, arguments))
        if worker.setting.runtime == "dvit" and worker.setting.keep == 1:
            time.sleep(PAUSE)
            products = float(worker.ask(f"products {arguments.seconds / 2}"))
            record["products"].setdefault(worker.setting.key, []).append(products)


def note_build(worker, record):
    """What the worker itself was built from: the sources may have moved on since."""
    build = worker.ask("build").replace("-dirty", " with local changes")
    if record["versions"].setdefault("dvit", build) != build:
        raise RuntimeError(f"dvit was built anew meanwhile: {record['versions']['dvit']}, {build}")


def measure(section, stock, arguments):
    """The section's record: rates of every round by setting, and what was refused."""
    record = {"section": section, "date": datetime.date.today().isoformat(),
              "processor": processor(), **asked(arguments), "versions": versions(), "first": {},
              "samples": {}, "products": {}, "macs": {}, "agreement": {}, "refused": {}}
    workers = []
    for keep in (1, arguments.keep):
        workers += open_path(section, keep, stock, arguments, record)
    for worker in workers:
        if worker.setting.runtime == "dvit":
            record["macs"][worker.setting.key] = float(worker.ask("macs"))
            note_build(worker, record)
    for number in range(arguments.rounds if workers else 0):
        measure_round(workers, number, arguments, record)
        say(f"round {number + 1} of {arguments.rounds}")
    for worker in workers:
        worker.close()
    return record


def measure_accuracy(arguments, path):
    """What precision and keep ratio cost the model that comes with dvit, on labelled images."""
    model = arguments.work / "cifar10-int8.safetensors"
    shipped = HERE.parents[1] / "share/dvit/cifar10.safetensors"
    subprocess.run([arguments.dvit, "quantize", shipped, "--out", model, "--calibrate",
                    arguments.accuracy, "--limit", "100", "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)
    lines = subprocess.run([arguments.dvit, "eval", "--model", model, "--data", arguments.accuracy,
                            "--keep", f"1,{arguments.keep:g}", "--compare-precisions", "--json",
                            "--quiet"], check=True, capture_output=True, text=True).stdout
    path.write_text("[" + ",".join(lines.splitlines()) + "]\n")


# ---------------------------------------------------------------------------- the whole


def say(text):
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def versions():
    return {package: importlib.metadata.version(package)
            for package in ("onnxruntime", "openvino", "nncf", "torch", "onnx")}


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def asked(arguments):
    """What all sections of a report have in common."""
    return {name: getattr(arguments, name) for name in ("threads", "seconds", "keep")}


def refuse_mixture(folder, arguments):
    """Sections and models in the folder that are of another keep ratio, or measured otherwise."""
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        if any(record[name] != value for name, value in asked(arguments).items()):
            sys.exit(f"{path}: measured with " + ", ".join(
                f"{name} {record[name]:g}" for name in asked(arguments)) +
                ": ask for the same, or name another folder with --work")


def planned(arguments):
    return [(name, batch, precision) for name in arguments.models
            for batch in MODELS[name] if not arguments.batches or batch in arguments.batches
            for precision in arguments.precisions]


def estimate(sections, arguments):
    """Seconds, without making files: loading, the first round, and later rounds with about one
    setting of each runtime left."""
    total = 0.0
    for section in sections:
        every = [s for keep in (1, arguments.keep) for s in settings(section, keep, arguments)]
        left = len({(s.runtime, s.precision, s.keep) for s in every})
        turn = arguments.seconds * 1.3 + PAUSE
        total += sum(LOADING[s.runtime] for s in every)
        total += turn * (len(every) + arguments.rounds * (left + 1))
    return total


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dvit", type=pathlib.Path)
    parser.add_argument("worker", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="DeiT-S alone, two rounds")
    parser.add_argument("--models", help="of " + ",".join(MODELS))
    parser.add_argument("--precisions", help="of " + ",".join(PRECISIONS))
    parser.add_argument("--batches", help="of 1,8,32")
    parser.add_argument("--without", default="", help="runtimes to leave out: of " +
                        ",".join(LOADING))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a sample, at least")
    parser.add_argument("--keep", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--accuracy", help="CIFAR-10 as an image folder, for what all this costs the "
                        "model that comes with dvit")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build-peers"),
                        help="folder for models and samples, some gigabytes")
    parser.add_argument("--out", type=pathlib.Path, help="the report")
    parser.add_argument("--note", help="a sentence for the report: what else the machine did")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    parser.add_argument("--estimate", action="store_true", help="print the plan and stop")
    parser.add_argument("--make", action="store_true", help="make the models' files and stop")
    arguments = parser.parse_args()
    for name in ("dvit", "worker", "work"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    default = ["deit-s"] if arguments.quick else list(MODELS)
    arguments.models = arguments.models.split(",") if arguments.models else default
    arguments.precisions = (arguments.precisions.split(",") if arguments.precisions
                            else list(PRECISIONS))
    arguments.batches = [int(b) for b in (arguments.batches or "").split(",") if b]
    arguments.without = arguments.without.split(",")
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    unknown = set(arguments.models) - set(MODELS) | set(arguments.precisions) - set(PRECISIONS)
    if unknown:
        parser.error("unknown: " + ", ".join(sorted(unknown)))
    return arguments


def main():
    arguments = parse()
    folder = arguments.work / "sections"
    folder.mkdir(parents=True, exist_ok=True)
    refuse_mixture(folder, arguments)
    place = {s: folder / ("%s-b%d-%s.json" % s) for s in planned(arguments)}
    missing = [s for s in place if arguments.fresh or not place[s].exists()]
    say(f"{len(place)} sections, {len(place) - len(missing)} of them measured; about "
        f"{estimate(missing, arguments) / 60:.0f} minutes for the rest, and some for making models")
    if arguments.estimate:
        return
    accuracy = arguments.work / "accuracy.json"
    if arguments.accuracy and not arguments.make and (arguments.fresh or not accuracy.exists()):
        say("accuracy of the shipped model")
        measure_accuracy(arguments, accuracy)
    for section in missing:
        stock = prepare.Stock(arguments.work, section[0], arguments.keep, arguments.dvit)
        make(section, stock, arguments)
        if arguments.make:
            continue
        record = measure(section, stock, arguments)
        place[section].write_text(json.dumps(record, indent=1) + "\n")
        report.write(arguments.work, arguments.out, arguments.note)
    if not arguments.make:
        report.write(arguments.work, arguments.out, arguments.note)


if __name__ == "__main__":
    main()

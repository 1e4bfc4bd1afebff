"""The tables of peers.py from the records of its sections, as Markdown, and the rates themselves beside
them as JSON. It measures nothing."""

import datetime
import json
import pathlib
import statistics

NAMES = {"deit-s": "DeiT-S", "deit-t": "DeiT-Ti", "deit-b": "DeiT-B", "lvvit-s": "LV-ViT-S"}
PEERS = ("ONNX Runtime", "OpenVINO", "PyTorch")
PRECISIONS = ("f32", "bf16", "int8")
# Of the main model, at least; other models have to be ahead.
MAIN = "deit-s"
GOAL_SINGLE = {"f32": 1.25, "bf16": 1.55, "int8": 2.0}  # pruned, one image
GOAL = {"f32": 1.15, "bf16": 1.2, "int8": 1.6}
GOAL_OWN = {"f32": 1.47, "bf16": 1.47, "int8": 1.45}  # own pruned to own dense
GOAL_PRODUCTS = {"f32": 0.97, "bf16": 0.95, "int8": 0.95}
GOAL_GAIN = 6.0


def ratio(above, below):
    """Median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(above, below))


def verdict(value, goal):
    return f"≥ {goal:g} | " + ("reached" if value >= goal else "**missed**")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


class Section:
    """A record, and questions to it."""

    def __init__(self, record):
        self.record = record
        self.name, self.batch, self.precision = record["section"]

    def own(self, path, precision=None):
        precision = precision or self.precision
        return self.record["samples"].get(f"dvit|{precision}|{precision}|{path}")

    def fastest(self, runtime, path):
        """(the way, its rates) of a runtime's fastest setting, or None. A single rate is that of the
        first round, of one that was far behind."""
        for rates_of in (self.record["samples"], {k: [v] for k, v in self.record["first"].items()}):
            ways = {}
            for key, rates in rates_of.items():
                its_runtime, way, _, its_path = key.split("|")
                if its_runtime == runtime and its_path == path:
                    ways[way] = rates
            if ways:
                best = max(ways, key=lambda way: statistics.median(ways[way]))
                return best, ways[best]
        return None

    def products_share(self, path):
        """Multiply-accumulates per second of the whole pass over those of the products alone."""
        key = f"dvit|{self.precision}|{self.precision}|"
        rates, limits = self.own(path), self.record["products"].get(key + "dense")
        if not rates or not limits:
            return None
        return ratio([2e-9 * self.record["macs"][key + path] * r for r in rates], limits)


# ---------------------------------------------------------------------------- tables


def comparison_row(section, path):
    """None where dvit has no answer."""
    own = section.own(path)
    if not own:
        return None
    cells, ratios = [], []
    for runtime in PEERS:
        found = section.fastest(runtime, path)
        cells.append(f"{statistics.median(found[1]):.1f} ({found[0]})" if found else "–")
        if found and len(found[1]) == len(own):
            ratios.append(ratio(own, found[1]))
    if not ratios:
        return None
    goal = 1.0
    if section.name == MAIN:
        single = path == "pruned" and section.batch == 1
        goal = (GOAL_SINGLE if single else GOAL)[section.precision]
    kind = "dense" if path == "dense" else f"keep {section.record['keep']:g}"
    return [section.precision, str(section.batch), kind, f"{statistics.median(own):.1f}", *cells,
            f"**{min(ratios):.2f}**", *verdict(min(ratios), goal).split(" | ")]


def comparison(sections):
    rows = [comparison_row(s, path) for path in ("pruned", "dense") for s in sections]
    head = ["precision", "batch", "", "dvit", *PEERS, "dvit / fastest", "goal", ""]
    return table(head, [row for row in rows if row])


def own_rows(section):
    """Pruned to dense, and what is left of the products' rate."""
    dense, pruned = section.own("dense"), section.own("pruned")
    if not dense or not pruned:
        return []
    gain = ratio(pruned, dense)
    row = [section.precision, str(section.batch), f"{gain:.3f}",
           *verdict(gain, GOAL_OWN[section.precision]).split(" | ")]
    for path in ("dense", "pruned"):
        share = section.products_share(path)
        row.append("–" if share is None else f"{100 * share:.0f} %")
    row.append(f"≥ {100 * GOAL_PRODUCTS[section.precision]:.0f} %")
    return [row]


def own(sections):
    rows = [row for section in sections for row in own_rows(section)]
    head = ["precision", "batch", "pruned / dense", "goal", "", "of the products' rate, dense",
            "pruned", "goal"]
    return table(head, rows)


def gain_rows(section):
    """dvit pruned in every precision against ONNX Runtime's dense f32."""
    base = section.fastest("ONNX Runtime", "dense")
    rates = {p: section.own("pruned", p) for p in PRECISIONS}
    rates = {p: r for p, r in rates.items() if r}
    if not base or not rates:
        return []
    best = max(rates, key=lambda p: statistics.median(rates[p]))
    gains = [f"{ratio(rates[p], base[1]):.2f}" if p in rates else "–" for p in PRECISIONS]
    value = ratio(rates[best], base[1])
    return [[NAMES[section.name], str(section.batch), f"{statistics.median(base[1]):.1f}", *gains,
             f"**{value:.1f}×** ({best})", *verdict(value, GOAL_GAIN).split(" | ")]]


def accuracy(path):
    """What the records of `dvit eval --compare-precisions` say, or None without them."""
    if not path.exists():
        return None
    records = sorted(json.loads(path.read_text()), key=lambda r: -r["keep"])
    base = next(r for r in records if r["keep"] == 1 and r["precision"] == "f32")
    rows = [[f"{r['keep']:g}", r["precision"], f"{100 * r['top1']:.2f} %",
             f"{100 * (r['top1'] - base['top1']):+.2f}", f"{100 * (1 - r['agreement']):.2f} %",
             "/".join(f"{100 * k:.2f}" for k in r["other_kept"]) or "–"] for r in records]
    head = ["keep", "precision", "top-1", "points against dense f32", "other answers than f32's",
            "other patches kept than f32's, %"]
    return (f"## What it costs\n\nThe model that comes with dvit, on {base['images']} test images of "
            "CIFAR-10.\n\n" + table(head, rows))


def agreement(sections):
    """The widest departures from the oracle, by precision and runtime, of what was timed."""
    worst = {}
    for section in sections:
        for key, value in section.record["agreement"].items():
            if key not in section.record["first"]:
                continue
            runtime, _, precision, _ = key.split("|")
            error, same = worst.get((precision, runtime), (0.0, 1.0))
            worst[precision, runtime] = max(error, value["error"]), min(same, value["same"])
    rows = [[p, r, f"{worst[p, r][0]:.2g}", f"{100 * worst[p, r][1]:.1f} %"]
            for p in PRECISIONS for r in ("dvit", *PEERS) if (p, r) in worst]
    return table(["precision", "runtime", "error of the logits", "same patches kept"], rows)


def refusals(sections):
    lines = []
    for section in sections:
        for key, why in section.record["refused"].items():
            runtime, way, precision, path = key.split("|")
            lines.append(f"- {NAMES[section.name]} {path}, batch {section.batch}, {precision}: "
                         f"{runtime}, {way}: {why}")
    return "\n".join(lines)


# ---------------------------------------------------------------------------- the report


def measured_with(record):
    """The machine, the build of dvit that was measured, and the peers' versions."""
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "nncf": "NNCF",
             "torch": "PyTorch", "onnx": "ONNX"}
    others = ", ".join(f"{n} {record['versions'][k]}" for k, n in names.items())
    machine = record.get("processor", "a processor that was not noted")
    return f"{machine}, {record['threads']} threads; {record['versions']['dvit']}; {others}"


def provenance(sections):
    """A sentence where all sections were measured with the same; else which with what."""
    groups = {}
    for section in sections:
        title = f"{NAMES[section.name]} batch {section.batch} {section.precision}"
        groups.setdefault(measured_with(section.record), []).append(title)
    if len(groups) == 1:
        return f"{next(iter(groups))}."
    lines = [f"- {what}: {', '.join(titles)}" for what, titles in groups.items()]
    return ("**Not all was measured with the same build**, so rates of different sections do not "
            "compare:\n\n" + "\n".join(lines))


def introduction(sections):
    record = sections[-1].record
    rounds = sorted({len(r) for s in sections for r in s.record["samples"].values()})
    dates = sorted({s.record["date"] for s in sections})
    return f"""# dvit beside its peers, {" to ".join(sorted({dates[0], dates[-1]}))}

{provenance(sections)}

Made by `./run bench-peers`.

Random weights, the same file for all; the same images; samples of {record["seconds"]:g} s and longer,
asked in turn, {" to ".join(str(r) for r in sorted({rounds[0], rounds[-1]}))} rounds. Medians in images/s, ratios
within a round. Of each peer the fastest setting counts and is named: ONNX Runtime with a fixed batch,
sequential, {record["threads"]} threads, plain or after its transformer optimiser; OpenVINO with the
latency hint and {record["threads"]} threads or two streams of half the batch, inference precision forced; int8 by
NNCF for transformers, by ONNX Runtime's dynamic or static quantisation per channel; PyTorch with
scaled_dot_product_attention, eager or compiled with frozen weights. A dash is a runtime that does not
have the precision or was left out."""


def write(work, out, note=None):
    """Writes the report to `out` (None: into the results) and the rates beside it as JSON."""
    records = [json.loads(path.read_text()) for path in (work / "sections").glob("*.json")]
    order = list(NAMES)
    sections = [Section(r) for r in records if r["samples"]]
    sections.sort(key=lambda s: (order.index(s.name), (PRECISIONS + ("gain",)).index(s.precision),
                                 s.batch))
    if not sections:
        return
    parts = [introduction(sections)] + ([note] if note else [])
    gains = [row for s in sections if s.precision == "gain" for row in gain_rows(s)]
    if gains:
        head = ["", "batch", "ONNX Runtime f32 dense", *(f"dvit {p}" for p in PRECISIONS), "gain",
                "goal", ""]
        parts += ["## What a user gains\n\nThe pruned model in dvit against the dense one in f32 in "
                  "ONNX Runtime, as ratios.", table(head, gains)]
    cost = accuracy(work / "accuracy.json")
    parts += [cost] if cost else []
    for name in order:
        its = [s for s in sections if s.name == name and s.precision != "gain"]
        if its:
            parts += [f"## {NAMES[name]}", comparison(its), own(its)]
    parts += ["## Same answers\n\nAgainst the f64 oracle: root mean square error of an image's "
              "logits over their standard deviation (median of the images; random weights spread "
              "errors), and share of kept patches that are the oracle's; the widest of all models.",
              agreement(sections)]
    refused = refusals(sections)
    if refused:
        parts += ["Not timed:\n\n" + refused]
    results = pathlib.Path(__file__).resolve().parents[1] / "results"
    out = out or results / f"{datetime.date.today().isoformat()}-peers.md"
    out.write_text("\n\n".join(parts) + "\n")
    rates = {"|".join(str(v) for v in s.record["section"]): s.record["samples"] for s in sections}
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in rates.items()]
    out.with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")

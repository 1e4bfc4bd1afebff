"""What `dvit bench` answers. Nothing here asserts a speed: only that rows are there and that their
numbers agree with each other."""

import csv
import io
import os
import re
import subprocess
import xml.etree.ElementTree

from harness import (CommandTest, DVIT, FAILURE, Models, OK, SCENES, SHAPE, USAGE, dvit,
                     kept_patches, main, read_bytes, write_bytes)

MODEL = SHAPE + ",classes=4"
QUICK = ("--seconds", "0.1", "--rounds", 2, "--quiet")


def bench(*arguments, model=MODEL):
    return dvit("bench", "--model", model, *QUICK, *arguments)


def table_of(text):
    return list(csv.DictReader(io.StringIO(text)))


class Bench(CommandTest):
    FIELDS = {"model", "images_per_s", "latency_ms", "gflops", "mode", "batch", "threads",
              "precision", "share_of_matmul_rate"}

    def test_rows(self):
        answer = self.check(dvit("bench", "--model", SHAPE + ",classes=4", "--keep", "0.7",
                                 "--batch", "1,3", "--threads", 1, "--seconds", "0.1", "--rounds",
                                 2, "--json"), OK)
        self.assertEqual([(row["batch"], row["mode"]) for row in answer.lines],
                         [(1, "dense"), (1, "pruned"), (3, "dense"), (3, "pruned")])
        for row in answer.lines:
            self.assertLessEqual(self.FIELDS, set(row))
            self.assertEqual((row["threads"], row["precision"]), (1, "f32"))
            self.assertAlmostEqual(row["images_per_s"] * row["latency_ms"] / 1e3, row["batch"],
                                   places=6)
            self.assertAlmostEqual(row["gflops"], 2 * row["gmacs"] * row["images_per_s"],
                                   places=6)
            self.assertGreater(row["share_of_matmul_rate"], 0)
        dense, pruned = answer.lines[:2]
        self.assertEqual(dense["speed_up"], 1)
        self.assertLess(pruned["gmacs"], dense["gmacs"])

    def test_table_names_the_machine(self):
        out = self.check(dvit("bench", "--model", SHAPE + ",classes=4", "--batch", 1, "--seconds",
                              "0.05", "--rounds", 1, "--quiet"), OK).out
        self.assertIn("threads", out.splitlines()[0])
        self.assertRegex(out, r"speed-up")

    def test_a_training_step(self):
        model = SHAPE + ",classes=4"
        for keep in ("1", "0.7"):
            answer = self.check(dvit("bench", "--train", "--model", model, "--keep", keep,
                                     "--batch", "4,8", "--seconds", "0.1", "--json"), OK)
            self.assertEqual([line["batch"] for line in answer.lines], [4, 8])
            for line in answer.lines:
                self.assertEqual(line["precision"], "f32")
                self.assertGreaterEqual(line["steps"], 3)
                for name in ("images_per_s", "gflops", "share_of_matmul_rate", "memory_bytes"):
                    self.assertGreater(line[name], 0)
            # the last block's rows are those that the decisions keep
            twice = answer.lines[1]["gflop"] / answer.lines[0]["gflop"]
            self.assertAlmostEqual(twice, 2, delta=0.2)
        out = self.check(dvit("bench", "--train", "--model", model, "--batch", 4, "--seconds",
                              "0.1"), OK).out
        self.assertIn("images/s", out)


class Speed(CommandTest):
    def test_percentiles_are_ordered(self):
        for row in self.check(bench("--batch", "1,4", "--json"), OK).lines:
            self.assertGreaterEqual(row["runs"], 2)
            self.assertTrue(0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["max_ms"])
            self.assertGreater(row["weight_bytes"], 0)
            self.assertGreater(row["activation_bytes"], 0)
            self.assertGreater(row["peak_resident_bytes"], row["weight_bytes"])
            self.assertIsNone(row["top1"])

    def test_streams_share_the_threads(self):
        rows = self.check(bench("--batch", 2, "--threads", 2, "--streams", "1,2", "--keep", 1,
                                "--json"), OK).lines
        self.assertEqual([(row["streams"], row["threads"]) for row in rows], [(1, 2), (2, 1)])
        for row in rows:
            self.assertAlmostEqual(row["images_per_s"] * row["latency_ms"] / 1e3,
                                   row["streams"] * row["batch"], places=6)
        self.assertEqual(rows[1]["weight_bytes"], 2 * rows[0]["weight_bytes"])
        self.refused(bench("--threads", 2, "--streams", 3), USAGE, "2 threads", "3 streams")

    def test_precisions_and_ratios_in_one_run(self):
        rows = self.check(bench("--batch", 1, "--precision", "f32,auto", "--keep", "1,0.5",
                                "--json"), OK).lines
        self.assertEqual([row["keep"] for row in rows], [1, 0.5, 1, 0.5])
        self.assertEqual([row["precision"] for row in rows[:2]], ["f32", "f32"])
        self.assertEqual(rows[0]["speed_up"], 1)
        for row in rows:
            self.assertAlmostEqual(row["speed_up"], row["images_per_s"] / rows[0]["images_per_s"])
        self.assertEqual(rows[1]["tokens"], kept_patches(0.5))
        self.refused(bench("--precision", "f32,f8"), USAGE, "--precision", "f32,f8")
        self.refused(bench("--precision", "f32,"), USAGE, "--precision")

    def test_a_precision_that_cannot_be_run_is_told(self):
        answer = bench("--batch", 1, "--keep", 1, "--cpu", "avx2", "--precision", "bf16,f32",
                       "--json")
        if "above" in answer.err:
            self.skipTest("no AVX2")
        self.assertEqual(answer.code, FAILURE)
        self.assertIn("AVX-512 BF16", answer.err)
        self.assertEqual([row["precision"] for row in answer.lines], ["f32"])

    def test_the_same_values_as_csv(self):
        rows = table_of(self.check(bench("--batch", 1, "--csv"), OK).out)
        fields = self.check(bench("--batch", 1, "--json"), OK).lines[0]
        self.assertEqual(list(rows[0]), list(fields))
        self.assertEqual([row["model"] for row in rows], [MODEL, MODEL])
        self.assertEqual([row["tokens"] for row in rows],
                         ["", "/".join(map(str, kept_patches(0.7)))])
        for row in rows:
            self.assertAlmostEqual(float(row["gflops"]),
                                   2 * float(row["gmacs"]) * float(row["images_per_s"]), places=6)
            self.assertNotIn(None, row)
        self.refused(bench("--csv", "--json"), USAGE, "--csv")

    def test_the_table(self):
        out = self.check(bench("--batch", 1), OK).out
        for words in ("p50 ms", "p99 ms", "streams", "weights", "most memory"):
            self.assertIn(words, out)


class Profile(CommandTest):
    def profile(self, by, *more):
        return self.check(bench("--profile", by, "--batch", 3, "--json", "--keep", 0.7, *more),
                          OK).lines

    def test_shares_and_rates(self):
        for by in ("layer", "operator"):
            rows = self.profile(by)
            for keep in (1, 0.7):
                part = [row for row in rows if row["keep"] == keep]
                self.assertAlmostEqual(sum(row["share"] for row in part), 1, places=9)
                self.assertEqual(part[-1]["kind"], "between")
                self.assertIsNone(part[-1]["bound_by"])
                for row in part[:-1]:
                    seconds = row["ms"] / 1e3
                    self.assertAlmostEqual(row["gflops"] * seconds, row["gflop"], places=12)
                    self.assertAlmostEqual(row["gbytes_per_s"] * seconds, row["gbytes"], places=12)
                    self.assertEqual(row["products"] is None, row["gflop"] == 0)
                    products = row["gflops"] / row["matmul_gflops"] if row["products"] else 0
                    memory = row["gbytes_per_s"] / row["memory_gbytes_per_s"]
                    self.assertAlmostEqual(row["share_of_limit"], max(products, memory), places=6)
                    self.assertEqual(row["bound_by"],
                                     "memory" if memory > products else "products")

    def test_a_limit_is_that_of_the_operators_precision(self):
        precisions = self.check(dvit("cpu", "--json"), OK).lines[0]["precisions"]
        if "int8" not in precisions:
            self.skipTest("no such products here")
        path = self.path("q.safetensors")
        self.check(dvit("quantize", MODEL, "--calibrate", SCENES, "--out", path, "--count", 8,
                        "--limit", 4, "--quiet"), OK)
        arguments = ("--profile", "operator", "--precision", "int8", "--keep", 1, "--batch", 2)
        rows = self.check(bench(*arguments, "--json", model=path), OK).lines
        rates = {(row["products"], row["matmul_gflops"]) for row in rows if row["products"]}
        own = {row["operator"]: row["products"] for row in rows}
        self.assertEqual(len(rates), len({precision for precision, _ in rates}))
        self.assertEqual(own["blocks.0.mlp.fc1"], "int8")
        self.assertNotEqual(own["head"], "int8")
        out = self.check(bench(*arguments, model=path), OK).out
        for precision, _ in rates:
            self.assertIn(f"GFLOP/s in {precision}", out)

    def test_work_is_the_cost_of_the_model(self):
        info = self.check(dvit("info", MODEL, "--keep", 0.7, "--json", "--quiet"), OK).lines[0]
        rows = [row for row in self.profile("operator") if row["keep"] == 0.7]
        self.assertAlmostEqual(sum(row["gflop"] for row in rows), 3 * 2 * info["gmacs"])
        layers = [layer["name"] for layer in info["layers"]]
        self.assertEqual([row["operator"] for row in rows[:-1]], layers)

    def test_layers_are_the_operators_of_all_blocks(self):
        rows = {row["operator"]: row for row in self.profile("layer") if row["keep"] == 1}
        self.assertEqual(rows["blocks.*.mlp.fc1"]["count"], 4)
        self.assertFalse([name for name in rows if re.search(r"\.[0-9]", name)])
        self.assertIn("blocks.*.mlp.fc1", self.check(bench("--profile", "layer", "--batch", 1),
                                                     OK).out)
        table = table_of(self.check(bench("--profile", "layer", "--batch", 1, "--csv"), OK).out)
        self.assertEqual(len({(row["keep"], row["operator"], row["kind"]) for row in table}),
                         len(table))


class Start(CommandTest):
    def test_from_a_file(self):
        path = self.path("model.safetensors")
        self.check(dvit("convert", MODEL, path, "--keep", 0.7, "--quiet"), OK)
        rows = self.check(bench("--start", "--batch", "1,2", "--json", model=path), OK).lines
        self.assertEqual([(row["batch"], row["keep"], row["starts"]) for row in rows],
                         [(1, 0.7, 2), (2, 0.7, 2)])
        for row in rows:
            parts = row["load_ms"] + row["session_ms"] + row["answer_ms"]
            self.assertAlmostEqual(row["start_ms"], parts, places=6)
            self.assertGreater(row["peak_resident_bytes"], 0)
        self.assertIn("start ms", self.check(bench("--start", "--batch", 1, model=path), OK).out)

    def test_only_of_files(self):
        self.refused(bench("--start"), USAGE, "convert")
        path = write_bytes(self.path("no.safetensors"), b"no model")
        self.refused(bench("--start", "--batch", 1, model=path), FAILURE, "no.safetensors")
        self.refused(bench("--start", "--train"), USAGE, "one at a time")
        self.refused(bench("--start", "--data", SCENES), USAGE, "--data")
        self.refused(bench("--profile", "layer", "--threads", 2, "--streams", 2), USAGE,
                     "one stream")


class Accuracy(CommandTest):
    @classmethod
    def setUpClass(cls):
        Models.make()

    def test_beside_speed_and_drawn(self):
        model = Models.best("dynamic")
        sheet = self.path("sheet.svg")
        rows = self.check(bench("--batch", 4, "--data", SCENES, "--keep", "1,0.7", "--json",
                                "--plot", sheet, model=model), OK).lines
        known = self.check(dvit("eval", "--model", model, "--data", SCENES, "--keep", "1,0.7",
                                "--json", *QUICK), OK).lines
        self.assertEqual([row["top1"] for row in rows], [row["top1"] for row in known])
        drawing = xml.etree.ElementTree.fromstring(read_bytes(sheet))
        texts = "".join(drawing.itertext())
        for words in ("images/s", "top-1", "f32"):
            self.assertIn(words, texts)
        table = self.check(bench("--batch", 4, "--data", SCENES, "--limit", 8, model=model), OK).out
        self.assertIn("top-1 %", table)

    def test_a_plot_needs_data(self):
        self.refused(bench("--plot", self.path("sheet.svg")), USAGE, "--data")
        self.refused(bench("--data", SCENES, "--plot", self.path("none", "sheet.svg"),
                           model=Models.best("dynamic")), FAILURE, "none")
        self.assertFalse(os.path.exists(self.path("none")))
        os.mkfifo(self.path("pipe"))
        self.refused(bench("--data", SCENES, "--plot", self.path("pipe"),
                           model=Models.best("dynamic")), FAILURE, "pipe", "expected a file name")

    def test_data_that_is_none(self):
        model, sheet = Models.best("dynamic"), self.path("sheet.svg")
        write_bytes(os.path.join(self.make_folder("broken", "0"), "1.jpg"), b"no image")
        for data in (self.path("missing"), self.make_folder("empty"), self.path("broken")):
            self.refused(bench("--batch", 1, "--data", data, "--plot", sheet, model=model), FAILURE,
                         os.path.basename(data))
        self.assertFalse(os.path.exists(sheet))

    def test_an_output_that_is_full(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        for more in ((), ("--profile", "layer")):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([DVIT, "bench", "--model", MODEL, *map(str, QUICK), "--batch",
                                       "1", "--csv", *more], stdout=full, stderr=subprocess.PIPE,
                                      check=False)
            self.assertEqual(done.returncode, FAILURE)
            self.assertIn(b"standard output", done.stderr)


if __name__ == "__main__":
    main()

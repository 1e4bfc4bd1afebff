"""The model that comes with dvit: found from anywhere, small, right about the drawings beside it."""

import os
import shutil
import subprocess

from harness import CommandTest, DVIT, FAILURE, OK, dvit, main

SHARE = os.path.join(os.environ.get("DVIT_SOURCE_ROOT", "."), "share", "dvit")
DRAWINGS = {"airplane", "automobile", "frog", "horse", "ship", "truck"}
MOST_BYTES = 8 * 2 ** 20


def drawings():
    folder = os.path.join(SHARE, "pictures")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder)
                  if name.endswith(".png"))


class ShippedModel(CommandTest):
    def test_names_the_drawings(self):
        self.assertEqual({os.path.basename(path)[:-4] for path in drawings()}, DRAWINGS)
        for keep in ("1", "0.7", "0.5"):
            answer = self.check(dvit("classify", "--json", "--keep", keep, *drawings()), OK)
            for line in answer.lines:
                self.assertEqual(line["top"][0]["label"], os.path.basename(line["file"])[:-4], keep)

    def test_is_dynamic_and_small(self):
        info = self.check(dvit("info", "cifar10", "--json"), OK).lines[0]
        self.assertEqual(len(info["stage_blocks"]), 3)
        self.assertLess(os.path.getsize(os.path.join(SHARE, "cifar10.safetensors")), MOST_BYTES)

    def test_is_what_eval_and_bench_take(self):
        folder = self.make_folder("photos", "ship")
        shutil.copy(os.path.join(SHARE, "pictures", "ship.png"), folder)
        answer = self.check(dvit("eval", "--json", "--data", self.path("photos"), "--keep",
                                 "1,0.7"), OK)
        self.assertEqual([line["model"] for line in answer.lines], ["cifar10", "cifar10"])
        self.assertEqual([line["top1"] for line in answer.lines], [1.0, 1.0])

    def test_another_model_replaces_it(self):
        shape = "vit:dim=16,depth=4,heads=2,patch=8,image=16,classes=3"
        answer = self.check(dvit("bench", "--json", "--model", shape, "--batch", "1", "--seconds",
                                 "0.01", "--rounds", "1"), OK)
        self.assertEqual({line["model"] for line in answer.lines}, {shape})

    def test_a_file_of_that_name_comes_first(self):
        with open(self.path("cifar10"), "wb") as stream:
            stream.write(b"no model at all")
        self.refused(dvit("info", "cifar10", cwd=self.folder), FAILURE, "cifar10")

    def test_is_found_beside_a_moved_program(self):
        """An installation may be unpacked anywhere."""
        bin_folder, share = self.make_folder("bin"), self.make_folder("share", "dvit")
        program = shutil.copy(DVIT, bin_folder)
        libraries = os.path.join(os.path.dirname(DVIT), "..", "src")
        environment = dict(os.environ, LD_LIBRARY_PATH=os.path.abspath(libraries))

        def run():
            return subprocess.run([program, "classify", drawings()[0]], env=environment,
                                  capture_output=True, check=False)
        missing = run()
        if missing.returncode != OK:  # there is none where dvit would be installed
            self.assertIn(b"cifar10.safetensors", missing.stderr)
        shutil.copy(os.path.join(SHARE, "cifar10.safetensors"), share)
        self.assertEqual(run().returncode, OK)


if __name__ == "__main__":
    main()

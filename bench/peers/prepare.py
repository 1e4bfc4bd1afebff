"""Everything that peers.py's runtimes read, made once and kept in a folder: one set of random weights
per model, drawn images, the answers they must give, and each runtime's own form of the model.

A form is a file named after what it is (pruned-fused.onnx); it is made when first asked for, under
another name until it is whole. Weights are parity.py's random ones, images are turned and mirrored
copies of its drawings, and the answers are published.py's in f64. Nothing is timed here.
"""

import dataclasses
import pathlib
import subprocess
import sys

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools/reference"))

import published  # noqa: E402: found through the path above

IMAGES = 32  # that are timed, and that int8 is calibrated on
PART = 8  # images that are worked on at once
STAGES = 3
OPSET = 20


def model_config(name, keep):
    """Keep 1 is the dense model."""
    config = published.preset(name)
    if keep == 1:
        return config
    stages = tuple(config.depth * s // (STAGES + 1) for s in range(1, STAGES + 1))
    return dataclasses.replace(config, stages=stages, keep=keep)


def load_weights(path):
    import safetensors.torch
    return safetensors.torch.load_file(path)


def draw_images(folder):
    """A folder of images, without classes."""
    import parity
    from PIL import Image
    drawn, images = folder / "drawn", folder / "images"
    drawn.mkdir(exist_ok=True)
    pictures = parity.draw_pictures(drawn)
    images.mkdir(exist_ok=True)
    for number in range(IMAGES):
        image = Image.open(pictures[number % len(pictures)])
        turn = number // len(pictures)
        image = image.transpose(list(Image.Transpose)[turn - 1]) if turn else image
        image.save(images / f"{number:02}.png")


class Stock:
    """The files of one model."""

    def __init__(self, folder, name, keep, dvit):
        self.name, self.keep, self.dvit = name, keep, dvit
        self.common, self.folder = pathlib.Path(folder), pathlib.Path(folder) / name
        self.folder.mkdir(parents=True, exist_ok=True)

    def config(self, keep):
        return model_config(self.name, keep)

    def made(self, name, make, since=0.0):
        """The path of `name`, which make(path) writes if it is not there yet or older than `since`."""
        path = self.folder / name
        if not path.exists() or path.stat().st_mtime < since:
            print("making", path, file=sys.stderr, flush=True)
            draft = path.with_name("draft-" + name)
            make(str(draft))
            for extra in self.folder.glob("draft-" + path.stem + ".bin"):  # OpenVINO's weights
                extra.rename(path.with_suffix(".bin"))
            draft.rename(path)
        return str(path)

    # ---- what all share

    def weights(self):
        def make(path):
            import parity
            import safetensors.torch
            config = self.config(self.keep)
            safetensors.torch.save_file(parity.random_weights(config), path, {"format": "pt"})
        return self.made("weights.safetensors", make)

    def images(self):
        folder = self.common / "images"
        if not folder.exists():
            draw_images(self.common)
        return str(folder)

    def pixels(self):
        """[IMAGES][3][height][width] f32, prepared as DynamicViT's authors do."""
        def make(path):
            import parity
            config, row = self.config(1), parity.Row("", "", None, "")
            shape = (config.image_width, config.image_height)
            images = sorted(pathlib.Path(self.images()).glob("*.png"))
            batch = numpy.stack([parity.prepare(image, row, shape) for image in images])
            batch.astype("<f4").tofile(path)
        return self.made("pixels.f32", make)

    def pixel_array(self):
        side = self.config(1).image_width
        return numpy.fromfile(self.pixels(), "<f4").reshape(-1, 3, side, side)

    def calibration(self):
        return numpy.split(self.pixel_array(), IMAGES // PART)

    def expected(self, keep, batch):
        """Logits [batch][K], and kept patches [batch][k] of every stage, of the f64 oracle."""
        parts = [self.expected_part(keep, first) for first in range(0, batch, PART)]
        logits, *kept = [numpy.concatenate(arrays)[:batch] for arrays in zip(*parts)]
        return logits, kept

    def expected_part(self, keep, first):
        config = self.config(keep)

        def make(path):
            import torch
            params = {n: t.double() if t.is_floating_point() else t
                      for n, t in load_weights(self.weights()).items()}
            pixels = torch.from_numpy(self.pixel_array()[first:first + PART]).double()
            trace = published.forward(params, config, pixels)
            arrays = [trace["logits"]] + [trace[f"stage.{s}.kept"] for s in
                                          range(len(config.stages))]
            with open(path, "wb") as file:
                numpy.savez(file, *(a.numpy() for a in arrays))
        found = numpy.load(self.made(f"{kind(keep)}-images-{first}.npz", make))
        return [found[f"arr_{i}"] for i in range(1 + len(config.stages))]

    # ---- ONNX and ONNX Runtime; the batch is left open, and fixed where the model is loaded

    def onnx(self, keep):
        def make(path):
            import torch
            import dynamic_vit
            model = dynamic_vit.build(load_weights(self.weights()), self.config(keep), fused=False)
            pixels = torch.from_numpy(self.pixel_array()[:2])
            torch.onnx.export(model, (pixels,), path, input_names=["pixels"],
                              dynamic_shapes=({0: torch.export.Dim("batch")},),
                              opset_version=OPSET, dynamo=True, external_data=False, verbose=False)
        return self.made(f"{kind(keep)}.onnx", make)

    def fused(self, keep):
        """After ONNX Runtime's transformer optimiser."""
        def make(path):
            from onnxruntime.transformers import optimizer
            config = self.config(keep)
            model = optimizer.optimize_model(self.onnx(keep), "vit", num_heads=config.heads,
                                             hidden_size=config.dim, opt_level=0, use_gpu=False)
            model.save_model_to_file(path)
        return self.made(f"{kind(keep)}-fused.onnx", make)

    def dynamic_int8(self, keep, source):
        """Weights per channel, activations by the range that they have at run time; `source` is
        "onnx" or "fused"."""
        def make(path):
            from onnxruntime import quantization
            quantization.quantize_dynamic(getattr(self, source)(keep), path, per_channel=True,
                                          weight_type=quantization.QuantType.QInt8)
        return self.made(f"{kind(keep)}-{source}-dynamic.onnx", make)

    def static_int8(self, keep):
        """Weights per channel, activations calibrated."""
        def make(path):
            from onnxruntime import quantization

            class Reader(quantization.CalibrationDataReader):
                def __init__(self, parts):
                    self.parts = iter(parts)

                def get_next(self):
                    part = next(self.parts, None)
                    return None if part is None else {"pixels": part}

            quantization.quantize_static(
                self.onnx(keep), path, Reader(self.calibration()), per_channel=True,
                quant_format=quantization.QuantFormat.QDQ, op_types_to_quantize=["MatMul", "Gemm"],
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8)
        return self.made(f"{kind(keep)}-static.onnx", make)

    # ---- OpenVINO and dvit

    def openvino_int8(self, keep):
        """Quantised by NNCF for transformers."""
        def make(path):
            import nncf
            import openvino
            parts = self.calibration()
            model = nncf.quantize(openvino.Core().read_model(self.onnx(keep)), nncf.Dataset(parts),
                                  subset_size=len(parts), model_type=nncf.ModelType.TRANSFORMER)
            openvino.save_model(model, path, compress_to_fp16=False)
        return self.made(f"{kind(keep)}-int8.xml", make)

    def dvit_int8(self):
        def make(path):
            subprocess.run([self.dvit, "quantize", self.weights(), "--out", path, "--calibrate",
                            self.images(), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        return self.made("weights-int8.safetensors", make, self.built())

    def built(self):
        """When dvit was: what an older build quantised is not what this one would measure."""
        library = self.dvit.parents[1] / "src"
        return max(path.stat().st_mtime for path in [self.dvit, *library.glob("libdvit.so*")])


def kind(keep):
    return "dense" if keep == 1 else "pruned"

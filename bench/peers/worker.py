"""One runtime with one model loaded, asked over standard input: the peers' side of peers.py.

    worker.py RUNTIME MODEL PIXELS BATCH THREADS [--bf16] [--streams 2] [--compiled]
              [--name NAME --keep RATIO]

RUNTIME  onnxruntime (MODEL is an ONNX file), openvino (ONNX or its own), pytorch (safetensors)
PIXELS   prepared images, raw f32 [BATCH][3][height][width]

Commands and answers are those of bench/bench_worker.c: "answer FILE" and "time SECONDS". This file
computes nothing: it hands the batch to the runtime and takes what comes back.
"""

import argparse
import os
import sys
import time

import numpy


class OnnxRuntime:
    def __init__(self, arguments, pixels):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = arguments.threads, 1
        options.add_free_dimension_override_by_name("batch", arguments.batch)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(arguments.model, options,
                                                    providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: pixels}

    def run(self):
        return self.session.run(None, self.feed)


class OpenVino:
    """One request of the whole batch, or a stream for each part of it."""

    def __init__(self, arguments, pixels):
        import openvino
        core = openvino.Core()
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": arguments.threads,
                  "INFERENCE_PRECISION_HINT": "bf16" if arguments.bf16 else "f32"}
        if arguments.streams > 1:
            config["NUM_STREAMS"] = arguments.streams
        model = core.read_model(arguments.model)
        model.reshape([arguments.batch // arguments.streams, *pixels.shape[1:]])
        compiled = core.compile_model(model, "CPU", config)
        self.requests = []
        for part in numpy.split(pixels, arguments.streams):
            request = compiled.create_infer_request()
            request.set_input_tensor(openvino.Tensor(part, shared_memory=True))
            self.requests.append(request)
        self.outputs = range(len(compiled.outputs))

    def run(self):
        if len(self.requests) == 1:  # at once: handing a request over and waiting takes 60 us
            self.requests[0].infer(share_outputs=True)
        else:
            for request in self.requests:
                request.start_async()
            for request in self.requests:
                request.wait()
        parts = [[request.get_output_tensor(i).data for i in self.outputs]
                 for request in self.requests]
        return parts[0] if len(parts) == 1 else [numpy.concatenate(p) for p in zip(*parts)]


class PyTorch:
    def __init__(self, arguments, pixels):
        import torch
        import prepare
        import dynamic_vit
        torch.set_num_threads(arguments.threads)
        config = prepare.model_config(arguments.name, arguments.keep)
        self.model = dynamic_vit.build(prepare.load_weights(arguments.model), config)
        self.pixels = torch.from_numpy(pixels)
        self.type = torch.bfloat16 if arguments.bf16 else torch.float32
        self.model = self.model.to(self.type)
        if arguments.compiled:
            torch._inductor.config.freezing = True  # weights packed once, as the others do
            self.model = torch.compile(self.model, dynamic=False)
        self.inference_mode = torch.inference_mode

    def run(self):
        with self.inference_mode():
            return [output.float().numpy() if output.is_floating_point() else output.numpy()
                    for output in self.model(self.pixels.to(self.type))]


RUNTIMES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "pytorch": PyTorch}


def whole_indices(choices):
    """Kept patches of the original grid per stage, ascending. `choices` are, per stage, indices into
    what the stage before left, in the order in which it left it."""
    kept, present = [], None
    for chosen in choices:
        chosen = chosen.astype(numpy.int64)
        present = chosen if present is None else numpy.take_along_axis(present, chosen, -1)
        kept.append(numpy.sort(present, -1))
    return kept


def answer(runtime, path):
    logits, *choices = runtime.run()
    with open(path, "wb") as file:
        file.write(numpy.ascontiguousarray(logits, "<f4").tobytes())
        for kept in whole_indices(choices):
            file.write(kept.astype("<i4").tobytes())
    return "done"


def measure(runtime, batch, at_least):
    runtime.run()
    runs, start, elapsed = 0, time.monotonic(), 0.0
    while elapsed < at_least:
        runtime.run()
        runs += 1
        elapsed = time.monotonic() - start
    return "%.6g" % (runs * batch / elapsed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("model")
    parser.add_argument("pixels")
    parser.add_argument("batch", type=int)
    parser.add_argument("threads", type=int)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--name", help="of a PyTorch model: what prepare.model_config takes")
    parser.add_argument("--keep", type=float, default=1)
    arguments = parser.parse_args()
    shape = (arguments.batch, 3, arguments.side, arguments.side)
    pixels = numpy.fromfile(arguments.pixels, "<f4", numpy.prod(shape)).reshape(shape)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what runtimes print is no answer
    runtime = RUNTIMES[arguments.runtime](arguments, pixels)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "answer":
            print(answer(runtime, argument), file=answers)
        elif command == "time":
            print(measure(runtime, arguments.batch, float(argument)), file=answers)


if __name__ == "__main__":
    main()

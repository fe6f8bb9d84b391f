"""Running `nibble` in tests: the program, the models of testdata, and what a run left behind."""
import hashlib
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np

SOURCE = pathlib.Path(os.environ["NIBBLE_SOURCE"])
PROGRAM = pathlib.Path(os.environ["NIBBLE_BIN"]) / "nibble"
EMOJI = SOURCE / "testdata/models/emoji-diffusion"
LLAMA = SOURCE / "testdata/models/debian-llama"

# Arguments that compile a small model in a few seconds, without a vendor's target.
SMALL = [str(EMOJI / "vae_decoder/model.onnx"), "--bind", "batch_size=1", "--calib", str(EMOJI / "calib/vae_decoder")]
TEXT_ENCODER = [str(EMOJI / "text_encoder/model.onnx"), "--bind", "batch_size=1", "--calib",
                str(EMOJI / "calib/prompt_ids.npy")]
MAIN_JOB = [str(EMOJI / "unet/model.onnx"), "--bind", "batch_size=2", "--recipe", "w8a16",
            "--calib", str(EMOJI / "calib/unet"), "--target", "snapdragon-8gen2"]


def nibble(*arguments, program=PROGRAM, **options):
    """Runs the program and returns the finished process with its text output."""
    options.setdefault("timeout", 900)
    return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, **options)


def bind(**values):
    """Arguments that give symbolic dimensions these values."""
    return [argument for name, value in values.items() for argument in ("--bind", f"{name}={value}")]


def digests(folder):
    """SHA-256 of every file below `folder` but run.json, which alone may differ between two runs."""
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(pathlib.Path(folder).rglob("*")) if file.is_file() and file.name != "run.json"}


def writeModel(path, inputs=(("x", "FLOAT", (1, 32)),)):
    """A small model in milliseconds: fc1, act and fc2 take `x` [1, 32] to `y` [1, 8]. Further inputs, as name, type
    and shape, are read by nobody."""
    import onnx
    from onnx import helper
    generator = np.random.default_rng(0)
    kind = np.float16 if inputs[0][1] == "FLOAT16" else np.float32
    weights = [onnx.numpy_helper.from_array(generator.standard_normal(shape).astype(kind), name)
               for name, shape in (("w1", (32, 64)), ("w2", (64, 8)))]
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["a"], "fc1"), helper.make_node("Relu", ["a"], ["b"], "act"),
             helper.make_node("MatMul", ["b", "w2"], ["y"], "fc2")]
    values = [helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape) for name, kind, shape in inputs]
    output = helper.make_tensor_value_info("y", getattr(onnx.TensorProto, inputs[0][1]), [inputs[0][2][0], 8])
    graph = helper.make_graph(nodes, "g", values, [output], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def haveVendor():
    from importlib import util
    return util.find_spec("onnxruntime_qnn") is not None


def onnxSession(path):
    """The file as it is written: graph optimizations off."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def sqnr(reference, outputs):
    """Signal to quantization noise in dB over all arrays together; a non-finite output counts as no signal at all."""
    signal = sum(np.square(want, dtype=np.float64).sum() for want in reference)
    noise = sum(np.square(want.astype(np.float64) - got).sum() for want, got in zip(reference, outputs))
    return 10 * np.log10(signal / max(noise, 1e-300)) if np.isfinite(noise) else -np.inf


def quantizedModel(folder):
    """The QDQ model in an output folder."""
    models = sorted(pathlib.Path(folder).glob("*_qdq.onnx"))
    if len(models) != 1:
        raise AssertionError(f"wanted one *_qdq.onnx in {folder}, found {[model.name for model in models]}")
    return models[0]


class Test(unittest.TestCase):
    """A test with a scratch folder, and runs whose exit code is checked and whose output is shown on failure."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def run_(self, *arguments, code=0, **options):
        process = nibble(*arguments, **options)
        self.assertEqual(process.returncode, code, f"{arguments}\n{process.stdout}\n{process.stderr}")
        return process

    def refused(self, code, message, *arguments, **options):
        """The run ends with `code` and says `message` as a diagnostic."""
        process = self.run_(*arguments, code=code, **options)
        self.assertIn("error: ", process.stderr)
        self.assertRegex(process.stderr, message)
        return process

"""The models of testdata, imported and exported again without change, against the originals in ONNX Runtime."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np
import onnx

from programs import run

MODELS = pathlib.Path(os.environ["NIBBLE_SOURCE"]) / "testdata/models"
TOOL = pathlib.Path(os.environ["NIBBLE_BIN"]) / "export-tool"
random = np.random.default_rng(5)


def normal(*shape):
    return random.normal(size=shape).astype(np.float32)


def tokens(*shape, dtype=np.int64):
    return random.integers(0, 1000, size=shape).astype(dtype)


def cache(batch, length):
    return {f"past_key_values.{i}.{kind}": normal(batch, 4, length, 32) for i in range(5) for kind in ("key", "value")}


CASES = {
    "emoji-diffusion/unet": {"sample": normal(2, 4, 16, 16), "timestep": np.array([300], np.int64),
                             "encoder_hidden_states": normal(2, 24, 128)},
    "emoji-diffusion/vae_decoder": {"latent_sample": normal(1, 4, 16, 16)},
    "emoji-diffusion/vae_encoder": {"sample": normal(1, 3, 64, 64)},
    "emoji-diffusion/text_encoder": {"input_ids": tokens(2, 24, dtype=np.int32)},
    "debian-llama/decoder": {"input_ids": tokens(1, 24)},
    "debian-llama/decoder-genai": {"input_ids": tokens(1, 8), "attention_mask": np.ones((1, 13), np.int64),
                                   **cache(1, 5)},
}


class Models(unittest.TestCase):
    def check(self, name, threshold=None):
        source = MODELS / name / "model.onnx"
        graph = onnx.load(str(source), load_external_data=False).graph
        inputs = {}
        for info in graph.input:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            inputs[info.name] = CASES[name][info.name].astype(dtype)
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "again.onnx"
            arguments = ["--threshold", str(threshold)] if threshold else []
            subprocess.run([TOOL, source, target, "float", *arguments], check=True)
            self.assertEqual((pathlib.Path(folder) / "again.data").exists(), threshold is not None)
            model = onnx.load(str(target), load_external_data=False)
            self.assertEqual([o.name for o in model.graph.output], [o.name for o in graph.output])
            if name != "debian-llama/decoder-genai":
                onnx.checker.check_model(str(target), full_check=True)
            found = run(str(target), inputs)
        wanted = run(str(source), inputs)
        for info, a, b in zip(graph.output, found, wanted, strict=True):
            self.assertLessEqual(float(np.abs(a - b).max()), 1e-5 * float(np.abs(b).max()), info.name)

    def testModels(self):
        for name in CASES:
            with self.subTest(name):
                self.check(name)

    def testExternalData(self):
        self.check("emoji-diffusion/unet", threshold=1 << 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)

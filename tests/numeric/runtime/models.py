"""The models of testdata in the float runtime against ONNX Runtime, and on one thread against two."""
import os
import pathlib
import tempfile
import unittest

import numpy as np
import onnxruntime

from floats import runCases

MODELS = pathlib.Path(os.environ["NIBBLE_SOURCE"]) / "testdata/models"
TOLERANCE = 1e-4  # of the range of each output
random = np.random.default_rng(11)


def normal(*shape):
    return random.normal(size=shape).astype(np.float32)


def tokens(*shape, dtype=np.int64, vocabulary=4096):
    return random.integers(0, vocabulary, size=shape).astype(dtype)


def genai(length, past):
    cache = {f"past_key_values.{layer}.{kind}": normal(1, 4, past, 32)
             for layer in range(5) for kind in ("key", "value")}
    return {"input_ids": tokens(1, length), "attention_mask": np.ones((1, past + length), np.int64), **cache}


def genaiBindings(length, past):
    return {"batch_size": 1, "sequence_length": length, "past_sequence_length": past,
            "total_sequence_length": past + length, "kv_cache_dim": 32}


UNET_INPUTS = {"sample": normal(2, 4, 16, 16), "timestep": np.array([300], np.int64),
               "encoder_hidden_states": normal(2, 24, 128)}
CASES = {
    "unet": ("emoji-diffusion/unet", UNET_INPUTS, {"batch_size": 2}),
    "vae_decoder": ("emoji-diffusion/vae_decoder", {"latent_sample": normal(1, 4, 16, 16)}, {"batch_size": 1}),
    "vae_encoder": ("emoji-diffusion/vae_encoder", {"sample": normal(1, 3, 64, 64)}, {"batch_size": 1}),
    "text_encoder": ("emoji-diffusion/text_encoder",
                     {"input_ids": tokens(2, 24, dtype=np.int32, vocabulary=1024)}, {"batch_size": 2}),
    "decoder": ("debian-llama/decoder", {"input_ids": tokens(1, 256)}, {"sequence_length": 256}),
    "genai-prompt": ("debian-llama/decoder-genai", genai(24, 0), genaiBindings(24, 0)),
    "genai-step": ("debian-llama/decoder-genai", genai(1, 37), genaiBindings(1, 37)),
    "genai-chunk": ("debian-llama/decoder-genai", genai(5, 12), genaiBindings(5, 12)),
}


class Models(unittest.TestCase):
    def check(self, name, pipeline):
        folder, inputs, bindings = CASES[name]
        model = MODELS / folder / "model.onnx"
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        inputs = {info.name: fit(inputs[info.name], info) for info in session.get_inputs()}
        expected = dict(zip([info.name for info in session.get_outputs()], session.run(None, inputs)))
        results = []
        for threads in (1, 2):
            with tempfile.TemporaryDirectory() as work:
                outputs, message = runCases(pathlib.Path(work), [(model, inputs, pipeline, bindings)], threads)[0]
            self.assertEqual(message, "ok")
            results.append(outputs)
        self.assertEqual(sorted(results[1]), sorted(expected))
        worst = 0
        for output, values in expected.items():
            self.assertEqual(results[1][output].shape, values.shape)
            np.testing.assert_array_equal(results[0][output], results[1][output])
            span = float(values.max() - values.min())
            worst = max(worst, float(np.abs(results[1][output] - values).max()) / span)
        print(f"{name} {pipeline}: largest difference {worst:.1e} of the output's range")
        self.assertLessEqual(worst, TOLERANCE)


def fit(values, info):
    return values.astype({"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}[info.type])


for caseName in CASES:
    for casePipeline in ("infer", "normalize"):
        def test(self, name=caseName, pipeline=casePipeline):
            self.check(name, pipeline)
        setattr(Models, f"test_{caseName}_{casePipeline}", test)

if __name__ == "__main__":
    unittest.main()

"""Models that quantizers stumble over: masks of -3.4e38 and -inf, boolean and rank-0 inputs, samples of two shapes.

The bounds are far above what a quantizer reaches that takes the range of a mask at its word (0.6 to 2.4 dB).
"""
import subprocess
import sys
import unittest

import numpy as np
import support

# Least SQNR in dB by recipe. The encoders' token tables have channels of very different size and one 8-bit scale.
BOUNDS = {
    "mask-lowest": {"w8a8": 12, "w8a16": 20},
    "mask-inf": {"w8a8": 12, "w8a16": 20},
    "mask-input": {"w8a8": 12, "w8a16": 20},
    "rank-0": {"w8a8": 32, "w8a16": 38},
    "two-shapes": {"w8a8": 28, "w8a16": 36},
}
# What a model is deployed as; each time it is calibrated with all of its samples.
DEPLOYED = {"mask-lowest": [{"batch_size": 1}], "mask-inf": [{"batch_size": 1}],
            "mask-input": [{"batch_size": 1}], "rank-0": [{}],
            "two-shapes": [{"height": 16, "width": 16}, {"height": 24, "width": 12}]}


class WeakSpots(support.Test):
    def score(self, model, quantized):
        want, got = support.onnxSession(model / "model.onnx"), support.onnxSession(quantized)
        fixed = {value.name: tuple(value.shape) for value in got.get_inputs()}
        reference, outputs = [], []
        for file in sorted((model / "eval").glob("*.npz")):
            feed = dict(np.load(file))
            # The quantized model has the deployed shape.
            if all(np.shape(feed[name]) == shape for name, shape in fixed.items()):
                reference.append(want.run(None, feed)[0])
                outputs.append(got.run(None, feed)[0])
        self.assertGreaterEqual(len(reference), 4)
        return support.sqnr(reference, outputs)

    def testEachModel(self):
        subprocess.run([sys.executable, support.SOURCE / "tests/models/make_weak_spots.py", self.folder], check=True)
        cases = [(name, values, recipe) for name in BOUNDS for values in DEPLOYED[name] for recipe in BOUNDS[name]]
        for number, (name, values, recipe) in enumerate(cases):
            with self.subTest(model=name, deployed=values, recipe=recipe):
                output = self.folder / f"out-{number}"
                self.run_("compile", self.folder / name / "model.onnx", *support.bind(**values), "--recipe", recipe,
                          "--calib", self.folder / name / "calib", "--emit", "qdq", "--no-report",
                          "--progress", "none", "-o", output)
                measured = self.score(self.folder / name, support.quantizedModel(output))
                print(f"{name} {values} {recipe}: {measured:.1f} dB")
                self.assertGreaterEqual(measured, BOUNDS[name][recipe])


if __name__ == "__main__":
    unittest.main()

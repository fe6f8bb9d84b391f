"""Models that quantizers stumble over: masks of -3.4e38 and -inf, boolean and rank-0 inputs.

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
    "rank-0": {"w8a8": 28, "w8a16": 34},
    "two-shapes": {"w8a8": 28, "w8a16": 36},
}
BINDINGS = {"mask-lowest": ["--bind", "batch_size=1"], "mask-inf": ["--bind", "batch_size=1"], "rank-0": [],
            "two-shapes": ["--bind", "height=16", "--bind", "width=16"]}


def keepShapeOfFirstSample(folder):
    """A compile takes samples of the shape that the model is bound to."""
    files = sorted(folder.glob("*.npz"))
    shapes = {name: value.shape for name, value in np.load(files[0]).items()}
    for file in files[1:]:
        if {name: value.shape for name, value in np.load(file).items()} != shapes:
            file.unlink()


class WeakSpots(support.Test):
    def score(self, model, quantized):
        want, got = support.onnxSession(model / "model.onnx"), support.onnxSession(quantized)
        fixed = {value.name: tuple(value.shape) for value in got.get_inputs()}
        reference, outputs = [], []
        for file in sorted((model / "eval").glob("*.npz")):
            feed = dict(np.load(file))
            # The quantized model has the shape it was bound to.
            if all(np.shape(feed[name]) == shape for name, shape in fixed.items()):
                reference.append(want.run(None, feed)[0])
                outputs.append(got.run(None, feed)[0])
        self.assertGreaterEqual(len(reference), 4)
        return support.sqnr(reference, outputs)

    def testEachModel(self):
        subprocess.run([sys.executable, support.SOURCE / "tests/models/make_weak_spots.py", self.folder], check=True)
        for name, bounds in BOUNDS.items():
            keepShapeOfFirstSample(self.folder / name / "calib")
            for recipe, bound in bounds.items():
                with self.subTest(model=name, recipe=recipe):
                    output = self.folder / f"{name}-{recipe}"
                    self.run_("compile", self.folder / name / "model.onnx", *BINDINGS[name], "--recipe", recipe,
                              "--calib", self.folder / name / "calib", "--emit", "qdq", "--no-report",
                              "--progress", "none", "-o", output)
                    measured = self.score(self.folder / name, support.quantizedModel(output))
                    self.assertGreaterEqual(measured, bound, f"{name} {recipe}: {measured:.1f} dB")


if __name__ == "__main__":
    unittest.main()

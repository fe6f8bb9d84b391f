"""Recipes that round weights against what layers read: what they gain, and what they say of poor data."""
import json
import os
import unittest

import numpy as np

import support

TOKENS = 8


class Rounding(support.Test):
    def compileLlama(self, recipe, *extra, calibration=TOKENS):
        """The decoder with a few rows of calibration tokens; KL to float of a few others."""
        folder = self.folder / f"out-{os.path.basename(recipe)}"
        for name, file, rows in (("calib", "calib_tokens.npy", calibration), ("eval", "eval_tokens.npy", 4)):
            np.save(self.folder / f"{name}.npy", np.load(support.LLAMA / file)[:rows])
        self.run_("compile", support.LLAMA / "decoder/model.onnx", "--recipe", recipe, "--bind", "sequence_length=256",
                  "--calib", self.folder / "calib.npy", "--eval", self.folder / "eval.npy", "--metric", "kl", "--emit",
                  "matmulnbits", "--progress", "none", "-o", folder, *extra)
        report = json.loads((folder / "report.json").read_text())
        return folder, report, next(row["value"] for row in report["metrics"] if row["arithmetic"] == "fake-quant")

    def compileSmall(self, recipe, *extra):
        folder = self.folder / f"out-{os.path.basename(recipe)}"
        self.run_("compile", *support.SMALL, "--recipe", recipe, "--progress", "none", "-o", folder, *extra)
        report = json.loads((folder / "report.json").read_text())
        return report, report["outputs"][0]["error"]["sqnr_db"]

    def recipe(self, name, text):
        path = self.folder / f"{name}.yaml"
        path.write_text(f"schema: nibble-recipe-1\nname: {name}\n{text}")
        return str(path)

    def testLanguageModelsLoseFarLess(self):
        _, _, plain = self.compileLlama("w4-g32")
        _, report, fast = self.compileLlama("llm-w4-fast")
        self.assertLess(fast, 0.5 * plain)
        stages = [stage["stage"] for stage in report["rounding"]["weights"][0]["stages"]]
        self.assertEqual(stages, ["nearest", "gptq", "coordinate descent"])
        for weight in report["rounding"]["weights"]:
            figures = [stage["output_sqnr"] for stage in weight["stages"]]
            self.assertEqual(figures, sorted(figures), weight["node"])

    def testThreeBitsAreExecuted(self):
        folder, report, _ = self.compileLlama("llm-w3")
        self.assertTrue(any("nibble-packed" in note for note in report["notes"]))
        tokens = np.load(support.LLAMA / "eval_tokens.npy")[:1].astype(np.int64)
        np.savez(self.folder / "in.npz", input_ids=tokens)
        outputs = []
        for file in ("model_matmulnbits.onnx", "model_qdq.onnx"):
            target = self.folder / f"{file}.npz"
            self.run_("run", folder / file, "--on", "fp32", "--input", self.folder / "in.npz", "-o", target)
            outputs.append(next(iter(np.load(target).values())))
        np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3)
        # 3-bit weights and their scales, the embedding and the output layer in 8 bits, and one mask for all layers.
        self.assertLess((folder / "model_matmulnbits.onnx").stat().st_size, 4.2e6)

    def testConvolutionsGainTenDecibels(self):
        _, plain = self.compileSmall("w4a16")
        _, best = self.compileSmall("diffusion-w4a16")
        self.assertGreater(best, plain + 10)

    def testFewWideActivationsGainTwoDecibels(self):
        _, plain = self.compileSmall("w8a8")
        report, best = self.compileSmall("vae-w8a8")
        self.assertGreater(best, plain + 2)
        self.assertTrue(any("activations have 16 bits" in note for note in report["notes"]), report["notes"])

    def testBytesAreEqualAtAnyThreadCount(self):
        digests = []
        for threads in ("1", "2"):
            folder = self.folder / threads
            self.run_("compile", *support.TEXT_ENCODER, "--recipe", "encoder-w8a8", "--threads", threads, "--progress",
                      "none", "-o", folder)
            digests.append(support.digests(folder))
        self.assertEqual(*digests)

    def testOneSampleAndUnevenGroupsAreSound(self):
        recipe = self.recipe("uneven", "base: w4-g32\nlayer-inputs: quantized\nweights:\n  group-size: 48\n  rounding: gptq\n"
                                       "  coordinate-descent: 2\n  drift-correction: 0.5\n")
        plain = self.recipe("plain", "base: w4-g32\nweights: {group-size: 48}\n")
        _, _, kl = self.compileLlama(recipe, calibration=1)
        _, _, before = self.compileLlama(plain, calibration=1)
        self.assertLess(kl, before)

    def testInputsThatAreAlwaysZeroAreCounted(self):
        support.writeModel(self.folder / "m.onnx")
        data = self.folder / "data"
        data.mkdir()
        generator = np.random.default_rng(0)
        for i in range(6):
            x = generator.standard_normal((1, 32)).astype(np.float32)
            x[:, :5] = 0
            np.savez(data / f"{i}.npz", x=x)
        self.run_("compile", self.folder / "m.onnx", "--recipe", "llm-w4a16-best", "--calib", data, "--progress", "none", "-o",
                  self.folder / "out")
        rounding = json.loads((self.folder / "out/report.json").read_text())["rounding"]
        self.assertGreaterEqual(rounding["dead_columns"], 5)

    def testValuesThatAreNotFiniteNameSampleAndTensor(self):
        support.writeModel(self.folder / "m.onnx")
        data = self.folder / "data"
        data.mkdir()
        for i, value in enumerate((1, 2, np.nan)):
            np.savez(data / f"{i}.npz", x=np.full((1, 32), value, np.float32))
        self.refused(2, "sample '2.npz': input 'x' holds a NaN at element 0", "compile", self.folder / "m.onnx", "--recipe",
                     "llm-w4-fast", "--calib", data, "--no-report", "--progress", "none", "-o", self.folder / "out")


if __name__ == "__main__":
    unittest.main()

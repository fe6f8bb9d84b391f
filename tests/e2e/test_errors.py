"""Mistakes of the user: the exit code of their kind, a message that names them, and no partial output."""
import unittest

import numpy as np
import support


class Errors(support.Test):
    def compile(self, code, message, *extra, model=support.SMALL[0], bind=True, calibration=True, recipe="w8a8"):
        output = self.folder / "out"
        arguments = [model, "--recipe", recipe, "--progress", "none", "-o", output]
        arguments += support.SMALL[1:3] if bind else []
        arguments += support.SMALL[3:] if calibration else []
        process = self.refused(code, message, "compile", *arguments, *extra)
        left = sorted(path.name for path in output.rglob("*")) if output.exists() else []
        self.assertEqual(left, [], "a failed compile left files behind")
        return process

    def testUsage(self):
        self.compile(1, "no-such-option", "--no-such-option")
        self.compile(1, "recipe", recipe="no-such-recipe")
        self.compile(1, "target", "--target", "no-such-target")
        self.compile(1, "NAME=VALUE", "--bind", "batch_size")
        self.compile(1, "twice", "--bind", "batch_size=1", "--bind", "batch_size=2", bind=False)
        for wrong in ("0", "some"):
            self.compile(1, "positive number", "--emulate-samples", wrong)
        self.compile(1, "--emulate-samples has no effect: no binary is compiled", "--emulate-samples", "all")
        self.compile(1, "--check-seconds has no effect", "--target", "snapdragon-8gen2", "--emit", "qdq", "--check-seconds", "9")

    def testModel(self):
        self.compile(4, "missing.onnx", model=self.folder / "missing.onnx")
        text = self.folder / "text.onnx"
        text.write_text("this is no model\n" * 100)
        self.compile(2, "text.onnx", model=text)

    def testQuantizedModels(self):
        for recipe in ("w8a8", "w8"):
            self.run_("compile", *support.SMALL, "--recipe", recipe, "--progress", "none", "-o", self.folder / recipe)
        for file in ("w8a8/model_qdq.onnx", "w8/model_qdq.onnx", "w8/model_matmulnbits.onnx"):
            for recipe in ("w8a8", "w8"):
                process = self.compile(2, "wanted a float model, found quantized values at node '", model=self.folder / file,
                                       recipe=recipe, bind=False)
                self.assertIn("nibble run --on fp32", process.stderr)

    def testUnboundDimensionPrintsWhatToPaste(self):
        process = self.compile(2, "batch_size", bind=False)
        self.assertIn("--bind batch_size=1", process.stderr)

    def testCalibrationInputs(self):
        samples = self.folder / "samples"
        samples.mkdir()
        self.compile(2, "samples", "--calib", samples, calibration=False)
        np.savez(samples / "000.npz", latent_sampel=np.zeros((1, 4, 16, 16), np.float32))
        process = self.compile(2, "latent_sample", "--calib", samples, calibration=False)
        self.assertIn("latent_sampel", process.stderr)
        np.savez(samples / "000.npz", latent_sample=np.zeros((1, 5, 16, 16), np.float32))
        self.compile(2, "latent_sample", "--calib", samples, calibration=False)
        np.savez(samples / "000.npz", latent_sample=np.full((1, 4, 16, 16), "x"))
        self.compile(3, "latent_sample.*dtype", "--calib", samples, calibration=False)
        self.compile(4, "nowhere", "--calib", self.folder / "nowhere", calibration=False)

    def testSampleInBothSets(self):
        self.compile(2, "both|calibration", "--eval", support.SMALL[4])

    def testRecipeMistakesNameLineAndColumn(self):
        recipe = self.folder / "bad.yaml"
        recipe.write_text("name: bad\nweights: [1, 2\n")
        self.compile(2, r"bad\.yaml:[0-9]+:[0-9]+", recipe=recipe)

    def testUnwritableOutput(self):
        blocker = self.folder / "file"
        blocker.write_text("")
        self.refused(4, "file", "compile", *support.SMALL, "--recipe", "w8a8", "-o", blocker / "out")

    def testFailedGate(self):
        output = self.folder / "out"
        self.refused(6, "sqnr", "compile", *support.SMALL, "--recipe", "w8a8", "--progress", "none",
                     "--eval", support.EMOJI / "eval/vae_decoder", "--metric", "sqnr", "--max-drop", "sqnr=1000",
                     "-o", output)
        self.assertTrue((output / "report.json").is_file(), "a failed gate leaves the complete folder")
        self.run_("verify", output)


if __name__ == "__main__":
    unittest.main()

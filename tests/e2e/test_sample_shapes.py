"""Samples of several shapes: all of them calibrate, those of the deployed shape are evaluated, and it is said."""
import json
import subprocess
import sys
import unittest

import numpy as np
import support

OTHER = r"8 of 16 calibration samples have other dimensions than the deployed ones \(height=24, width=12\)"


class TwoShapes(support.Test):
    """A convolutional net with samples of 16x16 (even numbers) and 24x12 (odd numbers)."""

    def setUp(self):
        super().setUp()
        subprocess.run([sys.executable, support.SOURCE / "tests/models/make_weak_spots.py", self.folder], check=True)
        self.model = self.folder / "two-shapes"

    def keep(self, part, remainder):
        """Leaves the samples of one shape."""
        for file in (self.model / part).glob("*.npz"):
            if int(file.stem) % 2 != remainder:
                file.unlink()

    def arguments(self, *extra, evaluation=True, height=16, width=16, output="out"):
        given = ["--eval", self.model / "eval"] if evaluation else []
        return ["compile", self.model / "model.onnx", *support.bind(height=height, width=width), *extra, "-o", self.folder / output,
                "--calib", self.model / "calib", *given, *(("--recipe", "w8a8") if "--recipe" not in extra else ()),
                *(("--emit", "qdq") if "--emit" not in extra else ())]

    def report(self, output="out"):
        return json.loads((self.folder / output / "report.json").read_text())

    def testAllCalibrateAndTheDeployedShapeIsEvaluated(self):
        process = self.run_(*self.arguments("--metric", "sqnr", "--max-drop", "sqnr=28"))
        report = self.report()
        left = r"4 of 8 evaluation samples have other dimensions .* \(height=24, width=12\) and are left out"
        for message in (OTHER, left):
            self.assertRegex(process.stderr, f"note: {message}")
            self.assertRegex("\n".join(report["notes"]), message)
        self.assertEqual(process.stderr.count("have other dimensions"), 2, "each is said once")
        self.assertEqual(report["calibration_samples"], 16)
        self.assertEqual(report["evaluation"]["samples"], 4)
        self.assertEqual({row["samples"] for row in report["metrics"]}, {4})

    def testStatisticsCoverAllShapes(self):
        self.run_(*self.arguments("--no-report", evaluation=False))
        statistics = self.folder / "out/model_statistics.safetensors"
        table = json.loads(self.run_("stats", "--json", statistics).stdout)["tensors"]
        self.assertEqual({tensor["samples"] for tensor in table.values()}, {16})
        self.assertEqual(table["image"]["elements"], 3 * 8 * (16 * 16 + 24 * 12))
        self.assertEqual(len(table["image"]["channel_sum_of_squares"]), 3)
        # They belong to what is deployed, not to the samples.
        self.run_(*self.arguments("--stats", statistics, "--no-report", evaluation=False, output="again"))
        again = support.quantizedModel(self.folder / "again").read_bytes()
        self.assertEqual(support.quantizedModel(self.folder / "out").read_bytes(), again)
        self.refused(2, "other bindings", *self.arguments("--stats", statistics, height=24, width=12, output="no"))

    def testBytesAreEqualAtAnyThreadCount(self):
        for threads in ("1", "2"):
            self.run_(*self.arguments("--threads", threads, output=threads))
        self.assertEqual(support.digests(self.folder / "1"), support.digests(self.folder / "2"))

    def testHeldOutSamplesHaveTheDeployedShape(self):
        self.run_(*self.arguments(evaluation=False))
        report = self.report()
        # Every fifth of eight.
        self.assertEqual(report["evaluation"]["samples"], 1)
        self.assertEqual(report["calibration_samples"], 15)
        self.assertRegex("\n".join(report["notes"]), "8 of 15 calibration samples")

    def testCalibrationWithoutTheDeployedShape(self):
        self.keep("calib", 1)
        process = self.run_(*self.arguments(evaluation=False))
        self.assertRegex(process.stderr, r"note: nothing is evaluated: .* \(height=16, width=16\); .*--eval")
        report = self.report()
        self.assertRegex("\n".join(report["notes"]), "nothing is evaluated")
        self.assertEqual(report["metrics"], [])
        self.refused(6, "sqnr in .*: .*the metric was not computed",
                     *self.arguments("--metric", "sqnr", "--max-drop", "sqnr=1", evaluation=False, output="gate"))
        # With samples to evaluate, the ranges of the other shape serve.
        self.run_(*self.arguments("--metric", "sqnr", "--max-drop", "sqnr=25", output="evaluated"))

    def testFilesThatNoSampleCanCheck(self):
        self.keep("calib", 1)
        targets = [("w8", "onnx", "matmulnbits", "the MatMulNBits file was not executed")]
        if support.haveVendor():
            targets.append(("w8a8", "snapdragon-8gen2", "binary", "the binary's blocks were not run"))
        for recipe, target, emitted, message in targets:
            with self.subTest(target=target):
                process = self.run_(*self.arguments("--recipe", recipe, "--target", target, "--emit", emitted,
                                                    evaluation=False, output=target))
                self.assertIn(message, process.stderr)
                self.assertIn(message, "\n".join(self.report(target)["notes"]))

    def testEvaluationWithoutTheDeployedShape(self):
        self.keep("eval", 1)
        process = self.refused(2, r"no evaluation sample has the deployed dimensions \(height=16, width=16\)",
                               *self.arguments())
        self.assertRegex(process.stderr, r"4 of 4 evaluation samples .* \(height=24, width=12\)")
        self.assertIn("--bind height=24 --bind width=12", process.stderr)

    def testOptionsToPaste(self):
        arguments = self.arguments("--no-report", evaluation=False)
        del arguments[2:6]
        process = self.refused(2, "the model has symbolic dimensions: height, width", *arguments)
        self.assertIn("add --bind height=16 --bind width=16, as in 8 of 16 samples", process.stderr)
        self.assertIn("the samples have height=16 (8 samples) or 24 (8 samples)", process.stderr)
        self.assertIn("the samples have width=16 (8 samples) or 12 (8 samples)", process.stderr)

    def testSamplesThatFitNoShape(self):
        np.savez(self.model / "calib/003.npz", image=np.zeros((1, 4, 24, 12), np.float32))
        self.refused(2, r"003\.npz:image' holds float32 \[1, 4, 24, 12\], input 'image' expects float32 \[1, 3, 16, 16\]",
                     *self.arguments())


class ShapeDependentModel(support.Test):
    """A model that computes another tensor where the height is above 20."""

    def setUp(self):
        super().setUp()
        import onnx
        from onnx import TensorProto, helper, numpy_helper
        constants = {"two": np.int64(2), "limit": np.int64(20), "half": np.float32(0.5), "third": np.float32(1 / 3),
                     "weight": np.random.default_rng(0).standard_normal((4, 3, 1, 1)).astype(np.float32)}
        nodes = [("Shape", ["image"], "shape"), ("Gather", ["shape", "two"], "size"),
                 ("Greater", ["size", "limit"], "is_high"), ("Mul", ["image", "half"], "low"),
                 ("Mul", ["image", "third"], "high"), ("Where", ["is_high", "high", "low"], "chosen"),
                 ("Conv", ["chosen", "weight"], "map")]
        shape = lambda channels: [1, channels, "height", "width"]
        graph = helper.make_graph(
            [helper.make_node(operator, inputs, [name], name=f"/{name}") for operator, inputs, name in nodes], "g",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape(3))],
            [helper.make_tensor_value_info("map", TensorProto.FLOAT, shape(4))],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                  self.folder / "model.onnx")
        for index, height in enumerate((16, 16, 24)):
            np.savez(self.folder / f"{index}.npz",
                     image=np.random.default_rng(index).standard_normal((1, 3, height, 8)).astype(np.float32))

    def arguments(self, *samples):
        given = [argument for index in samples for argument in ("--calib", self.folder / f"{index}.npz")]
        return ["compile", self.folder / "model.onnx", *support.bind(height=24, width=8), "--recipe", "w8a8", *given,
                "--no-report", "-o", self.folder / "out"]

    def testATensorThatNoSampleReachesIsAnError(self):
        process = self.refused(3, "tensor 'high': there are no statistics for its values", *self.arguments(0, 1))
        self.assertIn("no calibration sample has the deployed dimensions (height=24, width=8)", process.stderr)

    def testOneSampleOfTheDeployedShapeIsEnough(self):
        self.run_(*self.arguments(0, 1, 2))


class ShapeThatTheModelRefuses(support.Test):
    def testTheSampleIsNamed(self):
        import onnx
        from onnx import TensorProto, helper, numpy_helper
        graph = helper.make_graph(
            [helper.make_node("Add", ["rows", "table"], ["sum"], name="/add")], "g",
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, "length"])],
            [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, "length"])],
            [numpy_helper.from_array(np.ones((1, 8), np.float32), "table")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
                  self.folder / "model.onnx")
        for length in (8, 12):
            np.savez(self.folder / f"{length}.npz", rows=np.ones((1, length), np.float32))
        process = self.refused(2, "/add", "compile", self.folder / "model.onnx", *support.bind(length=8), "--recipe",
                               "w8a8", "--calib", self.folder / "8.npz", "--calib", self.folder / "12.npz",
                               "--no-report", "-o", self.folder / "out")
        self.assertIn("while preparing calibration sample '12.npz' and others with length=12", process.stderr)


class Sequences(support.Test):
    """A language model deployed for 32 tokens, calibrated with 32 and 64."""

    def testLengthsMayDiffer(self):
        for part, lengths in (("calib", (32, 64, 64, 32)), ("eval", (32, 64, 32))):
            tokens = np.load(support.LLAMA / f"{part}_tokens.npy")
            (self.folder / part).mkdir()
            for index, length in enumerate(lengths):
                np.savez(self.folder / part / f"{index}.npz", input_ids=tokens[index:index + 1, :length].astype(np.int64))
        output = self.folder / "out"
        process = self.run_("compile", support.LLAMA / "decoder/model.onnx", *support.bind(sequence_length=32),
                            "--recipe", "w8a16", "--calib", self.folder / "calib", "--eval", self.folder / "eval",
                            "--metric", "kl", "--max-drop", "kl=0.05", "--emit", "qdq", "-o", output)
        self.assertIn("2 of 4 calibration samples have other dimensions than the deployed ones (sequence_length=64)",
                      process.stderr)
        self.assertEqual(json.loads((output / "report.json").read_text())["evaluation"]["samples"], 2)


if __name__ == "__main__":
    unittest.main()

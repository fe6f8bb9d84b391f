"""Models, samples and statistics of handmade models: what is converted, refused, stamped and remembered."""
import json
import unittest

import numpy as np
import onnx
import support


class Inputs(support.Test):
    def setUp(self):
        super().setUp()
        self.model, self.output = self.folder / "m.onnx", self.folder / "out"
        support.writeModel(self.model)

    def write(self, name, **arrays):
        """A folder of ten samples; each array is a function of the sample's index."""
        folder = self.folder / name
        folder.mkdir()
        for index in range(10):
            np.savez(folder / f"{index:03d}.npz", **{key: make(index) for key, make in arrays.items()})
        return folder

    def writeFloats(self, name, seed=0, change=lambda index, array: array):
        def make(index):
            array = np.random.default_rng([seed, index]).standard_normal((1, 32)).astype(np.float32)
            return change(index, array)
        return self.write(name, x=make)

    def compile(self, *extra, code=0, recipe="w8a8"):
        return self.run_("compile", self.model, "--recipe", recipe, "-o", self.output, *extra, code=code)

    def report(self):
        return json.loads((self.output / "report.json").read_text())

    def testNumbersThatAreNone(self):
        for name, index, value in (("calibrated", 2, np.nan), ("held-out", 4, np.nan), ("infinite", 4, np.inf)):
            def change(sample, array):
                array[0, 3] = value if sample == index else array[0, 3]
                return array
            process = self.compile("--calib", self.writeFloats(name, change=change), code=2)
            self.assertRegex(process.stderr, f"sample '{index:03d}.npz': input 'x' holds (a NaN|an infinity) at element 3")
            self.assertFalse(self.output.exists())

    def testSampleThatIsHeldOutAndCalibratedOn(self):
        folder = self.writeFloats("calib")
        (folder / "004.npz").write_bytes((folder / "001.npz").read_bytes())
        self.assertIn("evaluation sample '004.npz' is also calibration sample '001.npz'",
                      self.compile("--calib", folder, code=2).stderr)

    def testArrayThatIsLeftOver(self):
        extra = self.folder / "extra.npy"
        np.save(extra, np.zeros((20, 32), np.float32))
        process = self.compile("--calib", self.writeFloats("calib"), "--calib", extra, code=2)
        self.assertRegex(process.stderr, "'.*extra.npy' is left over.*\n.*input 'x' is filled by '.*000.npz'")

    def testModelWithoutInputs(self):
        constants = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)
                     for name, shape in (("c", (1, 4)), ("w", (4, 4)))]
        graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["c", "w"], ["y"], "fc")], "g", [],
                                       [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])], constants)
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), self.model)
        self.assertIn("has no inputs", self.compile("--calib", self.writeFloats("calib"), code=2).stderr)

    def testFloat16IsRefusedBeforeItsSamples(self):
        support.writeModel(self.model, inputs=(("x", "FLOAT16", (1, 32)),))
        process = self.compile("--calib", self.writeFloats("calib"), code=3)
        self.assertIn("export the model in float32", process.stderr)

    def testIdsOutsideATable(self):
        table = onnx.numpy_helper.from_array(np.ones((50, 4), np.float32), "table")
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Gather", ["table", "ids"], ["y"], "lookup")], "g",
            [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [1, 3])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 4])], [table])
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), self.model)
        for column, bad in (("calib", 3), ("held-out", 4)):
            tokens = self.folder / f"{column}.npy"
            ids = np.arange(30, dtype=np.int32).reshape(10, 3)
            ids[bad, 1] = 56
            np.save(tokens, ids)
            process = self.compile("--calib", tokens, code=2)
            self.assertRegex(process.stderr, rf"sample '{column}.npy\[{bad}\]': node 'lookup': gather has index 56")

    def testRandomSamplesStayUncalibrated(self):
        for recipe, extra in (("w8a8", []), ("w8", [])):
            process = self.compile("--calib", "random:4", "--max-drop", "sqnr=1", code=6, recipe=recipe)
            self.assertIn("not calibrated", process.stderr)
            self.assertFalse(self.report()["calibrated"])
            self.assertIn("NOT CALIBRATED", (self.output / "report.md").read_text())
        self.compile("--calib", "random:4")
        statistics = self.folder / "random.safetensors"
        (self.output / "m_statistics.safetensors").rename(statistics)
        evaluation = self.writeFloats("eval")
        process = self.compile("--stats", statistics, "--eval", evaluation, "--max-drop", "sqnr=1", code=6)
        self.assertIn("not calibrated", process.stderr)
        self.assertIn("NOT CALIBRATED", self.run_("stats", statistics).stdout)
        self.assertIn("cannot be random", self.compile("--calib", evaluation, "--eval", "random:4", code=1).stderr)

    def testReusedStatisticsRememberTheirSamples(self):
        calibration = self.writeFloats("calib")
        self.compile("--calib", calibration)
        statistics = self.folder / "kept.safetensors"
        (self.output / "m_statistics.safetensors").rename(statistics)
        first = self.report()
        self.compile("--calib", calibration, "--stats", statistics)
        self.assertEqual(self.report()["calibration_samples"], 8)
        self.assertEqual(self.report()["outputs"], first["outputs"])
        self.assertIn("were measured on evaluation sample '000.npz'",
                      self.compile("--stats", statistics, "--eval", calibration, code=2).stderr)
        self.compile("--stats", statistics, "--eval", self.writeFloats("eval", seed=1))
        self.run_("verify", self.output)

    def testStatisticsBelongToTheWeights(self):
        external = self.folder / "external"
        external.mkdir()
        self.model = external / "m.onnx"
        plain = self.folder / "plain.onnx"
        support.writeModel(plain)

        def save(scale):
            model = onnx.load(plain)
            for weight in model.graph.initializer:
                weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(scale), weight.name))
            (external / "m.data").unlink(missing_ok=True)
            onnx.save(model, self.model, save_as_external_data=True, location="m.data", size_threshold=0)

        save(1)
        self.compile("--calib", self.writeFloats("calib"))
        names = {(entry["role"], entry["name"]) for entry in json.loads((self.output / "manifest.json").read_text())["inputs"]}
        self.assertIn(("external data", "external/m.data"), names)
        statistics = self.folder / "kept.safetensors"
        (self.output / "m_statistics.safetensors").rename(statistics)
        save(3)
        self.assertIn("measured on another model", self.compile("--stats", statistics, code=2).stderr)

    def testMistakesOfARecipeAreBadInput(self):
        calibration = self.writeFloats("calib")
        recipe = self.folder / "r.yaml"
        head = "schema: nibble-recipe-1\nname: r\nbase: w8a8\noverrides:\n"
        for body, message in (("  - node: none\n    weights: {bits: 4}\n", "matches nothing"),
                              ("  - node: fc1\n    weights: {bits: 4}\n  - operator: MatMul\n    weights: {bits: 8}\n",
                               "two overrides set bits differently")):
            recipe.write_text(head + body)
            process = self.compile("--calib", calibration, recipe=recipe, code=2)
            self.assertIn(message, process.stderr)
            self.assertRegex(process.stderr, r"r\.yaml:5:5")
            self.assertNotIn("see current operation", process.stderr)

    def testLayerAndItsReluAreOneRow(self):
        self.compile("--calib", self.writeFloats("calib"))
        layers = {row["node"]: row["isolated"]["sqnr_db"] for row in self.report()["layers"]}
        self.assertEqual(set(layers), {"fc1", "fc2"})
        self.assertGreater(layers["fc1"], 25, "what the relu clips is no error of the layer")

    def testRunRecordHasAbsolutePaths(self):
        self.run_("compile", "m.onnx", "--recipe", "w8", "-o", "out", cwd=self.folder)
        paths = json.loads((self.folder / "out/run.json").read_text())["paths"]
        self.assertEqual((paths["model"], paths["output"]), (str(self.model), str(self.folder / "out")))

    def testJsonProgressIsJsonOnly(self):
        folder = self.writeFloats("calib", change=lambda index, array: array.astype(np.float64))
        evaluation = self.writeFloats("eval", seed=1, change=lambda index, array: array.astype(np.float64))
        process = self.compile("--calib", folder, "--eval", evaluation, "--progress", "json")
        lines = [json.loads(line) for line in process.stderr.splitlines()]
        self.assertEqual(len(lines), 1, "a note about both sets is said once")
        self.assertIn("float64 to float32", lines[0]["note"])
        process = self.compile("--calib", folder, "--progress", "json", "--max-drop", "sqnr=1000", code=6)
        self.assertEqual(json.loads(process.stderr.splitlines()[-1])["exit_code"], 6)


if __name__ == "__main__":
    unittest.main()

"""A binary for Snapdragon as its user meets it: io.json, runs in emulation, the program of docs/deploy-snapdragon.md,
damage, and what is said where the vendor refuses or is absent."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import support

DEPLOY = pathlib.Path(os.environ["NIBBLE_BIN"]) / "deploy_snapdragon"
MODEL = support.EMOJI / "text_encoder/model.onnx"


def packages():
    import onnxruntime
    return pathlib.Path(onnxruntime.__file__).parent.parent


def compileEncoder(output, *extra, **options):
    """A model with token ids, which are passed as they are, and a float output."""
    tokens = output.parent / "tokens.npy"
    np.save(tokens, np.load(support.EMOJI / "calib/prompt_ids.npy")[:4])
    return support.nibble("compile", MODEL, "--bind", "batch_size=1", "--recipe", "w8a16", "--calib", tokens, "--target",
                          "snapdragon-8gen2", "--emulate-samples", "1", "--progress", "none", "-o", output, *extra, **options)


@unittest.skipUnless(support.haveVendor(), "onnxruntime-qnn is not installed")
class Binary(support.Test):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.output = pathlib.Path(cls.scratch.name) / "out"
        process = compileEncoder(cls.output)
        assert process.returncode == 0, process.stderr
        cls.description = json.loads((cls.output / "io.json").read_text())
        cls.model = cls.output / cls.description["model"]

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def setUp(self):
        super().setUp()
        self.ids = np.load(support.EMOJI / "calib/prompt_ids.npy")[-1:]
        self.sample = self.folder / "ids.npz"
        np.savez(self.sample, input_ids=self.ids)

    def emulate(self, *extra):
        path = self.folder / "y.npz"
        self.run_("run", self.model, "--on", "htp-emulator", "--input", self.sample, "-o", path, *extra)
        return np.load(path)[self.description["outputs"][0]["name"]]

    def testIoSaysAllThatADeviceNeeds(self):
        for key in ("graph", "soc_model", "architecture", "qnn_version", "model", "binary", "target"):
            self.assertTrue(self.description[key], key)
        (x,), (y,) = self.description["inputs"], self.description["outputs"]
        self.assertEqual((x["name"], x["type"], x["shape"], x["layout"]), ("input_ids", "int32", [1, 24], "row-major"))
        self.assertNotIn("scale", x)
        self.assertEqual((y["type"], y["shape"], y["layout"]), ("uint16", [1, 24, 128], "row-major"))
        self.assertGreater(y["scale"], 0)
        self.assertEqual((self.output / self.description["binary"]["file"]).stat().st_size, self.description["binary"]["bytes"])

    def testFloatsAndStoredIntegersAreTheSameRun(self):
        y = self.description["outputs"][0]
        real, stored = self.emulate(), self.emulate("--raw-io")
        self.assertEqual((real.dtype, stored.dtype), (np.float32, np.uint16))
        np.testing.assert_allclose(real, (stored.astype(int) - y["zero_point"]) * np.float32(y["scale"]), rtol=1e-6)
        reference = self.folder / "reference.npz"
        self.run_("run", support.quantizedModel(self.output), "--on", "fp32", "--input", self.sample, "-o", reference)
        self.assertGreater(support.sqnr([np.load(reference)[y["name"]]], [real]), 45)

    def testTheProgramOfTheDocumentGivesTheSame(self):
        y = self.description["outputs"][0]
        self.ids.astype(np.int32).tofile(self.folder / "ids.raw")
        library = max((packages() / "onnxruntime/capi").glob("libonnxruntime.so*"))
        arguments = [DEPLOY, library, packages() / "onnxruntime_qnn", self.model, "--input", "input_ids", "int32", "1,24",
                     "-", "-", self.folder / "ids.raw", "--output", y["name"], y["type"], "1,24,128", repr(y["scale"]),
                     y["zero_point"], self.folder / "y.raw"]
        subprocess.run(list(map(str, arguments)), check=True, capture_output=True)
        found = np.fromfile(self.folder / "y.raw", np.float32).reshape(y["shape"])
        np.testing.assert_allclose(found, self.emulate(), rtol=1e-6)

    def testAFlippedBitIsRefused(self):
        copy = self.folder / "copy"
        shutil.copytree(self.output, copy)
        binary = copy / self.description["binary"]["file"]
        content = bytearray(binary.read_bytes())
        content[len(content) // 2] ^= 1
        binary.write_bytes(content)
        self.refused(2, "is damaged", "run", copy / self.description["model"], "--on", "htp-emulator", "--input", self.sample)
        self.refused(2, "was changed", "verify", copy)


@unittest.skipUnless(support.haveVendor(), "onnxruntime-qnn is not installed")
class Outputs(support.Test):
    def testAnInputAndAResultMayLeaveUnderFurtherNames(self):
        # The vendor's compiler refuses an Identity of integers, and blamed another node for one behind an input.
        shape = [1, 4, 8, 8]
        weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32), "w")
        nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "conv"), helper.make_node("Identity", ["y"], ["again"], "i1"),
                 helper.make_node("Identity", ["x"], ["same"], "i2")]
        values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y", "again", "same")}
        graph = helper.make_graph(nodes, "g", [values["x"]], [values["y"], values["again"], values["same"]], [weight])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), self.folder / "m.onnx")
        for index in range(3):
            np.savez(self.folder / f"{index}.npz", x=np.random.default_rng(index).standard_normal(shape).astype(np.float32))
        output = self.folder / "out"
        self.run_("compile", self.folder / "m.onnx", "--recipe", "w8a8", "--target", "snapdragon-8gen2", "--calib", self.folder / "0.npz",
                  "--calib", self.folder / "1.npz", "--progress", "none", "-o", output)
        self.run_("run", output / "m_ctx.onnx", "--on", "htp-emulator", "--input", self.folder / "2.npz", "-o", self.folder / "y.npz")
        found = np.load(self.folder / "y.npz")
        np.testing.assert_array_equal(found["y"], found["again"])
        self.assertLess(np.abs(found["same"] - np.load(self.folder / "2.npz")["x"]).max(), 0.1)


@unittest.skipUnless(support.haveVendor(), "onnxruntime-qnn is not installed")
class Refusals(support.Test):
    def testVendorOptionsAreChecked(self):
        for target, option, message in (("snapdragon-8gen2", "vtcm_md=4", "unknown vendor option 'vtcm_md'\nnote: did you mean 'vtcm_mb'"),
                                        ("snapdragon-8gen2", "vtcm_mb=999", "wanted one of 1, 2, 4, 8, found '999'"),
                                        ("snapdragon-8gen2", "soc_model=43", "cannot be set: nibble sets it itself"),
                                        ("onnx", "vtcm_mb=4", "target 'onnx' has no vendor's compiler")):
            self.refused(1, message, "compile", *support.SMALL, "--recipe", "w8a8", "--target", target,
                         "--vendor-option", option, "-o", self.folder / "out")

    def testABinaryNeedsSamples(self):
        self.refused(1, "checked on samples, and none were given", "compile", *support.SMALL[:3], "--recipe", "w8a8",
                     "--stats", "of-an-earlier-run.safetensors", "--target", "snapdragon-8gen2", "-o", self.folder / "out")

    def testWhatTheRulesRefuseIsNamedOnce(self):
        process = self.refused(3, "error: node 'error': target 'snapdragon-8gen2' does not execute erf", "compile",
                               self.erfModel(), "--recipe", "w8a8", "--calib", "random:2", "--target",
                               "snapdragon-8gen2", "-o", self.folder / "out")
        self.assertNotIn("see current operation", process.stderr)
        self.assertIn("note: legalized by erf-gelu-to-gelu", process.stderr)

    def erfModel(self):
        weight = np.random.default_rng(3).normal(size=(16, 16)).astype(np.float32)
        nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], "product"), helper.make_node("Erf", ["a"], ["y"], "error")]
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 16]) for name in "xy")
        graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weight, "w")])
        path = self.folder / "erf.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    def testWhatTheVendorRefusesIsNamedWithItsRecipeLine(self):
        """A target whose rules take Erf for native, so that only the vendor knows better."""
        configs = self.folder / "configs"
        shutil.copytree(support.SOURCE / "configs", configs)
        rules = configs / "targets/rules/qnn-htp.yaml"
        text = rules.read_text()
        start, rule = text.partition("  - operations: [erf]\n")[::2]
        rules.write_text(start + "  - {operations: [erf], verdict: native, evidence: none}\n" + rule[rule.index("  - "):])
        process = self.refused(3, "node 'error' \\(Erf\\): .*Erf", "compile", self.erfModel(), "--recipe", "w8a8",
                               "--calib", "random:2", "--target", "snapdragon-8gen2", "-o", self.folder / "out",
                               env={**os.environ, "NIBBLE_CONFIG_DIR": str(configs)})
        self.assertNotIn("see current operation", process.stderr)
        self.assertRegex(process.stderr, r"the recipe asks for weights at .*w8a8\.yaml:\d+:\d+, activations at ")


class Absence(support.Test):
    def testWithoutTheVendorAllElseIsWrittenAndTheExitCodeSaysSo(self):
        environment = self.folder / "venv/lib/python3.11/site-packages"
        environment.mkdir(parents=True)
        (environment / "onnxruntime").symlink_to(packages() / "onnxruntime")
        variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "NIBBLE_QNN_DIR")}
        variables["NIBBLE_VENV"] = str(self.folder / "venv")
        output = self.folder / "out"
        process = compileEncoder(output, env=variables)
        self.assertEqual(process.returncode, 3, process.stderr)
        self.assertRegex(process.stderr, "onnxruntime-qnn is not installed\n(note: .*\n)*note: .*pip install onnxruntime-qnn")
        self.assertTrue(support.quantizedModel(output).is_file())
        self.assertEqual(list(output.glob("*_ctx*")), [])
        self.run_("verify", output)
        said = self.run_("doctor", env=variables).stdout
        self.assertRegex(said, "onnxruntime-qnn +absent")


if __name__ == "__main__":
    unittest.main()

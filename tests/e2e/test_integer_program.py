"""Integer programs: what is written for `tosa` and Ethos-U targets, what runs it, and what it computes."""
import json
import os
import pathlib
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import support

QUIET = ["--progress", "plain"]
EMBEDDING = "node '.*token_embedding/Gather': target 'ethos-u55-256' does not execute gather"


def attention(path):
    """One new token beside a cache of P: probs, out and the new cache, of a model with symbolic P."""
    random = np.random.default_rng(5)
    weights = [numpy_helper.from_array(random.normal(size=(32, 32)).astype(np.float32) / 5, f"w{name}") for name in "qkv"]
    shapes = {"split": [1, 1, 4, 8], "joined": [1, 1, 32]}
    constants = [numpy_helper.from_array(np.array(value), name) for name, value in shapes.items()]
    nodes = []
    for name in "qkv":
        nodes += [helper.make_node("MatMul", ["x", f"w{name}"], [f"{name}0"], f"{name}_proj"),
                  helper.make_node("Reshape", [f"{name}0", "split"], [f"{name}1"], f"{name}_split"),
                  helper.make_node("Transpose", [f"{name}1"], [f"{name}2"], f"{name}_heads", perm=[0, 2, 1, 3])]
    nodes += [helper.make_node("Concat", ["past_k", "k2"], ["present_k"], "k_cache", axis=2),
              helper.make_node("Concat", ["past_v", "v2"], ["present_v"], "v_cache", axis=2),
              helper.make_node("Transpose", ["present_k"], ["kt"], "k_transposed", perm=[0, 1, 3, 2]),
              helper.make_node("MatMul", ["q2", "kt"], ["scores"], "qk"),
              helper.make_node("Add", ["scores", "mask"], ["masked"], "mask_add"),
              helper.make_node("Softmax", ["masked"], ["probs"], "softmax", axis=-1),
              helper.make_node("MatMul", ["probs", "present_v"], ["mixed"], "pv"),
              helper.make_node("Transpose", ["mixed"], ["mixed_t"], "merge", perm=[0, 2, 1, 3]),
              helper.make_node("Reshape", ["mixed_t", "joined"], ["out"], "join")]
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    inputs = [value("x", [1, 1, 32]), value("past_k", [1, 4, "P", 8]), value("past_v", [1, 4, "P", 8]),
              value("mask", [1, 1, 1, "L"])]
    outputs = [value("probs", [1, 4, 1, "L"]), value("out", [1, 1, 32]), value("present_k", [1, 4, "L", 8]),
               value("present_v", [1, 4, "L", 8])]
    graph = helper.make_graph(nodes, "attention", inputs, outputs, weights + constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def attentionSample(random, past):
    """The first entries of the cache are empty and masked, as a bucket longer than its content has them."""
    mask = np.zeros((1, 1, 1, past + 1), np.float32)
    mask[..., :random.integers(1, past)] = np.finfo(np.float32).min
    cache = lambda: random.normal(size=(1, 4, past, 8)).astype(np.float32)
    return {"x": random.normal(size=(1, 1, 32)).astype(np.float32), "past_k": cache(), "past_v": cache(), "mask": mask}


class IntegerProgram(support.Test):
    def compile(self, *arguments, name="out", **options):
        output = self.folder / name
        process = self.run_("compile", *arguments, *QUIET, "-o", output, **options)
        return output, process

    def evaluate(self, model, where, sample, *options):
        file = self.folder / "result.npz"
        self.run_("run", model, "--on", where, "--input", sample, "-o", file, *options)
        return dict(np.load(file))

    def testTextEncoder(self):
        output, process = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a16", "--target", "tosa")
        self.assertIn("are equal to those of the TOSA reference model", process.stderr)
        report = json.loads((output / "report.json").read_text())
        checks = [check for check in report["checks"] if "TOSA reference model" in check["description"]]
        self.assertGreater(len(checks), 2)
        self.assertTrue(all(check["found"] == 0 for check in checks))
        self.assertEqual(report["evaluation"]["headline_arithmetic"], "tosa")
        self.run_("verify", output)

        io = json.loads((output / "io.json").read_text())
        self.assertEqual(io["binary"]["file"], "model.tosa")
        self.assertEqual([tensor["name_in_file"] for tensor in io["inputs"]], ["TosaInput_0"])
        self.assertEqual(io["inputs"][0]["type"], "int32")
        self.assertEqual(io["outputs"][0]["type"], "int16")

        ids = np.load(support.EMOJI / "calib/prompt_ids.npy")[:1]
        sample = self.folder / "ids.npz"
        np.savez(sample, **{io["inputs"][0]["name"]: ids.reshape(io["inputs"][0]["shape"])})
        reals = self.evaluate(output / "model.tosa", "tosa-reference", sample)
        integers = self.evaluate(output / "model.tosa", "tosa-reference", sample, "--raw-io")
        wanted = self.evaluate(support.quantizedModel(output), "onnxruntime", sample)
        for tensor in io["outputs"]:
            name = tensor["name"]
            self.assertEqual(integers[name].dtype, np.int16)
            scaled = np.float32(tensor["scale"]) * (integers[name].astype(np.float32) - tensor["zero_point"])
            np.testing.assert_array_equal(reals[name], scaled)
            self.assertGreater(support.sqnr([wanted[name]], [reals[name]]), 45)

        # A changed program is not run.
        program = bytearray((output / "model.tosa").read_bytes())
        program[len(program) // 2] ^= 1
        (output / "model.tosa").write_bytes(program)
        self.refused(2, "was changed: its SHA-256 differs", "run", output / "model.tosa", "--on", "tosa-reference", "--input", sample)
        # Neither is one that io.json does not describe.
        (output / "other.tosa").write_bytes(program)
        self.refused(2, "describes 'model.tosa', not 'other.tosa'", "run", output / "other.tosa", "--on", "tosa-reference",
                     "--input", sample)

        blocks, _ = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a16", "--target", "tosa", "--file-per-block", name="blocks")
        self.run_("verify", blocks)
        names = [entry["file"] for entry in json.loads((blocks / "model.blocks.json").read_text())]
        self.assertEqual(sorted(names), sorted(file.name for file in blocks.glob("*.tosa")))
        self.assertGreater(len(names), 2)
        parts = self.evaluate(blocks / "model.blocks.json", "tosa-reference", sample)
        for name, value in reals.items():
            np.testing.assert_array_equal(parts[name], value)

    def testCacheMaskAndBuckets(self):
        model = self.folder / "attention.onnx"
        attention(model)
        random = np.random.default_rng(6)
        calibration = []
        for past in (7, 15):
            for name, count in (("calib", 8), ("eval", 3)):
                folder = self.folder / f"{name}{past}"
                folder.mkdir()
                for i in range(count):
                    np.savez(folder / f"{i}.npz", **attentionSample(random, past))
            calibration += ["--calib", self.folder / f"calib{past}"]
        for recipe in ("w8a8", "w8a16"):
            grids = []
            for past in (7, 15):
                with self.subTest(past=past, recipe=recipe):
                    output, process = self.compile(model, *support.bind(P=past, L=past + 1), "--recipe", recipe, "--target", "tosa",
                                                   *calibration, "--eval", self.folder / f"eval{past}", name=f"{past}{recipe}")
                    self.assertIn("are equal to those of the TOSA reference model", process.stderr)
                    io = json.loads((output / "io.json").read_text())
                    tensors = {tensor["name"]: tensor for tensor in io["inputs"] + io["outputs"]}
                    grids.append({name: (tensor["type"], tensor["scale"], tensor["zero_point"]) for name, tensor in tensors.items()})
                    for index in range(3):
                        sample = self.folder / f"eval{past}/{index}.npz"
                        given = dict(np.load(sample))
                        found = self.evaluate(output / "attention.tosa", "tosa-reference", sample)
                        masked = np.broadcast_to(given["mask"] < 0, found["probs"].shape)
                        self.assertTrue((found["probs"][masked] == 0).all())
                        self.assertTrue((found["probs"][~masked] > 0).any())
                        # The cache keeps what it held and ends in the new token.
                        for name in ("k", "v"):
                            kept, step = found[f"present_{name}"], tensors[f"present_{name}"]["scale"]
                            self.assertEqual(kept.shape, (1, 4, past + 1, 8))
                            self.assertLessEqual(np.abs(kept[:, :, :past] - given[f"past_{name}"]).max(), 1.01 * step)
                        wanted = self.evaluate(support.quantizedModel(output), "onnxruntime", sample)
                        self.assertGreater(support.sqnr([wanted["out"]], [found["out"]]), 35 if recipe == "w8a8" else 60)
            # A cache moves from one bucket to the next as it is.
            self.assertEqual(grids[0], grids[1])
            for name in ("k", "v"):
                self.assertEqual(grids[0][f"past_{name}"], grids[0][f"present_{name}"])

    def testAWiderFormIsInTheTrace(self):
        model = self.folder / "long.onnx"
        weights = numpy_helper.from_array(np.ones((140000, 4), np.float32), "w")
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "long")], "g",
                                  [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 140000])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])], [weights])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
        output, process = self.compile(model, "--recipe", "w8a8", "--target", "tosa", "--calib", "random:4")
        self.assertIn("are equal to those of the TOSA reference model", process.stderr)
        decisions = [event["decision"] for event in json.loads((output / "trace.json").read_text())["events"]
                     if event["node"] == "long" and event["phase"] == "lower"]
        self.assertEqual(len(decisions), 1, decisions)
        self.assertRegex(decisions[0], "more than 32 bits hold: the input is widened to 16 bits")

    def testSnapdragonHasTheFigureToo(self):
        output, _ = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a16", "--target", "snapdragon-8gen2", "--emit", "qdq")
        report = json.loads((output / "report.json").read_text())
        figures = {metric["arithmetic"]: metric["value"] for metric in report["metrics"] if metric["name"] == "sqnr"}
        self.assertLess(abs(figures["tosa"] - figures["fake-quant"]), 0.3)
        self.assertNotEqual(report["evaluation"]["headline_arithmetic"], "tosa")

    def testEthosU85(self):
        output, process = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a8", "--target", "ethos-u85-1024")
        self.assertRegex(process.stderr, r"binary: \d+ operators on the NPU, 0 on the CPU")
        self.run_("verify", output)
        report = json.loads((output / "report.json").read_text())
        program = report["npu_program"]
        self.assertEqual(program["operators_on_cpu"], 0)
        for key in ("cycles", "sram_bytes", "original_weight_bytes", "encoded_weight_bytes"):
            self.assertGreater(program[key], 0, key)
        self.assertGreater(len(program["operators"]), 50)
        self.assertEqual(report["evaluation"]["headline_arithmetic"], "tosa")
        self.assertIn("cycles", (output / "report.md").read_text())
        io = json.loads((output / "io.json").read_text())
        self.assertEqual((io["model"], io["binary"]["file"], io["target"]), ("model.tosa", "model_vela.npz", "ethos-u85-1024"))
        self.assertEqual(io["vela_version"], "5.2.0")

        blocks, _ = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a8", "--target", "ethos-u85-1024", "--file-per-block",
                                 name="blocks")
        self.run_("verify", blocks)
        parts = json.loads((blocks / "report.json").read_text())["npu_program"]
        names = [entry["file"] for entry in json.loads((blocks / "model.blocks.json").read_text())]
        self.assertEqual(parts["files"], len(names))
        self.assertTrue(all((blocks / name.replace(".tosa", "_vela.npz")).exists() for name in names))
        self.assertEqual(parts["operators_on_cpu"], 0)
        self.assertLess(abs(parts["cycles"] / program["cycles"] - 1), 0.2)

    def testWithoutVela(self):
        missing = {**os.environ, "NIBBLE_VELA": str(self.folder / "nowhere")}
        output, process = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a8", "--target", "ethos-u85-1024", code=3, env=missing)
        self.assertRegex(process.stderr, "NIBBLE_VELA: wanted the program vela")
        # What does not need Vela is there.
        self.assertTrue((output / "model.tosa").exists() and (output / "io.json").exists())
        self.assertTrue(any("no binary was written" in note for note in json.loads((output / "report.json").read_text())["notes"]))
        other = self.folder / "vela"
        other.write_text("#!/bin/sh\necho 4.1.0\n")
        other.chmod(0o755)
        _, process = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a8", "--target", "ethos-u85-1024", name="old", code=3,
                                  env={**os.environ, "NIBBLE_VELA": str(other)})
        self.assertIn("wanted vela of version 5.2.0, found version 4.1.0", process.stderr)

    def testWithoutReferenceModel(self):
        missing = {**os.environ, "NIBBLE_TOSA_REFERENCE_MODEL": str(self.folder / "nowhere")}
        output, process = self.compile(*support.TEXT_ENCODER, "--recipe", "w8a8", "--target", "tosa", env=missing)
        self.assertIn("the integer program was not run in the TOSA reference model", process.stderr)
        notes = json.loads((output / "report.json").read_text())["notes"]
        self.assertTrue(any("not run in the TOSA reference model" in note for note in notes))

    def testWhatTargetsLack(self):
        self.refused(3, EMBEDDING, "compile", *support.TEXT_ENCODER, "--recipe", "w8a8", "--target", "ethos-u55-256", *QUIET,
                     "-o", self.folder / "u55")
        self.refused(1, "--file-per-block has no effect", "compile", *support.SMALL, "--recipe", "w8a8", "--file-per-block", *QUIET,
                     "-o", self.folder / "onnx")
        self.refused(1, "Vela has no option 'accelerator'", "compile", *support.SMALL, "--recipe", "w8a8", "--target",
                     "ethos-u85-1024", "--vendor-option", "accelerator=x", *QUIET, "-o", self.folder / "option")


if __name__ == "__main__":
    unittest.main()

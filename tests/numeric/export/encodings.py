"""Files of encodings, read as their specification says, against numpy on the numbers that went in."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np

import programs
from programs import Program, export

SEED = 11


def write(program, results, version):
    """Returns (file as text, printed lines, error text)."""
    tool = pathlib.Path(os.environ["NIBBLE_BIN"]) / "export-tool"
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "in.mlir", pathlib.Path(folder) / "out.encodings"
        source.write_text(program.text(results))
        done = subprocess.run([tool, source, target, "encodings-" + version], capture_output=True, text=True)
        text = target.read_text() if done.returncode == 0 else None
        left = [file.name for file in pathlib.Path(folder).iterdir()]
        assert done.returncode == 0 or left == ["in.mlir"], left
    return text, done.stdout.splitlines(), done.stderr


def realWeights(entry, stored):
    """The reals of unsigned integers `stored` [out, in] by an entry of version 1.0.0."""
    scale, offset = np.float32(entry["scale"]), np.array(entry["offset"], np.int64)
    if entry["enc_type"] == "PER_TENSOR":
        return (stored + offset[0]) * scale[0]
    if entry["enc_type"] == "PER_CHANNEL":
        return (stored + offset[:, None]) * scale[:, None]
    outputs, inputs = stored.shape
    if entry["enc_type"] == "LPBQ":
        multipliers = np.array(entry["per_block_int_scale"]).reshape(outputs, -1)
        scale = scale[:, None] * multipliers
        offset = np.full(scale.shape, -(2 ** (entry["compressed_bw"] - 1)))
    scale, offset = scale.reshape(outputs, -1), offset.reshape(outputs, -1)
    take = np.arange(inputs) // entry["block_size"]
    return (stored + offset[:, take]) * scale[:, take]


class Encodings(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(SEED)
        self.p = p = Program()
        x = p.input("x", [2, 4, 16])
        p.quantizer("x_q", "uint16", 0.001, 31000)
        p.quantizer("y_q", "int8", 0.05, -7)
        self.stored = self.random.integers(-128, 128, size=(16, 6))
        self.scale = self.random.uniform(0.01, 0.02, size=6).astype(np.float32)
        p.quantizer("w_q", "int8", self.scale, axis=1, symmetric=True)
        a = p.fakeQuant("xq", x, "x_q")
        p.op("t", "transpose", [a], [4, 2, 16], "{perm = array<i64: 1, 0, 2>}")
        p.op("y", "matmul", ["t", p.weight("w", self.stored, "int8", "w_q")], [4, 2, 6])
        p.op("moved", "reshape", ["y", p.constant("s", [8, 6], "int64")], [8, 6])
        p.op("z", "relu", [p.fakeQuant("movedq", "moved", "y_q")], [8, 6])
        self.results = "z"

    def testVersion061(self):
        text, _, _ = write(self.p, self.results, "0.6.1")
        file = json.loads(text)
        self.assertEqual(file["version"], "0.6.1")
        activations = file["activation_encodings"]
        # The transposed input inherits, and so does what only the reshape reads; the last output is float.
        self.assertEqual(set(activations), {"x", "t", "y", "moved", "z"})
        self.assertEqual(activations["t"], activations["x"])
        self.assertEqual(activations["y"], activations["moved"])
        self.assertEqual(activations["z"], [{"bitwidth": 32, "dtype": "float"}])
        (x,) = activations["x"]
        self.assertEqual((x["bitwidth"], x["offset"], x["is_symmetric"], np.float32(x["scale"])),
                         (16, -31000, "False", np.float32(0.001)))
        self.assertAlmostEqual(x["min"], -31.0, places=5)
        self.assertAlmostEqual(x["max"], (65535 - 31000) * 0.001, places=5)
        (y,) = activations["y"]
        self.assertEqual((y["bitwidth"], y["offset"]), (8, -121))
        channels = file["param_encodings"]["w"]
        np.testing.assert_array_equal(np.float32([c["scale"] for c in channels]), self.scale)
        self.assertEqual({(c["offset"], c["is_symmetric"]) for c in channels}, {(-128, "True")})
        self.assertEqual(file["quantizer_args"]["activation_bitwidth"], 8)
        self.assertEqual(file["quantizer_args"]["param_bitwidth"], 8)

    def testVersion100(self):
        text, _, _ = write(self.p, self.results, "1.0.0")
        file = json.loads(text)
        activations = {entry["name"]: entry for entry in file["activation_encodings"]}
        self.assertEqual(list(activations), ["x", "t", "y", "moved", "z"])
        self.assertEqual(activations["z"], {"bw": 32, "dtype": "FLOAT", "enc_type": "PER_TENSOR", "name": "z"})
        self.assertEqual(activations["y"]["offset"], [-121])
        (w,) = file["param_encodings"]
        real = realWeights(w, self.stored.T + 128)
        np.testing.assert_array_equal(real.astype(np.float32), (self.stored.T * self.scale[:, None]).astype(np.float32))

    def testVersion200(self):
        text, _, _ = write(self.p, self.results, "2.0.0")
        entries = {entry["name"]: entry for entry in json.loads(text)["encodings"]}
        self.assertEqual(list(entries), ["x", "t", "w", "y", "moved"])
        self.assertEqual((entries["x"]["output_dtype"], entries["x"]["y_zero_point"]), ("uint16", 31000))
        self.assertEqual((entries["y"]["output_dtype"], entries["y"]["y_zero_point"]), ("int8", -7))
        w = entries["w"]
        self.assertNotIn("y_zero_point", w)
        self.assertEqual((w["axis"], w["output_dtype"]), (1, "int8"))
        np.testing.assert_array_equal(np.float32(w["y_scale"]), self.scale)

    def testNamesAreThoseOfTheFloatModel(self):
        model, _, _ = export(self.p, self.results, form="float")
        tensors = {i.name for i in model.graph.input} | {o for n in model.graph.node for o in n.output}
        tensors |= {t.name for t in model.graph.initializer}
        for version in ("0.6.1", "1.0.0", "2.0.0"):
            file = json.loads(write(self.p, self.results, version)[0])
            named = [*file.get("activation_encodings", []), *file.get("param_encodings", []), *file.get("encodings", [])]
            for entry in named:
                self.assertIn(entry if isinstance(entry, str) else entry["name"], tensors)

    def blocked(self, storage, multipliers=None, transposed=False):
        k, n, block = 64, 6, 16
        axis, shape = (1, (n, k)) if transposed else (0, (k, n))
        blocks = (n, k // block) if transposed else (k // block, n)
        low, high = programs.RANGE[storage]
        stored = self.random.integers(low, high + 1, size=shape)
        p = Program()
        x = p.input("x", [2, k])
        options = dict(axis=axis, block_size=block)
        if multipliers is not None:
            multipliers, scale = self.random.integers(1, 17, size=blocks), self.random.uniform(0.1, 1, size=n)
            real = multipliers * (scale[:, None] if transposed else scale).astype(np.float32)
            options.update(channel_axis=1 - axis, multipliers=multipliers, symmetric=True)
            zero = np.zeros(blocks, int)
            p.quantizer("w_q", storage, scale.astype(np.float32), **options)
        else:
            scale, zero = self.random.uniform(0.1, 1, size=blocks).astype(np.float32), np.zeros(blocks, int)
            if low == 0:
                zero = self.random.integers(low, high + 1, size=blocks)
            real = scale
            p.quantizer("w_q", storage, scale, zero, **options)
        attributes = "{trans_b = true}" if transposed else ""
        p.op("y", "gemm" if transposed else "matmul", [x, p.weight("w", stored, storage, "w_q")], [2, n], attributes)
        take = np.arange(k) // block
        real = (stored - np.take(zero, take, axis=axis)) * np.take(real, take, axis=axis)
        unsigned = stored - low
        return p, (unsigned if transposed else unsigned.T), (real if transposed else real.T).astype(np.float32)

    def testBlocks(self):
        for storage in ("int4", "uint4", "int8"):
            for transposed in (False, True):
                with self.subTest(storage=storage, transposed=transposed):
                    p, stored, real = self.blocked(storage, transposed=transposed)
                    (w,) = json.loads(write(p, "y", "1.0.0")[0])["param_encodings"]
                    self.assertEqual((w["enc_type"], w["block_size"]), ("PER_BLOCK", 16))
                    np.testing.assert_array_equal(realWeights(w, stored).astype(np.float32), real)
                    (w,) = json.loads(write(p, "y", "2.0.0")[0])["encodings"]
                    self.assertEqual((w["axis"], w["block_size"], w["output_dtype"]), (int(transposed), 16, storage))
                    scale = np.repeat(np.float32(w["y_scale"]), 16, axis=w["axis"])
                    zero = np.repeat(w.get("y_zero_point", np.zeros(np.shape(w["y_scale"]), int)), 16, axis=w["axis"])
                    natural = (stored if transposed else stored.T) + programs.RANGE[storage][0]
                    found = ((natural - zero) * scale).astype(np.float32)
                    np.testing.assert_array_equal(found if transposed else found.T, real)
                    _, _, error = write(p, "y", "0.6.1")
                    self.assertIn("error: tensor 'w' has an encoding in blocks, which encodings 0.6.1", error)

    def testLPBQ(self):
        for transposed in (False, True):
            with self.subTest(transposed=transposed):
                p, stored, real = self.blocked("int4", multipliers=True, transposed=transposed)
                (w,) = json.loads(write(p, "y", "1.0.0")[0])["param_encodings"]
                self.assertEqual((w["enc_type"], w["bw"], w["compressed_bw"], w["offset"]), ("LPBQ", 8, 4, [-128] * 6))
                np.testing.assert_array_equal(realWeights(w, stored).astype(np.float32), real)
                (w,) = json.loads(write(p, "y", "2.0.0")[0])["encodings"]
                self.assertEqual(np.shape(w["per_channel_float_scale"]), (6, 1) if transposed else (1, 6))
                scale = np.float32(w["per_channel_float_scale"]) * np.array(w["per_block_int_scale"])
                found = (np.repeat(scale, 16, axis=w["axis"]) * ((stored if transposed else stored.T) - 8)).astype(np.float32)
                np.testing.assert_array_equal(found if transposed else found.T, real)

    def testTwoReadersAreNoted(self):
        p = Program()
        x = p.input("x", [8])
        p.quantizer("a", "uint16", 0.001, 30000)
        p.quantizer("b", "uint8", 0.05, 120)
        p.op("y", "add", [p.fakeQuant("xa", x, "a"), p.fakeQuant("xb", x, "b")], [8])
        text, lines, _ = write(p, "y", "1.0.0")
        self.assertEqual(lines, ["note tensor 'x' is also read through quantizer @b, which a file of encodings cannot state"])
        self.assertEqual(json.loads(text)["activation_encodings"][0]["bw"], 16)


if __name__ == "__main__":
    unittest.main(verbosity=2)

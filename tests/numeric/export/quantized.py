"""Exports of quantized programs, run by ONNX Runtime, against numpy on the same integers."""
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np
import onnx.helper as helper
import onnx.numpy_helper

import programs
from programs import Program, export, fakeQuantize, quantize, reexport, run

SEED = 20240613


def closeTo(test, found, wanted, quantum):
    """Equal but for the order of additions: a hundredth of a quantum, or 1e-5 of the range."""
    bound = max(quantum / 100, 1e-5 * float(np.abs(wanted).max()))
    test.assertEqual(found.shape, wanted.shape)
    test.assertLessEqual(float(np.abs(found.astype(np.float64) - wanted).max()), bound)


def expandBlocks(values, axis, blockSize, extent):
    return np.take(np.repeat(values, blockSize, axis=axis), np.arange(extent), axis=axis)


class Quantized(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(SEED)

    def activations(self, *shape):
        return self.random.normal(size=shape).astype(np.float32)

    def integers(self, storage, shape, low=None, high=None):
        least, most = programs.RANGE[storage]
        return self.random.integers(least if low is None else low, (most if high is None else high) + 1, size=shape)

    def scales(self, *shape):
        return (self.random.uniform(0.5, 1.5, size=shape) / 64).astype(np.float32)

    def checkBoth(self, contents, inputs, wanted, quantum=0.0):
        for optimize in (False, True):
            with self.subTest(optimize=optimize):
                closeTo(self, run(contents, inputs, optimize)[0], wanted, quantum)

    def testActivations(self):
        for storage, scale, zeroPoint in (("uint8", 0.02, 117), ("int8", 0.02, -3), ("uint16", 1e-4, 31000),
                                          ("int16", 1e-4, 0)):
            with self.subTest(storage=storage):
                p = Program()
                x = p.input("x", [3, 40])
                p.quantizer("q", storage, scale, zeroPoint)
                p.op("y", "relu", [p.fakeQuant("x_q", x, "q")], [3, 40])
                _, contents, _ = export(p, "y")
                value = self.activations(3, 40) * 3
                wanted = np.maximum(fakeQuantize(value, scale, zeroPoint, storage), 0)
                np.testing.assert_array_equal(run(contents, {"x": value})[0], wanted)

    def testNarrowRange(self):
        p = Program()
        x = p.input("x", [64])
        p.quantizer("q", "int8", 0.05, 0, quant_min=-7, quant_max=7)
        p.op("y", "neg", [p.fakeQuant("x_q", x, "q")], [64])
        _, contents, _ = export(p, "y")
        value = self.activations(64)
        wanted = -(np.clip(np.rint(value / np.float32(0.05)), -7, 7).astype(np.float32) * np.float32(0.05))
        np.testing.assert_array_equal(run(contents, {"x": value})[0], wanted)

    def testConvert(self):
        p = Program()
        x = p.input("x", [64])
        p.quantizer("narrow", "uint8", 0.05, 100)
        p.quantizer("wide", "uint16", 2e-4, 30000)
        p.op("y", "neg", [p.fakeQuant("b", p.fakeQuant("a", x, "narrow"), "wide")], [64])
        model, contents, _ = export(p, "y")
        self.assertEqual([n.op_type for n in model.graph.node][:4],
                         ["QuantizeLinear", "DequantizeLinear", "QuantizeLinear", "DequantizeLinear"])
        value = self.activations(64)
        wanted = -fakeQuantize(fakeQuantize(value, 0.05, 100, "uint8"), 2e-4, 30000, "uint16")
        np.testing.assert_array_equal(run(contents, {"x": value})[0], wanted)

    def testMatMulWeights(self):
        for k, n in ((64, 24), (48, 7)):
            for storage in ("int8", "int4", "uint8", "int16"):
                for granularity in ("tensor", "channel"):
                    with self.subTest(k=k, n=n, storage=storage, granularity=granularity):
                        p = Program()
                        x = p.input("x", [5, k])
                        stored = self.integers(storage, (k, n))
                        scale = self.scales(n) if granularity == "channel" else np.float32(0.01)
                        zero = np.full(np.shape(scale), 120 if storage == "uint8" else 0)
                        p.quantizer("w_q", storage, scale, zero, **({"axis": 1} if granularity == "channel" else {}))
                        p.op("y", "matmul", [x, p.weight("w", stored, storage, "w_q")], [5, n])
                        _, contents, _ = export(p, "y")
                        value = self.activations(5, k)
                        self.checkBoth(contents, {"x": value}, value.astype(np.float64) @ ((stored - zero) * scale))

    def testBlockedWeights(self):
        for k, n, block in ((64, 24, 16), (96, 40, 32), (80, 8, 32), (256, 64, 128)):
            for storage in ("int4", "uint4", "int8"):
                for transposed in (False, True):
                    with self.subTest(k=k, n=n, block=block, storage=storage, transposed=transposed):
                        axis, shape = (1, (n, k)) if transposed else (0, (k, n))
                        blocks = list(shape)
                        blocks[axis] = -(-k // block)
                        stored = self.integers(storage, shape)
                        scale = self.scales(*blocks)
                        zero = self.integers(storage, blocks) if storage == "uint4" else np.zeros(blocks, int)
                        real = (stored - expandBlocks(zero, axis, block, k)) * expandBlocks(scale, axis, block, k)
                        p = Program()
                        x = p.input("x", [5, k])
                        p.quantizer("w_q", storage, scale, zero, axis=axis, block_size=block)
                        w = p.weight("w", stored, storage, "w_q")
                        if transposed:
                            p.op("y", "gemm", [x, w], [5, n], "{trans_b = true}")
                            real = real.T
                        else:
                            p.op("y", "matmul", [x, w], [5, n])
                        _, contents, _ = export(p, "y")
                        value = self.activations(5, k)
                        self.checkBoth(contents, {"x": value}, value.astype(np.float64) @ real)

    def testLPBQ(self):
        k, n, block = 128, 24, 32
        stored = self.integers("int4", (k, n))
        multipliers = self.random.integers(1, 17, size=(k // block, n))
        channel = self.scales(n)
        p = Program()
        x = p.input("x", [5, k])
        p.quantizer("w_q", "int4", channel, multipliers=multipliers, axis=0, block_size=block, channel_axis=1,
                    symmetric=True)
        p.op("y", "matmul", [x, p.weight("w", stored, "int4", "w_q")], [5, n])
        model, contents, _ = export(p, "y")
        self.assertEqual([node.op_type for node in model.graph.node], ["DequantizeLinear", "DequantizeLinear", "MatMul"])
        value = self.activations(5, k)
        real = stored * np.repeat(multipliers * channel, block, axis=0)
        self.checkBoth(contents, {"x": value}, value.astype(np.float64) @ real)

    def testConvolution(self):
        for storage in ("int8", "int4"):
            with self.subTest(storage=storage):
                stored, scale = self.integers(storage, (6, 4, 3, 3)), self.scales(6)
                biasStored, biasScale = self.integers("int32", (6,), -4000, 4000), (self.scales(6) / 64)
                p = Program()
                x = p.input("x", [2, 4, 8, 8])
                p.quantizer("x_q", "uint8", 0.03, 128)
                p.quantizer("w_q", storage, scale, axis=0)
                p.quantizer("b_q", "int32", biasScale, axis=0)
                p.quantizer("y_q", "uint8", 0.05, 110)
                operands = [p.fakeQuant("xq", x, "x_q"), p.weight("w", stored, storage, "w_q"),
                            p.weight("b", biasStored, "int32", "b_q")]
                p.op("y", "conv", operands, [2, 6, 4, 4],
                     "{strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}")
                p.fakeQuant("yq", "y", "y_q")
                model, contents, _ = export(p, {"y": "yq"})
                self.assertEqual(model.graph.output[0].name, "y")
                value = self.activations(2, 4, 8, 8)
                real = (stored * scale[:, None, None, None]).astype(np.float32)
                bias = (biasStored * biasScale).astype(np.float32)
                node = helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])
                graph = helper.make_graph([node], "reference", [helper.make_tensor_value_info("x", 1, [2, 4, 8, 8])],
                                          [helper.make_tensor_value_info("y", 1, None)],
                                          [onnxTensor("w", real), onnxTensor("b", bias)])
                reference = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
                wanted = run(reference.SerializeToString(), {"x": fakeQuantize(value, 0.03, 128, "uint8")})[0]
                wanted = fakeQuantize(wanted, 0.05, 110, "uint8")
                # A sum that lies on the edge between two quanta may round either way.
                found = run(contents, {"x": value})[0]
                quanta = np.rint((found - wanted) / 0.05)
                self.assertLessEqual(np.abs(quanta).max(), 1)
                self.assertLessEqual(np.count_nonzero(quanta), quanta.size // 100)

    def testIntegerIO(self):
        p = Program()
        x, ids = p.input("x", [4, 8]), p.input("ids", [2], "int64")
        p.quantizer("x_q", "uint16", 1e-3, 30000)
        p.quantizer("y_q", "uint16", 2e-3, 10000)
        a = p.fakeQuant("a", x, "x_q")
        p.op("g", "gather", [a, ids], [2, 8])
        p.fakeQuant("y", "g", "y_q")
        p.op("z", "relu", ["y"], [2, 8])
        model, contents, lines = export(p, {"g": "y", "z": "z", "again": "y"}, arguments=["--integer-io"])
        self.assertEqual(lines, ["input x uint16 0.00100000005 30000", "output g uint16 0.00200000009 10000",
                                 "output again uint16 0.00200000009 10000"])
        kinds = [node.op_type for node in model.graph.node]
        # Integers that leave twice are rounded twice, as the vendor's compiler takes no Identity of them.
        self.assertEqual(kinds, ["DequantizeLinear", "Gather", "QuantizeLinear", "DequantizeLinear", "Relu",
                                 "DequantizeLinear", "QuantizeLinear"])
        stored = self.integers("uint16", (4, 8)).astype(np.uint16)
        index = np.array([3, 1])
        found, relu, again = run(contents, {"x": stored, "ids": index})
        real = (stored.astype(np.int64) - 30000).astype(np.float32)[index] * np.float32(1e-3)
        np.testing.assert_array_equal(found, quantize(real, 2e-3, 10000, "uint16"))
        np.testing.assert_array_equal(again, found)
        np.testing.assert_array_equal(relu, np.maximum((found.astype(int) - 10000).astype(np.float32) * np.float32(2e-3), 0))

    def testInputReadInFloatStaysFloat(self):
        p = Program()
        x = p.input("x", [8])
        p.quantizer("x_q", "uint8", 0.05, 128)
        p.op("y", "add", [p.fakeQuant("a", x, "x_q"), x], [8])
        model, contents, lines = export(p, "y", arguments=["--integer-io"])
        self.assertEqual(lines, [])
        value = self.activations(8)
        np.testing.assert_array_equal(run(contents, {"x": value})[0], value + fakeQuantize(value, 0.05, 128, "uint8"))

    def testFloatForm(self):
        p = Program()
        x = p.input("x", [5, 16])
        p.quantizer("x_q", "uint8", 0.05, 128)
        stored, scale = self.integers("int8", (16, 4)), self.scales(4)
        p.quantizer("w_q", "int8", scale, axis=1)
        p.op("y", "matmul", [p.fakeQuant("a", x, "x_q"), p.weight("w", stored, "int8", "w_q")], [5, 4])
        p.fakeQuant("yq", "y", "x_q")
        model, contents, _ = export(p, {"y": "yq"}, form="float")
        self.assertEqual([node.op_type for node in model.graph.node], ["MatMul"])
        self.assertEqual([t.name for t in model.graph.initializer], ["w"])
        value = self.activations(5, 16)
        self.checkBoth(contents, {"x": value}, value.astype(np.float64) @ (stored * scale))

    def testExternalData(self):
        stored = self.integers("int8", (64, 64))
        p = Program()
        x = p.input("x", [2, 64])
        p.quantizer("w_q", "int8", 0.01)
        p.op("y", "matmul", [x, p.weight("w", stored, "int8", "w_q")], [2, 64])
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "in.mlir").write_text(p.text("y"))
            tool = pathlib.Path(os.environ["NIBBLE_BIN"]) / "export-tool"
            subprocess.run([tool, folder / "in.mlir", folder / "m.onnx", "qdq", "--threshold", "1000"], check=True)
            self.assertEqual(sorted(f.name for f in folder.iterdir()), ["in.mlir", "m.data", "m.onnx"])
            self.assertEqual((folder / "m.data").stat().st_size, 64 * 64)
            value = self.activations(2, 64)
            self.checkBoth(str(folder / "m.onnx"), {"x": value}, value.astype(np.float64) @ (stored * np.float32(0.01)))


def onnxTensor(name, values):
    return onnx.numpy_helper.from_array(values, name)


class MatMulNBits(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(SEED)

    def testBlocks(self):
        for storage in ("int4", "uint4", "int8", "uint8"):
            for k, n, block in ((64, 24, 32), (256, 40, 128), (80, 6, 32), (48, 5, 16)):
                for form in ("matmul", "gemm", "gemm-transposed"):
                    with self.subTest(storage=storage, k=k, n=n, block=block, form=form):
                        self.checkBlocks(storage, k, n, block, form)

    def checkBlocks(self, storage, k, n, block, form):
        low, high = programs.RANGE[storage]
        axis, shape = (1, (n, k)) if form == "gemm-transposed" else (0, (k, n))
        blocks = list(shape)
        blocks[axis] = -(-k // block)
        stored = self.random.integers(low, high + 1, size=shape)
        scale = (self.random.uniform(0.5, 1.5, size=blocks) / 64).astype(np.float32)
        zero = self.random.integers(low, high + 1, size=blocks) if low == 0 else np.zeros(blocks, int)
        real = (stored - expandBlocks(zero, axis, block, k)) * expandBlocks(scale, axis, block, k)
        p = Program()
        x = p.input("x", [3, k])
        p.quantizer("w_q", storage, scale, zero, axis=axis, block_size=block)
        w = p.weight("w", stored, storage, "w_q")
        bias = self.random.normal(size=n).astype(np.float32)
        if form == "matmul":
            p.op("y", "matmul", [x, w], [3, n])
            bias = 0
        else:
            attributes = "{trans_b = true}" if axis else ""
            p.op("y", "gemm", [x, w, p.constant("c", bias)], [3, n], attributes)
        model, contents, lines = export(p, "y", form="matmulnbits")
        self.assertEqual(lines, [])
        self.assertEqual([node.op_type for node in model.graph.node], ["MatMulNBits"] + ["Add"] * (form != "matmul"))
        value = self.random.normal(size=(3, k)).astype(np.float32)
        wanted = value.astype(np.float64) @ (real.T if axis else real) + bias
        for optimize in (False, True):
            closeTo(self, run(contents, {"x": value}, optimize)[0], wanted, 0)
        closeTo(self, run(reexport(contents), {"x": value})[0], wanted, 0)

    def testTables(self):
        index = np.array([[3, 0], [49, 3]])
        for storage in ("int4", "uint4", "int8", "uint8"):
            for zeros in (False, True):
                with self.subTest(storage=storage, zeros=zeros):
                    low, high = programs.RANGE[storage]
                    stored = self.random.integers(low, high + 1, size=(50, 64))
                    scale = self.random.uniform(0.5, 1.5, size=(50, 2)).astype(np.float32)
                    zero = self.random.integers(low, high + 1, size=(50, 2)) if zeros else None
                    p = Program()
                    ids = p.input("ids", index.shape, "int64")
                    p.quantizer("w_q", storage, scale, zero, axis=1, block_size=32)
                    p.op("y", "gather", [p.weight("w", stored, storage, "w_q"), ids], [2, 2, 64])
                    model, contents, lines = export(p, "y", form="matmulnbits")
                    self.assertEqual(lines, [])
                    self.assertEqual([node.op_type for node in model.graph.node], ["GatherBlockQuantized"])
                    real = stored - (np.repeat(zero, 32, axis=1) if zeros else 0)
                    wanted = (real * np.repeat(scale, 32, axis=1)).astype(np.float32)[index]
                    np.testing.assert_array_equal(run(contents, {"ids": index})[0], wanted)
                    np.testing.assert_array_equal(run(reexport(contents), {"ids": index})[0], wanted)

    def testChannels(self):
        for storage in ("int4", "int8", "uint8"):
            for k, n in ((64, 6), (256, 5), (688, 7), (1000, 3)):
                for granularity in ("channel", "tensor"):
                    with self.subTest(storage=storage, k=k, n=n, granularity=granularity):
                        low, high = programs.RANGE[storage]
                        stored = self.random.integers(low, high + 1, size=(k, n))
                        scale = self.random.uniform(0.01, 0.02, size=n).astype(np.float32)
                        options = dict(axis=1)
                        if granularity == "tensor":
                            scale, options = scale[0], {}
                        zero = np.full(np.shape(scale), 130 if low == 0 else 0)
                        p = Program()
                        x = p.input("x", [3, k])
                        p.quantizer("w_q", storage, scale, zero, **options)
                        p.op("y", "matmul", [x, p.weight("w", stored, storage, "w_q")], [3, n])
                        model, contents, lines = export(p, "y", form="matmulnbits")
                        self.assertEqual((lines, [node.op_type for node in model.graph.node]), ([], ["MatMulNBits"]))
                        value = self.random.normal(size=(3, k)).astype(np.float32)
                        wanted = value.astype(np.float64) @ ((stored - zero) * scale)
                        for optimize in (False, True):
                            closeTo(self, run(contents, {"x": value}, optimize)[0], wanted, 0)

    def testTablesWithOneScalePerRow(self):
        for storage in ("int4", "uint4", "int8"):
            with self.subTest(storage=storage):
                low, high = programs.RANGE[storage]
                stored = self.random.integers(low, high + 1, size=(20, 300))
                scale = self.random.uniform(0.5, 1.5, size=20).astype(np.float32)
                zero = self.random.integers(low, high + 1, size=20)
                p = Program()
                ids = p.input("ids", [3], "int64")
                p.quantizer("w_q", storage, scale, zero, axis=0)
                p.op("y", "gather", [p.weight("w", stored, storage, "w_q"), ids], [3, 300])
                model, contents, _ = export(p, "y", form="matmulnbits")
                self.assertEqual([node.op_type for node in model.graph.node], ["GatherBlockQuantized"])
                index = np.array([3, 19, 0])
                wanted = ((stored - zero[:, None]) * scale[:, None]).astype(np.float32)[index]
                np.testing.assert_array_equal(run(contents, {"ids": index})[0], wanted)

    def testOthersStay(self):
        p = Program()
        x = p.input("x", [3, 48])
        stored, scale = self.random.integers(-8, 8, size=(48, 6)), np.full(48, 0.1, np.float32)
        p.quantizer("w_q", "int4", scale, axis=0)
        p.op("y", "matmul", [x, p.weight("w", stored, "int4", "w_q")], [3, 6])
        model, contents, lines = export(p, "y", form="matmulnbits")
        self.assertEqual(lines, ["note node 'node_y' keeps its weight in DequantizeLinear form: "
                                 "scales of its weight run along the wrong axis"])
        value = self.random.normal(size=(3, 48)).astype(np.float32)
        closeTo(self, run(contents, {"x": value})[0], value.astype(np.float64) @ (stored * scale[:, None]), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

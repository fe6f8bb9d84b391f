"""Every operation of an integer program in a file of ours and in one of the reference serializer: the reference model
computes the same from both, and warns about neither; and Nibble's integer runtime computes the same."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import numpy as np

BIN = pathlib.Path(os.environ["NIBBLE_BIN"])
CACHE = pathlib.Path(os.environ.get("NIBBLE_CACHE_DIR", pathlib.Path.home() / ".cache/nibble"))
ARM = pathlib.Path(os.environ.get("NIBBLE_ARM_VENV", CACHE / "arm-venv"))
SCHEMA = next(iter(ARM.glob("lib/python3*/site-packages/bin/tosa.fbs")), None)
# Files say version 1.0 of the specification, and not which software wrote them.
HARMLESS = re.compile(r"before software version|backward compatible with serializer version|^\s*$")
NUMPY = {"i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i48": np.int64}


class Graph:
    """A function of TOSA operations in MLIR's generic form."""

    def __init__(self):
        self.inputs, self.lines, self.outputs = [], [], []

    def input(self, element, *shape):
        self.inputs.append((element, shape))
        return f"%x{len(self.inputs) - 1}", type_of(element, shape)

    def op(self, name, operands, element, shape, properties=""):
        value = f"%v{len(self.lines)}"
        result = f"!tosa.shape<{shape[0]}>" if element == "shape" else type_of(element, shape)
        dictionary = f"<{{{properties}}}> " if properties else ""
        self.lines.append(f'{value} = "tosa.{name}"({", ".join(o[0] for o in operands)}) {dictionary}: '
                          f'({", ".join(o[1] for o in operands)}) -> {result} loc("node {len(self.lines)}")')
        return value, result

    def const(self, element, values):
        values = np.asarray(values)
        text = str(values.tolist()).lower() if values.size else "[]"
        return self.op("const", [], element, values.shape, f"values = dense<{text}> : {type_of(element, values.shape)}")

    def shape(self, *values):
        return self.op("const_shape", [], "shape", (len(values),),
                       f"values = dense<{list(values)}> : tensor<{len(values)}xindex>")

    def output(self, value):
        self.outputs.append(value)

    def text(self):
        arguments = ", ".join(f"%x{i}: {type_of(*x)}" for i, x in enumerate(self.inputs))
        types = ", ".join(o[1] for o in self.outputs)
        return (f"func.func @main({arguments}) -> ({types}) {{\n  " + "\n  ".join(self.lines) +
                f"\n  return {', '.join(o[0] for o in self.outputs)} : {types}\n}}\n")


def type_of(element, shape):
    return f"tensor<{''.join(f'{d}x' for d in shape)}{element}>"


def array(*values):
    return f"array<i64: {', '.join(map(str, values))}>"


def modelOutputs(path, inputs, count):
    """What the reference model computes; any line it prints is a failure."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for i, value in enumerate(inputs):
            np.save(folder / f"i{i}.npy", value)
        names = lambda stem, n: ",".join(f"{stem}_{i}" for i in range(n))
        files = lambda stem, n: ",".join(str(folder / f"{stem}{i}.npy") for i in range(n))
        done = subprocess.run([ARM / "bin/tosa_reference_model", "--tosa_level=EIGHTK", f"--tosa_file={path}",
                               f"--ifm_name={names('TosaInput', len(inputs))}", f"--ifm_file={files('i', len(inputs))}",
                               f"--ofm_name={names('TosaOutput', count)}", f"--ofm_file={files('o', count)}"],
                              capture_output=True, text=True)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if not HARMLESS.search(line)]
        assert done.returncode == 0 and not lines, (done.returncode, lines)
        return [np.load(folder / f"o{i}.npy") for i in range(count)]


def runtimeOutputs(graph, inputs, mode, threads=2, **environment):
    """What Nibble's integer runtime computes."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "m.mlir").write_text(graph.text())
        np.savez(folder / "in.npz", **{f"in{i}": value for i, value in enumerate(inputs)})
        done = subprocess.run([BIN / "run-integer", mode, folder / "m.mlir", folder / "in.npz", folder / "out.npz", str(threads)],
                              capture_output=True, text=True, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr
        outputs = np.load(folder / "out.npz")
        return [outputs[f"out{i}"] for i in range(len(graph.outputs))]


MODES = ("plain", "checked", "observed")


class Operators(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(3)
        self.g = Graph()

    def check(self):
        g = self.g
        inputs = []
        for element, shape in g.inputs:
            low, high = {"i1": (0, 2), "i8": (-128, 128), "i16": (-32768, 32768), "i32": (-2**20, 2**20)}[element]
            inputs.append(self.random.integers(low, high, shape).astype(NUMPY[element]))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            source, ours, theirs = folder / "m.mlir", folder / "ours.tosa", folder / "theirs.tosa"
            source.write_text(g.text())
            subprocess.run([BIN / "write-tosa", source, ours], check=True)
            subprocess.run([ARM / "bin/tosa-opt", source, "--tosa-serialize", f"--tosa-flatbuffer-filename={theirs}",
                            f"--tosa-flatbuffer-schema={SCHEMA}", "-o", os.devnull], check=True)
            mine = modelOutputs(ours, inputs, len(g.outputs))
            wanted = modelOutputs(theirs, inputs, len(g.outputs))
        for i, (a, b) in enumerate(zip(mine, wanted)):
            self.assertEqual(a.dtype, b.dtype)
            np.testing.assert_array_equal(a, b, err_msg=f"output {i}: {g.outputs[i]}\n{g.text()}")
            self.assertGreater(len(np.unique(a)), 1, f"output {i} is constant and shows nothing")
        for mode in MODES:
            for i, (a, b) in enumerate(zip(runtimeOutputs(g, inputs, mode), wanted)):
                # The reference model has files of 32 bits for what has 32 or fewer, and of bytes for conditions.
                np.testing.assert_array_equal(a.astype(np.int64), b.astype(np.int64), err_msg=f"{mode}, output {i}\n{g.text()}")

    def zero(self, element):
        return self.g.const(element, [0])

    def weights(self, element, *shape):
        low, high = {"i4": (-7, 8), "i8": (-127, 128)}[element]
        return self.g.const(element, self.random.integers(low, high, shape))

    def convolution(self, name, activation, weight, accumulator, inputShape, weightShape, outputShape, channels, extra):
        g = self.g
        bias = g.const(accumulator, self.random.integers(-1000, 1000, channels))
        zero = g.const("i8", [3]) if activation == "i8" else self.zero("i16")
        g.output(g.op(name, [g.input(activation, *inputShape), self.weights(weight, *weightShape), bias, zero,
                             self.zero(weight)], accumulator, outputShape, f"acc_type = {accumulator}, {extra}"))

    def testConvolutions(self):
        window = f"pad = {array(1, 0, 0, 1)}, stride = {array(1, 2)}, dilation = {array(2, 1)}"
        for activation, weight, accumulator in (("i8", "i8", "i32"), ("i8", "i4", "i32"), ("i16", "i8", "i48")):
            self.convolution("conv2d", activation, weight, accumulator, (1, 6, 5, 3), (4, 3, 2, 3), (1, 3, 3, 4), 4, window)
        self.convolution("depthwise_conv2d", "i8", "i8", "i32", (1, 6, 5, 3), (3, 2, 3, 2), (1, 3, 3, 6), 6, window)
        self.convolution("conv3d", "i8", "i8", "i32", (1, 4, 4, 4, 2), (3, 2, 2, 2, 2), (1, 3, 3, 3, 3), 3,
                         f"pad = {array(*[0] * 6)}, stride = {array(1, 1, 1)}, dilation = {array(1, 1, 1)}")
        self.convolution("transpose_conv2d", "i8", "i8", "i32", (1, 4, 4, 2), (3, 2, 2, 2), (1, 8, 9, 3), 3,
                         f"out_pad = {array(0, 0, 1, 0)}, stride = {array(2, 2)}")
        self.check()

    def testProducts(self):
        g = self.g
        for element, accumulator in (("i8", "i32"), ("i16", "i48")):
            zeros = [g.const("i8", [5]), g.const("i8", [-7])] if element == "i8" else [self.zero("i16")] * 2
            g.output(g.op("matmul", [g.input(element, 2, 3, 8), g.input(element, 2, 8, 4), *zeros], accumulator, (2, 3, 4)))
        self.check()

    def testPools(self):
        g = self.g
        x = g.input("i8", 1, 6, 6, 3)
        window = f"kernel = {array(2, 3)}, stride = {array(2, 3)}, pad = {array(0, 0, 0, 0)}"
        g.output(g.op("max_pool2d", [x], "i8", (1, 3, 2, 3), window))
        g.output(g.op("avg_pool2d", [x, g.const("i8", [4]), g.const("i8", [-9])], "i8", (1, 3, 2, 3),
                      window + ", acc_type = i32"))
        self.check()

    def testElementwise(self):
        g = self.g
        shape = (2, 5)
        x, y, b, c = g.input("i32", *shape), g.input("i32", 1, 5), g.input("i1", *shape), g.input("i1", *shape)
        amount = g.const("i32", [[3, 0, 7, 30, 1]])
        for name in ("add", "sub", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"):
            g.output(g.op(name, [x, y], "i32", shape))
        g.output(g.op("intdiv", [x, g.const("i32", [[3, 7, -9, 11, 100]])], "i32", shape))
        g.output(g.op("mul", [x, y, g.const("i8", [13])], "i32", shape))
        for rounding in ("true", "false"):
            g.output(g.op("arithmetic_right_shift", [x, amount], "i32", shape, f"round = {rounding}"))
        g.output(g.op("logical_right_shift", [x, amount], "i32", shape))
        g.output(g.op("logical_left_shift", [x, amount], "i32", shape))
        for name in ("abs", "clz", "bitwise_not"):
            g.output(g.op(name, [x], "i32", shape))
        g.output(g.op("negate", [x, self.zero("i32"), self.zero("i32")], "i32", shape))
        for name in ("logical_and", "logical_or", "logical_xor"):
            g.output(g.op(name, [b, c], "i1", shape))
        g.output(g.op("logical_not", [b], "i1", shape))
        for name in ("greater", "greater_equal"):
            g.output(g.op(name, [x, y], "i1", shape))
        g.output(g.op("equal", [x, g.op("maximum", [x, y], "i32", shape)], "i1", shape))
        g.output(g.op("select", [b, x, g.op("add", [x, y], "i32", shape)], "i32", shape))
        for element, value in (("i8", 100), ("i16", 1000)):
            narrow = g.op("cast", [x], element, shape)
            g.output(narrow)
            g.output(g.op("clamp", [narrow], element, shape, f"min_val = {-value} : {element}, max_val = {value} : {element}"))
        self.check()

    def testTables(self):
        g = self.g
        g.output(g.op("table", [g.input("i8", 4, 30), g.const("i8", self.random.integers(-128, 128, 256))], "i8", (4, 30)))
        g.output(g.op("table", [g.input("i16", 4, 30), g.const("i16", np.arange(513) * 100 - 25600)], "i32", (4, 30)))
        self.check()

    def testReductions(self):
        g = self.g
        x, b = g.input("i32", 3, 4, 5), g.input("i1", 3, 4, 2)
        for name in ("reduce_max", "reduce_min", "reduce_sum"):
            g.output(g.op(name, [x], "i32", (3, 1, 5), "axis = 1 : i32"))
        for name in ("reduce_all", "reduce_any"):
            g.output(g.op(name, [b], "i1", (3, 4, 1), "axis = 2 : i32"))
        g.output(g.op("argmax", [g.input("i8", 3, 9)], "i32", (3,), "axis = 1 : i32"))
        self.check()

    def testMovement(self):
        g = self.g
        x = g.input("i16", 2, 3, 4)
        g.output(g.op("concat", [x, g.input("i16", 2, 2, 4), x], "i16", (2, 8, 4), "axis = 1 : i32"))
        g.output(g.op("pad", [x, g.shape(0, 1, 2, 0, 0, 3), g.const("i16", [77])], "i16", (3, 5, 7)))
        g.output(g.op("reshape", [x, g.shape(4, 6)], "i16", (4, 6)))
        g.output(g.op("reverse", [x], "i16", (2, 3, 4), "axis = 2 : i32"))
        g.output(g.op("slice", [x, g.shape(1, 0, 1), g.shape(1, 2, 3)], "i16", (1, 2, 3)))
        g.output(g.op("tile", [x, g.shape(1, 2, 3)], "i16", (2, 6, 12)))
        g.output(g.op("transpose", [x], "i16", (4, 2, 3), "perms = array<i32: 2, 0, 1>"))
        g.output(g.op("identity", [x], "i16", (2, 3, 4)))
        g.output(g.op("gather", [x, g.const("i32", [[2, 0, 1, 1], [0, 0, 2, 1]])], "i16", (2, 4, 4)))
        g.output(g.op("scatter", [x, g.const("i32", [[2, 0], [1, 2]]), g.input("i16", 2, 2, 4)], "i16", (2, 3, 4)))
        g.output(g.op("resize", [g.input("i8", 1, 3, 4, 2), g.shape(4, 2, 4, 2), g.shape(-1, -1), g.shape(1, 1)], "i8",
                      (1, 6, 8, 2), "mode = #tosa.resize_mode<NEAREST_NEIGHBOR>"))
        g.output(g.op("resize", [g.input("i8", 1, 3, 4, 2), g.shape(4, 2, 4, 2), g.shape(-1, -1), g.shape(1, 1)], "i32",
                      (1, 6, 8, 2), "mode = #tosa.resize_mode<BILINEAR>"))
        self.check()

    def testRescales(self):
        g = self.g
        flags = "input_unsigned = false, output_unsigned = false"
        x = g.input("i32", 3, 4)
        for rounding in ("SINGLE_ROUND", "DOUBLE_ROUND"):
            g.output(g.op("rescale", [x, g.const("i32", [1500000000]), g.const("i8", [45]), self.zero("i32"),
                                      g.const("i8", [-5])], "i8", (3, 4),
                          f"scale32 = true, rounding_mode = #tosa.rounding_mode<{rounding}>, per_channel = false, {flags}"))
        g.output(g.op("rescale", [x, g.const("i32", [2**30, 2**30 + 9, 1500000000, 2**31 - 1]),
                                  g.const("i8", [36, 38, 40, 42]), self.zero("i32"), self.zero("i16")], "i16", (3, 4),
                      f"scale32 = true, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, per_channel = true, {flags}"))
        wide = g.op("matmul", [g.input("i16", 1, 3, 8), g.input("i16", 1, 8, 4), self.zero("i16"), self.zero("i16")], "i48",
                    (1, 3, 4))
        g.output(g.op("rescale", [wide, g.const("i16", [20000]), g.const("i8", [32]), self.zero("i48"), self.zero("i16")],
                      "i16", (1, 3, 4), f"scale32 = false, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, per_channel = false, {flags}"))
        self.check()

    def testReturnedArgumentsAndConstants(self):
        g = self.g
        x = g.input("i16", 3, 4)
        g.output(x)
        g.output(g.op("add", [g.input("i32", 3), g.const("i32", [1, 2, 3])], "i32", (3,)))
        g.output(g.const("i48", [-5, 2**46, -(2**46), 7]))
        mine = None
        with tempfile.TemporaryDirectory() as folder:
            source, file = pathlib.Path(folder) / "m.mlir", pathlib.Path(folder) / "m.tosa"
            source.write_text(g.text())
            subprocess.run([BIN / "write-tosa", source, file], check=True)
            value = self.random.integers(-9, 9, (3, 4)).astype(np.int16)
            mine = modelOutputs(file, [value, np.array([4, 5, 6], np.int32)], 3)
        np.testing.assert_array_equal(mine[0], value)
        np.testing.assert_array_equal(mine[1], [5, 7, 9])
        np.testing.assert_array_equal(mine[2], [-5, 2**46, -(2**46), 7])


if __name__ == "__main__":
    unittest.main()

"""What Vela takes for every generation of Ethos-U: the evidence of configs/targets/rules/ethos-u55-u65.yaml."""
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np

from operators import ARM, BIN, Graph, array

TARGETS = {"ethos-u55-256": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
           "ethos-u65-512": ("Ethos_U65_High_End", "Dedicated_Sram"),
           "ethos-u85-1024": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_512KB")}
RESCALE = ("scale32 = {wide}, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, per_channel = false, "
           "input_unsigned = false, output_unsigned = false")
random = np.random.default_rng(1)


def compile(graph, target):
    """The message that Vela ends with; None where it compiled everything for the NPU."""
    system, memory = TARGETS[target]
    with tempfile.TemporaryDirectory() as folder:
        source, file = pathlib.Path(folder) / "m.mlir", pathlib.Path(folder) / "m.tosa"
        source.write_text(graph.text())
        subprocess.run([BIN / "write-tosa", source, file], check=True)
        done = subprocess.run([ARM / "bin/vela", file, "--accelerator-config", target, "--config", "Arm/vela.ini",
                               "--system-config", system, "--memory-mode", memory, "--output-format", "raw",
                               "--output-dir", folder], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    assert "CPU operators = 0 " in done.stdout, done.stdout
    return None


class Forms:
    """One graph per form of a rule."""

    def __init__(self):
        self.graph = Graph()

    def zero(self, element):
        return self.graph.const(element, [0])

    def narrow(self, value, element, shape):
        """An accumulator of 16-bit products rounded to `element`."""
        g = self.graph
        return g.op("rescale", [value, g.const("i16", [20000]), g.const("i8", [30]), self.zero("i48"), self.zero(element)],
                    element, shape, RESCALE.format(wide="false"))

    def product(self, element):
        g, accumulator = self.graph, {"i8": "i32", "i16": "i48"}[element]
        value = g.op("matmul", [g.input(element, 2, 8, 16), g.input(element, 2, 16, 8), self.zero(element),
                                self.zero(element)], accumulator, (2, 8, 8))
        return value if element == "i8" else self.narrow(value, "i16", (2, 8, 8))

    def convolution(self, activation, weight):
        g, accumulator = self.graph, {"i8": "i32", "i16": "i48"}[activation]
        value = g.op("conv2d", [g.input(activation, 1, 8, 8, 16), g.const(weight, random.integers(-7, 8, (8, 3, 3, 16))),
                                g.const(accumulator, np.arange(8)), self.zero(activation), self.zero(weight)],
                     accumulator, (1, 6, 6, 8),
                     f"acc_type = {accumulator}, pad = {array(0, 0, 0, 0)}, stride = {array(1, 1)}, dilation = {array(1, 1)}")
        return value if activation == "i8" else self.narrow(value, "i16", (1, 6, 6, 8))

    def volume(self):
        g = self.graph
        return g.op("conv3d", [g.input("i8", 1, 6, 6, 6, 8), g.const("i8", random.integers(-7, 8, (8, 3, 3, 3, 8))),
                               g.const("i32", np.arange(8)), self.zero("i8"), self.zero("i8")], "i32", (1, 4, 4, 4, 8),
                    f"acc_type = i32, pad = {array(*[0] * 6)}, stride = {array(1, 1, 1)}, dilation = {array(1, 1, 1)}")

    def gather(self):
        g = self.graph
        return g.op("gather", [g.const("i8", random.integers(-100, 100, (1, 50, 16))), g.input("i32", 1, 8)], "i8", (1, 8, 16))

    def scatter(self):
        g = self.graph
        return g.op("scatter", [g.input("i8", 1, 50, 16), g.const("i32", [[3, 5, 7]]), g.input("i8", 1, 3, 16)], "i8", (1, 50, 16))

    def comparison(self, name):
        g = self.graph
        x, y = g.input("i32", 4, 16), g.input("i32", 4, 16)
        return g.op("select", [g.op(name, [x, y], "i1", (4, 16)), x, y], "i32", (4, 16))

    def choice(self):
        g = self.graph
        return g.op("select", [g.input("i1", 4, 16), g.input("i8", 4, 16), g.input("i8", 4, 16)], "i8", (4, 16))

    def logic(self):
        g = self.graph
        return g.op("logical_and", [g.input("i1", 4, 16), g.input("i1", 4, 16)], "i1", (4, 16))

    def largest(self, element):
        return self.graph.op("argmax", [self.graph.input(element, 8, 16)], "i32", (8,), "axis = 1 : i32")

    def table(self, element):
        g = self.graph
        values, result = (np.arange(256) - 128, "i8") if element == "i8" else (np.arange(513), "i32")
        return g.op("table", [g.input(element, 4, 64), g.const(element, values)], result, (4, 64))

    def nearest(self):
        g = self.graph
        return g.op("resize", [g.input("i8", 1, 8, 8, 16), g.shape(4, 2, 4, 2), g.shape(-1, -1), g.shape(1, 1)], "i8",
                    (1, 16, 16, 16), "mode = #tosa.resize_mode<NEAREST_NEIGHBOR>")

    def argument(self):
        return self.graph.input("i8", 4, 16)


# The operator that U55 and U65 refuse, and the form. Vela names what it made of the operation.
LACKING = [("MatMul", "product", "i16"), ("Gather", "gather"), ("Scatter", "scatter"), ("Conv3D", "volume"),
           ("Greater", "comparison", "greater"), ("GreaterEqual", "comparison", "greater_equal"),
           ("Equal", "comparison", "equal"), ("NotEqual", "choice"), ("NotEqual", "logic"), ("ArgMax", "largest", "i16")]
SHARED = [("product", "i8"), ("convolution", "i8", "i8"), ("convolution", "i8", "i4"), ("convolution", "i16", "i8"),
          ("largest", "i8"), ("table", "i8"), ("table", "i16"), ("nearest",), ("argument",)]


class Vela(unittest.TestCase):
    def check(self, form, target, wanted):
        forms = Forms()
        forms.graph.output(getattr(forms, form[0])(*form[1:]))
        with self.subTest(form=form, target=target):
            self.assertEqual(compile(forms.graph, target), wanted)

    def testFirstGenerationsLackWhatTheRulesSay(self):
        for operation, *form in LACKING:
            for target in ("ethos-u55-256", "ethos-u65-512"):
                self.check(form, target, f"RuntimeError: Non-passthrough operation ({operation}) could not run on NPU")

    def testU85TakesAll(self):
        for _, *form in LACKING:
            self.check(form, "ethos-u85-1024", None)

    def testAllTakeTheRest(self):
        for form in SHARED:
            for target in TARGETS:
                self.check(form, target, None)


if __name__ == "__main__":
    unittest.main()

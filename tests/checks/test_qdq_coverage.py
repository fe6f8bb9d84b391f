"""The coverage that bench/qdq_coverage.py counts on QDQ files is the one that docs/spec/numerics.md defines."""
import os
import pathlib
import sys
import tempfile
import unittest

import onnx
from onnx import TensorProto, helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import qdq_coverage  # noqa: E402


def constant(name, kind, shape=()):
    count = 1
    for length in shape:
        count *= length
    return helper.make_tensor(name, kind, shape, [1] * count)


CONSTANTS = [constant("scale", TensorProto.FLOAT), constant("zero", TensorProto.INT8),
             constant("weight", TensorProto.FLOAT, (1, 1, 1, 1)), constant("weight_q", TensorProto.INT8, (1, 1, 1, 1)),
             constant("bias", TensorProto.FLOAT, (1,)), constant("shape", TensorProto.INT64, (4,)),
             constant("bound", TensorProto.FLOAT)]


def quantized(name, result):
    """Nodes that round `name` to `result`."""
    return [helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [result])]


INPUT = quantized("x", "x_d")
WEIGHT = [helper.make_node("DequantizeLinear", ["weight_q", "scale", "zero"], ["weight_d"])]


def conv(data="x_d", weight="weight_d", result="y"):
    return [helper.make_node("Conv", [data, weight, "bias"], [result])]


class CoverageTest(unittest.TestCase):
    def count(self, nodes, output):
        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, 1, 1)) for name in ("x", output)]
        graph = helper.make_graph(nodes, "g", value[:1], value[1:], CONSTANTS)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
            counts = qdq_coverage.Coverage(path)
        return len(counts.covered), len(counts.compute)

    def test_rounded_operands_and_result(self):
        self.assertEqual(self.count(INPUT + WEIGHT + conv() + quantized("y", "z"), "z"), (1, 1))

    def test_float_result(self):
        self.assertEqual(self.count(INPUT + WEIGHT + conv(), "y"), (0, 1))

    def test_float_weight(self):
        self.assertEqual(self.count(INPUT + conv(weight="weight") + quantized("y", "z"), "z"), (0, 1))

    def test_float_data(self):
        self.assertEqual(self.count(WEIGHT + conv(data="x") + quantized("y", "z"), "z"), (0, 1))

    def test_moved_values_are_followed_both_ways(self):
        before = [helper.make_node("Reshape", ["x_d", "shape"], ["x_r"])]
        after = [helper.make_node("Transpose", ["y"], ["y_t"])]
        self.assertEqual(self.count(INPUT + before + WEIGHT + conv(data="x_r") + after + quantized("y_t", "z"), "z"), (1, 1))

    def test_activation_function_counts_with_the_operation_above(self):
        clip = [helper.make_node("Clip", ["y", "bound", "bound"], ["c"])]
        self.assertEqual(self.count(INPUT + WEIGHT + conv() + clip + quantized("c", "z"), "z"), (1, 1))

    def test_second_reader_in_float(self):
        sine = [helper.make_node("Sin", ["y"], ["s"]), helper.make_node("Add", ["s", "z"], ["t"])]
        self.assertEqual(self.count(INPUT + WEIGHT + conv() + quantized("y", "z") + sine, "t"), (0, 3))


if __name__ == "__main__":
    unittest.main()

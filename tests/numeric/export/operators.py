"""Every float operator of nn, exported and run by ONNX Runtime, against the same node made with onnx.helper.

Both models run in the same kernels, so that results must be equal to the bit: a wrong operator, attribute, domain
or operand position shows as a difference.
"""
import os
import pathlib
import re
import unittest

import numpy as np
import onnx
from onnx import helper

from programs import Program, export, reexport, run

random = np.random.default_rng(7)
MICROSOFT = "com.microsoft"


def normal(*shape):
    return random.normal(size=shape).astype(np.float32)


def positive(*shape):
    return random.uniform(0.1, 3, size=shape).astype(np.float32)


def integers(*values):
    return np.array(values, np.int64)


class Constant:
    """An operand that is stored in the model."""

    def __init__(self, values):
        self.values = np.asarray(values)


def case(mnemonic, onnxType, operands, nnAttributes="", domain="", outputs=1, shapes=None, name=None, **onnxAttributes):
    """Absent optional operands are None."""
    return mnemonic, dict(onnxType=onnxType, operands=operands, nnAttributes=nnAttributes, domain=domain,
                          outputs=outputs, attributes=onnxAttributes, name=name or mnemonic)


def segments(*sizes):
    return "operandSegmentSizes = array<i32: " + ", ".join(map(str, sizes)) + ">"


UNARY = {"abs": "Abs", "neg": "Neg", "exp": "Exp", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos",
         "tanh": "Tanh", "sigmoid": "Sigmoid", "erf": "Erf", "relu": "Relu", "softplus": "Softplus",
         "softsign": "Softsign", "hard_swish": "HardSwish", "mish": "Mish", "floor": "Floor", "ceil": "Ceil",
         "round": "Round", "sign": "Sign", "is_nan": "IsNaN", "identity": "Identity"}
BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "equal": "Equal", "less": "Less",
          "less_or_equal": "LessOrEqual", "greater": "Greater", "greater_or_equal": "GreaterOrEqual", "prelu": "PRelu"}
REDUCE = {"reduce_mean": "ReduceMean", "reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin",
          "reduce_prod": "ReduceProd", "reduce_l1": "ReduceL1", "reduce_l2": "ReduceL2",
          "reduce_sum_square": "ReduceSumSquare", "reduce_log_sum_exp": "ReduceLogSumExp"}
flags = lambda *shape: random.integers(0, 2, size=shape).astype(bool)
POOL = ("kernel_shape = array<i64: 3, 2>, strides = array<i64: 2, 1>, pads = array<i64: 1, 0, 1, 1>, "
        "dilations = array<i64: 1, 1>")
POOL_ONNX = dict(kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], dilations=[1, 1])

CASES = [
    *(case(m, t, [normal(3, 5)]) for m, t in UNARY.items()),
    case("log", "Log", [positive(3, 5)]), case("sqrt", "Sqrt", [positive(3, 5)]),
    case("not", "Not", [flags(7)]),
    *(case(m, t, [normal(2, 3, 5), normal(3, 1)]) for m, t in BINARY.items()),
    case("pow", "Pow", [positive(3, 4), normal(4)]),
    case("mod", "Mod", [normal(3, 4), positive(4)], "fmod = true", fmod=1),
    case("mod", "Mod", [integers(7, -7, 5), integers(3, 3, -3)], name="mod integers"),
    *(case(m, t, [flags(2, 4), flags(4)]) for m, t in (("and", "And"), ("or", "Or"), ("xor", "Xor"))),
    case("max", "Max", [normal(3, 4), normal(4), normal(1)]), case("min", "Min", [normal(3, 4), normal(4)]),
    case("leaky_relu", "LeakyRelu", [normal(9)], "alpha = 0.3 : f32", alpha=0.3),
    case("elu", "Elu", [normal(9)], "alpha = 0.7 : f32", alpha=0.7),
    case("elu", "Elu", [normal(9)], name="elu default"),
    case("quick_gelu", "QuickGelu", [normal(9)], "alpha = 1.5 : f32", MICROSOFT, alpha=1.5),
    case("hard_sigmoid", "HardSigmoid", [normal(9)], "alpha = 0.3 : f32, beta = 0.4 : f32", alpha=0.3, beta=0.4),
    case("gelu", "Gelu", [normal(9)]), case("gelu", "Gelu", [normal(9)], 'approximate = "tanh"', approximate="tanh"),
    case("clip", "Clip", [normal(9), None, Constant(np.float32(0.5))], segments(1, 0, 1)),
    case("clip", "Clip", [normal(9), Constant(np.float32(-0.5)), Constant(np.float32(0.5))], segments(1, 1, 1)),
    case("where", "Where", [flags(3, 1), normal(3, 4), normal(4)]),
    case("cast", "Cast", [normal(9) * 5], "to = i32", to=onnx.TensorProto.INT32),
    case("cast", "Cast", [normal(9)], "to = i1", to=onnx.TensorProto.BOOL),
    case("shape", "Shape", [normal(2, 3, 4)], "start = 1 : i64, end = 3 : i64", start=1, end=3),
    case("shape", "Shape", [normal(2, 3, 4)]), case("size", "Size", [normal(2, 3)]),
    case("reshape", "Reshape", [normal(2, 6), Constant(integers(3, -1))]),
    case("flatten", "Flatten", [normal(2, 3, 4)], "axis = 2 : i64", axis=2),
    case("squeeze", "Squeeze", [normal(1, 3, 1), Constant(integers(2))]), case("squeeze", "Squeeze", [normal(1, 3, 1)]),
    case("unsqueeze", "Unsqueeze", [normal(3), Constant(integers(0, 2))]),
    case("transpose", "Transpose", [normal(2, 3, 4)], "perm = array<i64: 2, 0, 1>", perm=[2, 0, 1]),
    case("concat", "Concat", [normal(2, 3), normal(2, 1), normal(2, 4)], "axis = -1 : i64", axis=-1),
    case("split", "Split", [normal(2, 6), Constant(integers(1, 2, 3))], "axis = 1 : i64", outputs=3, axis=1),
    case("split", "Split", [normal(2, 6)], "axis = 1 : i64", outputs=2, axis=1, num_outputs=2, name="split equally"),
    case("slice", "Slice", [normal(5, 6), Constant(integers(1)), Constant(integers(-1)), Constant(integers(1)),
                            Constant(integers(2))], segments(1, 1, 1, 1, 1)),
    case("slice", "Slice", [normal(5, 6), Constant(integers(1, 0)), Constant(integers(4, 3))], segments(1, 1, 1, 0, 0)),
    case("slice", "Slice", [normal(5, 6), Constant(integers(4, 5)), Constant(integers(0, 1)), None,
                            Constant(integers(-1, -2))], segments(1, 1, 1, 0, 1), name="slice without axes"),
    case("expand", "Expand", [normal(3, 1), Constant(integers(2, 1, 4))]),
    case("tile", "Tile", [normal(2, 3), Constant(integers(2, 1))]),
    case("pad", "Pad", [normal(3, 4), Constant(integers(1, 0, 2, 1)), Constant(np.float32(1.5))], segments(1, 1, 1, 0),
         mode="constant"),
    *(case("pad", "Pad", [normal(5, 4), Constant(integers(1, 2)), None, Constant(integers(1))],
           segments(1, 1, 0, 1) + f", mode = {number} : i32", mode=mode, name=f"pad {mode}")
      for number, mode in ((1, "reflect"), (2, "edge"), (3, "wrap"))),
    case("gather", "Gather", [normal(4, 5), Constant(integers(2, 0, 1))], "axis = 1 : i64", axis=1),
    case("gather_elements", "GatherElements", [normal(3, 3), Constant(np.array([[0, 1, 2], [2, 0, 0]]))], "axis = 0 : i64",
         axis=0),
    case("gather_nd", "GatherND", [normal(2, 3, 4), Constant(np.array([[1], [2]]))], "batch_dims = 1 : i64", batch_dims=1),
    case("scatter_nd", "ScatterND", [normal(4, 3), Constant(np.array([[1], [3]])), normal(2, 3)], 'reduction = "add"',
         reduction="add"),
    case("scatter_elements", "ScatterElements", [normal(3, 3), Constant(np.array([[1, 0, 2]])), normal(1, 3)],
         "axis = 1 : i64", axis=1),
    case("depth_to_space", "DepthToSpace", [normal(1, 8, 2, 3)], 'blocksize = 2 : i64, mode = "CRD"', blocksize=2, mode="CRD"),
    case("space_to_depth", "SpaceToDepth", [normal(1, 2, 4, 6)], "blocksize = 2 : i64", blocksize=2),
    case("trilu", "Trilu", [normal(4, 4), Constant(np.int64(1))], "upper = false", upper=0),
    case("trilu", "Trilu", [normal(4, 4)]),
    case("range", "Range", [Constant(np.float32(1)), Constant(np.float32(5)), Constant(np.float32(0.5))]),
    case("constant_of_shape", "ConstantOfShape", [Constant(integers(2, 3))], "value = dense<2.5> : tensor<1xf32>",
         value=onnx.numpy_helper.from_array(np.array([2.5], np.float32))),
    case("cum_sum", "CumSum", [normal(3, 4), Constant(np.int64(1))], "exclusive = true, reverse = true", exclusive=1,
         reverse=1),
    case("one_hot", "OneHot", [Constant(integers(1, 0, 2)), Constant(np.int64(4)), Constant(np.array([-1, 3], np.float32))],
         "axis = 0 : i64", axis=0),
    case("resize", "Resize", [normal(1, 2, 3, 4), "", Constant(np.array([1, 1, 2, 2], np.float32))],
         segments(1, 1, 0) + ', coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    case("resize", "Resize", [normal(1, 2, 3, 4), "", None, Constant(integers(1, 2, 5, 7))],
         segments(1, 0, 1) + ', mode = "linear"', mode="linear", name="resize linear"),
    case("resize", "Resize", [normal(1, 2, 6, 8), "", Constant(np.array([0.5, 0.5], np.float32))],
         segments(1, 1, 0) + ', mode = "cubic", cubic_coeff_a = -0.5 : f32, axes = array<i64: 2, 3>, antialias = true',
         mode="cubic", cubic_coeff_a=-0.5, axes=[2, 3], antialias=1, name="resize cubic"),
    case("matmul", "MatMul", [normal(2, 3, 4), normal(4, 5)]),
    case("gemm", "Gemm", [normal(4, 3), normal(5, 4), normal(5)],
         "alpha = 0.5 : f32, beta = 2.0 : f32, trans_a = true, trans_b = true", alpha=0.5, beta=2.0, transA=1, transB=1),
    case("gemm", "Gemm", [normal(3, 4), normal(4, 5)], name="gemm without addend"),
    case("einsum", "Einsum", [normal(2, 3), normal(3, 4)], 'equation = "ij,jk->ki"', equation="ij,jk->ki"),
    case("conv", "Conv", [normal(1, 4, 7, 8), normal(6, 2, 3, 3), normal(6)],
         "strides = array<i64: 2, 1>, pads = array<i64: 1, 0, 2, 1>, dilations = array<i64: 1, 2>, group = 2 : i64",
         strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2], group=2),
    case("conv", "Conv", [normal(1, 4, 7, 8), normal(6, 4, 3, 3)],
         'strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, auto_pad = "SAME_UPPER"',
         strides=[2, 2], auto_pad="SAME_UPPER", name="conv auto_pad"),
    case("conv_transpose", "ConvTranspose", [normal(1, 4, 5, 5), normal(4, 3, 3, 3), normal(6)],
         "strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, "
         "output_padding = array<i64: 1, 0>, group = 2 : i64",
         strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], output_padding=[1, 0], group=2),
    case("max_pool", "MaxPool", [normal(1, 2, 7, 6)], POOL + ", ceil_mode = true", **POOL_ONNX, ceil_mode=1),
    case("average_pool", "AveragePool", [normal(1, 2, 7, 6)], POOL + ", count_include_pad = true", **POOL_ONNX,
         count_include_pad=1),
    case("global_average_pool", "GlobalAveragePool", [normal(1, 2, 7, 6)]),
    case("global_max_pool", "GlobalMaxPool", [normal(1, 2, 7, 6)]),
    *(case(m, t, [normal(2, 3, 4), Constant(integers(0, 2))], "keepdims = false", keepdims=0) for m, t in REDUCE.items()),
    *(case(m, t, [normal(2, 3, 4)], "noop_with_empty_axes = true", noop_with_empty_axes=1, name=m + " over nothing")
      for m, t in (("reduce_sum", "ReduceSum"), ("reduce_mean", "ReduceMean"))),
    case("arg_max", "ArgMax", [np.float32([[1, 3, 3], [2, 0, 2]])], "axis = 1 : i64, keepdims = false, select_last_index = true",
         axis=1, keepdims=0, select_last_index=1),
    case("arg_min", "ArgMin", [normal(3, 4)], "axis = 0 : i64", axis=0),
    case("top_k", "TopK", [normal(3, 6), Constant(integers(2))], "axis = 1 : i64, largest = false", outputs=2, axis=1, largest=0),
    case("softmax", "Softmax", [normal(3, 6, 2)], "axis = 1 : i64", axis=1),
    case("log_softmax", "LogSoftmax", [normal(3, 6)]),
    case("layer_normalization", "LayerNormalization", [normal(3, 4, 6), normal(4, 6), normal(4, 6)],
         "axis = 1 : i64, epsilon = 0.01 : f32", axis=1, epsilon=0.01),
    case("layer_normalization", "LayerNormalization", [normal(3, 6), normal(6)], name="layer_normalization without bias"),
    case("rms_normalization", "SimplifiedLayerNormalization", [normal(3, 6), normal(6)], "epsilon = 0.01 : f32",
         axis=-1, epsilon=0.01),
    case("instance_normalization", "InstanceNormalization", [normal(2, 3, 5), normal(3), normal(3)], "epsilon = 0.01 : f32",
         epsilon=0.01),
    case("group_normalization", "GroupNormalization", [normal(2, 6, 5), normal(6), normal(6)], "num_groups = 3 : i64",
         num_groups=3),
    case("batch_normalization", "BatchNormalization", [normal(2, 3, 5), normal(3), normal(3), normal(3), positive(3)],
         "epsilon = 0.01 : f32", epsilon=0.01),
    case("rotary_embedding", "RotaryEmbedding",
         [normal(1, 3, 16), Constant(np.array([[0, 1, 2]])), Constant(normal(8, 2)), Constant(normal(8, 2))],
         "interleaved = true, num_heads = 2 : i64, rotary_dim = 4 : i64", MICROSOFT,
         interleaved=1, num_heads=2, rotary_embedding_dim=4),
    case("group_query_attention", "GroupQueryAttention",
         [normal(1, 2, 64), normal(1, 2, 32), normal(1, 2, 32), normal(1, 2, 3, 16), normal(1, 2, 3, 16),
          Constant(np.array([4], np.int32)), Constant(np.int32(5)), Constant(normal(8, 8)), Constant(normal(8, 8))],
         "num_heads = 4 : i64, kv_num_heads = 2 : i64, do_rotary = true, " + segments(1, 1, 1, 1, 1, 1, 1, 1, 1),
         MICROSOFT, outputs=3, num_heads=4, kv_num_heads=2, do_rotary=1, rotary_interleaved=0, local_window_size=-1),
    case("quantize_linear", "QuantizeLinear", [normal(4, 6), Constant(positive(6)), Constant(np.zeros(6, np.uint8))],
         "axis = 1 : i64", axis=1),
    case("dequantize_linear", "DequantizeLinear",
         [random.integers(-9, 9, size=(6, 4)).astype(np.int8), Constant(positive(3, 4)), Constant(np.ones((3, 4), np.int8))],
         "axis = 0 : i64, block_size = 2 : i64", axis=0, block_size=2),
]

# Structure and quantization; exported by the other tests.
ELSEWHERE = {"constant", "block", "yield", "quantizer", "fake_quant", "dequantize_weight"}


def reference(spec):
    """The node made with onnx.helper: (bytes, inputs, output infos)."""
    feeds, initializers, names = {}, [], []
    for index, operand in enumerate(spec["operands"]):
        name = f"i{index}"
        names.append("" if operand is None or isinstance(operand, str) else name)
        if isinstance(operand, Constant):
            initializers.append(onnx.numpy_helper.from_array(operand.values, name))
        elif isinstance(operand, np.ndarray):
            feeds[name] = operand
    outputs = [f"o{index}" for index in range(spec["outputs"])]
    node = helper.make_node(spec["onnxType"], names, outputs, domain=spec["domain"], **spec["attributes"])
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feeds.items()]
    graph = helper.make_graph([node], "reference", infos,
                              [helper.make_empty_tensor_value_info(o) for o in outputs], initializers)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(), feeds


class Operators(unittest.TestCase):
    def testCases(self):
        for mnemonic, spec in CASES:
            with self.subTest(spec["name"], attributes=spec["nnAttributes"]):
                self.checkCase(mnemonic, spec)

    def checkCase(self, mnemonic, spec):
        contents, feeds = reference(spec)
        wanted = run(contents, feeds)
        p, operands = Program(), []
        for index, operand in enumerate(spec["operands"]):
            if operand is None or isinstance(operand, str):
                continue
            if isinstance(operand, Constant):
                operands.append(p.constant(f"i{index}", operand.values, operand.values.dtype.name))
            else:
                operands.append(p.input(f"i{index}", operand.shape, operand.dtype.name))
        results = p.multiple("o", mnemonic, operands, [(w.shape, w.dtype.name) for w in wanted],
                             "{" + spec["nnAttributes"] + "}" if spec["nnAttributes"] else "")
        model, contents, _ = export(p, results, form="float")
        self.assertEqual(len(model.graph.node), 1)
        # The second model went through our importer: every export can be read back.
        for results in (run(contents, feeds), run(reexport(contents), feeds)):
            for found, value in zip(results, wanted, strict=True):
                self.assertEqual(found.dtype, value.dtype)
                np.testing.assert_array_equal(found, value)

    def testEveryOperatorIsTested(self):
        source = pathlib.Path(os.environ["NIBBLE_SOURCE"]) / "lib/Dialect/NN/NNOps.td"
        defined = set(re.findall(r'def NN_\w+Op : (?:NN_)?\w*Op<(?:NN_Dialect, )?"(\w+)"', source.read_text()))
        self.assertGreater(len(defined), 80)
        self.assertEqual(defined - ELSEWHERE - {mnemonic for mnemonic, _ in CASES}, set())


if __name__ == "__main__":
    unittest.main(verbosity=2)

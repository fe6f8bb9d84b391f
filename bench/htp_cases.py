"""The forms of operators that are measured on the HTP: every operation and encoding that a rule of
configs/targets/rules/qnn-htp.yaml speaks of has a case here.

A case is a function that builds a model with the helpers of htp_model.Model. `storages` says at which activation
storage it is measured; operators that the rules forbid with float activations have a float form too.
"""
import dataclasses
import typing

import numpy as np
from onnx import TensorProto

from htp_model import RANGES

QUANTIZED, FLOAT_TOO = ("uint8", "uint16"), ("uint8", "uint16", "float")


@dataclasses.dataclass(frozen=True)
class Case:
    make: typing.Callable
    storages: tuple = QUANTIZED
    # What no rule can express, where the target's file calls a form native that is refused here.
    exception: str = ""


CASES = {}


def case(name, make, storages=QUANTIZED, exception=""):
    assert name not in CASES, name
    CASES[name] = Case(make, storages, exception)


def ints(m, name, values):
    return m.constant(name, np.array(values, np.int64))


# Unary and binary operators.

def unary(kind, low=-4.0, high=4.0, domain="", **attributes):
    return lambda m: m.finish(m.op(kind, [m.input([1, 24, 12, 40], low, high, distribution="uniform")], domain, **attributes))


def binary(kind, low=-3.0, high=3.0):
    def make(m):
        a, b = m.input([1, 24, 12, 40]), m.input([1, 24, 12, 40], low, high, distribution="uniform")
        return m.finish(m.op(kind, [a, b]))
    return make


def binaryWithConstant(kind, low=0.5, high=4.0, shape=(24, 1, 1)):
    def make(m):
        a, b = m.input([1, 24, 12, 40]), m.parameter("c", m.rng.uniform(low, high, shape))
        return m.finish(m.op(kind, [a, b]))
    return make


def power(exponent, low, high):
    def make(m):
        x = m.input([1, 24, 12, 40], low, high, distribution="uniform")
        return m.finish(m.op("Pow", [x, m.parameter("c", np.array(exponent))]))
    return make


def silu(m):
    x = m.input([1, 24, 12, 40], -6, 6, distribution="uniform")
    return m.finish(m.op("Mul", [x, m.inner(m.op("Sigmoid", [x]), 0, 1)]))


for name, kind, low, high in [
        ("relu", "Relu", -4, 4), ("hard_swish", "HardSwish", -4, 4), ("hard_sigmoid", "HardSigmoid", -4, 4),
        ("elu", "Elu", -4, 4), ("exp", "Exp", -4, 2), ("log", "Log", 0.05, 8), ("sqrt", "Sqrt", 0, 8),
        ("sin", "Sin", -4, 4), ("cos", "Cos", -4, 4), ("softplus", "Softplus", -4, 4), ("neg", "Neg", -4, 4),
        ("abs", "Abs", -4, 4), ("reciprocal", "Reciprocal", 0.5, 8), ("round", "Round", -4, 4),
        ("floor", "Floor", -4, 4), ("ceil", "Ceil", -4, 4), ("sign", "Sign", -4, 4), ("softsign", "Softsign", -4, 4),
        ("mish", "Mish", -4, 4), ("erf", "Erf", -4, 4)]:
    case(name, unary(kind, low, high))
case("sigmoid", unary("Sigmoid", -8, 8), FLOAT_TOO)
case("tanh", unary("Tanh"), FLOAT_TOO)
case("gelu", unary("Gelu"), FLOAT_TOO)
case("gelu/tanh", unary("Gelu", approximate="tanh"))
case("quick_gelu", unary("QuickGelu", domain="com.microsoft", alpha=1.702), FLOAT_TOO)
case("leaky_relu", unary("LeakyRelu", alpha=0.1))
case("log_softmax", unary("LogSoftmax", axis=-1))
case("silu", silu)
for name in ("add", "sub", "mul", "max", "min"):
    case(name, binary(name.capitalize()))
    case(name + "/constant", binaryWithConstant(name.capitalize()))
case("div", binary("Div", 0.5, 4.0))
case("div/constant", binaryWithConstant("Div"))
case("mul/itself", lambda m: m.finish(m.op("Mul", [m.input([1, 24, 12, 40])] * 2)))
case("pow/2", power(2.0, -3, 3))
case("pow/3", power(3.0, -3, 3))
case("pow/1.5", power(1.5, 0, 3))
case("clip", lambda m: m.finish(m.op("Clip", [m.input([1, 24, 16, 16]), m.constant("lo", np.float32(-1)),
                                              m.constant("hi", np.float32(2))]), fixed=(-3.0, 3.0)))
case("identity", lambda m: m.finish(m.op("Identity", [m.inner(m.op("Relu", [m.input([1, 24, 16, 16])]), -3, 3)]), fixed=(-3.0, 3.0)))
case("convert", lambda m: m.finish(m.inner(m.input([1, 24, 16, 16]), -3, 3), storage="uint16" if m.storage == "uint8" else "uint8"))
case("cum_sum", lambda m: m.finish(m.op("CumSum", [m.input([1, 24, 12, 40]), m.constant("axis", np.array(3, np.int64))])))


# Constant weights: every kind of weight with every operator that takes one.

def layer(kind, storage="int8", granularity="axis", hasBias=False, output=None, k=320, shape=None, isBehindRelu=False,
          **attributes):
    def make(m):
        if kind in ("MatMul", "Gemm"):
            x = m.input([1, 48, k] if kind == "MatMul" else [48, k])
            dims, axis, blockAxis = [k, 192], 1, 0
        else:
            isTransposed = kind == "ConvTranspose"
            dims = list(shape or ((32, 48, 2, 2) if isTransposed else (48, 32, 3, 3)))
            group = attributes.get("group", 1)
            channels = dims[0] if isTransposed else dims[1] * group
            x = m.input([1, channels, 16, 16])
            if isBehindRelu:
                x = m.inner(m.op("Relu", [x]), 0, 3)
            axis = 1 if isTransposed else 0
            blockAxis = 1 - axis
        w = m.weight("w", dims, axis, storage, granularity, blockAxis=blockAxis)
        operands = [x, w] + ([m.bias("b", dims[axis], x, w)] if hasBias else [])
        return m.finish(m.op(kind, operands, **attributes), storage=output)
    return make


WEIGHTS = [("int8", "axis"), ("int8", "tensor"), ("uint8", "axis"), ("uint8", "tensor"), ("int4", "axis"), ("int4", "tensor"),
           ("uint4", "axis"), ("uint4", "tensor"), ("int16", "axis"), ("uint16", "tensor"), ("int4", "block"),
           ("uint4", "block"), ("int8", "block"), ("int4", "lpbq"), ("int8", "lpbq"), ("int16", "lpbq")]
# Refused without a bias already.
REFUSED = [("uint8", "axis"), ("uint4", "axis"), ("uint16", "tensor")]
for kind, name in [("MatMul", "matmul"), ("Gemm", "gemm"), ("Conv", "conv"), ("ConvTranspose", "conv_transpose")]:
    place = {"pads": [1, 1, 1, 1]} if kind == "Conv" else {"strides": [2, 2]} if kind == "ConvTranspose" else {}
    for storage, granularity in WEIGHTS:
        storages = FLOAT_TOO if (storage, granularity) == ("int8", "axis") else QUANTIZED
        case(f"{name}/{storage} {granularity}", layer(kind, storage, granularity, **place), storages)
        # A bias is stored in steps of one weight scale per channel.
        if kind != "MatMul" and granularity in ("axis", "tensor") and (storage, granularity) not in REFUSED:
            case(f"{name}/{storage} {granularity}, bias", layer(kind, storage, granularity, hasBias=True, **place))
    case(f"{name}/to uint16", layer(kind, output="uint16", **place), ("uint8",))
case("conv/int8 1x1", layer("Conv", hasBias=True, shape=(32, 24, 1, 1)))
case("conv/int4 1x1", layer("Conv", "int4", hasBias=True, shape=(32, 24, 1, 1)))
case("conv/int4 lpbq 1x1", layer("Conv", "int4", "lpbq", shape=(48, 64, 1, 1)))
case("conv/int4 block 1x1", layer("Conv", "int4", "block", shape=(48, 64, 1, 1)))
case("conv/int8 stride 2", layer("Conv", hasBias=True, strides=[2, 2], pads=[1, 1, 1, 1]))
case("conv/int8 depthwise", layer("Conv", hasBias=True, shape=(24, 1, 3, 3), group=24, pads=[1, 1, 1, 1]))
case("conv/int4 depthwise", layer("Conv", "int4", hasBias=True, shape=(24, 1, 3, 3), group=24, pads=[1, 1, 1, 1]))
ONE_ELEMENT_WINDOW = ("a depthwise window of one element on 16-bit activations fails to compile in small graphs, and above "
                      "256 channels in all")
for channels in (24, 256, 264):
    case(f"conv/int8 depthwise 1x1, {channels} channels", layer("Conv", hasBias=True, shape=(channels, 1, 1, 1), group=channels),
         exception=ONE_ELEMENT_WINDOW)
    case(f"conv/int8 depthwise 1x1, {channels} channels, behind relu",
         layer("Conv", hasBias=True, shape=(channels, 1, 1, 1), group=channels, isBehindRelu=True),
         exception=ONE_ELEMENT_WINDOW)
case("conv/int8 depthwise 3x3, 264 channels", layer("Conv", hasBias=True, shape=(264, 1, 3, 3), group=264, pads=[1, 1, 1, 1]))
for storage in ("int8", "int4"):
    case(f"matmul/{storage} axis, K=2048", layer("MatMul", storage, k=2048))


# Products of two activations.

def product(left, right, output, isSymmetric):
    def make(m):
        a = m.input([1, 4, 64, 40], storage=left, symmetric=left.startswith("int"))
        b = m.input([1, 4, 40, 64], storage=right, symmetric=isSymmetric)
        return m.finish(m.op("MatMul", [a, b]), storage=output, symmetric=output.startswith("int"))
    return make


def attention(right):
    """Scores, softmax and the product with the values; keys and values symmetric at `right`."""
    def make(m):
        q = m.input([1, 4, 64, 40])
        k, v = m.input([1, 4, 64, 40], storage=right, symmetric=True), m.input([1, 4, 64, 40], storage=right, symmetric=True)
        transposed = m.inner(m.op("Transpose", [k], perm=[0, 1, 3, 2]), -3, 3, right, symmetric=True)
        scores = m.inner(m.op("MatMul", [q, transposed]), -30, 30)
        return m.finish(m.op("MatMul", [m.inner(m.op("Softmax", [scores], axis=-1), 0, 1), v]))
    return make


def transposedProduct(left, right, output):
    """The right operand as keys come: transposed in the graph."""
    def make(m):
        a, b = m.input([1, 4, 64, 40], storage=left), m.input([1, 4, 64, 40], storage=right, symmetric=True)
        b = m.inner(m.op("Transpose", [b], perm=[0, 1, 3, 2]), -3, 3, right, symmetric=True)
        return m.finish(m.op("MatMul", [a, b]), storage=output)
    return make


def einsum(equation, left, right):
    return lambda m: m.finish(m.op("Einsum", [m.input(list(left)), m.input(list(right))], equation=equation))


for left in ("uint8", "int8", "uint16", "int16"):
    for right in ("uint8", "int8", "uint16", "int16"):
        wide = "16" in left
        for output in (left, "u" + left) if left.startswith("i") else (left,):
            for isSymmetric in ((False, True) if right.startswith("u") else (True,)):
                case(f"matmul/{left} x {'symmetric ' if isSymmetric else ''}{right} to {output}",
                     product(left, right, output, isSymmetric), (output,))
for left, right in [("uint8", "int8"), ("uint8", "uint8"), ("uint16", "int8"), ("uint16", "uint8"), ("uint16", "uint16")]:
    case(f"matmul/{left} x transposed {right}", transposedProduct(left, right, left), (left,))
case("attention/keys and values uint8", attention("uint8"))
case("attention/keys and values int8", attention("int8"))
case("attention/keys and values uint16", attention("uint16"), ("uint16",))
case("einsum/bhid,bhjd->bhij", einsum("bhid,bhjd->bhij", (1, 4, 32, 40), (1, 4, 48, 40)))
case("einsum/bihd,bjhd->bhij", einsum("bihd,bjhd->bhij", (1, 32, 4, 40), (1, 48, 4, 40)))


# Softmax and norms.

def softmax(axis=-1, **encoding):
    def make(m):
        scale = float(m.rng.choice([4.0, 10.0]))
        return m.finish(m.op("Softmax", [m.input([1, 4, 64, 64], -scale, scale, **encoding)], axis=axis), fixed=(0.0, 1.0))
    return make


def maskedSoftmax(m):
    scores = m.input([1, 4, 64, 64], -8, 8)
    mask = m.parameter("mask", np.where(np.tri(64), 0, -30.0)[None, None])
    return m.finish(m.op("Softmax", [m.inner(m.op("Add", [scores, mask]), -38, 8)], axis=-1), fixed=(0.0, 1.0))


def norm(kind, shape, gamma=None, beta=None, stream=False, **attributes):
    """A norm with parameters of given storage: None for that of the activations. `stream` gives the input the
    statistics of a language model's residual stream: most of it small, a few channels huge."""
    def make(m):
        channels = shape[-1] if kind != "InstanceNormalization" else shape[1]
        if stream:
            real = m.rng.normal(0, 1, shape)
            real[..., :3] *= 60
            x = m.inputOf(real)
        else:
            x = m.input(list(shape))
        operands = [x, m.parameter("g", m.rng.uniform(0.5, 1.5, channels), gamma, (gamma or "").startswith("int"))]
        if kind != "SimplifiedLayerNormalization":
            values = m.rng.normal(0, 0.3, channels)
            if beta == "int32":
                scale = np.float32(np.abs(values).max() / (2**31 - 1))
                m.constant("c_s", scale)
                m.stored("c", np.clip(np.rint(values / np.float64(scale)), *RANGES["int32"]).astype(np.int64), "int32")
                m.stored("c_z", np.array(0), "int32")
                operands.append(m.dequantize("c"))
            else:
                operands.append(m.parameter("c", values, beta))
        return m.finish(m.op(kind, operands, epsilon=1e-5, **attributes))
    return make


def widenedNorm(shape):
    """16 bits around an RMS norm, as the legalization widen-operators writes it."""
    def make(m):
        x = m.inner(m.input(list(shape)), -3, 3, "uint16")
        scaled = m.op("SimplifiedLayerNormalization", [x, m.parameter("g", m.rng.uniform(0.5, 1.5, shape[-1]), "uint16")],
                      epsilon=1e-5, axis=-1)
        return m.finish(m.inner(scaled, -6, 6, "uint16"))
    return make


def batchNorm(m):
    g, c = m.parameter("g", m.rng.uniform(0.5, 1.5, 24)), m.parameter("c", m.rng.normal(0, 0.3, 24))
    extra = [m.constant("mean", m.rng.normal(0, 0.3, 24).astype(np.float32)),
             m.constant("var", m.rng.uniform(0.5, 1.5, 24).astype(np.float32))]
    return m.finish(m.op("BatchNormalization", [m.input([1, 24, 16, 16]), g, c] + extra, epsilon=1e-5))


def groupNorm(m):
    g, c = m.parameter("g", m.rng.uniform(0.5, 1.5, 32)), m.parameter("c", m.rng.normal(0, 0.3, 32))
    return m.finish(m.op("GroupNormalization", [m.input([1, 32, 16, 16]), g, c], epsilon=1e-5, num_groups=8))


case("softmax", softmax(), FLOAT_TOO)
case("softmax/axis 1", softmax(1))
case("softmax/masked", maskedSoftmax)
case("softmax/int8", softmax(storage="int8", symmetric=True), ("int8",))
case("softmax/symmetric int8 result", lambda m: m.finish(m.op("Softmax", [m.input([1, 4, 64, 64], symmetric=True)], axis=-1), symmetric=True), ("int8",))
case("layer_normalization", norm("LayerNormalization", (1, 48, 320), axis=-1), FLOAT_TOO)
# Shapes matter: with rows in several planes, other kernels run.
for shape in [(64, 256), (2, 64, 256), (1, 4, 16, 32), (1, 4, 16, 64), (1, 16, 16, 64), (3, 16, 100), (1, 24, 77, 64)]:
    text = " x ".join(map(str, shape))
    case(f"layer_normalization/{text}", norm("LayerNormalization", shape, axis=-1))
    case(f"layer_normalization/{text}, int16 scale, int32 bias", norm("LayerNormalization", shape, "int16", "int32", axis=-1), ("uint16",))
    case(f"rms_normalization/{text}", norm("SimplifiedLayerNormalization", shape, axis=-1))
    case(f"rms_normalization/{text}, float scale", norm("SimplifiedLayerNormalization", shape, "float", axis=-1))
case("rms_normalization/widened", widenedNorm((1, 4, 16, 64)), ("uint8",))
case("layer_normalization/stream", norm("LayerNormalization", (1, 48, 320), stream=True, axis=-1))
case("rms_normalization", norm("SimplifiedLayerNormalization", (1, 48, 320), axis=-1), FLOAT_TOO)
case("rms_normalization/stream", norm("SimplifiedLayerNormalization", (1, 48, 320), stream=True, axis=-1))
case("instance_normalization/3-D", norm("InstanceNormalization", (1, 8, 768)), FLOAT_TOO)
case("instance_normalization/4-D", norm("InstanceNormalization", (1, 8, 16, 48)))
for kind, name, shape, attributes in [("LayerNormalization", "layer_normalization", (1, 48, 320), {"axis": -1}),
                                      ("InstanceNormalization", "instance_normalization", (1, 8, 16, 48), {}),
                                      ("SimplifiedLayerNormalization", "rms_normalization", (1, 48, 320), {"axis": -1})]:
    for gamma in ("float", "uint8", "int8", "int16", "uint16"):
        for beta in ("float", "uint8", "int32") if name != "rms_normalization" else (gamma,):
            text = f"{gamma} scale" + (f", {beta} bias" if name != "rms_normalization" else "")
            case(f"{name}/{text}", norm(kind, shape, gamma, beta, **attributes))
for shape in [(1, 8, 768), (2, 32, 8, 64), (2, 32, 512), (1, 8, 64, 64), (2, 4, 16, 4)]:
    case(f"instance_normalization/{' x '.join(map(str, shape))}, uint8 scale, int32 bias",
         norm("InstanceNormalization", shape, "uint8", "int32"))
case("layer_normalization/stream, int16 scale, int32 bias",
     norm("LayerNormalization", (1, 48, 320), "int16", "int32", stream=True, axis=-1), ("uint16",))
case("batch_normalization", batchNorm, FLOAT_TOO)
case("group_normalization", groupNorm)


# Reduction and pooling.

def reduce(kind, axis=-1):
    return lambda m: m.finish(m.op(kind, [m.input([1, 48, 8, 40]), ints(m, "axes", [axis])], keepdims=1))


for name in ("mean", "sum", "max", "min"):
    for axis in (-1, 1):
        case(f"reduce_{name}/axis {axis}", reduce("Reduce" + name.capitalize(), axis))
case("average_pool", lambda m: m.finish(m.op("AveragePool", [m.input([1, 24, 16, 16])], kernel_shape=[2, 2], strides=[2, 2])))
case("global_average_pool", lambda m: m.finish(m.op("GlobalAveragePool", [m.input([1, 24, 16, 16])])))


# Data movement: input and result share one encoding, so a deviation of 0 is expected.

def moved(build, shape=(1, 24, 16, 16)):
    return lambda m: m.finish(build(m, m.input(list(shape))), fixed=(-3.0, 3.0))


def movedBehindRelu(build, shape=(1, 24, 16, 16)):
    """A transpose alone is taken out of the integer graph by ONNX Runtime, and left to the CPU."""
    def make(m):
        return m.finish(build(m, m.inner(m.op("Relu", [m.input(list(shape))]), -3, 3)), fixed=(-3.0, 3.0))
    return make


def split(m):
    parts = m.op("Split", [m.input([1, 24, 16, 16])], outputs=2, axis=1, num_outputs=2)
    halves = [m.inner(part, -3, 3) for part in parts]
    return m.finish(m.op("Max", halves), fixed=(-3.0, 3.0))


def gather(storage=None, granularity="tensor"):
    def make(m):
        ids = m.integerInput("ids", m.rng.integers(0, 100, [1, 16]))
        table = m.weight("t", [100, 64], 0, storage or m.storage, granularity)
        return m.finish(m.op("Gather", [table, ids], axis=0))
    return make


def resize(mode, coordinates):
    def make(m):
        scales = m.constant("scales", np.array([1, 1, 2, 2], np.float32))
        return m.finish(m.op("Resize", [m.input([1, 24, 16, 16]), "", scales], mode=mode, nearest_mode="floor",
                             coordinate_transformation_mode=coordinates), fixed=(-3.0, 3.0))
    return make


def where(m):
    a, b = m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16])
    m.constant("condition", m.rng.integers(0, 2, [1, 24, 16, 16]).astype(bool))
    return m.finish(m.op("Where", ["condition", a, b]), fixed=(-3.0, 3.0))


def scatterND(m):
    x, updates = m.input([1, 24, 64]), m.input([1, 5, 64])
    rows = np.stack([np.zeros(5, np.int64), m.rng.permutation(24)[:5].astype(np.int64)], -1)[None]
    return m.finish(m.op("ScatterND", [x, m.constant("rows", rows), updates]), fixed=(-3.0, 3.0))


case("concat", lambda m: m.finish(m.op("Concat", [m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16], -5, 7)], axis=1)))
case("resize/nearest", resize("nearest", "asymmetric"))
case("resize/linear", resize("linear", "half_pixel"))
for storage in ("uint8", "uint16", "int8"):
    case(f"gather/{storage} table", gather(storage), QUANTIZED if storage == "int8" else (storage,))
case("gather/int8 table, one scale per row", gather("int8", "axis"))
case("gather/activation", moved(lambda m, x: m.op("Gather", [x, ints(m, "ids", m.rng.integers(0, 24, [5]))], axis=1), (1, 24, 64)))
case("gather_elements", moved(lambda m, x: m.op("GatherElements", [x, ints(m, "ids", m.rng.integers(0, 24, [1, 5, 64]))], axis=1), (1, 24, 64)))
case("scatter_nd", scatterND)
case("transpose", movedBehindRelu(lambda m, x: m.op("Transpose", [x], perm=[0, 2, 3, 1])))
case("transpose/3-D", movedBehindRelu(lambda m, x: m.op("Transpose", [x], perm=[0, 2, 1]), (1, 48, 320)))
case("split", split)
case("where", where)
case("max_pool", moved(lambda m, x: m.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])))
case("global_max_pool", moved(lambda m, x: m.op("GlobalMaxPool", [x])))
case("reshape", moved(lambda m, x: m.op("Reshape", [x, ints(m, "shape", [1, 24, 256])])))
case("flatten", moved(lambda m, x: m.op("Flatten", [x], axis=1)))
case("squeeze", moved(lambda m, x: m.op("Squeeze", [x, ints(m, "axes", [0])])))
case("unsqueeze", moved(lambda m, x: m.op("Unsqueeze", [x, ints(m, "axes", [0])]), (24, 16, 16)))
case("expand", moved(lambda m, x: m.op("Expand", [x, ints(m, "shape", [2, 24, 16, 16])])))
case("tile", moved(lambda m, x: m.op("Tile", [x, ints(m, "repeats", [1, 2, 1, 1])])))
case("slice", moved(lambda m, x: m.op("Slice", [x, ints(m, "s0", [2]), ints(m, "s1", [14]), ints(m, "s2", [2])])))
case("pad", moved(lambda m, x: m.op("Pad", [x, ints(m, "pads", [0, 0, 1, 1, 0, 0, 1, 1])])))
case("depth_to_space", moved(lambda m, x: m.op("DepthToSpace", [x], blocksize=2)))
case("space_to_depth", moved(lambda m, x: m.op("SpaceToDepth", [x], blocksize=2)))


# Results that are no rounded numbers.

def topK(m):
    values, _ = m.op("TopK", [m.input([1, 24, 64]), ints(m, "k", [5])], outputs=2, axis=-1)
    return m.finish(values, fixed=(-3.0, 3.0))


def extremum(kind):
    """Rows are permutations of distinct integers, so that there are no ties."""
    def make(m):
        rows = np.stack([m.rng.permutation(200) for _ in range(24)])[None] - 100.0
        return m.finish(m.op(kind, [m.inputOf(rows)], axis=-1, keepdims=0))
    return make


def compared(kind):
    """Boolean graph outputs are taken back to numbers."""
    def make(m):
        chosen = m.op(kind, [m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16])])
        return m.finish(m.op("Where", [chosen, m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16])]), fixed=(-3.0, 3.0))
    return make


def logical(kind):
    def make(m):
        conditions = [m.op("Less", [m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16])])]
        if kind != "Not":
            conditions.append(m.op("Greater", [m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16])]))
        a, b = m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16])
        return m.finish(m.op("Where", [m.op(kind, conditions), a, b]), fixed=(-3.0, 3.0))
    return make


case("top_k", topK)
case("arg_max", extremum("ArgMax"))
case("arg_min", extremum("ArgMin"))
for name, kind in [("equal", "Equal"), ("less", "Less"), ("less_or_equal", "LessOrEqual"), ("greater", "Greater"),
                   ("greater_or_equal", "GreaterOrEqual")]:
    case(name, compared(kind))
for name in ("and", "or", "xor", "not"):
    case(name, logical(name.capitalize()))
case("cast/int32 to float", lambda m: m.finish(m.op("Cast", [m.integerInput("i", m.rng.integers(-100, 100, [1, 24, 64]).astype(np.int32))], to=TensorProto.FLOAT)))


# Forms that are refused whatever their encoding.

SIX = (1, 2, 3, 4, 5, 6)


def rotary(m):
    x, ids = m.input([1, 4, 16, 32]), m.integerInput("ids", np.arange(16, dtype=np.int64)[None])
    angles = np.arange(64)[:, None] / 10000 ** (np.arange(16) / 16)
    return m.finish(m.op("RotaryEmbedding", [x, ids, m.parameter("cos", np.cos(angles)), m.parameter("sin", np.sin(angles))],
                         "com.microsoft"))


def groupQueryAttention(m):
    q, k, v = (m.input([1, 8, heads * 32]) for heads in (4, 2, 2))
    past = [m.input([1, 2, 4, 32]) for _ in range(2)]
    lengths = [m.constant("seqlens", np.array([11], np.int32)), m.constant("total", np.array(12, np.int32))]
    y, _, _ = m.op("GroupQueryAttention", [q, k, v] + past + lengths, "com.microsoft", outputs=3, num_heads=4, kv_num_heads=2)
    return m.finish(y)


for name, build in [
        ("transpose", lambda m, x: m.op("Transpose", [x], perm=[0, 2, 1, 4, 3, 5])),
        ("reshape", lambda m, x: m.op("Reshape", [x, ints(m, "shape", [1, 6, 120])])),
        ("expand", lambda m, x: m.op("Expand", [x, ints(m, "shape", [2, 2, 3, 4, 5, 6])])),
        ("concat", lambda m, x: m.op("Concat", [x, m.input(list(SIX))], axis=2)),
        ("slice", lambda m, x: m.op("Slice", [x, ints(m, "s0", [1]), ints(m, "s1", [3]), ints(m, "s2", [4])])),
        ("add", lambda m, x: m.op("Add", [x, m.input(list(SIX))])),
        ("mul", lambda m, x: m.op("Mul", [x, m.input(list(SIX))])),
        ("matmul", lambda m, x: m.op("MatMul", [x, m.input([1, 2, 3, 4, 6, 5])])),
        ("softmax", lambda m, x: m.op("Softmax", [x], axis=-1)),
        ("relu", lambda m, x: m.op("Relu", [x])),
        ("sigmoid", lambda m, x: m.op("Sigmoid", [x]))]:
    case(f"rank 6/{name}", (lambda build: lambda m: m.finish(build(m, m.inner(m.op("Relu", [m.input(list(SIX))]), -3, 3))))(build))
case("rotary_embedding", rotary)
case("group_query_attention", groupQueryAttention)

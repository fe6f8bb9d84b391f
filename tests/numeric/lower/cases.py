"""Models of one operator with samples of realistic ranges."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(20)


def normal(*shape, scale=1.0):
    return (scale * random.normal(size=shape)).astype(np.float32)


def uniform(low, high, *shape):
    return random.uniform(low, high, size=shape).astype(np.float32)


def outliers(*shape):
    """Activations of a language model: a few channels are 40 times larger than the others."""
    values = normal(*shape)
    values[..., :4] *= 40
    return values


class Model:
    """Collects nodes; `samples` are the inputs of the runs, two each."""

    def __init__(self):
        self.nodes, self.inputs, self.weights, self.samples = [], [], [], [{}, {}]

    def input(self, make, kind=TensorProto.FLOAT):
        name = f"x{len(self.inputs)}"
        for sample in self.samples:
            sample[name] = make()
        self.inputs.append(helper.make_tensor_value_info(name, kind, self.samples[0][name].shape))
        return name

    def weight(self, values):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=f"{operator}_{len(self.nodes)}", **attributes))
        return name

    def save(self, path, output):
        graph = helper.make_graph(self.nodes, "case", self.inputs, [], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False)
        known = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
        model.graph.output.append(helper.make_tensor_value_info(output, known.get(output) or TensorProto.FLOAT, None))
        onnx.save(model, path)


def conv(shape, weights, **attributes):
    def build(m):
        fan = np.prod(weights[1:])
        return m.node("Conv", m.input(lambda: normal(*shape)), m.weight(normal(*weights, scale=fan ** -0.5)),
                      m.weight(normal(weights[0], scale=0.1)), **attributes)
    return build


def transposed(m):
    return m.node("ConvTranspose", m.input(lambda: normal(1, 32, 12, 12)), m.weight(normal(32, 16, 4, 4, scale=0.05)),
                  m.weight(normal(16, scale=0.1)), strides=[2, 2], pads=[1, 1, 1, 1])


def linear(inner=512, rows=64, columns=256, hasBias=True):
    def build(m):
        product = m.node("MatMul", m.input(lambda: normal(1, rows, inner)), m.weight(normal(inner, columns, scale=inner ** -0.5)))
        return m.node("Add", product, m.weight(normal(columns, scale=0.1))) if hasBias else product
    return build


def products(m):
    return m.node("MatMul", m.input(lambda: normal(1, 4, 64, 32)), m.input(lambda: normal(1, 4, 32, 64)))


def softmax(columns, masked=False):
    def build(m):
        scores = m.input(lambda: normal(1, 4, 64, columns, scale=3))
        if masked:
            mask = np.where(np.tri(64, columns, dtype=bool), 0, -3.4e38).astype(np.float32)
            scores = m.node("Add", scores, m.weight(mask[None, None]))
        return m.node("Softmax", scores, axis=-1)
    return build


def layerNorm(make, length):
    def build(m):
        return m.node("LayerNormalization", m.input(lambda: make(1, 64, length)), m.weight(1 + normal(length, scale=0.1)),
                      m.weight(normal(length, scale=0.1)), epsilon=1e-5)
    return build


def rmsNorm(make, length):
    def build(m):
        return m.node("SimplifiedLayerNormalization", m.input(lambda: make(1, 64, length)),
                      m.weight(1 + normal(length, scale=0.1)), epsilon=1e-5)
    return build


def groupNorm(groups, channels, pixels):
    def build(m):
        return m.node("GroupNormalization", m.input(lambda: normal(1, channels, pixels, pixels) + 0.5),
                      m.weight(1 + normal(channels, scale=0.1)), m.weight(normal(channels, scale=0.1)), num_groups=groups,
                      epsilon=1e-5)
    return build


def instanceNorm(m):
    return m.node("InstanceNormalization", m.input(lambda: normal(1, 16, 16, 16)), m.weight(1 + normal(16, scale=0.1)),
                  m.weight(normal(16, scale=0.1)))


def function(operator, low, high, **attributes):
    return lambda m: m.node(operator, m.input(lambda: uniform(low, high, 64, 512)), **attributes)


def silu(m):
    x = m.input(lambda: uniform(-9, 9, 64, 512))
    return m.node("Mul", x, m.node("Sigmoid", x))


def power(m):
    return m.node("Pow", m.input(lambda: uniform(0.1, 4, 64, 512)), m.weight(np.float32(1.5)))


def binary(operator, scale):
    return lambda m: m.node(operator, m.input(lambda: normal(64, 512)), m.input(lambda: normal(64, 512, scale=scale)))


def division(m):
    return m.node("Div", m.input(lambda: normal(64, 512)), m.input(lambda: uniform(0.5, 4, 64, 512)))


def rope(m):
    x = m.input(lambda: normal(1, 4, 64, 32))
    angles = np.outer(np.arange(64), 10000.0 ** (-np.arange(16) / 16)).astype(np.float32)
    angles = np.concatenate([angles, angles], axis=1)
    first = m.node("Slice", x, m.weight(np.array([0])), m.weight(np.array([16])), m.weight(np.array([3])))
    last = m.node("Slice", x, m.weight(np.array([16])), m.weight(np.array([32])), m.weight(np.array([3])))
    turned = m.node("Concat", m.node("Neg", last), first, axis=3)
    return m.node("Add", m.node("Mul", x, m.weight(np.cos(angles))), m.node("Mul", turned, m.weight(np.sin(angles))))


def embedding(m):
    ids = m.input(lambda: random.integers(0, 500, (1, 64)), TensorProto.INT64)
    table = m.node("Gather", m.weight(normal(500, 64, scale=0.02)), ids)
    return m.node("Add", table, m.weight(normal(1, 64, 64, scale=0.02)))


def concat(m):
    return m.node("Concat", m.input(lambda: normal(64, 256)), m.input(lambda: normal(64, 256, scale=3)), axis=1)


def resize(mode, **attributes):
    def build(m):
        x = m.input(lambda: normal(1, 16, 12, 12))
        return m.node("Resize", x, "", m.weight(np.array([1, 1, 2, 2], np.float32)), mode=mode, **attributes)
    return build


def pool(operator, **attributes):
    return lambda m: m.node(operator, m.input(lambda: normal(1, 32, 16, 16)), **attributes)


def reduction(operator):
    return lambda m: m.node(operator, m.input(lambda: normal(16, 64, 32)), m.weight(np.array([1])), keepdims=1)


def clip(m):
    return m.node("Clip", m.input(lambda: normal(64, 512)), m.weight(np.float32(-1)), m.weight(np.float32(1.5)))


def choice(m):
    keep = m.input(lambda: random.integers(0, 2, (64, 512)).astype(bool), TensorProto.BOOL)
    return m.node("Where", keep, m.input(lambda: normal(64, 512)), m.input(lambda: normal(64, 512, scale=2)))


def gemm(m):
    return m.node("Gemm", m.input(lambda: normal(128, 64)), m.weight(normal(128, 96, scale=0.09)), m.weight(normal(96)),
                  transA=1, alpha=0.5, beta=2.0)


def cumulative(**attributes):
    return lambda m: m.node("CumSum", m.input(lambda: normal(16, 50, 8)), m.weight(np.int64(1)), **attributes)


def topK(output, **attributes):
    def build(m):
        x = m.input(lambda: normal(16, 64))
        names = ["values", "indices"]
        m.nodes.append(helper.make_node("TopK", [x, m.weight(np.array([5]))], names, name="TopK", axis=1, **attributes))
        return names[output]
    return build


def oneHot(m):
    ids = m.input(lambda: random.integers(-12, 12, (8, 32)), TensorProto.INT64)
    return m.node("OneHot", ids, m.weight(np.int64(10)), m.weight(np.array([0.25, 2], np.float32)), axis=1)


def scatter(m):
    order = lambda: np.stack([random.permutation(20)[:7] for _ in range(24)]).T.copy()
    return m.node("ScatterElements", m.input(lambda: normal(20, 24)), m.input(order, TensorProto.INT64),
                  m.input(lambda: normal(7, 24, scale=2)), axis=0)


def gather(m):
    order = lambda: random.integers(-20, 20, (7, 24))
    return m.node("GatherElements", m.input(lambda: normal(20, 24)), m.input(order, TensorProto.INT64), axis=0)


def numbers(operator, sign=1, **attributes):
    """Of integers, which are no quanta: the table says 0 where all are equal."""
    divisors = sign * np.array([3, 4, 7, 8, 1, 5])
    return lambda m: m.node(operator, m.input(lambda: random.integers(-100, 100, (30, 6)), TensorProto.INT64),
                            m.weight(divisors), **attributes)


def place(operator, **attributes):
    return lambda m: m.node(operator, m.input(lambda: normal(64, 50).round(1)), axis=1, **attributes)


BOTH, WEIGHTS = ("w8a8", "w8a16"), ("w8a8", "w8a16", "w4a8", "w4a16")
GROUPS = "weights: {bits: 4, symmetric: true, granularity: group, group-size: 32, scale-search: mse}"
LPBQ = "weights: {bits: 4, symmetric: true, granularity: lpbq, group-size: 32, scale-search: mse}"
# Row of the table, recipes, model; what is other than in the recipe.
CASES = [
    ("convolution 3x3, 64 channels", WEIGHTS, conv((1, 64, 16, 16), (64, 64, 3, 3), pads=[1, 1, 1, 1])),
    ("convolution, stride 2", BOTH, conv((1, 32, 16, 16), (32, 32, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])),
    ("convolution, 4 groups", BOTH, conv((1, 32, 16, 16), (32, 8, 3, 3), pads=[1, 1, 1, 1], group=4)),
    ("convolution, depthwise", BOTH, conv((1, 32, 16, 16), (32, 1, 3, 3), pads=[1, 1, 1, 1], group=32)),
    ("convolution of one axis", BOTH, conv((1, 32, 64), (32, 32, 3), pads=[1, 1])),
    ("convolution of three axes", BOTH, conv((1, 8, 6, 8, 8), (8, 8, 3, 3, 3), pads=[1] * 6)),
    ("transposed convolution", BOTH, transposed),
    ("linear layer, 512 inputs", WEIGHTS, linear()),
    ("linear layer, groups of 32", WEIGHTS[2:], linear(hasBias=False), GROUPS),
    ("linear layer, LPBQ of 32", WEIGHTS[2:], linear(hasBias=False), LPBQ),
    ("linear layer, 4096 inputs", BOTH, linear(4096, 16, 64)),
    ("product of activations", BOTH, products),
    ("softmax of 77", BOTH, softmax(77)),
    ("softmax of 1024", BOTH, softmax(1024)),
    ("softmax of 64, causal mask", BOTH, softmax(64, masked=True)),
    ("LayerNorm of 320", BOTH, layerNorm(normal, 320)),
    ("LayerNorm of 2048, outliers", BOTH, layerNorm(outliers, 2048)),
    ("RMSNorm of 256", BOTH, rmsNorm(normal, 256)),
    ("RMSNorm of 4096, outliers", BOTH, rmsNorm(outliers, 4096)),
    ("GroupNorm, 8 groups of 8 channels, 16x16", BOTH, groupNorm(8, 64, 16)),
    ("GroupNorm, 32 groups of 10 channels, 32x32", BOTH, groupNorm(32, 320, 32)),
    ("InstanceNorm", BOTH, instanceNorm),
    ("SiLU", BOTH, silu),
    ("GELU", BOTH, function("Gelu", -8, 8)),
    ("GELU by tanh", BOTH, function("Gelu", -8, 8, approximate="tanh")),
    ("sigmoid", BOTH, function("Sigmoid", -9, 9)),
    ("tanh", BOTH, function("Tanh", -9, 9)),
    ("erf", BOTH, function("Erf", -4, 4)),
    ("exp", BOTH, function("Exp", -8, 2)),
    ("log", BOTH, function("Log", 0.1, 8)),
    ("square root", BOTH, function("Sqrt", 0, 9)),
    ("reciprocal", BOTH, function("Reciprocal", 0.25, 4)),
    ("sine", BOTH, function("Sin", -6, 6)),
    ("round", BOTH, function("Round", -9, 9)),
    ("floor", BOTH, function("Floor", -9, 9)),
    ("softplus", BOTH, function("Softplus", -8, 8)),
    ("power", BOTH, power),
    ("sum", BOTH, binary("Add", 3)),
    ("difference", BOTH, binary("Sub", 0.3)),
    ("product", BOTH, binary("Mul", 2)),
    ("quotient", BOTH, division),
    ("maximum", BOTH, binary("Max", 2)),
    ("RoPE", BOTH, rope),
    ("embedding and position", BOTH, embedding),
    ("concat of different scales", BOTH, concat),
    ("resize to the nearest", BOTH, resize("nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")),
    ("resize, bilinear", BOTH, resize("linear")),
    ("average pool", BOTH, pool("AveragePool", kernel_shape=[2, 2], strides=[2, 2])),
    ("maximum pool", BOTH, pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2])),
    ("global average pool", BOTH, lambda m: m.node("GlobalAveragePool", m.input(lambda: normal(8, 32, 16, 16)))),
    ("mean", BOTH, reduction("ReduceMean")),
    ("sum along an axis", BOTH, reduction("ReduceSum")),
    ("Gemm, factors", BOTH, gemm),
    ("root of the sum of squares", BOTH, reduction("ReduceL2")),
    ("logarithm of the sum of exponentials", BOTH, reduction("ReduceLogSumExp")),
    ("log softmax", BOTH, lambda m: m.node("LogSoftmax", m.input(lambda: normal(1, 64, 77, scale=2)), axis=-1)),
    ("cumulative sum", BOTH, cumulative()),
    ("cumulative sum, reverse and exclusive", BOTH, cumulative(reverse=1, exclusive=1)),
    ("TopK, values", BOTH, topK(0)),
    ("TopK, indices", BOTH, topK(1)),
    ("TopK of the smallest, indices", BOTH, topK(1, largest=0)),
    ("index of the largest", BOTH, place("ArgMax")),
    ("index of the smallest", BOTH, place("ArgMin")),
    ("index of the last largest", BOTH, place("ArgMax", select_last_index=1)),
    ("one-hot", BOTH, oneHot),
    ("scatter of elements", BOTH, scatter),
    ("gather of elements", BOTH, gather),
    ("remainder of integers", BOTH, numbers("Mod")),
    ("remainder of integers, negative divisors", BOTH, numbers("Mod", -1)),
    ("remainder of integers, of C", BOTH, numbers("Mod", fmod=1)),
    ("quotient of integers", BOTH, numbers("Div")),
    ("largest along an axis", BOTH, reduction("ReduceMax")),
    ("clip", BOTH, clip),
    ("choice by a condition", BOTH, choice),
]

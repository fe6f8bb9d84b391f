"""Writes small models that quantizers are known to stumble over, each with calibration and evaluation samples.

usage: make_weak_spots.py FOLDER

  mask-lowest   a BERT-like sentence encoder; padding is masked by adding -3.4e38 (the lowest float32) to the scores
  mask-inf      the same with a boolean mask input, and -inf where it is false
  mask-input    the same with an input that holds 0 and -3.4e38, which is added to the scores
  rank-0        an integer step of rank 0 as input, and a float tensor of rank 0 inside
  two-shapes    a convolutional net with free height and width, and samples of two shapes

Each is FOLDER/NAME/model.onnx with calib/NNN.npz and eval/NNN.npz. Weights are random but scaled as in trained nets:
attention is peaked, embeddings differ in size by channel. The same seed gives the same bytes.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HIDDEN, HEADS, LAYERS, VOCABULARY, LENGTH = 64, 4, 3, 200, 24


class Graph:
    """Collects nodes and initializers; each method returns the name of the tensor it made."""

    def __init__(self, seed):
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(seed)

    def node(self, operator, inputs, name, outputs=1, **attributes):
        results = [name] if outputs == 1 else [f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, results, name=f"/{name}/{operator}", **attributes))
        return results[0] if outputs == 1 else results

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name, *shape, scale=None):
        fanIn = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
        value = self.random.standard_normal(shape) * (scale or 1 / np.sqrt(fanIn))
        return self.constant(name, value.astype(np.float32))

    def linear(self, name, value, inputs, outputs, scale=None):
        weight = self.weight(f"{name}.weight", inputs, outputs, scale=scale)
        product = self.node("MatMul", [value, weight], f"{name}.matmul")
        bias = self.constant(f"{name}.bias", (0.1 * self.random.standard_normal(outputs)).astype(np.float32))
        return self.node("Add", [product, bias], f"{name}.out")

    def layerNorm(self, name, value):
        scale = self.constant(f"{name}.scale", (1 + 0.2 * self.random.standard_normal(HIDDEN)).astype(np.float32))
        bias = self.constant(f"{name}.bias", (0.1 * self.random.standard_normal(HIDDEN)).astype(np.float32))
        return self.node("LayerNormalization", [value, scale, bias], f"{name}.out", axis=-1, epsilon=1e-12)

    def save(self, folder, inputs, outputs):
        graph = helper.make_graph(self.nodes, folder.name, inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(model, folder / "model.onnx")


def info(name, element, shape):
    return helper.make_tensor_value_info(name, element, shape)


def selfAttention(graph, name, value, mask):
    def heads(part, order):
        # Larger query and key weights make the attention peaked, as training does.
        linear = graph.linear(f"{name}.{part}", value, HIDDEN, HIDDEN, scale=None if part == "value" else 0.25)
        split = graph.node("Reshape", [linear, "heads_shape"], f"{name}.{part}.split")
        return graph.node("Transpose", [split], f"{name}.{part}.heads", perm=order)

    query, key, content = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores = graph.node("MatMul", [query, key], f"{name}.scores")
    scaled = graph.node("Div", [scores, "head_scale"], f"{name}.scaled")
    masked = graph.node("Add", [scaled, mask], f"{name}.masked")
    weights = graph.node("Softmax", [masked], f"{name}.weights", axis=-1)
    context = graph.node("MatMul", [weights, content], f"{name}.context")
    rows = graph.node("Transpose", [context], f"{name}.rows", perm=[0, 2, 1, 3])
    joined = graph.node("Reshape", [rows, "joined_shape"], f"{name}.joined")
    return graph.linear(f"{name}.output", joined, HIDDEN, HIDDEN)


def gelu(graph, name, value):
    erf = graph.node("Erf", [graph.node("Div", [value, "sqrt_2"], f"{name}.scaled")], f"{name}.erf")
    gate = graph.node("Add", [erf, "one"], f"{name}.gate")
    return graph.node("Mul", [graph.node("Mul", [value, gate], f"{name}.product"), "half"], f"{name}.gelu")


def sentenceEncoder(folder, seed, kind):
    graph = Graph(seed)
    for name, value in {"head_scale": np.sqrt(HIDDEN / HEADS), "sqrt_2": np.sqrt(2), "one": 1, "half": 0.5}.items():
        graph.constant(name, np.float32(value))
    graph.constant("heads_shape", np.array([0, 0, HEADS, HIDDEN // HEADS], np.int64))
    graph.constant("joined_shape", np.array([0, 0, HIDDEN], np.int64))
    channels = np.exp(graph.random.normal(0, 0.7, HIDDEN))
    rows = graph.random.standard_normal((VOCABULARY, HIDDEN)) * channels
    table = graph.constant("token_table", rows.astype(np.float32))
    tokens = graph.node("Gather", [table, "input_ids"], "tokens")
    positions = graph.weight("position_table", LENGTH, HIDDEN, scale=0.3)
    value = graph.layerNorm("embedding_norm", graph.node("Add", [tokens, positions], "embeddings"))

    axes = graph.constant("mask_axes", np.array([1, 2], np.int64))
    spread = graph.node("Unsqueeze", ["attention_mask", axes], "mask_4d")
    lowestFloat = np.finfo(np.float32).min
    if kind == "input":
        mask = spread
    elif kind == "inf":
        zero, lowest = graph.constant("mask_zero", np.float32(0)), graph.constant("mask_value", np.float32(-np.inf))
        mask = graph.node("Where", [spread, zero, lowest], "mask")
    else:
        kept = graph.node("Cast", [spread], "mask_float", to=TensorProto.FLOAT)
        dropped = graph.node("Sub", ["one", kept], "mask_dropped")
        mask = graph.node("Mul", [dropped, graph.constant("mask_value", lowestFloat)], "mask")

    for layer in range(LAYERS):
        attended = selfAttention(graph, f"layer.{layer}.attention", value, mask)
        value = graph.layerNorm(f"layer.{layer}.attention_norm",
                                graph.node("Add", [attended, value], f"layer.{layer}.attention_sum"))
        inner = graph.linear(f"layer.{layer}.up", value, HIDDEN, 4 * HIDDEN)
        outer = graph.linear(f"layer.{layer}.down", gelu(graph, f"layer.{layer}", inner), 4 * HIDDEN, HIDDEN)
        value = graph.layerNorm(f"layer.{layer}.norm", graph.node("Add", [outer, value], f"layer.{layer}.sum"))
    first = graph.constant("first_token", np.int64(0))
    sentence = graph.node("Gather", [value, first], "first", axis=1)
    graph.node("Tanh", [graph.linear("pooler", sentence, HIDDEN, HIDDEN)], "sentence")

    maskType = {"lowest": TensorProto.INT64, "inf": TensorProto.BOOL, "input": TensorProto.FLOAT}[kind]
    graph.save(folder, [info("input_ids", TensorProto.INT64, ["batch_size", LENGTH]),
                        info("attention_mask", maskType, ["batch_size", LENGTH])],
               [info("sentence", TensorProto.FLOAT, ["batch_size", HIDDEN])])

    def sample():
        used = int(graph.random.integers(5, LENGTH + 1))
        ids = graph.random.integers(1, VOCABULARY, (1, LENGTH)) * (np.arange(LENGTH) < used)
        mask = np.arange(LENGTH)[None] < used
        masks = {"lowest": mask.astype(np.int64), "inf": mask,
                 "input": np.where(mask, np.float32(0), lowestFloat)}
        return {"input_ids": ids.astype(np.int64), "attention_mask": masks[kind]}

    writeSamples(folder, sample, 16, 8)


def rankZero(folder, seed):
    graph = Graph(seed)
    one = graph.constant("one", np.float32(1))
    step = graph.node("Cast", ["step"], "step_float", to=TensorProto.FLOAT)
    phase = graph.node("Mul", [step, graph.constant("rate", np.float32(0.05))], "phase")
    gain = graph.node("Add", [graph.node("Sin", [phase], "wave"), graph.constant("offset", np.float32(1.5))], "gain")
    hidden = graph.node("Relu", [graph.linear("up", "sample", 32, 64)], "hidden")
    scaled = graph.node("Mul", [hidden, gain], "scaled")
    level = graph.node("ReduceMean", [scaled], "level", keepdims=0)
    centred = graph.node("Div", [scaled, graph.node("Add", [level, one], "divisor")], "centred")
    graph.linear("down", centred, 64, 16)
    graph.save(folder, [info("sample", TensorProto.FLOAT, [4, 32]), info("step", TensorProto.INT64, [])],
               [info("down.out", TensorProto.FLOAT, [4, 16])])
    writeSamples(folder, lambda: {"sample": graph.random.standard_normal((4, 32)).astype(np.float32),
                                  "step": np.int64(graph.random.integers(0, 100))}, 16, 8)


def twoShapes(folder, seed):
    graph = Graph(seed)
    value, channels = "image", 3
    for index, width in enumerate((16, 32)):
        weight = graph.weight(f"conv{index}.weight", width, channels, 3, 3, scale=np.sqrt(2 / (9 * channels)))
        bias = graph.constant(f"conv{index}.bias", (0.1 * graph.random.standard_normal(width)).astype(np.float32))
        value = graph.node("Conv", [value, weight, bias], f"conv{index}", pads=[1, 1, 1, 1])
        value = graph.node("Mul", [value, graph.node("Sigmoid", [value], f"gate{index}")], f"silu{index}")
        channels = width
    weight = graph.weight("head.weight", 4, channels, 1, 1)
    graph.node("Conv", [value, weight], "map")
    graph.save(folder, [info("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
               [info("map", TensorProto.FLOAT, [1, 4, "height", "width"])])
    shapes = [(16, 16), (24, 12)]
    count = iter(range(1000))

    def sample():
        return {"image": graph.random.standard_normal((1, 3, *shapes[next(count) % 2])).astype(np.float32)}

    writeSamples(folder, sample, 16, 8)


def writeSamples(folder, sample, calibration, evaluation):
    for part, number in (("calib", calibration), ("eval", evaluation)):
        (folder / part).mkdir(exist_ok=True)
        for index in range(number):
            np.savez(folder / part / f"{index:03d}.npz", **sample())


def main():
    root = pathlib.Path(sys.argv[1])
    sentenceEncoder(root / "mask-lowest", 1, "lowest")
    sentenceEncoder(root / "mask-inf", 2, "inf")
    sentenceEncoder(root / "mask-input", 1, "input")
    rankZero(root / "rank-0", 3)
    twoShapes(root / "two-shapes", 4)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures how far the vendor's HTP emulation lies from QDQ semantics, one operator at a time.

Every case is a model of one operator between DequantizeLinear and QuantizeLinear with integer graph
inputs and outputs. It runs in ONNX Runtime's CPU provider with graph optimizations off (the
reference) and in the HTP emulation of onnxruntime-qnn, on several seeds and input distributions;
printed are the largest and the root-mean-square deviation in quanta of the output. The figures in
configs/targets/rules/qnn-htp.yaml come from this script.

Usage: htp_bounds.py [--soc 43] [--only REGEX]      (Python with onnx, onnxruntime, onnxruntime-qnn)
"""
import argparse
import os
import re
import sys

import numpy as np
import onnx
import onnxruntime as ort
import onnxruntime_qnn
from onnx import TensorProto, helper, numpy_helper

RANGES = {"uint8": (0, 255), "uint16": (0, 65535), "int8": (-128, 127), "int16": (-32768, 32767), "int4": (-8, 7)}


class Model:
    """A QDQ model under construction; tensors are tracked with their float values for calibration."""

    def __init__(self, storage, rng):
        self.storage, self.rng = storage, rng
        self.nodes, self.constants, self.inputs, self.feeds, self.quanta = [], [], [], {}, {}

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def encode(self, name, low, high, storage, symmetric):
        qmin, qmax = RANGES[storage]
        low, high = min(low, 0.0), max(high, 0.0)
        if symmetric:
            bound = max(-low, high, 1e-6)
            low, high = -bound, bound
        scale = np.float32(max(high - low, 1e-6) / (qmax - qmin))
        zero = int(np.clip(round(qmin - low / scale), qmin, qmax))
        if symmetric:
            zero = (qmin + qmax + 1) // 2
        dtype = np.dtype(storage)
        self.constant(name + "_s", scale)
        self.constant(name + "_z", np.array(zero, dtype))
        return scale, zero

    def input(self, shape, low=-3.0, high=3.0, storage=None, symmetric=False, distribution="normal"):
        storage = storage or self.storage
        name = f"x{len(self.inputs)}"
        scale, zero = self.encode(name, low, high, storage, symmetric)
        if distribution == "normal":
            real = self.rng.normal((low + high) / 2, (high - low) / 6, shape)
        else:
            real = self.rng.uniform(low, high, shape)
        stored = np.clip(np.rint(real / scale) + zero, *RANGES[storage]).astype(storage)
        self.feeds[name] = stored
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(storage)), shape))
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"]))
        return name + "_f"

    def weight(self, name, shape, axis, bits=8, storage=None, granularity="axis", block=32):
        real = self.rng.normal(0, 0.05, shape)
        if granularity == "asymmetric":
            scale, zero = self.encode(name, real.min(), real.max(), "uint8", False)
            self.constant(name, np.clip(np.rint(real / scale) + zero, 0, 255).astype(np.uint8))
            self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"]))
            return name + "_f"
        top = {4: 7, 8: 127, 16: 32767}[bits]
        if granularity == "block":  # along axis 0 of a [K, N] matrix
            grouped = np.abs(real).reshape(shape[0] // block, block, shape[1]).max(1)
            scale = (grouped / top).astype(np.float32)
            wide = np.repeat(scale, block, 0)
        elif granularity == "tensor":
            scale = np.float32(np.abs(real).max() / top)
            wide = scale
        else:
            other = tuple(d for d in range(len(shape)) if d != axis)
            scale = (np.abs(real).max(axis=other) / top).astype(np.float32)
            wide = scale.reshape([-1 if d == axis else 1 for d in range(len(shape))])
        stored = np.clip(np.rint(real / wide), -top - 1, top).astype(np.int16)
        kind = {4: TensorProto.INT4, 8: TensorProto.INT8, 16: TensorProto.INT16}[bits]
        self.constants.append(helper.make_tensor(name, kind, shape, stored.ravel().tolist()))
        self.constant(name + "_s", scale)
        # Without a zero point, 4-bit and per-tensor weights are accepted and misread.
        zeros = [0] * int(np.asarray(scale).size)
        self.constants.append(helper.make_tensor(name + "_z", kind, np.asarray(scale).shape, zeros))
        attributes = {"axis": 0 if granularity == "block" else axis}
        if granularity == "block":
            attributes["block_size"] = block
        elif granularity == "tensor":
            attributes = {}
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"], **attributes))
        self.last_scale = scale
        return name + "_f"

    def lpbq(self, name, shape, block=64):
        real = self.rng.normal(0, 0.05, shape)
        grouped = np.abs(real).reshape(shape[0] // block, block, shape[1]).max(1) / 7
        channel = (grouped.max(0) / 16).astype(np.float32)
        multiplier = np.clip(np.rint(grouped / channel), 1, 16).astype(np.uint8)
        wide = np.repeat(multiplier * channel, block, 0)
        stored = np.clip(np.rint(real / wide), -8, 7).astype(np.int8)
        self.constants.append(helper.make_tensor(name, TensorProto.INT4, shape, stored.ravel().tolist()))
        self.constants.append(helper.make_tensor(name + "_z", TensorProto.INT4, multiplier.shape, [0] * multiplier.size))
        self.constant(name + "_m", multiplier)
        self.constant(name + "_c", channel)
        self.constant(name + "_mz", np.zeros(shape[1], np.uint8))
        self.nodes.append(helper.make_node("DequantizeLinear", [name + "_m", name + "_c", name + "_mz"], [name + "_s"], axis=1))
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"], axis=0, block_size=block))
        return name + "_f"

    def bias(self, name, count, input_name):
        scales = {t.name: numpy_helper.to_array(t) for t in self.constants if t.name.endswith("_s")}
        # One scale for per-tensor weights: a vector there is accepted and misread.
        scale = np.asarray(scales[input_name + "_s"] * self.last_scale, np.float32)
        self.constant(name, np.broadcast_to(np.rint(self.rng.normal(0, 0.2, count) / scale), count).astype(np.int32))
        self.constant(name + "_s", scale)
        attributes = {"axis": 0} if scale.ndim else {}
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s"], [name + "_f"], **attributes))
        return name + "_f"

    def op(self, kind, inputs, domain="", **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, name=f"{kind}_{len(self.nodes)}", **attributes))
        return name

    def inner(self, value, low, high, storage=None):
        """Q and DQ between two operators."""
        name = f"m{len(self.nodes)}"
        self.encode(name, low, high, storage or self.storage, False)
        self.nodes.append(helper.make_node("QuantizeLinear", [value, name + "_s", name + "_z"], [name]))
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"]))
        return name + "_f"

    def inner_symmetric(self, value, bound, storage):
        name = f"m{len(self.nodes)}"
        self.encode(name, -bound, bound, storage or self.storage, True)
        self.nodes.append(helper.make_node("QuantizeLinear", [value, name + "_s", name + "_z"], [name]))
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"]))
        return name + "_f"

    def build(self, outputs):
        graph = helper.make_graph(self.nodes, "case", self.inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()

    def finish(self, result, storage=None, symmetric=False, fixed=None):
        """Calibrates the result on these inputs and returns the complete model."""
        storage = storage or self.storage
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        probe = self.build([helper.make_tensor_value_info(result, TensorProto.FLOAT, None)])
        real = ort.InferenceSession(probe, options, ["CPUExecutionProvider"]).run(None, self.feeds)[0]
        low, high = fixed or (float(real.min()), float(real.max()))
        self.encode("y", low, high, storage, symmetric)
        self.nodes.append(helper.make_node("QuantizeLinear", [result, "y_s", "y_z"], ["y"]))
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(storage))
        return self.build([helper.make_tensor_value_info("y", kind, real.shape)])


def unary(kind, low=-4.0, high=4.0, domain="", **attributes):
    def make(m):
        return m.finish(m.op(kind, [m.input([1, 24, 12, 40], low, high, distribution="uniform")], domain, **attributes))
    return make


def binary(kind, low=-3.0, high=3.0):
    def make(m):
        a = m.input([1, 24, 12, 40])
        b = m.input([1, 24, 12, 40], low, high, distribution="uniform")
        return m.finish(m.op(kind, [a, b]))
    return make


def conv(shape=(32, 24, 3, 3), bits=8, granularity="axis", bias=True, transpose=False, **attributes):
    def make(m):
        inputs = 24 if not transpose else shape[0]
        x = m.input([1, inputs, 16, 16])
        axis = 1 if transpose else 0
        w = m.weight("w", list(shape), axis, bits, granularity=granularity)
        operands = [x, w]
        if bias and granularity != "asymmetric":
            operands.append(m.bias("b", shape[axis] * (attributes.get("group", 1) if transpose else 1), "x0"))
        return m.finish(m.op("ConvTranspose" if transpose else "Conv", operands, **attributes))
    return make


def fully_connected(kind="MatMul", bits=8, granularity="axis", k=320, n=192, output=None, form=None):
    def make(m):
        x = m.input([1, 48, k] if kind == "MatMul" else [48, k])
        w = m.lpbq("w", [k, n]) if granularity == "lpbq" else m.weight("w", [k, n], 1, bits, granularity=granularity)
        operands = [x, w]
        if kind == "Gemm" and granularity in ("axis", "tensor"):
            operands.append(m.bias("b", n, "x0"))
        return m.finish(m.op(kind, operands), storage=output)
    return make


def product(right, symmetric=False, left=None, output=None):
    def make(m):
        a = m.input([1, 4, 64, 40], storage=left)
        b = m.input([1, 4, 40, 64], storage=right, symmetric=symmetric)
        return m.finish(m.op("MatMul", [a, b]), storage=output)
    return make


def softmax(m, axis=-1):
    scale = float(m.rng.choice([4.0, 10.0]))
    return m.finish(m.op("Softmax", [m.input([1, 4, 64, 64], -scale, scale)], axis=axis), fixed=(0.0, 1.0))


def masked_softmax(m):
    scores = m.input([1, 4, 64, 64], -8, 8)
    mask = m.constant("mask", np.where(np.tri(64), 0, -1).astype(np.int32))
    stored = np.where(np.tri(64), RANGES[m.storage][1], 0).astype(m.storage)[None, None]
    m.constant("mask_q", stored)
    m.constant("mask_s", np.float32(30 / RANGES[m.storage][1]))
    m.constant("mask_z", np.array(RANGES[m.storage][1], m.storage))
    m.constants = [c for c in m.constants if c.name != mask]
    m.nodes.append(helper.make_node("DequantizeLinear", ["mask_q", "mask_s", "mask_z"], ["mask_f"]))
    masked = m.inner(m.op("Add", [scores, "mask_f"]), -38, 8)
    return m.finish(m.op("Softmax", [masked], axis=-1), fixed=(0.0, 1.0))


def affine(m, count, shape=None):
    """Quantized scale and bias of a norm."""
    shape = shape or [count]
    names = []
    for name, values in (("g", m.rng.uniform(0.5, 1.5, count)), ("c", m.rng.normal(0, 0.3, count))):
        scale, zero = m.encode(name, float(values.min()), float(values.max()), m.storage, False)
        stored = np.clip(np.rint(values / scale) + zero, *RANGES[m.storage]).astype(m.storage)
        m.constant(name, stored.reshape(shape))
        m.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"]))
        names.append(name + "_f")
    return names


def layer_norm(m):
    g, c = affine(m, 320)
    return m.finish(m.op("LayerNormalization", [m.input([1, 48, 320]), g, c], axis=-1, epsilon=1e-5))


def simplified_layer_norm(m):
    g, _ = affine(m, 320)
    m.nodes = [n for n in m.nodes if n.output[0] != "c_f"]
    x = m.input([1, 48, 320])
    return m.finish(m.op("SimplifiedLayerNormalization", [x, g], axis=-1, epsilon=1e-5))


def instance_norm(shape):
    def make(m):
        g, c = affine(m, shape[1])
        return m.finish(m.op("InstanceNormalization", [m.input(list(shape)), g, c], epsilon=1e-5))
    return make


def reduce(kind):
    def make(m):
        x = m.input([1, 48, 8, 40])
        m.constant("axes", np.array([-1], np.int64))
        if kind in ("ReduceMax", "ReduceMin"):
            return m.finish(m.op(kind, [x, "axes"], keepdims=1))
        return m.finish(m.op(kind, [x, "axes"], keepdims=1))
    return make


def moved(kind, build):
    """Data movement: input and output share one encoding, so the expected deviation is 0."""
    def make(m):
        x = m.input([1, 24, 16, 16], -3, 3)
        return m.finish(build(m, x), fixed=(-3.0, 3.0))
    return make


def concat(m):
    a, b = m.input([1, 24, 16, 16]), m.input([1, 24, 16, 16], -5, 7)
    return m.finish(m.op("Concat", [a, b], axis=1))


def resize(mode, coordinates):
    def make(m):
        x = m.input([1, 24, 16, 16], -3, 3)
        m.constant("scales", np.array([1, 1, 2, 2], np.float32))
        return m.finish(m.op("Resize", [x, "", "scales"], mode=mode, coordinate_transformation_mode=coordinates,
                             nearest_mode="floor"), fixed=(-3.0, 3.0))
    return make


def gather(bits):
    def make(m):
        m.inputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 16]))
        m.feeds["ids"] = m.rng.integers(0, 100, [1, 16])
        table = m.rng.integers(*RANGES[m.storage], [100, 64]).astype(m.storage)
        m.constant("t", table)
        m.encode("t", -3, 3, m.storage, False)
        m.nodes.append(helper.make_node("DequantizeLinear", ["t", "t_s", "t_z"], ["t_f"]))
        return m.finish(m.op("Gather", ["t_f", "ids"], axis=0), fixed=(-3.0, 3.0))
    return make


def shaped(array):
    def use(m):
        return m.constant("shape", np.array(array, np.int64))
    return use


def cum_sum(m):
    x = m.input([1, 24, 12, 40])
    return m.finish(m.op("CumSum", [x, m.constant("axis", np.array(3, np.int64))]))


def where(m):
    a, b = m.input([1, 24, 16, 16], -3, 3), m.input([1, 24, 16, 16], -3, 3)
    m.constant("condition", m.rng.integers(0, 2, [1, 24, 16, 16]).astype(bool))
    return m.finish(m.op("Where", ["condition", a, b]), fixed=(-3.0, 3.0))


def batch_norm(m):
    g, c = affine(m, 24)
    extra = []
    for name, values in (("mean", m.rng.normal(0, 0.3, 24)), ("var", m.rng.uniform(0.5, 1.5, 24))):
        extra.append(m.constant(name, values.astype(np.float32)))
    return m.finish(m.op("BatchNormalization", [m.input([1, 24, 16, 16]), g, c] + extra, epsilon=1e-5))


def gather_activation(m):
    x = m.input([1, 24, 64], -3, 3)
    m.constant("ids", m.rng.integers(0, 24, [5]).astype(np.int64))
    return m.finish(m.op("Gather", [x, "ids"], axis=1), fixed=(-3.0, 3.0))


def attention(right):
    def make(m):
        q, k, v = (m.input([1, 4, 64, 40], symmetric=s, storage=t) for s, t in ((False, None), (True, right), (True, right)))
        scores = m.inner(m.op("MatMul", [q, m.inner_symmetric(m.op("Transpose", [k], perm=[0, 1, 3, 2]), 3, right)]), -30, 30)
        weights = m.inner(m.op("Softmax", [scores], axis=-1), 0, 1)
        return m.finish(m.op("MatMul", [weights, v]))
    return make


def silu(m):
    x = m.input([1, 24, 12, 40], -6, 6, distribution="uniform")
    return m.finish(m.op("Mul", [x, m.inner(m.op("Sigmoid", [x]), 0, 1)]))


CASES = {
    # Name: (operations of the nn dialect, model). Unary.
    "relu": unary("Relu"), "sigmoid": unary("Sigmoid", -8, 8), "tanh": unary("Tanh"),
    "gelu": unary("Gelu"), "gelu/tanh": unary("Gelu", approximate="tanh"),
    "quick_gelu": unary("QuickGelu", domain="com.microsoft", alpha=1.702),
    "hard_swish": unary("HardSwish"), "hard_sigmoid": unary("HardSigmoid"), "leaky_relu": unary("LeakyRelu", alpha=0.1),
    "elu": unary("Elu"), "exp": unary("Exp", -4, 2), "log": unary("Log", 0.05, 8.0), "sqrt": unary("Sqrt", 0.0, 8.0),
    "sin": unary("Sin"), "cos": unary("Cos"), "softplus": unary("Softplus"), "neg": unary("Neg"), "abs": unary("Abs"),
    "reciprocal": unary("Reciprocal", 0.5, 8.0), "round": unary("Round"), "floor": unary("Floor"),
    "ceil": unary("Ceil"), "sign": unary("Sign"), "softsign": unary("Softsign"), "mish": unary("Mish"),
    "log_softmax": unary("LogSoftmax", axis=-1), "erf": unary("Erf"), "cum_sum": cum_sum,
    "identity": moved("Identity", lambda m, x: m.op("Identity", [m.inner(m.op("Relu", [x]), -3, 3)])),
    "silu": silu,
    # Binary.
    "add": binary("Add"), "sub": binary("Sub"), "mul": binary("Mul"), "div": binary("Div", 0.5, 4.0),
    "max": binary("Max"), "min": binary("Min"),
    "pow/2": lambda m: m.finish(m.op("Mul", [m.input([1, 24, 12, 40])] * 2)),
    # Weights.
    "conv/int8": conv(pads=[1, 1, 1, 1]), "conv/int8 1x1": conv((32, 24, 1, 1)),
    "conv/int8 stride 2": conv(strides=[2, 2], pads=[1, 1, 1, 1]),
    "conv/int8 depthwise": conv((24, 1, 3, 3), group=24, pads=[1, 1, 1, 1]),
    "conv/int8 per-tensor": conv(granularity="tensor", pads=[1, 1, 1, 1]),
    "conv/int8 per-tensor, no bias": conv(granularity="tensor", bias=False, pads=[1, 1, 1, 1]),
    "conv/int4 per-tensor, no bias": conv(bits=4, granularity="tensor", bias=False, pads=[1, 1, 1, 1]),
    "conv/uint8 asymmetric": conv(granularity="asymmetric", pads=[1, 1, 1, 1]),
    "conv/int4": conv(bits=4, pads=[1, 1, 1, 1]), "conv/int4 1x1": conv((32, 24, 1, 1), bits=4),
    "conv/int4 per-tensor, bias": conv(bits=4, granularity="tensor", pads=[1, 1, 1, 1]),
    "conv_transpose/int8": conv((24, 32, 2, 2), transpose=True, strides=[2, 2]),
    "matmul/int8": fully_connected(), "matmul/int8 K=2048": fully_connected(k=2048),
    "matmul/int8 per-tensor": fully_connected(granularity="tensor"),
    "matmul/uint8 asymmetric": fully_connected(granularity="asymmetric"),
    "matmul/int4": fully_connected(bits=4), "matmul/int4 K=2048": fully_connected(bits=4, k=2048),
    "matmul/int4 block 32": fully_connected(bits=4, granularity="block"),
    "matmul/int4 lpbq 64": fully_connected(granularity="lpbq"),
    "matmul/int16": fully_connected(bits=16),
    "matmul/uint8 to uint16": fully_connected(output="uint16"),
    "gemm/int8": fully_connected("Gemm"), "gemm/int4": fully_connected("Gemm", bits=4),
    "gemm/int4 block 32": fully_connected("Gemm", bits=4, granularity="block"),
    "gemm/int4 lpbq 64": fully_connected("Gemm", granularity="lpbq"),
    # Products of two activations.
    "matmul/x uint8": product("uint8"), "matmul/x uint8 symmetric": product("uint8", True),
    "matmul/x int8": product("int8"), "matmul/x int8 symmetric": product("int8", True),
    "matmul/x uint16": product("uint16"), "matmul/x uint16 symmetric": product("uint16", True),
    # Normalization.
    "softmax": softmax, "softmax/axis 1": lambda m: softmax(m, 1), "softmax/masked": masked_softmax,
    "layer_normalization": layer_norm, "rms_normalization": simplified_layer_norm,
    "instance_normalization/3-D": instance_norm((1, 8, 768)), "instance_normalization/4-D": instance_norm((1, 8, 16, 48)),
    # Reduction and pooling.
    "reduce_mean": reduce("ReduceMean"), "reduce_sum": reduce("ReduceSum"), "reduce_max": reduce("ReduceMax"),
    "reduce_min": reduce("ReduceMin"),
    "average_pool": lambda m: m.finish(m.op("AveragePool", [m.input([1, 24, 16, 16])], kernel_shape=[2, 2], strides=[2, 2])),
    "global_average_pool": lambda m: m.finish(m.op("GlobalAveragePool", [m.input([1, 24, 16, 16])])),
    "max_pool": moved("MaxPool", lambda m, x: m.op("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])),
    # Movement.
    "concat": concat, "resize/nearest": resize("nearest", "asymmetric"), "resize/linear": resize("linear", "half_pixel"),
    "gather": gather(8),
    "transpose": moved("Transpose", lambda m, x: m.op("Transpose", [x], perm=[0, 2, 3, 1])),
    "transpose/3-D": lambda m: m.finish(m.op("Transpose", [m.input([1, 48, 320])], perm=[0, 2, 1]), fixed=(-3.0, 3.0)),
    "reshape": moved("Reshape", lambda m, x: m.op("Reshape", [x, shaped([1, 24, 256])(m)])),
    "expand": moved("Expand", lambda m, x: m.op("Expand", [x, shaped([2, 24, 16, 16])(m)])),
    "slice": moved("Slice", lambda m, x: m.op("Slice", [x, m.constant("s0", np.array([2], np.int64)),
                                                        m.constant("s1", np.array([14], np.int64)),
                                                        m.constant("s2", np.array([2], np.int64))])),
    "tile": moved("Tile", lambda m, x: m.op("Tile", [x, shaped([1, 2, 1, 1])(m)])),
    "squeeze": moved("Squeeze", lambda m, x: m.op("Squeeze", [x, shaped([0])(m)])),
    "unsqueeze": moved("Unsqueeze", lambda m, x: m.op("Unsqueeze", [x, shaped([0])(m)])),
    "flatten": moved("Flatten", lambda m, x: m.op("Flatten", [x], axis=1)),
    "space_to_depth": moved("SpaceToDepth", lambda m, x: m.op("SpaceToDepth", [x], blocksize=2)),
    "global_max_pool": moved("GlobalMaxPool", lambda m, x: m.op("GlobalMaxPool", [x])),
    "where": where, "batch_normalization": batch_norm, "gather/activation": gather_activation,
    "attention/keys and values uint8": attention("uint8"), "attention/keys and values as the rest": attention(None),
    "pad": moved("Pad", lambda m, x: m.op("Pad", [x, shaped([0, 0, 1, 1, 0, 0, 1, 1])(m)])),
    "depth_to_space": moved("DepthToSpace", lambda m, x: m.op("DepthToSpace", [x], blocksize=2)),
    "clip": moved("Clip", lambda m, x: m.op("Clip", [x, m.constant("lo", np.float32(-1)), m.constant("hi", np.float32(2))])),
    "convert": lambda m: m.finish(m.op("Identity", [m.input([1, 24, 16, 16])]), storage="uint16" if m.storage == "uint8" else "uint8"),
}


def run_case(make, storage, seed, soc, folder):
    m = Model(storage, np.random.default_rng(seed))
    model = make(m)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    reference = ort.InferenceSession(model, options, ["CPUExecutionProvider"]).run(None, m.feeds)[0]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    devices = [d for d in ort.get_ep_devices() if d.ep_name == "QNNExecutionProvider"]
    options.add_provider_for_devices(devices, {"backend_path": os.path.join(folder, "libQnnHtp.so"), "soc_model": soc})
    result = ort.InferenceSession(model, options).run(None, m.feeds)[0]
    return result.astype(np.int64) - reference.astype(np.int64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soc", default="43")
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    folder = os.path.dirname(onnxruntime_qnn.__file__)
    ort.set_default_logger_severity(4)
    ort.register_execution_provider_library("QNNExecutionProvider", os.path.join(folder, "libonnxruntime_providers_qnn.so"))
    print(f"# onnxruntime {ort.__version__}, onnxruntime-qnn {onnxruntime_qnn.__version__}, soc {arguments.soc}")
    print(f"{'case':32} {'storage':8} {'max':>8} {'rms':>10}")
    for name, make in CASES.items():
        if not re.search(arguments.only, name):
            continue
        for storage in ("uint8", "uint16"):
            try:
                deviations = [run_case(make, storage, seed, arguments.soc, folder).ravel() for seed in range(arguments.seeds)]
                every = np.concatenate(deviations)
                print(f"{name:32} {storage:8} {np.abs(every).max():8d} {np.sqrt((every.astype(float) ** 2).mean()):10.3f}", flush=True)
            except Exception as error:  # the vendor's refusals are results too
                print(f"{name:32} {storage:8} refused: {str(error).splitlines()[0][:110]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

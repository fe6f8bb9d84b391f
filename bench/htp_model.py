"""QDQ models of one operator, with the inputs that they are run on, and the encodings that they ask for."""
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

RANGES = {"uint8": (0, 255), "uint16": (0, 65535), "int8": (-128, 127), "int16": (-32768, 32767),
          "int4": (-8, 7), "uint4": (0, 15), "int32": (-2**31, 2**31 - 1)}
ONNX_TYPES = {name: getattr(TensorProto, name.upper()) for name in RANGES}


def referenceOptions():
    """ONNX Runtime computes a QDQ model as it is written only without graph optimizations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return options


class Model:
    """A QDQ model under construction. `storage` is what its activations are stored as; "float" for none."""

    def __init__(self, storage, rng):
        self.storage, self.rng = storage, rng
        self.nodes, self.constants, self.inputs, self.feeds = [], [], [], {}
        # Scales by the name of the float value that they encode.
        self.scales = {}

    # Constants.

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def stored(self, name, array, storage):
        """Integers of a type that numpy may lack."""
        array = np.asarray(array)
        self.constants.append(helper.make_tensor(name, ONNX_TYPES[storage], array.shape, array.ravel().tolist()))

    def encode(self, name, low, high, storage, symmetric=False):
        """Makes scale and zero point of `name` as constants."""
        qmin, qmax = RANGES[storage]
        low, high = min(low, 0.0), max(high, 0.0)
        if symmetric:
            bound = max(-low, high, 1e-6)
            low, high = -bound, bound
        scale = np.float32(max(high - low, 1e-6) / (qmax - qmin))
        zero = (qmin + qmax + 1) // 2 if symmetric else int(np.clip(round(qmin - low / scale), qmin, qmax))
        self.constant(name + "_s", scale)
        self.constant(name + "_z", np.array(zero, storage))
        return scale, zero

    def dequantize(self, name, **attributes):
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s", name + "_z"], [name + "_f"], **attributes))
        return name + "_f"

    def parameter(self, name, values, storage=None, symmetric=False):
        """A small constant with one scale; float where activations are."""
        storage = storage or self.storage
        if storage == "float":
            return self.constant(name + "_f", np.asarray(values, np.float32))
        scale, zero = self.encode(name, float(values.min()), float(values.max()), storage, symmetric)
        self.stored(name, np.clip(np.rint(values / scale) + zero, *RANGES[storage]).astype(np.int64), storage)
        return self.dequantize(name)

    def weight(self, name, shape, axis, storage="int8", granularity="axis", block=32, blockAxis=0):
        """A weight drawn from a normal distribution; unsigned storage is asymmetric."""
        real = self.rng.normal(0, 0.05, shape)
        if self.storage == "float":
            return self.constant(name + "_f", real.astype(np.float32))
        qmin, qmax = RANGES[storage]
        if granularity == "lpbq":
            return self.lpbq(name, real, axis, blockAxis, block, storage)
        if granularity == "block":
            shapeOfBlocks = list(shape)
            shapeOfBlocks[blockAxis:blockAxis + 1] = [shape[blockAxis] // block, block]
            over = (blockAxis + 1,)
            grouped = real.reshape(shapeOfBlocks)
        else:
            grouped, over = real, tuple(d for d in range(len(shape)) if granularity == "tensor" or d != axis)
        low, high = np.minimum(grouped.min(over), 0), np.maximum(grouped.max(over), 0)
        if qmin < 0:
            scale, zero = np.maximum(-low, high) / qmax, np.zeros(low.shape)
        else:
            scale = (high - low) / qmax
            zero = np.rint(-low / scale)
        scale, zero = np.asarray(scale, np.float32), np.asarray(zero)
        wide = lambda a: (np.repeat(a, block, blockAxis) if granularity == "block" else a if a.ndim == 0 else
                          a.reshape([-1 if d == axis else 1 for d in range(len(shape))]))
        self.stored(name, np.clip(np.rint(real / wide(scale)) + wide(zero), qmin, qmax).astype(np.int64), storage)
        self.constant(name + "_s", scale)
        # Without a zero point, 4-bit and per-tensor weights are accepted and misread.
        self.stored(name + "_z", zero.astype(np.int64), storage)
        self.scales[name + "_f"] = scale
        attributes = {} if granularity == "tensor" else {"axis": blockAxis if granularity == "block" else axis}
        if granularity == "block":
            attributes["block_size"] = block
        return self.dequantize(name, **attributes)

    def lpbq(self, name, real, axis, blockAxis, block, storage):
        """Scales per block that are small integers times a scale per channel."""
        shapeOfBlocks = list(real.shape)
        shapeOfBlocks[blockAxis:blockAxis + 1] = [real.shape[blockAxis] // block, block]
        grouped = np.abs(real.reshape(shapeOfBlocks)).max(blockAxis + 1) / RANGES[storage][1]
        others = tuple(d for d in range(grouped.ndim) if d != axis)
        channel = (grouped.max(others) / 16).astype(np.float32)
        wide = channel.reshape([-1 if d == axis else 1 for d in range(grouped.ndim)])
        multiplier = np.clip(np.rint(grouped / wide), 1, 16).astype(np.uint8)
        self.stored(name, np.clip(np.rint(real / np.repeat(multiplier * wide, block, blockAxis)),
                                  *RANGES[storage]).astype(np.int64), storage)
        self.stored(name + "_z", np.zeros(multiplier.shape, np.int64), storage)
        self.constant(name + "_m", multiplier)
        self.constant(name + "_c", channel)
        self.constant(name + "_mz", np.zeros(channel.shape, np.uint8))
        self.nodes.append(helper.make_node("DequantizeLinear", [name + "_m", name + "_c", name + "_mz"], [name + "_s"], axis=axis))
        return self.dequantize(name, axis=blockAxis, block_size=block)

    def bias(self, name, count, inputName, weightName):
        """A bias in the steps of the accumulator."""
        if self.storage == "float":
            return self.constant(name + "_f", self.rng.normal(0, 0.2, count).astype(np.float32))
        # One scale for per-tensor weights: a vector there is accepted and misread.
        scale = np.asarray(self.scales[inputName] * self.scales[weightName], np.float32)
        self.constant(name, np.broadcast_to(np.rint(self.rng.normal(0, 0.2, count) / scale), count).astype(np.int32))
        self.constant(name + "_s", scale)
        attributes = {"axis": 0} if scale.ndim else {}
        self.nodes.append(helper.make_node("DequantizeLinear", [name, name + "_s"], [name + "_f"], **attributes))
        return name + "_f"

    # Activations.

    def input(self, shape, low=-3.0, high=3.0, storage=None, symmetric=False, distribution="normal"):
        if distribution == "normal":
            real = self.rng.normal((low + high) / 2, (high - low) / 6, shape)
        else:
            real = self.rng.uniform(low, high, shape)
        return self.inputOf(real, low, high, storage, symmetric)

    def inputOf(self, real, low=None, high=None, storage=None, symmetric=False):
        """A graph input that holds the integers of `real`."""
        storage = storage or self.storage
        name = f"x{len(self.inputs)}"
        if storage == "float":
            self.feeds[name] = real.astype(np.float32)
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, real.shape))
            return name
        low, high = (real.min() if low is None else low), (real.max() if high is None else high)
        scale, zero = self.encode(name, float(low), float(high), storage, symmetric)
        self.feeds[name] = np.clip(np.rint(real / scale) + zero, *RANGES[storage]).astype(storage)
        self.inputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[storage], real.shape))
        self.scales[name + "_f"] = scale
        return self.dequantize(name)

    def integerInput(self, name, array):
        """A graph input without an encoding, such as indices."""
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
        self.feeds[name] = array
        return name

    def op(self, kind, inputs, domain="", outputs=1, **attributes):
        names = [f"t{len(self.nodes)}"] + [f"t{len(self.nodes)}_{i}" for i in range(1, outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, name=f"{kind}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def inner(self, value, low, high, storage=None, symmetric=False):
        """Q and DQ between two operators."""
        storage = storage or self.storage
        if storage == "float":
            return value
        name = f"m{len(self.nodes)}"
        scale, _ = self.encode(name, low, high, storage, symmetric)
        self.nodes.append(helper.make_node("QuantizeLinear", [value, name + "_s", name + "_z"], [name]))
        self.scales[name + "_f"] = scale
        return self.dequantize(name)

    # Results.

    def build(self, outputs):
        graph = helper.make_graph(self.nodes, "case", self.inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()

    def run(self, result):
        probe = self.build([helper.make_empty_tensor_value_info(result)])
        return ort.InferenceSession(probe, referenceOptions(), ["CPUExecutionProvider"]).run(None, self.feeds)[0]

    def finish(self, result, storage=None, symmetric=False, fixed=None):
        """The model, its result rounded to a range that covers it on these inputs, or to `fixed`."""
        storage = storage or self.storage
        real = self.run(result)
        if storage == "float" or real.dtype != np.float32:
            return self.build([helper.make_tensor_value_info(result, helper.np_dtype_to_tensor_dtype(real.dtype), real.shape)])
        low, high = fixed or (float(real.min()), float(real.max()))
        self.encode("y", low, high, storage, symmetric)
        self.nodes.append(helper.make_node("QuantizeLinear", [result, "y_s", "y_z"], ["y"]))
        return self.build([helper.make_tensor_value_info("y", ONNX_TYPES[storage], real.shape)])


class Graph:
    """A model of a case, read back: its operators and the encodings of their operands and results."""

    def __init__(self, modelBytes):
        graph = onnx.load_from_string(modelBytes).graph
        self.inputs = graph.input
        self.types = {c.name: c.data_type for c in graph.initializer}
        self.constants = {c.name: c for c in graph.initializer}
        self.producers = {output: node for node in graph.node for output in node.output}
        self.nodes = [n for n in graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]
        self.converts = [n for n in graph.node if n.op_type == "QuantizeLinear" and
                         self.producers.get(n.input[0], n).op_type == "DequantizeLinear"]
        self.readers = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def encodingOf(self, quantize):
        """What a Q or DQ node says, in the words of a target's file."""
        zero = self.constants.get(quantize.input[2]) if len(quantize.input) > 2 else None
        storage = next((n for n, t in ONNX_TYPES.items() if t == self.types.get(quantize.input[2])), None) if zero else "int32"
        attributes = {a.name: a.i for a in quantize.attribute}
        isConstant = quantize.input[0] in self.constants
        granularity = "tensor"
        if "block_size" in attributes:
            granularity = "lpbq" if quantize.input[1] in self.producers else "block"
        elif "axis" in attributes:
            granularity = "axis"
        qmin, qmax = RANGES[storage]
        values = numpy_helper.to_array(zero).astype(np.int64) if zero is not None else np.zeros(1)
        isSymmetric = bool((values == (0 if qmin < 0 else (qmax + 1) // 2)).all())
        return {"storage": storage, "symmetric": isSymmetric, "constant": isConstant, "granularity": granularity}

    def operand(self, name):
        producer = self.producers.get(name)
        if producer is not None and producer.op_type == "DequantizeLinear":
            return self.encodingOf(producer)
        return {"storage": "none", "symmetric": False, "constant": name in self.constants, "granularity": "tensor"}

    def result(self, name):
        for reader in self.readers.get(name, []):
            if reader.op_type == "QuantizeLinear":
                return self.encodingOf(reader)
        return {"storage": "none", "symmetric": False, "constant": False, "granularity": "tensor"}

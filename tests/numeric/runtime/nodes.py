"""ONNX's backend node tests in the float runtime.

Every node test whose operators are all ones that Nibble claims must give its expected output, except those that
`node_failures.txt` lists with a reason; one that is listed and passes is a failure as well, so that the list stays
true. The model's own graph inputs that must be known to infer shapes (axes, shapes, repeats...) become initializers.
`nodes.py --list` prints the lines that are missing in the list.
"""
import os
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

from floats import runCases

DATA = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
FAILURES = pathlib.Path(__file__).parent / "node_failures.txt"
# Operators that are claimed, as ONNX names them.
CLAIMED = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape Conv
ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor Gather
GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid
HardSwish Identity InstanceNormalization IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max
MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1
ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
Relu Reshape Resize RotaryEmbedding Round
ScatterElements ScatterND Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze
Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
""".split()
# Types of graph inputs and outputs that are claimed. Halves and 4-bit integers occur only as stored weights.
TYPES = {getattr(onnx.TensorProto, name) for name in
         "FLOAT DOUBLE BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64".split()}
# Operators whose further outputs are not claimed: statistics, indices and masks.
FIRST_OUTPUT_ONLY = {"BatchNormalization", "Dropout", "LayerNormalization", "MaxPool"}
RELATIVE, ABSOLUTE = 1e-4, 1e-5


def readTensor(path):
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def isClaimed(model):
    """Whether a test has only claimed operators and only tensors of claimed types as inputs and outputs."""
    values = [*model.graph.input, *model.graph.output]
    return (all(node.op_type in CLAIMED and node.domain in ("", "ai.onnx") for node in model.graph.node) and
            all(info.type.HasField("tensor_type") and info.type.tensor_type.elem_type in TYPES for info in values))


def loadTests():
    """Yields (name, model, inputs, outputs) of the first data set."""
    for folder in sorted(DATA.iterdir()):
        model = onnx.load(str(folder / "model.onnx"))
        if not isClaimed(model):
            continue
        # Operator sets just outside what is read: most operators are the same in the nearest one.
        for opset in model.opset_import:
            opset.version = min(max(opset.version, 11), 23)
        if len(model.graph.node) == 1 and model.graph.node[0].op_type in FIRST_OUTPUT_ONLY:
            del model.graph.node[0].output[1:]
            del model.graph.output[1:]
        names = [info.name for info in model.graph.input]
        files = folder / "test_data_set_0"
        inputs = {name: readTensor(files / f"input_{i}.pb") for i, name in enumerate(names)}
        outputs = {info.name: readTensor(files / f"output_{i}.pb") for i, info in enumerate(model.graph.output)}
        yield folder.name, model, inputs, outputs


def withInitializers(model, inputs, names):
    """The model with the inputs `names` as initializers, and the other inputs."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [info for info in model.graph.input if info.name not in names]
    del result.graph.input[:]
    result.graph.input.extend(kept)
    for name in names:
        result.graph.initializer.append(numpy_helper.from_array(inputs[name], name))
    return result, {info.name: inputs[info.name] for info in kept}


def attempts(model, inputs):
    """The names of inputs that become initializers, in the order in which to try."""
    parameters = [name for name, value in inputs.items() if value.ndim <= 1 and value.dtype.kind in "iu"]
    tail = list(inputs)[1:]
    return [list(group) for group in dict.fromkeys([(), tuple(parameters), tuple(tail), tuple(inputs)])]


def difference(actual, expected):
    """What is wrong with the outputs, or an empty string."""
    for name, values in expected.items():
        if name not in actual:
            return f"output {name} is missing"
        found = actual[name]
        if found.shape != values.shape:
            return f"output {name} has shape {list(found.shape)}, wanted {list(values.shape)}"
        if found.dtype != values.dtype:
            return f"output {name} is {found.dtype}, wanted {values.dtype}"
        if values.dtype.kind == "f":
            if not np.allclose(found, values, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
                return f"output {name} differs by {np.nanmax(np.abs(found.astype(float) - values.astype(float))):.3g}"
        elif not np.array_equal(found, values):
            return f"output {name} differs"
    return ""


def runTests(tests, work):
    """Returns the fault of every test, an empty string where it passes."""
    faults, pending = {}, {}
    for name, model, inputs, outputs in tests:
        pending[name] = (model, inputs, outputs, attempts(model, inputs))
    round = 0
    while pending:
        folder = work / f"round{round}"
        folder.mkdir()
        cases = []
        for name, (model, inputs, outputs, tries) in pending.items():
            changed, rest = withInitializers(model, inputs, tries[0])
            onnx.save(changed, str(folder / f"{name}.onnx"))
            cases.append((folder / f"{name}.onnx", rest, "infer", {}))
        retry = {}
        for (name, (model, inputs, outputs, tries)), (actual, message) in zip(pending.items(), runCases(folder, cases)):
            faults[name] = message if actual is None else difference(actual, outputs)
            if actual is None and len(tries) > 1:
                retry[name] = (model, inputs, outputs, tries[1:])
        pending = retry
        round += 1
    return faults


def readExpected():
    expected = {}
    for line in FAILURES.read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(": ", 1)
            expected[name] = reason
    return expected


def main():
    with tempfile.TemporaryDirectory() as work:
        faults = runTests(loadTests(), pathlib.Path(work))
    if "--list" in sys.argv:
        for name, fault in sorted(faults.items()):
            if fault:
                print(name, fault.rpartition(".onnx': ")[2], sep=": ")
        return 0
    expected = readExpected()
    wrong = [f"FAIL {name}: {fault}" for name, fault in faults.items() if fault and name not in expected]
    wrong += [f"PASSES BUT IS LISTED {name}" for name in expected if faults.get(name) == ""]
    wrong += [f"LISTED BUT NOT RUN {name}" for name in expected if name not in faults]
    passed = sum(not fault for fault in faults.values())
    print("\n".join(wrong))
    print(f"{passed} of {len(faults)} node tests pass, {len(expected)} are listed as failures, {len(wrong)} are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Small nn programs as text, their export, and ONNX Runtime to run them."""
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
import onnxruntime

MLIR_TYPE = {"float32": "f32", "int8": "i8", "uint8": "ui8", "int16": "i16", "uint16": "ui16", "int32": "i32",
             "int64": "i64", "int4": "i4", "uint4": "ui4", "bool": "i1"}
RANGE = {"int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767),
         "uint16": (0, 65535), "int32": (-2**31, 2**31 - 1)}


def tensorType(shape, dtype):
    return "tensor<" + "".join(f"{d}x" for d in shape) + MLIR_TYPE[dtype] + ">"


def dense(values, dtype):
    """A dense attribute; floats are written with all their bits."""
    values = np.asarray(values)
    if dtype == "float32":
        numbers = [f"0x{bits:08X}" for bits in values.astype(np.float32).view(np.uint32).ravel()]
    elif dtype == "bool":
        numbers = ["true" if v else "false" for v in values.ravel()]
    else:
        numbers = [str(int(v)) for v in values.ravel()]

    def nest(offset, shape):
        if not shape:
            return numbers[offset]
        step = int(np.prod(shape[1:], dtype=int))
        return "[" + ", ".join(nest(offset + i * step, shape[1:]) for i in range(shape[0])) + "]"
    return f"dense<{nest(0, values.shape)}> : {tensorType(values.shape, dtype)}"


class Program:
    """Collects quantizers and operations; every value is named like its ONNX tensor."""

    def __init__(self):
        self.quantizers, self.inputs, self.body, self.types = [], [], [], {}

    def input(self, name, shape, dtype="float32"):
        self.types[name] = tensorType(shape, dtype)
        self.inputs.append(name)
        return name

    def constant(self, name, values, dtype="float32"):
        self.types[name] = tensorType(np.shape(values), dtype)
        self.body.append(f'%{name} = nn.constant({dense(values, dtype)}) : {self.types[name]} {self.location(name)}')
        return name

    def quantizer(self, name, storage, scales, zeroPoints=None, multipliers=None, **attributes):
        scales = np.asarray(scales, np.float32)
        rows = [f"storage = {MLIR_TYPE[storage]}", f"scales = {dense(scales.ravel() if scales.ndim else scales, 'float32')}"]
        if zeroPoints is not None:
            zeroPoints = np.asarray(zeroPoints)
            rows.append(f"zero_points = {dense(zeroPoints.ravel() if zeroPoints.ndim else zeroPoints, 'int32')}")
        if multipliers is not None:
            rows += [f"block_multipliers = {dense(np.ravel(multipliers), 'uint8')}", "kind = 1 : i32"]
        rows += [key if value is True else f"{key} = {value} : i64" for key, value in attributes.items()]
        self.quantizers.append(f"nn.quantizer @{name} {{{', '.join(rows)}}}")
        return name

    def fakeQuant(self, name, value, quantizer):
        self.types[name] = self.types[value]
        self.body.append(f"%{name} = nn.fake_quant %{value}, @{quantizer} : "
                         f"({self.types[value]}) -> {self.types[name]} {self.location(value)}")
        return name

    def weight(self, name, stored, dtype, quantizer):
        self.constant(name + "_stored", stored, dtype)
        self.types[name] = tensorType(np.shape(stored), "float32")
        self.body.append(f"%{name} = nn.dequantize_weight %{name}_stored, @{quantizer} : "
                         f"({self.types[name + '_stored']}) -> {self.types[name]} {self.location(name)}")
        return name

    def op(self, name, mnemonic, operands, shape, attributes="", dtype="float32"):
        self.types[name] = tensorType(shape, dtype)
        operandTypes = ", ".join(self.types[o] for o in operands)
        self.body.append(f"%{name} = nn.{mnemonic} {', '.join('%' + o for o in operands)} {attributes} : "
                         f"({operandTypes}) -> {self.types[name]} {self.location(name)}")
        return name

    def multiple(self, name, mnemonic, operands, results, attributes=""):
        """An operation with several results, each (shape, dtype); returns ONNX name to value."""
        names = [f"{name}{i}" for i in range(len(results))]
        for result, (shape, dtype) in zip(names, results):
            self.types[result] = tensorType(shape, dtype)
        target = "%" + name + (f":{len(results)}" if len(results) > 1 else "")
        resultTypes = ", ".join(self.types[r] for r in names)
        operandTypes = ", ".join(self.types[o] for o in operands)
        locations = ", ".join(f'"{r}"' for r in names)
        locations = f"fused[{locations}]" if len(names) > 1 else locations
        self.body.append(f"{target} = nn.{mnemonic} {', '.join('%' + o for o in operands)} {attributes} : "
                         f'({operandTypes}) -> ({resultTypes}) loc("node_{name}"({locations}))')
        values = [f"{name}#{i}" if len(names) > 1 else name for i in range(len(names))]
        for result, value in zip(names, values):
            self.types[value] = self.types[result]
        return dict(zip(names, values))

    def location(self, name):
        return f'loc("node_{name}"("{name}"))'

    def text(self, results):
        results = {results: results} if isinstance(results, str) else results
        arguments = ", ".join(f'%{n}: {self.types[n]} {{nn.name = "{n}"}}' for n in self.inputs)
        resultTypes = ", ".join(f'{self.types[v]} {{nn.name = "{n}"}}' for n, v in results.items())
        values = ", ".join("%" + v for v in results.values())
        types = ", ".join(self.types[v] for v in results.values())
        return "\n".join(["module {", *self.quantizers, f"func.func @main({arguments}) -> ({resultTypes}) {{",
                          *self.body, f"return {values} : {types}", "}", "}"]) + "\n"


def export(program, results, form="qdq", arguments=()):
    """Exports, checks and returns (model, bytes, printed lines)."""
    tool = pathlib.Path(os.environ["NIBBLE_BIN"]) / "export-tool"
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "in.mlir", pathlib.Path(folder) / "out.onnx"
        source.write_text(program.text(results))
        done = subprocess.run([tool, source, target, form, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr + program.text(results)[:2000])
        model = onnx.load(str(target))
        contents = target.read_bytes()
    checkModel(model)
    return model, contents, done.stdout.splitlines()


def reexport(contents):
    """The QDQ form of a model that was imported."""
    tool = pathlib.Path(os.environ["NIBBLE_BIN"]) / "export-tool"
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "in.onnx", pathlib.Path(folder) / "out.onnx"
        source.write_bytes(contents)
        done = subprocess.run([tool, source, target, "qdq"], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        checkModel(onnx.load(str(target)))
        return target.read_bytes()


def checkModel(model):
    """ONNX's checker and strict shape inference, except for operators that only ONNX Runtime knows."""
    if any(node.op_type == "SimplifiedLayerNormalization" for node in model.graph.node):
        return
    onnx.checker.check_model(model, full_check=not any(node.domain for node in model.graph.node))


def run(contents, inputs, optimize=False):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Fused products of float activations and stored weights would otherwise round the activations to 8 bits.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def quantize(x, scale, zeroPoint, storage):
    low, high = RANGE[storage]
    q = np.rint(np.asarray(x, np.float32) / np.float32(scale)) + zeroPoint
    return np.clip(q, low, high).astype(np.int64)


def fakeQuantize(x, scale, zeroPoint, storage):
    q = quantize(x, scale, zeroPoint, storage)
    return ((q - zeroPoint).astype(np.float32) * np.float32(scale)).astype(np.float32)

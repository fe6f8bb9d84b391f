"""Integer coverage of a QDQ file by the definition of docs/spec/numerics.md, for files of any quantizer.

usage: qdq_coverage.py MODEL...
"""
import sys

import onnx

MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "GatherElements", "GatherND", "Concat",
         "Split", "Identity", "Expand", "Flatten", "Pad", "Resize", "Upsample", "Where", "Tile", "DepthToSpace",
         "SpaceToDepth"}
# These make constants or work on integers and shapes.
NO_COMPUTE = {"Shape", "Constant", "ConstantOfShape", "Range", "Cast", "Size", "NonZero", "Equal", "Greater", "Less",
              "GreaterOrEqual", "LessOrEqual", "And", "Or", "Not", "ArgMax", "QuantizeLinear", "DequantizeLinear",
              "Dropout", "Trilu"}
# A constant third operand of these is a bias: hardware adds it in the accumulator, and some files leave it in float.
BIASED = {"Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "LayerNormalization", "GroupNormalization"}
# Operations whose operands after the first are parameters.
PARAMETERS = {"Clip", "Pad", "Resize", "Upsample"}
# Hardware applies these before it rounds.
FUSED = {"Relu", "Clip"}


class Coverage:
    """Counts the compute nodes of one file, and those on the integer grid."""

    def __init__(self, path):
        graph = onnx.load(str(path), load_external_data=False).graph
        isFloat = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.readers = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.results = {value.name for value in graph.output}
        self.floats = {tensor.name for tensor in graph.initializer if tensor.data_type in isFloat}
        self.varying = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
        self.floats |= {value.name for value in graph.input if value.type.tensor_type.elem_type in isFloat}
        self.compute = []
        for node in graph.node:
            self.classify(node)
        self.covered = [node for node in self.compute if self.isOnGrid(node)]

    def classify(self, node):
        data = self.operands(node)
        if any(name in self.varying for name in node.input):
            self.varying.update(node.output)
        floats = [name for name in data if name in self.floats]
        if node.op_type == "DequantizeLinear":
            self.floats.update(node.output)
        elif node.op_type == "Constant":
            if any(attribute.name == "value" and attribute.t.data_type == 1 for attribute in node.attribute):
                self.floats.update(node.output)
        elif node.op_type == "Cast":
            if any(attribute.name == "to" and attribute.i == 1 for attribute in node.attribute):
                self.floats.update(node.output)
        elif node.op_type in MOVES:
            if floats:
                self.floats.update(node.output)
        elif node.op_type not in NO_COMPUTE and floats:
            self.floats.update(node.output)
            if any(name in self.varying for name in floats) and not self.isApplied(node):
                self.compute.append(node)

    @staticmethod
    def operands(node):
        count = 1 if node.op_type in PARAMETERS else len(node.input)
        return [name for name in list(node.input)[:count] if name]

    def isApplied(self, node):
        """Whether the node is an activation function that counts as one with the only operation above it."""
        maker = self.makers.get(node.input[0]) if node.op_type in FUSED else None
        return (maker is not None and maker.op_type not in MOVES | NO_COMPUTE
                and len(self.readers[node.input[0]]) == 1 and node.input[0] not in self.results)

    def comesFromQuantizer(self, name):
        maker = self.makers.get(name)
        if maker is not None and maker.op_type in MOVES:
            return all(self.comesFromQuantizer(value) for value in self.operands(maker) if value in self.floats)
        return maker is not None and maker.op_type == "DequantizeLinear"

    def goesToQuantizer(self, name):
        readers = self.readers.get(name, [])
        if name in self.results or not readers:
            return False
        return all(node.op_type == "QuantizeLinear"
                   or (node.op_type in MOVES and all(map(self.goesToQuantizer, node.output)))
                   or (self.isApplied(node) and self.goesToQuantizer(node.output[0])) for node in readers)

    def isOnGrid(self, node):
        data = self.operands(node)
        if node.op_type in BIASED and len(data) > 2 and data[2] not in self.varying:
            data = data[:2]
        used = [name for name in node.output if name in self.readers or name in self.results]
        return (all(self.comesFromQuantizer(name) for name in data if name in self.floats)
                and all(map(self.goesToQuantizer, used)))


def share(path):
    counts = Coverage(path)
    return round(len(counts.covered) / max(1, len(counts.compute)), 3)


def main():
    for path in sys.argv[1:]:
        counts = Coverage(path)
        print(f"{path}: {len(counts.covered)} of {len(counts.compute)} compute nodes on the integer grid")


if __name__ == "__main__":
    main()

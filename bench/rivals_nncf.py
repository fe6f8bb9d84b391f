"""NNCF's quantizers on the models and data of testdata: the figures that Nibble is compared with.

usage: rivals_nncf.py [--case NAME]... [--config NAME]... [--json FILE]

Runs in an environment of its own, with nncf==3.4.0, onnx==1.19.1 and onnxruntime==1.31.1. Post-training quantization
leaves some operators in float; "coverage" is the share of compute nodes whose inputs all come from DequantizeLinear.
Weight compression of a language model includes the embedding and the output layer, in 8 bits, as ours does.
"""
import argparse
import json
import os
import resource
import sys
import tempfile
import time

import numpy as np

import common

STATIC = {"w8a8-ptq": {}, "w8a8-transformer": {"model_type": "transformer"}}
WEIGHT_ONLY = {f"{mode}-g{group}": (mode, group) for group in (32, 128) for mode in ("int4-sym", "int4-asym")}
TIME_LIMIT, MEMORY_LIMIT = 400, 9000

MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Concat", "Split", "Identity", "Expand",
         "Flatten", "MaxPool", "Resize", "Pad"}
NO_DATA = {"Shape", "Constant", "Cast", "Range", "ConstantOfShape", "Equal", "And", "Not", "Where", "GatherElements",
           "GreaterOrEqual", "QuantizeLinear", "DequantizeLinear"}


def coverage(path):
    """The share of compute nodes of a QDQ file whose data all come from DequantizeLinear, moved or not."""
    import onnx
    graph = onnx.load(path, load_external_data=False).graph
    makers = {output: node for node in graph.node for output in node.output}
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}

    def isQuantized(name):
        node = makers.get(name)
        if node is None:
            return name not in floats and name not in {value.name for value in graph.input}
        if node.op_type in MOVES:
            return isQuantized(node.input[0])
        return node.op_type == "DequantizeLinear"

    compute = [node for node in graph.node if node.op_type not in MOVES | NO_DATA]
    return round(sum(all(isQuantized(name) for name in node.input[:2] if name) for node in compute) / len(compute), 3)


def quantize(case, config, source, target):
    import nncf
    import onnx
    model = onnx.load(source)
    if config in STATIC:
        options = dict(STATIC[config])
        if "model_type" in options:
            options["model_type"] = nncf.ModelType.TRANSFORMER
        feeds = list(case.feeds(case.calibration))
        quantized = nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds), **options)
    else:
        mode, group = WEIGHT_ONLY[config]
        model = onnx.version_converter.convert_version(model, 21)
        modes = {"int4-sym": nncf.CompressWeightsMode.INT4_SYM, "int4-asym": nncf.CompressWeightsMode.INT4_ASYM}
        quantized = nncf.compress_weights(
            model, mode=modes[mode], group_size=group, ratio=1.0,
            advanced_parameters=nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST))
    onnx.save(quantized, target)


def child(case, config, target):
    with tempfile.TemporaryDirectory() as folder:
        from onnxruntime.quantization.shape_inference import quant_pre_process
        source, prepared = os.path.join(folder, "model.onnx"), os.path.join(folder, "prepared.onnx")
        common.fixedModel(case, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        start = time.monotonic()
        quantize(case, config, prepared, target)
        seconds = time.monotonic() - start
    result = {"quantize_s": round(seconds, 2), "bytes": os.path.getsize(target), "coverage": coverage(target),
              "quantize_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
    model = common.session(target)
    result.update(common.evaluate(case, lambda feed: model.run(None, feed)))
    print(json.dumps(result))


def main():
    if sys.argv[1:2] == ["--child"]:
        return child(common.CASES[sys.argv[2]], *sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(common.CASES))
    parser.add_argument("--config", action="append", choices=list(STATIC) + list(WEIGHT_ONLY))
    parser.add_argument("--json", help="file for the rows")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in [common.CASES[name] for name in arguments.case or common.CASES]:
            for config in arguments.config or list(STATIC) + list(WEIGHT_ONLY):
                if config in WEIGHT_ONLY and case.metric != "kl":
                    continue
                target = os.path.join(folder, f"{case.name}-{config}.onnx")
                result = common.measured([sys.executable, __file__, "--child", case.name, config, target], TIME_LIMIT,
                                         MEMORY_LIMIT)
                rows.append({"case": case.name, "config": config, "samples": "all", **result})
                common.note(rows[-1])
    common.report(rows, ["case", "config", "sqnr", "kl", "top1", "bytes", "coverage", "quantize_s", "failed"],
                  arguments.json)


if __name__ == "__main__":
    main()

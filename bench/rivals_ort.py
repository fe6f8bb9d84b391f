"""ONNX Runtime's own quantizers on the models and data of testdata: the figures that Nibble is compared with.

usage: rivals_ort.py [--case NAME]... [--config NAME]... [--weak-spots FOLDER] [--json FILE] [--keep FOLDER]

Static quantization (QDQ, per channel, calibrated with every calibration sample) is scored on the evaluation samples
against float32, computed with graph optimizations off, as rivals_shared.py does for every rival. MatMulNBits* are the
weight-only quantizers of a language model. Seconds and memory are those of the quantizer's call in a process of its own, model preparation excluded.
HQQ needs torch, which 'rivals_setup.py quark' installs, and is reported as failed without it.
"""
import argparse
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

import common
import rivals_setup
import rivals_shared

STATIC = {
    "w8a8-minmax": ("MinMax", "QUInt8", "QInt8"),
    "w8a8-entropy": ("Entropy", "QUInt8", "QInt8"),
    "w8a8-percentile": ("Percentile", "QUInt8", "QInt8"),
    "w8a16-minmax": ("MinMax", "QUInt16", "QInt8"),
    "w8a16-entropy": ("Entropy", "QUInt16", "QInt8"),
    "w4a16-minmax": ("MinMax", "QUInt16", "QInt4"),
}
WEIGHT_ONLY = {f"{name}-g{block}": (name, block)
               for block in (32, 128) for name in ("rtn-sym", "rtn-asym", "hqq", "k-quant", "gptq")}
# Histogram calibration keeps every activation of every sample in memory; on failure fewer samples are tried.
FEWER = (1, 2, 4, 8)
TIME_LIMIT, MEMORY_LIMIT = 1500, 9000


def reader(case, every):
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.feeds = (feed for index, feed in enumerate(case.feeds(case.calibration)) if index % every == 0)

        def get_next(self):
            return next(self.feeds, None)

    return Reader()


def quantizeStatic(case, config, every, source, target):
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    method, activation, weight = STATIC[config]
    quantize_static(source, target, reader(case, every), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType[activation], weight_type=QuantType[weight],
                    calibrate_method=CalibrationMethod[method],
                    extra_options={"ActivationSymmetric": False, "WeightSymmetric": True})


def quantizeWeights(case, config, source, target):
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits
    name, block = WEIGHT_ONLY[config]
    algorithm = {"hqq": lambda: nbits.HQQWeightOnlyQuantConfig(block_size=block, bits=4),
                 "gptq": lambda: nbits.GPTQWeightOnlyQuantConfig(reader(case, 1), block_size=block),
                 "k-quant": nbits.KQuantWeightOnlyQuantConfig}.get(name, lambda: None)()
    quantizer = nbits.MatMulNBitsQuantizer(onnx.load(source), bits=4, block_size=block,
                                           is_symmetric=name == "rtn-sym", algo_config=algorithm)
    quantizer.process()
    quantizer.model.save_model_to_file(target, False)


def child(case, config, every, target):
    """One measured run: prepares the model, quantizes it and prints what came out."""
    from onnxruntime.quantization.shape_inference import quant_pre_process
    with tempfile.TemporaryDirectory() as folder:
        source, prepared = os.path.join(folder, "model.onnx"), os.path.join(folder, "prepared.onnx")
        common.fixedModel(case, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        start = time.monotonic()
        if config in STATIC:
            quantizeStatic(case, config, every, prepared, target)
        else:
            quantizeWeights(case, config, prepared, target)
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"quantize_s": round(seconds, 2), "quantize_mib": round(peak)}
    print(json.dumps({**result, **rivals_shared.score(case, config, target)}))


def interpreter(config):
    """HQQ's is that of the environment that has torch, where there is one."""
    python = rivals_setup.TORCH / "bin/python"
    return str(python) if config.startswith("hqq") and python.exists() else sys.executable


def run(case, config, keep, weakSpots):
    target = os.path.join(keep, f"{case.name}-{config}.onnx")
    for every in FEWER if config in STATIC and "minmax" not in config else FEWER[:1]:
        command = [interpreter(config), __file__, "--child", case.name, config, str(every), target, weakSpots]
        result = common.measured(command, TIME_LIMIT, MEMORY_LIMIT)
        if not result.get("failed", "").startswith("over"):
            break
    row = {"case": case.name, "config": config, "samples": "all" if every == 1 else f"1 of {every}", **result}
    common.note(row)
    return row


def main():
    if sys.argv[1:2] == ["--child"]:
        name, config, every, target, weakSpots = sys.argv[2:]
        if weakSpots:
            common.addWeakSpots(weakSpots)
        child(common.CASES[name], config, int(every), target)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="default: all")
    parser.add_argument("--config", action="append", choices=list(STATIC) + list(WEIGHT_ONLY))
    parser.add_argument("--weak-spots", default="", help="folder of tests/models/make_weak_spots.py, used instead")
    parser.add_argument("--json", help="file for the rows; those that it holds are kept and not measured again")
    parser.add_argument("--keep", help="folder for the quantized models")
    arguments = parser.parse_args()
    if arguments.weak_spots:
        common.CASES.clear()
        common.addWeakSpots(arguments.weak_spots)
    rows = json.loads(pathlib.Path(arguments.json).read_text()) if arguments.json and os.path.exists(arguments.json) else []
    have = {(row["case"], row["config"]) for row in rows}
    with tempfile.TemporaryDirectory() as scratch:
        keep = arguments.keep or scratch
        os.makedirs(keep, exist_ok=True)
        for case in [common.CASES[name] for name in arguments.case or common.CASES]:
            for config in arguments.config or list(STATIC) + list(WEIGHT_ONLY):
                if (config in STATIC or case.metric == "kl") and (case.name, config) not in have:
                    rows.append(run(case, config, keep, arguments.weak_spots))
    common.report(rows, ["case", "config", "samples", "sqnr", "kl", "top1", "bytes", "quantize_s", "quantize_mib",
                         "failed"], arguments.json)


if __name__ == "__main__":
    main()

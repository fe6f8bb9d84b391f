"""ONNX Runtime's QNN helpers on the models of testdata: what a user gets for Snapdragon 8 Gen 2 with today's flow.

usage: rivals_qnn.py [--case NAME]... [--config NAME]... [--samples N] [--json FILE]

qnn_preprocess_model, get_qnn_qdq_config and quantize make the model with every calibration sample; the QNN execution
provider compiles it to a context binary and runs the first N evaluation samples in the vendor's emulation (HTP). The
estimate is the vendor's simulation for QCS9100, the SoC of the same architecture that has a simulator; operators that it
has no cost for count as free, and where there are any it is a lower bound. The column
onnxruntime is the same file's metric on the CPU with graph optimizations off, over the same samples.
"""
import argparse
import collections
import csv
import json
import os
import sys
import tempfile
import time

import common

# Types of activations and weights: the helper's default weights are unsigned, a careful user's are signed.
CONFIGS = {"w8a8-u8": ("QUInt8", "QUInt8"), "w8a8-s8": ("QUInt8", "QInt8"),
           "w8a16-u8": ("QUInt16", "QUInt8"), "w8a16-s8": ("QUInt16", "QInt8")}
SNAPDRAGON_8_GEN_2, ESTIMATED_SOC = "43", "77"
TIME_LIMIT, MEMORY_LIMIT = 1500, 9000


def quantize(case, config, folder):
    """Returns the path of the quantized model and the seconds it took."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize as quantizeModel
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config, qnn_preprocess_model
    from onnxruntime.quantization.shape_inference import quant_pre_process
    import rivals_ort
    fixed, source, prepared, target = (os.path.join(folder, f"{name}.onnx")
                                       for name in ("fixed", "simplified", "prepared", "quantized"))
    common.fixedModel(case, fixed)
    start = time.monotonic()
    quant_pre_process(fixed, source, skip_symbolic_shape=True)
    dropMetadata(source)
    if not qnn_preprocess_model(source, prepared):
        prepared = source
    activation, weight = CONFIGS[config]
    settings = get_qnn_qdq_config(prepared, rivals_ort.reader(case, 1), per_channel=True,
                                  activation_type=QuantType[activation], weight_type=QuantType[weight])
    quantizeModel(prepared, target, settings)
    return target, time.monotonic() - start


def dropMetadata(path):
    """Removes what quant_pre_process notes in the model: qnn_preprocess_model of the same release throws on it."""
    import onnx
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def registerProvider():
    import onnxruntime
    import onnxruntime_qnn
    folder = os.path.dirname(onnxruntime_qnn.__file__)
    onnxruntime.register_execution_provider_library("QNNExecutionProvider",
                                                    os.path.join(folder, "libonnxruntime_providers_qnn.so"))
    return folder


def htpSession(model, providerFolder, soc, fallback, **options):
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.disable_cpu_ep_fallback", "0" if fallback else "1")
    for name in [name for name in options if name.startswith("ep.")]:
        settings.add_session_config_entry(name, options.pop(name))
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == "QNNExecutionProvider"]
    settings.add_provider_for_devices(devices, {
        "backend_path": os.path.join(providerFolder, "libQnnHtp.so"), "soc_model": soc, **options})
    return onnxruntime.InferenceSession(model, settings)


def compileModel(model, providerFolder, folder):
    """Compiles to a context binary; nodes left to the CPU are allowed only when the compile fails without them."""
    context, traces = os.path.join(folder, "context.onnx"), os.path.join(folder, "trace")
    result, session = {}, None
    for fallback in (False, True):
        if os.path.exists(context):
            os.remove(context)
        start = time.monotonic()
        try:
            session = htpSession(model, providerFolder, SNAPDRAGON_8_GEN_2, fallback, **{
                "ep.context_enable": "1", "ep.context_file_path": context, "ep.context_embed_mode": "0",
                "enable_framework_op_trace": "1", "framework_op_trace_dir": traces})
            result["compile_s"] = round(time.monotonic() - start, 2)
            break
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own.
            result["refused"] = str(error).replace("\n", " ")[:120]
    trace = next((os.path.join(path, name) for path, _, names in os.walk(traces) for name in names
                  if name == "qnn_op_trace.json"), None)
    if trace:
        with open(trace) as file:
            summary = json.load(file)["summary"]
        result["htp_nodes"] = summary["supported_nodes"]
        result["cpu_nodes"] = summary["total_onnx_nodes"] - summary["supported_nodes"]
    result["binary_bytes"] = sum(os.path.getsize(os.path.join(folder, name))
                                 for name in os.listdir(folder) if name.endswith(".bin"))
    return session, result


def estimate(model, providerFolder, folder, fallback):
    profile = os.path.join(folder, "profile.csv")
    htpSession(model, providerFolder, ESTIMATED_SOC, fallback, **{
        "ep.context_enable": "1", "ep.context_file_path": os.path.join(folder, "estimate.onnx"),
        "ep.context_embed_mode": "1", "profiling_level": "detailed", "profiling_file_path": profile})
    with open(profile) as file:
        counters = collections.Counter()
        # Every partition of the graph has its own rows.
        for row in csv.DictReader(file):
            counters[row["Event Identifier"]] += int(row["Time"])
    return {"estimate_us": counters["Simulated (Accelerator exec time us)"],
            "operators_without_cost": counters["Missing Ops (Number of Ops with no Costs associated)"],
            "spill_bytes": counters["Intermediate Spill"],
            "ddr_bytes": sum(counters[name] for name in ("Input Fill", "Intermediate Fill", "Intermediate Spill",
                                                         "Output Spill"))}


def compileChild(case, config, samples, folder):
    """Quantizes, compiles, estimates; leaves the quantized model in `folder`."""
    model, seconds = quantize(case, config, folder)
    providerFolder = registerProvider()
    session, result = compileModel(model, providerFolder, folder)
    result = {"quantize_s": round(seconds, 2), **result}
    if session:
        result.update(estimate(model, providerFolder, folder, "refused" in result))
    cpu = common.session(model)
    result["onnxruntime"] = firstMetric(common.evaluate(case, lambda feed: cpu.run(None, feed), samples))
    print(json.dumps(result))


def emulateChild(case, samples, folder):
    """A process of its own: the vendor's emulation of some models ends it."""
    session = htpSession(os.path.join(folder, "quantized.onnx"), registerProvider(), SNAPDRAGON_8_GEN_2, True)
    score = common.evaluate(case, lambda feed: session.run(None, feed), samples)
    print(json.dumps({"htp-emulator": firstMetric(score)}))


def firstMetric(score):
    return next(iter(score.values()))


def run(name, config, samples):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--compile", name, config, str(samples), folder]
        row = {"case": name, "config": config, **common.measured(command, TIME_LIMIT, MEMORY_LIMIT)}
        if "compile_s" in row:
            command = [sys.executable, __file__, "--emulate", name, str(samples), folder]
            emulated = common.measured(command, TIME_LIMIT, MEMORY_LIMIT)
            row["htp-emulator"] = emulated.get("htp-emulator", emulated.get("failed", "")[:14])
    common.note(row)
    return row


def main():
    mode, words = sys.argv[1:2], sys.argv[2:]
    if mode == ["--compile"]:
        compileChild(common.CASES[words[0]], words[1], int(words[2]), words[3])
        return
    if mode == ["--emulate"]:
        emulateChild(common.CASES[words[0]], int(words[1]), words[2])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(common.CASES))
    parser.add_argument("--config", action="append", choices=list(CONFIGS))
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--json", help="file for the rows")
    arguments = parser.parse_args()
    rows = [run(name, config, arguments.samples)
            for name in arguments.case or common.CASES for config in arguments.config or CONFIGS]
    common.report(rows, ["case", "config", "htp_nodes", "cpu_nodes", "compile_s", "binary_bytes", "estimate_us",
                         "operators_without_cost", "spill_bytes", "ddr_bytes", "onnxruntime", "htp-emulator", "refused", "failed"],
                  arguments.json)


if __name__ == "__main__":
    main()

"""Wall time and peak memory of quantizing: `nibble compile --emit qdq --no-report` and ONNX Runtime's quantize_static.

usage: quantizer_speed.py [--case NAME]... [--recipe w8a8|w8a16]... [--runs N] [--full] [--json FILE]

Same work: model in, QDQ file out, every calibration sample, min-max ranges on both sides, in processes of their own,
interleaved; medians are printed. ONNX Runtime's preparation step is part of its flow and of its time, the start of
both processes too. --full adds the whole compile of the UNet for Snapdragon 8 Gen 2 with its report.
"""
import argparse
import os
import pathlib
import statistics
import sys
import tempfile

import common

PROGRAM = common.ROOT / "build/release/bin/nibble"
TIME_LIMIT, MEMORY_LIMIT = 900, 12000


def nibbleCommand(case, recipe, folder, *extra):
    command = [str(PROGRAM), "compile", str(case.model), "--recipe", recipe, "--calib", str(case.calibration),
               "--progress", "none", "-o", os.path.join(folder, "out"), *extra]
    for name, value in case.bind.items():
        command += ["--bind", f"{name}={value}"]
    return command


def rivalCommand(case, recipe, folder):
    return [sys.executable, __file__, "--rival", case.name, f"{recipe}-minmax", os.path.join(folder, "rival.onnx")]


def quantizeRival(case, config, target):
    from onnxruntime.quantization.shape_inference import quant_pre_process
    import rivals_ort
    with tempfile.TemporaryDirectory() as folder:
        source, prepared = os.path.join(folder, "model.onnx"), os.path.join(folder, "prepared.onnx")
        common.fixedModel(case, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        rivals_ort.quantizeStatic(case, config, 1, prepared, target)


def once(command):
    result = common.measured(command, TIME_LIMIT, MEMORY_LIMIT)
    if "failed" in result:
        sys.exit(f"error: {' '.join(command)}: {result['failed']}")
    return result["wall_s"], result["peak_mib"]


def compare(case, recipe, runs):
    ours, theirs = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(once(nibbleCommand(case, recipe, folder, "--emit", "qdq", "--no-report")))
            theirs.append(once(rivalCommand(case, recipe, folder)))
    row = {"case": case.name, "recipe": recipe}
    for name, values in (("nibble", ours), ("onnxruntime", theirs)):
        row[f"{name}_s"] = statistics.median(seconds for seconds, _ in values)
        row[f"{name}_mib"] = statistics.median(memory for _, memory in values)
    row["time_ratio"] = round(row["nibble_s"] / row["onnxruntime_s"], 3)
    row["memory_ratio"] = round(row["nibble_mib"] / row["onnxruntime_mib"], 3)
    return row


def fullJob():
    with tempfile.TemporaryDirectory() as folder:
        seconds, memory = once(nibbleCommand(common.CASES["unet"], "w8a16", folder, "--target", "snapdragon-8gen2"))
    return {"case": "unet, whole main job", "recipe": "w8a16", "nibble_s": seconds, "nibble_mib": memory}


def main():
    if sys.argv[1:2] == ["--rival"]:
        quantizeRival(common.CASES[sys.argv[2]], sys.argv[3], sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(common.CASES))
    parser.add_argument("--recipe", action="append", choices=["w8a8", "w8a16"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, help="file for the rows")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.case or ["unet", "vae_decoder"]:
        for recipe in arguments.recipe or ["w8a8", "w8a16"]:
            rows.append(compare(common.CASES[name], recipe, arguments.runs))
            common.note(rows[-1])
    if arguments.full:
        rows.append(fullJob())
    common.report(rows, ["case", "recipe", "nibble_s", "onnxruntime_s", "time_ratio", "nibble_mib", "onnxruntime_mib",
                         "memory_ratio"], arguments.json)


if __name__ == "__main__":
    main()

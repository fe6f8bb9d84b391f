"""Nibble beside ONNX Runtime's quantizers, row by row, on the models and data of testdata.

usage: run_table.py [--case NAME]... [--rivals FILE]... [--json FILE]

Compiles every row with the release build, scores the written file in ONNX Runtime with graph optimizations off on all
evaluation samples, and prints one markdown table. --rivals takes the rows that rivals_ort.py wrote with --json; the
best of the rival's calibrations stands beside ours with the difference (dB of SQNR; percent of KL, less is better).
"""
import argparse
import json
import os
import tempfile

import common
from quantizer_speed import MEMORY_LIMIT, TIME_LIMIT, nibbleCommand

# Our recipe, what it emits, and the prefixes of the rival's configurations that do the same.
STATIC_ROWS = [("w8a8", "qdq", "w8a8-"), ("w8a16", "qdq", "w8a16-"), ("w4a16", "qdq", "w4a16-")]
WEIGHT_ROWS = [("w4-g32", "matmulnbits", "g32"), ("w4-g128", "matmulnbits", "g128")]


def written(folder, emit):
    names = [name for name in os.listdir(folder) if name.endswith(f"_{emit}.onnx")]
    if len(names) != 1:
        raise SystemExit(f"error: wanted one *_{emit}.onnx in {folder}, found {names}")
    return os.path.join(folder, names[0])


def compileRow(case, recipe, emit):
    row = {"case": case.name, "recipe": recipe}
    with tempfile.TemporaryDirectory() as folder:
        command = nibbleCommand(case, recipe, folder, "--emit", emit, "--no-report")
        result = common.measured(command, TIME_LIMIT, MEMORY_LIMIT)
        row["nibble_s"] = result["wall_s"]
        if "failed" in result:
            return {**row, "failed": result["failed"]}
        path = written(os.path.join(folder, "out"), emit)
        row["nibble_bytes"] = sum(os.path.getsize(os.path.join(folder, "out", name))
                                  for name in os.listdir(os.path.join(folder, "out"))
                                  if name.startswith(os.path.basename(path)))
        model = common.session(path)
        score = common.evaluate(case, lambda feed: model.run(None, feed))
    row["metric"], row["nibble"] = next(iter(score.items()))
    row["nibble_top1"] = score.get("top1", "")
    return row


def addRival(row, rivals, pattern):
    metric = row.get("metric")
    candidates = [rival for rival in rivals if rival["case"] == row["case"] and metric in rival
                  and (rival["config"].startswith(pattern) or rival["config"].endswith(pattern))]
    if not candidates:
        return row
    better = max if metric == "sqnr" else min
    best = better(candidates, key=lambda rival: rival[metric])
    ours, theirs = row["nibble"], best[metric]
    difference = f"{ours - theirs:+.2f} dB" if metric == "sqnr" else f"{100 * (ours / theirs - 1):+.1f} %"
    return {**row, "rival": theirs, "rival_config": best["config"], "rival_top1": best.get("top1", ""),
            "rival_bytes": best["bytes"], "rival_s": best["quantize_s"], "difference": difference}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(common.CASES))
    parser.add_argument("--rivals", action="append", default=[], help="rows of rivals_ort.py")
    parser.add_argument("--json", help="file for the rows")
    arguments = parser.parse_args()
    rivals = []
    for path in arguments.rivals:
        with open(path) as file:
            rivals += json.load(file)
    rows = []
    for name in arguments.case or common.CASES:
        case = common.CASES[name]
        for recipe, emit, pattern in STATIC_ROWS + (WEIGHT_ROWS if case.metric == "kl" else []):
            rows.append(addRival(compileRow(case, recipe, emit), rivals, pattern))
            common.note(rows[-1])
    common.report(rows, ["case", "recipe", "metric", "nibble", "rival", "rival_config", "difference", "nibble_top1",
                         "rival_top1", "nibble_bytes", "rival_bytes", "nibble_s", "rival_s", "failed"],
                  arguments.json)


if __name__ == "__main__":
    main()

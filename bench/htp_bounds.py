#!/usr/bin/env python3
"""Measures how far the vendor's HTP emulation lies from QDQ semantics, one operator form at a time.

Every case of htp_cases.py is a model of one operator between DequantizeLinear and QuantizeLinear with integer
graph inputs and outputs. It runs in ONNX Runtime's CPU provider with graph optimizations off (the reference)
and in the HTP emulation of onnxruntime-qnn, on several seeds; printed are the largest, the root-mean-square and
the mean deviation in quanta of the result, or that the vendor's library refuses the model or crashes. The
figures in configs/targets come from this script. A result that stays float is counted in 1/65535 of its range.

--check compares with what the target's file says of each form, and fails where a form that is `native` is
refused or deviates by more than its bound, and where a rule that quotes this script matches no case.

Usage: htp_bounds.py [--soc 43] [--only REGEX] [--seeds 3] [--json FILE] [--check]
       htp_bounds.py --from FILE --check                 (rows that --json wrote before)
"""
import argparse
import concurrent.futures
import json
import multiprocessing
import os
import re
import sys

import numpy as np
import onnxruntime as ort
import onnxruntime_qnn

import htp_cases
import htp_model
import target_rules

FOLDER = os.path.dirname(onnxruntime_qnn.__file__)
# Whatever is refused is refused within seconds; what takes longer hangs.
TIME_LIMIT = 300


def startWorker():
    # The libraries print to the standard streams.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    ort.set_default_logger_severity(4)
    ort.register_execution_provider_library("QNNExecutionProvider", os.path.join(FOLDER, "libonnxruntime_providers_qnn.so"))


def deviations(modelBytes, feeds, soc):
    reference = ort.InferenceSession(modelBytes, htp_model.referenceOptions(), ["CPUExecutionProvider"]).run(None, feeds)[0]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    devices = [d for d in ort.get_ep_devices() if d.ep_name == "QNNExecutionProvider"]
    options.add_provider_for_devices(devices, {"backend_path": os.path.join(FOLDER, "libQnnHtp.so"), "soc_model": soc})
    result = ort.InferenceSession(modelBytes, options).run(None, feeds)[0]
    difference = (result.astype(np.float64) - reference.astype(np.float64)).ravel()
    if reference.dtype == np.float32:
        difference *= 65535 / (float(reference.max()) - float(reference.min()))
    return difference


def forms(modelBytes):
    """What the model asks of a target: its operators with the encodings of their operands and result."""
    graph = htp_model.Graph(modelBytes)
    ranks = [len(value.type.tensor_type.shape.dim) for value in graph.inputs]
    return [{"operation": target_rules.operationName(node.op_type), "operands": [graph.operand(n) for n in node.input],
             "result": graph.result(node.output[0]), "rank": max(ranks, default=0)} for node in graph.nodes]


def measure(name, storage, soc, seeds):
    case, every = htp_cases.CASES[name], []
    row = {"case": name, "storage": storage}
    try:
        for seed in range(seeds):
            model = htp_model.Model(storage, np.random.default_rng(seed))
            modelBytes = case.make(model)
            row["forms"] = forms(modelBytes)
            every.append(deviations(modelBytes, model.feeds, soc))
    except Exception as error:  # the vendor's refusals are results too
        return {**row, "refused": str(error).splitlines()[0]}
    every = np.concatenate(every)
    return {**row, "maximum": round(float(np.abs(every).max()), 2), "root-mean-square": round(float(np.sqrt((every**2).mean())), 4),
            "mean": round(float(every.mean()), 4)}


def formsOf(name, storage):
    """The forms of a case whose run did not come back."""
    return forms(htp_cases.CASES[name].make(htp_model.Model(storage, np.random.default_rng(0))))


def measureAll(only, soc, seeds):
    """Yields a row per case and storage. Each runs in a process that may crash and is then replaced."""
    def newWorker():
        return concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), startWorker)
    worker = newWorker()
    for name, case in htp_cases.CASES.items():
        if not re.search(only, name):
            continue
        for storage in case.storages:
            try:
                yield worker.submit(measure, name, storage, soc, seeds).result(TIME_LIMIT)
            except (concurrent.futures.process.BrokenProcessPool, concurrent.futures.TimeoutError) as error:
                for process in worker._processes.values() if isinstance(error, concurrent.futures.TimeoutError) else []:
                    process.kill()
                worker.shutdown(wait=False)
                worker = newWorker()
                how = "the vendor's library crashed" if not isinstance(error, concurrent.futures.TimeoutError) else "no answer"
                yield {"case": name, "storage": storage, "forms": formsOf(name, storage), "refused": how}
    worker.shutdown()


def weightOf(form):
    """The constant right operand, or the table of a gather."""
    operands = form["operands"]
    place = 0 if form["operation"] == "gather" else 1
    found = operands[place] if len(operands) > max(place, 1) - 1 and place < len(operands) else None
    return found if found and found["constant"] and found["storage"] != "none" else None


def verdictOf(rules, row):
    """What the target's file says of a row: the rules of its forms, and the sum of their bounds, of which several
    operators get the double as a block does in a compile."""
    chosen = [rules.legalityRule(f["operation"], f["operands"], f["result"], f["rank"]) for f in row["forms"]]
    maximum, squares = 0.0, 0.0
    for form in row["forms"]:
        # An operator whose result is not rounded adds nothing of its own.
        if form["result"]["storage"] != "none":
            bound = rules.bound(form["operation"], form["result"]["storage"], weightOf(form))
            maximum, squares = maximum + bound["maximum"], squares + bound["root-mean-square"] ** 2
    safety = 2 if len(row["forms"]) > 1 else 1
    return chosen, safety * maximum, safety * squares ** 0.5


def check(rows, target):
    """Problems of the target's file, and remarks."""
    rules = target_rules.Rules(target)
    problems, remarks, measured = [], [], set()
    for row in rows:
        where = f"{row['case']} at {row['storage']}"
        chosen, maximum, rootMeanSquare = verdictOf(rules, row)
        if None in chosen:
            problems.append(f"{where}: no rule matches")
            continue
        measured |= {id(rule) for rule in chosen}
        measured |= {(id(rule), form["operation"]) for rule, form in zip(chosen, row["forms"])}
        verdicts = {rule["verdict"] for rule in chosen}
        exception = htp_cases.CASES[row["case"]].exception
        if verdicts == {"native"} and "refused" in row and exception:
            remarks.append(f"{where}: refused; {exception}")
        elif verdicts == {"native"} and "refused" in row:
            problems.append(f"{where}: declared native, but {row['refused'][:120]}")
        elif verdicts == {"native"} and (row["maximum"] > maximum or row["root-mean-square"] > rootMeanSquare):
            problems.append(f"{where}: declared at most {maximum:g}, root-mean-square {rootMeanSquare:.3g}; measured "
                            f"{row['maximum']:g}, {row['root-mean-square']:.3g}")
        elif verdicts != {"native"} and "refused" not in row:
            remarks.append(f"{where}: declared {'/'.join(sorted(verdicts - {'native'}))}; runs with {row['maximum']:g}, "
                           f"root-mean-square {row['root-mean-square']:.3g}")
    for number, rule in enumerate(rules.legality):
        if "htp_bounds.py" not in rule["evidence"]:
            continue
        missing = [] if id(rule) in measured else ["any operation"]
        missing = missing or [n for n in target_rules.words(rule["operations"]) if n != "*" and (id(rule), n) not in measured]
        if missing:
            problems.append(f"legality rule {number + 1} ({rule['verdict']}, '{rule.get('reason', '')[:60]}') quotes this script, "
                            f"which has no case for {', '.join(missing)}")
    return problems, remarks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soc", default="43")
    parser.add_argument("--only", default="", help="a regular expression on names of cases")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--from", dest="source", help="read rows from this file instead of measuring")
    parser.add_argument("--check", action="store_true", help="compare with the target's file")
    arguments = parser.parse_args()
    if arguments.source:
        with open(arguments.source) as file:
            stored = json.load(file)
        # Cases that have left this script since are no longer claims.
        rows = [r for r in stored["rows"] if r["case"] in htp_cases.CASES and re.search(arguments.only, r["case"])]
        soc = stored["soc"]
    else:
        soc, rows = arguments.soc, []
        print(f"# onnxruntime {ort.__version__}, onnxruntime-qnn {onnxruntime_qnn.__version__}, soc {soc}")
        print(f"{'case':44} {'storage':8} {'max':>9} {'rms':>10} {'mean':>9}")
        for row in measureAll(arguments.only, soc, arguments.seeds):
            rows.append(row)
            figures = f"refused: {row['refused'][:90]}" if "refused" in row else (
                f"{row['maximum']:9g} {row['root-mean-square']:10.3f} {row['mean']:9.3f}")
            print(f"{row['case']:44} {row['storage']:8} {figures}", flush=True)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"onnxruntime": ort.__version__, "onnxruntime-qnn": onnxruntime_qnn.__version__, "soc": soc,
                       "seeds": arguments.seeds, "rows": rows}, file, indent=1)
    if not arguments.check:
        return 0
    problems, remarks = check(rows, target_rules.targetOf(soc))
    for text in remarks:
        print("note:", text)
    for text in problems:
        print("error:", text)
    print(f"{len(rows)} forms, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

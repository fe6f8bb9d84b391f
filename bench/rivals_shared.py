"""What the runners of rivals share: quantizing in the rival's environment, scoring the written file in ours.

A runner has CONFIGS (a name begins with its scheme, or ends with the group for weight-only ones), samples of FEWER where a
method does not bear all of them, and quantize(case, config, source, target). The child process runs in the rival's
environment and only quantizes, model preparation excluded from its seconds; every rival's file is scored by the same
ONNX Runtime. Rows that the file of --json holds are kept and not measured again.
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

TIME_LIMIT, MEMORY_LIMIT = 500, 9000


def isWeightOnly(config):
    return config.split("-")[-1].startswith("g") and config.split("-")[-1][1:].isdigit()


def child(runner, case, config, target):
    from onnxruntime.quantization.shape_inference import quant_pre_process
    with tempfile.TemporaryDirectory() as folder:
        source, prepared = os.path.join(folder, "model.onnx"), os.path.join(folder, "prepared.onnx")
        common.fixedModel(case, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        start = time.monotonic()
        runner.quantize(case, config, prepared, target)
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # The file is complete. What libraries do when they are unloaded is no part of the run, and some crash.
    print(json.dumps({"quantize_s": round(seconds, 2), "quantize_mib": round(peak)}), flush=True)
    os._exit(0)


def customDomains(path):
    import onnx
    model = onnx.load(path, load_external_data=False)
    return sorted({node.domain for node in model.graph.node} - {"", "ai.onnx", "com.microsoft", "ai.onnx.ml"})


def score(case, config, target):
    """The figures of a written file: bytes, coverage, metric with interval, PSNR of a pipeline with it."""
    import accuracy_table
    import qdq_coverage
    target = pathlib.Path(target)
    row = {"bytes": sum(file.stat().st_size for file in target.parent.glob(target.name + "*"))}
    domains = customDomains(target)
    if domains:
        return {**row, "failed": f"operators of {', '.join(domains)}"}
    if not isWeightOnly(config):
        row["coverage"] = qdq_coverage.share(target)
    scores = accuracy_table.SampleScores(case.metric)
    reference, session = common.session(case.model), common.session(target)
    for feed in case.feeds(case.evaluation):
        scores.add(reference.run(None, feed), session.run(None, feed), feed.get(case.tokens))
    row.update(scores.result())
    if case.name in ("unet", "vae_decoder", "text_encoder"):
        try:
            row.update(accuracy_table.sampledImages(case, str(target)))
        except accuracy_table.subprocess.CalledProcessError as error:
            common.note(f"nibble sample: {(error.stderr or '').strip()[-300:]}")
    return row


def run(rival, script, case, config, folder):
    row = {"case": case.name, "config": config}
    why = rivals_setup.missing(rival)
    if why:
        return {**row, "failed": why}
    target = os.path.join(folder, f"{case.name}-{config}.onnx")
    command = [str(rivals_setup.python(rival)), script, "--child", case.name, config, target]
    # Installed packages are found by the environment alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = common.measured(command, TIME_LIMIT, MEMORY_LIMIT, environment)
    if "failed" in result:
        return {**row, **result}
    try:
        return {**row, **result, **score(case, config, target)}
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own.
        return {**row, **result, "failed": f"the file does not run: {str(error)[:120]}"}


def main(rival, runner, script):
    if sys.argv[1:2] == ["--child"]:
        name, config, target = sys.argv[2:]
        child(runner, common.CASES[name], config, target)
    parser = argparse.ArgumentParser(description=runner.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(common.CASES))
    parser.add_argument("--config", action="append", choices=list(runner.CONFIGS))
    parser.add_argument("--json", default=str(common.ROOT / f"bench/results/rivals_{rival}.json"),
                        help="file for the rows, default bench/results/rivals_%s.json" % rival)
    arguments = parser.parse_args()
    path = pathlib.Path(arguments.json)
    rows = json.loads(path.read_text()) if path.exists() else []
    have = {(row["case"], row["config"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for case in [common.CASES[name] for name in arguments.case or common.CASES]:
            for config in arguments.config or runner.CONFIGS:
                if (case.name, config) in have or (isWeightOnly(config) and case.metric != "kl"):
                    continue
                rows.append(run(rival, script, case, config, folder))
                common.note(rows[-1])
                if rows[-1].get("failed", "").startswith("skipped"):
                    continue
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps([row for row in rows if not row.get("failed", "").startswith("skipped")],
                                           indent=1) + "\n")
    print(common.table(rows, ["case", "config", "sqnr", "kl", "top1", "latent_psnr_db", "image_psnr_db", "bytes",
                              "coverage", "quantize_s", "failed"]))

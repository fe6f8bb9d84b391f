"""Models, data and metrics that the benchmarks share, and measured child processes.

A case is one model with fixed dimensions, its calibration samples and its evaluation samples. Metrics compare with
ONNX Runtime's float32 run, and every session here has graph optimizations off, so that a quantized file is computed
as it is written.
"""
import dataclasses
import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ROOT / "testdata/models"
EMOJI, LLAMA = MODELS / "emoji-diffusion", MODELS / "debian-llama"


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    model: pathlib.Path
    bind: dict
    calibration: pathlib.Path
    evaluation: pathlib.Path
    metric: str
    tokens: str = ""

    def feeds(self, path):
        """Yields one dictionary of inputs per sample: a file of a folder, or a row of token ids."""
        if path.is_dir():
            for file in sorted(glob.glob(str(path / "*.npz"))):
                yield dict(np.load(file))
        else:
            for row in np.load(path):
                yield {self.tokens: row[None].astype(self.tokenType())}

    def tokenType(self):
        import onnx
        model = onnx.load(str(self.model), load_external_data=False)
        element = next(i for i in model.graph.input if i.name == self.tokens).type.tensor_type.elem_type
        return onnx.helper.tensor_dtype_to_np_dtype(element)


CASES = {case.name: case for case in [
    Case("unet", EMOJI / "unet/model.onnx", {"batch_size": 2}, EMOJI / "calib/unet", EMOJI / "eval/unet", "sqnr"),
    Case("vae_decoder", EMOJI / "vae_decoder/model.onnx", {"batch_size": 1}, EMOJI / "calib/vae_decoder",
         EMOJI / "eval/vae_decoder", "sqnr"),
    Case("text_encoder", EMOJI / "text_encoder/model.onnx", {"batch_size": 1}, EMOJI / "calib/prompt_ids.npy",
         EMOJI / "eval/prompt_ids.npy", "sqnr", "input_ids"),
    Case("decoder", LLAMA / "decoder/model.onnx", {"sequence_length": 256}, LLAMA / "calib_tokens.npy",
         LLAMA / "eval_tokens.npy", "kl", "input_ids"),
]}


def addWeakSpots(folder):
    """Adds the models that tests/models/make_weak_spots.py wrote to `folder`."""
    for model in sorted(pathlib.Path(folder).glob("*/model.onnx")):
        name = model.parent.name
        bind = {"batch_size": 1} if name.startswith("mask-") else {}
        CASES[name] = Case(name, model, bind, model.parent / "calib", model.parent / "eval", "sqnr")


def fixedModel(case, path):
    """Writes the case's model with its symbolic dimensions fixed."""
    import onnx
    from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed
    model = onnx.load(str(case.model))
    for name, value in case.bind.items():
        make_dim_param_fixed(model.graph, name, value)
    onnx.save(model, path)


def session(path):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def logSoftmax(logits):
    logits = logits.astype(np.float64)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


class Score:
    """Accumulates the case's metric: SQNR in dB over all samples together, or mean KL in nats per token and top-1."""

    def __init__(self, metric):
        self.metric, self.signal, self.noise = metric, 0.0, 0.0
        self.kl, self.top1, self.tokens = 0.0, 0, 0

    def add(self, reference, outputs):
        if self.metric == "sqnr":
            for want, got in zip(reference, outputs):
                self.signal += np.square(want, dtype=np.float64).sum()
                self.noise += np.square(want.astype(np.float64) - got.astype(np.float64).reshape(want.shape)).sum()
            return
        want, got = logSoftmax(reference[0]), logSoftmax(outputs[0])
        self.kl += (np.exp(want) * (want - got)).sum()
        self.top1 += (want.argmax(-1) == got.argmax(-1)).sum()
        self.tokens += want.size // want.shape[-1]

    def result(self):
        if self.metric == "sqnr":
            return {"sqnr": round(float(10 * np.log10(self.signal / max(self.noise, 1e-300))), 3)}
        return {"kl": round(float(self.kl / self.tokens), 6), "top1": round(float(self.top1 / self.tokens), 5)}


def evaluate(case, run, samples=None):
    """Scores `run` (inputs -> outputs) over the first `samples` evaluation samples, all without a number."""
    score = Score(case.metric)
    reference = session(case.model)
    for index, feed in enumerate(case.feeds(case.evaluation)):
        if samples is not None and index == samples:
            break
        score.add(reference.run(None, feed), run(feed))
    return score.result()


def measured(command, timeLimit, memoryLimit, environment=None):
    """Runs `command`; returns wall seconds, the peak resident MiB of the largest of its processes, and what its last
    line holds when that is JSON. The system counts the caller's own size at the start of the process, so a caller that
    asks for memory must be small. A run that fails, or is ended because it is over a limit (seconds, MiB), says so."""
    with tempfile.TemporaryFile("w+") as output:
        start, peak, ended = time.monotonic(), 0.0, None
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        status = None
        while ended is None:
            pid, code, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(code)
                ended = usage.ru_maxrss / 1024
                break
            peak = max(peak, residentMiB(process.pid))
            if time.monotonic() - start > timeLimit:
                status = f"over {timeLimit} s"
            elif peak > memoryLimit:
                status = f"over {memoryLimit} MiB"
            if status:
                process.kill()
                process.wait()
                break
            time.sleep(0.05)
        seconds = time.monotonic() - start
        output.seek(0)
        lines = output.read().strip().splitlines()
    result = {"wall_s": round(seconds, 2), "peak_mib": round(ended if ended is not None else peak)}
    if status or process.returncode:
        last = lines[-1][:200] if lines else "no output"
        return {**result, "failed": status or f"exit code {process.returncode}: {last}"}
    try:
        return {**result, **json.loads(lines[-1])}
    except (ValueError, IndexError, TypeError):
        return result


def residentMiB(pid):
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def table(rows, columns):
    """A markdown table of the dictionaries `rows`."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def report(rows, columns, path):
    print(table(rows, columns))
    if path:
        pathlib.Path(path).write_text(json.dumps(rows, indent=1) + "\n")


def note(text):
    print(text, file=sys.stderr, flush=True)

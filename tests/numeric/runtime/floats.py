"""Runs models in the float runtime through the program `run-float`."""
import os
import pathlib
import subprocess

import numpy as np

TOOL = pathlib.Path(os.environ["NIBBLE_BIN"]) / "run-float"


def runCases(folder, cases, threads=2):
    """Runs (model, inputs, pipeline, bindings) tuples; returns one (outputs or None, message) per case."""
    lines = []
    for index, (model, inputs, pipeline, bindings) in enumerate(cases):
        np.savez(folder / f"in{index}.npz", **inputs)
        fields = [str(model), str(folder / f"in{index}.npz"), str(folder / f"out{index}.npz"), pipeline]
        lines.append("\t".join(fields + [f"{name}={value}" for name, value in bindings.items()]))
    (folder / "cases.txt").write_text("\n".join(lines) + "\n")
    finished = subprocess.run([TOOL, folder / "cases.txt", "--threads", str(threads)], capture_output=True, text=True)
    messages = finished.stdout.splitlines()
    if finished.returncode != 0 or len(messages) != len(cases):
        culprit = cases[len(messages)][0] if len(messages) < len(cases) else "no case"
        raise RuntimeError(f"run-float ended with {finished.returncode} at {culprit}\n{finished.stderr[-2000:]}")
    results = []
    for index, message in enumerate(messages):
        outputs = dict(np.load(folder / f"out{index}.npz")) if message == "ok" else None
        results.append((outputs, message))
    return results

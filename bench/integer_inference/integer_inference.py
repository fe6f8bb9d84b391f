"""Inference time of Nibble's integer runtime beside its float runtime: same model, same threads, runs interleaved.

usage: integer_inference.py [--runs N] [--threads N] [--recipe RECIPE]... [CASE...]
"""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench/fp32_inference"))
from fp32_inference import CASES, MODELS, take_types  # noqa: E402

PROGRAMS = ROOT / "build/release/bin"


def measure(case, recipe, runs, threads):
    """The kernel's name, and the median seconds of a float run and of an integer run."""
    folder, bindings, inputs = CASES[case]
    model = MODELS / folder / "model.onnx"
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / "inputs.npz"
        np.savez(path, **take_types(model, inputs))
        binding = [f"{name}={value}" for name, value in bindings.items()]
        options = [argument for text in binding for argument in ("--bind", text)]
        # Ranges of random samples do: they change what is computed, not how long it takes.
        subprocess.run([PROGRAMS / "nibble", "compile", model, *options, "--calib", "random:2", "--recipe", recipe, "--target",
                        "tosa", "--emit", "qdq", "--no-report", "--progress", "none", "-o", f"{work}/out"], check=True,
                       stderr=subprocess.DEVNULL)
        command = [PROGRAMS / "bench-integer", model, f"{work}/out/model_statistics.safetensors", recipe, path,
                   str(threads), *binding]
        warm = 3
        child = subprocess.run(command, input="run\n" * (runs + warm), check=True, stdout=subprocess.PIPE, text=True)
        kernel, *lines = child.stdout.splitlines()
        seconds = [[float(word) for word in line.split()] for line in lines[warm:]]
    return kernel, *(statistics.median(column) for column in zip(*seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recipe", action="append")
    parser.add_argument("case", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    print("| model | recipe | float ms | integer ms | float / integer | kernel |\n|---|---|---|---|---|---|")
    for case in arguments.case:
        for recipe in arguments.recipe or ["w8a8", "w8a16", "w4a8", "w4a16"]:
            kernel, floating, integer = measure(case, recipe, arguments.runs, arguments.threads)
            print(f"| {case} | {recipe} | {floating * 1e3:.2f} | {integer * 1e3:.2f} | {floating / integer:.2f} | {kernel} |",
                  flush=True)


if __name__ == "__main__":
    main()

"""GPTQ of one layer beside a straightforward PyTorch implementation, on the same cores, runs interleaved.

usage: gptq_speed.py [--layer ROWSxCOLUMNS]... [--runs N]

The PyTorch form follows the paper: damped Hessian, Cholesky factor of its inverse, columns in blocks of 128, one column
at a time inside a block, static groups of 128, columns with the largest moments first. Both round the same weights to
the same int4 grid; the errors of the output show that they do the same. Needs torch, which set-up does not install, and
says so where it is absent.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "build/release/bin/gptq-speed"
GROUP, BLOCK = 128, 128


def makeLayer(rows, columns):
    """Weights, and the mean products of inputs whose channels depend on each other."""
    generator = np.random.default_rng(1)
    weight = generator.normal(size=(rows, columns)).astype(np.float32)
    inputs = generator.normal(size=(4096, columns)).astype(np.float32)
    inputs[:, 1:] += 0.5 * inputs[:, :-1]
    inputs *= np.exp(generator.normal(size=columns)).astype(np.float32)
    return weight, (inputs.T @ inputs / len(inputs)).astype(np.float32)


def torchGptq(torch, weight, gram):
    weight = weight.clone()
    rows, columns = weight.shape
    grouped = weight.reshape(rows, columns // GROUP, GROUP)
    scale = torch.maximum(grouped.amax(2) / 7, grouped.amin(2) / -8).clamp(min=1e-9)
    order = torch.argsort(torch.diag(gram), descending=True)
    weight, hessian = weight[:, order], gram[order][:, order].clone()
    index = torch.arange(columns)
    hessian[index, index] += 0.01 * torch.diag(hessian).mean()
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    rounded = torch.zeros_like(weight)
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        block, errors = weight[:, begin:end].clone(), torch.zeros(rows, end - begin)
        inner = factor[begin:end, begin:end]
        for i in range(end - begin):
            s = scale[:, order[begin + i] // GROUP]
            q = torch.clamp(torch.round(block[:, i] / s), -8, 7) * s
            rounded[:, begin + i] = q
            error = (block[:, i] - q) / inner[i, i]
            block[:, i:] -= error[:, None] * inner[i, i:][None]
            errors[:, i] = error
        weight[:, end:] -= errors @ factor[begin:end, end:]
    return rounded[:, torch.argsort(order)]


def torchChild(folder):
    import torch
    torch.set_num_threads(2)
    weight, gram = (torch.from_numpy(np.load(os.path.join(folder, f"{name}.npy"))) for name in ("weight", "gram"))
    start = time.monotonic()
    rounded = torchGptq(torch, weight, gram)
    seconds = time.monotonic() - start
    error = rounded - weight
    print(json.dumps({"seconds": round(seconds, 3), "error": float(((error @ gram) * error).sum())}))


def run(command):
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    if sys.argv[1:2] == ["--child"]:
        return torchChild(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", action="append", help="default: 4096x4096 and 11008x4096")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    try:
        import torch  # noqa: F401
    except ImportError:
        print("skipped: torch is not installed here, so there is nothing to compare with")
        return
    print("| layer | Nibble s | PyTorch s | ratio | error Nibble / PyTorch |\n|---|---|---|---|---|")
    for layer in arguments.layer or ["4096x4096", "11008x4096"]:
        rows, columns = map(int, layer.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            weight, gram = makeLayer(rows, columns)
            paths = [os.path.join(folder, f"{name}.npy") for name in ("weight", "gram")]
            for path, array in zip(paths, (weight, gram)):
                np.save(path, array)
            ours, theirs = [], []
            for _ in range(arguments.runs):
                ours.append(run([str(PROGRAM), *paths, str(GROUP)]))
                theirs.append(run([sys.executable, __file__, "--child", folder]))
        own, other = (statistics.median(row["seconds"] for row in rows_) for rows_ in (ours, theirs))
        print(f"| {layer} | {own:.2f} | {other:.2f} | {other / own:.2f} | {ours[0]['error'] / theirs[0]['error']:.4f} |",
              flush=True)


if __name__ == "__main__":
    main()

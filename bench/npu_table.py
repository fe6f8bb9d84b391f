"""What Vela makes of every model's integer program: cycles, memory, weights and the costliest operators.

usage: npu_table.py [--program NIBBLE] [--target TARGET]... [--recipe RECIPE]... [--option=--file-per-block]... [MODEL...]

Figures are Vela's estimates, as `nibble compile` reports them. A model that the target refuses has a row with the reason.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import tempfile
import time

from common import EMOJI, LLAMA, ROOT

GENAI = {"batch_size": 1, "sequence_length": 64, "past_sequence_length": 0, "total_sequence_length": 64, "kv_cache_dim": 32}
CASES = {
    "unet": (EMOJI / "unet", EMOJI / "calib/unet", {"batch_size": 2}),
    "vae_decoder": (EMOJI / "vae_decoder", EMOJI / "calib/vae_decoder", {"batch_size": 1}),
    "vae_encoder": (EMOJI / "vae_encoder", EMOJI / "calib/vae_encoder", {"batch_size": 1}),
    "text_encoder": (EMOJI / "text_encoder", EMOJI / "calib/prompt_ids.npy", {"batch_size": 1}),
    "decoder": (LLAMA / "decoder", LLAMA / "calib_tokens.npy", {"sequence_length": 64}),
    "decoder-genai": (LLAMA / "decoder-genai", LLAMA / "calib_tokens.npy", GENAI),
}
TARGETS = ["ethos-u85-1024", "ethos-u65-512", "ethos-u55-256"]
RECIPES = ["w8a8", "w8a16", "w4a8", "w4a16"]


def compile_case(program, case, recipe, target, options, work):
    """The report's NPU program and the seconds of the compile, or the message of the refusal."""
    folder, samples, bindings = CASES[case]
    statistics = work / f"{case}-{recipe}.safetensors"
    ranges = ["--stats", statistics] if statistics.exists() else ["--calib", samples]
    output = work / "out"
    start = time.perf_counter()
    done = subprocess.run([program, "compile", folder / "model.onnx", *ranges, "--recipe", recipe, "--target", target,
                           *(word for name, value in bindings.items() for word in ("--bind", f"{name}={value}")),
                           "--emit", "binary", "--progress", "none", *options, "-o", output],
                          capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        return next(line for line in done.stderr.splitlines() if line.startswith("error: ")), seconds
    if not statistics.exists():
        (output / "model_statistics.safetensors").rename(statistics)
    return json.loads((output / "report.json").read_text())["npu_program"], seconds


def costliest(operators, total, count=3):
    """Operations of the compiler by their share of the cycles."""
    cycles = collections.Counter()
    for operator in operators:
        cycles[operator["operation"]] += operator["cycles"]
    return ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in cycles.most_common(count))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/release/bin/nibble")
    parser.add_argument("--target", action="append")
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--option", action="append", default=[], help="a further option of `nibble compile`")
    parser.add_argument("model", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    print("| model | recipe | target | on NPU / CPU | cycles | arithmetic alone | SRAM KiB | weights, encoded | costliest | s |\n"
          "|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for case in arguments.model:
            for recipe in arguments.recipe or RECIPES:
                for target in arguments.target or TARGETS:
                    program, seconds = compile_case(arguments.program, case, recipe, target, arguments.option,
                                                     pathlib.Path(work))
                    if isinstance(program, str):
                        print(f"| {case} | {recipe} | {target} | {program} |", flush=True)
                        continue
                    print(f"| {case} | {recipe} | {target} | {program['operators_on_npu']} / {program['operators_on_cpu']} "
                          f"| {program['cycles']} | {program['npu_cycles']} | {program['sram_bytes'] // 1024} "
                          f"| {program['original_weight_bytes']}, {program['encoded_weight_bytes']} "
                          f"| {costliest(program['operators'], program['cycles'])} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()

"""The table of docs/accuracy.md: Nibble's recipes, each stage added in turn, beside other quantizers.

usage: accuracy_table.py run [--case NAME]... [--scheme NAME]... [--no-stages]
       accuracy_table.py render [--check]

`run` compiles what bench/results/accuracy.json does not hold yet, scores every written file on the evaluation samples in
ONNX Runtime with graph optimizations off (files with weights of 3 bits in `nibble run`), and adds the rows; delete rows
to measure them anew. `render` writes docs/accuracy.md from the rows there and in bench/results/rivals_*.json; --check
fails where that file says something else.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import common
from accuracy_page import FIRST_STAGE, PAGE, RESULTS, load, page
from quantizer_speed import MEMORY_LIMIT, PROGRAM, nibbleCommand

TIME_LIMIT = 1500

# A scheme, the plain recipe, and the recipes that stack stages on it, for language models, for UNets, for decoders of
# latents and for encoders of text.
SCHEMES = {
    "W8A8": ("w8a8", {"decoder": ["llm-w8a8"], "unet": ["diffusion-w8a8"], "vae_decoder": ["vae-w8a8"],
                      "text_encoder": ["encoder-w8a8"]}),
    "W8A16": ("w8a16", {name: ["diffusion-w8a16"] for name in common.CASES}),
    "W4A16": ("w4a16", {"decoder": ["llm-w4a16-fast", "llm-w4a16-best"], "unet": ["diffusion-w4a16"],
                        "vae_decoder": ["diffusion-w4a16"], "text_encoder": ["llm-w4a16-best"]}),
    "W4A8": ("w4a8", {"decoder": ["llm-w4a8"], "unet": ["diffusion-w4a8"], "vae_decoder": ["diffusion-w4a8"],
                      "text_encoder": ["llm-w4a8"]}),
    "4-bit g32": ("w4-g32", {"decoder": ["llm-w4-fast", "llm-w4-best"]}),
    "4-bit g128": ("w4-g128", {"decoder": ["llm-w4-best at g128"]}),
    "4-bit per channel": ("w4", {"decoder": ["llm-w4-best per channel"]}),
    "3-bit g128": ("3-bit g128", {"decoder": ["llm-w3"]}),
    "2-bit g64": ("2-bit g64", {"decoder": ["llm-w2"]}),
}
# Recipes that are no files of their own: name, base and lines.
VARIANTS = {
    "llm-w4-best at g128": ("llm-w4-best", "weights: {group-size: 128}"),
    "llm-w4-best per channel": ("llm-w4-best", "weights: {symmetric: true, granularity: channel}"),
    "3-bit g128": ("w4-g128", "weights: {bits: 3}"),
    "2-bit g64": ("w4-g128", "weights: {bits: 2, group-size: 64}"),
}
# Stages in the order in which they are added to a plain recipe: name, a line of the recipe, lines under weights.
STAGES = [
    (FIRST_STAGE, "", ["scale-search: output-error"]),
    ("+ GPTQ", "layer-inputs: float", ["rounding: gptq"]),
    ("+ coordinate descent", "layer-inputs: float", ["coordinate-descent: 8"]),
    ("+ refitted scales", "layer-inputs: float", ["refit-scales: true"]),
    ("+ bias correction", "layer-inputs: float", ["bias-correction: true"]),
    ("+ quantized inputs", "layer-inputs: quantized", []),
    ("+ drift correction", "layer-inputs: quantized", ["drift-correction: 0.75"]),
]
STAGE_SCHEMES = [("vae_decoder", "W4A16"), ("decoder", "4-bit g128")]


def recipeFile(name, folder):
    """A recipe by name, or a file for one that is described here."""
    if name not in VARIANTS:
        return name
    base, lines = VARIANTS[name]
    path = os.path.join(folder, "recipe.yaml")
    pathlib.Path(path).write_text(f"schema: nibble-recipe-1\nname: {json.dumps(name)}\nbase: {base}\n{lines}\n")
    return path


def stageRecipes(plain):
    """Names and texts of the plain recipe with one more stage each."""
    weights = []
    for name, line, more in STAGES:
        weights += more
        body = "".join(f"  {entry}\n" for entry in weights)
        yield name, f"schema: nibble-recipe-1\nname: stage\nbase: {plain}\n{line}\nweights:\n{body}"


class SampleScores:
    """The case's metric with what every sample adds to it, so that samples can be drawn anew."""

    def __init__(self, metric):
        self.metric, self.parts, self.matches, self.loss = metric, [], 0, 0.0

    def add(self, reference, outputs, tokens=None):
        """One sample's outputs; its token ids, a row of them, add to the perplexity."""
        score = common.Score(self.metric)
        score.add(reference, outputs)
        if self.metric == "sqnr":
            self.parts.append((score.signal, score.noise))
        else:
            self.parts.append((score.kl, score.tokens))
            self.matches += score.top1
            if tokens is not None:
                follows = common.logSoftmax(outputs[0]).reshape(-1, outputs[0].shape[-1])[:-1]
                self.loss -= follows[np.arange(len(follows)), tokens.reshape(-1)[1:]].mean()

    def value(self, parts):
        first, second = np.asarray(parts).sum(0)
        return 10 * np.log10(first / max(second, 1e-300)) if self.metric == "sqnr" else first / second

    def result(self):
        generator = np.random.default_rng(1)
        parts = np.asarray(self.parts)
        draws = [self.value(parts[generator.integers(0, len(parts), len(parts))]) for _ in range(2000)]
        low, high = np.percentile(draws, [2.5, 97.5])
        digits = 3 if self.metric == "sqnr" else 6
        row = {self.metric: round(float(self.value(parts)), digits), "low": round(float(low), digits),
               "high": round(float(high), digits)}
        if self.metric == "kl":
            row["top1"] = round(float(self.matches / parts[:, 1].sum()), 5)
            if self.loss:
                row["perplexity"] = round(float(np.exp(self.loss / len(parts))), 4)
        return row


def runInNibble(path, feed):
    """The outputs of Nibble's float runtime on one sample."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
        np.savez(source, **feed)
        subprocess.run([str(PROGRAM), "run", path, "--on", "fp32", "--input", source, "-o", target], check=True,
                       stdout=subprocess.DEVNULL)
        return list(np.load(target).values())


def sampledImages(case, path):
    """PSNR of latents and of images of the whole pipeline with this model in it."""
    option = {"unet": "--unet", "vae_decoder": "--vae-decoder", "text_encoder": "--text-encoder"}[case.name]
    command = [str(PROGRAM), "sample", str(common.EMOJI), "--prompts", str(common.EMOJI / "eval/prompt_ids.npy"),
               "--unconditional", str(common.EMOJI / "uncond_ids.npy"), "--noise", str(common.EMOJI / "eval/fp32.npz"),
               "--reference", str(common.EMOJI / "eval/fp32.npz"), option, path, "--json"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figures = json.loads(output)
    return {key: round(figures[key]["mean"], 2) for key in ("latent_psnr_db", "image_psnr_db")}


def scoreFile(case, path, runsInNibble=False):
    scores = SampleScores(case.metric)
    reference = common.session(case.model)
    session = None if runsInNibble else common.session(path)
    for feed in case.feeds(case.evaluation):
        outputs = session.run(None, feed) if session else runInNibble(path, feed)
        scores.add(reference.run(None, feed), outputs, feed.get(case.tokens))
    row = scores.result()
    if case.metric == "sqnr":
        row.update(sampledImages(case, path))
    return row


def compileAndScore(case, scheme, label, recipe):
    isWeightOnly = "bit" in scheme
    emit = "matmulnbits" if isWeightOnly else "qdq"
    row = {"case": case.name, "scheme": scheme, "config": label}
    with tempfile.TemporaryDirectory() as folder:
        if recipe.startswith("schema:"):
            path = os.path.join(folder, "stage.yaml")
            pathlib.Path(path).write_text(recipe)
        else:
            path = recipeFile(recipe, folder)
        command = nibbleCommand(case, path, folder, "--emit", emit, "--target", "onnx")
        result = common.measured(command, TIME_LIMIT, MEMORY_LIMIT)
        row.update(quantize_s=result["wall_s"], quantize_mib=result["peak_mib"])
        if "failed" in result:
            return {**row, "failed": result["failed"]}
        out = pathlib.Path(folder) / "out"
        written = out / f"model_{emit}.onnx"
        row["bytes"] = sum(file.stat().st_size for file in out.glob(written.name + "*"))
        coverage = json.loads((out / "report.json").read_text())["coverage"]
        row["coverage"] = round(coverage["integer_compute_nodes"] / coverage["compute_nodes"], 3)
        if scheme.startswith("3-bit"):
            row["form"] = "nibble-packed"
        row.update(scoreFile(case, str(written), scheme.startswith("3-bit")))
    return row


def wanted(arguments):
    for name in arguments.case or common.CASES:
        case = common.CASES[name]
        for scheme, (plain, recipes) in SCHEMES.items():
            if name not in recipes or (arguments.scheme and scheme not in arguments.scheme):
                continue
            yield case, scheme, plain, plain
            for recipe in recipes[name]:
                yield case, scheme, recipe, recipe
            if (name, scheme) in STAGE_SCHEMES and not arguments.no_stages:
                for label, text in stageRecipes(plain):
                    yield case, scheme, label, text


def runAll(arguments):
    rows = load("accuracy.json")
    have = {(row["case"], row["scheme"], row["config"]) for row in rows}
    for case, scheme, label, recipe in wanted(arguments):
        if (case.name, scheme, label) in have:
            continue
        row = compileAndScore(case, scheme, label, recipe)
        common.note(row)
        rows.append(row)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "accuracy.json").write_text(json.dumps(rows, indent=1) + "\n")


def render(arguments):
    text = page()
    if not arguments.check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.exit(f"error: {PAGE} is not what bench/results holds; run 'bench/accuracy_table.py render'")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run")
    run.add_argument("--case", action="append", choices=list(common.CASES))
    run.add_argument("--scheme", action="append", choices=list(SCHEMES))
    run.add_argument("--no-stages", action="store_true")
    run.set_defaults(action=runAll)
    rendering = commands.add_parser("render")
    rendering.add_argument("--check", action="store_true")
    rendering.set_defaults(action=render)
    arguments = parser.parse_args()
    arguments.action(arguments)


if __name__ == "__main__":
    main()

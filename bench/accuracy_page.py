"""docs/accuracy.md, made of the rows in bench/results alone."""
import json

import common

RESULTS = common.ROOT / "bench/results"
PAGE = common.ROOT / "docs/accuracy.md"

SCHEMES = ["W8A8", "W8A16", "W4A16", "W4A8", "4-bit g32", "4-bit g128", "4-bit per channel", "3-bit g128", "2-bit g64"]
RIVAL_SCHEMES = {"w8a8": "W8A8", "w8a16": "W8A16", "w4a16": "W4A16", "w4a8": "W4A8", "g32": "4-bit g32",
                 "g128": "4-bit g128"}
# The schemes that each rival's configurations here do.
TOOLS = {"ort": ("ONNX Runtime", {"W8A8", "W8A16", "W4A16", "4-bit g32", "4-bit g128"}),
         "nncf": ("NNCF", {"W8A8", "4-bit g32", "4-bit g128"}),
         "inc": ("onnx-neural-compressor", {"W8A8", "4-bit g32", "4-bit g128"}),
         "quark": ("Quark", {"W8A8", "W8A16", "4-bit g32", "4-bit g128"}),
         "aimet": ("AIMET", {"W8A8", "W8A16", "W4A16", "W4A8", "4-bit g32", "4-bit g128"})}
# A file with this share of its compute nodes on the integer grid is compared with ours.
FULL_INTEGER = 0.95
# Latents are made before they are decoded.
NO_LATENTS = ("vae_decoder", "latent_psnr_db")
# Rows of ours that are steps on the way to a recipe: this one and those that begin with +.
FIRST_STAGE = "output error search"


def load(name):
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else []


def rivalRows():
    for key, (tool, _) in TOOLS.items():
        for row in load(f"rivals_{key}.json"):
            words = row["config"].split("-")
            scheme = RIVAL_SCHEMES.get(words[0]) or RIVAL_SCHEMES.get(words[-1])
            if scheme:
                yield {**row, "scheme": scheme, "config": f"{tool} {row['config']}", "tool": tool}


def metricOf(case):
    return common.CASES[case].metric


def isWeightOnly(scheme):
    return "bit" in scheme


def isComparable(row):
    """Whether a rival's row does what ours does: weights only, or integers in nearly every compute node."""
    return isWeightOnly(row["scheme"]) or row.get("coverage", 0) >= FULL_INTEGER or "failed" in row


def isStage(row):
    return row["config"] == FIRST_STAGE or row["config"].startswith("+")


def formatted(row, metric):
    if metric not in row:
        return row.get("failed", "").replace("|", "\\|")
    digits = 2 if metric == "sqnr" else 6
    text = f"{row[metric]:.{digits}f}"
    if "low" in row:
        text += f" ({row['low']:.{digits}f} to {row['high']:.{digits}f})"
    return text


def bestOf(rows, metric):
    scored = [row for row in rows if metric in row]
    return (max if metric == "sqnr" else min)(scored, key=lambda row: row[metric]) if scored else None


def verdict(ours, theirs, metric):
    """Win or loss where the intervals do not meet; a rival without an interval must lie outside ours."""
    low, high = theirs.get("low", theirs[metric]), theirs.get("high", theirs[metric])
    above, below = ours["low"] > high, ours["high"] < low
    if not above and not below:
        return "within the interval"
    return "win" if above == (metric == "sqnr") else "loss"


def compared(ours, theirs, metric):
    if metric == "sqnr":
        return f"{ours[metric] - theirs[metric]:+.2f} dB"
    return f"{100 * (ours[metric] / theirs[metric] - 1):+.1f} % KL"


def summary(rows):
    """One line per case and scheme: our best recipe beside the best rival of the same kind."""
    lines = ["| model | scheme | Nibble | rival | difference | |", "|---|---|---|---|---|---|"]
    for case in common.CASES:
        metric = metricOf(case)
        for scheme in SCHEMES:
            here = [row for row in rows if row["case"] == case and row["scheme"] == scheme]
            ours = bestOf([row for row in here if "tool" not in row and not isStage(row)], metric)
            if not ours:
                continue
            theirs = bestOf([row for row in here if "tool" in row and isComparable(row)], metric)
            cells = [case, scheme, f"`{ours['config']}`"]
            cells += [theirs["config"], compared(ours, theirs, metric), verdict(ours, theirs, metric)] if theirs else [
                "none", "", ""]
            lines.append("| " + " | ".join(cells) + " |")
    return lines + [""]


def rowCells(row, metric):
    cells = [row["config"] if "tool" in row else f"Nibble `{row['config']}`", formatted(row, metric)]
    if metric == "sqnr":
        cells += [f"{row[key]:.2f}" if key in row and (row["case"], key) != NO_LATENTS else ""
                  for key in ("latent_psnr_db", "image_psnr_db")]
    else:
        cells += [str(row.get("top1", "")), f"{row['perplexity']:.3f}" if "perplexity" in row else ""]
    size = str(row.get("bytes", "")) + (f", {row['form']}" if "form" in row else "")
    coverage = f"{100 * row['coverage']:.0f} %" if row.get("coverage") is not None else ""
    return cells + [size, coverage, str(row.get("quantize_s", ""))]


def rowTable(rows, metric):
    columns = ["quantizer", "SQNR dB (95 %)", "latent PSNR dB", "image PSNR dB"] if metric == "sqnr" else [
        "quantizer", "KL nats/token (95 %)", "top-1", "perplexity"]
    columns += ["bytes", "integer nodes", "seconds"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(rowCells(row, metric)) + " |" for row in rows] + [""]


def absent(scheme, rivals):
    """What a rival without a row in this section says."""
    have = {row["tool"] for row in rivals}
    cannot = [tool for tool, schemes in TOOLS.values() if scheme not in schemes]
    skipped = [tool for tool, schemes in TOOLS.values() if scheme in schemes and tool not in have]
    lines = []
    if cannot:
        lines.append(f"No configuration of this scheme: {', '.join(cannot)}.")
    if skipped:
        lines.append(f"Not measured: {', '.join(skipped)}.")
    return lines + [""] if lines else []


def section(case, scheme, ours, rivals):
    metric = metricOf(case)
    lines = [f"### {case}, {scheme}", ""]
    same = [row for row in rivals if isComparable(row)]
    mixed = [row for row in rivals if not isComparable(row)]
    lines += rowTable(ours + same, metric)
    if mixed:
        lines += [f"With operators left in float (under {100 * FULL_INTEGER:.0f} % of compute nodes on the integer grid, or not "
                  "counted):", ""]
        lines += rowTable(mixed, metric)
    return lines + absent(scheme, rivals)


HEADER = """# Accuracy

Written by `bench/accuracy_table.py render` from the rows in `bench/results`, which `bench/accuracy_table.py run` and the
`rivals_*.py` beside it measure ([bench/README.md](../bench/README.md)). All quantizers got the same calibration samples;
evaluation samples were read for these figures alone. A row is a file that was written, read again and executed: bytes are
its size; SQNR of the outputs, or the divergence of the next token's distribution, are against the float32 model, over all
evaluation samples, with 95 % bootstrap intervals over samples. Latent and image PSNR are those of `nibble sample` over 16
prompts and 20 steps with this one model replaced. Perplexity is shown and ranks nothing. Rows that begin with + add one
stage to the row before. Seconds were taken one run after another on two cores that were not idle; they compare rows no
closer than by a factor of two.

Integer nodes is the share of compute nodes on the integer grid ([numerics.md](spec/numerics.md)), counted by
`bench/qdq_coverage.py` on a rival's file; a constant bias left in float counts as quantized, since hardware adds it in the
accumulator. An empty cell was not counted.

## Summary
The best recipe beside the best rival with at least 95 % of compute nodes on the integer grid, or for weight-only schemes the
best rival. It is a win or a loss where the 95 % intervals do not meet; a rival without an interval must lie outside ours.
"""


def page():
    ours, rivals = load("accuracy.json"), list(rivalRows())
    lines = HEADER.splitlines() + [""] + summary(ours + rivals) + ["## All rows", ""]
    for case in common.CASES:
        for scheme in SCHEMES:
            mine, theirs = ([row for row in rows if row["case"] == case and row["scheme"] == scheme]
                            for rows in (ours, rivals))
            if mine or theirs:
                lines += section(case, scheme, mine, theirs)
    return "\n".join(lines).rstrip() + "\n"

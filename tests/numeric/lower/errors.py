"""How far every lowering lies from float, in quanta of its result, held to the table of docs/spec/numerics.md.

With --fix the table is written anew; without, a figure that moved by more than rounding fails the test.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

from cases import CASES, Model

PROGRAM = pathlib.Path(os.environ["NIBBLE_BIN"]) / "measure-lowering"
PAGE = pathlib.Path(os.environ["NIBBLE_SOURCE"]) / "docs/spec/numerics.md"
HEADER = "| lowering | w8a8 | w8a16 | w4a8 | w4a16 |"
RECIPES = ("w8a8", "w8a16", "w4a8", "w4a16")


def measure(case):
    """The bits of the result, the largest and the root-mean-square distance by recipe."""
    name, recipes, build, *changes = case
    model = Model()
    output = build(model)
    figures = {}
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work)
        model.save(path / "model.onnx", output)
        samples = []
        for index, sample in enumerate(model.samples):
            samples.append(path / f"{index}.npz")
            np.savez(samples[-1], **sample)
        for recipe in recipes:
            used = recipe
            if changes:
                used = path / f"{recipe}.yaml"
                used.write_text(f"schema: nibble-recipe-1\nname: changed\nbase: {recipe}\n{changes[0]}\n")
            done = subprocess.run([PROGRAM, path / "model.onnx", used, *samples], capture_output=True, text=True)
            if done.returncode:
                raise AssertionError(f"{name}, {recipe}: {done.stderr}")
            bits, largest, rms, count = done.stdout.split()
            assert int(count) > 100, f"{name}: {count} values are too few"
            figures[recipe] = (int(bits), float(largest), float(rms))
    return figures


def measureAll():
    # The samples of all cases come from one generator, so the models are made in order.
    return [(case[0], measure(case)) for case in CASES]


def format(figures):
    return [f"{figures[recipe][1]:.2f}, {figures[recipe][2]:.2f}" if recipe in figures else "" for recipe in RECIPES]


def tableLines(rows):
    return [f"| {name} | {' | '.join(format(figures))} |" for name, figures in rows]


def readTable(text):
    """Rows of the page by their first cell."""
    lines = text.splitlines()
    start = lines.index(HEADER) + 2
    rows = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0]] = cells[1:]
    return rows


class Errors(unittest.TestCase):
    def testTableStatesWhatIsMeasured(self):
        documented = readTable(PAGE.read_text())
        measured = measureAll()
        self.assertEqual(list(documented), [name for name, _ in measured], "rows of the table")
        for name, figures in measured:
            for recipe, cell in zip(RECIPES, documented[name]):
                with self.subTest(lowering=name, recipe=recipe):
                    self.assertEqual(bool(cell), recipe in figures)
                    if not cell:
                        continue
                    for stated, found in zip(map(float, cell.split(",")), figures[recipe][1:]):
                        self.assertLessEqual(abs(stated - found), 0.02 + 0.03 * stated)
                    bits, largest, _ = figures[recipe]
                    if bits == 8:
                        # Rounding alone is half a quantum, and a double rounding at most one.
                        self.assertLess(largest, 1.1)


def fix():
    lines = PAGE.read_text().splitlines()
    start = lines.index(HEADER) + 2
    end = start
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    PAGE.write_text("\n".join(lines[:start] + tableLines(measureAll()) + lines[end:]) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--fix"]:
        fix()
    else:
        unittest.main()

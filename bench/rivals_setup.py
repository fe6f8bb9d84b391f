"""Makes the Python environment of a rival that set-up does not install, by package name and version.

usage: rivals_setup.py [RIVAL]...      (default: all; python of each: ~/.cache/nibble/rivals/RIVAL/bin/python)

One environment per rival, since their requirements exclude one another. torch is large, so one environment holds it and
those that need it read it from there. AIMET has packages for Python 3.10 only: without a python3.10 (searched on PATH, or
in the environment variable PYTHON310) it is skipped, which is said, and its rows say so too.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys

CACHE = pathlib.Path.home() / ".cache/nibble"
ENVIRONMENTS = CACHE / "rivals"
TORCH = CACHE / "torch-venv"
RUNTIME = ["onnx==1.19.1", "onnxruntime==1.31.1"]
# What ONNX Runtime's preparation of a model needs.
PREPARATION = ["sympy==1.14.0", "onnx-ir==1.1.0"]
# Packages; whether torch is read from its own environment; the interpreter where not any will do.
RIVALS = {
    "nncf": (["nncf==3.4.0", *PREPARATION, *RUNTIME], False, None),
    # The package does not name all that it imports.
    "inc": (["onnx-neural-compressor==1.0", "prettytable==3.17.0", "scipy==1.15.3", *PREPARATION, *RUNTIME], False, None),
    "quark": (["amd-quark==0.13", *PREPARATION, "onnx==1.21.0", "onnxruntime==1.28.0"], True, None),
    "aimet": (["aimet-onnx==2.42.0", "onnxruntime==1.23.2"], False, "python3.10"),
}


def python(rival):
    return ENVIRONMENTS / rival / "bin/python"


def missing(rival):
    """Why the rival cannot run here, or nothing."""
    interpreter = RIVALS[rival][2]
    if python(rival).exists():
        return ""
    if interpreter and not located(interpreter):
        return f"skipped: needs {interpreter}, which is not on this machine"
    return f"skipped: no environment; run 'bench/rivals_setup.py {rival}'"


def located(interpreter):
    return os.environ.get(interpreter.upper().replace(".", "")) or shutil.which(interpreter)


def install(environment, interpreter, packages):
    subprocess.run([interpreter, "-m", "venv", str(environment)], check=True)
    subprocess.run([str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    *packages], check=True)


def setUp(rival):
    packages, needsTorch, interpreter = RIVALS[rival]
    if interpreter and not located(interpreter):
        print(f"{rival}: {missing(rival)}")
        return
    if needsTorch and not (TORCH / "bin/python").exists():
        install(TORCH, sys.executable, ["torch==2.15.0", *PREPARATION, *RUNTIME])
    install(ENVIRONMENTS / rival, located(interpreter) if interpreter else sys.executable, packages)
    if needsTorch:
        # A .pth file's folders come after the environment's own, whose versions therefore win.
        folder = next((ENVIRONMENTS / rival).glob("lib/python*/site-packages"))
        torch = next(TORCH.glob("lib/python*/site-packages"))
        (folder / "torch.pth").write_text(f"{torch}\n")
    print(f"{rival}: ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rival", nargs="*", help=", ".join(RIVALS))
    arguments = parser.parse_args()
    for rival in arguments.rival or RIVALS:
        if rival not in RIVALS:
            parser.error(f"unknown rival '{rival}'; there are {', '.join(RIVALS)}")
        setUp(rival)


if __name__ == "__main__":
    main()

"""Checks that the references in docs/generated are what the definitions say.

usage: check_generated_docs.py ROOT MLIR_TBLGEN MLIR_INCLUDE_FOLDER [--fix]
"""
import pathlib
import subprocess
import sys

# Page, definitions, generator and its options.
PAGES = [
    ("nn-dialect.md", "lib/Dialect/NN/NNOps.td", ["-gen-dialect-doc", "-dialect=nn"]),
    ("passes.md", "passes/Passes.td", ["-gen-pass-doc"]),
]


def generate(root, tblgen, include, definitions, options):
    command = [tblgen, *options, f"-I{root}", f"-I{include}", str(root / definitions)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(root, tblgen, include, fix):
    root = pathlib.Path(root)
    folder = root / "docs" / "generated"
    stale = []
    for page, definitions, options in PAGES:
        text = generate(root, tblgen, include, definitions, options)
        path = folder / page
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path)
        if fix:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path}")
    if stale and not fix:
        for path in stale:
            print(f"{path} differs from what its definitions say")
        print(f"to write it anew: python {sys.argv[0]} {root} {tblgen} {include} --fix")
        return 1
    return 0


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--fix"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    sys.exit(main(*arguments, fix="--fix" in sys.argv))

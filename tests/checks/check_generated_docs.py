"""Checks that the references in docs/generated are what the definitions say, and that pages quote programs as they are.

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
# Page, and the program that its only block of C++ quotes.
QUOTES = [("docs/deploy-snapdragon.md", "examples/deploy_snapdragon.cpp")]


def withQuote(text, program):
    """The page with the program in its block of C++."""
    before, found, rest = text.partition("```cpp\n")
    after = rest.partition("\n```\n")[2]
    return f"{before}{found}{program.rstrip()}\n```\n{after}"


def generate(root, tblgen, include, definitions, options):
    command = [tblgen, *options, f"-I{root}", f"-I{include}", str(root / definitions)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(root, tblgen, include, fix):
    root = pathlib.Path(root)
    wanted = {root / "docs" / "generated" / page: generate(root, tblgen, include, definitions, options)
              for page, definitions, options in PAGES}
    for page, program in QUOTES:
        wanted[root / page] = withQuote((root / page).read_text(), (root / program).read_text())
    stale = []
    for path, text in wanted.items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path)
        if fix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path}")
    if stale and not fix:
        for path in stale:
            print(f"{path} differs from what its sources say")
        print(f"to write it anew: python {sys.argv[0]} {root} {tblgen} {include} --fix")
        return 1
    return 0


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--fix"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    sys.exit(main(*arguments, fix="--fix" in sys.argv))

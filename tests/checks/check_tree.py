"""Checks files that git tracks: no paths of one machine, no hosts outside a short list, no file of more than 600 lines.

usage: check_tree.py ROOT
"""
import pathlib
import re
import subprocess
import sys

MAX_LINES = 600
CODE_SUFFIXES = {".h", ".cpp", ".td", ".py", ".cmake", ".mlir", ".test"}
# Folders of a home, of root and of work trees; the bracket keeps this file from matching itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:[r]oot|[h]ome/\w|[w]ork/|[o]pt/\w)")
# A host is named in a URL, or bare with a usual ending and nothing after it that makes it an expression of code.
HOST = re.compile(r"\b(?:https?|git|ssh)://([\w.-]+)|(?<![\w@/.-])((?:[a-z0-9-]+\.)+(?:org|com|io|net|dev))(?![\w(\[.-])")
ALLOWED_HOSTS = {"www.apache.org", "llvm.org", "arxiv.org", "onnx.ai", "json-schema.org"}
# Texts of others: licences are quoted as they are, and the data of test models is no prose of the project.
QUOTED = {"LICENSE", "THIRD_PARTY_NOTICES"}
QUOTED_FOLDERS = ("testdata/models/",)


def trackedFiles(root):
    listing = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True).stdout
    return [name for name in listing.decode().split("\0") if name and (root / name).is_file()]


def checkFile(name, text):
    lines = text.splitlines()
    if pathlib.PurePath(name).suffix in CODE_SUFFIXES and len(lines) > MAX_LINES:
        yield f"{name}: has {len(lines)} lines, at most {MAX_LINES} are allowed"
    if name in QUOTED or name.startswith(QUOTED_FOLDERS):
        return
    for number, line in enumerate(lines, 1):
        for found in MACHINE_PATH.finditer(line):
            yield f"{name}:{number}: names the machine path {found.group(0)}"
        for found in HOST.finditer(line):
            host = found.group(1) or found.group(2)
            if host not in ALLOWED_HOSTS:
                yield f"{name}:{number}: names the host {host}"


def main():
    root = pathlib.Path(sys.argv[1])
    problems = []
    for name in trackedFiles(root):
        try:
            text = (root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        problems += checkFile(name, text)
    for problem in problems:
        print("error:", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

"""Checks the rule of docs/architecture.md: a folder is a layer, and a layer includes and links only those above it.

usage: check_layers.py ROOT

The table in docs/architecture.md is the rule; folders in one row are ordered from left to right. `passes` and `calib`
do not include each other in either direction.
"""
import pathlib
import re
import sys

SOURCE_SUFFIXES = {".h", ".cpp", ".td"}
APART = {frozenset({"passes", "calib"})}


def readTable(root):
    """Returns (folder -> rank, library -> rank); a smaller rank stands above."""
    folders, libraries = {}, {}
    for line in (root / "docs/architecture.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 5 or not cells[1].startswith("`"):
            continue
        for folder in re.findall(r"`([^`]+)`", cells[1]):
            folders[folder] = len(folders)
        for library in re.findall(r"`([^`]+)`", cells[2]):
            libraries[library] = len(libraries)
    if len(folders) < 5 or len(libraries) < 5:
        raise SystemExit("error: docs/architecture.md holds no table of layers")
    return folders, libraries


def layerOf(path, folders):
    """The longest folder of the table that holds `path`, or None."""
    owners = [folder for folder in folders if path == folder or path.startswith(folder + "/")]
    return max(owners, key=len, default=None)


def checkIncludes(root, folders):
    for top in ("lib", "passes", "calib", "cli"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in SOURCE_SUFFIXES:
                continue
            name = file.relative_to(root).as_posix()
            layer = layerOf(name, folders)
            if layer is None:
                yield f"{name}: lies in no layer of docs/architecture.md"
                continue
            for number, line in enumerate(file.read_text().splitlines(), 1):
                found = re.match(r'\s*#?\s*include\s+"((?:lib|passes|calib|cli)/[^"]+)"', line)
                if not found:
                    continue
                target = layerOf(found.group(1), folders)
                if target is None:
                    yield f"{name}:{number}: includes {found.group(1)}, which lies in no layer"
                elif frozenset({target, layer}) in APART:
                    yield f"{name}:{number}: {layer} and {target} must not include each other"
                elif folders[target] > folders[layer]:
                    yield f"{name}:{number}: layer {layer} includes {found.group(1)} of the later layer {target}"


def checkLinks(root, libraries):
    for top in ("lib", "passes", "calib"):
        for file in sorted((root / top).rglob("CMakeLists.txt")):
            text = re.sub(r"#.*", "", file.read_text())
            for call in re.findall(r"nibble_add_library\(([^)]*)\)", text):
                words = call.split()
                if words[0] not in libraries:
                    yield f"{file.relative_to(root)}: library {words[0]} is not in docs/architecture.md"
                    continue
                for word in words[1:]:
                    if word in libraries and libraries[word] >= libraries[words[0]]:
                        yield f"{file.relative_to(root)}: {words[0]} links {word}, which does not stand above it"


def main():
    root = pathlib.Path(sys.argv[1])
    folders, libraries = readTable(root)
    problems = list(checkIncludes(root, folders)) + list(checkLinks(root, libraries))
    for problem in problems:
        print("error:", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

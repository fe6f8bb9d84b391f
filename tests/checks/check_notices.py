"""Compares THIRD_PARTY_NOTICES with what the built programs are linked with and which header-only libraries they use.

usage: check_notices.py ROOT BUILD

A part of the notices has a line `Linked:` with patterns of library files, or `Headers:` with a folder of includes.
"""
import fnmatch
import os
import pathlib
import re
import subprocess
import sys

# Parts of every Debian system, which are never packed.
SYSTEM = ("linux-vdso.so*", "ld-linux-*", "libc.so*", "libm.so*", "libm.a", "libstdc++.so*", "libgcc_s.so*", "libdl.*",
          "librt.*", "libpthread.*")
OWN = ("libNibble*.a",)


def readNotices(text):
    """Returns (patterns of linked libraries, include folders)."""
    linked = [pattern for line in re.findall(r"^Linked: (.*)$", text, re.M) for pattern in line.split()]
    headers = [folder for line in re.findall(r"^Headers: (.*)$", text, re.M) for folder in line.split()]
    return linked, headers


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def linkedLibraries(build, program):
    """File names of the archives and shared libraries of `program`, those that shared ones need included."""
    commands = subprocess.run(["ninja", "-C", build, "-t", "commands", f"bin/{program}"], check=True,
                              capture_output=True, text=True).stdout
    link = commands.rstrip().splitlines()[-1]
    archives = {os.path.basename(word) for word in link.split() if re.search(r"\.a$", word)}
    path = os.path.join(build, "bin", program)
    needed = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    return archives | {os.path.basename(line.split()[0]) for line in needed.splitlines() if line.strip()}


def checkLinked(program, libraries, patterns):
    for library in sorted(libraries):
        if not matches(library, SYSTEM + OWN) and not matches(library, patterns):
            yield f"{program} is linked with {library}, which THIRD_PARTY_NOTICES does not name"


def checkHeaders(root, headers):
    # Include folders of others that count as embedded when they are header-only.
    known = {"Eigen/", "CLI/", "flatbuffers/"}
    used = set()
    for top in ("lib", "passes", "calib", "cli"):
        for file in (root / top).rglob("*"):
            if file.suffix in {".h", ".cpp"}:
                used |= {folder for folder in known if f"#include <{folder}" in file.read_text()}
    for folder in sorted(used - set(headers)):
        yield f"headers of {folder} are compiled in, which THIRD_PARTY_NOTICES does not name"


def main():
    root, build = pathlib.Path(sys.argv[1]), sys.argv[2]
    linked, headers = readNotices((root / "THIRD_PARTY_NOTICES").read_text())
    if not linked or not headers:
        sys.exit("error: THIRD_PARTY_NOTICES has no 'Linked:' or no 'Headers:' line")
    problems = list(checkHeaders(root, headers))
    for program in ("nibble", "nibble-opt"):
        if program == "nibble" or os.path.exists(os.path.join(build, "bin", program)):
            problems += checkLinked(program, linkedLibraries(build, program), linked)
    for problem in problems:
        print("error:", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

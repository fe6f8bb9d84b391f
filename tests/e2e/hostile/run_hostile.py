"""Every hostile model is refused with its one-line message and exit code, in bounded time and memory.

NIBBLE_BIN holds the program, NIBBLE_SOURCE the checkout. NIBBLE_HOSTILE_LIMITS=0 leaves out the limits of
time and memory, which are those of an optimized build.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ["NIBBLE_SOURCE"])
NIBBLE = pathlib.Path(os.environ["NIBBLE_BIN"]) / os.environ.get("NIBBLE_PROGRAM", "nibble")
FOLDER = SOURCE / "testdata" / "hostile"
LIMITS = os.environ.get("NIBBLE_HOSTILE_LIMITS", "1") != "0"
SECONDS, MEBIBYTES = 1.0, 256

sys.path.insert(0, str(FOLDER))
import make_hostile  # noqa: E402

failures, worst_seconds, worst_memory, count = [], (0, ""), (0, ""), 0


def run(path, cwd):
    """Exit code (negative: signal), stderr, seconds and peak resident MiB of importing one model."""
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        process = subprocess.Popen([NIBBLE, "inspect", "--check", str(path)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=errors, cwd=cwd)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        errors.seek(0)
        text = errors.read().decode("utf-8", "replace")
    # Waiting for a processor is not the program's time on a shared machine.
    return process.returncode, text, min(seconds, usage.ru_utime + usage.ru_stime), usage.ru_maxrss / 1024


def check(name, path, pattern, code, cwd=FOLDER):
    global worst_seconds, worst_memory, count
    count += 1
    status, text, seconds, memory = run(path, cwd)
    worst_seconds, worst_memory = max(worst_seconds, (seconds, name)), max(worst_memory, (memory, name))
    lines = text.splitlines()
    problems = []
    if status != code:
        problems.append(f"exit code {status}, wanted {code}")
    if code == 0:
        if lines:
            problems.append("wanted no message")
    elif not lines or not lines[0].startswith("error: ") or not re.search(pattern, lines[0]):
        problems.append(f"wanted one error line that matches /{pattern}/")
    elif any(not line.startswith("note: ") for line in lines[1:]):
        problems.append("wanted only notes after the error line")
    if LIMITS and seconds > SECONDS:
        problems.append(f"took {seconds:.2f} s")
    if LIMITS and memory > MEBIBYTES:
        problems.append(f"peaked at {memory:.0f} MiB")
    if problems:
        failures.append(f"{name}: {'; '.join(problems)}\n    {text.strip()[:600]}")


def check_made_here(scratch):
    """Cases that a checkout cannot hold: links, special files, and files of many megabytes."""
    weights = (FOLDER / "weights.bin").read_bytes()

    def external(name, location):
        folder = scratch / name
        folder.mkdir()
        tensor = make_hostile.TensorProto(name="w", data_type=1, dims=(2, 3), data_location=1)
        tensor.external_data.add(key="location", value=location)
        (folder / "model.onnx").write_bytes(make_hostile.model(initializers=[tensor]).SerializeToString())
        return folder
    folder = external("data-beside", "data.bin")
    (folder / "data.bin").write_bytes(weights)
    check("data-beside", folder / "model.onnx", "", 0)
    check("data-beside-relative", "model.onnx", "", 0, cwd=folder)
    secret = scratch / "secret.bin"
    secret.write_bytes(weights)
    folder = external("symlink", "data.bin")
    (folder / "data.bin").symlink_to(secret)
    check("symlink", folder / "model.onnx", "leads outside", 2)
    folder = external("symlink-inside", "data.bin")
    (folder / "real.bin").write_bytes(weights)
    (folder / "data.bin").symlink_to("real.bin")
    check("symlink-inside", folder / "model.onnx", "leads outside", 2)
    folder = external("symlink-parent", "sub/secret.bin")
    (folder / "sub").symlink_to(scratch)
    check("symlink-parent", folder / "model.onnx", "leads outside", 2)
    folder = external("hard-link", "data.bin")
    os.link(secret, folder / "data.bin")
    check("hard-link", folder / "model.onnx", "more than one hard link", 2)
    folder = external("fifo", "data.bin")
    os.mkfifo(folder / "data.bin")
    check("fifo", folder / "model.onnx", "not a regular file", 2)
    folder = external("model-itself", "model.onnx")
    check("model-itself", folder / "model.onnx", "external_data has .* bytes, but 6 elements", 2)
    check("model-is-folder", scratch, "not a regular file", 2)
    check("model-is-missing", scratch / "none.onnx", "No such file", 4)
    os.mkfifo(scratch / "pipe.onnx")
    check("model-is-fifo", scratch / "pipe.onnx", "not a regular file", 2)
    check("model-is-device", "/dev/zero", "not a regular file", 2)
    for name, data, pattern, code in make_hostile.large_models():
        path = scratch / f"{name}.onnx"
        path.write_bytes(data)
        check(name, path, pattern, code)
        path.unlink()


def main():
    cases = json.loads((FOLDER / "cases.json").read_text())
    files = {path.stem for path in FOLDER.glob("*.onnx")} - {"sound"}
    if files != set(cases):
        failures.append(f"cases.json and the files differ: {sorted(files ^ set(cases))}; run make_hostile.py")
    check("sound", FOLDER / "sound.onnx", "", 0)
    for name in sorted(files & set(cases)):
        check(name, FOLDER / f"{name}.onnx", cases[name]["pattern"], cases[name]["exit"])
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="nibble-hostile-"))
    try:
        check_made_here(scratch)
    finally:
        shutil.rmtree(scratch)
    print(f"{count} files, slowest {worst_seconds[0]:.2f} s ({worst_seconds[1]}), "
          f"largest {worst_memory[0]:.0f} MiB ({worst_memory[1]})")
    for failure in failures:
        print("FAIL", failure)
    sys.exit(bool(failures))


main()

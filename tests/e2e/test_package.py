"""Unpacks the archive that cpack makes under a new prefix and runs the main job of the README from there, with the
build tree out of reach: files, figures, time, and what verify and ONNX Runtime say to the result.

usage: test_package.py BUILD
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time
import unittest

import numpy as np
import support

BUILD = pathlib.Path(sys.argv.pop(1))
# Seconds on two cores.
TIME_LIMIT = 300


def hidden(command):
    """`command` with an empty folder mounted over the build tree, where the system lets a process do so."""
    script = 'mount -t tmpfs none "$0" && exec "$@"'
    probe = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(BUILD)]
    if subprocess.run([*probe, "true"], capture_output=True).returncode == 0:
        return [*probe, *command]
    return command


class Package(support.Test):
    def pack(self, generator):
        packages = self.folder / "packages"
        subprocess.run(["cpack", "--config", BUILD / "CPackConfig.cmake", "-G", generator, "-B", packages], check=True,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(packages / "_CPack_Packages")
        return next(packages.iterdir())

    def testMainJobRunsFromTheArchive(self):
        prefix = self.folder / "elsewhere"
        with tarfile.open(self.pack("TGZ")) as archive:
            archive.extractall(prefix)
        program = prefix / "bin/nibble"
        self.checkPlaces(prefix, program)
        # Without these the program must find its configs by itself; the vendor package is found in set-up's folder.
        environment = {name: value for name, value in os.environ.items() if name not in ("NIBBLE_BIN", "NIBBLE_SOURCE")}
        output = self.folder / "unet"
        start = time.monotonic()
        process = subprocess.run(hidden([program, "compile", *support.MAIN_JOB, "--progress", "plain", "-o", output]),
                                 cwd=self.folder, env=environment, capture_output=True, text=True)
        seconds = time.monotonic() - start
        self.assertEqual(process.returncode, 0, process.stderr)
        subprocess.run(hidden([program, "verify", output]), check=True, cwd=self.folder, env=environment,
                       stdout=subprocess.DEVNULL)
        self.checkFiles(output, process.stderr)
        self.checkAccuracy(output)
        self.assertLess(seconds, TIME_LIMIT)

    def checkPlaces(self, prefix, program):
        for path in (support.SOURCE, BUILD):
            # Not assertNotIn, which would print the program.
            self.assertFalse(f"{path}/".encode() in program.read_bytes(), f"the program holds paths in {path}")
        resolved = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        bundled = [line for line in resolved.splitlines() if re.search(r"lib(dnnl|zip|OpenCL|gomp|crypto)\.so", line)]
        self.assertGreaterEqual(len(bundled), 4)
        for line in bundled:
            self.assertIn(str(prefix), line, "a bundled library is taken from elsewhere")

    def checkFiles(self, output, said):
        names = support.digests(output)
        for name in ("report.json", "report.md", "manifest.json"):
            self.assertIn(name, names)
        json.loads((output / "report.json").read_text())
        binaries = [name for name in names if name.endswith(".bin")]
        if support.haveVendor():
            self.assertEqual(len(binaries), 1)
            self.assertTrue(any(name.endswith("_ctx.onnx") for name in names))
            self.assertIn("io.json", names)
        else:
            self.assertEqual(binaries, [])
            self.assertRegex(said, "onnxruntime-qnn")

    def checkAccuracy(self, output):
        """What ONNX Runtime computes from the written file is close to float32; its own quantizer reaches 43.0 dB."""
        want = support.onnxSession(support.EMOJI / "unet/model.onnx")
        got = support.onnxSession(support.quantizedModel(output))
        reference, outputs = [], []
        for file in sorted((support.EMOJI / "eval/unet").glob("*.npz"))[::4]:
            feed = dict(np.load(file))
            reference += want.run(None, feed)
            outputs += got.run(None, feed)
        self.assertGreater(support.sqnr(reference, outputs), 42.0)

    def testDebDependsOnSystemLibraries(self):
        package = self.pack("DEB")
        fields = subprocess.run(["dpkg-deb", "--field", package], check=True, capture_output=True, text=True).stdout
        for library in ("libdnnl2", "libyaml-cpp0.7", "libzip4", "libc6"):
            self.assertRegex(fields, rf"Depends:.*\b{re.escape(library)}\b")
        files = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout
        self.assertIn("./usr/bin/nibble", files)
        self.assertIn("./usr/share/nibble/configs/recipes/w8a16.yaml", files)
        self.assertNotIn(".so", files)


if __name__ == "__main__":
    unittest.main()

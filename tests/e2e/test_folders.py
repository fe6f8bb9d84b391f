"""The output folder: what is in it before, beside and after a run."""
import os
import signal
import subprocess
import time
import unittest

import numpy as np
import support


class Folders(support.Test):
    def setUp(self):
        super().setUp()
        self.model, self.output = self.folder / "m.onnx", self.folder / "out"
        support.writeModel(self.model)
        samples = self.folder / "x.npy"
        np.save(samples, np.random.default_rng(1).standard_normal((20, 32)).astype(np.float32))
        self.arguments = ["compile", self.model, "--calib", samples, "-o", self.output, "--progress", "none"]

    def begin(self, recipe):
        """A run that waits in the user's scorer until its input is closed."""
        script = self.folder / "wait.sh"
        script.write_text("#!/bin/sh\ntouch '%s/waiting'\nwhile [ ! -e '%s/go' ]; do sleep 0.05; done\necho x=1\n"
                          % (self.folder, self.folder))
        script.chmod(0o755)
        process = subprocess.Popen([str(argument) for argument in
                                    (support.PROGRAM, *self.arguments, "--recipe", recipe, "--metric-cmd", script)],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        self.addCleanup(process.wait)
        self.addCleanup(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
        for _ in range(600):
            if (self.folder / "waiting").exists():
                return process
            time.sleep(0.1)
        self.fail("the run did not get as far as its scorer")

    def names(self):
        return sorted(path.name for path in self.output.iterdir())

    def testFilesOfAnEarlierRunGoAndOthersStay(self):
        self.run_(*self.arguments, "--recipe", "w8")
        self.assertIn("m_matmulnbits.onnx", self.names())
        (self.output / "m_encodings_1.0.0.json").write_text("changed by the user")
        (self.output / "notes.txt").write_text("the user's own")
        self.run_(*self.arguments, "--recipe", "w8a8", "--emit", "qdq")
        self.assertNotIn("m_matmulnbits.onnx", self.names())
        self.assertIn("notes.txt", self.names())
        self.assertIn("m_encodings_1.0.0.json", self.names(), "what the user changed is not ours to remove")

    def testOutputsThatBecomeInputsStay(self):
        self.run_(*self.arguments, "--recipe", "w8a8")
        statistics = self.output / "m_statistics.safetensors"
        content = statistics.read_bytes()
        self.run_(*self.arguments, "--recipe", "w8a8", "--stats", statistics)
        self.assertEqual(statistics.read_bytes(), content)
        self.run_("verify", self.output)
        self.arguments[1] = self.output / "m_float.onnx"
        self.run_(*self.arguments, "--recipe", "w8a8")
        self.assertTrue(self.arguments[1].exists())

    def testRepeatedRunsStayWhole(self):
        for recipe in ("w8", "w8a8"):
            self.run_(*self.arguments, "--recipe", recipe)
            self.run_("verify", self.output)

    def testTwoRunsAtOnce(self):
        first = self.begin("w8a8")
        process = self.run_(*self.arguments, "--recipe", "w8", code=4)
        self.assertIn("another run is writing into folder", process.stderr)
        (self.folder / "go").touch()
        self.assertEqual(first.wait(), 0)
        self.run_("verify", self.output)

    def testKilledRunLeavesNothingUnderItsName(self):
        first = self.begin("w8a8")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        self.assertTrue(all(name.startswith(".partial-") for name in self.names()), self.names())
        self.run_(*self.arguments, "--recipe", "w8a8")
        self.run_("verify", self.output)

    def testFailedRunLeavesNoFolder(self):
        self.run_(*self.arguments, "--recipe", "w8a8", "--eval", self.folder / "absent.npz", code=4)
        self.assertFalse(self.output.exists())


if __name__ == "__main__":
    unittest.main()

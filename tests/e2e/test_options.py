"""Options of compile on a handmade model: the user's scorer, and files that cannot grow."""
import json
import resource
import unittest

import numpy as np
import support


class Options(support.Test):
    def setUp(self):
        super().setUp()
        self.model, self.samples, self.output = (self.folder / name for name in ("m.onnx", "x.npy", "out"))
        support.writeModel(self.model)
        np.save(self.samples, np.random.default_rng(1).standard_normal((20, 32)).astype(np.float32))
        self.arguments = ["compile", self.model, "--recipe", "w8a8", "--calib", self.samples, "-o", self.output,
                          "--progress", "none"]

    def score(self, code, body, *extra):
        """Runs with a scorer of the user, a script that gets two folders."""
        script = self.folder / "score.sh"
        script.write_text("#!/bin/sh\nset -e\n" + body)
        script.chmod(0o755)
        return self.run_(*self.arguments, "--metric-cmd", "./score.sh", *extra, code=code, cwd=self.folder)

    def testScorerMayWorkInAnotherFolder(self):
        self.score(0, "cd /\n[ \"$(ls \"$1\")\" = \"$(ls \"$2\")\" ]\necho files=$(ls \"$1\" | wc -l)\n", "--max-drop", "files=4")
        report = json.loads((self.output / "report.json").read_text())
        scores = {row["arithmetic"]: row["value"] for row in report["metrics"] if row["name"] == "files"}
        self.assertEqual(set(scores.values()), {4})
        self.assertIn("fake-quant", scores)
        self.assertFalse([path for path in self.output.iterdir() if path.is_dir()])

    def testScorerSeesWhatTheEmulatorComputed(self):
        if not support.haveVendor():
            self.skipTest("onnxruntime-qnn is not installed")
        self.score(0, "echo files=$(ls \"$1\" \"$2\" | grep -c npz)\n", "--target", "snapdragon-8gen2",
                   "--emulate-samples", "2", "--max-drop", "files=4")
        report = json.loads((self.output / "report.json").read_text())
        self.assertEqual([(gate["arithmetic"], gate["found"], gate["samples"]) for gate in report["gates"]],
                         [("htp-emulator", 4, 2)])

    def testScorerThatFails(self):
        for body, message in (("exit 3\n", "exit code 3"), ("echo garbage\n", "expected name=value"),
                              ("echo sqnr=1\n", "metric of this program"), ("kill -9 $$\n", "exit code 137")):
            process = self.score(2, body)
            self.assertRegex(process.stderr, message)
            self.assertFalse(self.output.exists())

    def testFailedGateOfTheScorer(self):
        self.assertIn("fid", self.score(6, "echo fid=1\n", "--max-drop", "fid=0.5").stderr)

    def testRelativeOutput(self):
        target = ["--target", "snapdragon-8gen2"] if support.haveVendor() else []
        self.arguments[self.arguments.index("-o") + 1] = "deeper/out"
        self.run_(*self.arguments, *target, cwd=self.folder)
        self.run_("verify", "deeper/out", cwd=self.folder)

    def testSizesThatNoMemoryHolds(self):
        support.writeModel(self.model, inputs=(("x", "FLOAT", ("N", 32)),))
        self.arguments[self.arguments.index(self.samples)] = "random:2"
        self.assertIn("at most 2^40 elements", self.run_(*self.arguments, "--bind", f"N={4 * 10**18}", code=5).stderr)
        gigabytes = 8 << 30
        process = self.run_(*self.arguments, "--bind", f"N={10**9}", code=5,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (gigabytes, gigabytes)))
        self.assertIn("error: there is not enough memory", process.stderr)

    def testFilesThatCannotGrow(self):
        # The last fits the models and not the encodings, which are read again before they are closed.
        for limit, recipe in ((2048, "w8a8"), (65536, "w8a8"), (12000, "w8")):
            with self.subTest(limit=limit):
                self.arguments[self.arguments.index("--recipe") + 1] = recipe
                process = self.run_(*self.arguments, code=4,
                                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                self.assertIn("File too large", process.stderr)
                self.assertFalse(self.output.exists())


if __name__ == "__main__":
    unittest.main()

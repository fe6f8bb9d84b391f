"""The same inputs give the same bytes: at one and two threads, from another working folder, under another -o."""
import json
import os
import unittest

import support


class Determinism(support.Test):
    def compile(self, name, *extra, cwd=None, job=support.SMALL, recipe="w8a8"):
        """Under a path relative to `cwd`, where that is given."""
        folder = self.folder / name
        self.run_("compile", *job, "--recipe", recipe, "--progress", "none", "-o",
                  os.path.relpath(folder, cwd) if cwd else folder, *extra, cwd=cwd)
        return folder

    def testBytesAreEqual(self):
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        reference = support.digests(self.compile("one", "--threads", "1"))
        self.assertIn("manifest.json", reference)
        self.assertIn("report.json", reference)
        self.assertEqual(reference, support.digests(self.compile("two", "--threads", "2", cwd=elsewhere)))

    def testFiguresOfOnnxRuntimeAreEqual(self):
        # At 16 bits figures show that ONNX Runtime sums in another order where it has another number of threads.
        folders = [self.compile(f"threads-{threads}", "--threads", threads, job=support.TEXT_ENCODER, recipe="w8a16")
                   for threads in ("1", "2", "3")]
        self.assertEqual(1, len({support.digests(folder)["report.json"] for folder in folders}))

    def testOnlyRunJsonNamesTheMachine(self):
        folder = self.compile("out")
        self.assertTrue((folder / "run.json").is_file())
        for file in folder.rglob("*.json"):
            if file.name != "run.json":
                json.loads(file.read_text())
                self.assertNotIn(str(self.folder), file.read_text(), file.name)
                self.assertNotIn(str(support.SOURCE), file.read_text(), file.name)


if __name__ == "__main__":
    unittest.main()

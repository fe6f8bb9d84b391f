"""`nibble verify` accepts what compile wrote, and notices every changed, missing or cut file."""
import unittest

import support


class Verify(support.Test):
    def setUp(self):
        super().setUp()
        self.output = self.folder / "out"
        self.run_("compile", *support.SMALL, "--recipe", "w8a8", "--progress", "none", "-o", self.output)

    def testEachChangedFileIsNoticed(self):
        self.run_("verify", self.output)
        names = [name for name in support.digests(self.output) if name != "manifest.json"]
        self.assertGreater(len(names), 2)
        for name in names:
            file = self.output / name
            content = file.read_bytes()
            middle = len(content) // 2
            for damaged in (content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:], content[:-1]):
                file.write_bytes(damaged)
                self.refused(2, name, "verify", self.output)
            file.unlink()
            self.assertNotEqual(support.nibble("verify", self.output).returncode, 0, name)
            file.write_bytes(content)
        self.run_("verify", self.output)

    def testMissingManifestIsAnError(self):
        (self.output / "manifest.json").unlink()
        process = support.nibble("verify", self.output)
        self.assertIn(process.returncode, (2, 4))
        self.assertIn("manifest.json", process.stderr)


if __name__ == "__main__":
    unittest.main()

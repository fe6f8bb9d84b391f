"""Shows that each check notices a tree that breaks its rule, and accepts one that keeps it."""
import pathlib
import tempfile
import unittest

import check_layers
import check_notices
import check_tree

TABLE = """| folder | library | what |
|---|---|---|
| `lib/A` | `NibbleA` | a |
| `lib/B`, `lib/C` | `NibbleB`, `NibbleC` | b |
| `lib/D` | `NibbleD` | d |
| `passes` | `NibblePasses` | p |
| `calib` | `NibbleCalib` | c |
"""


class Layers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("docs/architecture.md", TABLE)
        self.folders, self.libraries = check_layers.readTable(self.root)

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def includes(self):
        return list(check_layers.checkIncludes(self.root, self.folders))

    def testDownwardIncludeIsAccepted(self):
        self.write("lib/B/b.cpp", '#include "lib/A/a.h"\n')
        self.assertEqual(self.includes(), [])

    def testUpwardIncludeIsNoticed(self):
        self.write("lib/A/a.cpp", '\n#include "lib/D/d.h"\n')
        self.assertEqual(len(self.includes()), 1)
        self.assertIn("lib/A/a.cpp:2", self.includes()[0])

    def testSameRowIsOrdered(self):
        self.write("lib/B/b.cpp", '#include "lib/C/c.h"\n')
        self.assertEqual(len(self.includes()), 1)

    def testTableGenIncludeIsNoticed(self):
        self.write("lib/A/a.td", 'include "lib/D/d.td"\n')
        self.assertEqual(len(self.includes()), 1)

    def testPassesAndCalibStayApart(self):
        self.write("calib/c.cpp", '#include "passes/p.h"\n')
        self.write("passes/p.cpp", '#include "calib/c.h"\n')
        self.assertEqual(len(self.includes()), 2)

    def testUnknownFolderIsNoticed(self):
        self.write("lib/Z/z.cpp", "\n")
        self.assertIn("lies in no layer", self.includes()[0])

    def testUpwardLinkIsNoticed(self):
        self.write("lib/A/CMakeLists.txt", "nibble_add_library(NibbleA\n  SOURCES a.cpp\n  DEPS NibbleB)\n")
        self.write("lib/B/CMakeLists.txt", "nibble_add_library(NibbleB SOURCES b.cpp DEPS NibbleA)\n")
        self.assertEqual(len(list(check_layers.checkLinks(self.root, self.libraries))), 1)


class Tree(unittest.TestCase):
    def problems(self, text, name="lib/x.cpp"):
        return list(check_tree.checkFile(name, text))

    def testPlainTextIsAccepted(self):
        text = "auto n = options.net(1); // see www.apache.org and io.json, /usr/lib/llvm-22\n"
        self.assertEqual(self.problems(text), [])

    def testMachinePathsAreNoticed(self):
        for path in ("/" + "root/x", "/" + "work/main", "/" + "home/me", "/" + "opt/scratch"):
            self.assertEqual(len(self.problems(f"path = '{path}'\n")), 1, path)

    def testHostsAreNoticed(self):
        for text in ("https:" + "//packages.example/simple", "from packages.example." + "org", "git:" + "//x.y/z"):
            self.assertEqual(len(self.problems(text + "\n")), 1, text)

    def testLongFilesAreNoticed(self):
        self.assertEqual(self.problems("x\n" * 600), [])
        self.assertEqual(len(self.problems("x\n" * 601)), 1)
        self.assertEqual(self.problems("x\n" * 601, "docs/long.md"), [])


class Notices(unittest.TestCase):
    def testUnnamedLibraryIsNoticed(self):
        patterns, _ = check_notices.readNotices("Linked: libLLVM*.a libz.so*\nHeaders: CLI/\n")
        libraries = {"libLLVMSupport.a", "libz.so.1", "libc.so.6", "libNibbleNN.a"}
        self.assertEqual(list(check_notices.checkLinked("p", libraries, patterns)), [])
        self.assertEqual(len(list(check_notices.checkLinked("p", libraries | {"libnew.so.2"}, patterns))), 1)

    def testUnnamedHeadersAreNoticed(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            (root / "lib").mkdir()
            (root / "lib/x.cpp").write_text("#include <Eigen/Core>\n")
            self.assertEqual(list(check_notices.checkHeaders(root, ["Eigen/"])), [])
            self.assertEqual(len(list(check_notices.checkHeaders(root, ["CLI/"]))), 1)


if __name__ == "__main__":
    unittest.main()

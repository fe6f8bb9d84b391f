# Tests of passes, diagnostics and the command line: each file says how it is run and what must be printed.
import os

import lit.formats

config.name = "nibble"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.environment["PATH"] = os.pathsep.join([config.nibble_bin, config.llvm_tools, config.environment["PATH"]])
config.substitutions.append(("%testdata", os.path.join(config.nibble_source, "testdata")))
config.substitutions.append(("%configs", os.path.join(config.nibble_source, "configs")))

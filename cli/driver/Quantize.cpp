//===- Quantize.cpp - from the legalized float program to integers ---------===//
#include "cli/driver/Compilation.h"

#include "passes/Passes.h"

using namespace mlir;

namespace nibble::driver {

llvm::Error Compilation::quantize() {
  progress.begin("quantize", 0, "");
  return runPasses("quantize", *module, ErrorKind::Unsupported, [&](OpPassManager &manager) {
    buildQuantizePipeline(manager, statistics, recipe, *target);
  });
}

} // namespace nibble::driver

//===- Quantize.cpp - from the legalized float program to integers ---------===//
#include "cli/driver/Compilation.h"

#include "passes/Passes.h"

using namespace mlir;

namespace nibble::driver {

llvm::Error Compilation::quantize() {
  llvm::Error error = runPasses(diagnostics, &progress, "quantize", *module, ErrorKind::Unsupported, [&](OpPassManager &manager) {
    buildQuantizePipeline(manager, statistics, recipe, *target);
  });
  bool sawNoDeployedShape =
      observesSamples() && llvm::none_of(calib::groupByShape(*calibrationData),
                                         [](const calib::ShapeGroup &group) { return group.isDeployed(); });
  // A model may compute other tensors at other shapes.
  if (error && sawNoDeployedShape)
    return withNote(std::move(error), "no calibration sample has the deployed dimensions (" +
                                          calib::describeDimensions(options.bindings) + ")");
  return error;
}

} // namespace nibble::driver

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

/// Targets that compute in floats have no integer program. Where it is what is emitted, a refusal ends the compile;
/// beside a vendor's binary it only costs the figures in `tosa` arithmetic.
llvm::Error Compilation::lower() {
  if (target->hasFloatArithmetic || recipe.isWeightOnly())
    return llvm::Error::success();
  integerModule = OwningOpRef<ModuleOp>(module->clone());
  llvm::Error error = runPasses(diagnostics, &progress, "lower", *integerModule, ErrorKind::Unsupported,
                                [&](OpPassManager &manager) { buildLowerPipeline(manager); });
  if (!error || target->backend != "qnn-htp")
    return error;
  integerModule = nullptr;
  std::vector<std::string> messages = takeMessages(std::move(error));
  noteAndReport("no figures in tosa arithmetic: " + messages.front());
  return llvm::Error::success();
}

} // namespace nibble::driver

//===- Equalize.cpp - rewrites that leave the float function as it is ------------===//
#include "calib/Datasets/Split.h"
#include "cli/driver/Compilation.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nibble::driver {

/// Each stage sees the program, and the values, as the one before it left them.
llvm::Error Compilation::equalize() {
  if (recipe.equalize.empty())
    return llvm::Error::success();
  if (llvm::Error error = checkShapesForEqualization())
    return error;
  for (const std::string &stage : recipe.equalize) {
    quant::Statistics seen;
    if (stage == "smoothquant" || stage == "awq") {
      calib::StatisticsCollector collector;
      progress.begin("observe channels", calibrationData->size(), "sample");
      for (const calib::ShapeGroup &group : calib::groupByShape(*calibrationData))
        if (llvm::Error error = observe(group, collector))
          return error;
      seen = collector.finish("");
    }
    if (llvm::Error error = runPasses(diagnostics, &progress, "equalize: " + stage, *module, ErrorKind::Unsupported,
                                      [&](OpPassManager &manager) { addEqualizeStage(manager, stage, seen, recipe); }))
      return error;
  }
  // Layers are compared with the float program that was quantized.
  legalized = OwningOpRef<ModuleOp>(module->clone());
  return llvm::Error::success();
}

/// Statistics of a rewritten program are those of samples that run through it.
llvm::Error Compilation::checkShapesForEqualization() {
  if (!calibrationData)
    return llvm::Error::success();
  for (const calib::ShapeGroup &group : calib::groupByShape(*calibrationData))
    if (!group.isDeployed())
      return makeError(ErrorKind::BadInput,
                       "recipe '" + recipe.name + "' rewrites the program, which calibration sample '" +
                           calibrationData->sampleName(group.samples.front()) + "' with " +
                           calib::describeDimensions(group.otherDimensions) + " cannot run through",
                       {"give samples of the deployed shape, or take a recipe without equalize"});
  return llvm::Error::success();
}

} // namespace nibble::driver

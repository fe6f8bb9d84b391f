//===- Quantize.cpp - from the legalized float program to integers ---------===//
#include "cli/driver/Compilation.h"

#include "calib/Datasets/Split.h"
#include "cli/driver/LayerRuns.h"
#include "passes/Passes.h"

#include <cmath>

using namespace mlir;

namespace nibble::driver {

/// The samples that layers are run on: those of the deployed shape. Null where the recipe reads no inputs.
llvm::Expected<std::shared_ptr<calib::Dataset>> Compilation::samplesForRounding() {
  if (!recipe.readsLayerInputs())
    return nullptr;
  for (const calib::ShapeGroup &group : calib::groupByShape(*calibrationData))
    if (group.isDeployed())
      return calib::selectSamples(calibrationData, group.samples);
  return makeError(ErrorKind::BadInput,
                   "no calibration sample has the deployed dimensions (" + calib::describeDimensions(options.bindings) +
                       "), so what layers read cannot be observed",
                   {"give samples of the deployed shape, or take a recipe that does not round against inputs"});
}

/// What the stages did goes into the report, what they cost into the record of the run.
void Compilation::reportRounding(const LayerRuns &runs) {
  std::map<std::string, double> seconds;
  for (const RoundedLayer &layer : runs.layers) {
    report::RoundedWeight row{layer.node, layer.weight, layer.bits, {}};
    for (const quant::RoundingStage &stage : layer.stages) {
      seconds[stage.name] += stage.seconds;
      row.stages.emplace_back(stage.name, -10 * std::log10(stage.relativeError));
    }
    report.rounding.push_back(std::move(row));
    report.roundingCounts.dampingRetries += layer.numDampingRetries;
    report.roundingCounts.deadColumns += layer.numDeadColumns;
    report.roundingCounts.fallbacks += layer.numFallbacks;
  }
  for (const auto &[stage, time] : seconds)
    runRecord.phases.emplace_back("round weights: " + stage, time);
  for (const auto &[reason, count] : runs.skipped)
    report.notes.push_back(std::to_string(count) + " weights were rounded without their layer's inputs: " + reason);
}

llvm::Error Compilation::quantize() {
  llvm::Expected<std::shared_ptr<calib::Dataset>> samples = samplesForRounding();
  if (!samples)
    return samples.takeError();
  std::optional<LayerRuns> runs;
  if (*samples)
    runs.emplace(*samples, progress);
  llvm::Error error = runPasses(diagnostics, &progress, "quantize", *module, ErrorKind::Unsupported, [&](OpPassManager &manager) {
    buildQuantizePipeline(manager, statistics, recipe, *target, runs ? &*runs : nullptr);
  });
  if (runs && !error)
    reportRounding(*runs);
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

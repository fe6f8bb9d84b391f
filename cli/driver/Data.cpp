//===- Data.cpp - calibration and evaluation data of a compile -------------===//
#include "cli/driver/Compilation.h"

#include "calib/Datasets/ModelInputs.h"
#include "calib/Datasets/Split.h"
#include "calib/Observers/StatisticsCollector.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Digest.h"

using namespace mlir;

namespace nibble::driver {

llvm::Expected<std::shared_ptr<calib::Dataset>>
Compilation::openDataset(const std::vector<std::string> &arguments) {
  calib::DatasetOptions datasetOptions;
  datasetOptions.arguments = arguments;
  llvm::Expected<std::unique_ptr<calib::Dataset>> dataset =
      calib::Dataset::open(datasetOptions, inputs, [&](llvm::StringRef text) { note(text); });
  if (!dataset)
    return dataset.takeError();
  return std::shared_ptr<calib::Dataset>(std::move(*dataset));
}

llvm::Error Compilation::openData() {
  llvm::Expected<onnx_import::ModelSummary> summary = onnx_import::summarizeModel(options.modelPath);
  if (!summary)
    return summary.takeError();
  llvm::Expected<std::vector<calib::InputSpec>> read = calib::makeInputSpecs(*summary, options.bindings);
  if (!read)
    return read.takeError();
  inputs = std::move(*read);
  if (!options.calibration.empty()) {
    llvm::Expected<std::shared_ptr<calib::Dataset>> dataset = openDataset(options.calibration);
    if (!dataset)
      return dataset.takeError();
    calibrationData = *dataset;
  }
  if (!options.evaluation.empty()) {
    llvm::Expected<std::shared_ptr<calib::Dataset>> dataset = openDataset(options.evaluation);
    if (!dataset)
      return dataset.takeError();
    evaluationData = *dataset;
    return calibrationData ? calib::checkDisjoint(*calibrationData, *evaluationData) : llvm::Error::success();
  }
  if (!calibrationData || !options.writeReport)
    return llvm::Error::success();
  llvm::Expected<calib::HeldOutSplit> split = calib::splitHeldOut(calibrationData);
  if (!split)
    return split.takeError();
  calibrationData = split->calibration;
  evaluationData = split->evaluation;
  evaluationIsHeldOut = true;
  return llvm::Error::success();
}

llvm::Expected<std::vector<Tensor>> Compilation::firstSample() {
  for (calib::Dataset *dataset : {evaluationData.get(), calibrationData.get()})
    if (dataset)
      return dataset->sample(0);
  return std::vector<Tensor>();
}

/// What statistics must agree with to be used again: the model file, the dimensions it was bound to, the
/// rewrites of the target and the version. Which samples they were measured on is the user's choice.
llvm::Expected<std::string> Compilation::statisticsFingerprint() {
  Digest digest;
  llvm::Expected<std::string> model = sha256File(options.modelPath);
  if (!model)
    return model.takeError();
  digest.update(llvm::StringRef(*model));
  for (const auto &[name, value] : options.bindings) {
    digest.update(llvm::StringRef(name));
    digest.update(static_cast<uint64_t>(value));
  }
  for (const std::string &pattern : target->legalizations)
    digest.update(llvm::StringRef(pattern));
  digest.update(llvm::StringRef(NIBBLE_VERSION));
  return digest.hex();
}

llvm::Error Compilation::calibrate() {
  if (recipe.isWeightOnly())
    return llvm::Error::success();
  llvm::Expected<std::string> fingerprint = statisticsFingerprint();
  if (!fingerprint)
    return fingerprint.takeError();
  if (!options.statisticsPath.empty()) {
    llvm::Expected<quant::Statistics> loaded = quant::Statistics::load(options.statisticsPath);
    if (!loaded)
      return loaded.takeError();
    if (loaded->fingerprint != *fingerprint)
      return makeError(ErrorKind::BadInput,
                       "statistics '" + options.statisticsPath +
                           "' were measured on another model, other bindings, another kind of target or by another version",
                       {"wanted fingerprint " + *fingerprint + ", found " + loaded->fingerprint});
    statistics = std::move(*loaded);
    return llvm::Error::success();
  }
  calib::StatisticsCollector collector;
  llvm::Expected<std::unique_ptr<runtime::Program>> program =
      runtime::Program::create(mainFunction(*module), &collector);
  if (!program)
    return program.takeError();
  if (llvm::Error error = calib::observeDataset(**program, *calibrationData, collector, &progress))
    return error;
  statistics = collector.finish(std::move(*fingerprint));
  return statistics.save(output->path(stem + "_statistics.safetensors"));
}

} // namespace nibble::driver

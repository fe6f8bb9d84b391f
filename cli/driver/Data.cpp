//===- Data.cpp - calibration and evaluation data of a compile -------------===//
#include "cli/driver/Compilation.h"

#include "calib/Datasets/ModelInputs.h"
#include "calib/Datasets/Split.h"
#include "calib/Observers/StatisticsCollector.h"
#include "cli/driver/CalibrationProgram.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Digest.h"

#include <set>

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
  progress.begin("open data", 0, "");
  llvm::Expected<onnx_import::ModelSummary> summary = onnx_import::summarizeModel(options.modelPath);
  if (!summary)
    return summary.takeError();
  llvm::Expected<std::vector<calib::InputSpec>> read = calib::makeInputSpecs(*summary, options.bindings);
  if (!read)
    return read.takeError();
  inputs = std::move(*read);
  externalFiles = std::move(summary->externalFiles);
  // A metric that the model cannot have should not cost the time of a compile.
  if (llvm::Expected<calib::Evaluation> evaluation = calib::Evaluation::create(metrics, inputs, {}); !evaluation)
    return evaluation.takeError();
  if (!options.calibration.empty()) {
    llvm::Expected<std::shared_ptr<calib::Dataset>> dataset = openDataset(options.calibration);
    if (!dataset)
      return dataset.takeError();
    calibrationData = *dataset;
  }
  if (!options.statisticsPath.empty()) {
    llvm::Expected<quant::Statistics> loaded = quant::Statistics::load(options.statisticsPath);
    if (!loaded)
      return loaded.takeError();
    statistics = std::move(*loaded);
  }
  if (llvm::Error error = options.evaluation.empty() ? holdSamplesOut() : openEvaluation())
    return error;
  if (calibrationData && evaluationData)
    if (llvm::Error error = calib::checkDisjoint(*calibrationData, *evaluationData))
      return error;
  // The statistics name the samples that they were measured on, so that a reused file is held to the same.
  if (evaluationData)
    if (llvm::Error error = checkUnseen(*evaluationData))
      return error;
  if (observesSamples())
    if (std::string text = calib::describeOtherShapes(calib::groupByShape(*calibrationData), "calibration"); !text.empty())
      noteAndReport(text);
  return llvm::Error::success();
}

/// Errors: BadInput where statistics that are reused have seen a sample of `evaluation`.
llvm::Error Compilation::checkUnseen(calib::Dataset &evaluation) {
  std::set<std::string> seen(statistics.sampleDigests.begin(), statistics.sampleDigests.end());
  for (int64_t i = 0; i < evaluation.size() && !seen.empty(); ++i) {
    llvm::Expected<std::string> digest = evaluation.sampleDigest(i);
    if (!digest)
      return digest.takeError();
    if (seen.count(*digest))
      return makeError(ErrorKind::BadInput, "statistics '" + options.statisticsPath + "' were measured on evaluation sample '" +
                                                evaluation.sampleName(i) + "' too",
                       {"evaluate on samples that calibration has not seen"});
  }
  return llvm::Error::success();
}

bool Compilation::observesSamples() const {
  return calibrationData && !recipe.isWeightOnly() && options.statisticsPath.empty();
}

/// Figures are those of the deployed program, so samples of other shapes are left out.
llvm::Error Compilation::openEvaluation() {
  llvm::Expected<std::shared_ptr<calib::Dataset>> dataset = openDataset(options.evaluation);
  if (!dataset)
    return dataset.takeError();
  if ((*dataset)->isRandom())
    return makeError(ErrorKind::Usage, "--eval cannot be random: figures on such samples say nothing",
                     {"give evaluation samples, or leave out --eval for a first look"});
  std::vector<calib::ShapeGroup> groups = calib::groupByShape(**dataset);
  auto deployed = llvm::find_if(groups, [](const calib::ShapeGroup &group) { return group.isDeployed(); });
  if (deployed == groups.end()) {
    calib::Dimensions found = options.bindings;
    std::string remedy = "give evaluation samples of the deployed shape, or compile for that of the samples:";
    for (const auto &[name, value] : groups.front().otherDimensions)
      found[name] = value;
    for (const auto &[name, value] : found)
      remedy += " --bind " + name + "=" + std::to_string(value);
    return makeError(ErrorKind::BadInput,
                     "no evaluation sample has the deployed dimensions (" + calib::describeDimensions(options.bindings) + ")",
                     {calib::describeOtherShapes(groups, "evaluation"), remedy});
  }
  evaluationData = groups.size() == 1 ? *dataset : calib::selectSamples(*dataset, deployed->samples);
  if (groups.size() > 1)
    noteAndReport(calib::describeOtherShapes(groups, "evaluation") + " and are left out");
  return llvm::Error::success();
}

llvm::Error Compilation::holdSamplesOut() {
  if (!calibrationData || !options.writeReport)
    return llvm::Error::success();
  llvm::Expected<calib::HeldOutSplit> split = calib::splitHeldOut(calibrationData);
  if (!split)
    return split.takeError();
  calibrationData = split->calibration;
  evaluationData = split->evaluation;
  evaluationIsHeldOut = evaluationData != nullptr;
  if (!evaluationData)
    noteAndReport("nothing is evaluated: holding a sample out of calibration takes two of the deployed dimensions (" +
                  calib::describeDimensions(options.bindings) + "); give evaluation samples with --eval");
  return llvm::Error::success();
}

llvm::Expected<std::vector<Tensor>> Compilation::firstSample() {
  for (calib::Dataset *dataset : {evaluationData.get(), calibrationData.get()})
    for (int64_t i = 0; dataset && i < dataset->size(); ++i)
      if (dataset->otherDimensions(i).empty())
        return dataset->sample(i);
  return std::vector<Tensor>();
}

/// What statistics of given samples depend on: the files of the model, the dimensions it was bound to and the
/// rewrites of the target.
llvm::Expected<std::string> Compilation::statisticsFingerprint() {
  Digest digest;
  std::vector<std::string> files = {options.modelPath};
  llvm::append_range(files, externalFiles);
  for (const std::string &path : files) {
    llvm::Expected<std::string> file = sha256File(path);
    if (!file)
      return file.takeError();
    digest.update(llvm::StringRef(*file));
  }
  for (const auto &[name, value] : options.bindings) {
    digest.update(llvm::StringRef(name));
    digest.update(static_cast<uint64_t>(value));
  }
  for (const std::string &pattern : target->legalizations)
    digest.update(llvm::StringRef(pattern));
  // Rewrites that choose by statistics depend on the bits too.
  if (!recipe.equalize.empty())
    digest.update(llvm::StringRef(recipe.toYAML()));
  digest.update(llvm::StringRef(NIBBLE_VERSION));
  return digest.hex();
}

llvm::Error Compilation::observe(const calib::ShapeGroup &group, calib::StatisticsCollector &collector) {
  std::unique_ptr<CalibrationProgram> other;
  if (!group.isDeployed()) {
    std::map<std::string, int64_t> bindings = group.otherDimensions;
    bindings.insert(options.bindings.begin(), options.bindings.end());
    llvm::Expected<std::unique_ptr<CalibrationProgram>> made =
        CalibrationProgram::create(options.modelPath, bindings, *target);
    if (!made)
      return withNote(made.takeError(), "while preparing calibration sample '" +
                                            calibrationData->sampleName(group.samples.front()) + "' and others with " +
                                            calib::describeDimensions(group.otherDimensions));
    other = std::move(*made);
  }
  collector.beginProgram();
  llvm::Expected<std::unique_ptr<runtime::Program>> program =
      runtime::Program::create(mainFunction(other ? other->module() : *module), &collector);
  if (!program)
    return program.takeError();
  std::shared_ptr<calib::Dataset> samples = calib::selectSamples(calibrationData, group.samples);
  return calib::observeDataset(**program, *samples, collector, &progress);
}

llvm::Error Compilation::calibrate() {
  if (recipe.isWeightOnly())
    return llvm::Error::success();
  llvm::Expected<std::string> fingerprint = statisticsFingerprint();
  if (!fingerprint)
    return fingerprint.takeError();
  if (!options.statisticsPath.empty()) {
    // The folder is as complete as after a calibration.
    if (statistics.fingerprint == *fingerprint)
      return statistics.save(output->path(stem + "_statistics.safetensors"));
    return makeError(ErrorKind::BadInput,
                     "statistics '" + options.statisticsPath +
                         "' were measured on another model, other bindings, another kind of target or by another version",
                     {"wanted fingerprint " + *fingerprint + ", found " + statistics.fingerprint,
                      "calibrate anew with --calib"});
  }
  calib::StatisticsCollector collector;
  progress.begin("calibrate", calibrationData->size(), "sample");
  // One shape after the other, so that only one program is in memory at a time.
  for (const calib::ShapeGroup &group : calib::groupByShape(*calibrationData))
    if (llvm::Error error = observe(group, collector))
      return error;
  statistics = collector.finish(std::move(*fingerprint));
  statistics.samplesAreRandom = calibrationData->isRandom();
  return statistics.save(output->path(stem + "_statistics.safetensors"));
}

} // namespace nibble::driver

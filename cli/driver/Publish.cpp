//===- Publish.cpp - report, manifest and trace of a compile ---------------===//
#include "cli/driver/Compilation.h"
#include "cli/driver/Trace.h"

#include "lib/Dialect/NN/Names.h"
#include "lib/Report/Manifest.h"
#include "lib/Support/AtomicFile.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;

namespace nibble::driver {

std::vector<std::string> Compilation::outputNames() {
  std::vector<std::string> names;
  func::FuncOp function = mainFunction(*reference);
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    names.push_back(function.getResultAttrOfType<StringAttr>(i, nn::nameAttribute).str());
  return names;
}

std::vector<std::string> Compilation::inputNames() {
  std::vector<std::string> names;
  for (const calib::InputSpec &input : inputs)
    names.push_back(input.name);
  return names;
}

llvm::Error Compilation::writeReportFiles() {
  report.toolVersion = NIBBLE_VERSION;
  report.model = llvm::sys::path::filename(options.modelPath).str();
  report.recipe = recipe.name;
  report.target = target->name;
  report.bindings = options.bindings;
  // Random samples that only evaluate, of a weight-only recipe, say as little about accuracy.
  report.isCalibrated = !statistics.samplesAreRandom && !(evaluationData && evaluationData->isRandom());
  report.calibrationSamples = static_cast<int64_t>(statistics.sampleDigests.size());
  report.evaluationLabel = evaluationIsHeldOut ? "held-out calibration" : "evaluation";
  report.evaluationSamples = evaluationData ? evaluationData->size() : 0;
  // An integer program beside a vendor's target that has no binary here is not what that target would compute.
  report.headlineArithmetic = htpContext                                       ? report::htpEmulator
                              : integerModule && target->backend != "qnn-htp" ? report::tosa
                              : hasOnnxRuntime                                 ? report::onnxRuntime
                                                                               : report::fakeQuant;
  llvm::Expected<report::WeightSizes> before = report::computeWeightSizes(*reference);
  if (!before)
    return before.takeError();
  report.weightsBefore = std::move(*before);
  llvm::Expected<report::WeightSizes> after = report::computeWeightSizes(*module);
  if (!after)
    return after.takeError();
  report.weightsAfter = std::move(*after);
  report.coverage = report::computeCoverage(*module);
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(output->staging(), error), end; it != end && !error; it.increment(error)) {
    uint64_t bytes = 0;
    if (!llvm::sys::fs::file_size(it->path(), bytes))
      report.files[llvm::sys::path::filename(it->path()).str()] = static_cast<int64_t>(bytes);
  }
  report.gates = report::evaluateGates(gates, report);
  return report::writeReport(output->staging(), report);
}

llvm::Error Compilation::publish() {
  progress.begin("report", 0, "");
  if (options.writeReport) {
    if (llvm::Error error = writeReportFiles())
      return error;
    llvm::Expected<std::string> trace = formatTrace(diagnostics.events(), *module);
    if (!trace)
      return trace.takeError();
    if (llvm::Error error = writeFileAtomically(output->path("trace.json"), *trace))
      return error;
  }
  report::Manifest manifest;
  manifest.toolVersion = NIBBLE_VERSION;
  manifest.recipe = recipe.toYAML();
  manifest.target = target->name;
  manifest.bindings = options.bindings;
  manifest.options["emulate-samples"] = std::to_string(options.emulateSamples);
  for (const auto &[name, value] : options.vendorOptions)
    manifest.options["vendor-option " + name] = value;
  manifest.inputs.push_back({"model", options.modelPath});
  for (const std::string &file : externalFiles)
    manifest.inputs.push_back({"external data", file});
  for (const std::string &file : recipe.files)
    manifest.inputs.push_back({"recipe", file});
  for (const std::string &file : target->files)
    manifest.inputs.push_back({"target", file});
  if (calibrationData)
    for (const std::string &file : calibrationData->files())
      manifest.inputs.push_back({"calibration", file});
  if (evaluationData && !evaluationIsHeldOut)
    for (const std::string &file : evaluationData->files())
      manifest.inputs.push_back({"evaluation", file});
  if (!options.statisticsPath.empty())
    manifest.inputs.push_back({"statistics", options.statisticsPath});
  if (llvm::Error error = report::writeManifest(output->staging(), manifest))
    return error;
  if (hasOnnxRuntime)
    runRecord.paths["onnxruntime"] = libraries.onnxRuntimeLibrary;
  for (const auto &[name, path] : {std::pair("model", options.modelPath), std::pair("output", options.outputFolder)}) {
    llvm::SmallString<128> absolute(path);
    // Without a working folder the path as given is all there is.
    (void)llvm::sys::fs::make_absolute(absolute);
    runRecord.paths[name] = std::string(absolute);
  }
  if (llvm::Error error = report::writeRunRecord(output->staging(), runRecord))
    return error;
  // An output of an earlier run may be an input of this one.
  std::vector<std::string> obsolete = report::findUnchangedOutputs(options.outputFolder);
  llvm::erase_if(obsolete, [&](const std::string &name) {
    llvm::SmallString<128> path(options.outputFolder);
    llvm::sys::path::append(path, name);
    return llvm::any_of(manifest.inputs, [&](const report::InputFile &input) {
      return llvm::sys::fs::equivalent(input.path, path);
    });
  });
  return output->publish(report::manifestName, obsolete);
}

llvm::Error Compilation::judge() {
  if (!binaryProblem.empty())
    return makeError(ErrorKind::Unsupported, binaryProblem.front(), {binaryProblem.begin() + 1, binaryProblem.end()});
  return report::checkGates(report.gates);
}

} // namespace nibble::driver

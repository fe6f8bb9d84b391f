//===- CheckOptions.cpp - options that contradict each other ---------------===//
//
// An option that would have no effect is a mistake: whoever gave it expects one. Everything here is
// known before the model is read.
//
//===----------------------------------------------------------------------===//
#include "cli/driver/Compilation.h"

#include "lib/Export/Arm/Vela.h"
#include "lib/Export/Vendor/QnnOptions.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/StringExtras.h"

namespace nibble::driver {

/// --metric, each once and in the order given; SQNR where nothing was asked for.
llvm::Error Compilation::readMetrics() {
  for (const std::string &name : options.metrics) {
    llvm::Expected<calib::Metric> metric = calib::parseMetric(name);
    if (!metric)
      return metric.takeError();
    if (!llvm::is_contained(metrics, *metric))
      metrics.push_back(*metric);
  }
  if (metrics.empty())
    metrics.push_back(calib::Metric::SQNR);
  return llvm::Error::success();
}

/// A gate on a metric of this program needs that metric; any other name must come from the user's scorer.
llvm::Error Compilation::readGates() {
  std::vector<std::string> names;
  for (calib::Metric metric : metrics)
    names.push_back(calib::nameOf(metric).str());
  for (const std::string &text : options.maxDrops) {
    llvm::Expected<report::Gate> gate = report::parseGate(text);
    if (!gate)
      return gate.takeError();
    if (llvm::Expected<calib::Metric> known = calib::parseMetric(gate->metric)) {
      if (!llvm::is_contained(metrics, *known))
        return makeError(ErrorKind::Usage, "gate '" + text + "' names a metric that is not computed",
                         {"add --metric " + gate->metric});
    } else {
      llvm::consumeError(known.takeError());
      if (options.metricCommand.empty()) {
        std::vector<std::string> notes = {"metrics of this run: " + llvm::join(names, ", ") +
                                          "; --metric adds others and --metric-cmd your own"};
        if (std::string nearest = nearestName(gate->metric, names); !nearest.empty())
          notes.insert(notes.begin(), "did you mean '" + nearest + "'");
        return makeError(ErrorKind::Usage, "gate '" + text + "' names a metric that does not exist", std::move(notes));
      }
    }
    gates.push_back(*gate);
  }
  return llvm::Error::success();
}

/// The option among those given that asks for figures; empty where none does.
static llvm::StringRef findFigureOption(const CompileOptions &options) {
  if (!options.maxDrops.empty())
    return "--max-drop";
  if (!options.metricCommand.empty())
    return "--metric-cmd";
  return options.metrics.empty() ? "" : "--metric";
}

/// What is asked for with --emit must exist for the target.
static llvm::Error checkEmit(const CompileOptions &options, const Target &target) {
  bool hasBinary = target.backend == "qnn-htp" || target.backend == "vela";
  if (llvm::is_contained(options.emit, "binary") && !hasBinary)
    return makeError(ErrorKind::Usage, "--emit binary: target '" + target.name + "' has no binary",
                     {target.runsIntegerPrograms() ? "it has a TOSA file: --emit tosa"
                                                   : "'nibble targets' lists the targets that have one"});
  if (llvm::is_contained(options.emit, "tosa") && !target.runsIntegerPrograms())
    return makeError(ErrorKind::Usage, "--emit tosa: target '" + target.name + "' runs no integer program",
                     {"target 'tosa' and the ethos-u targets do"});
  return llvm::Error::success();
}

/// Options of the vendor's compiler, by the names that it knows.
static llvm::Error checkVendorOptions(const CompileOptions &options, const Target &target) {
  if (target.backend == "vela")
    return arm::checkVelaOptions(options.vendorOptions);
  if (!options.vendorOptions.empty() && target.backend != "qnn-htp")
    return makeError(ErrorKind::Usage, "--vendor-option: target '" + target.name + "' has no vendor's compiler");
  return vendor::checkVendorOptions(options.vendorOptions);
}

llvm::Error Compilation::checkOptions() {
  llvm::StringRef figures = findFigureOption(options);
  if (!options.writeReport && !figures.empty())
    return makeError(ErrorKind::Usage, figures + " has no effect with --no-report, which evaluates nothing");
  if (!options.writeReport && !options.evaluation.empty())
    return makeError(ErrorKind::Usage, "--eval has no effect with --no-report, which evaluates nothing");
  if (!figures.empty() && options.evaluation.empty() && options.calibration.empty())
    return makeError(ErrorKind::Usage, figures + " needs samples to evaluate on", {"give --eval PATH"});
  if (llvm::Error error = checkEmit(options, *target))
    return error;
  if (llvm::is_contained(options.emit, "matmulnbits") && !recipe.isWeightOnly())
    return makeError(ErrorKind::Usage,
                     "--emit matmulnbits: recipe '" + recipe.name + "' quantizes activations, which that form cannot",
                     {"it is for weight-only recipes, such as 'w4-g32'"});
  if (recipe.isWeightOnly() && !options.statisticsPath.empty())
    return makeError(ErrorKind::Usage, "--stats has no effect: recipe '" + recipe.name + "' leaves activations in float");
  if (recipe.isWeightOnly() && !target->hasFloatArithmetic)
    return makeError(ErrorKind::Unsupported,
                     "recipe '" + recipe.name + "' leaves activations in float, which target '" + target->name +
                         "' cannot compute",
                     {"use recipe 'w4a16' for 4-bit weights or 'w8a16' for 8-bit weights with INT16 activations"});
  if (!recipe.isWeightOnly() && options.calibration.empty() && options.statisticsPath.empty())
    return makeError(ErrorKind::Usage, "recipe '" + recipe.name + "' needs calibration data",
                     {"give --calib PATH, or --calib random:8 for a first look"});
  if (recipe.equalizesByStatistics() && options.calibration.empty())
    return makeError(ErrorKind::Usage,
                     "recipe '" + recipe.name + "' scales channels by what calibration shows of them, which takes samples",
                     {"give --calib PATH; a statistics file is that of the program after the rewrite"});
  if (recipe.widen.value_or(0) > 0 && options.calibration.empty())
    return makeError(ErrorKind::Usage,
                     "recipe '" + recipe.name + "' tries what activations of 8 bits cost the output, which takes samples",
                     {"give --calib PATH; a statistics file does not hold them"});
  if (recipe.readsLayerInputs() && options.calibration.empty())
    return makeError(ErrorKind::Usage,
                     "recipe '" + recipe.name + "' rounds weights against what layers read, which takes calibration samples",
                     {"give --calib PATH; a statistics file does not hold what layers read"});
  // --stats takes the place of samples for ranges, but a binary is not trusted before it has run on some.
  if (target->backend == "qnn-htp" && options.emits("binary") && options.calibration.empty() && options.evaluation.empty())
    return makeError(ErrorKind::Usage, "the binary for target '" + target->name + "' is checked on samples, and none were given",
                     {"give --eval PATH or --calib PATH, or leave out the binary with --emit qdq"});
  bool checksIntegers = target->runsIntegerPrograms() && (options.emits("tosa") || options.emits("binary"));
  bool emulates = target->backend == "qnn-htp" && options.emits("binary");
  if (!options.emulationOption.empty() && !emulates && !(checksIntegers && options.emulationOption == "--check-seconds"))
    return makeError(ErrorKind::Usage, options.emulationOption + " has no effect: no binary is compiled that the "
                                                                 "vendor's emulation could run");
  if (options.filePerBlock && !checksIntegers)
    return makeError(ErrorKind::Usage, "--file-per-block has no effect: no TOSA file is written");
  if (llvm::Error error = checkVendorOptions(options, *target))
    return error;
  if (llvm::Error error = readMetrics())
    return error;
  return readGates();
}

} // namespace nibble::driver

//===- Report.h - what a compilation cost and gave -------------------------===//
//
// Plain data, filled by the driver and written as report.json (schema in
// configs/schema/report.schema.json) and report.md. Nothing in it depends on
// time, host, threads or absolute paths. Definitions are in docs/spec/numerics.md.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_REPORT_REPORT_H
#define NIBBLE_REPORT_REPORT_H

#include "lib/Report/Coverage.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/JSON.h"
#include <optional>
#include <string>
#include <vector>

namespace nibble::report {

inline constexpr int64_t reportVersion = 1;

/// Names of arithmetics, the label of every figure: "fp32", "fake-quant", "onnxruntime", "htp-emulator", "tosa".
inline constexpr llvm::StringLiteral fp32("fp32"), fakeQuant("fake-quant"), onnxRuntime("onnxruntime"),
    htpEmulator("htp-emulator"), tosa("tosa");

/// Distances from the float model; sqnr in dB, +inf where nothing differs.
struct ErrorFigures {
  double sqnr = 0, cosine = 1, maxError = 0;
};

struct OutputError {
  std::string output, arithmetic;
  int64_t samples = 0;
  ErrorFigures error;
};

/// One compute node. Isolated: the layer quantized and fed its float inputs. Accumulated: the same
/// tensor in the run where everything is quantized.
struct LayerError {
  std::string node, operation, tensor;
  ErrorFigures isolated, accumulated;
  /// 0 where float.
  unsigned weightBits = 0, activationBits = 0;
  std::string reason;
};

/// What the stages did to one weight that was rounded against what its layer reads in calibration.
struct RoundedWeight {
  std::string node, weight;
  unsigned bits = 0;
  /// In their order: the stage, and SQNR of the layer's output with the weight as the stage left it.
  std::vector<std::pair<std::string, double>> stages;
};

/// What happened on the way, over all weights.
struct RoundingCounts {
  int64_t dampingRetries = 0, deadColumns = 0, fallbacks = 0;
};

struct MetricValue {
  std::string name, arithmetic;
  int64_t samples = 0;
  /// In `arithmetic`, and of the float model itself.
  double value = 0, reference = 0;
};

/// The vendor's own offline estimate, never a measurement.
struct VendorEstimate {
  /// What estimated it, for which chip, standing for which.
  std::string estimator;
  double microseconds = 0;
  int64_t cycles = 0, ddrFillBytes = 0, ddrSpillBytes = 0;
};

/// One operator of an NPU's program. Operators that were fused into another one have no row.
struct NpuOperator {
  /// The tensor that it makes, and what the compiler calls the operation.
  std::string tensor, operation;
  /// Of the operator, and what its arithmetic and its DRAM traffic alone take.
  int64_t cycles = 0, npuCycles = 0, dramCycles = 0;
  int64_t multiplyAccumulates = 0;
};

/// What a compiler for an NPU made of an integer program, with its own model of time and memory for one inference:
/// estimates, never measurements. Of several files, which run one after another, memory is that of the largest and
/// the rest the sum.
struct NpuProgram {
  std::string estimator;
  int64_t files = 0, bytes = 0;
  int64_t operatorsOnNpu = 0, operatorsOnCpu = 0;
  double microseconds = 0;
  int64_t cycles = 0, npuCycles = 0, sramCycles = 0, dramCycles = 0, flashCycles = 0;
  /// Memory that is needed, and traffic.
  int64_t sramBytes = 0, dramBytes = 0, flashBytes = 0;
  int64_t sramTrafficBytes = 0, dramTrafficBytes = 0, flashTrafficBytes = 0;
  /// Weights as the compiler counts them, 4-bit ones as a byte each, and encoded for the NPU.
  int64_t originalWeightBytes = 0, encodedWeightBytes = 0;
  int64_t multiplyAccumulates = 0;
  std::vector<NpuOperator> operators;
};

/// What the vendor's compiler made of the model.
struct VendorBinary {
  /// Nodes of the model that it took and that it left to the CPU, Q and DQ included; operators of its own graph.
  int64_t nodesOnNpu = 0, nodesOnCpu = 0, operators = 0, bytes = 0;
};

/// A comparison that the compilation made of what it wrote.
struct Check {
  std::string name, description;
  /// In the unit that `description` names.
  double found = 0, bound = 0;
  bool passed = false;
};

/// `--max-drop metric=limit`.
struct Gate {
  std::string metric;
  double limit = 0;
};

struct GateResult {
  Gate gate;
  std::string arithmetic;
  int64_t samples = 0;
  /// What was compared with the limit: a drop from the float model, or the decibels of sqnr and psnr.
  double found = 0;
  bool passed = false;
  /// Why it did not pass, where it did not.
  std::string reason;
};

struct Report {
  std::string toolVersion, model, recipe, target;
  std::map<std::string, int64_t> bindings;

  bool isCalibrated = true;
  int64_t calibrationSamples = 0;
  /// Where the figures were taken: "evaluation" or "held-out calibration".
  std::string evaluationLabel;
  int64_t evaluationSamples = 0;
  /// The arithmetic of the target, in which gates are judged.
  std::string headlineArithmetic;

  WeightSizes weightsBefore, weightsAfter;
  /// Output files: name and bytes.
  std::map<std::string, int64_t> files;
  Coverage coverage;
  std::vector<OutputError> outputs;
  /// Worst isolated error first.
  std::vector<LayerError> layers;
  /// In program order; empty where no stage reads the layers' inputs.
  std::vector<RoundedWeight> rounding;
  RoundingCounts roundingCounts;
  std::vector<MetricValue> metrics;
  std::optional<VendorBinary> binary;
  std::optional<VendorEstimate> estimate;
  std::optional<NpuProgram> npuProgram;
  std::vector<Check> checks;
  std::vector<GateResult> gates;
  /// What the user should know: fallbacks, things inferred, things left out.
  std::vector<std::string> notes;
};

/// Sorts by isolated SQNR, worst first, then by name.
void sortLayers(std::vector<LayerError> &layers);

/// Parses `metric=limit`. Errors: Usage.
llvm::Expected<Gate> parseGate(llvm::StringRef text);
/// Judges gates by the metrics in the headline arithmetic. sqnr and psnr pass at or above the limit, since
/// the float model's own value is infinite; others pass where they are worse than the float model by at
/// most the limit. A metric of the user's scorer is itself the drop. Nothing passes without calibration.
std::vector<GateResult> evaluateGates(llvm::ArrayRef<Gate> gates, const Report &report);
/// Errors: Gate, with a note per gate that did not pass.
llvm::Error checkGates(llvm::ArrayRef<GateResult> results);

llvm::json::Value toJson(const Report &report);
std::string toMarkdown(const Report &report);
/// Writes report.json and report.md into `folder`. Errors: IO.
llvm::Error writeReport(llvm::StringRef folder, const Report &report);

} // namespace nibble::report

#endif

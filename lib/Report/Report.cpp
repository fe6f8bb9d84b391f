#include "lib/Report/Report.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <tuple>

namespace nibble::report {
namespace {

using llvm::json::Array;
using llvm::json::Object;
using llvm::json::Value;

template <typename T> Object toObject(const std::map<std::string, T> &map) {
  Object object;
  for (const auto &[key, value] : map)
    object[key] = value;
  return object;
}

Object toObject(const ErrorFigures &error) {
  return Object{{"sqnr_db", jsonNumber(error.sqnr)}, {"cosine", jsonNumber(error.cosine)}, {"max_error", jsonNumber(error.maxError)}};
}

Object toObject(const WeightSizes &sizes) {
  return Object{{"parameters", sizes.parameters},
                {"bytes_by_type", toObject(sizes.bytesByType)},
                {"quantizer_bytes", sizes.quantizerBytes},
                {"bytes", sizes.bytes()},
                {"bits_per_weight", sizes.bitsPerWeight()}};
}

Object toObject(const Coverage &coverage) {
  return Object{{"compute_nodes", coverage.computeNodes},
                {"integer_compute_nodes", coverage.integerComputeNodes},
                {"multiply_accumulates", coverage.multiplyAccumulates},
                {"integer_multiply_accumulates", coverage.integerMultiplyAccumulates},
                {"activation_bytes", coverage.activationBytes},
                {"integer_activation_bytes", coverage.integerActivationBytes},
                {"float_operators", toObject(coverage.floatOperators)}};
}

template <typename T, typename Function> Array toArray(const std::vector<T> &rows, Function toRow) {
  Array array;
  for (const T &row : rows)
    array.push_back(toRow(row));
  return array;
}

Object toObject(const NpuProgram &program) {
  return Object{{"estimator", program.estimator},
                {"files", program.files},
                {"bytes", program.bytes},
                {"operators_on_npu", program.operatorsOnNpu},
                {"operators_on_cpu", program.operatorsOnCpu},
                {"microseconds", program.microseconds},
                {"cycles", program.cycles},
                {"npu_cycles", program.npuCycles},
                {"sram_cycles", program.sramCycles},
                {"dram_cycles", program.dramCycles},
                {"flash_cycles", program.flashCycles},
                {"sram_bytes", program.sramBytes},
                {"dram_bytes", program.dramBytes},
                {"flash_bytes", program.flashBytes},
                {"sram_traffic_bytes", program.sramTrafficBytes},
                {"dram_traffic_bytes", program.dramTrafficBytes},
                {"flash_traffic_bytes", program.flashTrafficBytes},
                {"original_weight_bytes", program.originalWeightBytes},
                {"encoded_weight_bytes", program.encodedWeightBytes},
                {"multiply_accumulates", program.multiplyAccumulates},
                {"operators", toArray(program.operators, [](const NpuOperator &op) {
                   return Object{{"tensor", op.tensor},
                                 {"operation", op.operation},
                                 {"cycles", op.cycles},
                                 {"npu_cycles", op.npuCycles},
                                 {"dram_cycles", op.dramCycles},
                                 {"multiply_accumulates", op.multiplyAccumulates}};
                 })}};
}

} // namespace

void sortLayers(std::vector<LayerError> &layers) {
  llvm::sort(layers, [](const LayerError &a, const LayerError &b) {
    return std::tie(a.isolated.sqnr, a.tensor, a.node) < std::tie(b.isolated.sqnr, b.tensor, b.node);
  });
}

Value toJson(const Report &report) {
  Object root;
  root["schema"] = "nibble-report";
  root["version"] = reportVersion;
  root["tool_version"] = report.toolVersion;
  root["model"] = report.model;
  root["recipe"] = report.recipe;
  root["target"] = report.target;
  root["bindings"] = toObject(report.bindings);
  root["calibrated"] = report.isCalibrated;
  root["calibration_samples"] = report.calibrationSamples;
  root["evaluation"] = Object{{"data", report.evaluationLabel},
                              {"samples", report.evaluationSamples},
                              {"headline_arithmetic", report.headlineArithmetic}};
  root["weights"] = Object{{"before", toObject(report.weightsBefore)}, {"after", toObject(report.weightsAfter)}};
  root["files"] = toObject(report.files);
  root["coverage"] = toObject(report.coverage);
  root["outputs"] = toArray(report.outputs, [](const OutputError &row) {
    return Object{{"output", row.output}, {"arithmetic", row.arithmetic}, {"samples", row.samples},
                  {"error", toObject(row.error)}};
  });
  root["layers"] = toArray(report.layers, [](const LayerError &row) {
    return Object{{"node", row.node},
                  {"operation", row.operation},
                  {"tensor", row.tensor},
                  {"arithmetic", fakeQuant},
                  {"isolated", toObject(row.isolated)},
                  {"accumulated", toObject(row.accumulated)},
                  {"weight_bits", row.weightBits},
                  {"activation_bits", row.activationBits},
                  {"reason", row.reason}};
  });
  root["rounding"] = Object{
      {"weights", toArray(report.rounding,
                          [](const RoundedWeight &row) {
                            return Object{{"node", row.node},
                                          {"weight", row.weight},
                                          {"bits", row.bits},
                                          {"stages", toArray(row.stages, [](const std::pair<std::string, double> &stage) {
                                             return Object{{"stage", stage.first}, {"output_sqnr", jsonNumber(stage.second)}};
                                           })}};
                          })},
      {"damping_retries", report.roundingCounts.dampingRetries},
      {"dead_columns", report.roundingCounts.deadColumns},
      {"fallbacks", report.roundingCounts.fallbacks}};
  root["metrics"] = toArray(report.metrics, [](const MetricValue &row) {
    return Object{{"name", row.name}, {"arithmetic", row.arithmetic}, {"samples", row.samples},
                  {"value", jsonNumber(row.value)}, {"fp32", jsonNumber(row.reference)}};
  });
  if (report.binary)
    root["vendor_binary"] = Object{{"nodes_on_npu", report.binary->nodesOnNpu},
                                   {"nodes_on_cpu", report.binary->nodesOnCpu},
                                   {"operators", report.binary->operators},
                                   {"bytes", report.binary->bytes}};
  if (report.estimate)
    root["vendor_estimate"] = Object{{"estimator", report.estimate->estimator},
                                     {"microseconds", report.estimate->microseconds},
                                     {"cycles", report.estimate->cycles},
                                     {"ddr_fill_bytes", report.estimate->ddrFillBytes},
                                     {"ddr_spill_bytes", report.estimate->ddrSpillBytes}};
  if (report.npuProgram)
    root["npu_program"] = toObject(*report.npuProgram);
  root["checks"] = toArray(report.checks, [](const Check &row) {
    return Object{{"name", row.name}, {"description", row.description}, {"found", jsonNumber(row.found)},
                  {"bound", jsonNumber(row.bound)}, {"passed", row.passed}};
  });
  root["gates"] = toArray(report.gates, [](const GateResult &row) {
    return Object{{"metric", row.gate.metric}, {"limit", jsonNumber(row.gate.limit)}, {"arithmetic", row.arithmetic},
                  {"samples", row.samples}, {"found", jsonNumber(row.found)}, {"passed", row.passed},
                  {"reason", row.reason}};
  });
  root["notes"] = Array(report.notes);
  return root;
}

llvm::Error writeReport(llvm::StringRef folder, const Report &report) {
  llvm::SmallString<128> json(folder), markdown(folder);
  llvm::sys::path::append(json, "report.json");
  llvm::sys::path::append(markdown, "report.md");
  if (llvm::Error error = writeFileAtomically(json, formatJson(toJson(report))))
    return error;
  return writeFileAtomically(markdown, toMarkdown(report));
}

//===----------------------------------------------------------------------===//
// Gates
//===----------------------------------------------------------------------===//

llvm::Expected<Gate> parseGate(llvm::StringRef text) {
  auto [metric, limit] = text.split('=');
  Gate gate{metric.str(), 0};
  if (metric.empty() || limit.getAsDouble(gate.limit) || !std::isfinite(gate.limit))
    return makeError(ErrorKind::Usage, "gate '" + text + "' is malformed, expected METRIC=NUMBER");
  return gate;
}

static bool isDecibels(llvm::StringRef metric) { return metric == "sqnr" || metric == "psnr"; }

/// How much worse than the float model the value is.
static double dropOf(const MetricValue &row) {
  bool higherIsBetter = row.name == "cosine" || row.name == "top1";
  return higherIsBetter ? row.reference - row.value : row.value - row.reference;
}

std::vector<GateResult> evaluateGates(llvm::ArrayRef<Gate> gates, const Report &report) {
  std::vector<GateResult> results;
  for (const Gate &gate : gates) {
    GateResult result{gate, report.headlineArithmetic, 0, 0, false, ""};
    auto row = llvm::find_if(report.metrics, [&](const MetricValue &metric) {
      return metric.name == gate.metric && metric.arithmetic == report.headlineArithmetic;
    });
    if (row == report.metrics.end()) {
      result.reason = "the metric was not computed in this arithmetic";
    } else {
      result.samples = row->samples;
      result.found = isDecibels(gate.metric) ? row->value : dropOf(*row);
      result.passed = isDecibels(gate.metric) ? result.found >= gate.limit : result.found <= gate.limit;
      if (!result.passed)
        result.reason = isDecibels(gate.metric) ? "below the limit" : "above the limit";
    }
    if (!report.isCalibrated) {
      result.passed = false;
      result.reason = "the model is not calibrated: its samples were random";
    }
    results.push_back(std::move(result));
  }
  return results;
}

static std::string formatNumber(double value) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.6g", value);
  return text;
}

llvm::Error checkGates(llvm::ArrayRef<GateResult> results) {
  std::vector<std::string> notes;
  for (const GateResult &result : results)
    if (!result.passed)
      notes.push_back(result.gate.metric + " in " + result.arithmetic + ": limit " + formatNumber(result.gate.limit) +
                      ", found " + formatNumber(result.found) + "; " + result.reason);
  if (notes.empty())
    return llvm::Error::success();
  return makeError(ErrorKind::Gate, llvm::Twine(notes.size()) + " of " + llvm::Twine(results.size()) + " gates failed",
                   std::move(notes));
}

} // namespace nibble::report

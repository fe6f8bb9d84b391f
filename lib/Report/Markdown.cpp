//===- Markdown.cpp - the report for readers -------------------------------===//
#include "lib/Report/Report.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <set>

namespace nibble::report {
namespace {

constexpr size_t layersShown = 20;

std::string fixed(double value, int digits) {
  if (std::isinf(value))
    return value > 0 ? "exact" : "-inf";
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.*f", digits, value);
  return text;
}

std::string significant(double value) {
  if (std::isinf(value))
    return value > 0 ? "inf" : "-inf";
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format("%.4g", value);
  return text;
}

std::string percent(int64_t part, int64_t whole) {
  return whole ? fixed(100.0 * static_cast<double>(part) / static_cast<double>(whole), 1) + " %" : "-";
}

/// Names come from the model: a bar would end a cell, and a line end would end the table.
std::string cell(llvm::StringRef text) {
  std::string result;
  for (char c : text)
    result += c == '|' ? "\\|" : c == '\n' || c == '\r' ? " " : std::string(1, c);
  return result;
}

std::string code(llvm::StringRef text) { return text.empty() ? "" : "`" + cell(text) + "`"; }

class Writer {
public:
  explicit Writer(const Report &report) : report(report), os(text) {}

  std::string write() {
    writeHead();
    writeMetrics();
    writeOutputs();
    writeSizes();
    writeCoverage();
    writeLayers();
    writeRounding();
    writeBinary();
    writeEstimate();
    writeNpuProgram();
    writeChecks();
    if (!report.notes.empty()) {
      os << "\n## Notes\n\n";
      for (const std::string &note : report.notes)
        os << "- " << note << '\n';
    }
    return std::move(text);
  }

private:
  void row(std::initializer_list<std::string> cells) {
    for (const std::string &content : cells)
      os << "| " << content << ' ';
    os << "|\n";
  }
  void header(std::initializer_list<std::string> cells) {
    os << '\n';
    row(cells);
    for (size_t i = 0; i < cells.size(); ++i)
      os << "|---";
    os << "|\n";
  }

  void writeHead() {
    os << "# " << report.model << ": " << report.recipe << " for " << report.target << "\n\n";
    if (!report.isCalibrated)
      os << "**NOT CALIBRATED.** The samples were random: no figure below says anything about accuracy.\n\n";
    os << "Nibble " << report.toolVersion;
    for (const auto &[name, value] : report.bindings)
      os << ", " << code(name) << " = " << value;
    os << ". ";
    if (report.calibrationSamples)
      os << "Calibrated on " << report.calibrationSamples << " samples; ";
    else
      os << "No calibration; ";
    if (report.evaluationSamples)
      os << "figures from " << report.evaluationSamples << " samples (" << report.evaluationLabel
         << "). The arithmetic of the target is " << code(report.headlineArithmetic) << ".\n";
    else
      os << "nothing was evaluated.\n";
  }

  void writeMetrics() {
    if (!report.metrics.empty()) {
      os << "\n## Task metrics (" << report.evaluationLabel << ")\n";
      header({"metric", "arithmetic", "samples", "fp32", "value"});
      for (const MetricValue &m : report.metrics)
        row({cell(m.name), m.arithmetic, std::to_string(m.samples), significant(m.reference), significant(m.value)});
    }
    if (report.gates.empty())
      return;
    os << "\n## Gates\n";
    header({"metric", "arithmetic", "samples", "limit", "found", "result"});
    for (const GateResult &g : report.gates)
      row({cell(g.gate.metric), g.arithmetic, std::to_string(g.samples), significant(g.gate.limit), significant(g.found),
           g.passed ? "passed" : "FAILED: " + cell(g.reason)});
  }

  void writeOutputs() {
    if (report.outputs.empty())
      return;
    os << "\n## Outputs\n\nDistance from the float model.\n";
    header({"output", "arithmetic", "samples", "SQNR dB", "cosine", "max error"});
    for (const OutputError &o : report.outputs)
      row({code(o.output), o.arithmetic, std::to_string(o.samples), fixed(o.error.sqnr, 2), fixed(o.error.cosine, 6),
           significant(o.error.maxError)});
  }

  void writeSizes() {
    const WeightSizes &before = report.weightsBefore, &after = report.weightsAfter;
    os << "\n## Sizes\n";
    header({"weights stored as", "bytes before", "bytes after"});
    std::set<std::string> types;
    for (const auto *sizes : {&before, &after})
      for (const auto &[type, bytes] : sizes->bytesByType)
        types.insert(type);
    auto bytesOf = [](const WeightSizes &sizes, const std::string &type) {
      auto found = sizes.bytesByType.find(type);
      return std::to_string(found == sizes.bytesByType.end() ? 0 : found->second);
    };
    for (const std::string &type : types)
      row({type, bytesOf(before, type), bytesOf(after, type)});
    row({"scales and zero points", std::to_string(before.quantizerBytes), std::to_string(after.quantizerBytes)});
    row({"all", std::to_string(before.bytes()), std::to_string(after.bytes())});
    row({"bits per weight", fixed(before.bitsPerWeight(), 3), fixed(after.bitsPerWeight(), 3)});
    if (report.files.empty())
      return;
    header({"file", "bytes"});
    for (const auto &[name, bytes] : report.files)
      row({code(name), std::to_string(bytes)});
  }

  void writeCoverage() {
    const Coverage &c = report.coverage;
    os << "\n## Coverage\n\nShare that is on the integer grid.\n";
    header({"of", "integer", "all", "share"});
    auto line = [&](const char *what, int64_t part, int64_t whole) {
      row({what, std::to_string(part), std::to_string(whole), percent(part, whole)});
    };
    line("compute nodes", c.integerComputeNodes, c.computeNodes);
    line("multiply-accumulates", c.integerMultiplyAccumulates, c.multiplyAccumulates);
    line("activation bytes", c.integerActivationBytes, c.activationBytes);
    if (c.floatOperators.empty())
      return;
    os << "\nIn float:";
    for (const auto &[name, count] : c.floatOperators)
      os << ' ' << name << " (" << count << ")";
    os << '\n';
  }

  void writeLayers() {
    if (report.layers.empty())
      return;
    size_t shown = std::min(layersShown, report.layers.size());
    os << "\n## Layers\n\nThe " << shown << " worst of " << report.layers.size()
       << " by the error of the layer alone, in " << fakeQuant
       << " arithmetic. Isolated: only this layer is quantized. Accumulated: all are.\n";
    header({"node", "operation", "isolated SQNR dB", "accumulated SQNR dB", "isolated cosine", "isolated max error",
            "bits (weights, activations)", "reason"});
    auto bits = [](unsigned count) { return count ? std::to_string(count) : std::string("float"); };
    for (size_t i = 0; i < shown; ++i) {
      const LayerError &l = report.layers[i];
      row({code(l.node), l.operation, fixed(l.isolated.sqnr, 2), fixed(l.accumulated.sqnr, 2), fixed(l.isolated.cosine, 6),
           significant(l.isolated.maxError), bits(l.weightBits) + ", " + bits(l.activationBits), cell(l.reason)});
    }
  }

  /// Means over the weights that a stage ran on, so that what each stage gained stands line by line.
  void writeRounding() {
    if (report.rounding.empty())
      return;
    struct Sum {
      std::string stage;
      int64_t count = 0;
      double sqnr = 0;
    };
    std::vector<Sum> sums;
    for (const RoundedWeight &weight : report.rounding)
      for (const auto &[stage, sqnr] : weight.stages) {
        auto sum = llvm::find_if(sums, [&stage = stage](const Sum &s) { return s.stage == stage; });
        if (sum == sums.end())
          sum = sums.insert(sums.end(), Sum{stage});
        // An output that is met exactly has no finite figure.
        if (std::isfinite(sqnr)) {
          ++sum->count;
          sum->sqnr += sqnr;
        }
      }
    os << "\n## Rounding\n\nWeights rounded against what their layers read in calibration: the SQNR of the layer's output "
          "after each stage, its weight alone quantized, as a mean over weights.\n";
    header({"stage", "weights", "mean output SQNR dB"});
    for (const Sum &sum : sums)
      row({sum.stage, std::to_string(sum.count), sum.count ? fixed(sum.sqnr / static_cast<double>(sum.count), 2) : "-"});
    const RoundingCounts &counts = report.roundingCounts;
    os << "\nDamping raised: " << counts.dampingRetries << ". Inputs that were always zero: " << counts.deadColumns
       << ". Weights, or groups of them, that kept round-to-nearest: " << counts.fallbacks << ".\n";
  }

  void writeBinary() {
    if (!report.binary)
      return;
    const VendorBinary &b = *report.binary;
    os << "\n## Binary\n";
    header({"nodes on the NPU", "nodes on the CPU", "operators of the vendor's graph", "bytes"});
    row({std::to_string(b.nodesOnNpu), std::to_string(b.nodesOnCpu), std::to_string(b.operators), std::to_string(b.bytes)});
  }

  void writeEstimate() {
    if (!report.estimate)
      return;
    const VendorEstimate &e = *report.estimate;
    os << "\n## Vendor's estimate\n\n" << e.estimator << ". An estimate of the vendor's tools, not a measurement.\n";
    header({"microseconds", "cycles", "DDR bytes filled", "DDR bytes spilled"});
    row({fixed(e.microseconds, 1), std::to_string(e.cycles), std::to_string(e.ddrFillBytes), std::to_string(e.ddrSpillBytes)});
  }

  void writeNpuProgram() {
    if (!report.npuProgram)
      return;
    const NpuProgram &p = *report.npuProgram;
    os << "\n## NPU program\n\n" << p.estimator << ". Estimates of the compiler's model of one inference, not "
       << "measurements.\n";
    header({"of", "figure"});
    auto line = [&](const char *what, int64_t value) { row({what, std::to_string(value)}); };
    line("operators on the NPU", p.operatorsOnNpu);
    line("operators on the CPU", p.operatorsOnCpu);
    row({"microseconds", fixed(p.microseconds, 1)});
    line("cycles", p.cycles);
    line("cycles of arithmetic alone", p.npuCycles);
    line("cycles of DRAM alone", p.dramCycles);
    line("multiply-accumulates", p.multiplyAccumulates);
    line("bytes of SRAM needed", p.sramBytes);
    line("bytes of DRAM needed", p.dramBytes);
    line("bytes from and to DRAM", p.dramTrafficBytes);
    line("bytes of weights, 4-bit ones counted as a byte", p.originalWeightBytes);
    line("bytes of encoded weights", p.encodedWeightBytes);
    line("bytes of the binary", p.bytes);
    if (p.operators.empty())
      return;
    std::vector<const NpuOperator *> slowest;
    for (const NpuOperator &op : p.operators)
      slowest.push_back(&op);
    // Equals stay in the order of execution, which is that of their addresses.
    std::sort(slowest.begin(), slowest.end(), [](const NpuOperator *a, const NpuOperator *b) {
      return a->cycles != b->cycles ? a->cycles > b->cycles : a < b;
    });
    slowest.resize(std::min(layersShown, slowest.size()));
    os << "\nThe " << slowest.size() << " slowest of " << p.operators.size()
       << " operators; one that was fused into another has no cycles of its own.\n";
    header({"tensor", "operation", "cycles", "share", "arithmetic alone", "DRAM alone", "multiply-accumulates"});
    for (const NpuOperator *op : slowest)
      row({code(op->tensor), cell(op->operation), std::to_string(op->cycles), percent(op->cycles, p.cycles),
           std::to_string(op->npuCycles), std::to_string(op->dramCycles), std::to_string(op->multiplyAccumulates)});
  }

  void writeChecks() {
    if (report.checks.empty())
      return;
    os << "\n## Checks of what was written\n";
    header({"check", "what", "found", "bound", "result"});
    for (const Check &c : report.checks)
      row({cell(c.name), cell(c.description), significant(c.found), significant(c.bound), c.passed ? "passed" : "FAILED"});
  }

  const Report &report;
  std::string text;
  llvm::raw_string_ostream os;
};

} // namespace

std::string toMarkdown(const Report &report) { return Writer(report).write(); }

} // namespace nibble::report

//===- Agreement.cpp - does ONNX Runtime compute what we do ----------------===//
//
// Runs every exported file in ONNX Runtime and compares its outputs with those of the quantized program in
// our runtime. Sums in another order round to the neighbouring integer here and there, and later layers amplify
// that, up to the error that rounding itself makes: so that error is the bound (docs/spec/numerics.md). Outputs that
// are not rounded differ by the order of sums alone, and are measured in their range.
//
//===----------------------------------------------------------------------===//
#include "cli/driver/Compilation.h"

#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"

#include "llvm/Support/FileSystem.h"
#include <cmath>

using namespace mlir;

namespace nibble::driver {

static constexpr double largestOfRange = 1e-4;

namespace {

/// Distance of two runs at one output over all samples.
struct Distance {
  double largest = 0, sumOfSquares = 0;
  int64_t count = 0;

  void add(const Tensor &wanted, const Tensor &found) {
    for (int64_t i = 0, size = wanted.elementCount(); i < size; ++i) {
      double a = wanted.valueAsDouble(i), b = found.valueAsDouble(i);
      // Equal infinities do not differ; whatever else is not finite differs without limit.
      double difference = a == b || (std::isnan(a) && std::isnan(b)) ? 0 : std::fabs(a - b);
      if (std::isnan(difference))
        difference = INFINITY;
      largest = std::max(largest, difference);
      sumOfSquares += difference * difference;
    }
    count += wanted.elementCount();
  }
  double rootMeanSquare() const { return std::sqrt(sumOfSquares / static_cast<double>(count)); }
};

struct OutputAgreement {
  std::string name;
  /// Size of a quantum; 0 where the output is not rounded.
  double quantum = 0;
  /// ONNX Runtime from fake-quant, and fake-quant from the float model.
  Distance difference, error;
  double lowest = INFINITY, highest = -INFINITY;

  void add(const Tensor &real, const Tensor &ours, const Tensor &theirs) {
    difference.add(ours, theirs);
    error.add(real, ours);
    for (int64_t i = 0, size = ours.elementCount(); i < size; ++i)
      if (double value = ours.valueAsDouble(i); std::isfinite(value)) {
        lowest = std::min(lowest, value);
        highest = std::max(highest, value);
      }
  }

  void appendTo(std::vector<report::Check> &checks, const std::string &file) const {
    if (difference.count == 0)
      return;
    auto append = [&](llvm::StringRef what, llvm::StringRef unit, double found, double bound) {
      checks.push_back({"file " + file,
                        (what + " difference of '" + name + "' in ONNX Runtime from fake-quant, in " + unit).str(), found,
                        bound, found <= bound});
    };
    if (quantum > 0) {
      append("largest", "quanta", difference.largest / quantum, error.largest / quantum + 1);
      append("root-mean-square", "quanta", difference.rootMeanSquare() / quantum, error.rootMeanSquare() / quantum);
    } else {
      append("largest", "ranges of the output", difference.largest == 0 ? 0 : difference.largest / (highest - lowest),
             largestOfRange);
    }
  }
};

} // namespace

/// One entry per output of `function`, with the quantum of the quantizer that rounds it.
static llvm::Expected<std::vector<OutputAgreement>> makeAgreements(func::FuncOp function,
                                                                     llvm::ArrayRef<std::string> names) {
  std::vector<OutputAgreement> agreements;
  for (auto [name, value] : llvm::zip_equal(names, function.getBody().front().getTerminator()->getOperands())) {
    OutputAgreement &agreement = agreements.emplace_back();
    agreement.name = name;
    auto quantize = nn::resolveThroughBlocks(value).getDefiningOp<nn::FakeQuantOp>();
    if (!quantize)
      continue;
    llvm::Expected<quant::Encoding> encoding =
        nn::readEncoding(nn::lookupQuantizer(quantize, quantize.getQuantizerAttr()));
    if (!encoding)
      return encoding.takeError();
    agreement.quantum = encoding->scales.front();
  }
  return agreements;
}

/// ONNX Runtime multiplies with weights of 2, 4 and 8 bits.
static bool hasThreeBitWeights(ModuleOp module) {
  return module
      .walk([](nn::QuantizerOp quantizer) {
        llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
        if (!encoding) {
          llvm::consumeError(encoding.takeError());
          return WalkResult::advance();
        }
        return quant::usedBits(*encoding) == 3 ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

llvm::Error Compilation::checkAgreement(llvm::ArrayRef<EvaluatedSample> evaluated) {
  if (!hasOnnxRuntime)
    return llvm::Error::success();
  for (llvm::StringRef suffix : {"_qdq.onnx", "_matmulnbits.onnx"}) {
    std::string file = stem + suffix.str();
    if (!llvm::sys::fs::exists(output->path(file)))
      continue;
    if (suffix == "_matmulnbits.onnx" && hasThreeBitWeights(*module)) {
      noteAndReport("'" + file + "' is nibble-packed: 'nibble run' executes it, and ONNX Runtime has no kernel for weights "
                                 "of 3 bits, so it was compared in nibble's runtime alone");
      continue;
    }
    progress.begin("compare files", static_cast<int64_t>(evaluated.size()), "sample");
    auto session = vendor::CpuSession::fromFile(libraries, output->path(file), /*optimize=*/false);
    if (!session)
      return session.takeError();
    llvm::Expected<std::vector<OutputAgreement>> agreements = makeAgreements(mainFunction(*module), outputNames());
    if (!agreements)
      return agreements.takeError();
    for (const EvaluatedSample &sample : evaluated) {
      llvm::Expected<std::vector<Tensor>> found = (*session)->run(sample.inputs);
      if (!found)
        return found.takeError();
      for (auto [agreement, a, b, c] : llvm::zip_equal(*agreements, sample.real, sample.fakeQuant, *found))
        agreement.add(a, b, c);
      progress.advance();
    }
    size_t first = report.checks.size();
    for (const OutputAgreement &agreement : *agreements)
      agreement.appendTo(report.checks, file);
    for (const report::Check &check : llvm::ArrayRef(report.checks).drop_front(first))
      if (!check.passed)
        note("'" + file + "': " + check.description + " is " + llvm::Twine(llvm::formatv("{0:f3}", check.found).str()) +
             ", more than " + llvm::formatv("{0:f3}", check.bound).str());
  }
  return llvm::Error::success();
}

} // namespace nibble::driver

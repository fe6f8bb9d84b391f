#include "calib/Metrics/LayerReasons.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"

#include "llvm/Support/Format.h"
#include <cmath>

using namespace mlir;

namespace nibble::calib {
namespace {

constexpr double clippedShareShown = 1e-3, outlierRatioShown = 20;

std::string format(const char *pattern, double value) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << llvm::format(pattern, value);
  return text;
}

/// Share of a tensor's values outside of what the quantizer can hold.
double clippedShare(const quant::TensorStatistics &s, nn::QuantizerOp quantizer) {
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
  if (!encoding) {
    llvm::consumeError(encoding.takeError());
    return 0;
  }
  if (encoding->scales.size() != 1 || s.histogram.empty() || s.elementCount == 0)
    return 0;
  double zero = encoding->zeroPoints.empty() ? 0 : encoding->zeroPoints[0];
  double low = (encoding->quantMin - zero - 0.5) * encoding->scales[0];
  double high = (encoding->quantMax - zero + 0.5) * encoding->scales[0];
  double width = (static_cast<double>(s.histogramMax) - s.histogramMin) / static_cast<double>(s.histogram.size());
  int64_t clipped = 0;
  for (size_t i = 0; i < s.histogram.size(); ++i) {
    double middle = s.histogramMin + (static_cast<double>(i) + 0.5) * width;
    if (middle < low || middle > high)
      clipped += s.histogram[i];
  }
  return static_cast<double>(clipped) / static_cast<double>(s.elementCount);
}

/// Largest absolute value over root mean square; 0 where it has none.
double outlierRatio(const quant::TensorStatistics &s) {
  if (s.elementCount == 0 || s.sumOfSquares <= 0)
    return 0;
  double rootMeanSquare = std::sqrt(s.sumOfSquares / static_cast<double>(s.elementCount));
  return std::max(std::fabs(s.min), std::fabs(s.max)) / rootMeanSquare;
}

unsigned storageBits(nn::QuantizerOp quantizer) {
  std::optional<ElementType> type = quantizer ? nn::toElementType(quantizer.getStorage()) : std::nullopt;
  return type ? bitWidth(*type) : 0;
}

} // namespace

void explainLayer(Operation *op, Value measured, const quant::Statistics *statistics, report::LayerError &row) {
  struct Rounded {
    std::string tensor;
    nn::QuantizerOp quantizer;
  };
  std::vector<Rounded> activations;
  auto addActivation = [&](nn::FakeQuantOp rounding) {
    nn::QuantizerOp quantizer = nn::lookupQuantizer(rounding, rounding.getQuantizerAttr());
    unsigned bits = storageBits(quantizer);
    if (bits)
      row.activationBits = row.activationBits ? std::min(row.activationBits, bits) : bits;
    activations.push_back({nn::tensorName(rounding.getInput()), quantizer});
  };
  if (auto rounding = measured.getDefiningOp<nn::FakeQuantOp>())
    addActivation(rounding);
  for (Value operand : op->getOperands()) {
    Value value = nn::resolveThroughBlocks(operand);
    if (auto rounding = value.getDefiningOp<nn::FakeQuantOp>())
      addActivation(rounding);
    if (auto weight = value.getDefiningOp<nn::DequantizeWeightOp>())
      // The int32 bias is finer than anything else and explains nothing.
      if (unsigned bits = storageBits(nn::lookupQuantizer(weight, weight.getQuantizerAttr())); bits && bits <= 16)
        row.weightBits = row.weightBits ? std::min(row.weightBits, bits) : bits;
  }
  if (std::isinf(row.isolated.sqnr))
    return;

  double mostClipped = 0, worstRatio = 0;
  std::string clipped, outlying;
  for (const Rounded &activation : activations) {
    const quant::TensorStatistics *s = statistics ? statistics->find(activation.tensor) : nullptr;
    if (!s || !activation.quantizer)
      continue;
    if (double share = clippedShare(*s, activation.quantizer); share > mostClipped)
      mostClipped = share, clipped = activation.tensor;
    if (double ratio = outlierRatio(*s); ratio > worstRatio)
      worstRatio = ratio, outlying = activation.tensor;
  }
  if (mostClipped > clippedShareShown)
    row.reason = format("%.2g", 100 * mostClipped) + " % of '" + clipped + "' is clipped";
  else if (worstRatio > outlierRatioShown && row.activationBits && row.activationBits <= 8)
    row.reason = "outliers: the largest value of '" + outlying + "' is " + format("%.3g", worstRatio) +
                 " times its RMS, on " + std::to_string(row.activationBits) + " bits";
  else if (row.weightBits && row.weightBits <= 4)
    row.reason = std::to_string(row.weightBits) + "-bit weights";
  else if (row.activationBits && row.activationBits <= 8)
    row.reason = std::to_string(row.activationBits) + "-bit activations";
  else if (row.weightBits)
    row.reason = std::to_string(row.weightBits) + "-bit weights";
  else if (row.activationBits)
    row.reason = std::to_string(row.activationBits) + "-bit activations";
}

} // namespace nibble::calib

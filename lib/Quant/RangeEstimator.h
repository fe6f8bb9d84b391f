//===- RangeEstimator.h - from statistics to the range of an encoding --------===//
#ifndef NIBBLE_QUANT_RANGEESTIMATOR_H
#define NIBBLE_QUANT_RANGEESTIMATOR_H

#include "lib/Quant/Encoding.h"
#include "lib/Quant/Statistics.h"

namespace nibble::quant {

struct Range {
  float min = 0, max = 0;
};

/// The observers that a recipe may name.
inline constexpr llvm::StringLiteral observerNames[] = {"min-max", "moving-average", "percentile", "mse", "entropy"};

struct RangeOptions {
  /// One of observerNames.
  std::string observer = "min-max";
  /// For "percentile": the share of values kept, in percent; half of the rest is cut at each end.
  double percentile = 99.99;
  /// Share of the range added at each end that is not 0, for values that calibration did not meet.
  double headroom = 0;
  /// Share of the range, divided by the number of samples, added at each end that reaches the extreme seen. Of n
  /// numbers drawn evenly from [0, b], the largest lies b / (n + 1) below b on average, so that 1 makes an unbiased
  /// estimate of b (the "German tank problem").
  double sampleHeadroom = 0;
  ElementType storage = ElementType::U8;
  bool symmetric = false;
};

/// The range that `options.observer` gives a tensor:
///   min-max         the extremes seen
///   moving-average  exponential averages of the extremes per sample
///   percentile      quantiles of the histogram, linear inside a bin
///   mse             least expected squared error: step^2 / 12 inside the range, the distance to the bound outside
///   entropy         least Kullback-Leibler divergence between the histogram and its quantized form
/// It is never wider than the extremes, and has no headroom. Errors: BadInput (unknown observer, percentile outside
/// (0, 100], no values seen, values that are not finite).
llvm::Expected<Range> estimateRange(const TensorStatistics &statistics, const RangeOptions &options);

/// `range` widened by both headrooms, at the ends that are not 0. To be called when rules have cut the range: a share
/// of a range that a mask of -3.4e38 is in would be larger than all else.
Range addHeadroom(Range range, const TensorStatistics &statistics, const RangeOptions &options);

/// The encoding for a tensor with these statistics and range. Where all values seen are integers and the
/// storage has room for them, the scale is a power of two up to 1, so that they are represented exactly.
Encoding makeActivationEncoding(const TensorStatistics &statistics, const Range &range, const RangeOptions &options);

/// The encoding of a constant that is stored like an activation. Constants whose values are all one number or
/// zero, or all multiples of a power of two that the storage has room for, are represented exactly; others
/// cover their extremes. Values are finite.
Encoding makeConstantEncoding(const Tensor &constant, ElementType storage, bool symmetric);

} // namespace nibble::quant

#endif

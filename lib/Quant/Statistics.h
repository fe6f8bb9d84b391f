//===- Statistics.h - what calibration saw of every tensor ------------------===//
#ifndef NIBBLE_QUANT_STATISTICS_H
#define NIBBLE_QUANT_STATISTICS_H

#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>
#include <vector>

namespace nibble::quant {

/// One tensor's statistics over all samples. Memory does not depend on the number of samples.
struct TensorStatistics {
  int64_t elementCount = 0;
  int64_t sampleCount = 0;
  /// Infinities seen, for example in additive attention masks. They count as elements and as nothing else.
  int64_t infiniteCount = 0;
  float min = 0, max = 0;
  /// Exponential moving averages of the per-sample minimum and maximum (momentum 0.9, in the order of runs).
  float movingMin = 0, movingMax = 0;
  double sum = 0, sumOfSquares = 0;
  /// Counts of finite values in `histogram.size()` equal bins over [histogramMin, histogramMax]. The
  /// width of a bin is a power of two and bins begin at multiples of it; it grows by doubling, which
  /// merges pairs of bins, so counts are exact integers in any order.
  float histogramMin = 0, histogramMax = 0;
  std::vector<int64_t> histogram;
  /// True where every value seen is an integer (time steps, ids).
  bool allIntegers = false;
  /// Per index of axis `channelAxis` where that axis has at most 65536 entries: sum of squares over
  /// all other indices (the "imatrix" of weight algorithms). The axis is the one that weights are
  /// multiplied along: 1 of a convolution's input, the last of a matrix product's left operand (the
  /// first where it is transposed); for other tensors that such an operation makes with a constant, the axis of its
  /// outputs. Empty where no such operation reads or makes the tensor, or the axis had several lengths.
  std::vector<double> channelSumOfSquares;
  int64_t channelAxis = -1;
  /// Along the same axis: sum of magnitudes, smallest and largest finite value (both 0 where none was). As long as
  /// `channelSumOfSquares`, or empty in statistics that were measured before these were kept.
  std::vector<double> channelSumOfMagnitudes;
  std::vector<float> channelMin, channelMax;
};

/// Statistics of a model's float run, keyed by ONNX tensor name.
struct Statistics {
  std::map<std::string, TensorStatistics> tensors;
  /// Fingerprint of what the statistics belong to: model, bindings, rewrites of the target, version (hex SHA-256).
  std::string fingerprint;
  /// Hex SHA-256 of each sample, in order, so that no sample that was calibrated on is evaluated on later.
  std::vector<std::string> sampleDigests;
  bool samplesAreRandom = false;

  const TensorStatistics *find(llvm::StringRef tensorName) const;
  /// One safetensors file; byte-identical for equal statistics. Errors: IO.
  llvm::Error save(llvm::StringRef path) const;
  /// Errors: IO, BadInput (malformed, other version).
  static llvm::Expected<Statistics> load(llvm::StringRef path);
};

} // namespace nibble::quant

#endif

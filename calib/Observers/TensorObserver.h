//===- TensorObserver.h - streaming statistics of one tensor ---------------===//
#ifndef NIBBLE_CALIB_OBSERVERS_TENSOROBSERVER_H
#define NIBBLE_CALIB_OBSERVERS_TENSOROBSERVER_H

#include "lib/Quant/Statistics.h"

namespace nibble::calib {

/// Bins of a histogram. At least half of them lie inside the range seen.
inline constexpr int64_t histogramBins = 2048;

/// Accumulates quant::TensorStatistics over samples in memory that does not depend on their number.
/// The result is the same at any thread count; the histogram, minimum and maximum are the same in any
/// order of samples too.
class TensorObserver {
public:
  /// Collects sums and extremes per index of `axis`, unless that axis is longer than 65536 or its length differs
  /// between samples.
  void collectChannels(int64_t axis) { statistics.channelAxis = axis; }

  struct Outcome {
    int64_t positiveInfinities = 0, negativeInfinities = 0;
    /// Flat index of the first NaN, or -1.
    int64_t firstNaN = -1;
  };
  /// Adds a float32 sample of any shape. Infinities and NaNs are counted and left out of everything else.
  Outcome add(const Tensor &sample);

  /// What was seen so far.
  quant::TensorStatistics finish() const;

private:
  void growHistogram(float min, float max);
  void countHistogram(llvm::ArrayRef<float> values, bool allFinite);
  void addChannels(const Tensor &sample);

  quant::TensorStatistics statistics;
  bool hasFinite = false;
  /// Bin `i` of the histogram counts values in [firstBin + i, firstBin + i + 1) * 2^exponent.
  int exponent = 0;
  int64_t firstBin = 0;
};

} // namespace nibble::calib

#endif

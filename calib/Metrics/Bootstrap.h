//===- Bootstrap.h - how sure a mean over few samples is --------------------===//
#ifndef NIBBLE_CALIB_METRICS_BOOTSTRAP_H
#define NIBBLE_CALIB_METRICS_BOOTSTRAP_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace nibble::calib {

/// A mean and the interval that holds 95 % of the means of resampled values.
struct MeanInterval {
  double mean = 0, low = 0, high = 0;
};

inline constexpr int64_t bootstrapResamples = 10000;

/// The percentile bootstrap (B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3): the 2.5th
/// and 97.5th percentile of the means of `bootstrapResamples` draws of as many values, with replacement. The draws are the
/// same in every run and on every machine. `values` is not empty; a mean with -inf is -inf, and else one with +inf is +inf.
MeanInterval bootstrapMean(llvm::ArrayRef<double> values);

} // namespace nibble::calib

#endif

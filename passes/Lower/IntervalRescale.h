//===- IntervalRescale.h - bounds of scaled values ---------------------------===//
#ifndef NIBBLE_PASSES_LOWER_INTERVALRESCALE_H
#define NIBBLE_PASSES_LOWER_INTERVALRESCALE_H

#include "passes/Lower/Intervals.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"

namespace nibble {

/// Where the results of a rescale lie: exactly the images of the ends of each channel, as it is monotone. Sets
/// `problem` where it is not set and a demand of the operation is not proven: multipliers not negative, shifts in
/// [2, 62], with 32-bit multipliers inputs in [-2^(shift-1), 2^(shift-1)-1], scaled values within i32.
Interval evaluateRescale(IntervalAnalysis &analysis, mlir::tosa::RescaleOp op, std::optional<std::string> &problem);

/// The same for an average, which is a sum rescaled by the reciprocal of how many values are not padding.
Interval evaluateAveragePool(IntervalAnalysis &analysis, mlir::tosa::AvgPool2dOp op,
                             std::optional<std::string> &problem);

} // namespace nibble

#endif

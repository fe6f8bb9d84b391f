//===- IntervalTransfer.h - what an operation does to intervals --------------===//
#ifndef NIBBLE_PASSES_LOWER_INTERVALTRANSFER_H
#define NIBBLE_PASSES_LOWER_INTERVALTRANSFER_H

#include "passes/Lower/Intervals.h"

namespace nibble {

struct Evaluation {
  /// Where the result would lie if its type had room for every integer.
  Interval result;
  /// The first demand of the operation that is not proven.
  std::optional<std::string> problem;
};

/// Applies the TOSA 1.0 definition of `op`, which has one result, to the intervals of its operands.
Evaluation evaluate(IntervalAnalysis &analysis, mlir::Operation *op);

} // namespace nibble

#endif

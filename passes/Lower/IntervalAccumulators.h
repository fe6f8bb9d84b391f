//===- IntervalAccumulators.h - bounds of sums of products -------------------===//
#ifndef NIBBLE_PASSES_LOWER_INTERVALACCUMULATORS_H
#define NIBBLE_PASSES_LOWER_INTERVALACCUMULATORS_H

#include "lib/Support/Tensor.h"
#include "passes/Lower/Intervals.h"

namespace nibble {

/// Bounds of a convolution or matrix product. With constant weights, each output channel has the exact bound over
/// all inputs in their interval: the sum over weights of max(w * low, w * high), and the bias; without, the number
/// of products times the largest. Nothing for other operations.
std::optional<AccumulatorBounds> boundAccumulator(IntervalAnalysis &analysis, mlir::Operation *op);

/// The smallest and the largest element of an integer tensor that is not empty.
Interval hullOf(const Tensor &tensor);

} // namespace nibble

#endif

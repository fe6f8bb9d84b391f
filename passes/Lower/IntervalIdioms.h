//===- IntervalIdioms.h - what intervals of operands do not show -------------===//
#ifndef NIBBLE_PASSES_LOWER_INTERVALIDIOMS_H
#define NIBBLE_PASSES_LOWER_INTERVALIDIOMS_H

#include "passes/Lower/Intervals.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"

namespace nibble {

/// Bounds of `op` from what its operands have in common: `x - ((x >> k) << k)` and `x - (x / y) * y` are remainders, and a
/// maximum less what it is the maximum of is not negative. Everything where none applies.
Interval boundDifference(IntervalAnalysis &analysis, mlir::tosa::SubOp op);

/// Bounds of `(x / y) * y`, which lies between 0 and x. Everything where it is not of this form.
Interval boundProduct(IntervalAnalysis &analysis, mlir::tosa::MulOp op);

/// Bounds of `x << shift` where the shift is the number of leading zeros of an upper bound of |x|, less a number;
/// rounded down to a multiple and kept within limits or not. Everything where it is not of this form.
Interval boundNormalized(IntervalAnalysis &analysis, mlir::tosa::LogicalLeftShiftOp op);

/// Bounds of `max(min(x, c >> shift), -(c >> shift)) << shift`: c. Everything where it is not of this form.
Interval boundLimited(IntervalAnalysis &analysis, mlir::tosa::LogicalLeftShiftOp op);

} // namespace nibble

#endif

//===- Functions.h - functions of integers, shared by lowerings --------------===//
#ifndef NIBBLE_PASSES_LOWER_FUNCTIONS_H
#define NIBBLE_PASSES_LOWER_FUNCTIONS_H

#include "passes/Lower/Lowering.h"

namespace nibble {

/// Computes reals from reals; fails after a diagnostic.
using ElementwiseFunction =
    llvm::function_ref<llvm::LogicalResult(llvm::ArrayRef<double> points, llvm::SmallVectorImpl<double> &values)>;

/// function(input) on `grid`, by a TABLE.
llvm::FailureOr<Stored> lookUp(Lowering &lowering, const Stored &input, const ElementwiseFunction &function, const Grid &grid);

/// An operation of one operand by lookUp() of its float function.
llvm::FailureOr<Stored> lowerUnary(Lowering &lowering, const LoweringRequest &request);

/// The elementwise operation `op` with operand `variable` at `points` and its other operands, in order, at
/// `constants`.
llvm::LogicalResult evaluateElementwise(mlir::Operation *op, unsigned variable, llvm::ArrayRef<double> points,
                                        llvm::ArrayRef<double> constants, llvm::SmallVectorImpl<double> &values);

/// 1 / sqrt(v) for i32 v >= 1, as mantissa * 2^(halfShift - 15.5): the mantissa has 29 fractional bits and lies in
/// [1, 2] * 2^29, its relative error is below 2^-26.
struct InverseRoot {
  mlir::Value mantissa, halfShift;
  /// v * 4^halfShift, in [2^29, 2^31).
  mlir::Value normalized;
};
InverseRoot inverseRoot(TosaBuilder &b, mlir::Value v);

/// 1 / v for i32 v >= 1, as mantissa * 2^(shift - 30): the mantissa has 30 fractional bits and lies in (0.5, 1] * 2^30;
/// its relative error is below 2^-26.
struct Reciprocal {
  mlir::Value mantissa, shift;
};
Reciprocal reciprocal(TosaBuilder &b, mlir::Value v);

/// log2(v) for i32 v >= 1, in steps of 2^-21; its error is below 2^-14.
mlir::Value logarithm(TosaBuilder &b, mlir::Value v);

} // namespace nibble

#endif

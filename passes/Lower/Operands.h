//===- Operands.h - operands brought to one rank and order -------------------===//
#ifndef NIBBLE_PASSES_LOWER_OPERANDS_H
#define NIBBLE_PASSES_LOWER_OPERANDS_H

#include "passes/Lower/Lowering.h"

namespace nibble {

/// Operands of an elementwise operator with one rank and one order, that of the largest computed one.
struct Aligned {
  llvm::SmallVector<Stored> operands;
  llvm::SmallVector<int64_t, 6> order;
};
llvm::FailureOr<Aligned> alignOperands(Lowering &lowering, mlir::ValueRange operands);

/// `stored` with leading dimensions of 1 up to `rank`.
Stored withRank(Lowering &lowering, const Stored &stored, int64_t rank);

/// The i32 grid on which values of these grids are added: fine enough that no operand loses a tenth of its
/// step, with room for a sum of them.
double commonStep(llvm::ArrayRef<Grid> grids);
/// The real value as i32 in steps of `step`.
mlir::Value inSteps(Lowering &lowering, const Stored &stored, double step);

/// The input of a reduction with its axes as second operand, and the dimensions that it is over, counted from the front.
struct Reduced {
  Stored input;
  llvm::SmallVector<int64_t> axes;
};
llvm::FailureOr<Reduced> findReduced(Lowering &lowering, mlir::Operation *op);

/// The least number of bits to drop from integers up to `magnitude`, rounded, so that a sum of `count` has 32 bits.
int64_t bitsToDrop(int64_t magnitude, int64_t count);

/// 0, step, 2 * step, ... along dimension `axis` of `rank`, i32; the other dimensions have extent 1.
llvm::FailureOr<mlir::Value> countAlong(TosaBuilder &b, int64_t axis, int64_t rank, int64_t count, int64_t step);

/// `axis`, counted from the front.
inline int64_t countFromFront(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }

} // namespace nibble

#endif

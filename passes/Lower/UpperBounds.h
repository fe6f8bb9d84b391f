//===- UpperBounds.h - which tensors are maxima of others --------------------===//
//
// Proofs by structure: a maximum over an axis is at least each element along it,
// and stays so when both are reshaped, transposed or broadcast in step.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_LOWER_UPPERBOUNDS_H
#define NIBBLE_PASSES_LOWER_UPPERBOUNDS_H

#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"

namespace nibble {

enum class Compared { Value, Magnitude };

/// Whether, at every index of an elementwise operation on `bound` and `value` (axes of extent 1 are broadcast),
/// the bound is proven to be at least the value, or its magnitude. `moves` are reshapes, transposes and tiles, the
/// last first, through which the bound goes before it meets the value.
///
/// The walk from the bound goes through reduce_max, trees of maximum over slices of one axis, maximum with anything,
/// reshape, transpose, tile, abs, and rescale and clamp where the value has gone through the same; the walk from the
/// value through reshape, transpose, rescale and clamp; through edges of nn.block and identity everywhere. What is not
/// recognized is not proven.
bool isUpperBound(mlir::Value bound, llvm::ArrayRef<mlir::Operation *> moves, mlir::Value value, Compared compared);

} // namespace nibble

#endif

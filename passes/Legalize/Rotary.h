//===- Rotary.h - rotary position embedding in plain operators -------------===//
#ifndef NIBBLE_PASSES_LEGALIZE_ROTARY_H
#define NIBBLE_PASSES_LEGALIZE_ROTARY_H

#include "passes/Rewriting.h"

namespace nibble {

/// Tables of factors for whole heads, made from the caches [positions, width / 2]:
/// rotated = x * cosine + swapped(x) * sine, where `swapped` exchanges the two halves of the last axis
/// (or neighbours, if interleaved) and the sign of the first partner is inside `sine`.
struct RotaryTables {
  /// float32 [positions, width].
  Tensor cosine, sine;
  int64_t width = 0;
  bool isInterleaved = false;
};

/// Fails without a diagnostic where the caches are not constant float32 of one shape.
llvm::FailureOr<RotaryTables> makeRotaryTables(mlir::Value cosCache, mlir::Value sinCache, bool isInterleaved);

/// The rows of `table` [positions, width] at `positions` (constant or computed integers), under the shape
/// `shape`, whose element count is that of positions times width. Fails where a constant position has
/// no row.
llvm::FailureOr<mlir::Value> lookUpRows(mlir::OpBuilder &builder, mlir::Operation *op, llvm::StringRef suffix,
                                        const Tensor &table, mlir::Value positions, llvm::ArrayRef<int64_t> shape);

/// Rotates the first `tables.width` entries of the last axis of the rank-4 `input`; the rest is kept.
/// `cosine` and `sine` broadcast to it. New values are named "<op>/<suffix>/...".
mlir::Value rotate(mlir::OpBuilder &builder, mlir::Operation *op, llvm::StringRef suffix, mlir::Value input,
                   mlir::Value cosine, mlir::Value sine, const RotaryTables &tables);

} // namespace nibble

#endif

//===- Stages.h - which equalizations an edge has seen -----------------------===//
//
// Every pass of this folder marks the operations whose input it scaled or rotated with its name, in the array attribute
// `nn.equalized`. Some stages undo each other on one edge, which is an error that names both.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_EQUALIZE_STAGES_H
#define NIBBLE_PASSES_EQUALIZE_STAGES_H

#include "mlir/IR/Operation.h"

namespace nibble {

inline constexpr llvm::StringLiteral equalizedAttribute = "nn.equalized";

enum class EqualizationStage { FoldNormScales, SmoothActivations, CrossLayerEqualization, RotateResidual };

/// Whether the input of `reader` went through `stage`.
bool hasStage(mlir::Operation *reader, EqualizationStage stage);

/// Fails, with an error at `reader`, where its input went through a stage that `stage` would undo, or which leaves
/// nothing for it to do.
llvm::LogicalResult checkStage(mlir::Operation *reader, EqualizationStage stage);

/// Adds `stage` to the stages that the input of `reader` went through.
void markStage(mlir::Operation *reader, EqualizationStage stage);

/// Fails, with an error, where the program inside `function` already has quantizers.
llvm::LogicalResult checkIsFloatProgram(mlir::Operation *function, EqualizationStage stage);

/// Gives the nn.block around `op`, if there is one, the hash of its changed structure.
void updateStructuralHash(mlir::Operation *op);

} // namespace nibble

#endif

//===- Elementwise.h - groups of elementwise operations --------------------===//
#ifndef NIBBLE_RUNTIME_INTEGER_ELEMENTWISE_H
#define NIBBLE_RUNTIME_INTEGER_ELEMENTWISE_H

#include "lib/Runtime/Float/StepProgram.h"
#include "lib/Runtime/Integer/TileProgram.h"

namespace nibble::runtime {

/// Whether `op` computes every element of its result from elements at the same place.
bool isElementwise(mlir::Operation *op);

/// The program of `members`, in order. `values[i]` is operand i of `spec`; operands that are parameters, like
/// the multiplier of a rescaling, have to be constants in `spec`. The program's inputs are the operands, its
/// outputs the `results`. Errors: Unsupported for element types without a meaning in integer programs,
/// BadInput for parameters out of range.
llvm::Expected<TileProgram> buildTileProgram(llvm::ArrayRef<mlir::Operation *> members,
                                             llvm::ArrayRef<mlir::Value> values, llvm::ArrayRef<mlir::Value> results,
                                             const NodeSpec &spec);

/// The kernel that runs `program` over all elements of its results.
Kernel makeTileKernel(TileProgram program);
/// The kernel of one operation.
llvm::Expected<Kernel> makeElementwise(const NodeSpec &spec);

/// Groups the elementwise operations of `block`, and takes a matrix product or convolution into the group that
/// alone reads its result.
StepPlan planElementwise(mlir::Block &block, llvm::function_ref<bool(mlir::Value)> isObserved);

} // namespace nibble::runtime

#endif

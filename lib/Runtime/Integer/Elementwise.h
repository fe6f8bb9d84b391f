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

/// Type and shape of a value; false where an integer program has no such values.
bool describeValue(mlir::Value value, ValueSpec &spec);

/// Makes steps of maxima of slices that reduce an axis to its largest element.
void planMaxima(mlir::Block &block, llvm::function_ref<bool(mlir::Value)> isObserved, StepPlan &plan);
/// Bytes that a rescaling by one brings to 32 bits, less their zero point.
struct WidenedBytes {
  mlir::Value source;
  int64_t zero;
};
/// What `value` widens; empty where it is something else.
std::optional<WidenedBytes> findWidenedBytes(mlir::Value value);

/// Makes steps of sums of widened bytes, and of sums of their squares, that read the bytes.
void planMoments(mlir::Block &block, llvm::function_ref<bool(mlir::Value)> isObserved, StepPlan &plan);
/// Groups the elementwise operations of `block` that `plan` does not hold yet, and takes a matrix product or
/// convolution into the group that alone reads its result.
void planElementwise(mlir::Block &block, llvm::function_ref<bool(mlir::Value)> isObserved, StepPlan &plan);

} // namespace nibble::runtime

#endif

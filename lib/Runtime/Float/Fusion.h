//===- Fusion.h - operations that one step computes ------------------------===//
//
// A matrix product reads transposed operands where they are, takes a scalar factor
// along and writes a transposed result in place; one with constant weights takes the
// bias along; two products with a softmax between them become one step. Only values that nobody else reads or observes
// disappear.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_FUSION_H
#define NIBBLE_RUNTIME_FLOAT_FUSION_H

#include "lib/Runtime/Float/StepProgram.h"
#include "mlir/IR/Block.h"

namespace nibble::runtime {

struct FusedNode {
  enum class Kind { MatMul, Attention } kind = Kind::MatMul;
  /// Null for an absent mask. Operands may be read through strides.
  llvm::SmallVector<mlir::Value, 4> operands;
  /// Types and strides of operands and of the result as the kernel sees them.
  NodeSpec spec;
  /// The value that the step makes.
  mlir::Value result;
};

class FusionPlan {
public:
  /// `isObserved` says which values must be computed as they are.
  FusionPlan(mlir::Block &block, llvm::function_ref<bool(mlir::Value)> isObserved);

  /// The steps. Call once.
  StepPlan takeSteps();

private:
  bool canVanish(mlir::Value value, llvm::function_ref<bool(mlir::Value)> isObserved) const;
  llvm::DenseMap<mlir::Operation *, FusedNode> nodes;
  llvm::DenseSet<mlir::Operation *> absorbed;
};

} // namespace nibble::runtime

#endif

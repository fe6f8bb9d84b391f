//===- StepProgram.h - functions as steps over planned buffers -------------===//
//
// What the float and the integer runtime have in common: a function becomes a list of
// kernels over buffers that values with disjoint lifetimes share. The rules say what
// differs: which operations are constants, which are computed together, by which kernels.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_STEPPROGRAM_H
#define NIBBLE_RUNTIME_FLOAT_STEPPROGRAM_H

#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Runtime/Float/Kernel.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace nibble::runtime {

/// A step that computes several operations.
struct FusedStep {
  /// Types and strides as the kernel sees them. Constant operands are filled in before `make` is called.
  NodeSpec spec;
  /// Null for an absent operand.
  llvm::SmallVector<mlir::Value, 4> operands;
  llvm::SmallVector<mlir::Value, 2> results;
  std::function<llvm::Expected<Kernel>(const NodeSpec &)> make;
};

/// Which operations of a block are computed together.
struct StepPlan {
  /// By the operation in whose place the step stands, the last of those that it computes.
  llvm::DenseMap<mlir::Operation *, FusedStep> steps;
  /// The other operations that the steps compute.
  llvm::DenseSet<mlir::Operation *> absorbed;
};

class ProgramRules {
public:
  virtual ~ProgramRules() = default;
  /// The value of a constant operation, and an empty tensor for other operations.
  virtual llvm::Expected<Tensor> readConstant(mlir::Operation *op) const = 0;
  /// `isObserved` says which values must be computed as they are.
  virtual StepPlan planSteps(mlir::Block &block, llvm::function_ref<bool(mlir::Value)> isObserved) const = 0;
  /// Errors: Unsupported where no kernel takes the operation or its types.
  virtual llvm::Expected<Kernel> makeKernel(const NodeSpec &spec) const = 0;
};

/// The program of `body`. Errors are those of Program::create.
llvm::Expected<std::unique_ptr<Program>> createProgram(mlir::Block &body, mlir::Operation *symbolScope,
                                                       ExecutionObserver *observer, const ProgramRules &rules);
/// The program of a function with one block.
llvm::Expected<std::unique_ptr<Program>> createProgram(mlir::func::FuncOp function, ExecutionObserver *observer,
                                                       const ProgramRules &rules);

} // namespace nibble::runtime

#endif

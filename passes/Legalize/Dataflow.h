//===- Dataflow.h - where values come from, across blocks ------------------===//
#ifndef NIBBLE_PASSES_LEGALIZE_DATAFLOW_H
#define NIBBLE_PASSES_LEGALIZE_DATAFLOW_H

#include "lib/Dialect/NN/NNDialect.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace nibble {

/// Calls `visit(use, constant)` for every use of a float constant that reaches the input of `softmax`
/// by sums, products, choices and data movement, also across blocks. Computed scores end the search.
void visitScoreConstants(nn::SoftmaxOp softmax,
                         llvm::function_ref<void(mlir::OpOperand &use, mlir::Value constant)> visit);

} // namespace nibble

#endif

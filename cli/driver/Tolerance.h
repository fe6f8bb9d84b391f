//===- Tolerance.h - how far a target's errors move a block's outputs ------===//
#ifndef NIBBLE_CLI_DRIVER_TOLERANCE_H
#define NIBBLE_CLI_DRIVER_TOLERANCE_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Support/Tensor.h"
#include "lib/Target/Target.h"

namespace nibble::driver {

/// The deviation from `reference` that the outputs of `block` may show, in quanta of `outputScales`. Every
/// rounded value inside is moved by what the target's data states for the operation that computes it: up, down
/// and at random; an output may move as far as the furthest of the three. How a block amplifies errors depends
/// on its values (a norm of a group that is small against its grid amplifies a lot), which no rule over operators
/// would know. Errors: those of the float runtime, and of quantizers that cannot be read.
llvm::Expected<std::vector<ErrorBound>> measureTolerance(nn::BlockOp block, mlir::Operation *symbolScope,
                                                         const Target &target, llvm::ArrayRef<Tensor> inputs,
                                                         llvm::ArrayRef<Tensor> reference,
                                                         llvm::ArrayRef<double> outputScales);

} // namespace nibble::driver

#endif

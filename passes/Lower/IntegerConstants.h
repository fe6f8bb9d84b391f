//===- IntegerConstants.h - constants of an integer program ------------------===//
#ifndef NIBBLE_PASSES_LOWER_INTEGERCONSTANTS_H
#define NIBBLE_PASSES_LOWER_INTEGERCONSTANTS_H

#include "lib/Support/Tensor.h"
#include "mlir/IR/Value.h"
#include <optional>

namespace nibble {

/// The value that `value` is, unchanged: through edges of nn.block and tosa.identity.
mlir::Value resolveMoved(mlir::Value value);

/// The elements of `value` where it is an integer nn.constant or tosa.const, also behind tosa.reshape. i48 is I64,
/// i1 is Bool, i4 stays packed; large constants are views of the stored bytes. An empty tensor where it is no
/// such constant, or one whose bytes cannot be read.
Tensor readIntegers(mlir::Value value);

/// The numbers of a tosa.const_shape; nothing where `value` is none.
std::optional<llvm::SmallVector<int64_t>> readConstantShape(mlir::Value value);

} // namespace nibble

#endif

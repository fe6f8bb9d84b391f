//===- WidenOperators.h - 16 bits around an operator -----------------------===//
#ifndef NIBBLE_PASSES_LEGALIZE_WIDENOPERATORS_H
#define NIBBLE_PASSES_LEGALIZE_WIDENOPERATORS_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Quant/Encoding.h"
#include "mlir/IR/BuiltinOps.h"

namespace nibble {

/// As in a target's `rewrites:`.
inline constexpr llvm::StringLiteral widenOperatorsName = "widen-operators";

/// Rounds the result of `op`, which a fake_quant reads, with a new quantizer of `wide` encoding before that.
mlir::LogicalResult widenResult(mlir::ModuleOp module, mlir::Operation *op, const quant::Encoding &wide);

} // namespace nibble

#endif

//===- Blocks.h - values across the edges of nn.block ----------------------===//
#ifndef NIBBLE_DIALECT_NN_BLOCKS_H
#define NIBBLE_DIALECT_NN_BLOCKS_H

#include "mlir/IR/Value.h"

namespace nibble::nn {

/// The value that `value` stands for, as edges of nn.block only pass values on: the operand for a block's
/// argument, the yielded value for a block's result, as often as there are edges. The result of an operation
/// that is no block, or an argument of the function; this is the value that execution shows to observers.
mlir::Value resolveThroughBlocks(mlir::Value value);

} // namespace nibble::nn

#endif

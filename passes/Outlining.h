//===- Outlining.h - moving operations into nn.block -------------------------===//
#ifndef NIBBLE_PASSES_OUTLINING_H
#define NIBBLE_PASSES_OUTLINING_H

#include "lib/Dialect/NN/NNDialect.h"
#include <string>

namespace nibble {

/// Operations of one block in program order, and its name.
struct Segment {
  std::string name;
  llvm::SmallVector<mlir::Operation *> operations;
};

/// Whether every block gets its own copy of `op`, as of constants: a value that depends on nothing.
bool isCopiedIntoBlocks(mlir::Operation *op);

/// Moves the operations of `segment`, which nothing that they lead to leads back to, into a block where the last of
/// them stands. Constants that they use are copied. The block has no structural hash.
nn::BlockOp outline(const Segment &segment);

/// Erases what blocks have copies of and nobody else uses.
void eraseUnusedCopies(mlir::Block &body);

} // namespace nibble

#endif

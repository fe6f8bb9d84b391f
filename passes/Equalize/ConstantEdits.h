//===- ConstantEdits.h - new values for constant operands -------------------===//
#ifndef NIBBLE_PASSES_EQUALIZE_CONSTANTEDITS_H
#define NIBBLE_PASSES_EQUALIZE_CONSTANTEDITS_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Support/Tensor.h"

#include "llvm/ADT/MapVector.h"
#include <functional>

namespace nibble {

/// Edits of float32 constants, each for one operand that reads it: other readers of a constant keep the old values.
/// Nothing changes, and no weight is held in memory, until `commit`.
class ConstantEdits {
public:
  using Edit = std::function<void(Tensor &)>;

  /// `edit` gets a copy that it may write to or replace by a tensor that broadcasts like it.
  void add(mlir::OpOperand &use, Edit edit);

  /// What `use` reads with all edits so far; must not be written. Fails with an error where it cannot be read.
  llvm::FailureOr<Tensor> current(mlir::OpOperand &use) const;

  /// Applies all edits in the order of their operands' first ones. A constant whose last reader is edited keeps its
  /// names; a copy of it is named after the node that reads it.
  llvm::LogicalResult commit();

private:
  /// Not by OpOperand, which moves when an operation gets more operands.
  using Key = std::pair<mlir::Operation *, unsigned>;
  llvm::MapVector<Key, llvm::SmallVector<Edit>> edits;
};

} // namespace nibble

#endif

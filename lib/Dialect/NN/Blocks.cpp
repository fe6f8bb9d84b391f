#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/NNDialect.h"

using namespace mlir;

namespace nibble::nn {

Value resolveThroughBlocks(Value value) {
  while (true) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      auto block = dyn_cast_or_null<BlockOp>(argument.getOwner()->getParentOp());
      if (!block)
        return value;
      value = block.getInputs()[argument.getArgNumber()];
    } else if (auto block = value.getDefiningOp<BlockOp>()) {
      value = block.getBody().front().getTerminator()->getOperand(cast<OpResult>(value).getResultNumber());
    } else {
      return value;
    }
  }
}

} // namespace nibble::nn

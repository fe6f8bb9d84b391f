#include "passes/Legalize/Dataflow.h"

#include "llvm/ADT/SetVector.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace nibble {

Value lookThroughBlocks(Value value) {
  while (true) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      auto block = dyn_cast_or_null<nn::BlockOp>(argument.getOwner()->getParentOp());
      if (!block)
        return value;
      value = block.getInputs()[argument.getArgNumber()];
    } else if (auto block = value.getDefiningOp<nn::BlockOp>()) {
      value = block.getBody().front().getTerminator()->getOperand(cast<OpResult>(value).getResultNumber());
    } else {
      return value;
    }
  }
}

void visitScoreConstants(nn::SoftmaxOp softmax, llvm::function_ref<void(OpOperand &, Value)> visit) {
  llvm::SetVector<OpOperand *> uses;
  uses.insert(&softmax.getInputMutable());
  for (size_t next = 0; next < uses.size(); ++next) {
    OpOperand &use = *uses[next];
    if (!isa<FloatType>(getElementTypeOrSelf(use.get().getType())))
      continue;
    Value value = lookThroughBlocks(use.get());
    Operation *op = value.getDefiningOp();
    if (isa_and_nonnull<nn::ConstantOp>(op)) {
      visit(use, value);
    } else if (isa_and_nonnull<nn::AddOp, nn::SubOp, nn::MulOp, nn::WhereOp, nn::ReshapeOp, nn::TransposeOp,
                               nn::ExpandOp, nn::SliceOp, nn::GatherOp, nn::ConcatOp, nn::CastOp, nn::MaxOp, nn::MinOp,
                               nn::ClipOp, nn::TileOp, nn::TriluOp, nn::IdentityOp>(op)) {
      for (OpOperand &operand : op->getOpOperands())
        uses.insert(&operand);
    }
  }
}

} // namespace nibble

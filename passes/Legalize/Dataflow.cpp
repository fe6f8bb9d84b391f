#include "passes/Legalize/Dataflow.h"
#include "lib/Dialect/NN/Blocks.h"

#include "llvm/ADT/SetVector.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace nibble {

void visitScoreConstants(nn::SoftmaxOp softmax, llvm::function_ref<void(OpOperand &, Value)> visit) {
  llvm::SetVector<OpOperand *> uses;
  uses.insert(&softmax.getInputMutable());
  for (size_t next = 0; next < uses.size(); ++next) {
    OpOperand &use = *uses[next];
    if (!isa<FloatType>(getElementTypeOrSelf(use.get().getType())))
      continue;
    Value value = nn::resolveThroughBlocks(use.get());
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

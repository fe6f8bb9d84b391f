//===- PruneBlocks.cpp - removes what blocks no longer need ----------------===//
//
// A block's operands and results were all live when it was made. Rewrites inside
// of blocks change that: attention without a past no longer reads the lengths
// that an earlier block computes.
//
//===----------------------------------------------------------------------===//
#include "passes/Normalize/BlockStructure.h"
#include "passes/Passes.h"
#include "passes/Rewriting.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_PRUNEBLOCKSPASS
#include "passes/Passes.h.inc"

namespace {

/// Users of a result that is an operand take the operand.
void forwardOperands(nn::BlockOp block) {
  Operation *yield = block.getBody().front().getTerminator();
  for (auto [result, yielded] : llvm::zip_equal(block.getOutputs(), yield->getOperands()))
    if (auto argument = dyn_cast<BlockArgument>(yielded))
      result.replaceAllUsesWith(block.getInputs()[argument.getArgNumber()]);
}

/// The block without its unused results; `block` itself where it has none.
nn::BlockOp dropResults(nn::BlockOp block) {
  SmallVector<Value> kept, yielded;
  Operation *yield = block.getBody().front().getTerminator();
  for (auto [result, value] : llvm::zip_equal(block.getOutputs(), yield->getOperands()))
    if (!result.use_empty()) {
      kept.push_back(result);
      yielded.push_back(value);
    }
  if (kept.size() == block.getOutputs().size())
    return block;
  yield->setOperands(yielded);
  OpBuilder builder(block);
  auto pruned = nn::BlockOp::create(builder, block.getLoc(), TypeRange(ValueRange(kept)), block.getSymName(),
                                    block.getInputs(), block.getStructuralHashAttr());
  pruned.getBody().takeBody(block.getBody());
  for (auto [before, after] : llvm::zip_equal(kept, pruned.getOutputs()))
    before.replaceAllUsesWith(after);
  block.erase();
  return pruned;
}

void dropOperands(nn::BlockOp block) {
  Block &body = block.getBody().front();
  for (unsigned index = body.getNumArguments(); index-- > 0;)
    if (body.getArgument(index).use_empty()) {
      body.eraseArgument(index);
      block.getInputsMutable().erase(index);
    }
}

void eraseDeadOperations(Block &body) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

struct PruneBlocks : impl::PruneBlocksPassBase<PruneBlocks> {
  void runOnOperation() override {
    // Users come after what they use, so one sweep from the end finds all that is dead.
    Block &body = getOperation().getBody().front();
    SmallVector<nn::BlockOp> blocks(body.getOps<nn::BlockOp>());
    for (nn::BlockOp block : blocks)
      forwardOperands(block);
    for (nn::BlockOp block : llvm::reverse(blocks)) {
      if (block->use_empty()) {
        block.erase();
        ++numErased;
        continue;
      }
      block = dropResults(block);
      eraseDeadOperations(block.getBody().front());
      dropOperands(block);
      block.setStructuralHash(hashBlockStructure(block.getBody().front()));
    }
    eraseDeadOperations(body);
  }
};

} // namespace
} // namespace nibble

#include "passes/Outlining.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace nibble {

bool isCopiedIntoBlocks(Operation *op) {
  return op->getNumOperands() == 0 && op->getNumRegions() == 0 && op->getNumResults() == 1 && isMemoryEffectFree(op);
}

/// Values that `segment` uses and does not compute, in the order of first use; constants excepted.
static llvm::SetVector<Value> findInputs(const Segment &segment, const llvm::DenseSet<Operation *> &members) {
  llvm::SetVector<Value> inputs;
  for (Operation *op : segment.operations)
    for (Value operand : op->getOperands())
      if (Operation *producer = operand.getDefiningOp();
          !producer || (!members.contains(producer) && !isCopiedIntoBlocks(producer)))
        inputs.insert(operand);
  return inputs;
}

nn::BlockOp outline(const Segment &segment) {
  llvm::DenseSet<Operation *> members(segment.operations.begin(), segment.operations.end());
  llvm::SetVector<Value> inputs = findInputs(segment, members);
  SmallVector<Value> outputs;
  for (Operation *op : segment.operations)
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) { return !members.contains(user); }))
        outputs.push_back(result);

  Operation *last = segment.operations.back();
  OpBuilder builder(last->getContext());
  builder.setInsertionPointAfter(last);
  auto location = NameLoc::get(builder.getStringAttr(segment.name));
  auto block = nn::BlockOp::create(builder, location, TypeRange(ValueRange(outputs)), segment.name,
                                   inputs.getArrayRef(), StringAttr());
  Block &body = block.getBody().emplaceBlock();
  for (Value input : inputs)
    body.addArgument(input.getType(), input.getLoc());
  builder.setInsertionPointToStart(&body);
  llvm::MapVector<Operation *, Operation *> constants;
  for (Operation *op : segment.operations) {
    for (OpOperand &operand : op->getOpOperands()) {
      Operation *producer = operand.get().getDefiningOp();
      if (producer && members.contains(producer))
        continue;
      if (producer && isCopiedIntoBlocks(producer)) {
        Operation *&copy = constants[producer];
        if (!copy)
          copy = builder.clone(*producer);
        operand.set(copy->getResult(0));
        continue;
      }
      auto position = std::distance(inputs.begin(), llvm::find(inputs, operand.get()));
      operand.set(body.getArgument(static_cast<unsigned>(position)));
    }
    op->remove();
    body.push_back(op);
  }
  for (auto [output, result] : llvm::zip_equal(outputs, block.getOutputs()))
    output.replaceUsesWithIf(result, [&](OpOperand &use) { return use.getOwner()->getBlock() != &body; });
  builder.setInsertionPointToEnd(&body);
  nn::YieldOp::create(builder, location, outputs);
  return block;
}

void eraseUnusedCopies(Block &body) {
  for (Operation &op : llvm::make_early_inc_range(body.without_terminator()))
    if (isCopiedIntoBlocks(&op) && op.use_empty())
      op.erase();
}

} // namespace nibble

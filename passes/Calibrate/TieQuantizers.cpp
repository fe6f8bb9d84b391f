//===- TieQuantizers.cpp - one grid for values that end up on one grid --------===//
//
// A concat rounds its operands to the grid of its result. An operand that nothing else reads would be
// rounded twice, first to its own grid, so it takes the quantizer of the result at once; an operand with
// other readers keeps its own, finer grid. A cache that an attention appends rows to is such an operand.
// Interpolation stays between the values that it interpolates, so a linear resize keeps the quantizer of its
// input. Both leave integers where they are on targets that move data without rescaling it.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Calibrate/QuantizerUses.h"
#include "passes/Passes.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_TIEQUANTIZERSPASS
#include "passes/Passes.h.inc"

namespace {

class Tier {
public:
  explicit Tier(QuantizerUses uses) : uses(std::move(uses)) {}

  void tieConcat(nn::ConcatOp concat) {
    for (Value operand : concat.getInputs())
      tieOperand(operand, concat.getResult(), concat);
  }

  /// The rows of a cache that come in leave with the new ones.
  void tieCaches(nn::GroupQueryAttentionOp attention) {
    for (auto [past, present] : {std::pair(attention.getPastKey(), attention.getPresentKey()),
                                 std::pair(attention.getPastValue(), attention.getPresentValue())})
      if (past && present)
        tieOperand(past, present, attention);
  }

  void tieResize(nn::ResizeOp resize) {
    QuantizerUse *result = findResult(resize.getResult()), *input = uses.find(resize.getInput());
    if (resize.getMode() == "linear" && result && input && result != input && input->isActivation())
      tie(*result, *input, resize);
  }

  unsigned numTied = 0;

private:
  /// Gives `operand` the quantizer of `result` where only `reader` reads it.
  void tieOperand(Value operand, Value result, Operation *reader) {
    QuantizerUse *own = uses.find(operand), *joined = findResult(result);
    if (own && joined && own != joined && own->isActivation() && !own->quantizer.getFixed() && feedsOnly(*own, reader))
      tie(*own, *joined, reader);
  }

  QuantizerUse *findResult(Value result) {
    nn::FakeQuantOp rounding = nn::roundingOf(result);
    return rounding ? uses.find(rounding.getResult()) : nullptr;
  }

  /// True where every reader of the quantizer's values is `reader` or moves them on to where that holds.
  bool feedsOnly(QuantizerUse &use, Operation *reader) {
    return llvm::all_of(use.fakeQuants, [&](nn::FakeQuantOp op) { return readersAre(op.getResult(), use, reader); });
  }
  bool readersAre(Value value, QuantizerUse &use, Operation *reader) {
    return llvm::all_of(value.getUses(), [&](OpOperand &operand) {
      Operation *op = operand.getOwner();
      if (op == reader)
        return true;
      if (auto block = dyn_cast<nn::BlockOp>(op))
        return readersAre(block.getBody().getArgument(operand.getOperandNumber()), use, reader);
      if (isa<nn::YieldOp>(op))
        return readersAre(op->getParentOp()->getResult(operand.getOperandNumber()), use, reader);
      // What is moved has a fake_quant of the same quantizer, whose readers are looked at in their turn.
      return op->getNumResults() > 0 && llvm::all_of(op->getResults(), [&](OpResult result) {
        return result.use_empty() || (getMovedOperand(result) && findResult(result) == &use);
      });
    });
  }

  /// Lets the fake_quants of `from` name the quantizer of `to`.
  void tie(QuantizerUse &from, QuantizerUse &to, Operation *reason) {
    reason->emitRemark("node '") << nn::nodeName(reason) << "': tensors '" << from.quantizer.getTensor().value_or("")
                                 << "' and '" << to.quantizer.getTensor().value_or("") << "' share one quantizer";
    auto symbol = FlatSymbolRefAttr::get(to.quantizer.getSymNameAttr());
    size_t index = static_cast<size_t>(&to - uses.list.data());
    uses.indexOf[from.quantizer.getSymNameAttr()] = index;
    for (nn::FakeQuantOp op : from.fakeQuants) {
      op.setQuantizerAttr(symbol);
      to.fakeQuants.push_back(op);
    }
    from.fakeQuants.clear();
    from.quantizer.erase();
    ++numTied;
  }

  QuantizerUses uses;
};

struct TieQuantizers : impl::TieQuantizersPassBase<TieQuantizers> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<QuantizerUses> uses = QuantizerUses::collect(module);
    if (failed(uses))
      return signalPassFailure();
    Tier tier(std::move(*uses));
    module.walk<WalkOrder::PreOrder>([&](nn::ResizeOp op) { tier.tieResize(op); });
    module.walk<WalkOrder::PreOrder>([&](nn::GroupQueryAttentionOp op) { tier.tieCaches(op); });
    // From the end, so that a concat of concats takes the quantizer of the last.
    SmallVector<nn::ConcatOp> concats;
    module.walk<WalkOrder::PreOrder>([&](nn::ConcatOp op) { concats.push_back(op); });
    for (nn::ConcatOp op : llvm::reverse(concats))
      tier.tieConcat(op);
    numTied += tier.numTied;
  }
};

} // namespace
} // namespace nibble

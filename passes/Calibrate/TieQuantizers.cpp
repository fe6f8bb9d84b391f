//===- TieQuantizers.cpp - one grid for values that end up on one grid --------===//
//
// A concat rounds its operands to the grid of its result. An operand that nothing else reads would be
// rounded twice, first to its own grid, so it takes the quantizer of the result at once; an operand with
// other readers keeps its own, finer grid. Interpolation stays between the values that it
// interpolates, so a linear resize keeps the quantizer of its input. Both leave integers where they are
// on targets that move data without rescaling it.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "passes/Assign/QuantizerUses.h"
#include "passes/Calibrate/QuantizationRules.h"
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
    QuantizerUse *result = findResult(concat.getResult());
    if (!result)
      return;
    for (Value operand : concat.getInputs()) {
      QuantizerUse *own = uses.find(operand);
      if (own && own != result && own->isActivation() && !own->quantizer.getFixed() && feedsOnly(*own, concat))
        tie(*own, *result, concat);
    }
  }

  void tieResize(nn::ResizeOp resize) {
    QuantizerUse *result = findResult(resize.getResult()), *input = uses.find(resize.getInput());
    if (resize.getMode() == "linear" && result && input && result != input && input->isActivation())
      tie(*result, *input, resize);
  }

  unsigned numTied = 0;

private:
  QuantizerUse *findResult(Value result) {
    for (Operation *user : result.getUsers())
      if (auto fakeQuant = dyn_cast<nn::FakeQuantOp>(user))
        return uses.find(fakeQuant.getResult());
    return nullptr;
  }

  /// True where every reader of the quantizer's values is `concat` or moves them on to where that holds.
  bool feedsOnly(QuantizerUse &use, nn::ConcatOp concat) {
    return llvm::all_of(use.fakeQuants, [&](nn::FakeQuantOp op) { return readersAre(op.getResult(), use, concat); });
  }
  bool readersAre(Value value, QuantizerUse &use, nn::ConcatOp concat) {
    return llvm::all_of(value.getUses(), [&](OpOperand &reader) {
      Operation *op = reader.getOwner();
      if (op == concat)
        return true;
      if (auto block = dyn_cast<nn::BlockOp>(op))
        return readersAre(block.getBody().getArgument(reader.getOperandNumber()), use, concat);
      if (isa<nn::YieldOp>(op))
        return readersAre(op->getParentOp()->getResult(reader.getOperandNumber()), use, concat);
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

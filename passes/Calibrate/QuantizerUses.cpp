#include "passes/Calibrate/QuantizerUses.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Names.h"
#include "passes/Calibrate/QuantizationRules.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble {

SmallVector<Value, 2> QuantizerUse::computedValues() {
  SmallVector<Value, 2> values;
  for (nn::FakeQuantOp op : fakeQuants) {
    auto result = dyn_cast<OpResult>(op.getInput());
    if (!result || !getMovedOperand(result))
      values.push_back(op.getInput());
  }
  return values;
}

FailureOr<QuantizerUses> QuantizerUses::collect(ModuleOp module) {
  QuantizerUses uses;
  DenseMap<StringAttr, nn::QuantizerOp> bySymbol;
  for (nn::QuantizerOp quantizer : module.getOps<nn::QuantizerOp>())
    bySymbol[quantizer.getSymNameAttr()] = quantizer;
  WalkResult walked = module.walk<WalkOrder::PreOrder>([&](nn::FakeQuantOp op) {
    StringAttr symbol = op.getQuantizerAttr().getAttr();
    nn::QuantizerOp quantizer = bySymbol.lookup(symbol);
    if (!quantizer) {
      op.emitOpError("names quantizer @") << symbol.getValue() << ", which does not exist";
      return WalkResult::interrupt();
    }
    auto [entry, isNew] = uses.indexOf.try_emplace(symbol, uses.list.size());
    if (isNew)
      uses.list.push_back({quantizer, {}});
    uses.list[entry->second].fakeQuants.push_back(op);
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();
  for (QuantizerUse &use : uses.list) {
    std::optional<StringRef> tensor = use.quantizer.getTensor();
    auto named = llvm::find_if(use.fakeQuants, [&](nn::FakeQuantOp op) { return nn::tensorName(op.getInput()) == tensor; });
    if (tensor && named != use.fakeQuants.end())
      std::rotate(use.fakeQuants.begin(), named, std::next(named));
  }
  return uses;
}

QuantizerUse *QuantizerUses::find(Value value) {
  auto op = nn::resolveThroughBlocks(value).getDefiningOp<nn::FakeQuantOp>();
  if (!op)
    return nullptr;
  auto entry = indexOf.find(op.getQuantizerAttr().getAttr());
  return entry == indexOf.end() ? nullptr : &list[entry->second];
}

} // namespace nibble

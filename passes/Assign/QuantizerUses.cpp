#include "passes/Assign/QuantizerUses.h"
#include "lib/Dialect/NN/Blocks.h"

using namespace mlir;

namespace nibble {

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

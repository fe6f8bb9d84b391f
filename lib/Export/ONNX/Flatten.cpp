#include "lib/Export/ONNX/Flatten.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Support/Error.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace nibble::onnx_export {

func::FuncOp mainFunction(ModuleOp flat) { return flat.lookupSymbol<func::FuncOp>("main"); }

static OwningOpRef<ModuleOp> makeModuleWithQuantizers(ModuleOp source) {
  OwningOpRef<ModuleOp> module(ModuleOp::create(source.getLoc(), source.getName()));
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  for (auto quantizer : source.getOps<nn::QuantizerOp>())
    builder.clone(*quantizer);
  return module;
}

/// Replaces every nn.block in `function` by its body, nested ones too.
static void inlineBlocks(func::FuncOp function) {
  SmallVector<nn::BlockOp> blocks;
  function.walk<WalkOrder::PostOrder>([&](nn::BlockOp block) { blocks.push_back(block); });
  for (nn::BlockOp block : blocks) {
    Block &body = block.getBody().front();
    Operation *yield = body.getTerminator();
    for (auto [argument, operand] : llvm::zip_equal(body.getArguments(), block.getInputs()))
      argument.replaceAllUsesWith(operand);
    block->replaceAllUsesWith(yield->getOperands());
    yield->erase();
    block->getBlock()->getOperations().splice(block->getIterator(), body.getOperations());
    block->erase();
  }
}

llvm::Expected<OwningOpRef<ModuleOp>> flattenModule(ModuleOp module) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main || main.isExternal())
    return makeError(ErrorKind::BadInput, "the module has no function @main");
  OwningOpRef<ModuleOp> flat = makeModuleWithQuantizers(module);
  OpBuilder builder = OpBuilder::atBlockEnd(flat->getBody());
  inlineBlocks(cast<func::FuncOp>(builder.clone(*main)));
  return flat;
}

/// The quantizer that made `value`, looking through the edges of blocks; null where none did.
static FlatSymbolRefAttr producingQuantizer(Value value) {
  auto quantize = nn::resolveThroughBlocks(value).getDefiningOp<nn::FakeQuantOp>();
  return quantize ? quantize.getQuantizerAttr() : FlatSymbolRefAttr();
}

/// Adds the quantizers of all readers of `value`, looking through the edges of blocks. Returns false where a
/// reader is not a quantizer.
static bool collectReadingQuantizers(Value value, SmallVectorImpl<FlatSymbolRefAttr> &symbols) {
  for (OpOperand &use : value.getUses()) {
    Operation *reader = use.getOwner();
    if (auto quantize = dyn_cast<nn::FakeQuantOp>(reader)) {
      if (!llvm::is_contained(symbols, quantize.getQuantizerAttr()))
        symbols.push_back(quantize.getQuantizerAttr());
      continue;
    }
    Value next;
    if (auto block = dyn_cast<nn::BlockOp>(reader))
      next = block.getBody().getArgument(use.getOperandNumber());
    else if (isa<nn::YieldOp>(reader))
      next = reader->getParentOp()->getResult(use.getOperandNumber());
    if (!next || !collectReadingQuantizers(next, symbols))
      return false;
  }
  return true;
}

/// The one quantizer through which all readers of a block's result see it; null where it is already rounded.
static FlatSymbolRefAttr readingQuantizer(Value result) {
  SmallVector<FlatSymbolRefAttr> symbols;
  if (producingQuantizer(result) || !collectReadingQuantizers(result, symbols) || symbols.size() != 1)
    return {};
  return symbols.front();
}

OwningOpRef<ModuleOp> flattenBlock(nn::BlockOp block, ModuleOp symbolScope, bool quantizeEdges) {
  OwningOpRef<ModuleOp> flat = makeModuleWithQuantizers(symbolScope);
  OpBuilder builder = OpBuilder::atBlockEnd(flat->getBody());
  auto type = builder.getFunctionType(block.getInputs().getTypes(), block.getOutputs().getTypes());
  auto function = func::FuncOp::create(builder, block.getLoc(), "main", type);
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  auto quantize = [&](Value value, FlatSymbolRefAttr symbol, llvm::StringRef name) -> Value {
    if (!symbol)
      return value;
    Location location = nn::makeLocation(builder.getContext(), name, {name});
    return nn::FakeQuantOp::create(builder, location, value.getType(), value, symbol);
  };
  IRMapping mapping;
  Block &body = block.getBody().front();
  for (auto [index, operand] : llvm::enumerate(block.getInputs())) {
    std::string name = nn::tensorName(operand);
    function.setArgAttr(index, nn::nameAttribute, builder.getStringAttr(name));
    FlatSymbolRefAttr symbol = quantizeEdges ? producingQuantizer(operand) : FlatSymbolRefAttr();
    mapping.map(body.getArgument(index), quantize(entry->getArgument(index), symbol, name));
  }
  for (Operation &op : body.without_terminator())
    builder.clone(op, mapping);
  SmallVector<Value> results;
  for (auto [index, value] : llvm::enumerate(body.getTerminator()->getOperands())) {
    Value result = block.getResult(index);
    std::string name = nn::tensorName(result);
    function.setResultAttr(index, nn::nameAttribute, builder.getStringAttr(name));
    FlatSymbolRefAttr symbol = quantizeEdges ? readingQuantizer(result) : FlatSymbolRefAttr();
    results.push_back(quantize(mapping.lookupOrDefault(value), symbol, name));
  }
  func::ReturnOp::create(builder, block.getLoc(), results);
  inlineBlocks(function);
  return flat;
}

} // namespace nibble::onnx_export

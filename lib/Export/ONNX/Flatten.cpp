#include "lib/Export/ONNX/Flatten.h"
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

OwningOpRef<ModuleOp> flattenBlock(nn::BlockOp block, ModuleOp symbolScope) {
  OwningOpRef<ModuleOp> flat = makeModuleWithQuantizers(symbolScope);
  OpBuilder builder = OpBuilder::atBlockEnd(flat->getBody());
  auto type = builder.getFunctionType(block.getInputs().getTypes(), block.getOutputs().getTypes());
  auto function = func::FuncOp::create(builder, block.getLoc(), "main", type);
  Block *entry = function.addEntryBlock();
  IRMapping mapping;
  Block &body = block.getBody().front();
  for (auto [index, operand] : llvm::enumerate(block.getInputs())) {
    function.setArgAttr(index, nn::nameAttribute, builder.getStringAttr(nn::tensorName(operand)));
    mapping.map(body.getArgument(index), entry->getArgument(index));
  }
  for (auto [index, result] : llvm::enumerate(block.getOutputs()))
    function.setResultAttr(index, nn::nameAttribute, builder.getStringAttr(nn::tensorName(result)));
  builder.setInsertionPointToEnd(entry);
  for (Operation &op : body.without_terminator())
    builder.clone(op, mapping);
  SmallVector<Value> results;
  for (Value value : body.getTerminator()->getOperands())
    results.push_back(mapping.lookupOrDefault(value));
  func::ReturnOp::create(builder, block.getLoc(), results);
  inlineBlocks(function);
  return flat;
}

} // namespace nibble::onnx_export

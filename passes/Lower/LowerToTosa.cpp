//===- LowerToTosa.cpp - the integer program of a quantized model ------------===//
//
// Replaces the function of a quantized program by one of TOSA integers. Blocks keep their names and order. Graph
// inputs and outputs are stored on the grid of their first quantizer, which an attribute names; numbers (indices)
// are i32, conditions i1.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Lower/Lowering.h"
#include "passes/Passes.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_LOWERTOTOSAPASS
#include "passes/Passes.h.inc"

namespace {

/// The quantizer that rounds an argument first, looking into blocks; null where none does.
nn::QuantizerOp findInputQuantizer(ModuleOp module, Value argument) {
  for (OpOperand &use : argument.getUses()) {
    if (auto rounding = dyn_cast<nn::FakeQuantOp>(use.getOwner()))
      return nn::lookupQuantizer(module, rounding.getQuantizerAttr());
    if (auto block = dyn_cast<nn::BlockOp>(use.getOwner()))
      if (nn::QuantizerOp found = findInputQuantizer(module, block.getBody().getArgument(use.getOperandNumber())))
        return found;
  }
  return {};
}

struct LowerToTosa : impl::LowerToTosaPassBase<LowerToTosa> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto source = module.lookupSymbol<func::FuncOp>("main");
    if (!source) {
      module.emitError("there is no function 'main' to lower");
      return signalPassFailure();
    }
    if (failed(lower(module, source)))
      return signalPassFailure();
    module.walk([&](Operation *op) { numOperators += isa<tosa::TosaDialect>(op->getDialect()); });
  }

private:
  LogicalResult lower(ModuleOp module, func::FuncOp source) {
    OpBuilder at(source);
    IntervalAnalysis intervals;
    TosaBuilder b(source.getLoc(), at, intervals);
    Lowering lowering(module, b);
    auto body = std::make_unique<Block>();
    b.setInsertionPointToStart(body.get());
    SmallVector<Type> inputs, outputs;
    SmallVector<DictionaryAttr> inputAttributes, outputAttributes;
    for (BlockArgument argument : source.getArguments())
      if (failed(addInput(lowering, source, argument, *body, inputs, inputAttributes)))
        return failure();
    // Ranges of the new function's arguments are those of their types, so it has to have a parent while it is built.
    auto lowered = func::FuncOp::create(at, source.getLoc(), source.getSymName(), at.getFunctionType(inputs, {}));
    SymbolTable::setSymbolVisibility(lowered, SymbolTable::Visibility::Public);
    lowered.getBody().push_back(body.release());
    if (failed(lowering.lowerBlock(source.getBody().front())))
      return lowered.erase(), failure();
    SmallVector<Value> results;
    Operation *terminator = source.getBody().front().getTerminator();
    for (auto [index, value] : llvm::enumerate(terminator->getOperands())) {
      FailureOr<Stored> stored = lowering.find(value);
      if (failed(stored))
        return lowered.erase(), failure();
      results.push_back(lowering.inModelOrder(*stored));
      outputs.push_back(results.back().getType());
      outputAttributes.push_back(
          describe(source.getResultAttrDict(static_cast<unsigned>(index)), nn::quantizerOf(value), stored->grid));
    }
    func::ReturnOp::create(b, source.getLoc(), results);
    lowered.setFunctionType(at.getFunctionType(inputs, outputs));
    lowered.setAllArgAttrs(inputAttributes);
    lowered.setAllResultAttrs(outputAttributes);
    source.erase();
    IRRewriter rewriter(module.getContext());
    (void)runRegionDCE(rewriter, lowered->getRegions());
    return success();
  }

  LogicalResult addInput(Lowering &lowering, func::FuncOp source, BlockArgument argument, Block &body,
                         SmallVectorImpl<Type> &types, SmallVectorImpl<DictionaryAttr> &attributes) {
    auto type = cast<RankedTensorType>(argument.getType());
    if (!type.hasStaticShape())
      return source.emitError("input '") << nn::tensorName(argument) << "' has dynamic dimensions, which an integer "
                                                                        "program cannot have; give them values with --bind";
    // TOSA has no tensors without elements; what reads them leaves them out.
    if (type.getNumElements() == 0)
      return success();
    nn::QuantizerOp quantizer;
    Grid grid = Grid::ofNumbers(type.getElementType().isInteger(1) ? 1 : 32);
    if (type.getElementType().isF32()) {
      quantizer = findInputQuantizer(source->getParentOfType<ModuleOp>(), argument);
      if (!quantizer) {
        if (argument.use_empty())
          return success();
        return source.emitError("input '") << nn::tensorName(argument)
                                           << "' is float and no quantizer follows it; give it 8 or 16 bits in the recipe";
      }
      llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
      if (!encoding)
        return quantizer.emitError(llvm::toString(encoding.takeError()));
      grid = Grid::of(*encoding);
    } else if (!type.getElementType().isSignlessInteger()) {
      return source.emitError("input '") << nn::tensorName(argument) << "' has elements of type " << type.getElementType()
                                         << ", which an integer program does not take";
    }
    types.push_back(lowering.b.tensor(type.getShape(), grid.bits));
    attributes.push_back(describe(source.getArgAttrDict(argument.getArgNumber()), quantizer, grid));
    Value made = body.addArgument(types.back(), argument.getLoc());
    lowering.set(argument, Stored{made, grid, identityOrder(type.getRank())});
    return success();
  }

  /// The attributes of an argument or result with the quantizer that its integers are on.
  static DictionaryAttr describe(DictionaryAttr attributes, nn::QuantizerOp quantizer, const Grid &grid) {
    if (!quantizer)
      return attributes;
    NamedAttrList list(attributes);
    list.set(nn::encodingAttribute, FlatSymbolRefAttr::get(quantizer.getSymNameAttr()));
    return list.getDictionary(quantizer.getContext());
  }
};

} // namespace
} // namespace nibble

#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

#define GET_OP_CLASSES
#include "lib/Dialect/NN/NNOps.cpp.inc"

namespace nibble::nn {

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

LogicalResult ConstantOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape())
    return emitOpError("needs a static shape, but has type ") << getType();
  if (auto elements = dyn_cast<ElementsAttr>(getValue())) {
    if (elements.getType() != type)
      return emitOpError("value has type ") << elements.getType() << ", but the result is " << type;
    return success();
  }
  auto blob = cast<BlobAttr>(getValue());
  std::optional<ElementType> elementType = toElementType(type.getElementType());
  if (!elementType)
    return emitOpError("cannot store elements of type ") << type.getElementType();
  uint64_t wanted = static_cast<uint64_t>(byteSize(*elementType, type.getNumElements()));
  if (blob.getSize() != wanted)
    return emitOpError("blob has ") << blob.getSize() << " bytes, but " << type << " takes " << wanted;
  return success();
}

//===----------------------------------------------------------------------===//
// nn.block @name (%arg = %operand, ...) : types -> types { body }
//===----------------------------------------------------------------------===//

LogicalResult BlockOp::verify() {
  Block &body = getBody().front();
  if (body.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("body takes other types than the operands have");
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield || yield.getOutputs().getTypes() != getOutputs().getTypes())
    return emitOpError("body yields other types than the results have");
  return success();
}

void BlockOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(llvm::zip_equal(getBody().getArguments(), getInputs()), printer, [&](auto pair) {
    printer.printRegionArgument(std::get<0>(pair), /*argAttrs=*/{}, /*omitType=*/true);
    printer << " = ";
    printer.printOperand(std::get<1>(pair));
  });
  printer << ") : ";
  printer.printFunctionalType(getInputs().getTypes(), getOutputs().getTypes());
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {getSymNameAttrName()});
}

ParseResult BlockOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  FunctionType type;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name), result.attributes) ||
      parser.parseAssignmentList(arguments, operands) || parser.parseColonType(type))
    return failure();
  if (arguments.size() != type.getNumInputs())
    return parser.emitError(parser.getCurrentLocation(), "has ") << arguments.size() << " operands, but the type has "
                                                                 << type.getNumInputs();
  for (auto [argument, inputType] : llvm::zip_equal(arguments, type.getInputs()))
    argument.type = inputType;
  if (parser.resolveOperands(operands, type.getInputs(), parser.getCurrentLocation(), result.operands) ||
      parser.addTypesToList(type.getResults(), result.types) ||
      parser.parseRegion(*result.addRegion(), arguments) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// nn.quantizer
//===----------------------------------------------------------------------===//

LogicalResult QuantizerOp::verify() {
  auto storage = dyn_cast<IntegerType>(getStorage());
  if (!storage)
    return emitOpError("storage must be an integer type, but is ") << getStorage();
  if (getBlockSize() && !getAxis())
    return emitOpError("has a block_size without an axis");
  if (getBlockSize() && *getBlockSize() < 1)
    return emitOpError("block_size must be positive, but is ") << *getBlockSize();
  if (getKind() == QuantizerKind::LPBQ && !(getBlockSize() && getChannelAxis()))
    return emitOpError("kind lpbq needs axis, block_size and channel_axis");
  if (getBlockMultipliers() && getKind() != QuantizerKind::LPBQ)
    return emitOpError("has block_multipliers, but its kind is not lpbq");
  if (std::optional<StringRef> role = getRole();
      role && !llvm::is_contained({"activation", "constant", "weight", "bias"}, *role))
    return emitOpError("role must be activation, constant, weight or bias, but is '") << *role << "'";
  return success();
}

} // namespace nibble::nn

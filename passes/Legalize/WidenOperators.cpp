//===- WidenOperators.cpp - 16 bits around an operator ---------------------===//
//
// Some operators are computed wrongly at 8 bits and rightly at 16. Their operands are converted at the edge,
// and their result is rounded to 16 bits and then to the 8 that everyone else reads: the integers that come
// out are those of the 8-bit operator, but for values within 1/256 of a step of a rounding boundary. The
// 16-bit quantizers take their range from the statistics of the tensors that they stand behind.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/WidenOperators.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace nibble {

LogicalResult widenResult(ModuleOp module, Operation *op, const quant::Encoding &wide) {
  Value result = op->getResult(0);
  nn::FakeQuantOp narrow = nn::roundingOf(result);
  std::string tensor = nn::tensorName(result), name = tensor + "/" + nibble::name(wide.storage).str();
  llvm::Expected<nn::QuantizerOp> quantizer = nn::createQuantizer(module, name, wide);
  if (!quantizer)
    return op->emitError(llvm::toString(quantizer.takeError()));
  quantizer->setRole(StringRef("activation"));
  quantizer->setTensor(StringRef(tensor));
  OpBuilder after(op->getContext());
  after.setInsertionPointAfter(op);
  Location location = nn::makeLocation(op->getContext(), nn::nodeName(op) + "/convert", {name});
  auto rounded = nn::FakeQuantOp::create(after, location, result.getType(), result,
                                         FlatSymbolRefAttr::get(quantizer->getSymNameAttr()));
  narrow.getInputMutable().set(rounded.getResult());
  return success();
}

} // namespace nibble

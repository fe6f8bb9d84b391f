#include "passes/Equalize/ConstantEdits.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Rewriting.h"

#include <cstring>

using namespace mlir;

namespace nibble {

void ConstantEdits::add(OpOperand &use, Edit edit) {
  edits[{use.getOwner(), use.getOperandNumber()}].push_back(std::move(edit));
}

llvm::FailureOr<Tensor> ConstantEdits::current(OpOperand &use) const {
  nn::ConstantOp constant = getConstant(use.get());
  assert(constant && "only constants are edited");
  llvm::Expected<Tensor> stored = nn::readConstant(constant.getResult());
  if (!stored)
    return use.getOwner()->emitError(llvm::toString(stored.takeError()));
  auto found = edits.find({use.getOwner(), use.getOperandNumber()});
  if (found == edits.end())
    return *stored;
  Tensor copy = Tensor::allocate(stored->elementType(), stored->shape());
  std::memcpy(copy.mutableRaw(), stored->raw(), static_cast<size_t>(stored->byteSize()));
  for (const Edit &edit : found->second)
    edit(copy);
  return copy;
}

LogicalResult ConstantEdits::commit() {
  for (auto &[key, list] : edits) {
    OpOperand &use = key.first->getOpOperand(key.second);
    llvm::FailureOr<Tensor> tensor = current(use);
    if (failed(tensor))
      return failure();
    nn::ConstantOp constant = getConstant(use.get());
    bool isLast = constant->hasOneUse();
    OpBuilder builder(use.getOwner());
    Location location =
        isLast ? constant->getLoc() : nn::makeDerivedLocation(constant, nn::nodeName(use.getOwner()));
    llvm::FailureOr<Value> edited = createConstantValue(builder, location, *tensor);
    if (failed(edited))
      return failure();
    use.set(*edited);
    if (constant->use_empty())
      constant->erase();
  }
  edits.clear();
  return success();
}

} // namespace nibble

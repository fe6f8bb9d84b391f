#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/NNDialect.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;

namespace nibble::nn {

Location makeLocation(MLIRContext *context, llvm::StringRef nodeName, llvm::ArrayRef<llvm::StringRef> tensorNames) {
  SmallVector<Location> tensors;
  for (llvm::StringRef name : tensorNames)
    tensors.push_back(NameLoc::get(StringAttr::get(context, name)));
  // A fused location of one element collapses into it, which tensorName takes into account.
  return NameLoc::get(StringAttr::get(context, nodeName), FusedLoc::get(context, tensors));
}

Location makeDerivedLocation(Operation *op, llvm::StringRef suffix) {
  std::string node = nodeName(op) + "/" + suffix.str();
  std::string tensor = op->getNumResults() ? tensorName(op->getResult(0)) + "/" + suffix.str() : std::string();
  return makeLocation(op->getContext(), node, {tensor});
}

static NameLoc findNodeName(Operation *op) {
  if (auto name = dyn_cast<NameLoc>(op->getLoc()))
    return name;
  return op->getLoc()->findInstanceOf<NameLoc>();
}

std::string nodeName(Operation *op) {
  if (NameLoc name = findNodeName(op))
    return name.getName().str();
  return op->getName().getStringRef().str();
}

std::string tensorName(Value value) {
  value = resolveThroughBlocks(value);
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (auto function = dyn_cast_or_null<FunctionOpInterface>(argument.getOwner()->getParentOp()))
      if (auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), nameAttribute))
        return name.str();
    return {};
  }
  auto result = cast<OpResult>(value);
  NameLoc node = findNodeName(result.getOwner());
  if (!node)
    return {};
  Location child = node.getChildLoc();
  if (auto fused = dyn_cast<FusedLoc>(child)) {
    if (result.getResultNumber() < fused.getLocations().size())
      child = fused.getLocations()[result.getResultNumber()];
  } else if (result.getResultNumber() != 0) {
    return {};
  }
  auto tensor = dyn_cast<NameLoc>(child);
  return tensor ? tensor.getName().str() : std::string();
}

} // namespace nibble::nn

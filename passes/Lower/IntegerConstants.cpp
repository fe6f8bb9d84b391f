#include "passes/Lower/IntegerConstants.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace nibble {

Value resolveMoved(Value value) {
  while (true) {
    // While a program is lowered, what a block is given and what it takes may differ for a time.
    Value source = nn::resolveThroughBlocks(value);
    if (source.getType() != value.getType())
      return value;
    auto identity = source.getDefiningOp<tosa::IdentityOp>();
    if (!identity)
      return source;
    value = identity.getInput1();
  }
}

static Tensor readElements(ElementsAttr values, RankedTensorType type) {
  unsigned width = type.getElementTypeBitWidth();
  std::optional<ElementType> elementType = nn::toElementType(type.getElementType());
  auto dense = dyn_cast<DenseElementsAttr>(values);
  if (dense && !dense.isSplat() && elementType && (width == 8 || width == 16 || width == 32 || width == 64))
    return Tensor::view(*elementType, type.getShape(), dense.getRawData().data(), nullptr);
  if (width != 48) {
    llvm::Expected<Tensor> tensor = nn::readConstant(values, type);
    if (tensor)
      return *tensor;
    llvm::consumeError(tensor.takeError());
    return {};
  }
  Tensor tensor = Tensor::allocate(ElementType::I64, type.getShape());
  int64_t *out = tensor.mutableData<int64_t>();
  for (const APInt &element : values.getValues<APInt>())
    *out++ = element.getSExtValue();
  return tensor;
}

Tensor readIntegers(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() || !isa<IntegerType>(type.getElementType()))
    return {};
  Value source = resolveMoved(value);
  while (auto reshape = source.getDefiningOp<tosa::ReshapeOp>())
    source = resolveMoved(reshape.getInput1());
  auto sourceType = dyn_cast<RankedTensorType>(source.getType());
  if (!sourceType || sourceType.getElementType() != type.getElementType() || !sourceType.hasStaticShape() ||
      sourceType.getNumElements() != type.getNumElements())
    return {};
  Tensor tensor;
  if (auto constant = source.getDefiningOp<tosa::ConstOp>())
    tensor = readElements(constant.getValues(), sourceType);
  else
    tensor = nn::tryReadConstant(source);
  return tensor ? tensor.reshaped(type.getShape()) : tensor;
}

std::optional<SmallVector<int64_t>> readConstantShape(Value value) {
  auto constant = value.getDefiningOp<tosa::ConstShapeOp>();
  if (!constant)
    return std::nullopt;
  SmallVector<int64_t> numbers;
  for (const APInt &number : constant.getValues().getValues<APInt>())
    numbers.push_back(number.getSExtValue());
  return numbers;
}

} // namespace nibble

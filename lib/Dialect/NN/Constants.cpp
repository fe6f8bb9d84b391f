#include "lib/Dialect/NN/Constants.h"
#include "lib/Support/Error.h"

#include "mlir/IR/TypeUtilities.h"
#include "mlir/Support/DebugStringHelper.h"
#include <cstring>

using namespace mlir;

namespace nibble::nn {

std::optional<ElementType> toElementType(Type type) {
  if (type.isF32())
    return ElementType::F32;
  if (type.isF64())
    return ElementType::F64;
  if (type.isF16())
    return ElementType::F16;
  if (type.isBF16())
    return ElementType::BF16;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return std::nullopt;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1: return ElementType::Bool;
  case 4: return isUnsigned ? ElementType::U4 : ElementType::I4;
  case 8: return isUnsigned ? ElementType::U8 : ElementType::I8;
  case 16: return isUnsigned ? ElementType::U16 : ElementType::I16;
  case 32: return isUnsigned ? ElementType::U32 : ElementType::I32;
  case 64: return isUnsigned ? ElementType::U64 : ElementType::I64;
  default: return std::nullopt;
  }
}

Type toMLIRType(MLIRContext *context, ElementType type) {
  switch (type) {
  case ElementType::F32: return Float32Type::get(context);
  case ElementType::F64: return Float64Type::get(context);
  case ElementType::F16: return Float16Type::get(context);
  case ElementType::BF16: return BFloat16Type::get(context);
  case ElementType::Bool: return IntegerType::get(context, 1);
  case ElementType::U4:
  case ElementType::U8:
  case ElementType::U16:
  case ElementType::U32:
  case ElementType::U64: return IntegerType::get(context, bitWidth(type), IntegerType::Unsigned);
  default: return IntegerType::get(context, bitWidth(type));
  }
}

RankedTensorType typeOf(MLIRContext *context, const Tensor &tensor) {
  return RankedTensorType::get(tensor.shape(), toMLIRType(context, tensor.elementType()));
}

llvm::Expected<Tensor> readConstant(Attribute value, RankedTensorType type) {
  std::optional<ElementType> elementType = toElementType(type.getElementType());
  if (!elementType || !type.hasStaticShape())
    return makeError(ErrorKind::BadInput, "a constant cannot have type " + debugString(type));
  if (auto blob = dyn_cast<BlobAttr>(value)) {
    auto *dialect = blob.getContext()->getLoadedDialect<NNDialect>();
    llvm::Expected<Blob> bytes =
        dialect->getBlobStore().resolve({blob.getFile().str(), blob.getOffset(), blob.getSize()});
    if (!bytes)
      return bytes.takeError();
    const char *data = bytes->bytes.data();
    // Weights inside a model file start at any byte, but elements must be aligned to be read as such.
    unsigned width = std::max(1u, bitWidth(*elementType) / 8);
    if (reinterpret_cast<uintptr_t>(data) % width == 0)
      return Tensor::view(*elementType, type.getShape(), data, bytes->owner);
    Tensor copy = Tensor::allocate(*elementType, type.getShape());
    std::memcpy(copy.mutableRaw(), data, bytes->bytes.size());
    return copy;
  }
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return makeError(ErrorKind::BadInput, "a constant of type " + debugString(type) + " has another value");
  Tensor tensor = Tensor::allocate(*elementType, type.getShape());
  int64_t count = tensor.elementCount();
  char *out = static_cast<char *>(tensor.mutableRaw());
  if (isa<FloatType>(type.getElementType())) {
    unsigned bytesPerElement = bitWidth(*elementType) / 8;
    int64_t i = 0;
    for (const APFloat &element : elements.getValues<APFloat>()) {
      uint64_t bits = element.bitcastToAPInt().getZExtValue();
      std::memcpy(out + bytesPerElement * i++, &bits, bytesPerElement);
    }
    return tensor;
  }
  std::memset(out, 0, static_cast<size_t>(byteSize(*elementType, count)));
  int64_t i = 0;
  for (const APInt &element : elements.getValues<APInt>()) {
    uint64_t bits = element.getZExtValue();
    if (bitWidth(*elementType) == 4)
      out[i / 2] |= static_cast<char>((bits & 15) << (i % 2 * 4));
    else
      std::memcpy(out + bitWidth(*elementType) / 8 * i, &bits, bitWidth(*elementType) / 8);
    ++i;
  }
  return tensor;
}

llvm::Expected<Tensor> readConstant(Value value) {
  auto constant = value ? value.getDefiningOp<ConstantOp>() : nullptr;
  if (!constant || !isa<RankedTensorType>(constant.getType()))
    return Tensor();
  return readConstant(constant.getValue(), cast<RankedTensorType>(constant.getType()));
}

Tensor tryReadConstant(Value value) {
  llvm::Expected<Tensor> tensor = readConstant(value);
  if (tensor)
    return *tensor;
  llvm::consumeError(tensor.takeError());
  return {};
}

std::optional<SmallVector<int64_t>> readConstantIntegers(Value value) {
  if (!value || !isa<IntegerType>(getElementTypeOrSelf(value.getType())))
    return std::nullopt;
  Tensor tensor = tryReadConstant(value);
  return tensor ? std::optional(tensor.valuesAsInt64()) : std::nullopt;
}

std::optional<double> readConstantScalar(Value value) {
  auto type = value ? dyn_cast<RankedTensorType>(value.getType()) : nullptr;
  if (!type || !isa<FloatType>(type.getElementType()) || !type.hasStaticShape() || type.getNumElements() != 1)
    return std::nullopt;
  Tensor tensor = tryReadConstant(value);
  return tensor ? std::optional(tensor.valueAsDouble(0)) : std::nullopt;
}

llvm::Expected<Attribute> makeConstantAttribute(MLIRContext *context, const Tensor &tensor) {
  RankedTensorType type = typeOf(context, tensor);
  size_t bytes = static_cast<size_t>(tensor.byteSize());
  const char *data = static_cast<const char *>(tensor.raw());
  unsigned bits = bitWidth(tensor.elementType());
  if (tensor.byteSize() <= inlineLimitBytes) {
    if (tensor.elementType() != ElementType::Bool && bits != 4)
      return DenseElementsAttr::getFromRawBuffer(type, llvm::ArrayRef<char>(data, bytes));
    SmallVector<APInt> elements;
    unsigned width = tensor.elementType() == ElementType::Bool ? 1 : 4;
    for (int64_t i = 0; i < tensor.elementCount(); ++i)
      elements.push_back(APInt(width, static_cast<uint64_t>(static_cast<int64_t>(tensor.valueAsDouble(i))),
                               /*isSigned=*/false, /*implicitTrunc=*/true));
    return DenseElementsAttr::get(type, elements);
  }
  auto *dialect = context->getLoadedDialect<NNDialect>();
  llvm::Expected<BlobReference> reference =
      dialect->getBlobStore().add(bytes, [&](char *destination) { std::memcpy(destination, data, bytes); });
  if (!reference)
    return reference.takeError();
  return BlobAttr::get(context, reference->file, reference->offset, reference->size);
}

llvm::Expected<ConstantOp> createConstant(OpBuilder &builder, Location location, const Tensor &tensor) {
  llvm::Expected<Attribute> value = makeConstantAttribute(builder.getContext(), tensor);
  if (!value)
    return value.takeError();
  return ConstantOp::create(builder, location, typeOf(builder.getContext(), tensor), *value);
}

ConstantOp createIntegers(OpBuilder &builder, Location location, llvm::ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, builder.getI64Type());
  return ConstantOp::create(builder, location, type, DenseElementsAttr::get(type, values));
}

ConstantOp createScalar(OpBuilder &builder, Location location, float value) {
  auto type = RankedTensorType::get({}, builder.getF32Type());
  return ConstantOp::create(builder, location, type, DenseElementsAttr::get(type, value));
}

} // namespace nibble::nn

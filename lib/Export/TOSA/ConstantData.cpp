#include "lib/Export/TOSA/ConstantData.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Support/Error.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Support/DebugStringHelper.h"

using namespace mlir;

namespace nibble::tosa_export {

static constexpr unsigned wideBits = 48;

bool isConstantTensor(Operation *op) { return isa<nn::ConstantOp, tosa::ConstOp>(op); }

uint64_t storedBytes(RankedTensorType type) {
  unsigned bits = type.getElementTypeBitWidth();
  uint64_t count = static_cast<uint64_t>(type.getNumElements());
  return bits == 4 ? (count + 1) / 2 : count * ((bits + 7) / 8);
}

/// The low six bytes of every element, which MLIR alone knows as i48.
static Tensor readWide(DenseIntElementsAttr values) {
  constexpr int64_t bytesPerElement = wideBits / 8;
  Tensor bytes = Tensor::allocate(ElementType::U8, {values.getNumElements() * bytesPerElement});
  uint8_t *out = bytes.mutableData<uint8_t>();
  for (const APInt &element : values.getValues<APInt>()) {
    uint64_t bits = element.getZExtValue();
    for (int64_t i = 0; i < bytesPerElement; ++i)
      *out++ = static_cast<uint8_t>(bits >> 8 * i);
  }
  return bytes;
}

static llvm::Expected<Tensor> readTensor(Operation *op, RankedTensorType type) {
  if (auto constant = dyn_cast<nn::ConstantOp>(op))
    return nn::readConstant(constant.getValue(), type);
  auto values = dyn_cast<DenseIntElementsAttr>(cast<tosa::ConstOp>(op).getValues());
  if (!values)
    return makeError(ErrorKind::Internal, "node '" + nn::nodeName(op) + "': the constant is not one of integers");
  if (type.getElementTypeBitWidth() == wideBits)
    return readWide(values);
  return nn::readConstant(values, type);
}

/// -8 is a value of four bits but not of the format's INT4. Readers only warn, and then compute with garbage.
static llvm::Error checkNibbles(Operation *op, llvm::ArrayRef<uint8_t> bytes) {
  for (uint8_t byte : bytes)
    if ((byte & 15) == 8 || byte >> 4 == 8)
      return makeError(ErrorKind::Internal,
                       "node '" + nn::nodeName(op) + "': a 4-bit constant holds -8, but TOSA's int4 ends at -7",
                       {"quantize 4-bit weights to [-7, 7]: 'int4-range' in the target's file"});
  return llvm::Error::success();
}

llvm::Expected<ConstantData> ConstantData::read(Operation *op) {
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || !type.hasStaticShape())
    return makeError(ErrorKind::Internal, "node '" + nn::nodeName(op) + "': wanted a constant of static shape, found " +
                                              debugString(op->getResult(0).getType()));
  llvm::Expected<Tensor> tensor = readTensor(op, type);
  if (!tensor)
    return tensor.takeError();
  ConstantData data;
  data.tensor = std::move(*tensor);
  assert(data.bytes().size() == storedBytes(type) && "a tensor is stored as the format has it");
  if (type.getElementTypeBitWidth() == 4)
    if (llvm::Error error = checkNibbles(op, data.bytes()))
      return std::move(error);
  return data;
}

llvm::ArrayRef<uint8_t> ConstantData::bytes() const {
  return {static_cast<const uint8_t *>(tensor.raw()), static_cast<size_t>(tensor.byteSize())};
}

} // namespace nibble::tosa_export

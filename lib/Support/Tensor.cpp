#include "lib/Support/Tensor.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ErrorHandling.h"
#include <cstdlib>
#include <cstring>
#include <new>

namespace nibble {

unsigned bitWidth(ElementType type) {
  switch (type) {
  case ElementType::I4:
  case ElementType::U4:
    return 4;
  case ElementType::I8:
  case ElementType::U8:
  case ElementType::Bool:
    return 8;
  case ElementType::F16:
  case ElementType::BF16:
  case ElementType::I16:
  case ElementType::U16:
    return 16;
  case ElementType::F32:
  case ElementType::I32:
  case ElementType::U32:
    return 32;
  case ElementType::F64:
  case ElementType::I64:
  case ElementType::U64:
    return 64;
  }
  llvm_unreachable("all element types are covered");
}

llvm::StringRef name(ElementType type) {
  switch (type) {
  case ElementType::F32: return "float32";
  case ElementType::F64: return "float64";
  case ElementType::F16: return "float16";
  case ElementType::BF16: return "bfloat16";
  case ElementType::I4: return "int4";
  case ElementType::U4: return "uint4";
  case ElementType::I8: return "int8";
  case ElementType::U8: return "uint8";
  case ElementType::I16: return "int16";
  case ElementType::U16: return "uint16";
  case ElementType::I32: return "int32";
  case ElementType::U32: return "uint32";
  case ElementType::I64: return "int64";
  case ElementType::U64: return "uint64";
  case ElementType::Bool: return "bool";
  }
  llvm_unreachable("all element types are covered");
}

int64_t byteSize(ElementType type, int64_t count) { return (count * bitWidth(type) + 7) / 8; }

std::string formatShape(llvm::ArrayRef<int64_t> shape) {
  return "[" + llvm::join(llvm::map_range(shape, [](int64_t d) { return d < 0 ? "?" : std::to_string(d); }), ",") + "]";
}

int64_t elementCount(llvm::ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t dim : shape) {
    assert(dim >= 0 && "dimension must be known");
    count *= dim;
  }
  return count;
}

Tensor Tensor::allocate(ElementType type, llvm::ArrayRef<int64_t> shape) {
  Tensor tensor;
  tensor.type = type;
  tensor.dims.assign(shape.begin(), shape.end());
  // A vector load may read to the end of its 64-byte line, so storage is a multiple of it.
  size_t bytes = (static_cast<size_t>(tensor.byteSize()) + 127) / 64 * 64;
  void *memory = std::aligned_alloc(64, bytes);
  if (!memory)
    llvm::report_bad_alloc_error("out of memory");
  tensor.storage = std::shared_ptr<const void>(memory, [](const void *p) { std::free(const_cast<void *>(p)); });
  return tensor;
}

Tensor Tensor::view(ElementType type, llvm::ArrayRef<int64_t> shape, const void *data,
                    std::shared_ptr<const void> owner) {
  Tensor tensor;
  tensor.type = type;
  tensor.dims.assign(shape.begin(), shape.end());
  tensor.storage = std::shared_ptr<const void>(std::move(owner), data);
  return tensor;
}

Tensor Tensor::reshaped(llvm::ArrayRef<int64_t> newShape) const {
  assert(nibble::elementCount(newShape) == elementCount());
  Tensor tensor = *this;
  tensor.dims.assign(newShape.begin(), newShape.end());
  return tensor;
}

float halfToFloat(uint16_t bits) {
  return llvm::APFloat(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits)).convertToFloat();
}

float bfloatToFloat(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

double Tensor::valueAsDouble(int64_t index) const {
  const void *p = storage.get();
  switch (type) {
  case ElementType::F32: return static_cast<const float *>(p)[index];
  case ElementType::F64: return static_cast<const double *>(p)[index];
  case ElementType::F16: return halfToFloat(static_cast<const uint16_t *>(p)[index]);
  case ElementType::BF16: return bfloatToFloat(static_cast<const uint16_t *>(p)[index]);
  case ElementType::I4: {
    int nibbleBits = static_cast<const uint8_t *>(p)[index / 2] >> (index % 2 * 4) & 15;
    return nibbleBits < 8 ? nibbleBits : nibbleBits - 16;
  }
  case ElementType::U4: return static_cast<const uint8_t *>(p)[index / 2] >> (index % 2 * 4) & 15;
  case ElementType::I8: return static_cast<const int8_t *>(p)[index];
  case ElementType::U8:
  case ElementType::Bool: return static_cast<const uint8_t *>(p)[index];
  case ElementType::I16: return static_cast<const int16_t *>(p)[index];
  case ElementType::U16: return static_cast<const uint16_t *>(p)[index];
  case ElementType::I32: return static_cast<const int32_t *>(p)[index];
  case ElementType::U32: return static_cast<const uint32_t *>(p)[index];
  case ElementType::I64: return static_cast<double>(static_cast<const int64_t *>(p)[index]);
  case ElementType::U64: return static_cast<double>(static_cast<const uint64_t *>(p)[index]);
  }
  llvm_unreachable("all element types are covered");
}

llvm::SmallVector<int64_t> Tensor::valuesAsInt64() const {
  llvm::SmallVector<int64_t> result(static_cast<size_t>(elementCount()));
  for (size_t i = 0; i < result.size(); ++i) {
    if (type == ElementType::I64)
      result[i] = data<int64_t>()[i];
    else if (type == ElementType::U64)
      result[i] = static_cast<int64_t>(data<uint64_t>()[i]);
    else
      result[i] = static_cast<int64_t>(valueAsDouble(static_cast<int64_t>(i)));
  }
  return result;
}

} // namespace nibble

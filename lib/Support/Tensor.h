//===- Tensor.h - a typed, shaped view of bytes ----------------------------===//
#ifndef NIBBLE_SUPPORT_TENSOR_H
#define NIBBLE_SUPPORT_TENSOR_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cassert>
#include <cstdint>
#include <memory>

namespace nibble {

/// Element types. I4 and U4 are packed two to a byte, first element in the low nibble, the last
/// byte padded with zero. Bool is one byte, 0 or 1.
enum class ElementType : uint8_t { F32, F64, F16, BF16, I4, U4, I8, U8, I16, U16, I32, U32, I64, U64, Bool };

/// Bits of one element in storage.
unsigned bitWidth(ElementType type);
/// numpy's and ONNX's word in lower case: "float32", "int64", "uint4", "bool".
llvm::StringRef name(ElementType type);
/// Bytes that `count` elements take, the last byte of packed types counted whole.
int64_t byteSize(ElementType type, int64_t count);

using Shape = llvm::SmallVector<int64_t, 6>;
/// Product of the dimensions; 1 for rank 0. The dimensions are not negative.
int64_t elementCount(llvm::ArrayRef<int64_t> shape);
/// "[2,3]"; dimensions that are not known, below 0, are "?".
std::string formatShape(llvm::ArrayRef<int64_t> shape);

template <typename T> struct ElementTypeOf;
template <> struct ElementTypeOf<float> { static constexpr ElementType value = ElementType::F32; };
template <> struct ElementTypeOf<double> { static constexpr ElementType value = ElementType::F64; };
template <> struct ElementTypeOf<int8_t> { static constexpr ElementType value = ElementType::I8; };
template <> struct ElementTypeOf<uint8_t> { static constexpr ElementType value = ElementType::U8; };
template <> struct ElementTypeOf<int16_t> { static constexpr ElementType value = ElementType::I16; };
template <> struct ElementTypeOf<uint16_t> { static constexpr ElementType value = ElementType::U16; };
template <> struct ElementTypeOf<int32_t> { static constexpr ElementType value = ElementType::I32; };
template <> struct ElementTypeOf<uint32_t> { static constexpr ElementType value = ElementType::U32; };
template <> struct ElementTypeOf<int64_t> { static constexpr ElementType value = ElementType::I64; };
template <> struct ElementTypeOf<uint64_t> { static constexpr ElementType value = ElementType::U64; };
template <> struct ElementTypeOf<bool> { static constexpr ElementType value = ElementType::Bool; };

/// A dense row-major tensor. Copies share storage; the bytes live as long as any copy. Storage that
/// views a mapped file must not be written.
class Tensor {
public:
  Tensor() = default;
  /// Uninitialized storage of its own, aligned to 64 bytes.
  static Tensor allocate(ElementType type, llvm::ArrayRef<int64_t> shape);
  /// A view of `data`, kept alive by `owner`.
  static Tensor view(ElementType type, llvm::ArrayRef<int64_t> shape, const void *data, std::shared_ptr<const void> owner);
  template <typename T> static Tensor fromValues(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<T> values) {
    Tensor tensor = allocate(ElementTypeOf<T>::value, shape);
    assert(static_cast<int64_t>(values.size()) == tensor.elementCount());
    std::copy(values.begin(), values.end(), tensor.mutableData<T>());
    return tensor;
  }

  explicit operator bool() const { return storage != nullptr; }
  ElementType elementType() const { return type; }
  llvm::ArrayRef<int64_t> shape() const { return dims; }
  int64_t rank() const { return static_cast<int64_t>(dims.size()); }
  int64_t elementCount() const { return nibble::elementCount(dims); }
  int64_t byteSize() const { return nibble::byteSize(type, elementCount()); }

  const void *raw() const { return storage.get(); }
  void *mutableRaw() { return const_cast<void *>(storage.get()); }
  template <typename T> const T *data() const {
    assert(ElementTypeOf<T>::value == type);
    return static_cast<const T *>(storage.get());
  }
  template <typename T> T *mutableData() {
    assert(ElementTypeOf<T>::value == type);
    return static_cast<T *>(mutableRaw());
  }
  template <typename T> llvm::ArrayRef<T> values() const {
    return {data<T>(), static_cast<size_t>(elementCount())};
  }
  /// The same storage under another shape of the same number of elements.
  Tensor reshaped(llvm::ArrayRef<int64_t> newShape) const;
  /// Element `index` as double, for any unpacked type (I4 and U4 are unpacked too).
  double valueAsDouble(int64_t index) const;
  /// All elements as int64, for integer and Bool types.
  llvm::SmallVector<int64_t> valuesAsInt64() const;

private:
  ElementType type = ElementType::F32;
  Shape dims;
  std::shared_ptr<const void> storage;
};

/// IEEE half and bfloat16 to float.
float halfToFloat(uint16_t bits);
float bfloatToFloat(uint16_t bits);

} // namespace nibble

#endif

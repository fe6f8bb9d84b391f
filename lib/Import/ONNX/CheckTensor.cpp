// Type, shape and bytes of one tensor, and its values.
#include "lib/Import/ONNX/Checker.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Support/Error.h"

#include <cstring>

using onnx::TensorProto;

namespace nibble::onnx_import {

std::optional<ElementType> toElementType(int32_t dataType) {
  switch (dataType) {
  case TensorProto::FLOAT: return ElementType::F32;
  case TensorProto::DOUBLE: return ElementType::F64;
  case TensorProto::FLOAT16: return ElementType::F16;
  case TensorProto::BFLOAT16: return ElementType::BF16;
  case TensorProto::INT4: return ElementType::I4;
  case TensorProto::UINT4: return ElementType::U4;
  case TensorProto::INT8: return ElementType::I8;
  case TensorProto::UINT8: return ElementType::U8;
  case TensorProto::INT16: return ElementType::I16;
  case TensorProto::UINT16: return ElementType::U16;
  case TensorProto::INT32: return ElementType::I32;
  case TensorProto::UINT32: return ElementType::U32;
  case TensorProto::INT64: return ElementType::I64;
  case TensorProto::UINT64: return ElementType::U64;
  case TensorProto::BOOL: return ElementType::Bool;
  default: return std::nullopt;
  }
}

std::string dataTypeName(int32_t dataType) {
  if (TensorProto::DataType_IsValid(dataType) && dataType != TensorProto::UNDEFINED)
    return llvm::StringRef(TensorProto::DataType_Name(static_cast<TensorProto::DataType>(dataType))).lower();
  return "type " + std::to_string(dataType);
}

/// Bits of one element in raw_data; 0 for strings, nullopt for a type that this ONNX does not know.
static std::optional<unsigned> bitsOf(int32_t dataType) {
  if (std::optional<ElementType> type = toElementType(dataType))
    return bitWidth(*type);
  switch (dataType) {
  case TensorProto::STRING: return 0;
  case TensorProto::COMPLEX64: return 64;
  case TensorProto::COMPLEX128: return 128;
  case TensorProto::FLOAT8E4M3FN:
  case TensorProto::FLOAT8E4M3FNUZ:
  case TensorProto::FLOAT8E5M2:
  case TensorProto::FLOAT8E5M2FNUZ:
  case TensorProto::FLOAT8E8M0: return 8;
  case TensorProto::FLOAT4E2M1: return 4;
  default: return std::nullopt;
  }
}

namespace {
/// The typed field that ONNX prescribes for a data type, and how many entries an element takes.
struct TypedField {
  llvm::StringRef name;
  int64_t entriesPerElement = 1;
};
} // namespace

static TypedField typedFieldOf(int32_t dataType) {
  switch (dataType) {
  case TensorProto::FLOAT: return {"float_data"};
  case TensorProto::COMPLEX64: return {"float_data", 2};
  case TensorProto::DOUBLE: return {"double_data"};
  case TensorProto::COMPLEX128: return {"double_data", 2};
  case TensorProto::INT64: return {"int64_data"};
  case TensorProto::UINT32:
  case TensorProto::UINT64: return {"uint64_data"};
  case TensorProto::STRING: return {"string_data"};
  default: return {"int32_data"};
  }
}

llvm::Expected<CheckedTensor> checkTensor(ModelFile &file, const TensorProto &tensor, llvm::StringRef what) {
  auto fail = [&](const llvm::Twine &message, ErrorKind kind = ErrorKind::BadInput) {
    return makeError(kind, "'" + file.path() + "': " + what + ": " + message);
  };
  CheckedTensor result;
  result.proto = &tensor;
  result.dataType = tensor.data_type();
  std::optional<unsigned> bits = bitsOf(tensor.data_type());
  if (!bits)
    return fail("data type " + llvm::Twine(tensor.data_type()) + " is not one that ONNX defines");
  if (tensor.has_segment())
    return fail("the tensor is stored in segments", ErrorKind::Unsupported);
  if (tensor.dims_size() > limits::rank)
    return fail("rank " + llvm::Twine(tensor.dims_size()) + " is over the limit of " + llvm::Twine(limits::rank),
                ErrorKind::Limit);
  result.elements = 1;
  for (int64_t dim : tensor.dims()) {
    if (dim < 0)
      return fail("dimension " + llvm::Twine(dim) + " is negative");
    // A zero dimension must not hide an overflow of the others.
    if (__builtin_mul_overflow(result.elements, std::max<int64_t>(dim, 1), &result.elements) ||
        result.elements > limits::elements)
      return fail("the tensor has more than " + llvm::Twine(limits::elements) + " elements", ErrorKind::Limit);
    result.shape.push_back(dim);
  }
  if (llvm::is_contained(result.shape, 0))
    result.elements = 0;
  // At most 2^40 elements of at most 16 bytes: no overflow.
  result.byteSize = (result.elements * *bits + 7) / 8;

  TypedField wanted = typedFieldOf(tensor.data_type());
  std::string given;
  int64_t entries = 0;
  unsigned stores = 0;
  auto store = [&](llvm::StringRef field, bool present, int64_t count) {
    if (!present)
      return;
    ++stores;
    given = field.str();
    entries = count;
  };
  bool isExternal = tensor.data_location() == TensorProto::EXTERNAL;
  store("external_data", isExternal, 0);
  store("raw_data", tensor.has_raw_data(), static_cast<int64_t>(tensor.raw_data().size()));
  store("float_data", tensor.float_data_size(), tensor.float_data_size());
  store("double_data", tensor.double_data_size(), tensor.double_data_size());
  store("int32_data", tensor.int32_data_size(), tensor.int32_data_size());
  store("int64_data", tensor.int64_data_size(), tensor.int64_data_size());
  store("uint64_data", tensor.uint64_data_size(), tensor.uint64_data_size());
  store("string_data", tensor.string_data_size(), tensor.string_data_size());
  if (stores > 1)
    return fail("the tensor's data is stored more than once");
  if (!isExternal && tensor.external_data_size())
    return fail("the tensor has external_data, but its data_location is not EXTERNAL");
  if (stores == 0 && result.elements == 0)
    return result;
  if (stores == 0)
    return fail("the tensor has no data, but its shape wants " + llvm::Twine(result.elements) + " elements");
  if (isExternal && tensor.data_type() == TensorProto::STRING)
    return fail("strings cannot be external");
  if (isExternal) {
    std::string cutField;
    llvm::Expected<MappedBytes> bytes = file.locate(tensor, what, cutField);
    if (!bytes)
      return bytes.takeError();
    given = cutField.empty() ? "external_data" : cutField;
    entries = static_cast<int64_t>(bytes->size);
    if (given == "float_data" || given == "double_data")
      entries /= given == "float_data" ? 4 : 8;
    result.mapped = std::move(*bytes);
  }
  if (given == "raw_data" || given == "external_data") {
    if (tensor.data_type() == TensorProto::STRING)
      return fail("strings must be in string_data");
    if (entries != result.byteSize)
      return fail(given + " has " + llvm::Twine(entries) + " bytes, but " + llvm::Twine(result.elements) +
                  " elements of " + dataTypeName(tensor.data_type()) + " take " + llvm::Twine(result.byteSize));
    return result;
  }
  if (given != wanted.name)
    return fail("elements of " + dataTypeName(tensor.data_type()) + " must be in " + wanted.name +
                " or raw_data, but are in " + given);
  int64_t wantedEntries = *bits == 4 ? result.byteSize : result.elements * wanted.entriesPerElement;
  if (entries != wantedEntries)
    return fail(given + " has " + llvm::Twine(entries) + " entries, but the shape wants " +
                llvm::Twine(wantedEntries));
  return result;
}

/// Copies `values` into `out` as elements of `width` bytes, refusing those outside [low, high].
template <typename Source>
static llvm::Error narrow(const Source &values, char *out, unsigned width, int64_t low, int64_t high,
                          llvm::StringRef what) {
  for (auto value : values) {
    bool fits = std::is_unsigned_v<decltype(value)> ? static_cast<uint64_t>(value) <= static_cast<uint64_t>(high)
                                                    : static_cast<int64_t>(value) >= low && int64_t(value) <= high;
    if (!fits)
      return makeError(ErrorKind::BadInput, what + ": value " + llvm::Twine(value) + " does not fit the element type");
    std::memcpy(out, &value, width);
    out += width;
  }
  return llvm::Error::success();
}

llvm::Expected<Tensor> readTensor(const CheckedTensor &checked, llvm::StringRef what) {
  const TensorProto &proto = *checked.proto;
  std::optional<ElementType> type = toElementType(checked.dataType);
  if (!type)
    return makeError(ErrorKind::Unsupported, what + ": elements of " + dataTypeName(checked.dataType) +
                                                 " are not supported");
  Tensor tensor = Tensor::allocate(*type, checked.shape);
  char *out = static_cast<char *>(tensor.mutableRaw());
  size_t size = static_cast<size_t>(checked.byteSize);
  if (size == 0)
    return tensor;
  if (checked.mapped)
    std::memcpy(out, checked.mapped->bytes().data(), size);
  else if (proto.has_raw_data())
    std::memcpy(out, proto.raw_data().data(), size);
  else if (proto.float_data_size())
    std::memcpy(out, proto.float_data().data(), size);
  else if (proto.double_data_size())
    std::memcpy(out, proto.double_data().data(), size);
  else if (proto.int64_data_size())
    std::memcpy(out, proto.int64_data().data(), size);
  else if (proto.uint64_data_size()) {
    bool isWide = *type == ElementType::U64;
    if (llvm::Error error = narrow(proto.uint64_data(), out, isWide ? 8 : 4, 0, isWide ? -1 : UINT32_MAX, what))
      return error;
  } else {
    unsigned width = std::max(8u, bitWidth(*type)) / 8;
    int64_t low = 0, high = (int64_t(1) << (8 * width)) - 1;
    if (*type == ElementType::I8 || *type == ElementType::I16 || *type == ElementType::I32) {
      low = -(int64_t(1) << (8 * width - 1));
      high = -low - 1;
    } else if (*type == ElementType::Bool) {
      high = 1;
    }
    if (llvm::Error error = narrow(proto.int32_data(), out, width, low, high, what))
      return error;
  }
  if (*type == ElementType::Bool)
    for (size_t i = 0; i < size; ++i)
      if (static_cast<uint8_t>(out[i]) > 1)
        return makeError(ErrorKind::BadInput, what + ": bool element " + llvm::Twine(i) + " is " +
                                                  llvm::Twine(unsigned(uint8_t(out[i]))) + ", wanted 0 or 1");
  return tensor;
}

} // namespace nibble::onnx_import

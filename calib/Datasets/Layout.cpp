#include "calib/Datasets/Layout.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>
#include <cstring>
#include <utility>

namespace nibble::calib {

bool isFloat(ElementType type) {
  return type == ElementType::F16 || type == ElementType::BF16 || type == ElementType::F32 || type == ElementType::F64;
}

bool isInteger(ElementType type) { return !isFloat(type) && type != ElementType::Bool; }

/// Whether every dimension of `found` is what `wanted` says, where it says one.
static bool fits(llvm::ArrayRef<int64_t> found, llvm::ArrayRef<int64_t> wanted) {
  return found.size() == wanted.size() &&
         llvm::all_of(llvm::zip(found, wanted), [](auto pair) {
           return std::get<1>(pair) < 0 || std::get<0>(pair) == std::get<1>(pair);
         });
}

std::string symbolOf(const InputSpec &input, size_t axis) {
  return axis < input.symbols.size() ? input.symbols[axis] : std::string();
}

/// What the model itself says: -1 where it leaves a dimension open, bound or not.
static Shape declaredShape(const InputSpec &input) {
  Shape shape = input.shape;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (!symbolOf(input, axis).empty())
      shape[axis] = -1;
  return shape;
}

/// An array whose first dimension counts rows, of which a batch makes a sample.
static std::optional<Layout> matchRows(llvm::ArrayRef<int64_t> shape, const InputSpec &input) {
  Layout layout;
  layout.rows = true;
  layout.batch = input.shape[0] < 0 ? 1 : input.shape[0];
  layout.rowSize = elementCount(shape.drop_front());
  layout.windowSize = layout.rowSize;
  layout.sampleShape.assign(shape.begin(), shape.end());
  layout.sampleShape[0] = layout.batch;
  bool isTokens = shape.size() == 2 && isInteger(input.elementType);
  Shape whole = isTokens ? input.shape : declaredShape(input);
  llvm::ArrayRef<int64_t> wanted = llvm::ArrayRef<int64_t>(whole).drop_front();
  if (!fits(shape.drop_front(), wanted)) {
    if (!isTokens || wanted[0] < 1 || shape[1] < wanted[0])
      return std::nullopt;
    layout.windowSize = wanted[0];
    layout.windowsPerRow = shape[1] / wanted[0];
    layout.droppedPerRow = shape[1] % wanted[0];
    layout.sampleShape[1] = wanted[0];
  }
  if (layout.batch < 1)
    return std::nullopt;
  int64_t rows = shape[0] * layout.windowsPerRow;
  layout.samples = rows / layout.batch;
  layout.droppedRows = rows % layout.batch;
  if (layout.samples == 0)
    return std::nullopt;
  return layout;
}

std::optional<Layout> matchArray(llvm::ArrayRef<int64_t> shape, const InputSpec &input, bool rowsAreSamples) {
  if (rowsAreSamples && !input.shape.empty() && shape.size() == input.shape.size())
    return shape[0] == 0 ? std::nullopt : matchRows(shape, input);
  Layout layout;
  Shape wanted = declaredShape(input);
  if (fits(shape, wanted)) {
    layout.sampleShape.assign(shape.begin(), shape.end());
    return layout;
  }
  if (shape.empty() || shape[0] == 0 || !fits(shape.drop_front(), wanted))
    return std::nullopt;
  layout.leading = true;
  layout.samples = shape[0];
  layout.sampleShape.assign(shape.begin() + 1, shape.end());
  return layout;
}

Tensor takeSample(const Tensor &array, const Layout &layout, int64_t index) {
  if (!layout.rows && !layout.leading)
    return array;
  Tensor sample = Tensor::allocate(array.elementType(), layout.sampleShape);
  const char *source = static_cast<const char *>(array.raw());
  char *destination = static_cast<char *>(sample.mutableRaw());
  int64_t width = bitWidth(array.elementType()) / 8;
  if (layout.leading) {
    std::memcpy(destination, source + index * sample.byteSize(), static_cast<size_t>(sample.byteSize()));
    return sample;
  }
  for (int64_t i = 0; i < layout.batch; ++i) {
    int64_t window = index * layout.batch + i;
    int64_t first = window / layout.windowsPerRow * layout.rowSize + window % layout.windowsPerRow * layout.windowSize;
    std::memcpy(destination + i * layout.windowSize * width, source + first * width,
                static_cast<size_t>(layout.windowSize * width));
  }
  return sample;
}

bool isConvertible(ElementType from, ElementType to) {
  if (from == to)
    return true;
  if (to == ElementType::F64)
    return from == ElementType::F32;
  if (isFloat(to))
    return to == ElementType::F32 && isFloat(from);
  return isInteger(to) && (isInteger(from) || from == ElementType::Bool);
}

/// Writes integers that fit into `To`; returns the index of the first that does not, or -1.
template <typename To>
static int64_t narrow(llvm::ArrayRef<int64_t> values, bool isUnsigned64, To *destination) {
  for (size_t i = 0; i < values.size(); ++i) {
    // A uint64 above the range of int64 shows as a negative value here.
    bool tooLarge = isUnsigned64 && values[i] < 0;
    if (tooLarge || !std::in_range<To>(values[i]))
      return static_cast<int64_t>(i);
    destination[i] = static_cast<To>(values[i]);
  }
  return -1;
}

llvm::Expected<Tensor> convertTensor(const Tensor &tensor, ElementType to, llvm::StringRef what) {
  if (tensor.elementType() == to)
    return tensor;
  Tensor result = Tensor::allocate(to, tensor.shape());
  int64_t bad = -1;
  if (to == ElementType::F64) {
    for (int64_t i = 0, count = tensor.elementCount(); i < count; ++i)
      result.mutableData<double>()[i] = tensor.valueAsDouble(i);
  } else if (to == ElementType::F32) {
    for (int64_t i = 0, count = tensor.elementCount(); i < count && bad < 0; ++i) {
      double value = tensor.valueAsDouble(i);
      float narrowed = static_cast<float>(value);
      if (std::isfinite(value) && !std::isfinite(narrowed))
        bad = i;
      result.mutableData<float>()[i] = narrowed;
    }
  } else {
    llvm::SmallVector<int64_t> values = tensor.valuesAsInt64();
    bool wide = tensor.elementType() == ElementType::U64;
    switch (to) {
    case ElementType::I8: bad = narrow(values, wide, result.mutableData<int8_t>()); break;
    case ElementType::U8: bad = narrow(values, wide, result.mutableData<uint8_t>()); break;
    case ElementType::I16: bad = narrow(values, wide, result.mutableData<int16_t>()); break;
    case ElementType::U16: bad = narrow(values, wide, result.mutableData<uint16_t>()); break;
    case ElementType::I32: bad = narrow(values, wide, result.mutableData<int32_t>()); break;
    case ElementType::U32: bad = narrow(values, wide, result.mutableData<uint32_t>()); break;
    case ElementType::I64: bad = narrow(values, wide, result.mutableData<int64_t>()); break;
    case ElementType::U64: bad = narrow(values, wide, result.mutableData<uint64_t>()); break;
    default:
      return makeError(ErrorKind::Unsupported, what + ": " + name(tensor.elementType()) + " cannot become " + name(to));
    }
  }
  if (bad >= 0)
    return makeError(ErrorKind::BadInput, what + ": element " + llvm::Twine(bad) + " does not fit into " + name(to));
  return result;
}

Completion completionOf(const InputSpec &input) {
  llvm::StringRef name = input.name;
  // A mask of higher rank is additive or has a meaning of its own, so ones would be a guess.
  if (name.ends_with("attention_mask") && input.shape.size() == 2)
    return Completion::AttentionMask;
  if (name.ends_with("position_ids") && isInteger(input.elementType) &&
      (input.shape.size() == 1 || input.shape.size() == 2))
    return Completion::PositionIds;
  if (name.starts_with("past_"))
    return Completion::Past;
  return Completion::None;
}

template <typename T> static void fill(Tensor &tensor, Completion completion) {
  int64_t width = tensor.rank() ? tensor.shape().back() : 1;
  T *data = tensor.mutableData<T>();
  for (int64_t i = 0, count = tensor.elementCount(); i < count; ++i)
    data[i] = completion == Completion::PositionIds ? static_cast<T>(i % width) : static_cast<T>(1);
}

Tensor makeCompletion(Completion completion, ElementType type, llvm::ArrayRef<int64_t> shape) {
  Tensor tensor = Tensor::allocate(type, shape);
  if (tensor.elementCount() == 0)
    return tensor;
  switch (type) {
  case ElementType::F32: fill<float>(tensor, completion); break;
  case ElementType::I64: fill<int64_t>(tensor, completion); break;
  case ElementType::I32: fill<int32_t>(tensor, completion); break;
  case ElementType::Bool: fill<bool>(tensor, completion); break;
  default: return {};
  }
  return tensor;
}

std::string describeArray(ElementType type, llvm::ArrayRef<int64_t> shape) {
  std::string text = name(type).str() + " [";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string describeSpec(const InputSpec &input) {
  std::string text = name(input.elementType).str() + " [";
  for (size_t i = 0; i < input.shape.size(); ++i) {
    bool named = input.shape[i] < 0 && i < input.symbols.size() && !input.symbols[i].empty();
    text += (i ? ", " : "") + (named ? input.symbols[i] : input.shape[i] < 0 ? "?" : std::to_string(input.shape[i]));
  }
  return text + "]";
}

} // namespace nibble::calib

#include "calib/Datasets/ModelInputs.h"
#include "calib/Datasets/Layout.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <optional>

namespace nibble::calib {

/// ONNX's words for element types, in lower case.
static std::optional<ElementType> parseElementType(llvm::StringRef word) {
  return llvm::StringSwitch<std::optional<ElementType>>(word)
      .Case("float", ElementType::F32).Case("double", ElementType::F64).Case("float16", ElementType::F16)
      .Case("bfloat16", ElementType::BF16).Case("int8", ElementType::I8).Case("uint8", ElementType::U8)
      .Case("int16", ElementType::I16).Case("uint16", ElementType::U16).Case("int32", ElementType::I32)
      .Case("uint32", ElementType::U32).Case("int64", ElementType::I64).Case("uint64", ElementType::U64)
      .Case("bool", ElementType::Bool).Default(std::nullopt);
}

llvm::Expected<std::vector<InputSpec>> makeInputSpecs(const onnx_import::ModelSummary &model,
                                                      const std::map<std::string, int64_t> &bindings) {
  std::vector<std::string> symbols;
  std::vector<InputSpec> inputs;
  for (const onnx_import::GraphValue &value : model.inputs) {
    std::optional<ElementType> type = parseElementType(value.elementType);
    if (!type)
      return makeError(ErrorKind::Unsupported, "input '" + value.name + "' is " + value.elementType +
                                                   ", of which no samples can be read");
    if (type == ElementType::F16 || type == ElementType::BF16)
      return makeError(ErrorKind::Unsupported, "input '" + value.name + "' is " + value.elementType +
                                                   "; models are quantized from float32",
                       {"export the model in float32"});
    InputSpec input{value.name, *type, Shape(value.shape.begin(), value.shape.end()), value.symbols};
    for (size_t axis = 0; axis < input.shape.size() && axis < input.symbols.size(); ++axis) {
      if (input.symbols[axis].empty())
        continue;
      if (!llvm::is_contained(symbols, input.symbols[axis]))
        symbols.push_back(input.symbols[axis]);
      if (auto bound = bindings.find(input.symbols[axis]); bound != bindings.end())
        input.shape[axis] = bound->second;
    }
    int64_t elements = 1;
    for (int64_t dim : input.shape)
      if (dim > 0 && (llvm::MulOverflow(elements, dim, elements) || elements > onnx_import::limits::elements))
        return makeError(ErrorKind::Limit, "input '" + value.name + "' is " + describeSpec(input) +
                                               ", at most 2^40 elements are handled");
    inputs.push_back(std::move(input));
  }
  for (const auto &[name, value] : bindings)
    if (!llvm::is_contained(symbols, name)) {
      std::string nearest = nearestName(name, symbols);
      return makeError(ErrorKind::Usage, "--bind " + name + "=" + llvm::Twine(value) + ": no input has this dimension",
                       {symbols.empty()   ? "all dimensions of the inputs are fixed"
                        : nearest.empty() ? "dimensions: " + llvm::join(symbols, ", ")
                                          : "nearest dimension: '" + nearest + "'"});
    }
  return inputs;
}

llvm::Error bindDimensions(const InputSpec &spec, ElementType type, llvm::ArrayRef<int64_t> shape, Dimensions &bindings) {
  if (shape.size() != spec.shape.size())
    return makeError(ErrorKind::BadInput, "input '" + spec.name + "': wanted " + describeSpec(spec) + ", found " +
                                              describeArray(type, shape));
  for (auto [symbol, size] : llvm::zip_equal(spec.symbols, shape)) {
    if (symbol.empty())
      continue;
    auto [bound, isNew] = bindings.try_emplace(symbol, size);
    if (!isNew && bound->second != size)
      return makeError(ErrorKind::BadInput, "input '" + spec.name + "': dimension '" + symbol + "' is " + llvm::Twine(size) +
                                                " where another input has " + llvm::Twine(bound->second));
  }
  return llvm::Error::success();
}

} // namespace nibble::calib

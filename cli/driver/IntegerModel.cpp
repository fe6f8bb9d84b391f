#include "cli/driver/IntegerModel.h"

#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace nibble::driver {

/// Flips the highest bit of every element: unsigned integers as signed ones around the middle, and back.
static Tensor shiftSign(const Tensor &tensor, ElementType type) {
  Tensor result = Tensor::allocate(type, tensor.shape());
  int64_t count = tensor.elementCount();
  if (bitWidth(type) == 8) {
    const auto *from = static_cast<const uint8_t *>(tensor.raw());
    auto *to = static_cast<uint8_t *>(result.mutableRaw());
    for (int64_t i = 0; i < count; ++i)
      to[i] = from[i] ^ 0x80;
  } else {
    const auto *from = static_cast<const uint16_t *>(tensor.raw());
    auto *to = static_cast<uint16_t *>(result.mutableRaw());
    for (int64_t i = 0; i < count; ++i)
      to[i] = from[i] ^ 0x8000;
  }
  return result;
}

llvm::Expected<Tensor> IntegerEnd::toStored(const Tensor &tensor) const {
  if (encoding) {
    llvm::Expected<Tensor> stored = quant::quantize(tensor, *encoding);
    if (!stored || stored->elementType() == storage)
      return stored;
    return shiftSign(*stored, storage);
  }
  if (tensor.elementType() == storage)
    return tensor;
  Tensor stored = Tensor::allocate(storage, tensor.shape());
  for (auto [i, value] : llvm::enumerate(tensor.valuesAsInt64())) {
    if (value < INT32_MIN || value > INT32_MAX)
      return makeError(ErrorKind::BadInput, "input '" + name + "' holds " + llvm::Twine(value) +
                                                ", and an integer program takes 32 bits");
    stored.mutableData<int32_t>()[i] = static_cast<int32_t>(value);
  }
  return stored;
}

Tensor IntegerEnd::toReal(const Tensor &stored) const {
  if (encoding)
    return quant::dequantize(stored.elementType() == encoding->storage ? stored : shiftSign(stored, encoding->storage),
                             *encoding);
  if (stored.elementType() != ElementType::I32)
    return stored;
  Tensor result = Tensor::allocate(ElementType::I64, stored.shape());
  llvm::copy(stored.values<int32_t>(), result.mutableData<int64_t>());
  return result;
}

llvm::Expected<IntegerEnds> IntegerEnds::of(ModuleOp module) {
  auto function = module.lookupSymbol<func::FuncOp>("main");
  auto describe = [&](DictionaryAttr attributes, Type type) -> llvm::Expected<IntegerEnd> {
    IntegerEnd end;
    auto tensor = cast<RankedTensorType>(type);
    end.shape = Shape(tensor.getShape());
    unsigned bits = tensor.getElementTypeBitWidth();
    end.storage = bits == 1    ? ElementType::Bool
                  : bits == 8  ? ElementType::I8
                  : bits == 16 ? ElementType::I16
                               : ElementType::I32;
    if (auto name = attributes ? attributes.getAs<StringAttr>(nn::nameAttribute) : StringAttr())
      end.name = name.str();
    if (auto symbol = attributes ? attributes.getAs<FlatSymbolRefAttr>(nn::encodingAttribute) : FlatSymbolRefAttr()) {
      llvm::Expected<quant::Encoding> encoding = nn::readEncoding(nn::lookupQuantizer(module, symbol));
      if (!encoding)
        return encoding.takeError();
      end.encoding = std::move(*encoding);
    }
    return end;
  };
  IntegerEnds ends;
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
    llvm::Expected<IntegerEnd> end = describe(function.getArgAttrDict(static_cast<unsigned>(i)), type);
    if (!end)
      return end.takeError();
    ends.inputs.push_back(std::move(*end));
  }
  for (auto [i, type] : llvm::enumerate(function.getResultTypes())) {
    llvm::Expected<IntegerEnd> end = describe(function.getResultAttrDict(static_cast<unsigned>(i)), type);
    if (!end)
      return end.takeError();
    ends.outputs.push_back(std::move(*end));
  }
  return ends;
}

llvm::Expected<std::unique_ptr<IntegerModel>> IntegerModel::create(ModuleOp module, std::vector<std::string> inputNames,
                                                                   runtime::ExecutionObserver *observer,
                                                                   runtime::IntegerOptions options) {
  auto model = std::make_unique<IntegerModel>();
  llvm::Expected<IntegerEnds> ends = IntegerEnds::of(module);
  if (!ends)
    return ends.takeError();
  model->ends = std::move(*ends);
  model->inputNames = std::move(inputNames);
  llvm::Expected<std::unique_ptr<runtime::Program>> program =
      runtime::createIntegerProgram(module.lookupSymbol<func::FuncOp>("main"), observer, options);
  if (!program)
    return program.takeError();
  model->program = std::move(*program);
  return model;
}

llvm::Expected<std::vector<Tensor>> IntegerModel::store(llvm::ArrayRef<Tensor> sample) const {
  std::vector<Tensor> stored;
  for (const IntegerEnd &end : ends.inputs) {
    auto place = llvm::find(inputNames, end.name) - inputNames.begin();
    assert(place < static_cast<int64_t>(sample.size()) && "an integer program has inputs of its model only");
    llvm::Expected<Tensor> tensor = end.toStored(sample[static_cast<size_t>(place)]);
    if (!tensor)
      return tensor.takeError();
    stored.push_back(std::move(*tensor));
  }
  return stored;
}

llvm::Expected<std::vector<Tensor>> IntegerModel::run(llvm::ArrayRef<Tensor> sample) {
  llvm::Expected<std::vector<Tensor>> stored = store(sample);
  if (!stored)
    return stored.takeError();
  llvm::Expected<std::vector<Tensor>> results = program->run(*stored);
  if (!results)
    return results.takeError();
  for (auto [end, tensor] : llvm::zip_equal(ends.outputs, *results))
    tensor = end.toReal(tensor);
  return results;
}

} // namespace nibble::driver

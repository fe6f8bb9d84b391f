#include "cli/driver/IntegerModel.h"

#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Quant/Encoding.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace nibble::driver {

llvm::Expected<IntegerEnds> IntegerEnds::of(ModuleOp module) {
  auto function = module.lookupSymbol<func::FuncOp>("main");
  auto describe = [&](DictionaryAttr attributes, Type type) -> llvm::Expected<IoTensor> {
    IoTensor end;
    auto tensor = cast<RankedTensorType>(type);
    end.shape = Shape(tensor.getShape());
    end.type = *runtime::storageType(tensor.getElementType());
    if (auto name = attributes ? attributes.getAs<StringAttr>(nn::nameAttribute) : StringAttr())
      end.name = name.str();
    if (auto symbol = attributes ? attributes.getAs<FlatSymbolRefAttr>(nn::encodingAttribute) : FlatSymbolRefAttr()) {
      llvm::Expected<quant::Encoding> encoding = nn::readEncoding(nn::lookupQuantizer(module, symbol));
      if (!encoding)
        return encoding.takeError();
      // Unsigned encodings are the same integers shifted to the signed type.
      assert(encoding->scales.size() == 1 && "activations have one scale");
      end.scale = encoding->scales.front();
      end.zeroPoint = (encoding->zeroPoints.empty() ? 0 : encoding->zeroPoints.front()) -
                      (quant::integerRange(encoding->storage).first == 0 ? int64_t(1) << (bitWidth(end.type) - 1) : 0);
    }
    return end;
  };
  IntegerEnds ends;
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
    llvm::Expected<IoTensor> end = describe(function.getArgAttrDict(static_cast<unsigned>(i)), type);
    if (!end)
      return end.takeError();
    ends.inputs.push_back(std::move(*end));
  }
  for (auto [i, type] : llvm::enumerate(function.getResultTypes())) {
    llvm::Expected<IoTensor> end = describe(function.getResultAttrDict(static_cast<unsigned>(i)), type);
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
  for (const IoTensor &end : ends.inputs) {
    auto place = llvm::find(inputNames, end.name) - inputNames.begin();
    assert(place < static_cast<int64_t>(sample.size()) && "an integer program has inputs of its model only");
    llvm::Expected<Tensor> tensor = toStored(end, sample[static_cast<size_t>(place)]);
    if (!tensor)
      return tensor.takeError();
    stored.push_back(std::move(*tensor));
  }
  return stored;
}

static Tensor widen(const Tensor &numbers) {
  Tensor result = Tensor::allocate(ElementType::I64, numbers.shape());
  llvm::copy(numbers.values<int32_t>(), result.mutableData<int64_t>());
  return result;
}

llvm::Expected<std::vector<Tensor>> IntegerModel::run(llvm::ArrayRef<Tensor> sample) {
  llvm::Expected<std::vector<Tensor>> stored = store(sample);
  if (!stored)
    return stored.takeError();
  llvm::Expected<std::vector<Tensor>> results = program->run(*stored);
  if (!results)
    return results.takeError();
  for (auto [end, tensor] : llvm::zip_equal(ends.outputs, *results))
    tensor = end.type == ElementType::I32 ? widen(tensor) : toReal(end, tensor);
  return results;
}

} // namespace nibble::driver

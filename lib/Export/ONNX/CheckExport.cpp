#include "lib/Export/ONNX/CheckExport.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Export/ONNX/Flatten.h"
#include "lib/Export/ONNX/TensorNames.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Error.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringMap.h"
#include <cmath>
#include <limits>

using namespace mlir;

namespace nibble::onnx_export {
namespace {

/// A written file, imported into a context of its own.
class ReadBack {
public:
  static llvm::Expected<std::unique_ptr<ReadBack>> open(llvm::StringRef path) {
    auto file = std::make_unique<ReadBack>();
    file->path = path.str();
    file->context.loadDialect<nn::NNDialect, func::FuncDialect>();
    llvm::Expected<OwningOpRef<ModuleOp>> module = onnx_import::importModel(path, file->context, {});
    if (!module)
      return module.takeError();
    file->module = std::move(*module);
    file->function().walk([&](Operation *op) {
      for (Value result : op->getResults())
        file->values.try_emplace(nn::tensorName(result), result);
    });
    return file;
  }
  func::FuncOp function() { return mainFunction(*module); }
  /// The value that carries `name`, or null.
  Value find(llvm::StringRef name) const { return values.lookup(name); }
  llvm::Error differs(llvm::StringRef tensor, const llvm::Twine &how) const {
    return makeError(ErrorKind::Internal, "'" + path + "' read back: tensor '" + tensor + "' " + how);
  }

private:
  std::string path;
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  llvm::StringMap<Value> values;
};

/// The value of a program's constant part.
llvm::Expected<Tensor> evaluateConstant(Value value) {
  llvm::Expected<Tensor> constant = nn::readConstant(value);
  if (!constant || *constant)
    return constant;
  Operation *op = value.getDefiningOp();
  if (!op)
    return makeError(ErrorKind::Internal, "tensor '" + nn::tensorName(value) + "' read back is not constant");
  SmallVector<Tensor> operands;
  for (Value operand : op->getOperands()) {
    llvm::Expected<Tensor> tensor = evaluateConstant(operand);
    if (!tensor)
      return tensor.takeError();
    operands.push_back(std::move(*tensor));
  }
  llvm::Expected<SmallVector<Tensor>> results = runtime::evaluate(op, operands);
  if (!results)
    return results.takeError();
  return (*results)[cast<OpResult>(value).getResultNumber()];
}

llvm::Expected<quant::Encoding> encodingOf(Operation *op, FlatSymbolRefAttr symbol) {
  nn::QuantizerOp quantizer = nn::lookupQuantizer(op, symbol);
  if (!quantizer)
    return makeError(ErrorKind::BadInput, "there is no quantizer @" + symbol.getValue());
  return nn::readEncoding(quantizer);
}

llvm::Error checkWeight(const ReadBack &file, nn::DequantizeWeightOp op, const std::string &name) {
  auto found = dyn_cast_if_present<nn::DequantizeLinearOp>(file.find(name) ? file.find(name).getDefiningOp() : nullptr);
  if (!found)
    return file.differs(name, "is not the result of DequantizeLinear");
  llvm::Expected<quant::Encoding> encoding = encodingOf(op, op.getQuantizerAttr());
  if (!encoding)
    return encoding.takeError();
  llvm::Expected<Tensor> stored = evaluateConstant(op.getInput());
  if (!stored)
    return stored.takeError();
  llvm::Expected<Tensor> real = evaluateConstant(found.getY());
  if (!real)
    return real.takeError();
  Tensor wanted = quant::dequantize(*stored, *encoding);
  if (real->shape() != wanted.shape() || real->elementType() != wanted.elementType())
    return file.differs(name, "has another type or shape than was written");
  for (auto [index, a, b] : llvm::enumerate(real->values<float>(), wanted.values<float>()))
    if (a != b)
      return file.differs(name, "has " + std::to_string(a) + " at element " + llvm::Twine(index) + " where " +
                                    std::to_string(b) + " was written");
  return llvm::Error::success();
}

/// Compares scales and zero points of a quantization operator with those of a quantizer.
llvm::Error checkScales(const ReadBack &file, const std::string &name, Value scales, Value zeroPoints,
                        const quant::Encoding &wanted) {
  llvm::Expected<Tensor> found = nn::readConstant(scales);
  if (!found)
    return found.takeError();
  if (!*found || found->values<float>() != llvm::ArrayRef<float>(wanted.scales))
    return file.differs(name, "has other scales than were written");
  std::optional<SmallVector<int64_t>> zeros = nn::readConstantIntegers(zeroPoints);
  if (!zeros || getElementTypeOrSelf(zeroPoints) != nn::toMLIRType(zeroPoints.getContext(), wanted.storage))
    return file.differs(name, "has no zero points of type " + nibble::name(wanted.storage));
  for (auto [index, zero] : llvm::enumerate(*zeros))
    if (zero != (wanted.zeroPoints.empty() ? 0 : wanted.zeroPoints[index]))
      return file.differs(name, "has zero point " + llvm::Twine(zero) + " where another was written");
  return llvm::Error::success();
}

/// A rounded activation appears as the result of DequantizeLinear or, at the graph's edge, of QuantizeLinear.
llvm::Error checkActivation(const ReadBack &file, nn::FakeQuantOp op, const std::string &name) {
  llvm::Expected<quant::Encoding> wanted = encodingOf(op, op.getQuantizerAttr());
  if (!wanted)
    return wanted.takeError();
  Value value = file.find(name);
  if (auto real = value ? value.getDefiningOp<nn::DequantizeLinearOp>() : nullptr)
    return checkScales(file, name, real.getXScale(), real.getXZeroPoint(), *wanted);
  if (auto stored = value ? value.getDefiningOp<nn::QuantizeLinearOp>() : nullptr)
    return checkScales(file, name, stored.getYScale(), stored.getYZeroPoint(), *wanted);
  return file.differs(name, "is not rounded");
}

/// Whether `found` is what `wanted` is, but for an integer element type where edges may be integers.
bool isSameEdge(Type wanted, Type found, bool mayBeInteger) {
  auto a = dyn_cast<RankedTensorType>(wanted), b = dyn_cast<RankedTensorType>(found);
  if (!a || !b || a.getRank() != b.getRank())
    return false;
  auto elements = [](RankedTensorType type) { return nn::toElementType(type.getElementType()); };
  return a.getShape() == b.getShape() && (elements(a) == elements(b) || (mayBeInteger && elements(a) == ElementType::F32));
}

llvm::Error checkEdges(ReadBack &file, func::FuncOp function, const TensorNames &names, bool integerIO) {
  func::FuncOp found = file.function();
  if (found.getNumArguments() != function.getNumArguments() || found.getNumResults() != function.getNumResults())
    return file.differs("main", "has another number of inputs or outputs than was written");
  for (BlockArgument argument : function.getArguments()) {
    BlockArgument other = found.getArgument(argument.getArgNumber());
    if (nn::tensorName(other) != names.of(argument) || !isSameEdge(argument.getType(), other.getType(), integerIO))
      return file.differs(names.of(argument), "is not the input that was written");
  }
  for (unsigned i = 0; i < function.getNumResults(); ++i) {
    auto name = found.getResultAttrOfType<StringAttr>(i, nn::nameAttribute);
    if (!name || name.getValue() != names.outputs()[i] ||
        !isSameEdge(function.getResultTypes()[i], found.getResultTypes()[i], integerIO))
      return file.differs(names.outputs()[i], "is not the output that was written");
  }
  return llvm::Error::success();
}

} // namespace

llvm::Expected<ExportCheck> checkQDQ(ModuleOp module, llvm::StringRef path, const QDQOptions &options) {
  llvm::Expected<OwningOpRef<ModuleOp>> flat = flattenModule(module);
  if (!flat)
    return flat.takeError();
  llvm::Expected<std::unique_ptr<ReadBack>> file = ReadBack::open(path);
  if (!file)
    return file.takeError();
  func::FuncOp function = mainFunction(**flat);
  TensorNames names(function, options.dropQuantizers ? TensorNames::Form::Float : TensorNames::Form::Quantized);
  if (llvm::Error error = checkEdges(**file, function, names, options.integerIO))
    return std::move(error);
  ExportCheck check;
  if (options.dropQuantizers)
    return check;
  for (Operation &op : function.getBody().front()) {
    if (op.use_empty())
      continue;
    if (auto weight = dyn_cast<nn::DequantizeWeightOp>(op)) {
      if (llvm::Error error = checkWeight(**file, weight, names.of(weight.getResult())))
        return std::move(error);
      ++check.weights;
    }
    if (auto quantize = dyn_cast<nn::FakeQuantOp>(op)) {
      if (llvm::Error error = checkActivation(**file, quantize, names.of(quantize.getResult())))
        return std::move(error);
      ++check.activations;
    }
  }
  return check;
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

/// The encoding of an integer edge, from the quantization operator beside it.
static llvm::Expected<quant::Encoding> edgeEncoding(Value scales, Value zeroPoints) {
  std::optional<double> scale = nn::readConstantScalar(scales);
  std::optional<SmallVector<int64_t>> zeros = nn::readConstantIntegers(zeroPoints);
  if (!scale || !zeros || zeros->size() != 1)
    return makeError(ErrorKind::Internal, "an integer edge read back has no constant scale");
  return quant::makeTensorEncoding(*nn::toElementType(getElementTypeOrSelf(zeroPoints)), static_cast<float>(*scale),
                                   zeros->front());
}

/// Float inputs as the file takes them.
static llvm::Error quantizeInputs(func::FuncOp function, std::vector<Tensor> &inputs) {
  for (BlockArgument argument : function.getArguments()) {
    Tensor &input = inputs[argument.getArgNumber()];
    std::optional<ElementType> wanted = nn::toElementType(getElementTypeOrSelf(argument.getType()));
    if (input.elementType() != ElementType::F32 || wanted == ElementType::F32)
      continue;
    auto reader = argument.use_empty() ? nullptr : dyn_cast<nn::DequantizeLinearOp>(*argument.getUsers().begin());
    if (!reader)
      return makeError(ErrorKind::Internal, "integer input '" + nn::tensorName(argument) + "' is not dequantized");
    llvm::Expected<quant::Encoding> encoding = edgeEncoding(reader.getXScale(), reader.getXZeroPoint());
    if (!encoding)
      return encoding.takeError();
    llvm::Expected<Tensor> stored = quant::quantize(input, *encoding);
    if (!stored)
      return stored.takeError();
    input = std::move(*stored);
  }
  return llvm::Error::success();
}

/// Integer outputs as reals, where the program's own output is float.
static llvm::Error dequantizeOutputs(func::FuncOp function, llvm::ArrayRef<Tensor> wanted,
                                     std::vector<Tensor> &outputs) {
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [value, reference, output] : llvm::zip_equal(terminator->getOperands(), wanted, outputs)) {
    if (reference.elementType() != ElementType::F32 || output.elementType() == ElementType::F32)
      continue;
    Value source = value;
    while (auto identity = source.getDefiningOp<nn::IdentityOp>())
      source = identity.getInput();
    Value scales, zeroPoints;
    if (auto quantize = source.getDefiningOp<nn::QuantizeLinearOp>()) {
      scales = quantize.getYScale();
      zeroPoints = quantize.getYZeroPoint();
    } else if (isa<BlockArgument>(source)) {
      auto reader = dyn_cast<nn::DequantizeLinearOp>(*source.getUsers().begin());
      scales = reader ? reader.getXScale() : Value();
      zeroPoints = reader ? reader.getXZeroPoint() : Value();
    }
    if (!scales || !zeroPoints)
      return makeError(ErrorKind::Internal, "an integer output read back is not quantized");
    llvm::Expected<quant::Encoding> encoding = edgeEncoding(scales, zeroPoints);
    if (!encoding)
      return encoding.takeError();
    output = quant::dequantize(output, *encoding);
  }
  return llvm::Error::success();
}

static llvm::Expected<double> relativeDifference(const Tensor &found, const Tensor &wanted) {
  if (found.shape() != wanted.shape() || found.elementType() != wanted.elementType())
    return makeError(ErrorKind::Internal, "an output read back has another type or shape than was written");
  double difference = 0, magnitude = 0;
  for (int64_t i = 0; i < wanted.elementCount(); ++i) {
    double a = found.valueAsDouble(i), b = wanted.valueAsDouble(i);
    if (std::isfinite(b))
      magnitude = std::max(magnitude, std::fabs(b));
    // A value that is not a number differs from every number; equal infinities do not differ.
    if (std::isnan(a) != std::isnan(b))
      return std::numeric_limits<double>::infinity();
    if (a != b && !std::isnan(a))
      difference = std::max(difference, std::fabs(a - b));
  }
  return difference == 0 ? 0.0 : difference / magnitude;
}

llvm::Expected<double> compareExecution(ModuleOp module, llvm::StringRef path,
                                        llvm::ArrayRef<std::vector<Tensor>> samples) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main)
    return makeError(ErrorKind::BadInput, "the module has no function @main");
  std::vector<std::vector<Tensor>> wanted;
  {
    // One program at a time: each holds packed weights.
    llvm::Expected<std::unique_ptr<runtime::Program>> program = runtime::Program::create(main);
    if (!program)
      return program.takeError();
    for (const std::vector<Tensor> &sample : samples) {
      llvm::Expected<std::vector<Tensor>> outputs = (*program)->run(sample);
      if (!outputs)
        return outputs.takeError();
      wanted.push_back(std::move(*outputs));
    }
  }
  llvm::Expected<std::unique_ptr<ReadBack>> file = ReadBack::open(path);
  if (!file)
    return file.takeError();
  func::FuncOp function = (*file)->function();
  llvm::Expected<std::unique_ptr<runtime::Program>> program = runtime::Program::create(function);
  if (!program)
    return program.takeError();
  double largest = 0;
  for (auto [sample, reference] : llvm::zip_equal(samples, wanted)) {
    std::vector<Tensor> inputs = sample;
    if (llvm::Error error = quantizeInputs(function, inputs))
      return std::move(error);
    llvm::Expected<std::vector<Tensor>> outputs = (*program)->run(inputs);
    if (!outputs)
      return outputs.takeError();
    if (outputs->size() != reference.size())
      return makeError(ErrorKind::Internal, "'" + path + "' read back has another number of outputs than was written");
    if (llvm::Error error = dequantizeOutputs(function, reference, *outputs))
      return std::move(error);
    for (auto [output, expected] : llvm::zip_equal(*outputs, reference)) {
      llvm::Expected<double> difference = relativeDifference(output, expected);
      if (!difference)
        return difference.takeError();
      largest = std::max(largest, *difference);
    }
  }
  return largest;
}

} // namespace nibble::onnx_export

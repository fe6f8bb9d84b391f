#include "passes/Quantize/ConstantQuantizer.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Diagnostics.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Calibrate/QuantizationRules.h"

#include "mlir/IR/Builders.h"
#include <cmath>

using namespace mlir;

namespace nibble {

static FailureOr<quant::Encoding> read(nn::QuantizerOp quantizer) {
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
  if (!encoding)
    return quantizer.emitError(llvm::toString(encoding.takeError()));
  return *encoding;
}

FailureOr<Tensor> ConstantQuantizer::readFloats(QuantizerUse &use) {
  nn::FakeQuantOp fakeQuant = use.fakeQuants.front();
  nn::ConstantOp constant = getConstant(fakeQuant.getInput());
  if (!constant)
    return fakeQuant.emitError("tensor '")
           << use.quantizer.getTensor().value_or("") << "': a " << use.role() << " must be a constant";
  llvm::Expected<Tensor> tensor = nn::readConstant(constant.getResult());
  if (!tensor)
    return fakeQuant.emitError(llvm::toString(tensor.takeError()));
  if (tensor->elementType() != ElementType::F32)
    return fakeQuant.emitError("tensor '") << use.quantizer.getTensor().value_or("") << "': expected float32, but found "
                                           << name(tensor->elementType());
  return *tensor;
}

FailureOr<quant::Encoding> ConstantQuantizer::readOperand(Value value) {
  nn::QuantizerOp quantizer = nn::quantizerOf(value);
  FailureOr<quant::Encoding> encoding = quantizer ? read(quantizer) : FailureOr<quant::Encoding>();
  if (succeeded(encoding) && encoding->isCalibrated())
    return encoding;
  return mlir::emitError(value.getLoc(), "tensor '")
         << nn::tensorName(value) << "' has no range yet; activations are quantized before weights";
}

LogicalResult ConstantQuantizer::quantizeConstant(QuantizerUse &use) {
  FailureOr<Tensor> constant = readFloats(use);
  FailureOr<quant::Encoding> encoding = read(use.quantizer);
  if (failed(constant) || failed(encoding))
    return failure();
  for (auto [index, value] : llvm::enumerate(constant->values<float>()))
    if (!std::isfinite(value)) {
      InFlightDiagnostic diagnostic = use.fakeQuants.front()->emitError("constant '")
                                      << use.quantizer.getTensor().value_or("") << "': element " << index
                                      << " is not finite";
      nn::markAsBadInput(diagnostic);
      return diagnostic;
    }
  return store(use, *constant, quant::makeConstantEncoding(*constant, encoding->storage, encoding->symmetric),
               "extremes of the constant");
}

LogicalResult ConstantQuantizer::quantizeBias(QuantizerUse &use) {
  FailureOr<Tensor> bias = readFloats(use);
  FailureOr<quant::Encoding> encoding = read(use.quantizer);
  if (failed(bias) || failed(encoding))
    return failure();
  Operation *op = *use.fakeQuants.front()->getUsers().begin();
  FailureOr<quant::Encoding> input = readOperand(op->getOperand(0)), weight = readOperand(op->getOperand(1));
  if (failed(input) || failed(weight))
    return failure();
  quant::Encoding chosen = *encoding;
  for (float scale : weight->scales)
    chosen.scales.push_back(quant::makeScale(static_cast<double>(input->scales[0]) * static_cast<double>(scale)));
  return store(use, *bias, chosen, "input scale times weight scale");
}

static quant::WeightEncodingOptions makeOptions(const quant::Encoding &encoding, const WeightSettings &settings) {
  quant::WeightEncodingOptions options;
  options.storage = encoding.storage;
  options.symmetric = encoding.symmetric;
  options.quantMin = encoding.quantMin;
  options.quantMax = encoding.quantMax;
  options.searchScale = settings.scaleSearch.value_or("mse") != "min-max";
  options.granularity = encoding.granularity();
  if (options.granularity == quant::Granularity::Axis)
    options.channelAxis = *encoding.axis;
  if (encoding.blockSize) {
    options.blockAxis = *encoding.axis;
    options.blockSize = *encoding.blockSize;
    options.channelAxis = encoding.channelAxis.value_or(0);
  }
  return options;
}

/// The mean square of every input channel, as `moments` of patches hold it.
static std::vector<double> channelMoments(const quant::LayerMoments &moments, size_t inputs) {
  // A grouped layer's weight has the channels of one group.
  size_t columns = static_cast<size_t>(moments.columns);
  std::vector<double> result(inputs, 0.0);
  if (columns % inputs != 0)
    return {};
  for (int64_t group = 0; group < moments.groups; ++group)
    for (size_t column = 0; column < columns; ++column)
      result[column / (columns / inputs)] += static_cast<double>(moments.gramOf(group)[column * columns + column]);
  return result;
}

void ConstantQuantizer::addImportance(OpOperand &reader, const Tensor &weight, const quant::LayerMoments *moments,
                                      quant::WeightEncodingOptions &options) {
  Operation *op = reader.getOwner();
  OperandRole role = getOperandRole(reader);
  // Statistics run along the axis of the first operand that is multiplied with the second.
  if (!isa<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp, nn::GemmOp>(op) || reader.getOperandNumber() != 1 ||
      !role.inputAxis)
    return;
  size_t inputs = static_cast<size_t>(weight.shape()[static_cast<size_t>(*role.inputAxis)]);
  std::vector<double> squares;
  if (moments) {
    squares = channelMoments(*moments, inputs);
  } else {
    QuantizerUse *use = uses.find(op->getOperand(0));
    std::string tensor = use ? use->quantizer.getTensor().value_or("").str() : nn::tensorName(op->getOperand(0));
    if (const quant::TensorStatistics *seen = statistics.find(tensor))
      squares = seen->channelSumOfSquares;
  }
  if (squares.size() != inputs)
    return;
  double total = 0;
  for (double value : squares)
    total += value;
  if (!(total > 0) || !std::isfinite(total))
    return;
  for (double value : squares)
    options.importance.push_back(static_cast<float>(value * static_cast<double>(inputs) / total));
  options.importanceAxis = *role.inputAxis;
}

FailureOr<ChosenWeight> ConstantQuantizer::chooseWeight(QuantizerUse &use, const WeightSettings &settings,
                                                        const quant::LayerMoments *moments) {
  FailureOr<Tensor> weight = readFloats(use);
  FailureOr<quant::Encoding> encoding = read(use.quantizer);
  if (failed(weight) || failed(encoding))
    return failure();
  OpOperand &reader = *use.fakeQuants.front()->use_begin();
  quant::WeightEncodingOptions options = makeOptions(*encoding, settings);
  addImportance(reader, *weight, moments, options);
  llvm::Expected<quant::Encoding> chosen = quant::chooseWeightEncoding(*weight, options);
  if (!chosen) {
    InFlightDiagnostic diagnostic = reader.getOwner()->emitError("node '")
                                    << nn::nodeName(reader.getOwner()) << "', weight '"
                                    << use.quantizer.getTensor().value_or("") << "': ";
    nn::appendError(diagnostic, chosen.takeError());
    return diagnostic;
  }
  ChosenWeight result{*weight, std::move(*chosen), {}, options.searchScale ? "least squared error" : "extremes of the weight"};
  if (options.searchScale && !options.importance.empty())
    result.origin += ", weighted by the mean square of the inputs";
  for (nn::FakeQuantOp fakeQuant : use.fakeQuants)
    for (Operation *op : fakeQuant->getUsers())
      if (failed(boundScales(op, result)))
        return failure();
  unsigned raised = 0;
  for (size_t i = 0; i < result.minimumScales.size(); ++i)
    if (result.encoding.scales[i] < result.minimumScales[i]) {
      result.encoding.scales[i] = result.minimumScales[i];
      ++raised;
    }
  if (raised > 0)
    result.origin += ", " + std::to_string(raised) + " scales raised for the sake of the bias";
  numRaised += raised;
  return result;
}

/// Below which scales integer accumulation is not sound on every target: with steps s = input scale * weight scale,
/// the bias, alone and with the zero point of the result, fits 32 bits, and the multiplier s / output scale is above
/// 2^-24, below which it loses its precision.
LogicalResult ConstantQuantizer::boundScales(Operation *op, ChosenWeight &weight) {
  if (!isa<nn::ConvOp, nn::ConvTransposeOp, nn::GemmOp>(op) || op->getNumOperands() < 3)
    return success();
  QuantizerUse *bias = uses.find(op->getOperand(2));
  if (!bias || bias->role() != "bias")
    return success();
  FailureOr<Tensor> values = readFloats(*bias);
  FailureOr<quant::Encoding> input = readOperand(op->getOperand(0));
  if (failed(values) || failed(input))
    return failure();
  std::optional<quant::Encoding> output;
  for (Operation *user : op->getUsers())
    if (auto fakeQuant = dyn_cast<nn::FakeQuantOp>(user)) {
      FailureOr<quant::Encoding> read = readOperand(fakeQuant.getResult());
      if (failed(read))
        return failure();
      output = *read;
    }
  weight.minimumScales.resize(weight.encoding.scales.size(), 0.0f);
  double inputScale = static_cast<double>(input->scales[0]);
  for (auto [channel, minimum] : llvm::enumerate(weight.minimumScales)) {
    double largest = 0;
    for (auto [i, value] : llvm::enumerate(values->values<float>()))
      if (weight.minimumScales.size() == 1 || i == channel)
        largest = std::max(largest, std::abs(static_cast<double>(value)));
    double needed = largest / (2147483648.0 - 32768.0);
    if (output) {
      double outputScale = static_cast<double>(output->scales[0]);
      double zeroPoint = output->zeroPoints.empty() ? 0 : std::abs(static_cast<double>(output->zeroPoints[0]));
      needed = std::max({needed, outputScale * std::ldexp(1.0, -24), (largest + zeroPoint * outputScale) / 2147483000.0});
    }
    // Slightly more than needed, as the scale is rounded to float32.
    if (needed > 0)
      minimum = std::max(minimum, quant::makeScale(needed / inputScale * 1.000001));
  }
  return success();
}

/// The constant that `op` adds as its bias, and the operand that names it: of `op`, or of the fake_quant before it.
static OpOperand *findBias(Operation *op) {
  if (!isa<nn::ConvOp, nn::ConvTransposeOp, nn::GemmOp>(op) || op->getNumOperands() < 3)
    return nullptr;
  OpOperand *operand = &op->getOpOperand(2);
  if (auto fakeQuant = operand->get().getDefiningOp<nn::FakeQuantOp>()) {
    if (!fakeQuant->hasOneUse())
      return nullptr;
    operand = &fakeQuant->getOpOperand(0);
  }
  auto constant = operand->get().getDefiningOp<nn::ConstantOp>();
  return constant && constant->hasOneUse() ? operand : nullptr;
}

bool ConstantQuantizer::canCorrectBias(Operation *op) {
  OpOperand *bias = findBias(op);
  if (!bias)
    return false;
  auto gemm = dyn_cast<nn::GemmOp>(op);
  ArrayRef<int64_t> result = cast<RankedTensorType>(op->getResult(0).getType()).getShape();
  return cast<RankedTensorType>(bias->get().getType()).getNumElements() == result[1] &&
         (!gemm || gemm.getBeta().convertToFloat() == 1.0f);
}

LogicalResult ConstantQuantizer::correctBias(Operation *op, ArrayRef<float> correction) {
  OpOperand *operand = findBias(op);
  assert(operand && "correctBias is for layers that canCorrectBias");
  llvm::Expected<Tensor> bias = nn::readConstant(operand->get());
  if (!bias)
    return op->emitError(llvm::toString(bias.takeError()));
  Tensor corrected = Tensor::allocate(ElementType::F32, bias->shape());
  for (auto [index, value] : llvm::enumerate(correction))
    corrected.mutableData<float>()[index] = bias->data<float>()[index] + value;
  MLIRContext *context = op->getContext();
  llvm::Expected<Attribute> attribute = nn::makeConstantAttribute(context, corrected);
  if (!attribute)
    return op->emitError(llvm::toString(attribute.takeError()));
  Operation *old = operand->get().getDefiningOp();
  OpBuilder builder(old);
  auto constant = nn::ConstantOp::create(builder, old->getLoc(), nn::typeOf(context, corrected), *attribute);
  operand->set(constant.getResult());
  old->erase();
  return success();
}

LogicalResult ConstantQuantizer::store(QuantizerUse &use, const Tensor &values, const quant::Encoding &encoding,
                    const std::string &origin) {
  llvm::Expected<Tensor> stored = quant::quantize(values, encoding);
  if (!stored)
    return use.fakeQuants.front()->emitError("tensor '")
           << use.quantizer.getTensor().value_or("") << "': " << llvm::toString(stored.takeError());
  if (llvm::Error error = nn::writeEncoding(use.quantizer, encoding))
    return use.quantizer.emitError(llvm::toString(std::move(error)));
  use.quantizer.setOrigin(StringRef(origin));
  MLIRContext *context = use.quantizer.getContext();
  llvm::Expected<Attribute> attribute = nn::makeConstantAttribute(context, *stored);
  if (!attribute)
    return use.quantizer.emitError(llvm::toString(attribute.takeError()));
  for (nn::FakeQuantOp fakeQuant : use.fakeQuants) {
    OpBuilder builder(fakeQuant);
    std::string tensor = nn::tensorName(fakeQuant.getInput()) + "/stored";
    auto constant = nn::ConstantOp::create(builder, nn::makeLocation(context, tensor, {tensor}),
                                           nn::typeOf(context, *stored), *attribute);
    auto weight = nn::DequantizeWeightOp::create(builder, fakeQuant.getLoc(), fakeQuant.getType(), constant.getResult(),
                                                 fakeQuant.getQuantizerAttr());
    Operation *source = fakeQuant.getInput().getDefiningOp();
    fakeQuant.getResult().replaceAllUsesWith(weight.getResult());
    fakeQuant.erase();
    if (source && source->use_empty())
      source->erase();
  }
  ++numStored;
  return success();
}

} // namespace nibble

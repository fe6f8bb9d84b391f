//===- QuantizeWeights.cpp - constants become stored integers ----------------===//
//
// Weights get scales by search, biases the product of their layer's input and weight scales, and
// constants beside activations their own encoding. Each float constant is replaced by its integers and an
// nn.dequantize_weight. Activation ranges are fixed by now, as biases depend on them.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Diagnostics.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Quant/WeightQuantizer.h"
#include "passes/Assign/PassInputs.h"
#include "passes/Assign/RecipeResolver.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Passes.h"

#include "mlir/IR/Builders.h"
#include <cmath>

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_QUANTIZEWEIGHTSPASS
#include "passes/Passes.h.inc"

namespace {

/// What bounds the weight scales of a layer whose bias is stored in the accumulator's steps.
struct Layer {
  quant::Encoding input;
  std::optional<quant::Encoding> output;
  /// Float values, one per output channel.
  Tensor bias;
};

class ConstantQuantizer {
public:
  ConstantQuantizer(QuantizerUses &uses, const quant::Statistics &statistics) : uses(uses), statistics(statistics) {}

  LogicalResult quantizeConstant(QuantizerUse &use) {
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

  LogicalResult quantizeWeight(QuantizerUse &use, const WeightSettings &settings) {
    FailureOr<Tensor> weight = readFloats(use);
    FailureOr<quant::Encoding> encoding = read(use.quantizer);
    if (failed(weight) || failed(encoding))
      return failure();
    OpOperand &reader = *use.fakeQuants.front()->use_begin();
    quant::WeightEncodingOptions options = makeOptions(*encoding, settings);
    addImportance(reader, *weight, options);
    llvm::Expected<quant::Encoding> chosen = quant::chooseWeightEncoding(*weight, options);
    if (!chosen) {
      InFlightDiagnostic diagnostic = reader.getOwner()->emitError("node '")
                                      << nn::nodeName(reader.getOwner()) << "', weight '"
                                      << use.quantizer.getTensor().value_or("")
                                      << "': ";
      nn::appendError(diagnostic, chosen.takeError());
      return diagnostic;
    }
    unsigned raisedBefore = numRaised;
    for (nn::FakeQuantOp fakeQuant : use.fakeQuants)
      for (Operation *op : fakeQuant->getUsers())
        if (failed(raiseScalesForBias(op, *chosen)))
          return failure();
    std::string origin = options.searchScale ? "least squared error" : "extremes of the weight";
    if (options.searchScale && !options.importance.empty())
      origin += ", weighted by the mean square of the inputs";
    if (numRaised > raisedBefore)
      origin += ", " + std::to_string(numRaised - raisedBefore) + " scales raised for the sake of the bias";
    return store(use, *weight, *chosen, origin);
  }

  LogicalResult quantizeBias(QuantizerUse &use) {
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

  unsigned numStored = 0, numRaised = 0;

private:
  FailureOr<Tensor> readFloats(QuantizerUse &use) {
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

  static FailureOr<quant::Encoding> read(nn::QuantizerOp quantizer) {
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
    if (!encoding)
      return quantizer.emitError(llvm::toString(encoding.takeError()));
    return *encoding;
  }

  FailureOr<quant::Encoding> readOperand(Value value) {
    nn::QuantizerOp quantizer = nn::quantizerOf(value);
    FailureOr<quant::Encoding> encoding = quantizer ? read(quantizer) : FailureOr<quant::Encoding>();
    if (succeeded(encoding) && encoding->isCalibrated())
      return encoding;
    return mlir::emitError(value.getLoc(), "tensor '")
           << nn::tensorName(value) << "' has no range yet; activations are quantized before weights";
  }

  static quant::WeightEncodingOptions makeOptions(const quant::Encoding &encoding, const WeightSettings &settings) {
    quant::WeightEncodingOptions options;
    options.storage = encoding.storage;
    options.symmetric = encoding.symmetric;
    options.quantMin = encoding.quantMin;
    options.quantMax = encoding.quantMax;
    options.searchScale = settings.scaleSearch.value_or("mse") == "mse";
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

  /// Errors count by the mean square of the input channel that they are multiplied with, where it is known.
  void addImportance(OpOperand &reader, const Tensor &weight, quant::WeightEncodingOptions &options) {
    Operation *op = reader.getOwner();
    OperandRole role = getOperandRole(reader);
    // Statistics run along the axis of the first operand that is multiplied with the second.
    if (!isa<nn::ConvOp, nn::ConvTransposeOp, nn::MatMulOp, nn::GemmOp>(op) || reader.getOperandNumber() != 1 ||
        !role.inputAxis)
      return;
    QuantizerUse *use = uses.find(op->getOperand(0));
    std::string tensor = use ? use->quantizer.getTensor().value_or("").str() : nn::tensorName(op->getOperand(0));
    const quant::TensorStatistics *seen = statistics.find(tensor);
    size_t inputs = static_cast<size_t>(weight.shape()[static_cast<size_t>(*role.inputAxis)]);
    if (!seen || seen->channelSumOfSquares.size() != inputs)
      return;
    double total = 0;
    for (double value : seen->channelSumOfSquares)
      total += value;
    if (!(total > 0) || !std::isfinite(total))
      return;
    for (double value : seen->channelSumOfSquares)
      options.importance.push_back(static_cast<float>(value * static_cast<double>(inputs) / total));
    options.importanceAxis = *role.inputAxis;
  }

  LogicalResult raiseScalesForBias(Operation *op, quant::Encoding &weight) {
    if (!isa<nn::ConvOp, nn::ConvTransposeOp, nn::GemmOp>(op) || op->getNumOperands() < 3)
      return success();
    QuantizerUse *bias = uses.find(op->getOperand(2));
    if (!bias || bias->role() != "bias")
      return success();
    FailureOr<Tensor> values = readFloats(*bias);
    FailureOr<quant::Encoding> input = readOperand(op->getOperand(0));
    if (failed(values) || failed(input))
      return failure();
    Layer layer{*input, std::nullopt, *values};
    for (Operation *user : op->getUsers())
      if (auto fakeQuant = dyn_cast<nn::FakeQuantOp>(user)) {
        FailureOr<quant::Encoding> output = readOperand(fakeQuant.getResult());
        if (failed(output))
          return failure();
        layer.output = *output;
      }
    raiseScales(layer, weight);
    return success();
  }

  /// Raises weight scales until integer accumulation is sound on every target: with steps s = input scale *
  /// weight scale, the bias, alone and with the zero point of the result, fits 32 bits, and the multiplier
  /// s / output scale is above 2^-24, below which it loses its precision.
  void raiseScales(const Layer &layer, quant::Encoding &weight) {
    double inputScale = layer.input.scales[0];
    for (auto [channel, scale] : llvm::enumerate(weight.scales)) {
      double bias = 0;
      for (auto [i, value] : llvm::enumerate(layer.bias.values<float>()))
        if (weight.scales.size() == 1 || i == channel)
          bias = std::max(bias, std::abs(static_cast<double>(value)));
      double needed = bias / (2147483648.0 - 32768.0);
      if (layer.output) {
        double outputScale = layer.output->scales[0];
        double zeroPoint = layer.output->zeroPoints.empty() ? 0 : std::abs(layer.output->zeroPoints[0]);
        needed = std::max({needed, outputScale * std::ldexp(1.0, -24), (bias + zeroPoint * outputScale) / 2147483000.0});
      }
      if (static_cast<double>(scale) * inputScale > needed)
        continue;
      // Slightly more than needed, as the scale is rounded to float32.
      scale = quant::makeScale(needed / inputScale * 1.000001);
      ++numRaised;
    }
  }

  /// Replaces the float constant behind every fake_quant of `use` by its integers.
  LogicalResult store(QuantizerUse &use, const Tensor &values, const quant::Encoding &encoding,
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

  QuantizerUses &uses;
  const quant::Statistics &statistics;
};

struct QuantizeWeights : impl::QuantizeWeightsPassBase<QuantizeWeights> {
  using Base::Base;
  QuantizeWeights(const quant::Statistics &statistics, const Recipe &recipe, const Target &target)
      : inputs(recipe, target, &statistics) {}

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(inputs.load(module, recipeName, targetName, statisticsPath)))
      return signalPassFailure();
    FailureOr<ResolvedQuantizers> quantizers = resolveRecipe(module, inputs.recipe(), /*checkEffects=*/false);
    if (failed(quantizers))
      return signalPassFailure();
    ConstantQuantizer quantizer(quantizers->uses, inputs.statistics());
    // Weights before biases, which are stored in steps of their scales.
    for (StringRef role : {"constant", "weight", "bias"})
      for (auto [use, wanted] : llvm::zip_equal(quantizers->uses.list, quantizers->settings)) {
        if (use.role() != role)
          continue;
        LogicalResult done = role == "constant" ? quantizer.quantizeConstant(use)
                             : role == "weight" ? quantizer.quantizeWeight(use, wanted.weights)
                                                : quantizer.quantizeBias(use);
        if (failed(done))
          return signalPassFailure();
      }
    numStored += quantizer.numStored;
    numRaised += quantizer.numRaised;
  }

  PassInputs inputs;
};

} // namespace

std::unique_ptr<Pass> createQuantizeWeightsPass(const quant::Statistics &statistics, const Recipe &recipe,
                                                const Target &target) {
  return std::make_unique<QuantizeWeights>(statistics, recipe, target);
}

} // namespace nibble

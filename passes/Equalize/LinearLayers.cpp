#include "passes/Equalize/LinearLayers.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Rewriting.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nibble {

static int64_t rankOf(Value value) { return static_cast<int64_t>(nn::shapeOf(value).size()); }

bool isFloatConstant(Value value) {
  nn::ConstantOp constant = getConstant(value);
  return constant && isQuantizable(constant.getType()) && hasStaticShape(constant.getResult());
}

llvm::ArrayRef<int64_t> LinearLayer::weightShape() const { return nn::shapeOf(weight->get()); }

static std::optional<LinearLayer> makeLayer(Operation *op, unsigned input, unsigned weight, quant::WeightAxes axes,
                                            int64_t inputAxis, int64_t resultAxis) {
  if (getConstant(op->getOperand(input)) || !isFloatConstant(op->getOperand(weight)) ||
      !isQuantizable(op->getOperand(input).getType()) || !hasStaticShape(op->getOperand(input)) ||
      !hasStaticShape(op->getResult(0)))
    return std::nullopt;
  OpOperand *bias = op->getNumOperands() > 2 ? &op->getOpOperand(2) : nullptr;
  return LinearLayer{op, &op->getOpOperand(input), &op->getOpOperand(weight), bias, axes, inputAxis, resultAxis};
}

std::optional<LinearLayer> matchLinearLayer(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<LinearLayer>>(op)
      .Case([](nn::ConvOp conv) { return makeLayer(conv, 0, 1, {1, 0, conv.getGroup(), true}, 1, 1); })
      .Case([](nn::ConvTransposeOp conv) { return makeLayer(conv, 0, 1, {0, 1, conv.getGroup(), false}, 1, 1); })
      .Case([](nn::GemmOp gemm) {
        bool isTransposed = gemm.getTransB();
        return makeLayer(gemm, 0, 1, {isTransposed ? 1 : 0, isTransposed ? 0 : 1}, gemm.getTransA() ? 0 : 1, 1);
      })
      .Case([](nn::MatMulOp matmul) -> std::optional<LinearLayer> {
        int64_t left = rankOf(matmul.getLhs()), right = rankOf(matmul.getRhs());
        if (left < 2 || right < 2)
          return std::nullopt;
        int64_t result = rankOf(matmul.getResult());
        if (getConstant(matmul.getRhs()))
          return makeLayer(matmul, 0, 1, {right - 2, right - 1}, left - 1, result - 1);
        return makeLayer(matmul, 1, 0, {left - 1, left - 2}, right - 2, result - 2);
      })
      .Default([](Operation *) { return std::nullopt; });
}

std::optional<NormLayer> matchNormLayer(Operation *op) {
  if (!isa<nn::LayerNormalizationOp, nn::RMSNormalizationOp, nn::GroupNormalizationOp>(op) ||
      !hasStaticShape(op->getResult(0)))
    return std::nullopt;
  for (Value parameter : op->getOperands().drop_front())
    if (!isFloatConstant(parameter))
      return std::nullopt;
  Shape shape(nn::shapeOf(op->getOperand(1)));
  if (op->getNumOperands() > 2 && nn::shapeOf(op->getOperand(2)) != llvm::ArrayRef<int64_t>(shape))
    return std::nullopt;
  if (isa<nn::GroupNormalizationOp>(op))
    shape.append(nn::shapeOf(op->getResult(0)).size() - 2, 1);
  OpOperand *bias = op->getNumOperands() > 2 ? &op->getOpOperand(2) : nullptr;
  return NormLayer{op, &op->getOpOperand(1), bias, shape};
}

void scaleInputs(Tensor &weight, const quant::WeightAxes &axes, llvm::ArrayRef<float> factors) {
  float *data = weight.mutableData<float>();
  quant::forEachWeight(weight.shape(), axes, [&](int64_t offset, int64_t input, int64_t) {
    data[offset] *= factors[static_cast<size_t>(input)];
  });
}

void divideOutputs(Tensor &weight, const quant::WeightAxes &axes, llvm::ArrayRef<float> divisors) {
  float *data = weight.mutableData<float>();
  quant::forEachWeight(weight.shape(), axes, [&](int64_t offset, int64_t, int64_t output) {
    data[offset] /= divisors[static_cast<size_t>(output)];
  });
}

} // namespace nibble

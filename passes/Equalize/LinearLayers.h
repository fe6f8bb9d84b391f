//===- LinearLayers.h - layers whose weights can take a factor ---------------===//
#ifndef NIBBLE_PASSES_EQUALIZE_LINEARLAYERS_H
#define NIBBLE_PASSES_EQUALIZE_LINEARLAYERS_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Quant/WeightAxes.h"
#include <optional>

namespace nibble {

/// An operation that multiplies one computed operand with a constant float32 weight: MatMul, Gemm, Conv, ConvTranspose.
struct LinearLayer {
  mlir::Operation *op;
  mlir::OpOperand *input, *weight;
  /// The bias operand of Gemm, Conv and ConvTranspose; null where it is absent.
  mlir::OpOperand *bias;
  quant::WeightAxes axes;
  /// The axes of the operation's input and result that run along inputs and outputs.
  int64_t inputAxis, resultAxis;

  llvm::ArrayRef<int64_t> weightShape() const;
  int64_t inputCount() const { return axes.inputCount(weightShape()); }
  int64_t outputCount() const { return axes.outputCount(weightShape()); }
};

/// `op` as a linear layer; nothing where it is none, its weight is not constant or shapes are not static.
std::optional<LinearLayer> matchLinearLayer(mlir::Operation *op);

/// Whether `value` is a constant of float32, of static shape and with elements.
bool isFloatConstant(mlir::Value value);

/// A normalization with a constant factor per channel. `bias` is null where the operation has none.
struct NormLayer {
  mlir::Operation *op;
  mlir::OpOperand *scale, *bias;
  /// Shape and channels of the scale, so that it broadcasts to the result ([C, 1, 1] where channels are axis 1).
  Shape channelShape;

  int64_t channelCount() const { return elementCount(channelShape); }
};

/// `op` as LayerNorm, RMSNorm or GroupNorm with constant float32 parameters. InstanceNorm is none: it is what targets
/// make of GroupNorm, with parameters that must stay ones, as the layer behind it holds those of the model.
std::optional<NormLayer> matchNormLayer(mlir::Operation *op);

/// Multiplies the weights that read input `i` by `factors[i]`.
void scaleInputs(Tensor &weight, const quant::WeightAxes &axes, llvm::ArrayRef<float> factors);
/// Divides the weights that make output `i` by `divisors[i]`.
void divideOutputs(Tensor &weight, const quant::WeightAxes &axes, llvm::ArrayRef<float> divisors);

} // namespace nibble

#endif

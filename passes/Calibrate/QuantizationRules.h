//===- QuantizationRules.h - how operators relate to quantizers -------------===//
//
// Facts about operators that placing, assigning and quantizing share: which operands are weights,
// biases or plain parameters, which results hold the same values as an operand, and which results
// have a range that follows from the operator.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_CALIBRATE_QUANTIZATIONRULES_H
#define NIBBLE_PASSES_CALIBRATE_QUANTIZATIONRULES_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Quant/RangeEstimator.h"
#include <optional>

namespace nibble {

/// What an operand is to its operator.
struct OperandRole {
  enum class Kind {
    /// Computed values, or a constant that takes part like them: stored as activations are.
    Value,
    /// A constant that the operator multiplies with or looks up in: stored in the weights' format.
    Weight,
    /// A constant added to the accumulator, in steps of input scale times weight scale.
    Bias,
    /// Not data (axes, bounds, shapes): never quantized.
    Parameter
  } kind = Kind::Value;
  /// Weight: the axes of output channels and of inputs; absent where the weight has none.
  std::optional<int64_t> channelAxis, inputAxis;
  /// Weight: rows of a table that are looked up and not multiplied.
  bool isTable = false;
};
OperandRole getOperandRole(mlir::OpOperand &operand);

/// The operand that holds, up to order, repetition, zeros and omission, the values of `result`, where the
/// operator only moves or selects data; null for operators that compute.
mlir::Value getMovedOperand(mlir::OpResult result);

/// A range that holds for every input, and the rule that says so ("softmax lies in [0, 1]").
struct FixedRange {
  quant::Range range;
  llvm::StringRef rule;
};
std::optional<FixedRange> getFixedRange(mlir::Operation *op);

/// Follows block arguments, fake_quants and operators that only move data up to what computed the values.
mlir::Value resolveMovedValue(mlir::Value value);

/// True where every reader of these values, moved or not, is a softmax; with `throughSums` also where they are
/// added to others on the way, as a mask of attention scores is.
bool reachesOnlySoftmax(mlir::Value value, bool throughSums);

/// True for tensors of float32 with elements: quantizers take no other float, and an empty past has no range.
bool isQuantizable(mlir::Type type);
/// The nn.constant behind a value, through fake_quant and dequantize_weight; null where there is none.
nn::ConstantOp getConstant(mlir::Value value);
/// ONNX's name of an operation's type without underscores and in lower case ("matmul"), for comparison.
std::string comparableOperatorName(llvm::StringRef name);

} // namespace nibble

#endif

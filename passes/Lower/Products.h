//===- Products.h - multiply-accumulate operators ----------------------------===//
#ifndef NIBBLE_PASSES_LOWER_PRODUCTS_H
#define NIBBLE_PASSES_LOWER_PRODUCTS_H

#include "passes/Lower/Lowering.h"

namespace nibble {

/// Weights of a linear layer or convolution as TOSA takes them.
struct PreparedWeights {
  /// [output channels, window..., inputs per group], int8 or int4 by `is4Bit`, one value per byte.
  std::vector<int8_t> values;
  Shape shape;
  bool is4Bit = false;
  /// One per output channel, or one for all.
  std::vector<double> scales;

  int64_t outputs() const { return shape.front(); }
  int64_t inputs() const { return nibble::elementCount(shape) / outputs(); }
};

/// Reads the stored integers of `value`, whose dimensions in the model are `shape`, into the order
/// `permutation` (output channels first). Two-level blocks (LPBQ) are multiplied out, which 8 bits hold. Weights
/// with a scale per block along the inputs are returned as one entry per block, in order.
/// 4-bit weights become 8-bit ones, with a remark, beside activations of 16 bits and where they hold -8.
/// Refuses, naming the node: float weights, 16-bit weights, zero points.
llvm::FailureOr<llvm::SmallVector<PreparedWeights>> prepareWeights(Lowering &lowering, mlir::Operation *op,
                                                                    mlir::Value value,
                                                                    llvm::ArrayRef<int64_t> permutation,
                                                                    unsigned activationBits);

/// The constant for `weights`; 8 bits where the operand that they are multiplied with has 16.
llvm::FailureOr<mlir::Value> makeWeights(Lowering &lowering, const PreparedWeights &weights, unsigned activationBits);

/// The reals of a constant bias per output channel; zeros where `value` is null.
llvm::FailureOr<std::vector<double>> readBias(Lowering &lowering, mlir::Operation *op, mlir::Value value, int64_t outputs);

/// The input of a product, in a form whose accumulators cannot overflow: 8-bit integers are widened to 16, whose
/// sums have 48 bits, where 32 bits are not enough for `weights` and `bias`, which is a remark.
struct ProductInput {
  mlir::Value value;
  Grid grid;
};
ProductInput protectAccumulator(Lowering &lowering, mlir::Operation *op, const Stored &input,
                                const PreparedWeights &weights, llvm::ArrayRef<double> bias);

/// The bias in steps of the accumulator, and what a zero point outside of TOSA's 8-bit form adds to it.
mlir::Value makeBias(Lowering &lowering, const ProductInput &input, const PreparedWeights &weights,
                     llvm::ArrayRef<double> bias);

/// The factors of the accumulator: input scale times weight scale.
llvm::SmallVector<double> accumulatorScales(const ProductInput &input, const PreparedWeights &weights);

/// A layer that multiplies the last stored dimension of `input`, [..., inputs], with weights [outputs, 1, 1, inputs].
llvm::FailureOr<Stored> multiplyByWeights(Lowering &lowering, const LoweringRequest &request, const Stored &input,
                                          llvm::ArrayRef<PreparedWeights> blocks, llvm::ArrayRef<double> bias);

} // namespace nibble

#endif

//===- Layers.h - operations that multiply inputs with a weight -------------===//
#ifndef NIBBLE_DIALECT_NN_LAYERS_H
#define NIBBLE_DIALECT_NN_LAYERS_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Quant/RoundingGrid.h"
#include <optional>

namespace nibble::nn {

/// How a layer takes the vectors that it multiplies from its first operand.
struct InputPatches {
  /// Linear: along the last axis. Pixels: along axis 1 of [N, C, spatial...], one vector per pixel. Kernel: what lies
  /// under the kernel, channels first (im2col); zeros beyond the edges.
  enum class Kind { Linear, Pixels, Kernel } kind = Kind::Linear;
  int64_t groups = 1, columns = 0;
  /// Kernel only; one-dimensional convolutions have height 1.
  int64_t kernelHeight = 1, kernelWidth = 1, strideHeight = 1, strideWidth = 1, dilationHeight = 1, dilationWidth = 1,
          padTop = 0, padLeft = 0, outHeight = 1, outWidth = 1;

  bool operator==(const InputPatches &) const = default;
};

/// A layer as rounding against its inputs sees it.
struct Layer {
  quant::WeightLayout layout;
  InputPatches patches;
  /// Whether row r of group g makes output channel g * rows + r, to which a bias can be added.
  bool rowsAreChannels = true;
};

/// `op` as a layer; absent for operations that are none, and for forms without rows of their own: weights of
/// MatMul beyond two dimensions, Gemm with transA, and convolutions over more than two axes. Constness of the weight is
/// not looked at. A transposed convolution adds what its kernel's elements make; they are seen as rows of their own, so
/// that what they share in an output is left out of account.
std::optional<Layer> getLayer(mlir::Operation *op);

} // namespace nibble::nn

#endif

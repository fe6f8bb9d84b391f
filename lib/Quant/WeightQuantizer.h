//===- WeightQuantizer.h - scales for weights -------------------------------===//
//
// A group is what shares one scale: the tensor, a channel, or a block of a channel. Groups are searched
// independently: a grid of scales around the one that covers the extremes, each followed by one least-squares
// step s = sum(h w q) / sum(h q^2) for the integers q it gave, and the smallest weighted squared error wins.
// The covering scale is among the candidates, so a search is never worse than min-max.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_QUANT_WEIGHTQUANTIZER_H
#define NIBBLE_QUANT_WEIGHTQUANTIZER_H

#include "lib/Quant/Encoding.h"

namespace nibble::quant {

struct WeightEncodingOptions {
  ElementType storage = ElementType::I8;
  bool symmetric = true;
  /// The integers that may be used where that is less than the whole storage type.
  std::optional<int64_t> quantMin, quantMax;
  Granularity granularity = Granularity::Axis;
  /// Axis, LPBQ: the axis of output channels.
  int64_t channelAxis = 0;
  /// Block, LPBQ: the axis that is cut into blocks, and their length.
  int64_t blockAxis = 1, blockSize = 0;
  /// False: scales cover the extremes ("min-max"). True: least weighted squared error ("mse").
  bool searchScale = true;
  /// How much an error counts, per index of `importanceAxis`, for example the mean square of the layer's
  /// inputs; empty where all count the same. Not negative.
  std::vector<float> importance;
  int64_t importanceAxis = 1;
};

/// The encoding of float32 `weight`. A group of zeros takes the largest scale of the others, so that a
/// bias stored in steps of it keeps its precision. Deterministic at any thread count. Errors: BadInput
/// (NaN or infinity, located by index; axis or block size that does not fit), Unsupported (LPBQ that is
/// not symmetric int4).
llvm::Expected<Encoding> chooseWeightEncoding(const Tensor &weight, const WeightEncodingOptions &options);

} // namespace nibble::quant

#endif

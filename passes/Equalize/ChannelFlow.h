//===- ChannelFlow.h - where the channels of a value go ----------------------===//
//
// A factor on a channel of a value reaches everything that is computed from it. This analysis follows channels forward,
// across blocks, through operators that a positive factor passes through, to the layers that can take the factor into
// their weights.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_EQUALIZE_CHANNELFLOW_H
#define NIBBLE_PASSES_EQUALIZE_CHANNELFLOW_H

#include "passes/Equalize/ChannelMap.h"
#include "passes/Equalize/LinearLayers.h"

#include "llvm/ADT/BitVector.h"

namespace nibble {

/// What channels may pass on their way, beside operators that only move data.
struct FlowRules {
  /// ReLU, LeakyReLU, PReLU, pooling, linear resizing, padding with zeros.
  bool activations = false;
  /// Products and quotients with values that have no channels of their own.
  bool products = false;
  /// Matrix products with computed operands, as in attention.
  bool attention = false;
  /// Sums with constants, which scale as the channels do.
  bool sums = false;

  /// Everything that a factor per channel passes.
  static FlowRules all() { return {true, true, true, true}; }
};

/// A linear layer at the end of the way and the channel of each of its inputs.
struct ChannelReader {
  LinearLayer layer;
  std::vector<int32_t> channels;
};

/// A constant that is added on the way.
struct ChannelSum {
  mlir::OpOperand *constant;
  /// Channels of the sum.
  ChannelMap map;
};

/// A matrix product with a computed operand on the way.
struct ChannelProduct {
  nn::MatMulOp op;
  /// Whether the channels come in as the right operand, and their map there.
  bool isRight;
  ChannelMap map;
};

struct ChannelFlow {
  llvm::SmallVector<ChannelReader> readers;
  llvm::SmallVector<ChannelSum> sums;
  llvm::SmallVector<ChannelProduct> products;
  /// Channels that reach something which takes no factor; they must keep theirs.
  llvm::BitVector fixed;
  /// The first such operation, or null.
  mlir::Operation *obstacle = nullptr;

  /// Whether every reader of every channel is a linear layer.
  bool isFree() const { return !obstacle && !readers.empty(); }
};

/// Follows the channels of `value`, `channelCount` many, as `map` distributes them.
ChannelFlow traceChannels(mlir::Value value, const ChannelMap &map, int64_t channelCount, FlowRules rules);
ChannelFlow traceChannels(const LinearLayer &layer, FlowRules rules);
ChannelFlow traceChannels(const NormLayer &layer, FlowRules rules);

/// Divides a constant that broadcasts with `map` by the scales of its channels; it grows where its elements belong to
/// several channels.
void divideByScales(Tensor &constant, const ChannelMap &map, llvm::ArrayRef<float> scales);

} // namespace nibble

#endif

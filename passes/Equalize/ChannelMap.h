//===- ChannelMap.h - which channel each element of a tensor belongs to ------===//
#ifndef NIBBLE_PASSES_EQUALIZE_CHANNELMAP_H
#define NIBBLE_PASSES_EQUALIZE_CHANNELMAP_H

#include "lib/Support/Tensor.h"
#include <optional>
#include <vector>

namespace nibble {

/// The channel of every element of a tensor, row-major over `shape`, which broadcasts to the tensor's shape from the
/// same rank: a dimension of 1 says that the channel does not depend on that index.
struct ChannelMap {
  Shape shape;
  std::vector<int32_t> channels;

  /// Channels 0, 1, ... over `shape`.
  static ChannelMap count(llvm::ArrayRef<int64_t> shape);
  /// Channels 0, 1, ... along `axis` of a tensor of rank `rank`.
  static ChannelMap along(int64_t axis, int64_t rank, int64_t channelCount);

  bool dependsOn(int64_t axis) const { return shape[static_cast<size_t>(axis)] != 1; }
  /// The same map with dimensions of 1 in front, up to `rank`.
  ChannelMap padded(int64_t rank) const;
  /// Repeated along dimensions where `target` has more than 1.
  ChannelMap broadcastTo(llvm::ArrayRef<int64_t> target) const;
  /// Without dependence on indices that do not change the channel.
  ChannelMap compressed() const;
  /// The map of a tensor of shape `from` after a reshape to `to`; nothing where it would be huge.
  std::optional<ChannelMap> reshaped(llvm::ArrayRef<int64_t> from, llvm::ArrayRef<int64_t> to) const;
  ChannelMap transposed(llvm::ArrayRef<int64_t> permutation) const;
  /// Only the given indices of `axis`, which the map depends on.
  ChannelMap selected(int64_t axis, llvm::ArrayRef<int64_t> indices) const;
  /// The channels along `axis`, of length `size`, where they depend on nothing else.
  std::optional<std::vector<int32_t>> channelsAlong(int64_t axis, int64_t size) const;
};

/// Calls `body(offset, mapOffset)` for every element of a tensor of `shape` and its place in `map`, whose shape
/// broadcasts to `shape` from the right.
template <typename Body>
void forEachInMap(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> mapShape, Body body) {
  size_t rank = shape.size(), skipped = rank - mapShape.size();
  Shape strides(rank, 0), index(rank, 0);
  int64_t stride = 1;
  for (size_t i = mapShape.size(); i-- > 0; stride *= mapShape[i])
    strides[skipped + i] = mapShape[i] == 1 ? 0 : stride;
  int64_t count = elementCount(shape), position = 0;
  for (int64_t offset = 0; offset < count; ++offset) {
    body(offset, position);
    for (size_t axis = rank; axis-- > 0;) {
      position += strides[axis];
      if (++index[axis] < shape[axis])
        break;
      position -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

} // namespace nibble

#endif

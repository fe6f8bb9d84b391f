#include "passes/Equalize/ChannelMap.h"

#include "llvm/ADT/STLExtras.h"
#include <numeric>

namespace nibble {

/// Maps of more elements are not worth their memory; those of real programs have at most heads * batch * head size.
constexpr int64_t maximumElements = int64_t(1) << 24;

ChannelMap ChannelMap::count(llvm::ArrayRef<int64_t> shape) {
  ChannelMap map{Shape(shape), std::vector<int32_t>(static_cast<size_t>(elementCount(shape)))};
  std::iota(map.channels.begin(), map.channels.end(), 0);
  return map;
}

ChannelMap ChannelMap::along(int64_t axis, int64_t rank, int64_t channelCount) {
  Shape shape(static_cast<size_t>(rank), 1);
  shape[static_cast<size_t>(axis)] = channelCount;
  return count(shape);
}

ChannelMap ChannelMap::padded(int64_t rank) const {
  ChannelMap map = *this;
  map.shape.insert(map.shape.begin(), static_cast<size_t>(rank) - shape.size(), 1);
  return map;
}

ChannelMap ChannelMap::broadcastTo(llvm::ArrayRef<int64_t> target) const {
  if (llvm::ArrayRef<int64_t>(shape) == target)
    return *this;
  ChannelMap map{Shape(target), std::vector<int32_t>(static_cast<size_t>(elementCount(target)))};
  forEachInMap(target, shape, [&](int64_t offset, int64_t position) {
    map.channels[static_cast<size_t>(offset)] = channels[static_cast<size_t>(position)];
  });
  return map;
}

ChannelMap ChannelMap::compressed() const {
  ChannelMap map = *this;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (map.shape[axis] == 1)
      continue;
    ChannelMap first = map.selected(static_cast<int64_t>(axis), 0);
    if (first.broadcastTo(map.shape).channels == map.channels)
      map = std::move(first);
  }
  return map;
}

std::optional<ChannelMap> ChannelMap::reshaped(llvm::ArrayRef<int64_t> from, llvm::ArrayRef<int64_t> to) const {
  if (elementCount(from) == 0)
    return std::nullopt;
  // Runs of dimensions with equal products correspond; a run that channels depend on is written out.
  Shape expanded(from.size(), 1), result(to.size(), 1);
  size_t i = 0, j = 0;
  while (i < from.size() && j < to.size()) {
    size_t firstFrom = i, firstTo = j;
    int64_t left = from[i++], right = to[j++];
    while (left != right) {
      if (left < right)
        left *= from[i++];
      else
        right *= to[j++];
    }
    if (llvm::all_of(llvm::ArrayRef(shape).slice(firstFrom, i - firstFrom), [](int64_t size) { return size == 1; }))
      continue;
    std::copy(from.begin() + firstFrom, from.begin() + i, expanded.begin() + firstFrom);
    std::copy(to.begin() + firstTo, to.begin() + j, result.begin() + firstTo);
  }
  if (elementCount(expanded) > maximumElements)
    return std::nullopt;
  ChannelMap map = broadcastTo(expanded);
  map.shape = result;
  return map.compressed();
}

ChannelMap ChannelMap::transposed(llvm::ArrayRef<int64_t> permutation) const {
  ChannelMap map{Shape(), std::vector<int32_t>(channels.size())};
  Shape strides(shape.size(), 1), permuted;
  for (size_t axis = shape.size(); axis-- > 1;)
    strides[axis - 1] = strides[axis] * shape[axis];
  for (int64_t axis : permutation) {
    map.shape.push_back(shape[static_cast<size_t>(axis)]);
    permuted.push_back(strides[static_cast<size_t>(axis)]);
  }
  for (size_t offset = 0; offset < channels.size(); ++offset) {
    int64_t rest = static_cast<int64_t>(offset), position = 0;
    for (size_t axis = map.shape.size(); axis-- > 0; rest /= map.shape[axis])
      position += rest % map.shape[axis] * permuted[axis];
    map.channels[offset] = channels[static_cast<size_t>(position)];
  }
  return map;
}

ChannelMap ChannelMap::selected(int64_t axis, llvm::ArrayRef<int64_t> indices) const {
  llvm::ArrayRef<int64_t> dimensions = shape;
  size_t at = static_cast<size_t>(axis);
  int64_t outer = elementCount(dimensions.take_front(at)), inner = elementCount(dimensions.drop_front(at + 1));
  ChannelMap map{shape, {}};
  map.shape[at] = static_cast<int64_t>(indices.size());
  map.channels.reserve(static_cast<size_t>(elementCount(map.shape)));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t index : indices) {
      auto begin = channels.begin() + (o * shape[at] + index) * inner;
      map.channels.insert(map.channels.end(), begin, begin + inner);
    }
  return map;
}

std::optional<std::vector<int32_t>> ChannelMap::channelsAlong(int64_t axis, int64_t size) const {
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1 && static_cast<int64_t>(i) != axis)
      return std::nullopt;
  return dependsOn(axis) ? channels : std::vector<int32_t>(static_cast<size_t>(size), channels.front());
}

} // namespace nibble

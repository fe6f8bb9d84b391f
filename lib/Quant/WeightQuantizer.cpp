#include "lib/Quant/WeightQuantizer.h"
#include "lib/Support/Error.h"
#include "lib/Support/Parallel.h"
#include "lib/Support/VectorClones.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace nibble::quant {
namespace {

/// Sixteen partial sums on every machine: the order of additions, and so the result, does not depend on
/// the width of its vectors.
constexpr int64_t laneCount = 16;
typedef float Lanes __attribute__((vector_size(laneCount * sizeof(float))));

/// Sums over one group for a scale and the integers that it gives.
struct Sums {
  double error = 0, weightTimesInteger = 0, integerSquared = 0;
};

/// Values of one group and how much each counts; padded with zeros, which add nothing, to whole vectors.
struct Group {
  std::vector<float> values, importance;
  float min = 0, max = 0;

  bool isZero() const { return min == 0 && max == 0; }
};

/// Bounds of q - zero_point.
struct Bounds {
  float low, high;
};

NIBBLE_VECTOR_CLONES
void addChunk(const float *values, const float *importance, int64_t count, float scale, float low, float high,
              float *error, float *weightTimesInteger, float *integerSquared) {
  const Lanes rounding = Lanes{} + 12582912.0f, lowest = Lanes{} + low, highest = Lanes{} + high;
  Lanes errorSum = {}, crossSum = {}, squareSum = {};
  for (int64_t i = 0; i < count; i += laneCount) {
    Lanes value, weight;
    std::memcpy(&value, values + i, sizeof(value));
    std::memcpy(&weight, importance + i, sizeof(weight));
    Lanes q = value / scale;
    q = q < lowest ? lowest : q;
    q = q > highest ? highest : q;
    q = (q + rounding) - rounding;
    Lanes difference = value - q * scale;
    errorSum += weight * difference * difference;
    crossSum += weight * value * q;
    squareSum += weight * q * q;
  }
  std::memcpy(error, &errorSum, sizeof(errorSum));
  std::memcpy(weightTimesInteger, &crossSum, sizeof(crossSum));
  std::memcpy(integerSquared, &squareSum, sizeof(squareSum));
}

Sums evaluate(const Group &group, float scale, Bounds bounds) {
  // Chunks keep the float partial sums short; they are added up in double.
  constexpr int64_t chunk = 4096;
  Sums sums;
  int64_t count = static_cast<int64_t>(group.values.size());
  for (int64_t begin = 0; begin < count; begin += chunk) {
    float error[laneCount], cross[laneCount], square[laneCount];
    addChunk(group.values.data() + begin, group.importance.data() + begin, std::min(chunk, count - begin), scale,
             bounds.low, bounds.high, error, cross, square);
    for (int64_t lane = 0; lane < laneCount; ++lane) {
      sums.error += static_cast<double>(error[lane]);
      sums.weightTimesInteger += static_cast<double>(cross[lane]);
      sums.integerSquared += static_cast<double>(square[lane]);
    }
  }
  return sums;
}

struct Fit {
  float scale = 0;
  int32_t zeroPoint = 0;
  double error = std::numeric_limits<double>::infinity();
};

/// The better of `scale` and its least-squares refinement.
Fit refine(const Group &group, float scale, int32_t zeroPoint, Bounds bounds) {
  Sums sums = evaluate(group, scale, bounds);
  Fit fit{scale, zeroPoint, sums.error};
  if (sums.integerSquared <= 0 || sums.weightTimesInteger <= 0)
    return fit;
  float refined = makeScale(sums.weightTimesInteger / sums.integerSquared);
  double refinedError = evaluate(group, refined, bounds).error;
  return refinedError < fit.error ? Fit{refined, zeroPoint, refinedError} : fit;
}

class Search {
public:
  explicit Search(const WeightEncodingOptions &options) : options(options) {
    std::tie(quantMin, quantMax) = integerRange(options.storage);
    quantMin = options.quantMin.value_or(quantMin);
    quantMax = options.quantMax.value_or(quantMax);
    symmetricZero = options.symmetric && quantMin == 0 ? static_cast<int32_t>((quantMax + 1) / 2) : 0;
    // Coarse grids gain from clipping and from scales above the covering one, fine grids hardly do; at
    // 16 bits rounding is far below what a search could find.
    unsigned bits = bitWidth(options.storage);
    if (options.searchScale && bits <= 8) {
      steps = bits <= 4 ? 80 : 24;
      largest = bits <= 4 ? 1.2 : 1.0;
      smallest = bits <= 4 ? 0.4 : 0.6;
    }
  }

  Bounds boundsFor(int32_t zeroPoint) const {
    return {static_cast<float>(quantMin - zeroPoint), static_cast<float>(quantMax - zeroPoint)};
  }

  Fit run(const Group &group) const {
    if (group.isZero())
      return {};
    return options.symmetric ? runSymmetric(group) : runAsymmetric(group);
  }

  int64_t quantMin, quantMax;
  int32_t symmetricZero;

private:
  double factor(int64_t step) const {
    return largest + (smallest - largest) * static_cast<double>(step) / static_cast<double>(steps - 1);
  }

  /// The first best of the candidates, which threads may compute in any order.
  template <typename Candidate>
  static Fit best(int64_t count, Fit first, Candidate candidate) {
    std::vector<Fit> fits(static_cast<size_t>(count));
    parallelFor(count, [&](int64_t i) { fits[static_cast<size_t>(i)] = candidate(i); });
    for (const Fit &fit : fits)
      if (fit.error < first.error)
        first = fit;
    return first;
  }

  Fit runSymmetric(const Group &group) const {
    Bounds bounds = boundsFor(symmetricZero);
    double cover = std::max(static_cast<double>(group.max) / static_cast<double>(bounds.high),
                            static_cast<double>(group.min) / static_cast<double>(bounds.low));
    float scale = makeScale(cover);
    Fit covering{scale, symmetricZero, evaluate(group, scale, bounds).error};
    return best(steps, covering,
                [&](int64_t i) { return refine(group, makeScale(cover * factor(i)), symmetricZero, bounds); });
  }

  Fit runAsymmetric(const Group &group) const {
    double low = std::min(0.0, static_cast<double>(group.min)), high = std::max(0.0, static_cast<double>(group.max));
    double cover = (high - low) / static_cast<double>(quantMax - quantMin);
    auto zeroPointFor = [&](double scale, int64_t shift) {
      double exact = std::nearbyint(static_cast<double>(quantMin) - low / scale) + static_cast<double>(shift);
      return static_cast<int32_t>(std::clamp(exact, static_cast<double>(quantMin), static_cast<double>(quantMax)));
    };
    float scale = makeScale(cover);
    int32_t zeroPoint = zeroPointFor(static_cast<double>(scale), 0);
    Fit covering{scale, zeroPoint, evaluate(group, scale, boundsFor(zeroPoint)).error};
    constexpr int64_t shifts = 4;
    return best(steps * shifts, covering, [&](int64_t i) {
      double candidate = cover * factor(i / shifts);
      int32_t zero = zeroPointFor(candidate, i % shifts - shifts + 1);
      return refine(group, makeScale(candidate), zero, boundsFor(zero));
    });
  }

  const WeightEncodingOptions &options;
  int64_t steps = 0;
  double largest = 1, smallest = 1;
};

/// Finds the elements of groups. Along the axis of the granularity a tensor is [outer, extent, inner]; a
/// group is everything at one index of the axis, or a run of `blockSize` at one (outer, inner).
class Groups {
public:
  Groups(const Tensor &weight, const WeightEncodingOptions &options) : weight(weight), options(options) {
    isBlocked = options.granularity == Granularity::Block || options.granularity == Granularity::LPBQ;
    llvm::ArrayRef<int64_t> shape = weight.shape();
    if (options.granularity == Granularity::Tensor) {
      outer = 1, extent = 1, inner = weight.elementCount(), blocks = 1;
    } else {
      size_t axis = static_cast<size_t>(isBlocked ? options.blockAxis : options.channelAxis);
      outer = elementCount(shape.take_front(axis));
      extent = shape[axis];
      inner = elementCount(shape.drop_front(axis + 1));
      blocks = isBlocked ? (extent + options.blockSize - 1) / options.blockSize : extent;
    }
    if (!options.importance.empty())
      importanceInner = elementCount(shape.drop_front(static_cast<size_t>(options.importanceAxis) + 1));
  }

  int64_t count() const { return isBlocked ? outer * blocks * inner : blocks; }

  Group get(int64_t index) const {
    Group group;
    if (!isBlocked) {
      for (int64_t o = 0; o < outer; ++o)
        append(group, (o * extent + index) * inner, inner, 1);
    } else {
      int64_t position = index % inner, block = index / inner % blocks, o = index / inner / blocks;
      int64_t begin = block * options.blockSize;
      append(group, (o * extent + begin) * inner + position, std::min(options.blockSize, extent - begin), inner);
    }
    size_t padded = (group.values.size() + laneCount - 1) / laneCount * laneCount;
    group.values.resize(padded);
    group.importance.resize(padded);
    auto [low, high] = std::minmax_element(group.values.begin(), group.values.end());
    group.min = *low;
    group.max = *high;
    return group;
  }

  int64_t blocks, inner;

private:
  void append(Group &group, int64_t begin, int64_t count, int64_t stride) const {
    const float *data = weight.data<float>();
    for (int64_t i = 0, offset = begin; i < count; ++i, offset += stride) {
      group.values.push_back(data[offset]);
      group.importance.push_back(
          options.importance.empty()
              ? 1.0f
              : options.importance[static_cast<size_t>(offset / importanceInner) % options.importance.size()]);
    }
  }

  const Tensor &weight;
  const WeightEncodingOptions &options;
  bool isBlocked;
  int64_t outer, extent, importanceInner = 1;
};

/// A range of group indices that a tile works on: neighbours share cache lines.
constexpr int64_t groupsPerTile = 32;

template <typename Body>
void forEachGroup(int64_t count, Body body) {
  parallelFor((count + groupsPerTile - 1) / groupsPerTile, [&](int64_t tile) {
    for (int64_t i = tile * groupsPerTile; i < std::min(count, (tile + 1) * groupsPerTile); ++i)
      body(i);
  });
}

/// One channel of LPBQ: block scales become multiples 1..16 of a channel scale.
struct ChannelFit {
  float scale = 0;
  std::vector<uint8_t> multipliers;
  double error = std::numeric_limits<double>::infinity();
};

ChannelFit fitChannel(llvm::ArrayRef<Group> blocks, llvm::ArrayRef<Fit> fits, double channelScale, int reach,
                      Bounds bounds) {
  ChannelFit channel{makeScale(channelScale), {}, 0};
  for (size_t b = 0; b < blocks.size(); ++b) {
    int nearest = static_cast<int>(std::nearbyint(static_cast<double>(fits[b].scale) / channelScale));
    double bestError = std::numeric_limits<double>::infinity();
    int best = 1;
    for (int shift = -reach; shift <= reach; ++shift) {
      int multiplier = std::clamp(nearest + shift, 1, 16);
      double error = evaluate(blocks[b], channel.scale * static_cast<float>(multiplier), bounds).error;
      if (error < bestError) {
        bestError = error;
        best = multiplier;
      }
    }
    channel.multipliers.push_back(static_cast<uint8_t>(best));
    channel.error += bestError;
  }
  return channel;
}

ChannelFit searchChannel(llvm::ArrayRef<Group> blocks, const Search &search, bool searchScale) {
  std::vector<Fit> fits;
  float largest = 0;
  for (const Group &block : blocks) {
    fits.push_back(search.run(block));
    largest = std::max(largest, fits.back().scale);
  }
  if (largest == 0)
    return {0, std::vector<uint8_t>(blocks.size(), 1), 0};
  Bounds bounds = search.boundsFor(0);
  ChannelFit best = fitChannel(blocks, fits, static_cast<double>(largest) / 16, 0, bounds);
  if (!searchScale)
    return best;
  // A smaller channel scale represents the small blocks better and clips the largest one.
  for (int step = 0; step < 12; ++step) {
    double scale = static_cast<double>(largest) / 16 * (1.1 - 0.025 * step);
    ChannelFit channel = fitChannel(blocks, fits, scale, 1, bounds);
    if (channel.error < best.error)
      best = std::move(channel);
  }
  return best;
}

llvm::Error checkOptions(const Tensor &weight, const WeightEncodingOptions &options) {
  auto checkAxis = [&](int64_t axis, llvm::StringRef what) -> llvm::Error {
    if (axis >= 0 && axis < weight.rank())
      return llvm::Error::success();
    return makeError(ErrorKind::BadInput, what + " axis " + llvm::Twine(axis) + " lies outside a weight of rank " +
                                              llvm::Twine(weight.rank()));
  };
  bool isBlocked = options.granularity == Granularity::Block || options.granularity == Granularity::LPBQ;
  if (options.granularity == Granularity::Axis || options.granularity == Granularity::LPBQ)
    if (llvm::Error error = checkAxis(options.channelAxis, "channel"))
      return error;
  if (isBlocked) {
    if (llvm::Error error = checkAxis(options.blockAxis, "block"))
      return error;
    if (options.blockSize < 1)
      return makeError(ErrorKind::BadInput, "block size must be positive, but is " + llvm::Twine(options.blockSize));
  }
  if (options.granularity == Granularity::LPBQ) {
    if (options.storage != ElementType::I4 || !options.symmetric)
      return makeError(ErrorKind::Unsupported, "lpbq is a form of symmetric int4, not of " +
                                                   llvm::Twine(options.symmetric ? "symmetric " : "asymmetric ") +
                                                   name(options.storage));
    if (options.channelAxis == options.blockAxis || weight.elementCount() !=
                                                        weight.shape()[static_cast<size_t>(options.channelAxis)] *
                                                            weight.shape()[static_cast<size_t>(options.blockAxis)])
      return makeError(ErrorKind::Unsupported, "lpbq needs a weight of two axes with more than one entry");
  }
  if (!options.importance.empty()) {
    if (llvm::Error error = checkAxis(options.importanceAxis, "importance"))
      return error;
    if (static_cast<int64_t>(options.importance.size()) != weight.shape()[static_cast<size_t>(options.importanceAxis)])
      return makeError(ErrorKind::BadInput,
                       "importance has " + llvm::Twine(options.importance.size()) + " entries, but the weight has " +
                           llvm::Twine(weight.shape()[static_cast<size_t>(options.importanceAxis)]));
  }
  llvm::ArrayRef<float> values = weight.values<float>();
  auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != values.end())
    return makeError(ErrorKind::BadInput, "element " + llvm::Twine(bad - values.begin()) + " of the weight is not finite");
  return llvm::Error::success();
}

/// Groups of zeros have scale 0 so far.
void fillZeroScales(std::vector<float> &scales, int64_t quantMax) {
  float largest = scales.empty() ? 0 : *std::max_element(scales.begin(), scales.end());
  if (largest == 0)
    largest = 1.0f / static_cast<float>(quantMax);
  std::replace(scales.begin(), scales.end(), 0.0f, largest);
}

} // namespace

llvm::Expected<Encoding> chooseWeightEncoding(const Tensor &weight, const WeightEncodingOptions &options) {
  if (llvm::Error error = checkOptions(weight, options))
    return error;
  Search search(options);
  Groups groups(weight, options);
  Encoding encoding;
  encoding.storage = options.storage;
  encoding.symmetric = options.symmetric;
  encoding.quantMin = search.quantMin;
  encoding.quantMax = search.quantMax;
  if (options.granularity == Granularity::Axis)
    encoding.axis = options.channelAxis;
  if (options.granularity == Granularity::Block || options.granularity == Granularity::LPBQ) {
    encoding.axis = options.blockAxis;
    encoding.blockSize = options.blockSize;
  }

  if (options.granularity == Granularity::LPBQ) {
    encoding.kind = EncodingKind::LPBQ;
    encoding.channelAxis = options.channelAxis;
    int64_t channels = weight.shape()[static_cast<size_t>(options.channelAxis)], blocks = groups.blocks;
    bool channelsFirst = options.channelAxis < options.blockAxis;
    auto groupIndex = [&](int64_t channel, int64_t block) {
      return channelsFirst ? channel * blocks + block : block * channels + channel;
    };
    encoding.scales.resize(static_cast<size_t>(channels));
    encoding.blockMultipliers.resize(static_cast<size_t>(channels * blocks));
    forEachGroup(channels, [&](int64_t channel) {
      std::vector<Group> blocksOfChannel;
      for (int64_t block = 0; block < blocks; ++block)
        blocksOfChannel.push_back(groups.get(groupIndex(channel, block)));
      ChannelFit fit = searchChannel(blocksOfChannel, search, options.searchScale);
      encoding.scales[static_cast<size_t>(channel)] = fit.scale;
      for (int64_t block = 0; block < blocks; ++block)
        encoding.blockMultipliers[static_cast<size_t>(groupIndex(channel, block))] =
            fit.multipliers[static_cast<size_t>(block)];
    });
    fillZeroScales(encoding.scales, search.quantMax);
    return encoding;
  }

  int64_t count = groups.count();
  std::vector<Fit> fits(static_cast<size_t>(count));
  auto fitGroup = [&](int64_t i) { fits[static_cast<size_t>(i)] = search.run(groups.get(i)); };
  if (count == 1)
    fitGroup(0); // Outside a tile, so that the search itself may use all threads.
  else
    forEachGroup(count, fitGroup);
  bool hasZeroPoints = false;
  for (const Fit &fit : fits) {
    encoding.scales.push_back(fit.scale);
    encoding.zeroPoints.push_back(fit.scale == 0 ? search.symmetricZero : fit.zeroPoint);
    hasZeroPoints |= encoding.zeroPoints.back() != 0;
  }
  if (!hasZeroPoints)
    encoding.zeroPoints.clear();
  fillZeroScales(encoding.scales, search.quantMax);
  return encoding;
}

} // namespace nibble::quant

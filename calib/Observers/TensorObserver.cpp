#include "calib/Observers/TensorObserver.h"
#include "lib/Support/Parallel.h"
#include "lib/Support/VectorClones.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <mutex>

namespace nibble::calib {
namespace {

/// Elements of a tile. Partial results are combined in the order of tiles.
constexpr int64_t tileSize = 65536;
/// Below this, a table per thread costs more than it saves.
constexpr int64_t smallTensor = 8192;
constexpr int64_t maximumChannels = 65536;
constexpr float movingAverageMomentum = 0.9f;

/// An aggregate without initializers: the clones of a function cannot share a constructor that a compiler makes.
struct Range {
  float min, max;
  double sum, sumOfSquares;
};
constexpr Range emptyRange = {FLT_MAX, -FLT_MAX, 0, 0};

// Loops below are written over a fixed number of lanes, so that the order of additions, and with it
// every bit of the result, does not depend on the width of the vectors that the compiler uses.
constexpr int64_t lanes = 16;

NIBBLE_VECTOR_CLONES
Range scan(const float *x, int64_t count) {
  float low[lanes], high[lanes];
  double sum[lanes] = {}, squares[lanes] = {};
  for (int64_t l = 0; l < lanes; ++l)
    low[l] = FLT_MAX, high[l] = -FLT_MAX;
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int64_t l = 0; l < lanes; ++l) {
      float value = x[i + l];
      low[l] = value < low[l] ? value : low[l];
      high[l] = value > high[l] ? value : high[l];
      double wide = value;
      sum[l] += wide;
      squares[l] += wide * wide;
    }
  Range range = emptyRange;
  for (int64_t l = 0; l < lanes; ++l) {
    range.min = std::min(range.min, low[l]);
    range.max = std::max(range.max, high[l]);
    range.sum += sum[l];
    range.sumOfSquares += squares[l];
  }
  for (; i < count; ++i) {
    range.min = std::min(range.min, x[i]);
    range.max = std::max(range.max, x[i]);
    range.sum += x[i];
    range.sumOfSquares += static_cast<double>(x[i]) * x[i];
  }
  return range;
}

/// Index of the bin of every value, from 0: floor(x * inverse) - first. `inverse` is a power of two, so
/// the product is exact and the bin does not depend on where the histogram begins.
NIBBLE_VECTOR_CLONES
void bin(const float *x, int64_t count, float inverse, int32_t first, int32_t *bins) {
  for (int64_t i = 0; i < count; ++i) {
    float scaled = x[i] * inverse;
    int32_t truncated = static_cast<int32_t>(scaled);
    bins[i] = truncated - (scaled < static_cast<float>(truncated) ? 1 : 0) - first;
  }
}

/// Adds finite values to the sums and extremes of as many channels, or lanes of one channel.
NIBBLE_VECTOR_CLONES
void addToChannels(const float *x, int64_t count, double *squares, double *magnitudes, float *low, float *high) {
  for (int64_t i = 0; i < count; ++i) {
    bool isFinite = std::fabs(x[i]) <= FLT_MAX;
    double value = isFinite ? x[i] : 0.0f;
    squares[i] += value * value;
    magnitudes[i] += std::fabs(value);
    low[i] = isFinite && x[i] < low[i] ? x[i] : low[i];
    high[i] = isFinite && x[i] > high[i] ? x[i] : high[i];
  }
}

/// The same as scan for a tile with values that are not finite, which are counted.
Range scanFinite(const float *x, int64_t first, int64_t count, TensorObserver::Outcome &outcome) {
  Range range = emptyRange;
  for (int64_t i = 0; i < count; ++i) {
    if (std::isnan(x[i])) {
      if (outcome.firstNaN < 0)
        outcome.firstNaN = first + i;
    } else if (std::isinf(x[i])) {
      ++(x[i] > 0 ? outcome.positiveInfinities : outcome.negativeInfinities);
    } else {
      range.min = std::min(range.min, x[i]);
      range.max = std::max(range.max, x[i]);
      range.sum += x[i];
      range.sumOfSquares += static_cast<double>(x[i]) * x[i];
    }
  }
  return range;
}

bool areIntegers(llvm::ArrayRef<float> values) {
  return llvm::all_of(values, [](float value) { return std::trunc(value) == value; });
}

int64_t floorToBin(float value, int exponent) {
  return static_cast<int64_t>(std::floor(std::ldexp(static_cast<double>(value), -exponent)));
}

} // namespace

TensorObserver::Outcome TensorObserver::add(const Tensor &sample) {
  llvm::ArrayRef<float> values = sample.values<float>();
  int64_t count = sample.elementCount();
  int64_t tiles = (count + tileSize - 1) / tileSize;
  std::vector<Range> ranges(static_cast<size_t>(tiles), emptyRange);
  parallelFor(tiles, [&](int64_t tile) {
    int64_t first = tile * tileSize;
    ranges[tile] = scan(values.data() + first, std::min(tileSize, count - first));
  });
  Outcome outcome;
  Range whole = emptyRange;
  bool allFinite = true;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    int64_t first = tile * tileSize;
    // Finite floats cannot overflow a sum of doubles, so a sum that is not finite has met one that is not.
    if (!std::isfinite(ranges[tile].sumOfSquares)) {
      ranges[tile] = scanFinite(values.data() + first, first, std::min(tileSize, count - first), outcome);
      allFinite = false;
    }
    whole.min = std::min(whole.min, ranges[tile].min);
    whole.max = std::max(whole.max, ranges[tile].max);
    whole.sum += ranges[tile].sum;
    whole.sumOfSquares += ranges[tile].sumOfSquares;
  }

  quant::TensorStatistics &s = statistics;
  bool isFirst = s.sampleCount == 0;
  s.elementCount += count;
  s.infiniteCount += outcome.positiveInfinities + outcome.negativeInfinities;
  ++s.sampleCount;
  s.allIntegers = (isFirst || s.allIntegers) && allFinite && areIntegers(values);
  if (whole.min > whole.max)
    return outcome;
  s.sum += whole.sum;
  s.sumOfSquares += whole.sumOfSquares;
  if (!hasFinite) {
    s.min = s.movingMin = whole.min;
    s.max = s.movingMax = whole.max;
  } else {
    s.min = std::min(s.min, whole.min);
    s.max = std::max(s.max, whole.max);
    s.movingMin = movingAverageMomentum * s.movingMin + (1 - movingAverageMomentum) * whole.min;
    s.movingMax = movingAverageMomentum * s.movingMax + (1 - movingAverageMomentum) * whole.max;
  }
  growHistogram(s.min, s.max);
  hasFinite = true;
  countHistogram(values, allFinite);
  if (s.channelAxis >= 0)
    addChannels(sample);
  return outcome;
}

/// Makes the bins as wide as [min, max] needs, which depends on these two numbers alone.
void TensorObserver::growHistogram(float min, float max) {
  float magnitude = std::max(std::fabs(min), std::fabs(max));
  // Bins finer than the spacing of floats of this magnitude would tell nothing apart.
  int wanted = std::max(-126, magnitude > 0 ? std::ilogb(magnitude) - 22 : -126);
  double extent = (static_cast<double>(max) - min) / histogramBins;
  if (extent > 0)
    wanted = std::max(wanted, std::ilogb(extent));
  while (floorToBin(max, wanted) - floorToBin(min, wanted) >= histogramBins)
    ++wanted;
  int64_t wantedFirst = floorToBin(min, wanted);
  std::vector<int64_t> &bins = statistics.histogram;
  if (!hasFinite) {
    bins.assign(histogramBins, 0);
  } else if (wanted != exponent || wantedFirst != firstBin) {
    std::vector<int64_t> grown(histogramBins, 0);
    for (int64_t i = 0; i < histogramBins; ++i)
      if (bins[i])
        grown[((firstBin + i) >> (wanted - exponent)) - wantedFirst] += bins[i];
    bins = std::move(grown);
  }
  exponent = wanted;
  firstBin = wantedFirst;
}

void TensorObserver::countHistogram(llvm::ArrayRef<float> values, bool allFinite) {
  std::vector<int64_t> &bins = statistics.histogram;
  float inverse = std::ldexp(1.0f, -exponent);
  int32_t first = static_cast<int32_t>(firstBin);
  if (!allFinite) {
    for (float value : values)
      if (std::isfinite(value))
        ++bins[floorToBin(value, exponent) - firstBin];
    return;
  }
  int64_t count = static_cast<int64_t>(values.size());
  constexpr int64_t chunk = 1024;
  if (count <= smallTensor) {
    int32_t indices[chunk];
    for (int64_t begin = 0; begin < count; begin += chunk) {
      int64_t size = std::min(chunk, count - begin);
      bin(values.data() + begin, size, inverse, first, indices);
      for (int64_t i = 0; i < size; ++i)
        ++bins[indices[i]];
    }
    return;
  }
  std::mutex mutex;
  parallelFor((count + tileSize - 1) / tileSize, [&](int64_t tile) {
    // Neighbours often fall into one bin; four tables keep their increments from waiting for each other.
    uint32_t tables[4][histogramBins] = {};
    int32_t indices[chunk];
    int64_t end = std::min(count, (tile + 1) * tileSize);
    for (int64_t begin = tile * tileSize; begin < end; begin += chunk) {
      int64_t size = std::min(chunk, end - begin), i = 0;
      bin(values.data() + begin, size, inverse, first, indices);
      for (; i + 4 <= size; i += 4)
        for (int t = 0; t < 4; ++t)
          ++tables[t][indices[i + t]];
      for (; i < size; ++i)
        ++tables[0][indices[i]];
    }
    std::lock_guard<std::mutex> lock(mutex);
    for (int64_t b = 0; b < histogramBins; ++b)
      bins[b] += int64_t(tables[0][b]) + tables[1][b] + tables[2][b] + tables[3][b];
  });
}

void TensorObserver::addChannels(const Tensor &sample) {
  int64_t axis = statistics.channelAxis;
  if (axis >= sample.rank() || sample.shape()[axis] > maximumChannels)
    return;
  int64_t channels = sample.shape()[axis];
  std::vector<double> &squares = statistics.channelSumOfSquares, &magnitudes = statistics.channelSumOfMagnitudes;
  std::vector<float> &low = statistics.channelMin, &high = statistics.channelMax;
  // A tensor whose axis changes between samples has no channels to speak of.
  if (squares.empty()) {
    squares.assign(static_cast<size_t>(channels), 0.0);
    magnitudes.assign(static_cast<size_t>(channels), 0.0);
    low.assign(static_cast<size_t>(channels), FLT_MAX);
    high.assign(static_cast<size_t>(channels), -FLT_MAX);
  } else if (static_cast<int64_t>(squares.size()) != channels) {
    squares.clear();
    magnitudes.clear();
    low.clear();
    high.clear();
    statistics.channelAxis = -1;
    return;
  }
  int64_t outer = elementCount(sample.shape().take_front(axis)), inner = elementCount(sample.shape().drop_front(axis + 1));
  const float *data = sample.data<float>();
  if (inner == 1) {
    constexpr int64_t channelsPerTile = 256;
    parallelFor((channels + channelsPerTile - 1) / channelsPerTile, [&](int64_t tile) {
      int64_t first = tile * channelsPerTile, size = std::min(channelsPerTile, channels - first);
      for (int64_t row = 0; row < outer; ++row)
        addToChannels(data + row * channels + first, size, squares.data() + first, magnitudes.data() + first,
                      low.data() + first, high.data() + first);
    });
    return;
  }
  parallelFor(channels, [&](int64_t channel) {
    double square[lanes] = {}, magnitude[lanes] = {};
    float smallest[lanes], largest[lanes];
    std::fill_n(smallest, lanes, FLT_MAX);
    std::fill_n(largest, lanes, -FLT_MAX);
    for (int64_t o = 0; o < outer; ++o) {
      const float *row = data + (o * channels + channel) * inner;
      int64_t i = 0;
      for (; i + lanes <= inner; i += lanes)
        addToChannels(row + i, lanes, square, magnitude, smallest, largest);
      addToChannels(row + i, inner - i, square, magnitude, smallest, largest);
    }
    for (int64_t l = 0; l < lanes; ++l) {
      squares[channel] += square[l];
      magnitudes[channel] += magnitude[l];
      low[channel] = std::min(low[channel], smallest[l]);
      high[channel] = std::max(high[channel], largest[l]);
    }
  });
}

quant::TensorStatistics TensorObserver::finish() const {
  quant::TensorStatistics result = statistics;
  if (!hasFinite)
    return result;
  // The edge of the outermost bin may be 2^128, which is no float.
  auto edge = [&](int64_t binIndex) {
    double value = std::ldexp(static_cast<double>(binIndex), exponent);
    return static_cast<float>(std::clamp(value, -static_cast<double>(FLT_MAX), static_cast<double>(FLT_MAX)));
  };
  result.histogramMin = edge(firstBin);
  result.histogramMax = edge(firstBin + histogramBins);
  if (result.channelSumOfSquares.empty())
    result.channelAxis = -1;
  for (auto [low, high] : llvm::zip_equal(result.channelMin, result.channelMax))
    if (low > high)
      low = high = 0;
  return result;
}

} // namespace nibble::calib

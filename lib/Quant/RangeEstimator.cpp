#include "lib/Quant/RangeEstimator.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble::quant {
namespace {

/// The histogram with what the estimators need: bin edges and cumulative moments of a density that is
/// uniform inside each bin.
class Distribution {
public:
  explicit Distribution(const TensorStatistics &statistics)
      : counts(statistics.histogram), low(statistics.histogramMin),
        width((static_cast<double>(statistics.histogramMax) - low) / static_cast<double>(counts.size())) {
    cumulative.resize(counts.size() + 1);
    first.resize(counts.size() + 1);
    second.resize(counts.size() + 1);
    for (size_t i = 0; i < counts.size(); ++i) {
      double count = static_cast<double>(counts[i]), center = edge(i) + width / 2;
      cumulative[i + 1] = cumulative[i] + count;
      first[i + 1] = first[i] + count * center;
      second[i + 1] = second[i] + count * (center * center + width * width / 12);
    }
  }

  double edge(size_t bin) const { return low + width * static_cast<double>(bin); }
  size_t size() const { return counts.size(); }
  double total() const { return cumulative.back(); }
  double binWidth() const { return width; }
  int64_t count(size_t bin) const { return counts[bin]; }

  /// The value below which `share` of all values lie.
  double quantile(double share) const {
    double wanted = share * total();
    size_t bin = static_cast<size_t>(std::upper_bound(cumulative.begin() + 1, cumulative.end(), wanted) - cumulative.begin()) - 1;
    bin = std::min(bin, counts.size() - 1);
    double inside = counts[bin] ? (wanted - cumulative[bin]) / static_cast<double>(counts[bin]) : 0;
    return edge(bin) + width * std::clamp(inside, 0.0, 1.0);
  }

  /// Sum over values in bins [0, bin) of (x - bound)^2.
  double squaredBelow(size_t bin, double bound) const {
    return second[bin] - 2 * bound * first[bin] + bound * bound * cumulative[bin];
  }
  double squaredAbove(size_t bin, double bound) const {
    return (second.back() - second[bin]) - 2 * bound * (first.back() - first[bin]) +
           bound * bound * (cumulative.back() - cumulative[bin]);
  }
  double countBetween(size_t begin, size_t end) const { return cumulative[end] - cumulative[begin]; }

  /// The first bin whose lower edge is at or above `value`.
  size_t binAtOrAbove(double value) const {
    double bin = std::ceil((value - low) / width);
    return static_cast<size_t>(std::clamp(bin, 0.0, static_cast<double>(counts.size())));
  }

private:
  llvm::ArrayRef<int64_t> counts;
  double low, width;
  std::vector<double> cumulative, first, second;
};

double levels(ElementType storage) {
  auto [low, high] = integerRange(storage);
  return static_cast<double>(high - low);
}

/// Expected squared error of the range [low, high], summed over all values.
double squaredError(const Distribution &values, double low, double high, const RangeOptions &options) {
  double span = options.symmetric ? 2 * std::max(-low, high) : high - low;
  double step = span / levels(options.storage);
  size_t begin = values.binAtOrAbove(low), end = std::max(begin, values.binAtOrAbove(high));
  return values.countBetween(begin, end) * step * step / 12 + values.squaredBelow(begin, low) +
         values.squaredAbove(end, high);
}

Range estimateSquaredError(const TensorStatistics &statistics, const RangeOptions &options) {
  Distribution values(statistics);
  double low = std::min(0.0f, statistics.min), high = std::max(0.0f, statistics.max);
  // The ends are moved towards zero independently, on a grid that is finer near the extremes.
  constexpr int steps = 120;
  auto shrink = [](int step) { return std::pow(0.975, step); };
  double bestError = std::numeric_limits<double>::infinity();
  Range best{static_cast<float>(low), static_cast<float>(high)};
  for (int i = 0; i < (low < 0 ? steps : 1); ++i)
    for (int j = 0; j < (high > 0 ? steps : 1); ++j) {
      double candidateLow = low * shrink(i), candidateHigh = high * shrink(j);
      double error = squaredError(values, candidateLow, candidateHigh, options);
      if (error < bestError) {
        bestError = error;
        best = {static_cast<float>(candidateLow), static_cast<float>(candidateHigh)};
      }
    }
  return best;
}

/// Counts over `bins` equal parts of [-limit, limit], from the histogram's bins in proportion to overlap.
std::vector<double> rebinSymmetric(const Distribution &values, double limit, size_t bins) {
  std::vector<double> result(bins);
  double width = 2 * limit / static_cast<double>(bins);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values.count(i))
      continue;
    double begin = std::max(values.edge(i), -limit), end = std::min(values.edge(i) + values.binWidth(), limit);
    double count = static_cast<double>(values.count(i));
    double firstBin = (begin + limit) / width, lastBin = (std::max(begin, end) + limit) / width;
    size_t from = std::min(bins - 1, static_cast<size_t>(firstBin));
    size_t to = std::min(bins - 1, static_cast<size_t>(lastBin));
    double length = lastBin - firstBin;
    for (size_t k = from; k <= to; ++k) {
      double overlap = std::min(lastBin, static_cast<double>(k + 1)) - std::max(firstBin, static_cast<double>(k));
      result[k] += length > 0 ? count * std::max(0.0, overlap) / length : count;
    }
  }
  return result;
}

/// Kullback-Leibler divergence of `counts`, clipped to the middle `kept` bins with the outliers moved to the
/// edge bins, from the same quantized to `cells` cells of equal width.
double divergence(llvm::ArrayRef<double> counts, size_t kept, size_t cells) {
  size_t begin = (counts.size() - kept) / 2, end = begin + kept;
  double below = 0, above = 0, inside = 0;
  for (size_t i = 0; i < counts.size(); ++i)
    (i < begin ? below : i >= end ? above : inside) += counts[i];
  double total = below + above + inside;
  double sum = 0;
  for (size_t cell = 0; cell < cells; ++cell) {
    size_t from = begin + cell * kept / cells, to = begin + (cell + 1) * kept / cells;
    double mass = 0;
    size_t occupied = 0;
    for (size_t i = from; i < to; ++i) {
      mass += counts[i];
      occupied += counts[i] > 0;
    }
    for (size_t i = from; i < to; ++i) {
      double p = counts[i] + (i == begin ? below : 0) + (i + 1 == end ? above : 0);
      if (p <= 0)
        continue;
      // A cell spreads its mass over its occupied bins; an outlier in an empty cell is all but impossible.
      double q = occupied && counts[i] > 0 ? mass / static_cast<double>(occupied) : total * 1e-9;
      sum += p / total * std::log((p / total) / (q / std::max(inside, total * 1e-9)));
    }
  }
  return sum;
}

Range estimateEntropy(const TensorStatistics &statistics, const RangeOptions &options) {
  Range extremes{statistics.min, statistics.max};
  size_t cells = static_cast<size_t>(levels(options.storage)) + 1, bins = statistics.histogram.size() / 2 * 2;
  double limit = std::max(std::abs(extremes.min), std::abs(extremes.max));
  // More cells than bins: quantization cannot be told from the histogram, and nothing is gained by clipping.
  if (cells >= bins || limit == 0)
    return extremes;
  Distribution values(statistics);
  std::vector<double> counts = rebinSymmetric(values, limit, bins);
  double best = std::numeric_limits<double>::infinity();
  size_t bestKept = bins;
  for (size_t kept = bins; kept >= cells; kept -= std::max<size_t>(2, bins / 256 / 2 * 2)) {
    double distance = divergence(counts, kept, cells);
    if (distance < best) {
      best = distance;
      bestKept = kept;
    }
  }
  double threshold = limit * static_cast<double>(bestKept) / static_cast<double>(bins);
  return {static_cast<float>(std::max<double>(extremes.min, -threshold)),
          static_cast<float>(std::min<double>(extremes.max, threshold))};
}

/// Gives a per-tensor encoding another scale that still covers values down to `min`.
void setScale(Encoding &encoding, float scale, float min) {
  encoding.scales[0] = scale;
  if (encoding.symmetric)
    return;
  double zeroPoint = std::nearbyint(static_cast<double>(encoding.quantMin) -
                                    std::min(0.0, static_cast<double>(min)) / static_cast<double>(scale));
  encoding.zeroPoints.clear();
  if (zeroPoint != 0)
    encoding.zeroPoints = {static_cast<int32_t>(std::clamp(zeroPoint, static_cast<double>(encoding.quantMin),
                                                           static_cast<double>(encoding.quantMax)))};
}

} // namespace

llvm::Expected<Range> estimateRange(const TensorStatistics &statistics, const RangeOptions &options) {
  if (!llvm::is_contained(observerNames, options.observer))
    return makeError(ErrorKind::BadInput, "unknown observer '" + options.observer + "'; there are " +
                                              llvm::join(llvm::ArrayRef<llvm::StringLiteral>(observerNames), ", "));
  if (statistics.elementCount == 0)
    return makeError(ErrorKind::BadInput, "statistics hold no values");
  if (!std::isfinite(statistics.min) || !std::isfinite(statistics.max))
    return makeError(ErrorKind::BadInput, "statistics hold values that are not finite");
  Range extremes{statistics.min, statistics.max};
  if (options.observer == "moving-average")
    return Range{std::max(extremes.min, statistics.movingMin), std::min(extremes.max, statistics.movingMax)};
  bool hasHistogram = !statistics.histogram.empty() && statistics.histogramMax > statistics.histogramMin;
  if (options.observer == "percentile" && !(options.percentile > 0 && options.percentile <= 100))
    return makeError(ErrorKind::BadInput, "percentile must lie in (0, 100], but is " + std::to_string(options.percentile));
  // A tensor that only ever had one value has no histogram to cut.
  if (options.observer == "min-max" || !hasHistogram)
    return extremes;
  if (options.observer == "percentile") {
    Distribution values(statistics);
    double tail = (100 - options.percentile) / 200;
    return Range{std::clamp(static_cast<float>(values.quantile(tail)), extremes.min, extremes.max),
                 std::clamp(static_cast<float>(values.quantile(1 - tail)), extremes.min, extremes.max)};
  }
  return options.observer == "mse" ? estimateSquaredError(statistics, options) : estimateEntropy(statistics, options);
}

Range addHeadroom(Range range, const TensorStatistics &statistics, const RangeOptions &options) {
  // Both ends grow by the same amount, as the next outlier may fall on either side; an end at 0 stays, as it
  // mostly is a property of the operator. An end that the observer drew in has no use for samples to come.
  float span = std::max(range.max, 0.0f) - std::min(range.min, 0.0f);
  double perSample = options.sampleHeadroom / static_cast<double>(std::max<int64_t>(1, statistics.sampleCount));
  auto roomAt = [&](float end, float extreme) {
    return end == 0 ? 0 : static_cast<float>(options.headroom + (end == extreme ? perSample : 0)) * span;
  };
  return {range.min - roomAt(std::min(range.min, 0.0f), statistics.min),
          range.max + roomAt(std::max(range.max, 0.0f), statistics.max)};
}

Encoding makeActivationEncoding(const TensorStatistics &statistics, const Range &range, const RangeOptions &options) {
  Encoding encoding = makeTensorEncoding(options.storage, options.symmetric, range.min, range.max);
  double scale = encoding.scales[0];
  if (!statistics.allIntegers || scale > 1 || range.min > statistics.min || range.max < statistics.max)
    return encoding;
  // The next power of two at or above the scale still covers the range, and 1 is a multiple of it.
  setScale(encoding, std::ldexp(1.0f, static_cast<int>(std::ceil(std::log2(scale)))), range.min);
  return encoding;
}

Encoding makeConstantEncoding(const Tensor &constant, ElementType storage, bool symmetric) {
  llvm::ArrayRef<float> values = constant.values<float>();
  float min = 0, max = 0, single = 0;
  bool isSingle = true;
  for (float value : values) {
    min = std::min(min, value);
    max = std::max(max, value);
    isSingle &= value == 0 || single == 0 || value == single;
    single = value != 0 ? value : single;
  }
  Encoding encoding = makeTensorEncoding(storage, symmetric, min, max);
  if (single == 0)
    return encoding;
  if (isSingle) {
    // A quarter of the range is a power of two, which divides the number without rounding.
    float quarter = static_cast<float>(int64_t(1) << (bitWidth(storage) - 2));
    if (float exact = std::abs(single) / quarter; std::isnormal(exact))
      setScale(encoding, exact, min);
    return encoding;
  }
  float power = std::ldexp(1.0f, static_cast<int>(std::ceil(std::log2(encoding.scales[0]))));
  if (std::isnormal(power) && llvm::all_of(values, [&](float v) { return v / power == std::nearbyint(v / power); }))
    setScale(encoding, power, min);
  return encoding;
}

} // namespace nibble::quant

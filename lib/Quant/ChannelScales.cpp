#include "lib/Quant/ChannelScales.h"
#include "lib/Quant/WeightQuantizer.h"
#include "lib/Support/Parallel.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace nibble::quant {
namespace {

constexpr int64_t exponentSteps = 20;
/// Scales beyond this would leave the range of 16-bit floats that some targets compute norms in.
constexpr double largestScale = 1e4;
constexpr int64_t sampledOutputs = 512;

double square(double value) { return value * value; }

/// Puts the scales around 1 and those that are not to be scaled at 1. `raw` is 0 where a channel has no scale.
std::vector<float> normalize(llvm::ArrayRef<double> raw, const ScaledGroup &group) {
  const llvm::BitVector &fixed = group.fixed;
  double smallest = std::numeric_limits<double>::infinity(), largest = 0;
  for (auto [channel, value] : llvm::enumerate(raw))
    if (value > 0 && std::isfinite(value) && !fixed.test(static_cast<unsigned>(channel))) {
      smallest = std::min(smallest, value);
      largest = std::max(largest, value);
    }
  double level = std::sqrt(smallest * largest);
  if (group.source && fixed.any()) {
    double before = 0, after = 0;
    for (auto [channel, value] : llvm::enumerate(raw))
      if (value > 0 && std::isfinite(value) && !fixed.test(static_cast<unsigned>(channel))) {
        double range = std::max(std::fabs(group.source->min[channel]), std::fabs(group.source->max[channel]));
        before = std::max(before, range);
        after = std::max(after, range / value);
      }
    if (before > 0)
      level = before / after;
  }
  std::vector<float> scales(raw.size(), 1.0f);
  for (auto [channel, value] : llvm::enumerate(raw))
    if (value > 0 && std::isfinite(value) && !fixed.test(static_cast<unsigned>(channel)))
      scales[channel] = static_cast<float>(std::clamp(value / level, 1 / largestScale, largestScale));
  return scales;
}

/// Power of the outputs for uncorrelated inputs.
double signalPower(const ScaledReader &reader) {
  double power = 0;
  forEachWeight(reader.weight.shape(), reader.axes, [&](int64_t offset, int64_t input, int64_t) {
    power += square(reader.weight.data<float>()[offset]) * reader.meanSquare[static_cast<size_t>(input)];
  });
  return power;
}

/// The noise that rounding of a reader's inputs and weights adds to its outputs.
double roundingNoise(const ScaledReader &reader, const ScaledGroup &group, llvm::ArrayRef<float> scales,
                     const ChannelScaleOptions &options) {
  size_t inputs = reader.channels.size();
  std::vector<double> factor(inputs), variance(inputs, 0.0), meanSquare(inputs);
  double low = 0, high = 0;
  for (size_t i = 0; i < inputs; ++i) {
    factor[i] = scales[static_cast<size_t>(reader.channels[i])];
    meanSquare[i] = reader.meanSquare[i] / square(factor[i]);
    low = std::min(low, reader.min[i] / factor[i]);
    high = std::max(high, reader.max[i] / factor[i]);
  }
  if (options.activationBits) {
    double step = (high - low) / (std::exp2(options.activationBits) - 1);
    std::fill(variance.begin(), variance.end(), square(step) / 12);
    if (!group.normScale.empty()) {
      double lowest = 0, highest = 0;
      for (auto [scale, parameter] : llvm::zip_equal(scales, group.normScale)) {
        lowest = std::min(lowest, static_cast<double>(parameter / scale));
        highest = std::max(highest, static_cast<double>(parameter / scale));
      }
      double normStep = (highest - lowest) / (std::exp2(options.normBits) - 1);
      for (size_t i = 0; i < inputs; ++i)
        if (float parameter = group.normScale[static_cast<size_t>(reader.channels[i])]; parameter != 0)
          variance[i] += square(normStep) / 12 * reader.meanSquare[i] / square(parameter);
    }
  }
  if (options.activationBits && group.source) {
    double lowest = 0, highest = 0;
    for (size_t c = 0; c < scales.size(); ++c) {
      lowest = std::min(lowest, static_cast<double>(group.source->min[c] / scales[c]));
      highest = std::max(highest, static_cast<double>(group.source->max[c] / scales[c]));
    }
    double step = (highest - lowest) / (std::exp2(options.activationBits) - 1);
    // What lies between scales noise as it scales the value: by the ratio of their powers.
    for (size_t i = 0; i < inputs; ++i)
      if (double power = group.source->meanSquare[static_cast<size_t>(reader.channels[i])]; power > 0)
        variance[i] += square(step) / 12 * reader.meanSquare[i] / power;
  }
  // One step per output, or per output and block of inputs.
  int64_t length = reader.weight.shape()[static_cast<size_t>(reader.axes.input)];
  int64_t blockSize = options.groupSize ? options.groupSize : length, blocks = (length + blockSize - 1) / blockSize;
  size_t steps = static_cast<size_t>(reader.axes.outputCount(reader.weight.shape()) * blocks);
  std::vector<double> largest(steps, 0.0), inputPower(steps, 0.0);
  double noise = 0;
  forEachWeight(reader.weight.shape(), reader.axes, [&](int64_t offset, int64_t input, int64_t output) {
    size_t i = static_cast<size_t>(input);
    double weight = reader.weight.data<float>()[offset] * factor[i];
    noise += square(weight) * variance[i];
    size_t step = static_cast<size_t>(output * blocks + input % length / blockSize);
    largest[step] = std::max(largest[step], std::fabs(weight));
    inputPower[step] += meanSquare[i];
  });
  double levels = std::exp2(options.weightBits - 1) - 1;
  for (size_t step = 0; step < steps; ++step)
    noise += square(largest[step] / levels) / 12 * inputPower[step];
  return noise;
}

/// The weight of every n-th output, so that at most `sampledOutputs` are left.
Tensor sampleOutputs(const Tensor &weight, const WeightAxes &axes) {
  int64_t count = weight.shape()[static_cast<size_t>(axes.output)], stride = (count + sampledOutputs - 1) / sampledOutputs;
  if (stride == 1 || axes.groups != 1)
    return weight;
  Shape shape(weight.shape());
  shape[static_cast<size_t>(axes.output)] = (count + stride - 1) / stride;
  Tensor sample = Tensor::allocate(ElementType::F32, shape);
  float *data = sample.mutableData<float>();
  forEachWeight(weight.shape(), axes, [&](int64_t offset, int64_t, int64_t output) {
    if (output % stride == 0)
      *data++ = weight.data<float>()[offset];
  });
  return sample;
}

/// Squared error of the rounded weights, weighted by the mean squares of the scaled inputs.
llvm::Expected<double> weightNoise(const ScaledReader &reader, llvm::ArrayRef<float> scales,
                                   const ChannelScaleOptions &options) {
  size_t inputs = reader.channels.size();
  std::vector<double> meanSquare(inputs);
  for (size_t i = 0; i < inputs; ++i)
    meanSquare[i] = reader.meanSquare[i] / square(scales[static_cast<size_t>(reader.channels[i])]);
  Tensor scaled = Tensor::allocate(ElementType::F32, reader.weight.shape());
  forEachWeight(scaled.shape(), reader.axes, [&](int64_t offset, int64_t input, int64_t) {
    scaled.mutableData<float>()[offset] =
        reader.weight.data<float>()[offset] * scales[static_cast<size_t>(reader.channels[static_cast<size_t>(input)])];
  });
  WeightEncodingOptions encoding;
  encoding.storage = options.weightBits == 4 ? ElementType::I4 : ElementType::I8;
  encoding.granularity = options.groupSize ? Granularity::Block : Granularity::Axis;
  encoding.channelAxis = reader.axes.output;
  encoding.blockAxis = reader.axes.input;
  encoding.blockSize = options.groupSize;
  double largest = *std::max_element(meanSquare.begin(), meanSquare.end());
  if (reader.axes.groups == 1 && largest > 0) {
    for (double value : meanSquare)
      encoding.importance.push_back(static_cast<float>(value / largest));
    encoding.importanceAxis = reader.axes.input;
  }
  llvm::Expected<Encoding> chosen = chooseWeightEncoding(scaled, encoding);
  if (!chosen)
    return chosen.takeError();
  Tensor rounded = Tensor::allocate(ElementType::F32, scaled.shape());
  fakeQuantize(scaled, *chosen, rounded);
  double noise = 0;
  forEachWeight(scaled.shape(), reader.axes, [&](int64_t offset, int64_t input, int64_t) {
    noise += square(static_cast<double>(rounded.data<float>()[offset]) - scaled.data<float>()[offset]) *
             meanSquare[static_cast<size_t>(input)];
  });
  return noise;
}

} // namespace

ChannelScales chooseSmoothQuantScales(const ScaledGroup &group, const ChannelScaleOptions &options) {
  size_t channels = group.fixed.size();
  std::vector<double> valueRange(channels, 0.0), weightRange(channels, 0.0), power;
  for (const ScaledReader &reader : group.readers) {
    for (auto [input, channel] : llvm::enumerate(reader.channels)) {
      double &range = valueRange[static_cast<size_t>(channel)];
      range = std::max({range, std::fabs(static_cast<double>(reader.min[input])), std::fabs(static_cast<double>(reader.max[input]))});
    }
    forEachWeight(reader.weight.shape(), reader.axes, [&](int64_t offset, int64_t input, int64_t) {
      double &range = weightRange[static_cast<size_t>(reader.channels[static_cast<size_t>(input)])];
      range = std::max(range, std::fabs(static_cast<double>(reader.weight.data<float>()[offset])));
    });
    power.push_back(signalPower(reader));
  }
  auto noiseOf = [&](llvm::ArrayRef<float> scales) {
    double noise = 0;
    for (auto [reader, signal] : llvm::zip_equal(group.readers, power))
      if (signal > 0)
        noise += roundingNoise(reader, group, scales, options) / signal;
    return noise;
  };
  std::vector<ChannelScales> candidates(exponentSteps + 1);
  parallelFor(exponentSteps + 1, [&](int64_t step) {
    double exponent = static_cast<double>(step) / exponentSteps;
    std::vector<double> raw(channels, 0.0);
    for (size_t c = 0; c < channels; ++c)
      if (valueRange[c] > 0 && weightRange[c] > 0)
        raw[c] = std::pow(valueRange[c], exponent) / std::pow(weightRange[c], 1 - exponent);
    ChannelScales &candidate = candidates[static_cast<size_t>(step)];
    candidate.scales = normalize(raw, group);
    candidate.exponent = exponent;
    candidate.noiseAfter = noiseOf(candidate.scales);
  });
  ChannelScales best;
  best.scales.assign(channels, 1.0f);
  double before = best.noiseAfter = noiseOf(best.scales);
  for (ChannelScales &candidate : candidates)
    if (candidate.noiseAfter < best.noiseAfter)
      best = std::move(candidate);
  best.noiseBefore = before;
  return best;
}

llvm::Expected<ChannelScales> chooseActivationAwareScales(const ScaledGroup &group, const ChannelScaleOptions &options) {
  size_t channels = group.fixed.size();
  std::vector<double> magnitude(channels, 0.0), count(channels, 0.0), power;
  std::vector<ScaledReader> readers = group.readers;
  for (ScaledReader &reader : readers) {
    for (auto [input, channel] : llvm::enumerate(reader.channels)) {
      magnitude[static_cast<size_t>(channel)] += reader.meanMagnitude[input];
      count[static_cast<size_t>(channel)] += 1;
    }
    reader.weight = sampleOutputs(reader.weight, reader.axes);
    power.push_back(signalPower(reader));
  }
  ChannelScales best;
  // Exponent 0 is scales of 1. The encoder of weights uses all threads, so candidates take turns.
  for (int64_t step = 0; step <= exponentSteps; ++step) {
    ChannelScales candidate;
    candidate.exponent = static_cast<double>(step) / exponentSteps;
    std::vector<double> raw(channels, 0.0);
    for (size_t c = 0; c < channels; ++c)
      if (magnitude[c] > 0)
        raw[c] = std::pow(magnitude[c] / count[c], candidate.exponent);
    candidate.scales = normalize(raw, group);
    for (auto [reader, signal] : llvm::zip_equal(readers, power)) {
      if (!(signal > 0))
        continue;
      llvm::Expected<double> noise = weightNoise(reader, candidate.scales, options);
      if (!noise)
        return noise.takeError();
      candidate.noiseAfter += *noise / signal;
    }
    if (step == 0 || candidate.noiseAfter < best.noiseAfter) {
      candidate.noiseBefore = step == 0 ? candidate.noiseAfter : best.noiseBefore;
      best = std::move(candidate);
    }
  }
  return best;
}

std::vector<float> chooseCrossLayerScales(llvm::ArrayRef<float> writerRanges, llvm::ArrayRef<float> readerRanges,
                                          const llvm::BitVector &fixed) {
  std::vector<float> scales;
  for (auto [channel, writer, reader] : llvm::enumerate(writerRanges, readerRanges)) {
    double scale = writer > 0 && reader > 0 && !fixed.test(static_cast<unsigned>(channel))
                       ? std::sqrt(static_cast<double>(writer) / static_cast<double>(reader))
                       : 1;
    scales.push_back(static_cast<float>(std::clamp(scale, 1 / largestScale, largestScale)));
  }
  return scales;
}

} // namespace nibble::quant

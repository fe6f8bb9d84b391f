// Scales of channels against simulated rounding: what is predicted to help does.
#include "lib/Quant/ChannelScales.h"
#include "lib/Quant/WeightQuantizer.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace nibble;
using namespace nibble::quant;

namespace {

constexpr int64_t inputs = 64, outputs = 48, rows = 400;

/// A matrix product whose last input channels have a range of 40 and the others one of 1.
struct Problem {
  Tensor values = Tensor::allocate(ElementType::F32, {rows, inputs});
  ScaledGroup group;

  explicit Problem(uint64_t seed, int64_t outliers = 4) {
    std::mt19937_64 generator(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::normal_distribution<float> normal;
    ScaledReader reader{Tensor::allocate(ElementType::F32, {inputs, outputs}), {0, 1}, {}, {}, {}, {}, {}};
    for (int64_t i = 0; i < inputs * outputs; ++i)
      reader.weight.mutableData<float>()[i] = normal(generator);
    for (int64_t i = 0; i < rows * inputs; ++i)
      values.mutableData<float>()[i] = uniform(generator) * (i % inputs >= inputs - outliers ? 40.0f : 1.0f);
    for (int64_t c = 0; c < inputs; ++c) {
      float low = 0, high = 0;
      double magnitude = 0, square = 0;
      for (int64_t r = 0; r < rows; ++r) {
        float x = values.data<float>()[r * inputs + c];
        low = std::min(low, x), high = std::max(high, x);
        magnitude += std::fabs(x), square += double(x) * x;
      }
      reader.channels.push_back(static_cast<int32_t>(c));
      reader.min.push_back(low);
      reader.max.push_back(high);
      reader.meanMagnitude.push_back(magnitude / rows);
      reader.meanSquare.push_back(square / rows);
    }
    group.readers.push_back(std::move(reader));
    group.fixed.resize(inputs);
  }

  /// Noise over power of the outputs when values (0 bits: not) and weights are rounded.
  double simulate(llvm::ArrayRef<float> scales, ElementType weightType, unsigned activationBits) const {
    const ScaledReader &reader = group.readers.front();
    Tensor x = Tensor::allocate(ElementType::F32, {rows, inputs}), w = Tensor::allocate(ElementType::F32, {inputs, outputs});
    float low = 0, high = 0;
    for (int64_t i = 0; i < rows * inputs; ++i) {
      x.mutableData<float>()[i] = values.data<float>()[i] / scales[static_cast<size_t>(i % inputs)];
      low = std::min(low, x.data<float>()[i]), high = std::max(high, x.data<float>()[i]);
    }
    for (int64_t i = 0; i < inputs * outputs; ++i)
      w.mutableData<float>()[i] = reader.weight.data<float>()[i] * scales[static_cast<size_t>(i / outputs)];
    if (activationBits)
      fakeQuantize(x, makeTensorEncoding(ElementType::U8, false, low, high), x);
    WeightEncodingOptions options;
    options.storage = weightType;
    options.channelAxis = 1;
    options.searchScale = false;
    fakeQuantize(w, llvm::cantFail(chooseWeightEncoding(w, options)), w);
    double noise = 0, power = 0;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t n = 0; n < outputs; ++n) {
        double exact = 0, rounded = 0;
        for (int64_t k = 0; k < inputs; ++k) {
          exact += double(values.data<float>()[r * inputs + k]) * reader.weight.data<float>()[k * outputs + n];
          rounded += double(x.data<float>()[r * inputs + k]) * w.data<float>()[k * outputs + n];
        }
        noise += (exact - rounded) * (exact - rounded);
        power += exact * exact;
      }
    return noise / power;
  }
};

double decibels(double ratio) { return 10 * std::log10(ratio); }

TEST(ChannelScales, SmoothQuantPredictsTheNoiseOfRounding) {
  Problem problem(5);
  ChannelScales chosen = chooseSmoothQuantScales(problem.group, {});
  ASSERT_TRUE(chosen.isChanged());
  std::vector<float> ones(inputs, 1.0f);
  EXPECT_NEAR(decibels(chosen.noiseBefore), decibels(problem.simulate(ones, ElementType::I8, 8)), 1.0);
  EXPECT_NEAR(decibels(chosen.noiseAfter), decibels(problem.simulate(chosen.scales, ElementType::I8, 8)), 1.0);
  EXPECT_LT(decibels(chosen.noiseAfter), decibels(chosen.noiseBefore) - 1);
  EXPECT_GT(chosen.scales[63], 2 * chosen.scales[0]) << "outliers are divided by more";
}

TEST(ChannelScales, ActivationAwareScalesLowerTheErrorOfWeights) {
  Problem problem(6, /*outliers=*/1);
  ChannelScaleOptions options;
  options.weightBits = 4;
  ChannelScales chosen = llvm::cantFail(chooseActivationAwareScales(problem.group, options));
  ASSERT_TRUE(chosen.isChanged());
  std::vector<float> ones(inputs, 1.0f);
  EXPECT_LT(problem.simulate(chosen.scales, ElementType::I4, 0), problem.simulate(ones, ElementType::I4, 0));
  EXPECT_GT(chosen.exponent, 0);
  EXPECT_GT(chosen.scales[63], chosen.scales[0]) << "weights of large inputs are rounded finer";
}

TEST(ChannelScales, NothingToGainChangesNothing) {
  Problem problem(7);
  for (ScaledReader &reader : problem.group.readers) {
    std::fill_n(reader.weight.mutableData<float>(), inputs * outputs, 0.5f);
    std::fill(reader.min.begin(), reader.min.end(), -1.0f);
    std::fill(reader.max.begin(), reader.max.end(), 1.0f);
    std::fill(reader.meanSquare.begin(), reader.meanSquare.end(), 0.5);
    std::fill(reader.meanMagnitude.begin(), reader.meanMagnitude.end(), 0.5);
  }
  for (const ChannelScales &chosen : {chooseSmoothQuantScales(problem.group, {}),
                                      llvm::cantFail(chooseActivationAwareScales(problem.group, {}))}) {
    EXPECT_FALSE(chosen.isChanged());
    EXPECT_EQ(chosen.scales, std::vector<float>(inputs, 1.0f));
  }
}

TEST(ChannelScales, FixedAndSilentChannelsKeepTheirScale) {
  Problem problem(8);
  problem.group.fixed.set(63);
  ScaledReader &reader = problem.group.readers.front();
  reader.min[3] = reader.max[3] = 0;
  reader.meanSquare[3] = reader.meanMagnitude[3] = 0;
  ChannelScales smooth = chooseSmoothQuantScales(problem.group, {});
  ChannelScales aware = llvm::cantFail(chooseActivationAwareScales(problem.group, {}));
  for (const ChannelScales &chosen : {smooth, aware}) {
    EXPECT_EQ(chosen.scales[63], 1.0f);
    EXPECT_EQ(chosen.scales[3], 1.0f);
    EXPECT_LE(chosen.noiseAfter, chosen.noiseBefore);
  }
}

/// A source with one range, and half the power of what readers see.
ScaledSource makeSource(const ScaledGroup &group, float range) {
  ScaledSource source{std::vector<float>(inputs, -range), std::vector<float>(inputs, range), {}};
  for (double square : group.readers.front().meanSquare)
    source.meanSquare.push_back(square / 2);
  return source;
}

TEST(ChannelScales, RoundingOfTheSourceCounts) {
  Problem problem(10);
  ChannelScales alone = chooseSmoothQuantScales(problem.group, {});
  problem.group.source = makeSource(problem.group, 1);
  ChannelScales withSource = chooseSmoothQuantScales(problem.group, {});
  EXPECT_GT(withSource.noiseBefore, alone.noiseBefore);
  // What evens out the readers' inputs makes the source uneven.
  EXPECT_GT(withSource.noiseAfter / withSource.noiseBefore, alone.noiseAfter / alone.noiseBefore);
  // Values that stay float cost nothing on the way.
  ChannelScaleOptions options;
  options.activationBits = 0;
  double noise = chooseSmoothQuantScales(problem.group, options).noiseBefore;
  problem.group.source.reset();
  EXPECT_EQ(noise, chooseSmoothQuantScales(problem.group, options).noiseBefore);
}

TEST(ChannelScales, BesideFixedChannelsTheSourceKeepsItsRange) {
  Problem problem(11, /*outliers=*/1);
  problem.group.fixed.set(0, 8);
  problem.group.source = makeSource(problem.group, 3);
  ChannelScales chosen = llvm::cantFail(chooseActivationAwareScales(problem.group, {}));
  ASSERT_TRUE(chosen.isChanged());
  float largest = 0;
  for (size_t c = 8; c < inputs; ++c)
    largest = std::max(largest, 3 / chosen.scales[c]);
  EXPECT_NEAR(largest, 3, 1e-5);
}

TEST(ChannelScales, WeightsThatAreNotFiniteAreRefused) {
  Problem problem(9);
  problem.group.readers.front().weight.mutableData<float>()[5] = std::numeric_limits<float>::infinity();
  llvm::Expected<ChannelScales> chosen = chooseActivationAwareScales(problem.group, {});
  ASSERT_FALSE(static_cast<bool>(chosen));
  EXPECT_NE(llvm::toString(chosen.takeError()).find("is not finite"), std::string::npos);
}

TEST(ChannelScales, CrossLayerScalesGiveBothSidesOneRange) {
  std::vector<float> writer{8, 0.5f, 0, 3}, reader{2, 2, 1, 5};
  llvm::BitVector fixed(4);
  fixed.set(3);
  std::vector<float> scales = chooseCrossLayerScales(writer, reader, fixed);
  EXPECT_EQ(scales, (std::vector<float>{2, 0.5f, 1, 1}));
  EXPECT_EQ(writer[0] / scales[0], reader[0] * scales[0]);
  EXPECT_EQ(writer[1] / scales[1], reader[1] * scales[1]);
}

TEST(WeightAxes, ConvolutionsWithGroupsCountChannelsOverAllGroups) {
  // Conv: 4 outputs in 2 groups of 3 inputs each.
  std::vector<std::pair<int64_t, int64_t>> seen;
  forEachWeight({4, 3, 1}, WeightAxes{1, 0, 2, true},
                [&](int64_t offset, int64_t input, int64_t output) {
                  EXPECT_EQ(offset, static_cast<int64_t>(seen.size()));
                  seen.emplace_back(input, output);
                });
  EXPECT_EQ(seen[0], std::pair(int64_t(0), int64_t(0)));
  EXPECT_EQ(seen[5], std::pair(int64_t(2), int64_t(1)));
  EXPECT_EQ(seen[6], std::pair(int64_t(3), int64_t(2)));
  EXPECT_EQ(seen[11], std::pair(int64_t(5), int64_t(3)));
  // ConvTranspose: 4 inputs in 2 groups of 3 outputs each.
  seen.clear();
  forEachWeight({4, 3, 1}, WeightAxes{0, 1, 2, false},
                [&](int64_t, int64_t input, int64_t output) { seen.emplace_back(input, output); });
  EXPECT_EQ(seen[5], std::pair(int64_t(1), int64_t(2)));
  EXPECT_EQ(seen[6], std::pair(int64_t(2), int64_t(3)));
}

} // namespace

//===- RangeEstimatorTest.cpp - ranges against sweeps over the values ---------===//
#include "lib/Quant/RangeEstimator.h"
#include "lib/Support/Error.h"
#include "tests/unit/quant/TestUtilities.h"

#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>

using namespace nibble;
using namespace nibble::quant;

namespace {

TensorStatistics makeStatistics(llvm::ArrayRef<float> values, size_t bins = 2048) {
  TensorStatistics statistics;
  statistics.elementCount = static_cast<int64_t>(values.size());
  statistics.sampleCount = 1;
  statistics.min = *std::min_element(values.begin(), values.end());
  statistics.max = *std::max_element(values.begin(), values.end());
  statistics.movingMin = statistics.min / 2;
  statistics.movingMax = statistics.max / 2;
  statistics.histogramMin = statistics.min;
  statistics.histogramMax = statistics.max;
  statistics.histogram.assign(bins, 0);
  statistics.allIntegers = std::all_of(values.begin(), values.end(), [](float v) { return v == std::floor(v); });
  for (float value : values) {
    double place = (static_cast<double>(value) - statistics.min) / (static_cast<double>(statistics.max) - statistics.min);
    ++statistics.histogram[std::min(bins - 1, static_cast<size_t>(place * static_cast<double>(bins)))];
  }
  return statistics;
}

Range estimate(const TensorStatistics &statistics, llvm::StringRef observer, ElementType storage = ElementType::U8,
               double percentile = 99.99) {
  RangeOptions options;
  options.observer = observer.str();
  options.storage = storage;
  options.percentile = percentile;
  return llvm::cantFail(estimateRange(statistics, options));
}

double quantizationError(const Tensor &values, const Range &range, ElementType storage) {
  Tensor fake = Tensor::allocate(ElementType::F32, values.shape());
  fakeQuantize(values, makeTensorEncoding(storage, false, range.min, range.max), fake);
  double sum = 0;
  for (int64_t i = 0; i < values.elementCount(); ++i)
    sum += std::pow(static_cast<double>(values.data<float>()[i]) - static_cast<double>(fake.data<float>()[i]), 2);
  return sum;
}

TEST(RangeEstimator, MinMaxAndMovingAverage) {
  TensorStatistics statistics = makeStatistics({-2, 0, 4});
  EXPECT_EQ(estimate(statistics, "min-max").min, -2);
  EXPECT_EQ(estimate(statistics, "min-max").max, 4);
  EXPECT_EQ(estimate(statistics, "moving-average").min, -1);
  EXPECT_EQ(estimate(statistics, "moving-average").max, 2);
}

TEST(RangeEstimator, PercentileCutsEqualTails) {
  Tensor values = test::makeRandomTensor({100000}, 2, 1.0f);
  std::vector<float> sorted(values.values<float>().begin(), values.values<float>().end());
  std::sort(sorted.begin(), sorted.end());
  Range range = estimate(makeStatistics(sorted), "percentile", ElementType::U8, 98);
  EXPECT_NEAR(range.min, sorted[1000], 0.01);
  EXPECT_NEAR(range.max, sorted[99000], 0.01);
}

TEST(RangeEstimator, SquaredErrorIsCloseToTheBestOfASweepOverTheValues) {
  for (float outlier : {1.0f, 6.0f, 30.0f}) {
    Tensor values = test::makeRandomTensor({50000}, 4, outlier);
    Range chosen = estimate(makeStatistics(values.values<float>()), "mse");
    float low = *std::min_element(values.values<float>().begin(), values.values<float>().end());
    float high = *std::max_element(values.values<float>().begin(), values.values<float>().end());
    double best = 1e300;
    for (int i = 1; i <= 40; ++i)
      for (int j = 1; j <= 40; ++j)
        best = std::min(best, quantizationError(values, {low * static_cast<float>(i) / 40, high * static_cast<float>(j) / 40},
                                                ElementType::U8));
    double found = quantizationError(values, chosen, ElementType::U8);
    EXPECT_LE(found, 1.03 * best) << "outlier " << outlier;
    EXPECT_LE(found, 1.001 * quantizationError(values, {low, high}, ElementType::U8));
  }
}

TEST(RangeEstimator, SixteenBitsLeaveLittleToClip) {
  Tensor values = test::makeRandomTensor({50000}, 4, 6.0f);
  TensorStatistics statistics = makeStatistics(values.values<float>());
  Range range = estimate(statistics, "mse", ElementType::U16);
  EXPECT_GT(range.max, 0.9f * statistics.max);
  EXPECT_EQ(estimate(statistics, "entropy", ElementType::U16).max, statistics.max);
}

TEST(RangeEstimator, EntropyDropsRareOutliersAndKeepsAUniformDistribution) {
  std::vector<float> uniform, spiked;
  for (int i = 0; i < 40000; ++i) {
    uniform.push_back(static_cast<float>(i) / 20000 - 1);
    spiked.push_back(static_cast<float>(i) / 20000 - 1);
  }
  spiked.push_back(10);
  Range whole = estimate(makeStatistics(uniform), "entropy");
  EXPECT_LT(whole.min, -0.97f);
  EXPECT_GT(whole.max, 0.97f);
  Range cut = estimate(makeStatistics(spiked), "entropy");
  EXPECT_GT(cut.max, 0.9f);
  EXPECT_LT(cut.max, 3.0f);
}

TEST(RangeEstimator, NothingIsWiderThanTheExtremes) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Tensor values = test::makeRandomTensor({999}, seed, 20.0f);
    TensorStatistics statistics = makeStatistics(values.values<float>(), 512);
    for (llvm::StringRef observer : observerNames) {
      Range range = estimate(statistics, observer);
      EXPECT_GE(range.min, statistics.min) << observer.str();
      EXPECT_LE(range.max, statistics.max) << observer.str();
      EXPECT_LT(range.min, range.max) << observer.str();
    }
  }
}

TEST(RangeEstimator, HeadroomWidensWhatIsNotZero) {
  RangeOptions options;
  options.headroom = 0.25;
  Range range = addHeadroom({0, 8}, makeStatistics({0, 3, 8}), options);
  EXPECT_EQ(range.min, 0);
  EXPECT_EQ(range.max, 10);
  range = addHeadroom({-2, 6}, makeStatistics({-2, 0, 6}), options);
  EXPECT_EQ(range.min, -4);
  EXPECT_EQ(range.max, 8);
}

TEST(RangeEstimator, FewSamplesLeaveMoreHeadroom) {
  TensorStatistics statistics = makeStatistics({-2, 0, 6});
  RangeOptions options;
  options.sampleHeadroom = 0.5;
  statistics.sampleCount = 2;
  Range range = addHeadroom({-2, 6}, statistics, options);
  EXPECT_EQ(range.min, -4);
  EXPECT_EQ(range.max, 8);
  statistics.sampleCount = 400;
  range = addHeadroom({-2, 6}, statistics, options);
  EXPECT_FLOAT_EQ(range.max, 6.01f);
  // An end that the observer drew in stays.
  range = addHeadroom({-2, 5}, statistics, options);
  EXPECT_FLOAT_EQ(range.min, -2 - 7 * 0.5f / 400);
  EXPECT_EQ(range.max, 5);
}

TEST(RangeEstimator, IntegersAreRepresentedExactlyWhereTheyFit) {
  std::vector<float> steps;
  for (int i = 0; i < 1000; i += 37)
    steps.push_back(static_cast<float>(i));
  TensorStatistics statistics = makeStatistics(steps);
  RangeOptions options;
  options.storage = ElementType::U16;
  Encoding encoding = makeActivationEncoding(statistics, {0, 999}, options);
  Tensor values = Tensor::fromValues<float>({static_cast<int64_t>(steps.size())}, steps), fake = values;
  fake = Tensor::allocate(ElementType::F32, values.shape());
  fakeQuantize(values, encoding, fake);
  EXPECT_EQ(fake.values<float>(), values.values<float>());
  // 999 is 27 * 37: the statistics hold it, so the range is that of all values.
  EXPECT_EQ(statistics.max, 999);
  // Eight bits have no room.
  options.storage = ElementType::U8;
  EXPECT_NEAR(makeActivationEncoding(statistics, {0, 999}, options).scales[0], 999.0 / 255, 1e-4);
}

TEST(RangeEstimator, ConstantsAreExactWhereTheyCanBe) {
  std::vector<std::vector<float>> exact = {{0.1f}, {-0.7f}, {0, -30, 0}, {0.37f, 0, 0.37f}, {0, 1, 2, 7}, {-3, 5}, {0},
                                           {0.25f, -1.75f}};
  for (ElementType storage : {ElementType::U8, ElementType::I8, ElementType::U16, ElementType::I16})
    for (bool symmetric : {false, true})
      for (const std::vector<float> &values : exact) {
        Tensor constant = Tensor::fromValues<float>({static_cast<int64_t>(values.size())}, values);
        Encoding encoding = makeConstantEncoding(constant, storage, symmetric);
        Tensor fake = Tensor::allocate(ElementType::F32, constant.shape());
        fakeQuantize(constant, encoding, fake);
        EXPECT_EQ(fake.values<float>(), constant.values<float>()) << values[0] << " " << name(storage).str();
      }
  Encoding rounded = makeConstantEncoding(Tensor::fromValues<float>({2}, {0.3f, 1.7f}), ElementType::U8, false);
  EXPECT_FLOAT_EQ(rounded.scales[0], 1.7f / 255);
}

TEST(RangeEstimator, MistakesAreNamed) {
  TensorStatistics statistics = makeStatistics({-2, 0, 4});
  RangeOptions options;
  options.observer = "minmax";
  EXPECT_EQ(llvm::toString(estimateRange(statistics, options).takeError()),
            "unknown observer 'minmax'; there are min-max, moving-average, percentile, mse, entropy");
  options.observer = "percentile";
  options.percentile = 0;
  EXPECT_EQ(llvm::toString(estimateRange(statistics, options).takeError()),
            "percentile must lie in (0, 100], but is 0.000000");
  EXPECT_EQ(llvm::toString(estimateRange({}, {}).takeError()), "statistics hold no values");
}

} // namespace

//===- WeightQuantizerTest.cpp - what a scale search promises -----------------===//
#include "lib/Quant/WeightQuantizer.h"
#include "lib/Support/Error.h"
#include "lib/Support/Parallel.h"
#include "tests/unit/quant/TestUtilities.h"

#include "gtest/gtest.h"

using namespace nibble;
using namespace nibble::quant;

namespace {

/// Sum of importance * (w - fake-quantized w)^2 over the elements that `select` takes.
template <typename Select>
double errorOf(const Tensor &weight, const Encoding &encoding, const WeightEncodingOptions &options, Select select) {
  Tensor fake = Tensor::allocate(ElementType::F32, weight.shape());
  fakeQuantize(weight, encoding, fake);
  int64_t inner = 1;
  for (int64_t i = options.importanceAxis + 1; i < weight.rank(); ++i)
    inner *= weight.shape()[static_cast<size_t>(i)];
  double sum = 0;
  for (int64_t i = 0; i < weight.elementCount(); ++i) {
    if (!select(i))
      continue;
    double difference = static_cast<double>(weight.data<float>()[i]) - static_cast<double>(fake.data<float>()[i]);
    double factor = options.importance.empty()
                        ? 1.0
                        : options.importance[static_cast<size_t>(i / inner) % options.importance.size()];
    sum += factor * difference * difference;
  }
  return sum;
}

Encoding choose(const Tensor &weight, WeightEncodingOptions options, bool searchScale) {
  options.searchScale = searchScale;
  return llvm::cantFail(chooseWeightEncoding(weight, options));
}

TEST(WeightQuantizer, SearchIsNeverWorseThanMinMaxInAnyGroup) {
  Tensor weight = test::makeRandomTensor({24, 40, 3}, 5, 4.0f);
  for (ElementType storage : {ElementType::I4, ElementType::U4, ElementType::I8, ElementType::U8})
    for (Granularity granularity : {Granularity::Tensor, Granularity::Axis, Granularity::Block})
      for (bool weighted : {false, true}) {
        WeightEncodingOptions options;
        options.storage = storage;
        options.symmetric = storage == ElementType::I4 || storage == ElementType::I8;
        options.granularity = granularity;
        options.blockSize = 16;
        if (weighted)
          for (int i = 0; i < 40; ++i)
            options.importance.push_back(static_cast<float>(1 + i % 7));
        SCOPED_TRACE(name(storage).str() + " granularity " + std::to_string(static_cast<int>(granularity)));
        Encoding cover = choose(weight, options, false), best = choose(weight, options, true);
        double coverTotal = 0, bestTotal = 0;
        for (int64_t channel = 0; channel < 24; ++channel) {
          auto select = [&](int64_t i) { return granularity == Granularity::Tensor || i / 120 == channel; };
          double coverError = errorOf(weight, cover, options, select), bestError = errorOf(weight, best, options, select);
          EXPECT_LE(bestError, coverError * (1 + 1e-5));
          coverTotal += coverError;
          bestTotal += bestError;
        }
        // Four bits leave much to gain, so a search that does nothing is noticed.
        if (bitWidth(storage) == 4)
          EXPECT_LT(bestTotal, 0.95 * coverTotal);
      }
}

TEST(WeightQuantizer, MinMaxCoversTheExtremesWithTheFullRange) {
  Tensor weight = Tensor::fromValues<float>({2, 2}, {-8, 3, -2, 7});
  WeightEncodingOptions options;
  options.storage = ElementType::I4;
  Encoding encoding = choose(weight, options, false);
  EXPECT_EQ(encoding.scales, (std::vector<float>{1, 1}));
  options.quantMin = -7;
  encoding = choose(weight, options, false);
  EXPECT_EQ(encoding.quantMin, -7);
  EXPECT_FLOAT_EQ(encoding.scales[0], 8.0f / 7);
}

TEST(WeightQuantizer, WeightsOnAGridAreReproduced) {
  // Every group has its extreme at -8 steps, as the search assumes when it starts from the covering scale.
  std::mt19937_64 generator(7);
  Tensor weight = Tensor::allocate(ElementType::F32, {6, 64});
  for (int64_t i = 0; i < weight.elementCount(); ++i) {
    int q = i % 16 == 0 ? -8 : static_cast<int>(generator() % 16) - 8;
    weight.mutableData<float>()[i] = static_cast<float>(q) * (0.013f * static_cast<float>(1 + i / 16 % 5));
  }
  WeightEncodingOptions options;
  options.storage = ElementType::I4;
  options.granularity = Granularity::Block;
  options.blockSize = 16;
  Encoding encoding = choose(weight, options, true);
  EXPECT_LT(errorOf(weight, encoding, options, [](int64_t) { return true; }), 1e-10);
}

TEST(WeightQuantizer, LPBQReproducesItsOwnForm) {
  // [inputs, outputs]: blocks of 16 inputs; one block of each channel has multiplier 16.
  std::mt19937_64 generator(11);
  constexpr int64_t inputs = 64, outputs = 6;
  Tensor weight = Tensor::allocate(ElementType::F32, {inputs, outputs});
  std::vector<uint8_t> multipliers;
  for (int64_t block = 0; block < inputs / 16; ++block)
    for (int64_t n = 0; n < outputs; ++n)
      multipliers.push_back(static_cast<uint8_t>(block == n % 4 ? 16 : 5 + generator() % 11));
  for (int64_t k = 0; k < inputs; ++k)
    for (int64_t n = 0; n < outputs; ++n) {
      int q = k % 16 == 3 ? -8 : static_cast<int>(generator() % 16) - 8;
      int multiplier = multipliers[static_cast<size_t>(k / 16 * outputs + n)];
      weight.mutableData<float>()[k * outputs + n] = 0.01f * static_cast<float>(n + 1) * static_cast<float>(q * multiplier);
    }
  WeightEncodingOptions options;
  options.storage = ElementType::I4;
  options.granularity = Granularity::LPBQ;
  options.channelAxis = 1;
  options.blockAxis = 0;
  options.blockSize = 16;
  for (bool searchScale : {false, true}) {
    Encoding encoding = choose(weight, options, searchScale);
    EXPECT_EQ(encoding.blockMultipliers, multipliers);
    for (int64_t n = 0; n < outputs; ++n)
      EXPECT_NEAR(encoding.scales[static_cast<size_t>(n)], 0.01f * static_cast<float>(n + 1), 1e-6);
  }
  // The same matrix transposed has the same multipliers, channel by channel.
  Tensor transposed = Tensor::allocate(ElementType::F32, {outputs, inputs});
  for (int64_t k = 0; k < inputs; ++k)
    for (int64_t n = 0; n < outputs; ++n)
      transposed.mutableData<float>()[n * inputs + k] = weight.data<float>()[k * outputs + n];
  options.channelAxis = 0;
  options.blockAxis = 1;
  Encoding encoding = choose(transposed, options, true);
  for (int64_t n = 0; n < outputs; ++n)
    for (int64_t block = 0; block < 4; ++block)
      EXPECT_EQ(encoding.blockMultipliers[static_cast<size_t>(n * 4 + block)],
                multipliers[static_cast<size_t>(block * outputs + n)]);
}

TEST(WeightQuantizer, LPBQSearchIsNeverWorseThanMinMaxAndCloseToPlainBlocks) {
  Tensor weight = test::makeRandomTensor({128, 32}, 3, 3.0f);
  WeightEncodingOptions options;
  options.storage = ElementType::I4;
  options.granularity = Granularity::LPBQ;
  options.channelAxis = 1;
  options.blockAxis = 0;
  options.blockSize = 32;
  auto all = [](int64_t) { return true; };
  double cover = errorOf(weight, choose(weight, options, false), options, all);
  double best = errorOf(weight, choose(weight, options, true), options, all);
  WeightEncodingOptions plain = options;
  plain.granularity = Granularity::Block;
  double blocks = errorOf(weight, choose(weight, plain, true), plain, all);
  EXPECT_LT(best, cover);
  EXPECT_GE(best, blocks * (1 - 1e-6));
  EXPECT_LT(best, blocks * 1.05);
}

TEST(WeightQuantizer, ZeroChannelsTakeTheLargestScale) {
  Tensor weight = Tensor::fromValues<float>({3, 2}, {0, 0, 127, 1, 254, 2});
  WeightEncodingOptions options;
  EXPECT_EQ(choose(weight, options, false).scales, (std::vector<float>{2, 1, 2}));
  Tensor zeros = Tensor::fromValues<float>({1, 2}, {0, 0});
  EXPECT_EQ(choose(zeros, options, true).scales, (std::vector<float>{1.0f / 127}));
}

TEST(WeightQuantizer, ThreadsDoNotChangeTheResult) {
  Tensor weight = test::makeRandomTensor({300, 48}, 9);
  WeightEncodingOptions options;
  options.storage = ElementType::I4;
  Encoding serial;
  // A call from inside a tile is serial; one from outside uses all threads.
  parallelFor(2, [&](int64_t tile) {
    if (tile == 0)
      serial = choose(weight, options, true);
  });
  Encoding threaded = choose(weight, options, true);
  EXPECT_EQ(serial.scales, threaded.scales);
}

TEST(WeightQuantizer, MistakesAreNamed) {
  auto fault = [](const Tensor &weight, const WeightEncodingOptions &options) {
    return llvm::toString(chooseWeightEncoding(weight, options).takeError());
  };
  Tensor weight = Tensor::fromValues<float>({2, 2}, {1, 2, std::nanf(""), 3});
  EXPECT_EQ(fault(weight, {}), "element 2 of the weight is not finite");
  WeightEncodingOptions options;
  options.channelAxis = 2;
  EXPECT_EQ(fault(weight, options), "channel axis 2 lies outside a weight of rank 2");
  options = {};
  options.granularity = Granularity::Block;
  EXPECT_EQ(fault(weight, options), "block size must be positive, but is 0");
  options.granularity = Granularity::LPBQ;
  options.blockSize = 2;
  EXPECT_EQ(fault(weight, options), "lpbq is a form of symmetric int4, not of symmetric int8");
  options = {};
  options.importance = {1, 2, 3};
  EXPECT_EQ(fault(weight, options), "importance has 3 entries, but the weight has 2");
}

} // namespace

// Statistics against a plain computation over all values at once, over orders, threads and odd values.
#include "calib/Observers/StatisticsCollector.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Support/Parallel.h"
#include "tests/unit/TestFiles.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <chrono>
#include <cmath>
#include <limits>
#include <random>

using namespace nibble;
using namespace nibble::calib;
using namespace nibble::test;

namespace {

Tensor randomTensor(Shape shape, uint64_t seed, float scale = 1, float shift = 0) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  Tensor tensor = Tensor::allocate(ElementType::F32, shape);
  for (int64_t i = 0; i < tensor.elementCount(); ++i)
    tensor.mutableData<float>()[i] = normal(generator) * scale + shift;
  return tensor;
}

quant::TensorStatistics observe(llvm::ArrayRef<Tensor> samples, int64_t axis = -1) {
  TensorObserver observer;
  if (axis >= 0)
    observer.collectChannels(axis);
  for (const Tensor &sample : samples)
    observer.add(sample);
  return observer.finish();
}

/// What the histogram must be, given its range: every value counted by floor.
void expectHistogramOf(llvm::ArrayRef<Tensor> samples, const quant::TensorStatistics &s) {
  ASSERT_EQ(s.histogram.size(), static_cast<size_t>(histogramBins));
  double width = (static_cast<double>(s.histogramMax) - s.histogramMin) / histogramBins;
  int exponent;
  EXPECT_EQ(std::frexp(width, &exponent), 0.5) << "the width is no power of two: " << width;
  std::vector<int64_t> expected(histogramBins);
  for (const Tensor &sample : samples)
    for (float value : sample.values<float>())
      if (std::isfinite(value))
        ++expected.at(static_cast<size_t>(std::floor(value / width) - std::floor(s.histogramMin / width)));
  EXPECT_EQ(s.histogram, expected);
}

TEST(TensorObserver, MatchesAPlainComputation) {
  // Growing ranges, so that bins are merged; sizes around the tiles and the small-tensor limit.
  std::vector<Tensor> samples;
  for (auto [size, scale, shift] : {std::tuple<int64_t, float, float>{1, 1e-3f, 0}, {8192, 0.1f, 0}, {8193, 1, 0.5f},
                                    {65536 * 2 + 17, 3, -1}, {100, 40, 0}})
    samples.push_back(randomTensor({size}, samples.size() + 1, scale, shift));
  quant::TensorStatistics s = observe(samples);
  float min = 1e9f, max = -1e9f, movingMin = 0, movingMax = 0;
  double sum = 0, squares = 0;
  int64_t count = 0;
  for (const Tensor &sample : samples) {
    llvm::ArrayRef<float> values = sample.values<float>();
    auto [low, high] = std::minmax_element(values.begin(), values.end());
    movingMin = count ? 0.9f * movingMin + 0.1f * *low : *low;
    movingMax = count ? 0.9f * movingMax + 0.1f * *high : *high;
    min = std::min(min, *low);
    max = std::max(max, *high);
    for (float value : values)
      sum += value, squares += double(value) * value;
    count += sample.elementCount();
  }
  EXPECT_EQ(s.elementCount, count);
  EXPECT_EQ(s.sampleCount, 5);
  EXPECT_EQ(s.min, min);
  EXPECT_EQ(s.max, max);
  EXPECT_NEAR(s.movingMin, movingMin, 1e-5);
  EXPECT_NEAR(s.movingMax, movingMax, 1e-5);
  EXPECT_NEAR(s.sum, sum, 1e-6 * std::sqrt(squares * double(count)));
  EXPECT_NEAR(s.sumOfSquares, squares, 1e-9 * squares);
  EXPECT_FALSE(s.allIntegers);
  EXPECT_LE(s.histogramMin, min);
  EXPECT_GE(s.histogramMax, max);
  // At least half of the bins resolve the range that was seen.
  EXPECT_GE(max - min, (s.histogramMax - s.histogramMin) * 0.49f);
  expectHistogramOf(samples, s);
}

TEST(TensorObserver, HistogramDoesNotDependOnTheOrderOfSamples) {
  std::vector<Tensor> samples{randomTensor({5000}, 1, 1e-4f), randomTensor({70000}, 2, 30, 7), randomTensor({9}, 3, 2)};
  quant::TensorStatistics forward = observe(samples);
  std::reverse(samples.begin(), samples.end());
  quant::TensorStatistics backward = observe(samples);
  EXPECT_EQ(forward.histogram, backward.histogram);
  EXPECT_EQ(forward.histogramMin, backward.histogramMin);
  EXPECT_EQ(forward.histogramMax, backward.histogramMax);
}

TEST(TensorObserver, OddValuesAreCountedAndNamed) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  TensorObserver observer;
  TensorObserver::Outcome outcome = observer.add(Tensor::fromValues<float>({6}, {1, -inf, 2, nan, inf, nan}));
  EXPECT_EQ(outcome.firstNaN, 3);
  EXPECT_EQ(outcome.negativeInfinities, 1);
  EXPECT_EQ(outcome.positiveInfinities, 1);
  quant::TensorStatistics s = observer.finish();
  EXPECT_EQ(s.infiniteCount, 2);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 2);
  EXPECT_EQ(s.sum, 3);
  EXPECT_FALSE(s.allIntegers);
  // Nothing finite at all, and nothing at all.
  EXPECT_EQ(observe({Tensor::fromValues<float>({2}, {-inf, -inf})}).infiniteCount, 2);
  EXPECT_EQ(observe({Tensor::allocate(ElementType::F32, {1, 4, 0})}).sampleCount, 1);
}

TEST(TensorObserver, ExtremeRanges) {
  for (std::vector<float> values : {std::vector<float>{0, 0}, {-FLT_MAX, 0, 1}, {-FLT_MAX, FLT_MAX}, {1e-45f, 3e-45f},
                                    {1000, 1000.0001f}, {-5, -5}, {FLT_MIN, 0}}) {
    std::vector<Tensor> samples{Tensor::fromValues<float>({static_cast<int64_t>(values.size())}, values)};
    quant::TensorStatistics s = observe(samples);
    int64_t counted = 0;
    for (int64_t bin : s.histogram)
      counted += bin;
    EXPECT_EQ(counted, static_cast<int64_t>(values.size()));
    EXPECT_TRUE(std::isfinite(s.histogramMin) && std::isfinite(s.histogramMax));
    EXPECT_LE(s.histogramMin, s.min);
    EXPECT_GE(s.histogramMax, s.max);
  }
}

TEST(TensorObserver, IntegersAreNoticed) {
  EXPECT_TRUE(observe({Tensor::fromValues<float>({1}, {951}), Tensor::fromValues<float>({2}, {1, -3})}).allIntegers);
  EXPECT_FALSE(observe({Tensor::fromValues<float>({1}, {1.5f}), Tensor::fromValues<float>({1}, {2})}).allIntegers);
}

TEST(TensorObserver, ChannelSumsAndExtremes) {
  Tensor sample = randomTensor({3, 5, 37}, 9), other = randomTensor({3, 5, 37}, 10, 0.5f, 3);
  for (int64_t axis : {0, 1, 2}) {
    quant::TensorStatistics s = observe({sample, other}, axis);
    size_t channels = static_cast<size_t>(sample.shape()[axis]);
    std::vector<double> squares(channels), magnitudes(channels);
    std::vector<float> low(channels, FLT_MAX), high(channels, -FLT_MAX);
    for (const Tensor &tensor : {sample, other})
      for (int64_t i = 0; i < tensor.elementCount(); ++i) {
        int64_t index = axis == 2 ? i % 37 : axis == 1 ? i / 37 % 5 : i / (37 * 5);
        float value = tensor.values<float>()[i];
        squares[index] += double(value) * value;
        magnitudes[index] += std::fabs(value);
        low[index] = std::min(low[index], value);
        high[index] = std::max(high[index], value);
      }
    ASSERT_EQ(s.channelSumOfSquares.size(), channels);
    ASSERT_EQ(s.channelSumOfMagnitudes.size(), channels);
    EXPECT_EQ(s.channelAxis, axis);
    for (size_t c = 0; c < channels; ++c) {
      EXPECT_NEAR(s.channelSumOfSquares[c], squares[c], 1e-9 * squares[c]);
      EXPECT_NEAR(s.channelSumOfMagnitudes[c], magnitudes[c], 1e-9 * magnitudes[c]);
    }
    EXPECT_EQ(s.channelMin, low);
    EXPECT_EQ(s.channelMax, high);
  }
}

TEST(TensorObserver, ChannelsLeaveOutInfinities) {
  const float inf = std::numeric_limits<float>::infinity();
  quant::TensorStatistics s = observe({Tensor::fromValues<float>({2, 3}, {1, -inf, inf, -2, inf, 5})}, 1);
  EXPECT_EQ(s.channelSumOfMagnitudes, (std::vector<double>{3, 0, 5}));
  EXPECT_EQ(s.channelMin, (std::vector<float>{-2, 0, 5}));
  EXPECT_EQ(s.channelMax, (std::vector<float>{1, 0, 5}));
}

TEST(TensorObserver, AnAxisOfSeveralLengthsHasNoChannels) {
  Tensor first = randomTensor({2, 8}, 1), second = randomTensor({2, 6}, 2);
  quant::TensorStatistics s = observe({first, second, first}, 1);
  EXPECT_TRUE(s.channelSumOfSquares.empty());
  EXPECT_TRUE(s.channelSumOfMagnitudes.empty());
  EXPECT_TRUE(s.channelMin.empty() && s.channelMax.empty());
  EXPECT_EQ(s.channelAxis, -1);
  EXPECT_EQ(s.elementCount, 44);
  EXPECT_EQ(observe({first, second}, 0).channelSumOfSquares.size(), 2u);
}

TEST(TensorObserver, IsFastEnoughToBeNegligible) {
  Tensor sample = randomTensor({1 << 20}, 4);
  TensorObserver observer;
  observer.add(sample);
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i)
    observer.add(sample);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  RecordProperty("nanoseconds_per_element", std::to_string(seconds / 20 / (1 << 20) * 1e9));
  std::printf("%.2f ns per element\n", seconds / 20 / (1 << 20) * 1e9);
  // A sanitizer or a busy machine slows this down tenfold, so that only a blunder fails.
  EXPECT_LT(seconds / 20 / (1 << 20) * 1e9, 100);
}

//===----------------------------------------------------------------------===//
// The collector, fed by hand
//===----------------------------------------------------------------------===//

struct Module {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp function;
  explicit Module(const char *text) {
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    function = *module->getOps<mlir::func::FuncOp>().begin();
  }
  mlir::Value result(unsigned index) {
    auto it = function.getBody().front().begin();
    std::advance(it, index);
    return it->getResult(0);
  }
};

const char *const program = R"(
#a = loc("A"("a"))
#y = loc("Y"("y"))
func.func @main(%x: tensor<1x2x4x4xf32> {nn.name = "x"}, %ids: tensor<1xi64> {nn.name = "ids"}) -> tensor<1x2x4x4xf32> {
  %w = nn.constant(dense<1.0> : tensor<2x2x1x1xf32>) : tensor<2x2x1x1xf32> loc("W"("w"))
  %a = nn.identity %x : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc(#a)
  %y = nn.conv %a, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
       : (tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) -> tensor<1x2x4x4xf32> loc(#y)
  return %y : tensor<1x2x4x4xf32>
})";

TEST(StatisticsCollector, ObservesNamedFloatTensors) {
  Module m(program);
  ASSERT_TRUE(m.module);
  StatisticsCollector collector;
  EXPECT_TRUE(collector.wants(m.function.getArgument(0)));
  EXPECT_FALSE(collector.wants(m.function.getArgument(1))) << "integers have no quantizer";
  EXPECT_FALSE(collector.wants(m.result(0))) << "constants are known";
  EXPECT_TRUE(collector.wants(m.result(1)));
  EXPECT_TRUE(collector.wants(m.result(2)));
  for (int i = 0; i < 3; ++i) {
    collector.beginSample("s" + std::to_string(i), std::string(64, 'a'));
    Tensor x = randomTensor({1, 2, 4, 4}, i);
    collector.onValue(m.function.getArgument(0), x);
    collector.onValue(m.result(1), x);
    collector.onValue(m.result(1), x);
    EXPECT_FALSE(llvm::errorToBool(collector.endSample()));
  }
  quant::Statistics statistics = collector.finish("print");
  EXPECT_EQ(statistics.fingerprint, "print");
  ASSERT_EQ(statistics.tensors.size(), 2u) << "y was wanted and never seen";
  EXPECT_EQ(statistics.find("a")->sampleCount, 3);
  EXPECT_EQ(statistics.find("a")->elementCount, 96);
  EXPECT_EQ(statistics.find("a")->channelAxis, 1);
  EXPECT_EQ(statistics.find("a")->channelSumOfSquares.size(), 2u);
  EXPECT_EQ(statistics.find("x")->channelAxis, -1);
}

TEST(StatisticsCollector, LayersHaveChannelsOfTheirOutputs) {
  Module m(R"(
func.func @main(%x: tensor<4x2xf32> {nn.name = "x"}) -> (tensor<4x3xf32>, tensor<4x3xf32>) {
  %w = nn.constant(dense<1.0> : tensor<2x3xf32>) : tensor<2x3xf32>
  %b = nn.constant(dense<1.0> : tensor<3xf32>) : tensor<3xf32>
  %p = nn.matmul %x, %w : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32> loc("P"("p"))
  %s = nn.add %p, %b : (tensor<4x3xf32>, tensor<3xf32>) -> tensor<4x3xf32> loc("S"("s"))
  %t = nn.add %s, %b : (tensor<4x3xf32>, tensor<3xf32>) -> tensor<4x3xf32> loc("T"("t"))
  return %s, %t : tensor<4x3xf32>, tensor<4x3xf32>
})");
  ASSERT_TRUE(m.module);
  StatisticsCollector collector;
  collector.beginSample("s", std::string(64, 'a'));
  for (unsigned index : {2, 3, 4}) {
    ASSERT_TRUE(collector.wants(m.result(index)));
    collector.onValue(m.result(index), randomTensor({4, 3}, index));
  }
  quant::Statistics statistics = collector.finish("");
  EXPECT_EQ(statistics.find("p")->channelAxis, 1);
  EXPECT_EQ(statistics.find("s")->channelAxis, 1) << "the product with its bias";
  EXPECT_EQ(statistics.find("s")->channelMin.size(), 3u);
  EXPECT_EQ(statistics.find("t")->channelAxis, -1);
}

TEST(StatisticsCollector, ProgramsOfSeveralShapesShareTensors) {
  StatisticsCollector collector;
  int64_t size = 4;
  for (const char *shape : {"4x4", "2x6"}) {
    std::string text = program;
    for (size_t at = 0; (at = text.find("4x4", at)) != std::string::npos; at += 3)
      text.replace(at, 3, shape);
    Module m(text.c_str());
    ASSERT_TRUE(m.module);
    collector.beginProgram();
    ASSERT_TRUE(collector.wants(m.result(1)));
    collector.beginSample(shape, "");
    collector.onValue(m.result(1), randomTensor({1, 2, size, size == 4 ? 4 : 6}, size));
    EXPECT_FALSE(llvm::errorToBool(collector.endSample()));
    size = 2;
  }
  quant::Statistics statistics = collector.finish("");
  ASSERT_NE(statistics.find("a"), nullptr);
  EXPECT_EQ(statistics.find("a")->sampleCount, 2);
  EXPECT_EQ(statistics.find("a")->elementCount, 32 + 24);
  EXPECT_EQ(statistics.find("a")->channelSumOfSquares.size(), 2u);
}

TEST(StatisticsCollector, OddValuesNameTheSampleAndTheTensor) {
  Module m(program);
  StatisticsCollector collector;
  collector.wants(m.function.getArgument(0));
  collector.wants(m.result(2));
  Tensor bad = randomTensor({1, 2, 4, 4}, 1);
  bad.mutableData<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  collector.beginSample("007.npz", "");
  collector.onValue(m.result(2), bad);
  expectError(collector.endSample(), ErrorKind::BadInput, "calibration sample '007.npz': tensor 'y' has a NaN at element 7");
  bad.mutableData<float>()[7] = -std::numeric_limits<float>::infinity();
  collector.beginSample("008.npz", "");
  collector.onValue(m.result(2), bad);
  EXPECT_FALSE(llvm::errorToBool(collector.endSample())) << "masks hold infinities";
  collector.beginSample("009.npz", "");
  collector.onValue(m.function.getArgument(0), bad);
  expectError(collector.endSample(), ErrorKind::BadInput, "input 'x' holds an infinity");
}

} // namespace

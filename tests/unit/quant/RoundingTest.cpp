//===- RoundingTest.cpp - what algorithms that round against inputs promise ---===//
#include "lib/Quant/CoordinateDescent.h"
#include "lib/Quant/Gptq.h"
#include "lib/Quant/LayerMoments.h"
#include "lib/Quant/LayerRounding.h"
#include "lib/Quant/OutputErrorSearch.h"
#include "lib/Quant/SignRound.h"
#include "lib/Quant/WeightQuantizer.h"
#include "lib/Support/Error.h"
#include "lib/Support/Parallel.h"
#include "tests/unit/quant/TestUtilities.h"

#include "gtest/gtest.h"
#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/LU>
#include <cmath>

using namespace nibble;
using namespace nibble::quant;

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Inputs whose channels depend on each other, as those of layers do; column 3 is large.
std::vector<float> makeInputs(int64_t count, int64_t columns, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> inputs(static_cast<size_t>(count * columns));
  for (int64_t row = 0; row < count; ++row) {
    float shared = normal(generator);
    for (int64_t column = 0; column < columns; ++column)
      inputs[static_cast<size_t>(row * columns + column)] =
          (0.8f * shared * (column % 3 == 0 ? 1.0f : -0.5f) + normal(generator) + 0.7f) * (column == 3 ? 6.0f : 1.0f);
  }
  return inputs;
}

struct Problem {
  Problem(int64_t rows, int64_t columns, int64_t count, int64_t blockSize = 0, ElementType storage = ElementType::I4,
          uint64_t seed = 1)
      : weight(test::makeRandomTensor({rows, columns}, seed, 4.0f)), inputs(makeInputs(count, columns, seed + 1)) {
    layout = {1, rows, columns, 0, columns, 1};
    MomentSums sums(1, columns, false);
    sums.add(0, count, inputs.data(), nullptr);
    moments = sums.finish();
    WeightEncodingOptions options;
    options.storage = storage;
    options.symmetric = storage == ElementType::I4 || storage == ElementType::I8;
    if (blockSize) {
      options.granularity = Granularity::Block;
      options.blockSize = blockSize;
    }
    encoding = llvm::cantFail(chooseWeightEncoding(weight, options));
  }

  RoundingGrid grid() const { return {encoding, weight.shape(), layout, 0}; }
  std::vector<float> values() const { return layout.read(weight, 0); }
  double errorOf(const std::vector<float> &rounded) const {
    return outputError(values(), rounded, layout.columns, moments.gram.data());
  }

  Tensor weight;
  std::vector<float> inputs;
  WeightLayout layout;
  LayerMoments moments;
  Encoding encoding;
};

TEST(LayerMoments, AreMeansOfProductsAtAnyNumberOfBatches) {
  constexpr int64_t count = 50, columns = 9;
  std::vector<float> x = makeInputs(count, columns, 4), floats = makeInputs(count, columns, 5), copy = floats;
  MomentSums sums(1, columns, true);
  sums.add(0, 20, x.data(), copy.data());
  sums.add(0, 30, x.data() + 20 * columns, copy.data() + 20 * columns);
  LayerMoments moments = sums.finish();
  EXPECT_EQ(moments.count, count);
  for (int64_t i = 0; i < columns; ++i) {
    double mean = 0, driftMean = 0;
    for (int64_t row = 0; row < count; ++row) {
      mean += static_cast<double>(x[static_cast<size_t>(row * columns + i)]) / count;
      driftMean += static_cast<double>(floats[static_cast<size_t>(row * columns + i)] - x[static_cast<size_t>(row * columns + i)]) / count;
    }
    EXPECT_NEAR(moments.mean[static_cast<size_t>(i)], mean, 1e-5);
    EXPECT_NEAR(moments.driftMean[static_cast<size_t>(i)], driftMean, 1e-5);
    for (int64_t j = 0; j < columns; ++j) {
      double gram = 0, drift = 0;
      for (int64_t row = 0; row < count; ++row) {
        size_t at = static_cast<size_t>(row * columns);
        double xi = static_cast<double>(x[at + static_cast<size_t>(i)]), xj = static_cast<double>(x[at + static_cast<size_t>(j)]);
        gram += xi * xj / count;
        drift += (static_cast<double>(floats[at + static_cast<size_t>(i)]) - xi) * xj / count;
      }
      EXPECT_NEAR(moments.gram[static_cast<size_t>(i * columns + j)], gram, 1e-3);
      EXPECT_NEAR(moments.drift[static_cast<size_t>(i * columns + j)], drift, 1e-3);
    }
  }
}

TEST(RoundingGrid, HoldsWhatTheEncodingRoundsTo) {
  // A convolution's weight with blocks along the input channels, and a product's weight, stored transposed.
  struct Case {
    Shape shape;
    Granularity granularity;
    int64_t channelAxis, blockAxis;
    WeightLayout layout;
  };
  for (const Case &entry : {Case{{6, 10, 3, 3}, Granularity::Block, 0, 1, {1, 6, 90, 0, 90, 1}},
                            Case{{6, 10, 3, 3}, Granularity::Axis, 0, 1, {1, 6, 90, 0, 90, 1}},
                            Case{{6, 5, 3, 1}, Granularity::Axis, 0, 1, {2, 3, 15, 45, 15, 1}},
                            Case{{20, 7}, Granularity::Block, 1, 0, {1, 7, 20, 0, 1, 7}},
                            Case{{20, 7}, Granularity::LPBQ, 1, 0, {1, 7, 20, 0, 1, 7}},
                            Case{{20, 7}, Granularity::Tensor, 1, 0, {1, 7, 20, 0, 1, 7}}}) {
    Tensor weight = test::makeRandomTensor(entry.shape, 3);
    WeightEncodingOptions options;
    options.storage = ElementType::I4;
    options.granularity = entry.granularity;
    options.channelAxis = entry.channelAxis;
    options.blockAxis = entry.blockAxis;
    options.blockSize = 4;
    Encoding encoding = llvm::cantFail(chooseWeightEncoding(weight, options));
    Tensor wanted = Tensor::allocate(ElementType::F32, weight.shape()), found = Tensor::allocate(ElementType::F32, weight.shape());
    fakeQuantize(weight, encoding, wanted);
    for (int64_t group = 0; group < entry.layout.groups; ++group)
      entry.layout.write(roundToNearest(entry.layout.read(weight, group), RoundingGrid(encoding, weight.shape(), entry.layout, group)),
                         group, found);
    for (int64_t i = 0; i < weight.elementCount(); ++i)
      ASSERT_EQ(found.data<float>()[i], wanted.data<float>()[i]) << formatShape(entry.shape) << " element " << i;
  }
}

/// GPTQ as the paper states it, one column at a time in double, without blocks or order.
std::vector<float> naiveGptq(const Problem &problem, double damping) {
  int64_t columns = problem.layout.columns, rows = problem.layout.rows;
  Matrix gram(columns, columns);
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = 0; j < columns; ++j)
      gram(i, j) = static_cast<double>(problem.moments.gram[static_cast<size_t>(i * columns + j)]);
  gram.diagonal().array() += damping * gram.diagonal().mean();
  Matrix inverse = gram.inverse();
  Matrix upper = Eigen::LLT<Matrix>(inverse).matrixU();
  RoundingGrid grid = problem.grid();
  std::vector<float> weight = problem.values(), rounded(weight.size());
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<double> w(weight.begin() + row * columns, weight.begin() + (row + 1) * columns);
    for (int64_t i = 0; i < columns; ++i) {
      float q = grid.round(static_cast<float>(w[static_cast<size_t>(i)]), row, i);
      rounded[static_cast<size_t>(row * columns + i)] = q;
      double error = (w[static_cast<size_t>(i)] - static_cast<double>(q)) / upper(i, i);
      for (int64_t j = i; j < columns; ++j)
        w[static_cast<size_t>(j)] -= error * upper(i, j);
    }
  }
  return rounded;
}

TEST(Gptq, AgreesWithTheNaiveForm) {
  Problem problem(20, 300, 900, 32);
  GptqOptions options;
  options.activationOrder = false;
  GptqResult result = roundWithGptq(problem.values(), problem.grid(), problem.moments.gram.data(), options);
  std::vector<float> wanted = naiveGptq(problem, options.damping);
  ASSERT_EQ(result.rounded.size(), wanted.size());
  size_t differing = 0;
  for (size_t i = 0; i < wanted.size(); ++i)
    differing += result.rounded[i] != wanted[i];
  // Values within float32's error of a half go the other way, and what follows in their row with them.
  EXPECT_LT(differing, wanted.size() / 20);
  EXPECT_NEAR(problem.errorOf(result.rounded) / problem.errorOf(wanted), 1, 0.02);
}

TEST(Gptq, HasLessOutputErrorThanRoundToNearest) {
  for (int64_t blockSize : {0, 16, 50})
    for (ElementType storage : {ElementType::I4, ElementType::U4, ElementType::I8})
      for (bool order : {false, true})
        for (float firstOrder : {0.0f, 0.1f}) {
          Problem problem(24, 200, 800, blockSize, storage);
          GptqOptions options;
          options.activationOrder = order;
          options.firstOrder = firstOrder;
          GptqResult result = roundWithGptq(problem.values(), problem.grid(), problem.moments.gram.data(), options);
          EXPECT_LT(problem.errorOf(result.rounded), 0.8 * problem.errorOf(roundToNearest(problem.values(), problem.grid())))
              << blockSize << " " << name(storage).str() << " " << order << " " << firstOrder;
        }
}

TEST(Gptq, IsTheSameAtAnyThreadCount) {
  Problem problem(300, 140, 400, 32);
  // The pool is made once; calls from inside a tile run on one thread.
  GptqResult many = roundWithGptq(problem.values(), problem.grid(), problem.moments.gram.data(), {}), one;
  parallelFor(1, [&](int64_t) { one = roundWithGptq(problem.values(), problem.grid(), problem.moments.gram.data(), {}); });
  EXPECT_EQ(many.rounded, one.rounded);
}

TEST(Gptq, RetriesWithMoreDampingAndCountsDeadColumns) {
  Problem problem(8, 64, 5);
  std::vector<float> gram = problem.moments.gram;
  for (int64_t i = 0; i < 64; ++i)
    gram[static_cast<size_t>(7 * 64 + i)] = gram[static_cast<size_t>(i * 64 + 7)] = 0;
  GptqOptions options;
  options.damping = 1e-12;
  GptqResult result = roundWithGptq(problem.values(), problem.grid(), gram.data(), options);
  EXPECT_GT(result.numRetries, 0u);
  EXPECT_GT(result.damping, options.damping);
  EXPECT_EQ(result.numDeadColumns, 1);
  ASSERT_FALSE(result.rounded.empty());
  RoundingGrid grid = problem.grid();
  for (int64_t row = 0; row < 8; ++row)
    EXPECT_EQ(result.rounded[static_cast<size_t>(row * 64 + 7)],
              grid.round(problem.values()[static_cast<size_t>(row * 64 + 7)], row, 7));
  options.largestDamping = 1e-12;
  EXPECT_TRUE(roundWithGptq(problem.values(), problem.grid(), gram.data(), options).rounded.empty());
}

TEST(CoordinateDescent, NeverRaisesTheErrorAndEndsAtALocalOptimum) {
  for (int64_t blockSize : {0, 16}) {
    Problem problem(12, 150, 500, blockSize);
    RoundingGrid grid = problem.grid();
    std::vector<float> rounded = roundToNearest(problem.values(), grid);
    double before = problem.errorOf(rounded);
    descendCoordinates(problem.values(), grid, problem.moments.gram.data(), {100, false, {}}, rounded);
    double after = problem.errorOf(rounded);
    EXPECT_LT(after, before);
    for (size_t i = 0; i < rounded.size(); i += 37)
      for (float step : {-1.0f, 1.0f}) {
        int64_t row = static_cast<int64_t>(i) / 150, column = static_cast<int64_t>(i) % 150;
        std::vector<float> changed = rounded;
        changed[i] = grid.round(rounded[i] + step * grid.scale(row, column), row, column);
        EXPECT_GE(problem.errorOf(changed), after * (1 - 1e-4)) << i;
      }
  }
}

TEST(CoordinateDescent, RefittedScalesLowerTheErrorAndStayAboveTheirBounds) {
  for (int64_t blockSize : {0, 16}) {
    Problem problem(12, 150, 500, blockSize);
    RoundingGrid fixed = problem.grid(), free = problem.grid(), bounded = problem.grid();
    std::vector<float> withFixed = roundToNearest(problem.values(), fixed), withFree = withFixed, withBounds = withFixed;
    descendCoordinates(problem.values(), fixed, problem.moments.gram.data(), {4, false, {}}, withFixed);
    descendCoordinates(problem.values(), free, problem.moments.gram.data(), {4, true, {}}, withFree);
    EXPECT_LT(problem.errorOf(withFree), problem.errorOf(withFixed));
    descendCoordinates(problem.values(), bounded, problem.moments.gram.data(), {4, true, bounded.scales}, withBounds);
    for (auto [scale, bound] : llvm::zip_equal(bounded.scales, problem.grid().scales))
      EXPECT_GE(scale, bound);
    // Values are those of the grid as refitted.
    for (int64_t row = 0; row < 12; ++row)
      for (int64_t column = 0; column < 150; ++column) {
        float value = withFree[static_cast<size_t>(row * 150 + column)];
        EXPECT_EQ(free.round(value, row, column), value);
      }
  }
}

TEST(SignRound, IsNeverWorseThanRoundToNearestInAnyRow) {
  Problem problem(70, 90, 400, 0);
  std::vector<float> nearest = roundToNearest(problem.values(), problem.grid());
  std::vector<float> sign = roundWithSignedGradient(problem.values(), problem.grid(), problem.moments.gram.data(), 100);
  std::vector<float> ada = roundAdaptively(problem.values(), problem.grid(), problem.moments.gram.data(), 300);
  auto rowsOf = [&](const std::vector<float> &rounded) {
    return outputErrorOfRows(problem.values(), rounded, 90, problem.moments.gram.data());
  };
  for (auto [before, signed_, adaptive] : llvm::zip_equal(rowsOf(nearest), rowsOf(sign), rowsOf(ada))) {
    EXPECT_LE(signed_, before * (1 + 1e-5));
    EXPECT_LE(adaptive, before * (1 + 1e-5));
  }
  EXPECT_LT(problem.errorOf(sign), 0.7 * problem.errorOf(nearest));
  EXPECT_LT(problem.errorOf(ada), 0.7 * problem.errorOf(nearest));
}

TEST(OutputErrorSearch, IsNeverWorseThanTheScalesGiven) {
  for (int64_t blockSize : {0, 16}) {
    Problem problem(12, 96, 400, blockSize);
    RoundingGrid grid = problem.grid();
    std::vector<float> before = roundToNearest(problem.values(), grid);
    searchScalesByOutputError(problem.values(), grid, problem.moments.gram.data(), 20, {});
    std::vector<float> after = roundToNearest(problem.values(), grid);
    if (blockSize == 0) {
      EXPECT_LT(problem.errorOf(after), problem.errorOf(before));
    }
    // The measure of blocks is the error of their own columns.
    std::vector<float> weight = problem.values();
    for (int64_t block = 0; block < grid.blocks; ++block) {
      auto errorOfBlock = [&](const std::vector<float> &rounded) {
        std::vector<float> only = weight;
        for (size_t i = 0; i < only.size(); ++i)
          if (grid.blockOf[i % 96] == block)
            only[i] = rounded[i];
        return problem.errorOf(only);
      };
      EXPECT_LE(errorOfBlock(after), errorOfBlock(before) * (1 + 1e-5));
    }
  }
}

TEST(DriftCorrection, LowersTheErrorAgainstTheFloatProgram) {
  constexpr int64_t count = 600, columns = 80, rows = 10;
  std::vector<float> floats = makeInputs(count, columns, 7), x = floats;
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = std::nearbyint(x[i] * 0.7f) / 0.7f + 0.1f * x[i - i % static_cast<size_t>(columns)];
  Problem problem(rows, columns, 10);
  MomentSums sums(1, columns, true);
  std::vector<float> copy = floats;
  sums.add(0, count, x.data(), copy.data());
  LayerMoments moments = sums.finish();
  std::vector<float> weight = problem.values();
  auto errorOf = [&](const std::vector<float> &candidate) {
    double total = 0;
    for (int64_t sample = 0; sample < count; ++sample)
      for (int64_t row = 0; row < rows; ++row) {
        double difference = 0;
        for (int64_t i = 0; i < columns; ++i)
          difference += static_cast<double>(candidate[static_cast<size_t>(row * columns + i)]) * static_cast<double>(x[static_cast<size_t>(sample * columns + i)]) -
                        static_cast<double>(weight[static_cast<size_t>(row * columns + i)]) * static_cast<double>(floats[static_cast<size_t>(sample * columns + i)]);
        total += difference * difference;
      }
    return total;
  };
  auto corrected = [&](double strength) {
    return correctForDrift(weight, columns, moments.gram.data(), moments.drift.data(), strength, 1e-4);
  };
  double none = errorOf(weight), quarter = errorOf(corrected(0.25)), full = errorOf(corrected(1));
  EXPECT_LT(quarter, none);
  EXPECT_LT(full, quarter);
  // The optimum of a quadratic: further along the line is worse again.
  EXPECT_GT(errorOf(corrected(1.3)), full);
}

LayerRounding round(const Problem &problem, const LayerRoundingOptions &options) {
  return llvm::cantFail(roundLayer(problem.weight, problem.layout, problem.encoding, problem.moments, options));
}

TEST(LayerRounding, StagesNeverRaiseTheErrorAndStoredIntegersGiveTheSameValues) {
  for (RoundingMethod method : {RoundingMethod::Nearest, RoundingMethod::Gptq, RoundingMethod::SignRound, RoundingMethod::AdaRound}) {
    Problem problem(16, 100, 300, 20, ElementType::U4);
    LayerRoundingOptions options;
    options.method = method;
    options.coordinateDescentSweeps = 3;
    options.refitScales = true;
    options.searchScalesByOutputError = true;
    LayerRounding result = round(problem, options);
    ASSERT_GE(result.stages.size(), 3u);
    for (size_t i = 1; i < result.stages.size(); ++i)
      EXPECT_LE(result.stages[i].relativeError, result.stages[i - 1].relativeError);
    EXPECT_LT(result.stages.back().relativeError, result.stages.front().relativeError);
    Tensor again = dequantize(llvm::cantFail(quantize(result.rounded, result.encoding)), result.encoding);
    for (int64_t i = 0; i < again.elementCount(); ++i)
      ASSERT_EQ(again.data<float>()[i], result.rounded.data<float>()[i]);
  }
}

TEST(LayerRounding, BiasCorrectionRemovesTheMeanError) {
  Problem problem(16, 100, 300);
  LayerRoundingOptions options;
  options.method = RoundingMethod::Gptq;
  options.correctBias = true;
  LayerRounding result = round(problem, options);
  ASSERT_EQ(result.biasCorrection.size(), 16u);
  for (int64_t row = 0; row < 16; ++row) {
    double mean = 0, size = 0;
    for (int64_t i = 0; i < 100; ++i) {
      double error = static_cast<double>(result.rounded.data<float>()[row * 100 + i]) - static_cast<double>(problem.weight.data<float>()[row * 100 + i]);
      mean += error * static_cast<double>(problem.moments.mean[static_cast<size_t>(i)]);
      size += std::abs(error);
    }
    EXPECT_GT(size, 0);
    EXPECT_NEAR(mean + static_cast<double>(result.biasCorrection[static_cast<size_t>(row)]), 0, 1e-4);
  }
}

TEST(LayerRounding, OneSampleAndConstantInputsAreSound) {
  // One input vector: moments of rank one. All inputs zero: nothing to be gained, round-to-nearest stays.
  Problem one(8, 40, 1);
  LayerRoundingOptions options;
  options.method = RoundingMethod::Gptq;
  options.coordinateDescentSweeps = 2;
  LayerRounding result = round(one, options);
  EXPECT_LE(result.stages.back().relativeError, result.stages.front().relativeError);
  Problem dead(8, 40, 3);
  std::fill(dead.moments.gram.begin(), dead.moments.gram.end(), 0.0f);
  LayerRounding unchanged = round(dead, options);
  EXPECT_EQ(unchanged.numDeadColumns, 40);
  EXPECT_EQ(unchanged.numFallbacks, 1);
  EXPECT_EQ(dead.layout.read(unchanged.rounded, 0), roundToNearest(dead.values(), dead.grid()));
}

TEST(LayerRounding, RefusesMomentsThatAreNotFinite) {
  Problem problem(8, 40, 3);
  problem.moments.gram[5] = std::numeric_limits<float>::infinity();
  llvm::Expected<LayerRounding> result = roundLayer(problem.weight, problem.layout, problem.encoding, problem.moments, {});
  ASSERT_FALSE(result);
  EXPECT_NE(llvm::toString(result.takeError()).find("not finite"), std::string::npos);
}

} // namespace

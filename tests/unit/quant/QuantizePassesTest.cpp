//===- QuantizePassesTest.cpp - from statistics to a quantized program --------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "passes/Passes.h"
#include "passes/Quantize/LayerCalibration.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace mlir;
using namespace nibble;

namespace {

/// Sixteen equal bins over [min, max].
quant::TensorStatistics makeStatistics(float min, float max, bool allIntegers = false) {
  quant::TensorStatistics statistics;
  statistics.elementCount = 1600;
  statistics.sampleCount = 1;
  statistics.min = statistics.movingMin = statistics.histogramMin = min;
  statistics.max = statistics.movingMax = statistics.histogramMax = max;
  statistics.histogram.assign(16, 100);
  statistics.allIntegers = allIntegers;
  return statistics;
}

class QuantizePassesTest : public ::testing::Test {
protected:
  QuantizePassesTest() {
    context.loadDialect<nn::NNDialect, func::FuncDialect>();
    context.getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
      messages += diagnostic.str() + "\n";
      for (Diagnostic &note : diagnostic.getNotes())
        messages += note.str() + "\n";
      return success();
    });
  }

  bool run(llvm::StringRef body, llvm::StringRef recipeText, llvm::StringRef targetName = "onnx") {
    module = parseSourceString<ModuleOp>(body, &context);
    EXPECT_TRUE(module);
    recipe = llvm::cantFail(Recipe::parse(("schema: nibble-recipe-1\nname: test\n" + recipeText).str(), "test.yaml"));
    target = llvm::cantFail(Target::load(targetName));
    PassManager manager(&context);
    buildQuantizePipeline(manager, statistics, recipe, *target, calibration);
    return succeeded(manager.run(*module));
  }

  quant::Encoding encodingOf(llvm::StringRef name) {
    auto quantizer = module->lookupSymbol<nn::QuantizerOp>(name);
    EXPECT_TRUE(quantizer) << name.str();
    return llvm::cantFail(nn::readEncoding(quantizer));
  }

  /// The integers that a quantizer's constant is stored as.
  std::vector<double> storedOf(llvm::StringRef name) {
    std::vector<double> values;
    module->walk([&](nn::DequantizeWeightOp op) {
      if (op.getQuantizer() != name)
        return;
      Tensor stored = llvm::cantFail(nn::readConstant(op.getInput()));
      for (int64_t i = 0; i < stored.elementCount(); ++i)
        values.push_back(stored.valueAsDouble(i));
    });
    return values;
  }

  /// The first output of the quantized program.
  Tensor execute(const Tensor &input) {
    auto function = module->lookupSymbol<func::FuncOp>("main");
    auto program = llvm::cantFail(runtime::Program::create(function));
    return llvm::cantFail(program->run({input})).front();
  }

  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module;
  quant::Statistics statistics;
  Recipe recipe;
  std::unique_ptr<Target> target;
  LayerCalibration *calibration = nullptr;
  std::string messages;
};

/// Moments of inputs that always have the same two values in proportion, so that the errors of two weights can cancel.
class DependentInputs : public LayerCalibration {
public:
  llvm::Expected<std::vector<std::shared_ptr<const quant::LayerMoments>>>
  collectMoments(ModuleOp, ArrayRef<Operation *> layers, bool quantized, bool withDrift) override {
    calls.push_back({layers.size(), quantized, withDrift});
    quant::MomentSums sums(1, 2, withDrift);
    for (float factor : {1.0f, 2.0f, -0.5f}) {
      const float x[] = {factor, factor};
      float floats[] = {factor, factor};
      sums.add(0, 1, x, withDrift ? floats : nullptr);
    }
    auto moments = std::make_shared<const quant::LayerMoments>(sums.finish());
    return std::vector<std::shared_ptr<const quant::LayerMoments>>(layers.size(), moments);
  }
  int64_t momentBytes() const override { return bytes; }
  void record(RoundedLayer layer) override { rounded.push_back(std::move(layer)); }
  void recordSkipped(llvm::StringRef reason, int64_t count) override { skipped[reason.str()] = count; }

  struct Call {
    size_t layers;
    bool quantized, withDrift;
  };
  std::vector<Call> calls;
  std::vector<RoundedLayer> rounded;
  std::map<std::string, int64_t> skipped;
  int64_t bytes = 1 << 20;
};

constexpr llvm::StringLiteral gemm = R"(
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x3xf32> {
  %w = nn.constant(dense<[[1.27, 0.0, 2.54e-7], [-0.635, 0.0, 1.0e-7]]> : tensor<2x3xf32>) : tensor<2x3xf32> loc("W"("w"))
  %b = nn.constant(dense<[0.5, -0.25, 300.0]> : tensor<3xf32>) : tensor<3xf32> loc("B"("b"))
  %y = nn.gemm %x, %w, %b : (tensor<1x2xf32>, tensor<2x3xf32>, tensor<3xf32>) -> tensor<1x3xf32> loc("Gemm"("y"))
  return %y : tensor<1x3xf32>
})";

constexpr llvm::StringLiteral w8a8 = "weights: {bits: 8, scale-search: min-max}\nactivations: {bits: 8}\n";

TEST_F(QuantizePassesTest, BiasIsStoredInStepsOfInputTimesWeightScale) {
  statistics.tensors["x"] = makeStatistics(-1.28f, 1.27f);
  statistics.tensors["y"] = makeStatistics(-2, 300);
  ASSERT_TRUE(run(gemm, w8a8)) << messages;
  quant::Encoding x = encodingOf("x"), w = encodingOf("w"), b = encodingOf("b"), y = encodingOf("y");
  EXPECT_NEAR(x.scales[0], 0.01, 1e-6);
  EXPECT_EQ(w.axis, 1);
  EXPECT_NEAR(w.scales[0], 0.01, 1e-6);
  EXPECT_EQ(w.scales[1], w.scales[0]) << "a channel of zeros takes the largest scale";
  ASSERT_EQ(b.scales.size(), 3u);
  std::vector<double> stored = storedOf("b");
  const double bias[] = {0.5, -0.25, 300.0};
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_FLOAT_EQ(b.scales[c], x.scales[0] * w.scales[c]);
    EXPECT_NEAR(stored[c] * b.scales[c], bias[c], b.scales[c]);
    EXPECT_LT(std::abs(stored[c]), 2147483648.0 - 32768.0);
    EXPECT_GT(static_cast<double>(b.scales[c]) / y.scales[0], std::ldexp(1.0, -24));
  }
  // The covering scale of the last channel is 2e-9, at which the bias would not fit 32 bits.
  EXPECT_GT(w.scales[2], 1e-6);
}

/// Two layers whose weights lie 0.4 and 0.4 steps from the grid: rounded to nearest both errors add up.
constexpr llvm::StringLiteral twoLayers = R"(
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x2xf32> {
  %w = nn.constant(dense<[[2.4, 7.0], [2.4, -3.0]]> : tensor<2x2xf32>) : tensor<2x2xf32> loc("W"("w"))
  %v = nn.constant(dense<[[2.4, 7.0], [2.4, -3.0]]> : tensor<2x2xf32>) : tensor<2x2xf32> loc("V"("v"))
  %b = nn.constant(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32> loc("B"("b"))
  %y = nn.gemm %x, %w, %b : (tensor<1x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<1x2xf32> loc("First"("y"))
  %z = nn.matmul %y, %v : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32> loc("Second"("z"))
  return %z : tensor<1x2xf32>
})";

/// Scales of 1: four bits over a tensor whose extreme is 7.
constexpr llvm::StringLiteral roundedW4 =
    "weights: {bits: 4, granularity: tensor, scale-search: min-max, rounding: gptq, bias-correction: true}\n"
    "activations: {bits: float}\n";

TEST_F(QuantizePassesTest, RoundingAgainstInputsMakesErrorsCancel) {
  DependentInputs inputs;
  calibration = &inputs;
  ASSERT_TRUE(run(twoLayers, roundedW4)) << messages;
  // Rounded to nearest, 2.4 and 2.4 become 2 and 2; what the first lost, the second makes up for.
  std::vector<double> stored = storedOf("w");
  EXPECT_EQ(stored[0] + stored[2], 5) << stored[0] << " " << stored[2];
  EXPECT_EQ(stored[1] + stored[3], 4);
  ASSERT_EQ(inputs.rounded.size(), 2u);
  EXPECT_EQ(inputs.rounded[0].node, "First");
  EXPECT_EQ(inputs.rounded[0].weight, "w");
  EXPECT_EQ(inputs.rounded[0].bits, 4u);
  EXPECT_EQ(inputs.rounded[0].stages.front().name, "nearest");
  EXPECT_LT(inputs.rounded[0].stages.back().relativeError, inputs.rounded[0].stages.front().relativeError);
  EXPECT_EQ(inputs.calls.size(), 1u);
  EXPECT_FALSE(inputs.calls[0].quantized);
  // The bias takes up the mean of what is left: (4.8 - 5) times the mean input of 2.5 / 3.
  auto program = llvm::cantFail(runtime::Program::create(module->lookupSymbol<func::FuncOp>("main")));
  Tensor zero = Tensor::fromValues<float>({1, 2}, {0.0f, 0.0f});
  float first = 1.0f - 0.2f * 2.5f / 3, second = 2.0f;
  EXPECT_NEAR(llvm::cantFail(program->run({zero})).front().data<float>()[0],
              first * static_cast<float>(storedOf("v")[0]) + second * static_cast<float>(storedOf("v")[2]), 1e-4);
}

TEST_F(QuantizePassesTest, LayersWaitForEarlierBlocksAndForMemory) {
  DependentInputs inputs;
  calibration = &inputs;
  ASSERT_TRUE(run(twoLayers, ("layer-inputs: quantized\n" + roundedW4).str())) << messages;
  ASSERT_EQ(inputs.calls.size(), 2u) << "the second layer reads what the first has become";
  EXPECT_TRUE(inputs.calls[1].quantized);
  EXPECT_TRUE(inputs.calls[0].withDrift) << "biases are corrected to the float program";
  inputs.calls.clear();
  inputs.bytes = 1;
  ASSERT_TRUE(run(twoLayers, roundedW4)) << messages;
  EXPECT_EQ(inputs.calls.size(), 2u) << "moments that do not fit together take a run each";
}

TEST_F(QuantizePassesTest, RoundingAgainstInputsNeedsThem) {
  EXPECT_FALSE(run(twoLayers, roundedW4));
  EXPECT_NE(messages.find("recipe 'test' rounds weights against what layers read, and there are no calibration samples"),
            std::string::npos)
      << messages;
  EXPECT_NE(messages.find("give samples with --calib"), std::string::npos) << messages;
}

TEST_F(QuantizePassesTest, FewBitsNeedATargetThatMultipliesFloats) {
  EXPECT_FALSE(run(twoLayers, "weights: {bits: 3}\nactivations: {bits: 8}\n", "snapdragon-8gen2"));
  EXPECT_NE(messages.find("target 'snapdragon-8gen2' has no weights of 3 bits"), std::string::npos) << messages;
  messages.clear();
  ASSERT_TRUE(run(twoLayers, "weights: {bits: 3}\nactivations: {bits: float}\n")) << messages;
  for (double value : storedOf("w")) {
    EXPECT_GE(value, -4);
    EXPECT_LE(value, 3);
  }
  EXPECT_EQ(quant::usedBits(encodingOf("w")), 3u);
}

TEST_F(QuantizePassesTest, WidenedOperatorsGiveTheIntegersOf8Bits) {
  constexpr llvm::StringLiteral norm = R"(
func.func @main(%x: tensor<64x32xf32> {nn.name = "x"}) -> tensor<64x32xf32> {
  %g = nn.constant(dense<0.75> : tensor<32xf32>) : tensor<32xf32> loc("G"("g"))
  %y = nn.rms_normalization %x, %g {axis = -1 : i64, epsilon = 1.0e-5 : f32} : (tensor<64x32xf32>, tensor<32xf32>) -> tensor<64x32xf32> loc("Norm"("y"))
  return %y : tensor<64x32xf32>
})";
  statistics.tensors["x"] = makeStatistics(-2, 2);
  statistics.tensors["y"] = makeStatistics(-1.5f, 1.5f);
  Tensor input = Tensor::allocate(ElementType::F32, {64, 32});
  for (int64_t i = 0; i < input.elementCount(); ++i)
    input.mutableData<float>()[i] = 2 * std::sin(0.37f * static_cast<float>(i)) * std::cos(0.011f * static_cast<float>(i));
  ASSERT_TRUE(run(norm, w8a8, "onnx")) << messages;
  Tensor plain = execute(input);
  ASSERT_TRUE(run(norm, w8a8, "snapdragon-8gen2")) << messages;
  Tensor widened = execute(input);
  EXPECT_EQ(encodingOf("g").storage, ElementType::U16);
  EXPECT_EQ(encodingOf("y/uint16").storage, ElementType::U16);
  float step = encodingOf("y").scales[0];
  int different = 0;
  for (auto [a, b] : llvm::zip_equal(plain.values<float>(), widened.values<float>())) {
    EXPECT_LE(std::abs(a - b), 1.01f * step);
    different += std::abs(a - b) > 0.5f * step;
  }
  // Only what lies next to a rounding boundary may fall to its other side.
  EXPECT_LT(different, plain.elementCount() / 64);
}

TEST_F(QuantizePassesTest, StatisticsAreNeededAndNoRangeIsGuessed) {
  statistics.tensors["x"] = makeStatistics(-1, 1);
  EXPECT_FALSE(run(gemm, w8a8));
  EXPECT_NE(messages.find("tensor 'y': there are no statistics for its values"), std::string::npos) << messages;
  EXPECT_NE(messages.find("a range is never guessed"), std::string::npos);
}

TEST_F(QuantizePassesTest, BlocksNeedABiasOfTheirOwn) {
  statistics.tensors["x"] = statistics.tensors["y"] = makeStatistics(-1, 1);
  EXPECT_FALSE(run(gemm, "weights: {bits: 4, granularity: group, group-size: 16}\nactivations: {bits: 16}\n"));
  EXPECT_NE(messages.find("node 'Gemm': a bias needs one weight scale per output channel"), std::string::npos) << messages;
}

TEST_F(QuantizePassesTest, WeightOnlyRecipesNeedNoStatistics) {
  ASSERT_TRUE(run(gemm, "weights: {bits: 4}\nactivations: {bits: float}\n")) << messages;
  int quantizers = 0;
  module->walk([&](nn::QuantizerOp) { ++quantizers; });
  EXPECT_EQ(quantizers, 1);
  EXPECT_EQ(storedOf("w").size(), 6u);
}

TEST_F(QuantizePassesTest, WeightsThatAreNotFiniteAreLocated) {
  EXPECT_FALSE(run(R"(
func.func @main(%x: tensor<1x2xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %w = nn.constant(dense<[[1.0], [0x7F800000]]> : tensor<2x1xf32>) : tensor<2x1xf32> loc("W"("w"))
  %y = nn.matmul %x, %w : (tensor<1x2xf32>, tensor<2x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  return %y : tensor<1x1xf32>
})", "weights: {bits: 4}\nactivations: {bits: float}\n"));
  EXPECT_NE(messages.find("node 'M', weight 'w': element 1 of the weight is not finite"), std::string::npos) << messages;
}

TEST_F(QuantizePassesTest, ImportanceShiftsTheScale) {
  constexpr llvm::StringLiteral matmul = R"(
func.func @main(%x: tensor<1x4xf32> {nn.name = "x"}) -> tensor<1x1xf32> {
  %w = nn.constant(dense<[[1.0], [0.101], [0.099], [0.1]]> : tensor<4x1xf32>) : tensor<4x1xf32> loc("W"("w"))
  %y = nn.matmul %x, %w : (tensor<1x4xf32>, tensor<4x1xf32>) -> tensor<1x1xf32> loc("M"("y"))
  return %y : tensor<1x1xf32>
})";
  llvm::StringRef recipeText = "weights: {bits: 4, scale-search: mse}\nactivations: {bits: 16}\n";
  statistics.tensors["x"] = statistics.tensors["y"] = makeStatistics(-1, 1);
  ASSERT_TRUE(run(matmul, recipeText)) << messages;
  float plain = encodingOf("w").scales[0];
  // An input that is always zero makes its weight worth nothing, so the others get the fine grid.
  statistics.tensors["x"].channelSumOfSquares = {0, 1, 1, 1};
  ASSERT_TRUE(run(matmul, recipeText)) << messages;
  float weighted = encodingOf("w").scales[0];
  auto errorOfRest = [](float scale) {
    double sum = 0;
    for (float w : {0.101f, 0.099f, 0.1f})
      sum += std::pow(w - scale * std::nearbyint(w / scale), 2);
    return sum;
  };
  EXPECT_LT(errorOfRest(weighted), 0.5 * errorOfRest(plain));
}

TEST_F(QuantizePassesTest, FixedRangesAtSixteenBitsAndCutRangesAtEight) {
  constexpr llvm::StringLiteral sigmoid = R"(
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %y = nn.sigmoid %x : (tensor<4xf32>) -> tensor<4xf32> loc("S"("y"))
  return %y : tensor<4xf32>
})";
  statistics.tensors["x"] = makeStatistics(-1, 1);
  statistics.tensors["y"] = makeStatistics(0.2f, 0.5f);
  ASSERT_TRUE(run(sigmoid, "weights: {bits: 8}\nactivations: {bits: 16}\n", "snapdragon-8gen2")) << messages;
  EXPECT_FLOAT_EQ(encodingOf("y").scales[0], 1.0f / 65535);
  ASSERT_TRUE(run(sigmoid, "weights: {bits: 8}\nactivations: {bits: 8}\n", "snapdragon-8gen2")) << messages;
  EXPECT_FLOAT_EQ(encodingOf("y").scales[0], 0.5f / 255);
  EXPECT_TRUE(encodingOf("y").zeroPoints.empty());
}

TEST_F(QuantizePassesTest, TimeStepsAreExact) {
  statistics.tensors["t"] = makeStatistics(1, 999, /*allIntegers=*/true);
  statistics.tensors["y"] = makeStatistics(0, 99.9f);
  ASSERT_TRUE(run(R"(
func.func @main(%t: tensor<1xf32> {nn.name = "t"}) -> tensor<1xf32> {
  %c = nn.constant(dense<0.1> : tensor<f32>) : tensor<f32> loc("C"("c"))
  %y = nn.mul %t, %c : (tensor<1xf32>, tensor<f32>) -> tensor<1xf32> loc("M"("y"))
  return %y : tensor<1xf32>
})", "weights: {bits: 8}\nactivations: {bits: 16}\n", "snapdragon-8gen2")) << messages;
  EXPECT_EQ(encodingOf("t").scales[0], 1.0f / 64);
  EXPECT_TRUE(encodingOf("t").zeroPoints.empty());
  EXPECT_EQ(static_cast<float>(storedOf("c")[0]) * encodingOf("c").scales[0], 0.1f);
}

TEST_F(QuantizePassesTest, MasksTakeNoRangeFromScores) {
  constexpr llvm::StringLiteral attention = R"(
func.func @main(%s: tensor<1x4xf32> {nn.name = "s"}, %m: tensor<1x4xf32> {nn.name = "m"}) -> tensor<1x4xf32> {
  %a = nn.add %s, %m : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32> loc("A"("a"))
  %p = nn.softmax %a : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("P"("p"))
  return %p : tensor<1x4xf32>
})";
  statistics.tensors["s"] = makeStatistics(-4, 5);
  statistics.tensors["m"] = makeStatistics(-100, 0);
  statistics.tensors["a"] = makeStatistics(-104, 5);
  statistics.tensors["p"] = makeStatistics(0, 1);
  ASSERT_TRUE(run(attention, w8a8)) << messages;
  // Eight bits resolve 10 ln 2 below the largest score of a row, which is at least -4.
  double floor = -4 - 10 * std::log(2.0);
  EXPECT_NEAR(encodingOf("a").scales[0], (5 - floor) / 255, 1e-6);
  ASSERT_TRUE(run(attention, "weights: {bits: 8}\nactivations: {bits: 16}\n")) << messages;
  EXPECT_NEAR(encodingOf("a").scales[0], (5 + 4 + 18 * std::log(2.0)) / 65535, 1e-6);
}

} // namespace

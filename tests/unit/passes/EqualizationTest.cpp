// The passes of the equalize phase keep the float function: outputs of real models agree before and after, and as many
// places are rewritten as the models have.
#include "calib/Observers/StatisticsCollector.h"
#include "lib/Import/ONNX/Import.h"
#include "passes/Passes.h"
#include "tests/unit/passes/FloatPrograms.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

using namespace nibble;
using namespace nibble::test;

namespace {

using Passes = std::vector<std::unique_ptr<mlir::Pass>>;

struct Model {
  const char *path;
  std::map<std::string, int64_t> bindings;
  const char *target = "onnx";
};

const Model decoder{"debian-llama/decoder/model.onnx", {{"sequence_length", 48}}};
const Model genai{"debian-llama/decoder-genai/model.onnx",
                  {{"batch_size", 1}, {"sequence_length", 3}, {"past_sequence_length", 9}, {"total_sequence_length", 12},
                   {"kv_cache_dim", 32}}};
const Model unet{"emoji-diffusion/unet/model.onnx", {{"batch_size", 2}}};
const Model textEncoder{"emoji-diffusion/text_encoder/model.onnx", {{"batch_size", 2}}};
const Model vaeDecoder{"emoji-diffusion/vae_decoder/model.onnx", {{"batch_size", 1}}};

class Equalization : public ::testing::Test {
protected:
  Equalization() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>(); }

  /// The legalized float program of a model.
  void load(const Model &model) {
    onnx_import::ImportOptions options;
    options.bindings = model.bindings;
    auto imported = onnx_import::importModel(std::string(NIBBLE_TESTDATA) + "/models/" + model.path, context, options);
    ASSERT_TRUE(static_cast<bool>(imported)) << llvm::toString(imported.takeError());
    module = std::move(*imported);
    std::unique_ptr<Target> target = llvm::cantFail(Target::load(model.target));
    mlir::PassManager manager(&context);
    buildNormalizePipeline(manager);
    buildLegalizePipeline(manager, *target);
    ASSERT_TRUE(mlir::succeeded(manager.run(*module)));
    reference = run(*module);
  }

  /// Statistics of two runs.
  quant::Statistics observe() {
    calib::StatisticsCollector collector;
    for (uint32_t seed : {1, 2}) {
      collector.beginProgram();
      collector.beginSample("sample", std::string(64, 'a'));
      run(*module, seed, &collector);
      EXPECT_FALSE(llvm::errorToBool(collector.endSample()));
    }
    return collector.finish("");
  }

  struct Outcome {
    /// Linear layers whose input was rewritten, and remarks of the pass.
    int readers = 0, remarks = 0;
    float error = 0;
  };

  /// Applies `pass` and compares outputs.
  Outcome apply(std::unique_ptr<mlir::Pass> pass) {
    std::string argument = pass->getArgument().str();
    Outcome outcome;
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
      bool isRemark = diagnostic.getSeverity() == mlir::DiagnosticSeverity::Remark;
      outcome.remarks += isRemark;
      std::printf("%s: %s\n", argument.c_str(), diagnostic.str().c_str());
      return mlir::success(isRemark);
    });
    mlir::PassManager manager(&context);
    manager.addNestedPass<mlir::func::FuncOp>(std::move(pass));
    EXPECT_TRUE(mlir::succeeded(manager.run(*module)));
    module->walk([&](mlir::Operation *op) {
      auto stages = op->getAttrOfType<mlir::ArrayAttr>("nn.equalized");
      outcome.readers += stages && llvm::is_contained(stages.getAsValueRange<mlir::StringAttr>(), argument);
    });
    outcome.error = expectClose(reference, run(*module));
    std::printf("%s: %d layers rewritten, relative error %.2g\n", argument.c_str(), outcome.readers, outcome.error);
    return outcome;
  }

  /// LayerNorms and RMSNorms, and those of them without parameters.
  std::pair<int, int> countNorms() {
    std::pair<int, int> counts;
    module->walk([&](mlir::Operation *op) {
      if (!mlir::isa<nn::LayerNormalizationOp, nn::RMSNormalizationOp>(op))
        return;
      ++counts.first;
      Tensor scale = nn::tryReadConstant(op->getOperand(1));
      counts.second += op->getNumOperands() == 2 && llvm::all_of(scale.values<float>(), [](float v) { return v == 1; });
    });
    return counts;
  }

  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::vector<Tensor> reference;
};

using NormCounts = std::pair<int, int>;

TEST_F(Equalization, FoldNormScalesOfTheDecoder) {
  load(decoder);
  // Two norms in each of five layers, read by q, k, v, gate and up, and the one in front of the head.
  Outcome outcome = apply(createFoldNormScalesPass());
  EXPECT_EQ(outcome.readers, 26);
  EXPECT_EQ(outcome.remarks, 0);
  EXPECT_EQ(countNorms(), NormCounts(11, 11));
}

TEST_F(Equalization, FoldNormScalesOfTheUnet) {
  load(unet);
  Outcome outcome = apply(createFoldNormScalesPass());
  // Seven transformer blocks: q, k and v, q of the attention to the text, the two halves of GEGLU in one, and the
  // convolution or product behind the GroupNorm in front.
  EXPECT_EQ(outcome.readers, 7 * 6);
  EXPECT_EQ(outcome.remarks, 0);
  EXPECT_EQ(countNorms(), NormCounts(21, 21));
}

TEST_F(Equalization, FoldNormScalesOfTheTextEncoder) {
  load(textEncoder);
  // The last norm is the output.
  Outcome outcome = apply(createFoldNormScalesPass());
  EXPECT_EQ(outcome.readers, 12);
  EXPECT_EQ(outcome.remarks, 1);
  EXPECT_EQ(countNorms(), NormCounts(7, 6));
}

TEST_F(Equalization, FoldNormScalesOfTheAutoencoder) {
  load(vaeDecoder);
  EXPECT_EQ(apply(createFoldNormScalesPass()).readers, 3);
}

SmoothActivationsPassOptions makeOptions(SmoothingMethod method, unsigned activationBits, unsigned weightBits,
                                         int64_t groupSize) {
  SmoothActivationsPassOptions options;
  options.method = method;
  options.activationBits = activationBits;
  options.weightBits = weightBits;
  options.groupSize = groupSize;
  return options;
}

TEST_F(Equalization, SmoothActivationsOfTheDecoder) {
  load(decoder);
  quant::Statistics statistics = observe();
  // In five layers q, k and v, the output projection, gate and up, and down; and the head.
  Outcome outcome = apply(createSmoothActivationsPass(statistics, makeOptions(SmoothingMethod::SmoothQuant, 8, 8, 0)));
  EXPECT_EQ(outcome.readers, 5 * 7 + 1);
  EXPECT_EQ(outcome.remarks, 5 * 4 + 1);
}

TEST_F(Equalization, SmoothActivationsOfTheUnet) {
  load(unet);
  quant::Statistics statistics = observe();
  // In seven transformer blocks the layer behind the GroupNorm, q, k and v, the output projection, q and the output
  // projection of the attention to the text, and both layers of GEGLU.
  Outcome outcome = apply(createSmoothActivationsPass(statistics, makeOptions(SmoothingMethod::SmoothQuant, 8, 8, 0)));
  // Two of the output projections have nothing to gain: evening out what they read makes the values uneven.
  EXPECT_EQ(outcome.readers, 7 * 9 - 2);
  EXPECT_EQ(outcome.remarks, 7 * 7 - 2);
}

TEST_F(Equalization, ActivationAwareScalesOfTheTextEncoder) {
  load(textEncoder);
  quant::Statistics statistics = observe();
  // In three layers q, k and v, the output projection and the first layer of the MLP, whose activation ends the way.
  Outcome outcome = apply(createSmoothActivationsPass(statistics, makeOptions(SmoothingMethod::AWQ, 0, 4, 32)));
  EXPECT_EQ(outcome.readers, 3 * 5);
  EXPECT_EQ(outcome.remarks, 3 * 3);
}

TEST_F(Equalization, RotateResidualOfTheDecoder) {
  load(decoder);
  apply(createFoldNormScalesPass());
  // Readers of the stream are q, k, v, gate and up in five layers, and the head; those of values the output projections.
  Outcome outcome = apply(createRotateResidualPass());
  EXPECT_EQ(outcome.readers, 5 * 5 + 1 + 5);
  EXPECT_EQ(outcome.remarks, 1 + 5);
}

TEST_F(Equalization, RotateResidualByAnOrthogonalMatrix) {
  load(decoder);
  apply(createFoldNormScalesPass());
  RotateResidualPassOptions options;
  options.matrix = quant::RotationKind::Orthogonal;
  options.seed = 5;
  EXPECT_EQ(apply(createRotateResidualPass(options)).readers, 5 * 5 + 1 + 5);
}

TEST_F(Equalization, RotateResidualNeedsNormsWithoutScales) {
  load(decoder);
  RotateResidualPassOptions options;
  options.values = false;
  Outcome outcome = apply(createRotateResidualPass(options));
  EXPECT_EQ(outcome.readers, 0);
  EXPECT_EQ(outcome.remarks, 1);
}

TEST_F(Equalization, RotateResidualOfADecoderWithCache) {
  load(genai);
  apply(createFoldNormScalesPass());
  // q, k and v are one layer; values go into the cache, which is an output of the model.
  Outcome outcome = apply(createRotateResidualPass());
  EXPECT_EQ(outcome.readers, 5 * 3 + 1);
  EXPECT_EQ(outcome.remarks, 1);
}

/// The forms that targets want change operators, but not what can be done.
class EqualizationForTargets : public Equalization, public ::testing::WithParamInterface<const char *> {};

TEST_P(EqualizationForTargets, Decoder) {
  load({decoder.path, decoder.bindings, GetParam()});
  EXPECT_EQ(apply(createFoldNormScalesPass()).readers, 26);
  EXPECT_EQ(apply(createRotateResidualPass()).readers, 31);
  quant::Statistics statistics = observe();
  SmoothActivationsPassOptions options = makeOptions(SmoothingMethod::SmoothQuant, 8, 8, 0);
  options.skipRotated = true;
  // Down projections read what no rotation reaches.
  EXPECT_EQ(apply(createSmoothActivationsPass(statistics, options)).readers, 5);
}

TEST_P(EqualizationForTargets, Unet) {
  load({unet.path, unet.bindings, GetParam()});
  quant::Statistics statistics = observe();
  EXPECT_EQ(apply(createSmoothActivationsPass(statistics, makeOptions(SmoothingMethod::SmoothQuant, 8, 8, 0))).readers,
            7 * 9 - 2);
}

INSTANTIATE_TEST_SUITE_P(Targets, EqualizationForTargets,
                         ::testing::Values("snapdragon-8gen2", "ethos-u85-1024", "tosa"));

TEST_F(Equalization, RotateValuesOfTheUnet) {
  load(unet);
  // Two attentions in seven transformer blocks.
  Outcome outcome = apply(createRotateResidualPass());
  EXPECT_EQ(outcome.readers, 14);
  EXPECT_EQ(outcome.remarks, 14);
}

/// A constant of normal numbers as text.
std::string dense(std::vector<int64_t> shape, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  int64_t count = 1;
  std::string type = "tensor<", values;
  for (int64_t size : shape) {
    count *= size;
    type += std::to_string(size) + "x";
  }
  type += "f32>";
  for (int64_t i = 0; i < count; ++i) {
    char digits[9];
    float value = normal(generator) * std::exp2(normal(generator));
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    // Bytes in the order of storage.
    std::snprintf(digits, sizeof(digits), "%08X", __builtin_bswap32(bits));
    values += digits;
  }
  return "nn.constant(dense<\"0x" + values + "\"> : " + type + ") : " + type;
}

TEST_F(Equalization, CrossLayerEqualizationOfAConvolutionalNetwork) {
  std::string text = "func.func @main(%x: tensor<2x3x8x8xf32> {nn.name = \"x\"}) -> tensor<2x5xf32> {\n";
  auto add = [&](const std::string &line) { text += "  " + line + "\n"; };
  add("%w1 = " + dense({8, 3, 3, 3}, 1));
  add("%b1 = " + dense({8}, 2));
  add("%w2 = " + dense({8, 1, 3, 3}, 3));
  add("%s = " + dense({8, 1, 1}, 4));
  add("%w3 = " + dense({8, 6, 2, 2}, 5));
  add("%w4 = " + dense({5, 6}, 6));
  add("%shape = nn.constant(dense<[2, 6]> : tensor<2xi64>) : tensor<2xi64>");
  std::string attributes = " {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>";
  add("%a = nn.conv %x, %w1, %b1" + attributes + "} : (tensor<2x3x8x8xf32>, tensor<8x3x3x3xf32>, tensor<8xf32>) -> tensor<2x8x8x8xf32>");
  add("%r = nn.relu %a : (tensor<2x8x8x8xf32>) -> tensor<2x8x8x8xf32>");
  add("%c = nn.conv %r, %w2" + attributes + ", group = 8} : (tensor<2x8x8x8xf32>, tensor<8x1x3x3xf32>) -> tensor<2x8x8x8xf32>");
  add("%d = nn.add %c, %s : (tensor<2x8x8x8xf32>, tensor<8x1x1xf32>) -> tensor<2x8x8x8xf32>");
  add("%l = nn.leaky_relu %d {alpha = 0.1 : f32} : (tensor<2x8x8x8xf32>) -> tensor<2x8x8x8xf32>");
  add("%e = nn.conv_transpose %l, %w3 {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, "
      "output_padding = array<i64: 0, 0>} : (tensor<2x8x8x8xf32>, tensor<8x6x2x2xf32>) -> tensor<2x6x16x16xf32>");
  add("%m = nn.global_average_pool %e : (tensor<2x6x16x16xf32>) -> tensor<2x6x1x1xf32>");
  add("%f = nn.reshape %m, %shape : (tensor<2x6x1x1xf32>, tensor<2xi64>) -> tensor<2x6xf32>");
  add("%y = nn.gemm %f, %w4 {trans_b = true} : (tensor<2x6xf32>, tensor<5x6xf32>) -> tensor<2x5xf32>");
  add("return %y : tensor<2x5xf32>\n}");
  module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  ASSERT_TRUE(module);
  reference = run(*module);
  Outcome outcome = apply(createCrossLayerEqualizationPass());
  EXPECT_EQ(outcome.readers, 3);
  EXPECT_EQ(outcome.remarks, 3);
  // Channels of neighbours have one range.
  auto range = [&](mlir::Operation *op, size_t axis, int64_t index) {
    Tensor weight = llvm::cantFail(nn::readConstant(op->getOperand(1)));
    int64_t inner = elementCount(weight.shape().drop_front(axis + 1));
    float largest = 0;
    for (int64_t i = 0; i < weight.elementCount(); ++i)
      if (i / inner % weight.shape()[axis] == index)
        largest = std::max(largest, std::abs(weight.data<float>()[i]));
    return largest;
  };
  std::vector<mlir::Operation *> layers;
  module->walk([&](mlir::Operation *op) {
    if (mlir::isa<nn::ConvOp, nn::ConvTransposeOp, nn::GemmOp>(op))
      layers.push_back(op);
  });
  for (int64_t channel = 0; channel < 8; ++channel) {
    EXPECT_NEAR(range(layers[0], 0, channel) / range(layers[1], 0, channel), 1, 0.01);
    EXPECT_NEAR(range(layers[1], 0, channel) / range(layers[2], 0, channel), 1, 0.01);
  }
  for (int64_t channel = 0; channel < 6; ++channel)
    EXPECT_NEAR(range(layers[2], 1, channel) / range(layers[3], 1, channel), 1, 0.01);
}

TEST_F(Equalization, RotateResidualCopiesTiedWeightsAndTurnsAddends) {
  // The table is the head too; positions, a bias, an offset for all channels and a factor are constants in the stream.
  std::string text = "func.func @main(%ids: tensor<6xi64> {nn.name = \"ids\"}) -> tensor<6x1024xf32> {\n";
  auto add = [&](const std::string &line) { text += "  " + line + "\n"; };
  add("%table = " + dense({1024, 24}, 1));
  add("%positions = " + dense({6, 24}, 2));
  add("%w = " + dense({24, 24}, 3));
  add("%b = " + dense({24}, 4));
  add("%two = nn.constant(dense<2.0> : tensor<1xf32>) : tensor<1xf32>");
  add("%ones = nn.constant(dense<1.0> : tensor<24xf32>) : tensor<24xf32>");
  add("%e = nn.gather %table, %ids : (tensor<1024x24xf32>, tensor<6xi64>) -> tensor<6x24xf32>");
  add("%f = nn.mul %e, %two : (tensor<6x24xf32>, tensor<1xf32>) -> tensor<6x24xf32>");
  add("%s = nn.add %f, %positions : (tensor<6x24xf32>, tensor<6x24xf32>) -> tensor<6x24xf32>");
  add("%o = nn.sub %s, %two : (tensor<6x24xf32>, tensor<1xf32>) -> tensor<6x24xf32>");
  add("%n = nn.rms_normalization %o, %ones : (tensor<6x24xf32>, tensor<24xf32>) -> tensor<6x24xf32>");
  add("%g = nn.gemm %n, %w, %b {alpha = 0.5 : f32} : (tensor<6x24xf32>, tensor<24x24xf32>, tensor<24xf32>) -> tensor<6x24xf32>");
  add("%r = nn.add %o, %g : (tensor<6x24xf32>, tensor<6x24xf32>) -> tensor<6x24xf32>");
  add("%l = nn.rms_normalization %r, %ones : (tensor<6x24xf32>, tensor<24xf32>) -> tensor<6x24xf32>");
  add("%y = nn.gemm %l, %table {trans_b = true} : (tensor<6x24xf32>, tensor<1024x24xf32>) -> tensor<6x1024xf32>");
  add("return %y : tensor<6x1024xf32>\n}");
  for (quant::RotationKind kind : {quant::RotationKind::Hadamard, quant::RotationKind::Orthogonal}) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    reference = run(*module);
    RotateResidualPassOptions options;
    options.matrix = kind;
    EXPECT_EQ(apply(createRotateResidualPass(options)).readers, 2);
  }
}

TEST_F(Equalization, CrossLayerEqualizationLeavesOtherModelsAlone) {
  load(unet);
  EXPECT_EQ(apply(createCrossLayerEqualizationPass()).readers, 0);
}

} // namespace

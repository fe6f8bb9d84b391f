//===- MomentTest.cpp - layers' inputs against the operations themselves --------===//
#include "calib/Observers/InputPatches.h"
#include "calib/Observers/MomentCollector.h"
#include "lib/Dialect/NN/Constants.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace nibble;

namespace {

Tensor makeInput(ArrayRef<int64_t> shape, float phase) {
  Tensor tensor = Tensor::allocate(ElementType::F32, shape);
  for (int64_t i = 0; i < tensor.elementCount(); ++i)
    tensor.mutableData<float>()[i] = std::sin(0.7f * static_cast<float>(i) + phase);
  return tensor;
}

class MomentTest : public testing::Test {
protected:
  MomentTest() { context.loadDialect<nn::NNDialect, func::FuncDialect>(); }

  void parse(llvm::StringRef text) {
    module = parseSourceString<ModuleOp>(text, &context);
    ASSERT_TRUE(module);
    module->walk([&](Operation *op) {
      if (nn::getLayer(op))
        layers.push_back(op);
    });
  }

  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module;
  llvm::SmallVector<Operation *> layers;
};

constexpr llvm::StringLiteral convolutions = R"(
func.func @main(%x: tensor<2x4x7x6xf32> {nn.name = "x"}) -> (tensor<2x6x3x5xf32>, tensor<2x5x14x12xf32>) {
  %w = nn.constant(dense<0.5> : tensor<6x2x3x2xf32>) : tensor<6x2x3x2xf32> loc("W"("w"))
  %v = nn.constant(dense<0.5> : tensor<4x5x2x2xf32>) : tensor<4x5x2x2xf32> loc("V"("v"))
  %y = nn.conv %x, %w {strides = array<i64: 2, 1>, pads = array<i64: 1, 0, 0, 1>, dilations = array<i64: 1, 2>, group = 2 : i64} : (tensor<2x4x7x6xf32>, tensor<6x2x3x2xf32>) -> tensor<2x6x3x5xf32> loc("Conv"("y"))
  %z = nn.conv_transpose %x, %v {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, output_padding = array<i64: 0, 0>} : (tensor<2x4x7x6xf32>, tensor<4x5x2x2xf32>) -> tensor<2x5x14x12xf32> loc("Up"("z"))
  return %y, %z : tensor<2x6x3x5xf32>, tensor<2x5x14x12xf32>
})";

/// Patches times the weight's matrix give what the operation gives, for every group, stride, dilation and padding.
TEST_F(MomentTest, PatchesTimesWeightsAreTheLayersOutputs) {
  parse(convolutions);
  ASSERT_EQ(layers.size(), 2u);
  Tensor x = makeInput({2, 4, 7, 6}, 0), w = makeInput({6, 2, 3, 2}, 1), v = makeInput({4, 5, 2, 2}, 2);
  nn::Layer conv = *nn::getLayer(layers[0]);
  llvm::SmallVector<Tensor> wanted = llvm::cantFail(runtime::evaluate(layers[0], {x, w, {}}));
  EXPECT_EQ(calib::countPatches(conv.patches, x.shape()), 2 * 3 * 5);
  EXPECT_TRUE(conv.rowsAreChannels);
  for (int64_t group = 0; group < 2; ++group) {
    std::vector<float> patches = calib::extractPatches(conv.patches, x, group, 0, 1), matrix = conv.layout.read(w, group);
    for (int64_t patch = 0; patch < 30; ++patch)
      for (int64_t row = 0; row < 3; ++row) {
        double sum = 0;
        for (int64_t i = 0; i < conv.layout.columns; ++i)
          sum += static_cast<double>(patches[static_cast<size_t>(patch * conv.layout.columns + i)]) *
                 static_cast<double>(matrix[static_cast<size_t>(row * conv.layout.columns + i)]);
        int64_t image = patch / 15, pixel = patch % 15;
        ASSERT_NEAR(sum, wanted[0].data<float>()[(image * 6 + group * 3 + row) * 15 + pixel], 1e-4) << patch << " " << row;
      }
  }
  // Where the kernel's elements do not overlap, each output has one row.
  nn::Layer up = *nn::getLayer(layers[1]);
  llvm::SmallVector<Tensor> upsampled = llvm::cantFail(runtime::evaluate(layers[1], {x, v, {}}));
  std::vector<float> pixels = calib::extractPatches(up.patches, x, 0, 0, 1), matrix = up.layout.read(v, 0);
  EXPECT_FALSE(up.rowsAreChannels);
  for (int64_t pixel = 0; pixel < 84; ++pixel)
    for (int64_t row = 0; row < 20; ++row) {
      double sum = 0;
      for (int64_t i = 0; i < 4; ++i)
        sum += static_cast<double>(pixels[static_cast<size_t>(pixel * 4 + i)]) * static_cast<double>(matrix[static_cast<size_t>(row * 4 + i)]);
      int64_t image = pixel / 42, y = pixel % 42 / 6 * 2 + row % 4 / 2, column = pixel % 6 * 2 + row % 2;
      ASSERT_NEAR(sum, upsampled[0].data<float>()[((image * 5 + row / 4) * 14 + y) * 12 + column], 1e-4);
    }
}

TEST_F(MomentTest, EveryOtherPatchIsEveryOtherPatch) {
  parse(convolutions);
  Tensor x = makeInput({2, 4, 7, 6}, 0);
  nn::Layer conv = *nn::getLayer(layers[0]);
  std::vector<float> all = calib::extractPatches(conv.patches, x, 1, 0, 1), some = calib::extractPatches(conv.patches, x, 1, 1, 4);
  size_t columns = static_cast<size_t>(conv.layout.columns);
  ASSERT_EQ(some.size(), 8 * columns);
  for (size_t i = 0; i < 8; ++i)
    for (size_t column = 0; column < columns; ++column)
      ASSERT_EQ(some[i * columns + column], all[(1 + 4 * i) * columns + column]);
}

constexpr llvm::StringLiteral twoReaders = R"(
func.func @main(%x: tensor<5x3xf32> {nn.name = "x"}) -> (tensor<5x2xf32>, tensor<5x4xf32>) {
  %w = nn.constant(dense<0.5> : tensor<3x2xf32>) : tensor<3x2xf32> loc("W"("w"))
  %v = nn.constant(dense<0.5> : tensor<4x3xf32>) : tensor<4x3xf32> loc("V"("v"))
  %y = nn.matmul %x, %w : (tensor<5x3xf32>, tensor<3x2xf32>) -> tensor<5x2xf32> loc("Q"("q"))
  %z = nn.gemm %x, %v {trans_b = true} : (tensor<5x3xf32>, tensor<4x3xf32>) -> tensor<5x4xf32> loc("K"("k"))
  return %y, %z : tensor<5x2xf32>, tensor<5x4xf32>
})";

TEST_F(MomentTest, LayersThatShareAnInputShareMoments) {
  parse(twoReaders);
  calib::MomentCollector collector(layers, {}, 2);
  auto program = llvm::cantFail(runtime::Program::create(module->lookupSymbol<func::FuncOp>("main"), &collector.observer()));
  double wanted = 0;
  for (float phase : {0.0f, 1.0f}) {
    Tensor x = makeInput({5, 3}, phase);
    llvm::cantFail(program->run({x}));
    llvm::cantFail(collector.addSample("sample"));
    for (int64_t row = 0; row < 5; ++row)
      wanted += static_cast<double>(x.data<float>()[row * 3]) * static_cast<double>(x.data<float>()[row * 3 + 2]) / 10;
  }
  auto moments = collector.finish();
  ASSERT_EQ(moments.size(), 2u);
  EXPECT_EQ(moments[0], moments[1]);
  EXPECT_EQ(moments[0]->count, 10);
  EXPECT_NEAR(moments[0]->gram[2], wanted, 1e-5);
}

TEST_F(MomentTest, ValuesThatAreNotFiniteAreLocated) {
  parse(twoReaders);
  calib::MomentCollector collector(layers, {}, 1);
  auto program = llvm::cantFail(runtime::Program::create(module->lookupSymbol<func::FuncOp>("main"), &collector.observer()));
  Tensor x = makeInput({5, 3}, 0);
  x.mutableData<float>()[7] = std::numeric_limits<float>::infinity();
  llvm::cantFail(program->run({x}));
  EXPECT_EQ(llvm::toString(collector.addSample("night.npz")),
            "calibration sample 'night.npz': tensor 'x' has an infinity at element 7");
}

} // namespace

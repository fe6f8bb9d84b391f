// How far a block's outputs may lie off: errors of a target that the test makes up, in blocks small enough to
// follow by hand.
#include "cli/driver/Tolerance.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>
#include <map>

using namespace nibble;
using driver::measureTolerance;

namespace {

/// States a bound per operation, and keeps what it was asked.
class StatedTarget : public Target {
public:
  Legality legality(const LegalityQuery &) const override { return {}; }
  ErrorBound errorBound(llvm::StringRef operation, ElementType storage, const EncodingClass *weight) const override {
    weights[operation.str()] = weight ? std::optional(*weight) : std::nullopt;
    storages[operation.str()] = storage;
    auto found = bounds.find(operation.str());
    return found == bounds.end() ? ErrorBound{0, 0, ""} : found->second;
  }

  std::map<std::string, ErrorBound> bounds;
  mutable std::map<std::string, std::optional<EncodingClass>> weights;
  mutable std::map<std::string, ElementType> storages;
};

class ToleranceTest : public ::testing::Test {
protected:
  ToleranceTest() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>(); }

  /// Measures the only block of `text`, whose float outputs on `input` are `reference`.
  std::vector<ErrorBound> measure(const char *text, const Tensor &input, llvm::ArrayRef<Tensor> reference,
                                  llvm::ArrayRef<double> scales) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    nn::BlockOp block;
    module->walk([&](nn::BlockOp op) { block = op; });
    auto bounds = measureTolerance(block, *module, target, {input}, reference, scales);
    EXPECT_TRUE(static_cast<bool>(bounds)) << llvm::toString(bounds.takeError());
    return bounds ? *bounds : std::vector<ErrorBound>();
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  StatedTarget target;
};

/// y = 8 relu(x): what relu is off by comes out eight times as large, on a grid half as wide.
constexpr const char *amplifyingBlock = R"mlir(
  nn.quantizer @in {storage = ui8, scales = dense<0.5> : tensor<f32>}
  nn.quantizer @h {storage = ui8, scales = dense<0.5> : tensor<f32>}
  nn.quantizer @y {storage = ui16, scales = dense<0.25> : tensor<f32>}
  func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> (tensor<4xf32>, tensor<4xf32>) {
    %0:2 = nn.block @b(%i = %x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
      %q = nn.fake_quant %i, @in : (tensor<4xf32>) -> tensor<4xf32>
      %c = nn.constant(dense<8.0> : tensor<4xf32>) : tensor<4xf32>
      %r = nn.relu %q : (tensor<4xf32>) -> tensor<4xf32>
      %h = nn.fake_quant %r, @h : (tensor<4xf32>) -> tensor<4xf32>
      %m = nn.mul %h, %c : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
      %y = nn.fake_quant %m, @y : (tensor<4xf32>) -> tensor<4xf32>
      %n = nn.neg %h : (tensor<4xf32>) -> tensor<4xf32>
      nn.yield %y, %n : tensor<4xf32>, tensor<4xf32>
    }
    return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
  })mlir";

TEST_F(ToleranceTest, FollowsWhatTheBlockDoesToErrors) {
  target.bounds = {{"relu", {2, 0.5, ""}}, {"mul", {3, 1, ""}}};
  Tensor x = Tensor::fromValues<float>({4}, {2, 3, 4, 5}), y = Tensor::fromValues<float>({4}, {16, 24, 32, 40}),
         n = Tensor::fromValues<float>({4}, {-2, -3, -4, -5});
  std::vector<ErrorBound> bounds = measure(amplifyingBlock, x, {y, n}, {0.25, 0});
  ASSERT_EQ(bounds.size(), 2u);
  // Two steps of 0.5 before the factor of 8, and three steps of 0.25 behind it: 8.75, or 35 steps of the output.
  EXPECT_DOUBLE_EQ(bounds[0].maximum, 35);
  EXPECT_DOUBLE_EQ(bounds[0].rootMeanSquare, 35);
  // An output that stays float is not counted in steps.
  EXPECT_EQ(bounds[1].maximum, ErrorBound().maximum);
  EXPECT_EQ(target.storages.at("mul"), ElementType::U16);
  EXPECT_EQ(target.storages.count("fake_quant"), 0u) << "what comes in was rounded by another block";
}

TEST_F(ToleranceTest, LeavesTheOperatorsOwnBoundWhereNothingIsMoved) {
  target.bounds = {{"mul", {0, 0.25, ""}}};
  Tensor x = Tensor::fromValues<float>({4}, {2, 3, 4, 5}), y = Tensor::fromValues<float>({4}, {16, 24, 32, 40}),
         n = Tensor::fromValues<float>({4}, {-2, -3, -4, -5});
  std::vector<ErrorBound> bounds = measure(amplifyingBlock, x, {y, n}, {0.25, 0});
  EXPECT_EQ(bounds.at(0).maximum, 0);
  EXPECT_EQ(bounds.at(0).rootMeanSquare, 0.25);
}

/// y = a - b of the same x: errors of one direction cancel, so that only random ones show.
constexpr const char *cancellingBlock = R"mlir(
  nn.quantizer @h {storage = i16, scales = dense<0.5> : tensor<f32>}
  nn.quantizer @y {storage = i16, scales = dense<0.5> : tensor<f32>}
  func.func @main(%x: tensor<64xf32> {nn.name = "x"}) -> tensor<64xf32> {
    %0 = nn.block @b(%i = %x) : (tensor<64xf32>) -> tensor<64xf32> {
      %r = nn.relu %i : (tensor<64xf32>) -> tensor<64xf32>
      %a = nn.fake_quant %r, @h : (tensor<64xf32>) -> tensor<64xf32>
      %t = nn.relu %i : (tensor<64xf32>) -> tensor<64xf32>
      %b = nn.fake_quant %t, @h : (tensor<64xf32>) -> tensor<64xf32>
      %d = nn.sub %a, %b : (tensor<64xf32>, tensor<64xf32>) -> tensor<64xf32>
      %y = nn.fake_quant %d, @y : (tensor<64xf32>) -> tensor<64xf32>
      nn.yield %y : tensor<64xf32>
    }
    return %0 : tensor<64xf32>
  })mlir";

TEST_F(ToleranceTest, MovesValuesApartToo) {
  target.bounds = {{"relu", {10, 5, ""}}};
  Tensor x = Tensor::fromValues<float>({64}, std::vector<float>(64, 100)),
         y = Tensor::fromValues<float>({64}, std::vector<float>(64, 0));
  std::vector<ErrorBound> bounds = measure(cancellingBlock, x, {y}, {0.5});
  // Each is moved by up to 10 steps, so the difference by up to 20, and by more than one alone somewhere.
  EXPECT_GT(bounds.at(0).maximum, 10);
  EXPECT_LE(bounds.at(0).maximum, 20);
  EXPECT_GT(bounds.at(0).rootMeanSquare, 0);
  EXPECT_LT(bounds.at(0).rootMeanSquare, bounds.at(0).maximum);
  std::vector<ErrorBound> again = measure(cancellingBlock, x, {y}, {0.5});
  EXPECT_EQ(again.at(0).maximum, bounds.at(0).maximum);
  EXPECT_EQ(again.at(0).rootMeanSquare, bounds.at(0).rootMeanSquare);
}

TEST_F(ToleranceTest, AsksTheTargetWithTheEncodingOfTheWeight) {
  Tensor x = Tensor::fromValues<int64_t>({2}, {1, 0});
  Tensor zeros = Tensor::fromValues<float>({2, 2}, {0, 0, 0, 0});
  measure(R"mlir(
  nn.quantizer @t {storage = i8, symmetric, scales = dense<0.5> : tensor<f32>}
  nn.quantizer @w {storage = i4, symmetric, axis = 0 : i64, block_size = 1 : i64, scales = dense<0.5> : tensor<4xf32>}
  nn.quantizer @y {storage = i16, scales = dense<0.5> : tensor<f32>}
  func.func @main(%x: tensor<2xi64> {nn.name = "x"}) -> tensor<2x2xf32> {
    %0 = nn.block @b(%i = %x) : (tensor<2xi64>) -> tensor<2x2xf32> {
      %ts = nn.constant(dense<0> : tensor<2x2xi8>) : tensor<2x2xi8>
      %t = nn.dequantize_weight %ts, @t : (tensor<2x2xi8>) -> tensor<2x2xf32>
      %g = nn.gather %t, %i {axis = 0 : i64} : (tensor<2x2xf32>, tensor<2xi64>) -> tensor<2x2xf32>
      %gq = nn.fake_quant %g, @y : (tensor<2x2xf32>) -> tensor<2x2xf32>
      %ws = nn.constant(dense<0> : tensor<2x2xi4>) : tensor<2x2xi4>
      %w = nn.dequantize_weight %ws, @w : (tensor<2x2xi4>) -> tensor<2x2xf32>
      %m = nn.matmul %gq, %w : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
      %y = nn.fake_quant %m, @y : (tensor<2x2xf32>) -> tensor<2x2xf32>
      nn.yield %y : tensor<2x2xf32>
    }
    return %0 : tensor<2x2xf32>
  })mlir",
          x, {zeros}, {0.5});
  std::optional<EncodingClass> table = target.weights.at("gather"), weight = target.weights.at("matmul");
  ASSERT_TRUE(table && weight);
  EXPECT_TRUE(table->isConstant);
  EXPECT_EQ(table->storage, ElementType::I8);
  EXPECT_EQ(table->granularity, quant::Granularity::Tensor);
  EXPECT_EQ(weight->storage, ElementType::I4);
  EXPECT_TRUE(weight->symmetric);
  EXPECT_EQ(weight->granularity, quant::Granularity::Block);
  EXPECT_EQ(weight->blockSize, 1);
}

} // namespace

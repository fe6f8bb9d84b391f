// Metrics against plain formulas, the user's scorer, and the errors of layers in a program run by hand.
#include "calib/Metrics/Evaluation.h"
#include "calib/Metrics/LayerErrors.h"
#include "calib/Metrics/LayerReasons.h"
#include "calib/Metrics/MetricCommand.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Support/Npy.h"
#include "tests/unit/TestFiles.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <limits>
#include <random>

using namespace nibble;
using namespace nibble::calib;
using namespace nibble::test;

namespace {

const float inf = std::numeric_limits<float>::infinity();

Tensor randomTensor(Shape shape, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  Tensor tensor = Tensor::allocate(ElementType::F32, shape);
  for (int64_t i = 0; i < tensor.elementCount(); ++i)
    tensor.mutableData<float>()[i] = normal(generator);
  return tensor;
}

TEST(ErrorAccumulator, MatchesTheFormulas) {
  ErrorAccumulator errors;
  double rr = 0, ee = 0, aa = 0, ra = 0, most = 0, low = 1e9, high = -1e9;
  int64_t count = 0;
  for (int64_t size : {1, 7, 16384, 40000}) {
    Tensor r = randomTensor({size}, size), a = randomTensor({size}, size + 1);
    for (int64_t i = 0; i < size; ++i) {
      float &value = a.mutableData<float>()[i];
      value = r.values<float>()[i] + 0.01f * value;
      double x = r.values<float>()[i], y = value;
      rr += x * x, ee += (x - y) * (x - y), aa += y * y, ra += x * y, ++count;
      most = std::max(most, std::fabs(x - y)), low = std::min(low, x), high = std::max(high, x);
    }
    errors.add(r, a);
  }
  EXPECT_EQ(errors.elementCount(), count);
  EXPECT_NEAR(errors.sqnr(), 10 * std::log10(rr / ee), 1e-6);
  EXPECT_NEAR(errors.psnr(), 10 * std::log10((high - low) * (high - low) / (ee / double(count))), 1e-6);
  EXPECT_NEAR(errors.cosine(), ra / std::sqrt(rr * aa), 1e-12);
  EXPECT_NEAR(errors.maxError(), most, 1e-7);
}

TEST(ErrorAccumulator, EqualAndInfiniteValues) {
  ErrorAccumulator same;
  same.add(Tensor::fromValues<float>({3}, {1, -inf, 2}), Tensor::fromValues<float>({3}, {1, -inf, 2}));
  EXPECT_EQ(same.sqnr(), inf);
  EXPECT_EQ(same.cosine(), 1);
  EXPECT_EQ(same.elementCount(), 2);
  ErrorAccumulator broken;
  broken.add(Tensor::fromValues<float>({2}, {1, 2}), Tensor::fromValues<float>({2}, {1, inf}));
  EXPECT_EQ(broken.sqnr(), -inf);
  EXPECT_EQ(broken.maxError(), inf);
}

TEST(TokenMetrics, KlTop1AndPerplexity) {
  // softmax(ln 3, ln 1) = (0.75, 0.25).
  float ln3 = std::log(3.0f);
  Tensor reference = Tensor::fromValues<float>({2, 2}, {ln3, 0, 0, ln3});
  Tensor actual = Tensor::fromValues<float>({2, 2}, {5, 5, 0, ln3});
  TokenAccumulator tokens;
  tokens.add(reference, actual);
  double expected = 0.75 * std::log(0.75 / 0.5) + 0.25 * std::log(0.25 / 0.5);
  EXPECT_NEAR(tokens.kl(), expected / 2, 1e-6);
  EXPECT_EQ(tokens.top1Agreement(), 1);
  tokens.add(Tensor::fromValues<float>({1, 2}, {0, 1}), Tensor::fromValues<float>({1, 2}, {1, 0}));
  EXPECT_NEAR(tokens.top1Agreement(), 2.0 / 3, 1e-12);

  PerplexityAccumulator perplexity;
  Tensor logits = Tensor::fromValues<float>({1, 3, 2}, {ln3, 0, 0, ln3, 100, 0});
  ASSERT_TRUE(perplexity.add(logits, Tensor::fromValues<int64_t>({1, 3}, {1, 0, 0})));
  // The ids after the first are predicted with probabilities 0.75 and 0.25; the last logits predict nothing.
  EXPECT_NEAR(perplexity.perplexity(), std::exp(-(std::log(0.75) + std::log(0.25)) / 2), 1e-5);
  EXPECT_FALSE(perplexity.add(logits, Tensor::fromValues<int64_t>({1, 3}, {1, 0, 2}))) << "outside the vocabulary";
  EXPECT_FALSE(perplexity.add(logits, Tensor::fromValues<int64_t>({1, 2}, {1, 0})));
}

TEST(Evaluation, RowsPerOutputAndMetric) {
  std::vector<InputSpec> inputs{{"ids", ElementType::I64, {1, 3}, {}}};
  Evaluation evaluation = valueOrFail([&]() -> llvm::Expected<std::optional<Evaluation>> {
    llvm::Expected<Evaluation> made = Evaluation::create({Metric::Perplexity, Metric::SQNR}, inputs, {"logits", "state"});
    if (!made)
      return made.takeError();
    return std::optional(std::move(*made));
  }()).value();
  Tensor logits = randomTensor({1, 3, 4}, 1), other = randomTensor({1, 3, 4}, 2), state = randomTensor({2}, 3);
  Tensor ids = Tensor::fromValues<int64_t>({1, 3}, {0, 1, 2});
  ASSERT_FALSE(llvm::errorToBool(evaluation.add({ids}, {logits, state}, {other, state})));
  std::vector<report::OutputError> outputs = evaluation.outputs("onnxruntime");
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].arithmetic, "onnxruntime");
  EXPECT_LT(outputs[0].error.sqnr, 10);
  EXPECT_EQ(outputs[1].error.sqnr, inf);
  std::vector<report::MetricValue> metrics = evaluation.metrics("onnxruntime");
  ASSERT_EQ(metrics.size(), 2u);
  EXPECT_EQ(metrics[0].name, "perplexity");
  EXPECT_NE(metrics[0].value, metrics[0].reference);
  EXPECT_EQ(metrics[1].value, outputs[0].error.sqnr);
  expectError(evaluation.add({ids}, {logits, state}, {logits, logits}), ErrorKind::BadInput, "output 'state'");
  expectError(Evaluation::create({Metric::Perplexity}, {}, {"y"}).takeError(), ErrorKind::Usage, "token ids");
  expectError(parseMetric("snr").takeError(), ErrorKind::Usage, "sqnr, psnr, cosine");
}

TEST(MetricCommand, RunsTheUsersScorer) {
  TemporaryFolder folder;
  for (const char *name : {"fp32", "quantized"})
    ASSERT_FALSE(llvm::errorToBool(writeOutputs(folder.file(name), 12, {"y"}, {randomTensor({2}, 1)})));
  EXPECT_EQ(readText(folder.file("fp32/000012.npz")), readText(folder.file("quantized/000012.npz")));
  std::string script = folder.write("score.sh", "set -e\ncmp \"$1\"/000012.npz \"$2\"/000012.npz\necho\necho fid = 2.5\necho n=1e-3\n");
  std::vector<report::MetricValue> metrics = valueOrFail(
      runMetricCommand("sh " + script, folder.file("fp32"), folder.file("quantized"), "fake-quant", 7));
  ASSERT_EQ(metrics.size(), 2u);
  EXPECT_EQ(metrics[0].name, "fid");
  EXPECT_EQ(metrics[0].value, 2.5);
  EXPECT_EQ(metrics[0].samples, 7);
  EXPECT_EQ(metrics[1].value, 1e-3);
  expectError(runMetricCommand("exit 3;", "a", "b", "fake-quant", 1).takeError(), ErrorKind::BadInput, "exit code 3");
  expectError(runMetricCommand("/no/such/scorer", "a", "b", "fake-quant", 1).takeError(), ErrorKind::IO, "cannot run");
  expectError(runMetricCommand("true", "a", "b", "fake-quant", 1).takeError(), ErrorKind::BadInput, "printed no");
  expectError(runMetricCommand("echo psnr=1; :", "a", "b", "fake-quant", 1).takeError(), ErrorKind::BadInput, "of this program");
  expectError(runMetricCommand("echo fid:", "a", "b", "fake-quant", 1).takeError(), ErrorKind::BadInput, "line 1");
  expectError(parseMetricLines("a=1\na=2\n").takeError(), ErrorKind::BadInput, "twice");
  expectError(parseMetricLines("a=nan\n").takeError(), ErrorKind::BadInput, "expected name=value");
}

//===----------------------------------------------------------------------===//
// Layer errors
//===----------------------------------------------------------------------===//

/// Runs the few operations of the test's functions, in the way that Program promises.
class HandProgram : public runtime::Program {
public:
  HandProgram(mlir::func::FuncOp function, runtime::ExecutionObserver &observer) : function(function), observer(observer) {
    for (mlir::BlockArgument argument : function.getArguments())
      show(argument);
    function.walk([&](mlir::Operation *op) {
      for (mlir::Value result : op->getResults())
        show(result);
    });
  }
  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> inputs) override {
    values.clear();
    for (auto [argument, tensor] : llvm::zip(function.getArguments(), inputs))
      set(argument, tensor);
    std::vector<Tensor> results;
    for (mlir::Operation &op : function.getBody().front()) {
      if (op.getNumResults() == 0) {
        for (mlir::Value operand : op.getOperands())
          results.push_back(values.lookup(operand));
        break;
      }
      Tensor x = values.lookup(op.getOperand(0)), y = Tensor::allocate(ElementType::F32, x.shape());
      if (auto rounding = llvm::dyn_cast<nn::FakeQuantOp>(op)) {
        quant::fakeQuantize(x, valueOrFail(nn::readEncoding(nn::lookupQuantizer(rounding, rounding.getQuantizerAttr()))), y);
      } else {
        Tensor z = values.lookup(op.getOperand(op.getNumOperands() - 1));
        for (int64_t i = 0; i < x.elementCount(); ++i) {
          float a = x.values<float>()[i], b = z.values<float>()[i];
          y.mutableData<float>()[i] = llvm::isa<nn::AddOp>(op)    ? a + b
                                        : llvm::isa<nn::ReluOp>(op) ? std::max(a, 0.0f)
                                                                    : std::fabs(a);
        }
      }
      set(op.getResult(0), y);
    }
    return results;
  }

private:
  void show(mlir::Value value) {
    if (observer.wants(value))
      wanted.insert({value, true});
  }
  void set(mlir::Value value, Tensor tensor) {
    if (wanted.count(value)) {
      if (Tensor other = observer.replaceValue(value, tensor))
        tensor = other;
      observer.onValue(value, tensor);
    }
    values[value] = tensor;
  }
  mlir::func::FuncOp function;
  runtime::ExecutionObserver &observer;
  llvm::DenseMap<mlir::Value, bool> wanted;
  llvm::DenseMap<mlir::Value, Tensor> values;
};

const char *const floatFunction = R"(
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %a = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
  %b = nn.add %a, %a : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("B"("b"))
  return %b : tensor<4xf32>
})";

// a is rounded to multiples of 1 and b to multiples of 4.
const char *const quantizedFunction = R"(
nn.quantizer @qx {storage = i8, scales = dense<0.125> : tensor<f32>}
nn.quantizer @qa {storage = i8, scales = dense<1.0> : tensor<f32>}
nn.quantizer @qb {storage = i8, scales = dense<4.0> : tensor<f32>}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %xq = nn.fake_quant %x, @qx : (tensor<4xf32>) -> tensor<4xf32> loc("X/q"("x/q"))
  %a = nn.abs %xq : (tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
  %aq = nn.fake_quant %a, @qa : (tensor<4xf32>) -> tensor<4xf32> loc("A/q"("a/q"))
  %b = nn.add %aq, %aq : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("B"("b"))
  %bq = nn.fake_quant %b, @qb : (tensor<4xf32>) -> tensor<4xf32> loc("B/q"("b/q"))
  return %bq : tensor<4xf32>
})";

TEST(LayerErrors, IsolatedErrorsComeFromFloatInputs) {
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  auto floatModule = mlir::parseSourceString<mlir::ModuleOp>(floatFunction, &context);
  auto quantizedModule = mlir::parseSourceString<mlir::ModuleOp>(quantizedFunction, &context);
  ASSERT_TRUE(floatModule && quantizedModule);
  mlir::func::FuncOp reference = *floatModule->getOps<mlir::func::FuncOp>().begin();
  mlir::func::FuncOp quantized = *quantizedModule->getOps<mlir::func::FuncOp>().begin();
  LayerErrors errors(quantized);
  HandProgram floatProgram(reference, errors.floatObserver()), isolated(quantized, errors.isolatedObserver()),
      accumulated(quantized, errors.accumulatedObserver());
  LayerErrors::Runs runs = valueOrFail(
      errors.addSample(floatProgram, isolated, accumulated, {Tensor::fromValues<float>({4}, {-1.4f, 3.0f, 7.2f, 2.0f})}));
  EXPECT_EQ(runs.reference[0].values<float>()[1], 6);
  EXPECT_EQ(runs.quantized[0].values<float>(), (llvm::ArrayRef<float>{0, 8, 16, 4}));

  quant::Statistics statistics;
  quant::TensorStatistics &b = statistics.tensors["b"];
  b.elementCount = 100, b.min = 0, b.max = 2000, b.sumOfSquares = 4e6, b.histogramMin = 0, b.histogramMax = 2048;
  b.histogram.assign(8, 0);
  b.histogram[0] = 98, b.histogram[7] = 2;
  std::vector<report::LayerError> rows = errors.finish(&statistics);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].node, "B") << "the worst comes first";
  // b in float is 2.8, 6, 14.4, 4; on a grid of 4 it is 4, 8, 16, 4 (6 is a tie, to the even 2 * 4).
  EXPECT_NEAR(rows[0].isolated.maxError, 2, 1e-6);
  EXPECT_NEAR(rows[0].isolated.sqnr, 10 * std::log10((2.8 * 2.8 + 36 + 14.4 * 14.4 + 16) / (1.2 * 1.2 + 4 + 1.6 * 1.6)), 1e-4);
  // Fully quantized, a is 1, 3, 7, 2 and b is 2, 6, 14, 4, which the grid makes 0, 8, 16, 4.
  EXPECT_NEAR(rows[0].accumulated.maxError, 2.8, 1e-6);
  // a in float is 1.4, 3, 7.2, 2; its input was not rounded when it was alone.
  EXPECT_NEAR(rows[1].isolated.maxError, 0.4, 1e-6);
  EXPECT_EQ(rows[1].activationBits, 8u);
  EXPECT_EQ(rows[0].reason, "2 % of 'b' is clipped");
  EXPECT_EQ(rows[1].reason, "8-bit activations");
  EXPECT_EQ(errors.finish(nullptr)[0].reason, "8-bit activations");
}

TEST(LayerReasons, SeeWhatAnEarlierBlockRounded) {
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"(
nn.quantizer @fine {storage = i16, scales = dense<0.125> : tensor<f32>}
nn.quantizer @coarse {storage = i8, scales = dense<1.0> : tensor<f32>}
func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
  %0 = nn.block @first(%p = %x) : (tensor<4xf32>) -> tensor<4xf32> {
    %a = nn.abs %p : (tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
    %aq = nn.fake_quant %a, @coarse : (tensor<4xf32>) -> tensor<4xf32> loc("A/q"("a/q"))
    nn.yield %aq : tensor<4xf32>
  }
  %1 = nn.block @second(%q = %0) : (tensor<4xf32>) -> tensor<4xf32> {
    %b = nn.abs %q : (tensor<4xf32>) -> tensor<4xf32> loc("B"("b"))
    %bq = nn.fake_quant %b, @fine : (tensor<4xf32>) -> tensor<4xf32> loc("B/q"("b/q"))
    nn.yield %bq : tensor<4xf32>
  }
  return %1 : tensor<4xf32>
})",
                                                        &context);
  ASSERT_TRUE(module);
  report::LayerError row;
  module->walk([&](nn::AbsOp op) {
    if (nn::tensorName(op.getResult()) == "b")
      explainLayer(op, (*op->user_begin())->getResult(0), nullptr, row);
  });
  EXPECT_EQ(row.activationBits, 8u);
  EXPECT_EQ(row.reason, "8-bit activations");
}

TEST(LayerErrors, AReluCutsOffNoErrorOfTheLayerBeforeIt) {
  mlir::MLIRContext context;
  context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
  auto floatModule = mlir::parseSourceString<mlir::ModuleOp>(R"(
    func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
      %a = nn.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
      %r = nn.relu %a : (tensor<4xf32>) -> tensor<4xf32> loc("R"("r"))
      return %r : tensor<4xf32>
    })", &context);
  auto quantizedModule = mlir::parseSourceString<mlir::ModuleOp>(R"(
    nn.quantizer @qr {storage = ui8, scales = dense<1.0> : tensor<f32>}
    func.func @main(%x: tensor<4xf32> {nn.name = "x"}) -> tensor<4xf32> {
      %a = nn.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("A"("a"))
      %aq = nn.fake_quant %a, @qr : (tensor<4xf32>) -> tensor<4xf32> loc("A/q"("a/q"))
      %r = nn.relu %aq : (tensor<4xf32>) -> tensor<4xf32> loc("R"("r"))
      %rq = nn.fake_quant %r, @qr : (tensor<4xf32>) -> tensor<4xf32> loc("R/q"("r/q"))
      return %rq : tensor<4xf32>
    })", &context);
  ASSERT_TRUE(floatModule && quantizedModule);
  mlir::func::FuncOp reference = *floatModule->getOps<mlir::func::FuncOp>().begin();
  mlir::func::FuncOp quantized = *quantizedModule->getOps<mlir::func::FuncOp>().begin();
  LayerErrors errors(quantized);
  HandProgram floatProgram(reference, errors.floatObserver()), isolated(quantized, errors.isolatedObserver()),
      accumulated(quantized, errors.accumulatedObserver());
  valueOrFail(errors.addSample(floatProgram, isolated, accumulated, {Tensor::fromValues<float>({4}, {-5, -9, 1.1f, 3})}));
  std::vector<report::LayerError> rows = errors.finish(nullptr);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].node, "A");
  EXPECT_EQ(rows[0].tensor, "r");
  EXPECT_NEAR(rows[0].isolated.maxError, 0.2, 1e-6) << "the relu makes the negative sums zero in both";
}

} // namespace

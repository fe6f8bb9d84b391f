//===- ProgramTest.cpp - steps, buffers, observers, threads ------------------===//
#include "tests/unit/runtime/RuntimeTest.h"

#include "lib/Dialect/NN/Names.h"
#include "lib/Support/Parallel.h"

using namespace mlir;
using namespace nibble;
using namespace nibble::runtime;
using nibble::test::RuntimeTest;

namespace {

class ProgramTest : public RuntimeTest {};

constexpr llvm::StringLiteral chain = R"(
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<2x2xf32>) {
  %a = nn.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("a")
  %b = nn.mul %a, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("b")
  %s = nn.constant(dense<2> : tensor<2xi64>) : tensor<2xi64>
  %c = nn.reshape %b, %s : (tensor<4xf32>, tensor<2xi64>) -> tensor<2x2xf32> loc("c")
  %d = nn.neg %a : (tensor<4xf32>) -> tensor<4xf32> loc("d")
  %e = nn.relu %d : (tensor<4xf32>) -> tensor<4xf32> loc("e")
  return %e, %c : tensor<4xf32>, tensor<2x2xf32>
})";

TEST_F(ProgramTest, ComputesAChainWithViewsAndOverwritingOperations) {
  std::vector<Tensor> results = run(parse(chain), {floats({4}, {-1, 2, -3, 4})});
  ASSERT_EQ(results.size(), 2u);
  expectNear(results[0], floats({4}, {2, 0, 6, 0}), 0);
  expectNear(results[1], floats({2, 2}, {2, 8, 18, 32}), 0);
}

/// Keeps every tensor it is shown, and may replace one.
class Recorder : public ExecutionObserver {
public:
  std::vector<std::pair<std::string, Tensor>> seen;
  std::string unwanted, replaced;
  Tensor replacement;
  bool wants(Value value) override { return nameOf(value) != unwanted; }
  void onValue(Value value, const Tensor &tensor) override { seen.emplace_back(nameOf(value), tensor); }
  Tensor replaceValue(Value value, const Tensor &) override {
    return nameOf(value) == replaced ? replacement : Tensor();
  }
  static std::string nameOf(Value value) {
    return value.getDefiningOp() ? nn::nodeName(value.getDefiningOp()) : std::string("argument");
  }
};

TEST_F(ProgramTest, ShowsValuesInOrderAndLeavesWhatIsKept) {
  Recorder recorder;
  recorder.unwanted = "d";
  auto function = parse(chain);
  auto program = llvm::cantFail(Program::create(function, &recorder));
  std::vector<Tensor> first = llvm::cantFail(program->run({floats({4}, {-1, 2, -3, 4})}));
  std::vector<Tensor> second = llvm::cantFail(program->run({floats({4}, {1, 1, 1, 1})}));
  std::vector<std::string> names;
  for (auto &[name, tensor] : recorder.seen)
    names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"argument", "a", "b", "c", "e", "argument", "a", "b", "c", "e"}));
  expectNear(recorder.seen[1].second, floats({4}, {-2, 4, -6, 8}), 0);
  expectNear(recorder.seen[2].second, floats({4}, {2, 8, 18, 32}), 0);
  expectNear(first[0], floats({4}, {2, 0, 6, 0}), 0);
  expectNear(second[1], floats({2, 2}, {2, 2, 2, 2}), 0);
}

TEST_F(ProgramTest, ConsumersSeeReplacedValues) {
  Recorder recorder;
  recorder.replaced = "a";
  recorder.replacement = floats({4}, {-5, 5, -5, 5});
  std::vector<Tensor> results = run(parse(chain), {floats({4}, {1, 1, 1, 1})}, &recorder);
  expectNear(results[0], floats({4}, {5, 0, 5, 0}), 0);
  expectNear(results[1], floats({2, 2}, {-5, 5, -5, 5}), 0);
  expectNear(recorder.replacement, floats({4}, {-5, 5, -5, 5}), 0);
}

constexpr llvm::StringLiteral blocks = R"(
module {
  nn.quantizer @q {storage = i8, symmetric, scales = dense<0.5> : tensor<f32>}
  func.func @main(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
    %y = nn.block @first(%a = %x) : (tensor<2x2xf32>) -> tensor<2x2xf32> {
      %n = nn.neg %a : (tensor<2x2xf32>) -> tensor<2x2xf32> loc("n")
      %f = nn.fake_quant %n, @q : (tensor<2x2xf32>) -> tensor<2x2xf32> loc("f")
      nn.yield %f : tensor<2x2xf32>
    }
    %z = nn.block @second(%a = %y, %b = %x) : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> {
      %w = nn.constant(dense<[[2, 0], [0, 4]]> : tensor<2x2xi8>) : tensor<2x2xi8>
      %d = nn.dequantize_weight %w, @q : (tensor<2x2xi8>) -> tensor<2x2xf32> loc("d")
      %m = nn.matmul %a, %d : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("m")
      %s = nn.add %m, %b : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc("s")
      nn.yield %s : tensor<2x2xf32>
    }
    return %z : tensor<2x2xf32>
  }
})";

TEST_F(ProgramTest, RunsBlocksInlineAndAlone) {
  Recorder recorder;
  auto function = parse(blocks);
  Tensor x = floats({2, 2}, {1.2f, 2.3f, -0.4f, 100});
  // -x on a grid of 0.5 that ends at -64, times diag(1, 2), plus x.
  Tensor expected = floats({2, 2}, {0.2f, -2.7f, 0.1f, -28});
  std::vector<Tensor> results = run(function, {x}, &recorder);
  expectNear(results[0], expected, 1e-6f);
  std::vector<std::string> names;
  for (auto &[name, tensor] : recorder.seen)
    names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"argument", "n", "f", "m", "s"}));

  auto second = llvm::to_vector(function.getOps<nn::BlockOp>())[1];
  auto program = llvm::cantFail(Program::create(second, function->getParentOp()));
  std::vector<Tensor> alone = llvm::cantFail(program->run({recorder.seen[2].second, x}));
  expectNear(alone[0], expected, 1e-6f);
}

TEST_F(ProgramTest, NamesWhatItCannotRun) {
  EXPECT_EQ(faultOf(parse(chain), {floats({2}, {1, 2})}),
            "input '': wanted float32[4], found float32[2]");
  EXPECT_EQ(faultOf(parse(chain), {}), "wanted 1 inputs, found 0");
  EXPECT_EQ(faultOf(parse("func.func @main(%x: tensor<?xf32> {nn.name = \"in\"}) -> tensor<?xf32> {\n"
                          "return %x : tensor<?xf32>\n}"),
                    {}),
            "input 'in' cannot run: wanted a static tensor, found tensor<?xf32>");
  EXPECT_EQ(faultOf(parseBody("%x: tensor<2xi64>",
                              "%r = nn.exp %x : (tensor<2xi64>) -> tensor<2xi64> loc(\"node\")", "tensor<2xi64>"),
                    {integers({2}, {1, 2})}),
            "node 'node' (nn.exp) cannot run: element type int64 has no kernel; float32 and float64 have");
}

/// Enough work of every tiled kind that two threads share it.
constexpr llvm::StringLiteral network = R"(
func.func @main(%x: tensor<2x24x40x40xf32>, %w: tensor<40x24x3x3xf32>, %b: tensor<40xf32>) -> tensor<2x40x40x40xf32> {
  %c = nn.conv %x, %w, %b {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<2x24x40x40xf32>, tensor<40x24x3x3xf32>, tensor<40xf32>) -> tensor<2x40x40x40xf32>
  %g = nn.group_normalization %c, %b, %b {num_groups = 5 : i64}
      : (tensor<2x40x40x40xf32>, tensor<40xf32>, tensor<40xf32>) -> tensor<2x40x40x40xf32>
  %s = nn.sigmoid %g : (tensor<2x40x40x40xf32>) -> tensor<2x40x40x40xf32>
  %m = nn.matmul %s, %c : (tensor<2x40x40x40xf32>, tensor<2x40x40x40xf32>) -> tensor<2x40x40x40xf32>
  %p = nn.softmax %m : (tensor<2x40x40x40xf32>) -> tensor<2x40x40x40xf32>
  %t = nn.transpose %p {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x40x40x40xf32>) -> tensor<2x40x40x40xf32>
  %a = nn.add %t, %m : (tensor<2x40x40x40xf32>, tensor<2x40x40x40xf32>) -> tensor<2x40x40x40xf32>
  return %a : tensor<2x40x40x40xf32>
})";

TEST_F(ProgramTest, GivesTheSameBytesOnOneThreadAndOnTwo) {
  auto function = parse(network);
  std::vector<Tensor> inputs{noise({2, 24, 40, 40}, 1), noise({40, 24, 3, 3}, 2), noise({40}, 3)};
  auto program = llvm::cantFail(Program::create(function));
  Tensor shared = llvm::cantFail(program->run(inputs))[0];
  // Inside a tile every parallelFor runs on the calling thread.
  Tensor serial;
  parallelFor(2, [&](int64_t tile) {
    if (tile == 0)
      serial = llvm::cantFail(program->run(inputs))[0];
  });
  EXPECT_EQ(std::memcmp(shared.raw(), serial.raw(), static_cast<size_t>(shared.byteSize())), 0);
}

/// What the fused steps stand for: projections with a bias, heads moved by transpositions, a scale, a mask.
constexpr llvm::StringLiteral attention = R"(
func.func @main(%x: tensor<2x70x12xf32>, %m: tensor<1x1x70x70xf32>, %k: tensor<2x3x70x4xf32>)
    -> (tensor<2x70x3x4xf32>, tensor<2x3x4x4xf32>) {
  %w = nn.constant(dense<0.125> : tensor<12x12xf32>) : tensor<12x12xf32>
  %b = nn.constant(dense<[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2]> : tensor<12xf32>)
      : tensor<12xf32>
  %f = nn.constant(dense<0.5> : tensor<f32>) : tensor<f32>
  %s = nn.constant(dense<[2, 70, 3, 4]> : tensor<4xi64>) : tensor<4xi64>
  %p = nn.matmul %x, %w : (tensor<2x70x12xf32>, tensor<12x12xf32>) -> tensor<2x70x12xf32>
  %a = nn.add %b, %p : (tensor<12xf32>, tensor<2x70x12xf32>) -> tensor<2x70x12xf32>
  %r = nn.reshape %a, %s : (tensor<2x70x12xf32>, tensor<4xi64>) -> tensor<2x70x3x4xf32>
  %q = nn.transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x70x3x4xf32>) -> tensor<2x3x70x4xf32>
  %v = nn.transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x70x3x4xf32>) -> tensor<2x3x70x4xf32>
  %qs = nn.mul %q, %f : (tensor<2x3x70x4xf32>, tensor<f32>) -> tensor<2x3x70x4xf32>
  %kt = nn.transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x3x70x4xf32>) -> tensor<2x3x4x70xf32>
  %d = nn.matmul %qs, %kt : (tensor<2x3x70x4xf32>, tensor<2x3x4x70xf32>) -> tensor<2x3x70x70xf32>
  %dm = nn.add %d, %m : (tensor<2x3x70x70xf32>, tensor<1x1x70x70xf32>) -> tensor<2x3x70x70xf32>
  %sm = nn.softmax %dm : (tensor<2x3x70x70xf32>) -> tensor<2x3x70x70xf32>
  %o = nn.matmul %sm, %v : (tensor<2x3x70x70xf32>, tensor<2x3x70x4xf32>) -> tensor<2x3x70x4xf32>
  %ot = nn.transpose %o {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x3x70x4xf32>) -> tensor<2x70x3x4xf32>
  %k2 = nn.transpose %k {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x3x70x4xf32>) -> tensor<2x3x4x70xf32>
  %g = nn.matmul %k2, %k : (tensor<2x3x4x70xf32>, tensor<2x3x70x4xf32>) -> tensor<2x3x4x4xf32>
  return %ot, %g : tensor<2x70x3x4xf32>, tensor<2x3x4x4xf32>
})";

TEST_F(ProgramTest, FusedStepsComputeWhatTheirOperationsDo) {
  auto function = parse(attention);
  ASSERT_TRUE(function);
  Tensor mask = noise({1, 1, 70, 70}, 5);
  mask.mutableData<float>()[3] = -std::numeric_limits<float>::infinity();
  std::vector<Tensor> inputs{noise({2, 70, 12}, 4), mask, noise({2, 3, 70, 4}, 6)};
  // An observer that wants every value keeps every operation a step of its own.
  Recorder recorder;
  std::vector<Tensor> fused = run(function, inputs), separate = run(function, inputs, &recorder);
  ASSERT_EQ(fused.size(), 2u);
  ASSERT_EQ(separate.size(), 2u);
  expectNear(fused[0], separate[0], 1e-5f);
  expectNear(fused[1], separate[1], 1e-4f);
}

} // namespace

int main(int argc, char **argv) {
  ::testing::InitGoogleTest(&argc, argv);
  nibble::setThreadCount(2);
  return RUN_ALL_TESTS();
}

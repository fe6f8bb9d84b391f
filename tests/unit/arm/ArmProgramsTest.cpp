#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/Arm/ReferenceModel.h"
#include "lib/Export/Arm/Vela.h"
#include "lib/Export/TOSA/TosaFiles.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Parser/Parser.h"
#include "tests/unit/TestFiles.h"

using namespace nibble;
using namespace nibble::arm;
using test::expectError;

namespace {

/// A convolution with 4-bit weights and a residual sum, in two blocks.
constexpr const char *network = R"mlir(
  func.func @main(%x: tensor<1x8x8x16xi8> {nn.name = "image"}) -> tensor<1x8x8x16xi8> {
    %0 = nn.block @conv(%i = %x) : (tensor<1x8x8x16xi8>) -> tensor<1x8x8x16xi8> {
      %w = "tosa.const"() <{values = dense<3> : tensor<16x1x1x16xi4>}> : () -> tensor<16x1x1x16xi4>
      %b = "tosa.const"() <{values = dense<7> : tensor<16xi32>}> : () -> tensor<16xi32>
      %iz = "tosa.const"() <{values = dense<1> : tensor<1xi8>}> : () -> tensor<1xi8>
      %wz = "tosa.const"() <{values = dense<0> : tensor<1xi4>}> : () -> tensor<1xi4>
      %a = tosa.conv2d %i, %w, %b, %iz, %wz {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x8x8x16xi8>, tensor<16x1x1x16xi4>, tensor<16xi32>, tensor<1xi8>, tensor<1xi4>) -> tensor<1x8x8x16xi32> loc("first"("sums"))
      %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
      %s = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
      %z0 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
      %z1 = "tosa.const"() <{values = dense<-3> : tensor<1xi8>}> : () -> tensor<1xi8>
      %y = tosa.rescale %a, %m, %s, %z0, %z1 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x8x16xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x8x8x16xi8> loc("first"("features"))
      nn.yield %y : tensor<1x8x8x16xi8>
    }
    %1 = nn.block @limit(%j = %0) : (tensor<1x8x8x16xi8>) -> tensor<1x8x8x16xi8> {
      %c = tosa.clamp %j {min_val = -5 : i8, max_val = 90 : i8} : (tensor<1x8x8x16xi8>) -> tensor<1x8x8x16xi8> loc("second"("clipped"))
      nn.yield %c : tensor<1x8x8x16xi8>
    }
    return %1 : tensor<1x8x8x16xi8>
  })mlir";

/// Rounds every value of what is wider than an NPU of the first two generations divides.
constexpr const char *division = R"mlir(
  func.func @main(%x: tensor<4xi32>) -> tensor<4xi32> {
    %d = "tosa.const"() <{values = dense<7> : tensor<4xi32>}> : () -> tensor<4xi32>
    %a = tosa.abs %x : (tensor<4xi32>) -> tensor<4xi32> loc("model/abs"("a"))
    %q = tosa.intdiv %a, %d : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi32> loc("model/div"("q"))
    return %q : tensor<4xi32>
  })mlir";

/// A shift that RESCALE does not have: validation finds nothing, execution does.
constexpr const char *wrongShift = R"mlir(
  func.func @main(%x: tensor<4xi32>) -> tensor<4xi8> {
    %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
    %s = "tosa.const"() <{values = dense<1> : tensor<1xi8>}> : () -> tensor<1xi8>
    %z0 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
    %z1 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
    %y = tosa.rescale %x, %m, %s, %z0, %z1 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<4xi8>
    return %y : tensor<4xi8>
  })mlir";

class ArmProgramsTest : public testing::Test {
protected:
  ArmProgramsTest() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect, mlir::tosa::TosaDialect>(); }

  /// The program as a file of this name.
  std::string write(const char *text, llvm::StringRef name) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    std::string path = folder.write(name, "");
    test::valueOrFail(tosa_export::writeTosaFiles(*module, path));
    return path;
  }
  std::unique_ptr<Target> load(llvm::StringRef name) { return test::valueOrFail(Target::load(name)); }

  mlir::MLIRContext context;
  test::TemporaryFolder folder;
};

TEST_F(ArmProgramsTest, ReferenceModelRunsAFile) {
  ArmTool tool = test::valueOrFail(findReferenceModel());
  std::string path = write(network, "with,comma/m.tosa");
  Tensor input = Tensor::allocate(ElementType::I8, {1, 8, 8, 16});
  for (int64_t i = 0; i < input.elementCount(); ++i)
    input.mutableData<int8_t>()[i] = static_cast<int8_t>(i % 23 - 11);
  std::vector<Tensor> outputs = test::valueOrFail(runReferenceModel(tool, path, {input}));
  ASSERT_EQ(outputs.size(), 1u);
  ASSERT_EQ(outputs[0].elementType(), ElementType::I8);
  ASSERT_EQ(outputs[0].shape(), input.shape());
  for (int64_t pixel = 0; pixel < 64; ++pixel) {
    int sum = 7;
    for (int64_t channel = 0; channel < 16; ++channel)
      sum += 3 * (input.data<int8_t>()[pixel * 16 + channel] - 1);
    // 2^30 >> 33 is an eighth, rounded half up.
    int expected = std::clamp(((sum + 4) >> 3) - 3, -5, 90);
    ASSERT_EQ(outputs[0].data<int8_t>()[pixel * 16], expected) << pixel;
  }
}

TEST_F(ArmProgramsTest, ReferenceModelsRefusalsAreErrors) {
  ArmTool tool = test::valueOrFail(findReferenceModel());
  Tensor input = Tensor::fromValues<int32_t>({4}, {1, 2, 3, 4});
  std::string path = write(wrongShift, "m.tosa");
  expectError(runReferenceModel(tool, path, {input}).takeError(), ErrorKind::Unsupported, "shift value");
  expectError(runReferenceModel(tool, path, {}).takeError(), ErrorKind::BadInput, "has 1 inputs, found 0 tensors");
  expectError(runReferenceModel(tool, folder.write("n.tosa", "nothing"), {input}).takeError(), ErrorKind::BadInput,
              "not a TOSA flatbuffer");
}

TEST_F(ArmProgramsTest, WarningsFailEvenIfTheProgramEndsWell) {
  std::string script = folder.write("model", "#!/bin/sh\necho 'TensorTemplate: failed to set tensor value' >&2\nexit 0\n");
  ASSERT_FALSE(llvm::sys::fs::setPermissions(script, llvm::sys::fs::perms::owner_all));
  Tensor input = Tensor::fromValues<int32_t>({4}, {1, 2, 3, 4});
  expectError(runReferenceModel({script, "", ""}, write(wrongShift, "m.tosa"), {input}).takeError(), ErrorKind::Unsupported,
              "failed to set tensor value");
}

TEST_F(ArmProgramsTest, VelaCompilesForEveryTarget) {
  ArmTool tool = test::valueOrFail(findVela());
  std::string path = write(network, "m.tosa");
  for (const char *name : {"ethos-u55-256", "ethos-u65-512", "ethos-u85-1024"}) {
    auto target = load(name);
    ASSERT_TRUE(target);
    std::string binaryPath = folder.file(std::string(name) + ".npz");
    VelaBinary binary = test::valueOrFail(compileWithVela(tool, *target, {}, path, binaryPath));
    EXPECT_EQ(binary.figures.operatorsOnCpu, 0) << name;
    EXPECT_GT(binary.figures.operatorsOnNpu, 0) << name;
    EXPECT_GT(binary.figures.cycles, 0u) << name;
    EXPECT_GT(binary.figures.encodedWeightBytes, 0u) << name;
    EXPECT_FALSE(binary.figures.operators.empty()) << name;
    uint64_t size = 0;
    EXPECT_FALSE(llvm::sys::fs::file_size(binaryPath, size));
    EXPECT_EQ(binary.bytes, size);
  }
}

TEST_F(ArmProgramsTest, BinariesHoldNoPlaceAndNoTime) {
  ArmTool tool = test::valueOrFail(findVela());
  auto target = load("ethos-u85-1024");
  ASSERT_TRUE(target);
  std::string first = folder.write("a.npz", ""), second = folder.write("elsewhere/b.npz", "");
  test::valueOrFail(compileWithVela(tool, *target, {}, write(network, "m.tosa"), first));
  test::valueOrFail(compileWithVela(tool, *target, {}, write(network, "deeper/other.tosa"), second));
  std::string bytes = test::readText(first);
  EXPECT_EQ(bytes, test::readText(second));
  EXPECT_EQ(bytes.find("nibble-test"), std::string::npos);
}

TEST_F(ArmProgramsTest, VelasRefusalNamesOperatorAndNode) {
  ArmTool tool = test::valueOrFail(findVela());
  auto u55 = load("ethos-u55-256"), u85 = load("ethos-u85-1024");
  ASSERT_TRUE(u55 && u85);
  std::string path = write(division, "m.tosa"), output = folder.file("m.npz");
  expectError(compileWithVela(tool, *u55, {}, path, output).takeError(), ErrorKind::Unsupported,
              "Vela cannot compile 'm.tosa' for 'ethos-u55-256': Non-passthrough operation (Div) could not run on NPU");
  expectError(compileWithVela(tool, *u55, {}, path, output).takeError(), ErrorKind::Unsupported,
              "nodes with this operator: 'model/div'");
  EXPECT_FALSE(llvm::sys::fs::exists(output));
  EXPECT_FALSE(compileWithVela(tool, *u85, {{"optimise", "Size"}}, path, output).takeError());
  expectError(compileWithVela(tool, *u85, {{"memory_mode", "Imaginary"}}, path, output).takeError(), ErrorKind::Unsupported,
              "Imaginary");
}

} // namespace

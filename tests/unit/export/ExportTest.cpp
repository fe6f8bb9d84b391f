#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/ONNX/CheckExport.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "onnx/checker.h"
#include "onnx/shape_inference/implementation.h"
#include "gtest/gtest.h"

using namespace nibble;
using namespace nibble::onnx_export;

namespace {

/// A residual block between two others: edges are rounded by their producer or by their reader.
constexpr const char *blocksText = R"mlir(
  nn.quantizer @a {storage = ui8, scales = dense<0.5> : tensor<f32>, zero_points = dense<128> : tensor<i32>}
  nn.quantizer @b {storage = ui16, scales = dense<0.001> : tensor<f32>, zero_points = dense<30000> : tensor<i32>}
  func.func @main(%x: tensor<2x4xf32> {nn.name = "x"}) -> (tensor<2x4xf32> {nn.name = "y"}) {
    %0 = nn.block @first(%i = %x) : (tensor<2x4xf32>) -> tensor<2x4xf32> {
      %q = nn.fake_quant %i, @a : (tensor<2x4xf32>) -> tensor<2x4xf32>
      %r = nn.relu %q : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("relu"("t"))
      %s = nn.fake_quant %r, @a : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("relu"("t"))
      nn.yield %s : tensor<2x4xf32>
    }
    %1 = nn.block @second(%j = %0) : (tensor<2x4xf32>) -> tensor<2x4xf32> {
      %n = nn.neg %j : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("neg"("t"))
      nn.yield %n : tensor<2x4xf32>
    }
    %2 = nn.block @third(%k = %1) : (tensor<2x4xf32>) -> tensor<2x4xf32> {
      %q = nn.fake_quant %k, @b : (tensor<2x4xf32>) -> tensor<2x4xf32>
      %e = nn.exp %q : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("exp"("y"))
      nn.yield %e : tensor<2x4xf32>
    }
    return %2 : tensor<2x4xf32>
  })mlir";

class ExportTest : public testing::Test {
protected:
  ExportTest() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>(); }

  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &text) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    return module;
  }
  /// Exports and lets ONNX check the model, types and shapes included.
  onnx::ModelProto exportChecked(const std::string &text, const QDQOptions &options = {},
                                 std::vector<IntegerIO> *io = nullptr) {
    auto module = parse(text);
    llvm::Expected<std::string> bytes = exportQDQToMemory(*module, options, io);
    return check(std::move(bytes));
  }
  onnx::ModelProto check(llvm::Expected<std::string> bytes) {
    onnx::ModelProto model;
    if (!bytes) {
      ADD_FAILURE() << llvm::toString(bytes.takeError());
      return model;
    }
    EXPECT_TRUE(model.ParseFromString(*bytes));
    onnx::checker::check_model(model);
    onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(),
                                       onnx::ShapeInferenceOptions(/*check_type=*/true, /*strict_mode=*/1));
    return model;
  }
  std::string errorOf(const std::string &text, ErrorKind kind, const QDQOptions &options = {}) {
    auto module = parse(text);
    llvm::Expected<std::string> bytes = exportQDQToMemory(*module, options);
    if (bytes)
      return "no error";
    std::string message;
    llvm::handleAllErrors(bytes.takeError(), [&](const NibbleError &error) {
      EXPECT_EQ(error.kind, kind);
      message = error.message;
    });
    return message;
  }
  nn::BlockOp block(mlir::ModuleOp module, llvm::StringRef name) {
    nn::BlockOp found;
    module.walk([&](nn::BlockOp op) {
      if (op.getSymName() == name)
        found = op;
    });
    return found;
  }
  static std::string kinds(const onnx::ModelProto &model) {
    std::string text;
    for (const onnx::NodeProto &node : model.graph().node())
      text += (text.empty() ? "" : " ") + node.op_type();
    return text;
  }

  mlir::MLIRContext context;
};

TEST_F(ExportTest, InlinesBlocksAndKeepsNames) {
  onnx::ModelProto model = exportChecked(blocksText);
  EXPECT_EQ(kinds(model), "QuantizeLinear DequantizeLinear Relu QuantizeLinear DequantizeLinear Neg QuantizeLinear "
                          "DequantizeLinear Exp");
  EXPECT_EQ(model.ir_version(), 10);
  EXPECT_EQ(model.opset_import(0).version(), 21);
  EXPECT_EQ(model.graph().output(0).name(), "y");
  // Two results carry the name "t"; a model must not.
  EXPECT_EQ(model.graph().node(2).output(0), "t");
  EXPECT_EQ(model.graph().node(5).output(0), "t_1");
  // One quantizer is stored once: scale and zero point each of @a and @b.
  EXPECT_EQ(model.graph().initializer_size(), 4);
}

TEST_F(ExportTest, SameBytesEachTimeAndInFiles) {
  auto module = parse(blocksText);
  llvm::Expected<std::string> first = exportQDQToMemory(*module, {}), second = exportQDQToMemory(*module, {});
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*first, *second);
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-export", folder));
  std::string path = (folder + "/m.onnx").str();
  ASSERT_FALSE(static_cast<bool>(exportQDQ(*module, path, {})));
  auto file = llvm::MemoryBuffer::getFile(path);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->getBuffer(), *first);
  llvm::sys::fs::remove_directories(folder);
}

TEST_F(ExportTest, BlocksStandAlone) {
  auto module = parse(blocksText);
  onnx::ModelProto model = check(exportBlockQDQToMemory(block(*module, "second"), *module, {}));
  EXPECT_EQ(kinds(model), "Neg");
  EXPECT_EQ(model.graph().input(0).name(), "t");
  EXPECT_EQ(model.graph().output(0).name(), "t_1");
}

TEST_F(ExportTest, BlocksWithIntegerEdges) {
  auto module = parse(blocksText);
  std::vector<IntegerIO> io;
  QDQOptions options;
  options.integerIO = true;
  // What the first block rounded comes in as integers, and what the third rounds goes out as integers.
  onnx::ModelProto model = check(exportBlockQDQToMemory(block(*module, "second"), *module, options, &io));
  EXPECT_EQ(kinds(model), "DequantizeLinear Neg QuantizeLinear");
  ASSERT_EQ(io.size(), 2u);
  EXPECT_TRUE(io[0].isInput);
  EXPECT_EQ(io[0].storage, ElementType::U8);
  EXPECT_EQ(io[0].scale, 0.5f);
  EXPECT_EQ(io[0].zeroPoint, 128);
  EXPECT_EQ(io[0].shape, (Shape{2, 4}));
  EXPECT_FALSE(io[1].isInput);
  EXPECT_EQ(io[1].storage, ElementType::U16);
  EXPECT_EQ(io[1].name, model.graph().output(0).name());
  EXPECT_EQ(model.graph().output(0).type().tensor_type().elem_type(), onnx::TensorProto::UINT16);
}

TEST_F(ExportTest, ReturnedArgumentsAndConstantsGetIdentities) {
  onnx::ModelProto model = exportChecked(R"mlir(
    func.func @main(%x: tensor<2xf32> {nn.name = "x"})
        -> (tensor<2xf32> {nn.name = "a"}, tensor<2xf32> {nn.name = "b"}, tensor<2xf32> {nn.name = "c"}) {
      %0 = nn.constant(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32> loc("n"("a"))
      %1 = nn.abs %x : (tensor<2xf32>) -> tensor<2xf32> loc("n"("x"))
      return %0, %x, %1 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
    })mlir");
  EXPECT_EQ(kinds(model), "Abs Identity Identity");
  EXPECT_EQ(model.graph().node(0).output(0), "c");
}

TEST_F(ExportTest, EqualConstantsAreStoredOnce) {
  onnx::ModelProto model = exportChecked(R"mlir(
    func.func @main(%x: tensor<2xf32> {nn.name = "x"}) -> (tensor<2xf32> {nn.name = "y"}) {
      %0 = nn.constant(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32> loc("n"("v"))
      %1 = nn.constant(dense<[1.0, 2.0]> : tensor<2xf32>) : tensor<2xf32> loc("n"("w"))
      %unused = nn.constant(dense<[1.0, 3.0]> : tensor<2xf32>) : tensor<2xf32>
      %2 = nn.add %0, %x : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
      %3 = nn.add %1, %2 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
      return %3 : tensor<2xf32>
    })mlir");
  EXPECT_EQ(model.graph().initializer_size(), 1);
}

/// A product with the same integers as `count` weights, weight i read through the quantizer named `quantizers[i]`.
std::string withStoredWeights(llvm::ArrayRef<const char *> quantizers) {
  std::string text = R"mlir(
  nn.quantizer @fine {storage = i8, symmetric, scales = dense<0.5> : tensor<f32>}
  nn.quantizer @coarse {storage = i8, symmetric, scales = dense<2.0> : tensor<f32>}
  func.func @main(%x: tensor<2x2xf32> {nn.name = "x"}) -> (tensor<2x2xf32> {nn.name = "y"}) {
    %v0 = nn.relu %x : (tensor<2x2xf32>) -> tensor<2x2xf32> loc("relu"("v0"))
)mlir";
  for (auto [i, quantizer] : llvm::enumerate(quantizers)) {
    std::string n = std::to_string(i), next = std::to_string(i + 1);
    text += "    %s" + n + " = nn.constant(dense<[[1, 2], [3, 127]]> : tensor<2x2xi8>) : tensor<2x2xi8> loc(\"s" + n +
            "\"(\"s" + n + "\"))\n    %w" + n + " = nn.dequantize_weight %s" + n + ", @" + quantizer +
            " : (tensor<2x2xi8>) -> tensor<2x2xf32> loc(\"w" + n + "\"(\"w" + n + "\"))\n    %v" + next +
            " = nn.matmul %v" + n + ", %w" + n + " : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32> loc(\"m" + n +
            "\"(\"m" + n + "\"))\n";
  }
  return text + "    return %v" + std::to_string(quantizers.size()) + " : tensor<2x2xf32>\n  }";
}

/// Names of the stored tensors that DequantizeLinear nodes read, in order.
std::vector<std::string> storedWeights(const onnx::ModelProto &model) {
  std::vector<std::string> names;
  for (const onnx::NodeProto &node : model.graph().node())
    if (node.op_type() == "DequantizeLinear")
      names.push_back(node.input(0));
  return names;
}

TEST_F(ExportTest, OneStoredWeightIsNotReadThroughTwoEncodings) {
  onnx::ModelProto model = exportChecked(withStoredWeights({"fine", "coarse"}));
  std::vector<std::string> stored = storedWeights(model);
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_NE(stored[0], stored[1]);
  // Equal bytes under both names.
  std::vector<std::string> bytes;
  for (const onnx::TensorProto &tensor : model.graph().initializer())
    if (llvm::is_contained(stored, tensor.name()))
      bytes.push_back(tensor.raw_data());
  EXPECT_EQ(bytes, std::vector<std::string>(2, std::string("\1\2\3\x7f")));
}

TEST_F(ExportTest, OneStoredWeightWithOneEncodingIsShared) {
  std::vector<std::string> stored = storedWeights(exportChecked(withStoredWeights({"fine", "fine"})));
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[0], stored[1]);
}

TEST_F(ExportTest, DynamicShapesStayOpen) {
  onnx::ModelProto model = exportChecked(R"mlir(
    func.func @main(%x: tensor<?x4xf32> {nn.name = "x", nn.symbols = ["batch", ""]}) -> (tensor<?x4xf32> {nn.name = "y"}) {
      %0 = nn.relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
      return %0 : tensor<?x4xf32>
    })mlir");
  const onnx::TensorShapeProto &shape = model.graph().input(0).type().tensor_type().shape();
  EXPECT_FALSE(shape.dim(0).has_dim_value());
  EXPECT_EQ(shape.dim(0).dim_param(), "batch");
  EXPECT_EQ(shape.dim(1).dim_value(), 4);
}

std::string withQuantizer(const std::string &quantizer) {
  return quantizer + R"mlir(
    func.func @main(%x: tensor<2x4xf32> {nn.name = "x"}) -> tensor<2x4xf32> {
      %0 = nn.fake_quant %x, @q : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("node"("t"))
      return %0 : tensor<2x4xf32>
    })mlir";
}

TEST_F(ExportTest, ErrorsNameTheNode) {
  EXPECT_EQ(errorOf("func.func @other() { return }", ErrorKind::BadInput), "the module has no function @main");
  EXPECT_EQ(errorOf(withQuantizer("nn.quantizer @q {storage = ui8}"), ErrorKind::BadInput),
            "cannot export node 'node' (nn.fake_quant): quantizer @q has no range");
  EXPECT_EQ(errorOf(withQuantizer("nn.quantizer @q {storage = i8, axis = 1 : i64, scales = dense<1.0> : tensor<3xf32>}"),
                    ErrorKind::BadInput),
            "cannot export node 'node' (nn.fake_quant): quantizer @q has 3 scales, but its tensor needs 4");
  EXPECT_EQ(errorOf(withQuantizer("nn.quantizer @q {storage = i8, axis = 2 : i64, scales = dense<1.0> : tensor<4xf32>}"),
                    ErrorKind::BadInput),
            "cannot export node 'node' (nn.fake_quant): quantizer @q has an axis outside rank 2");
  EXPECT_EQ(errorOf(withQuantizer("nn.quantizer @q {storage = i8, kind = 2 : i32, scales = dense<1.0> : tensor<f32>}"),
                    ErrorKind::Unsupported),
            "cannot export node 'node' (nn.fake_quant): quantizer @q is a palette, which ONNX has no form for");
}

TEST_F(ExportTest, FailureLeavesNoFile) {
  auto module = parse(R"mlir(
    func.func @main() -> tensor<1024xf32> {
      %0 = nn.constant(#nn.blob<"missing", 0, 4096>) : tensor<1024xf32>
      %1 = nn.abs %0 : (tensor<1024xf32>) -> tensor<1024xf32>
      return %1 : tensor<1024xf32>
    })mlir");
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-export", folder));
  for (uint64_t threshold : {uint64_t(1) << 30, uint64_t(16)}) {
    QDQOptions options;
    options.externalDataThreshold = threshold;
    llvm::Error error = exportQDQ(*module, (folder + "/m.onnx").str(), options);
    EXPECT_TRUE(static_cast<bool>(error));
    llvm::consumeError(std::move(error));
  }
  std::error_code code;
  EXPECT_EQ(llvm::sys::fs::directory_iterator(folder, code), llvm::sys::fs::directory_iterator());
  llvm::sys::fs::remove_directories(folder);
}

/// Weights per channel and in two-level blocks, a bias, a converted width and a value that is read twice.
constexpr const char *quantizedText = R"mlir(
  nn.quantizer @x {storage = ui16, scales = dense<0.001> : tensor<f32>, zero_points = dense<30000> : tensor<i32>}
  nn.quantizer @y {storage = ui8, scales = dense<0.05> : tensor<f32>, zero_points = dense<100> : tensor<i32>}
  nn.quantizer @w {storage = i8, symmetric, axis = 1 : i64, scales = dense<[0.01, 0.02, 0.03, 0.04]> : tensor<4xf32>}
  nn.quantizer @v {storage = i4, symmetric, kind = 1 : i32, axis = 0 : i64, block_size = 2 : i64, channel_axis = 1 : i64,
    scales = dense<[0.01, 0.02]> : tensor<2xf32>, block_multipliers = dense<[1, 16, 3, 7]> : tensor<4xui8>}
  func.func @main(%x: tensor<2x4xf32> {nn.name = "x"})
      -> (tensor<2x4xf32> {nn.name = "y"}, tensor<2x2xf32> {nn.name = "z"}) {
    %q = nn.fake_quant %x, @x : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("x"("x"))
    %ws = nn.constant(dense<[[1, -2, 3, 4], [5, 6, -7, 8], [9, 10, 11, -128], [127, 0, 1, 2]]> : tensor<4x4xi8>)
      : tensor<4x4xi8> loc("w"("w"))
    %w = nn.dequantize_weight %ws, @w : (tensor<4x4xi8>) -> tensor<4x4xf32> loc("w"("w"))
    %m = nn.matmul %q, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc("m"("m"))
    %y = nn.fake_quant %m, @y : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("m"("m"))
    %c = nn.fake_quant %y, @x : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("m"("m"))
    %vs = nn.constant(dense<[[1, -2], [3, 4], [-8, 7], [0, 5]]> : tensor<4x2xi4>) : tensor<4x2xi4> loc("v"("v"))
    %v = nn.dequantize_weight %vs, @v : (tensor<4x2xi4>) -> tensor<4x2xf32> loc("v"("v"))
    %n = nn.matmul %c, %v : (tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<2x2xf32> loc("n"("n"))
    %z = nn.fake_quant %n, @y : (tensor<2x2xf32>) -> tensor<2x2xf32> loc("n"("n"))
    return %y, %z : tensor<2x4xf32>, tensor<2x2xf32>
  })mlir";

/// Writes modules into a folder of its own and reads them back.
class ReadBackTest : public ExportTest {
protected:
  ReadBackTest() { EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-export", folder)); }
  ~ReadBackTest() override { llvm::sys::fs::remove_directories(folder); }
  std::string write(const std::string &text, const QDQOptions &options) {
    auto module = parse(text);
    std::string path = (folder + "/m.onnx").str();
    EXPECT_EQ(llvm::toString(exportQDQ(*module, path, options)), "");
    return path;
  }
  std::string checkMessage(const std::string &text, const std::string &path, const QDQOptions &options) {
    auto module = parse(text);
    llvm::Expected<ExportCheck> check = checkQDQ(*module, path, options);
    if (!check)
      return llvm::toString(check.takeError());
    return std::to_string(check->weights) + " weights, " + std::to_string(check->activations) + " activations";
  }
  static std::string replace(std::string text, const std::string &from, const std::string &to) {
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
  llvm::SmallString<128> folder;
};

TEST_F(ReadBackTest, AcceptsWhatWasWrittenAndRunsTheSame) {
  for (bool integerIO : {false, true}) {
    QDQOptions options;
    options.integerIO = integerIO;
    std::string path = write(quantizedText, options);
    EXPECT_EQ(checkMessage(quantizedText, path, options), "2 weights, 4 activations");
    auto module = parse(quantizedText);
    std::vector<std::vector<Tensor>> samples = {
        {Tensor::fromValues<float>({2, 4}, {0.1f, -3.0f, 2.5f, 7.0f, 0.0f, 1.0f, -0.3f, 40.0f})}};
    llvm::Expected<double> difference = compareExecution(*module, path, samples);
    ASSERT_TRUE(static_cast<bool>(difference)) << llvm::toString(difference.takeError());
    EXPECT_EQ(*difference, 0);
  }
}

TEST_F(ReadBackTest, NoticesEveryDifference) {
  std::string path = write(quantizedText, {});
  struct Case {
    const char *from, *to, *message;
  } cases[] = {
      {"[1, -2, 3, 4]", "[2, -2, 3, 4]", "tensor 'w/dq' has 0.010000 at element 0 where 0.020000 was written"},
      {"0.03, 0.04", "0.03, 0.05", "tensor 'w/dq' has"},
      {"[1, 16, 3, 7]", "[1, 16, 3, 8]", "tensor 'v/dq' has"},
      {"dense<100>", "dense<101>", "has zero point 100 where another was written"},
      {"dense<0.001>", "dense<0.002>", "tensor 'x/dq' has other scales than were written"},
      {"storage = ui8", "storage = ui16", "has no zero points of type uint16"},
      {"nn.name = \"z\"", "nn.name = \"other\"", "tensor 'other' is not the output that was written"},
  };
  for (const Case &test : cases) {
    std::string message = checkMessage(replace(quantizedText, test.from, test.to), path, {});
    EXPECT_NE(message.find(test.message), std::string::npos) << message;
  }
}

TEST_F(ReadBackTest, ExecutionShowsOtherNumbers) {
  std::string path = write(quantizedText, {});
  auto module = parse(replace(quantizedText, "[1, 16, 3, 7]", "[1, 9, 3, 7]"));
  std::vector<std::vector<Tensor>> samples = {
      {Tensor::fromValues<float>({2, 4}, {0.1f, -3.0f, 2.5f, 7.0f, 0.0f, 1.0f, -0.3f, 30.0f})}};
  llvm::Expected<double> difference = compareExecution(*module, path, samples);
  ASSERT_TRUE(static_cast<bool>(difference)) << llvm::toString(difference.takeError());
  EXPECT_GT(*difference, 0.01);
}

} // namespace

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/ONNX/MatMulNBits.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
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

TEST_F(ExportTest, DynamicShapesStayOpen) {
  onnx::ModelProto model = exportChecked(R"mlir(
    func.func @main(%x: tensor<?x4xf32> {nn.name = "x"}) -> (tensor<?x4xf32> {nn.name = "y"}) {
      %0 = nn.relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
      return %0 : tensor<?x4xf32>
    })mlir");
  const onnx::TensorShapeProto &shape = model.graph().input(0).type().tensor_type().shape();
  EXPECT_FALSE(shape.dim(0).has_dim_value());
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

} // namespace

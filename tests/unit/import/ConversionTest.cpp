// What each operator becomes, older forms of operators and ONNX Runtime's own included. Models are written in
// ONNX's textual form.
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Import/ONNX/Import.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/FileSystem.h"
#include <fstream>
#include <gtest/gtest.h>
#include <onnx/defs/parser.h>

using namespace nibble;
using namespace nibble::onnx_import;

namespace {

class Conversion : public ::testing::Test {
protected:
  Conversion() : context(mlir::MLIRContext::Threading::DISABLED) {
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    llvm::SmallString<128> path;
    EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-import", path));
    folder = path.str().str();
  }
  ~Conversion() override { llvm::sys::fs::remove_directories(folder); }

  std::string write(const onnx::ModelProto &model) {
    std::string path = folder + "/model" + std::to_string(count++) + ".onnx";
    std::ofstream(path, std::ios::binary) << model.SerializeAsString();
    return path;
  }

  /// The model `graph` with the given operator set and that of ONNX Runtime.
  onnx::ModelProto parse(const std::string &graph, int opset = 21) {
    std::string text = "<ir_version: 10, opset_import: [\"\" : " + std::to_string(opset) +
                       ", \"com.microsoft\" : 1, \"local\" : 1]>\n" + graph;
    onnx::ModelProto model;
    onnx::Common::Status status = onnx::OnnxParser::Parse(model, text.c_str());
    EXPECT_TRUE(status.IsOK()) << status.ErrorMessage() << "\n" << text;
    return model;
  }

  /// The printed module, or the error.
  std::string import(const onnx::ModelProto &model) {
    auto result = importModel(write(model), context, {});
    if (!result)
      return "error: " + llvm::toString(result.takeError());
    module = std::move(*result);
    std::string text;
    llvm::raw_string_ostream(text) << *module;
    return text;
  }

  /// Expects `parts` in this order.
  void expectIR(const std::string &graph, std::vector<std::string> parts, int opset = 21) {
    std::string text = import(parse(graph, opset));
    size_t at = 0;
    for (const std::string &part : parts) {
      size_t found = text.find(part, at);
      if (found == std::string::npos) {
        ADD_FAILURE() << "wanted '" << part << "' after byte " << at << " of\n" << text;
        return;
      }
      at = found + part.size();
    }
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::string folder;
  unsigned count = 0;
};

TEST_F(Conversion, AxesAttributesBecomeConstants) {
  expectIR("g (float[2,3,4] x) => (float[2,1,4] y) { y = ReduceMean <axes = [1]> (x) }",
           {"nn.constant(dense<1> : tensor<1xi64>)", "nn.reduce_mean", "tensor<2x1x4xf32>"}, 17);
  expectIR("g (float[2,3,4] x) => (float[2,4] y) { y = ReduceSum <axes = [1], keepdims = 0> (x) }",
           {"dense<1>", "nn.reduce_sum", "keepdims = false", "tensor<2x4xf32>"}, 11);
  expectIR("g (float[2,1] x) => (float[2] y) { y = Squeeze <axes = [1]> (x) }",
           {"dense<1>", "nn.squeeze", "tensor<2xf32>"}, 11);
  expectIR("g (float[2] x) => (float[2,1] y) { y = Unsqueeze <axes = [-1]> (x) }",
           {"dense<-1>", "nn.unsqueeze", "tensor<2x1xf32>"}, 12);
  expectIR("g (float[5] x) => (float[3] y, float[2] z) { y, z = Split <split = [3, 2]> (x) }",
           {"dense<[3, 2]>", "nn.split", "(tensor<3xf32>, tensor<2xf32>)"}, 11);
}

TEST_F(Conversion, ReductionOverAllAxesHasNoAxes) {
  expectIR("g (float[2,3] x) => (float[1,1] y) { y = ReduceMax (x) }",
           {"nn.reduce_max %arg0", ": (tensor<2x3xf32>) -> tensor<1x1xf32>"}, 13);
}

TEST_F(Conversion, SplitIntoUnequalParts) {
  expectIR("g (float[5] x) => (float[2] a, float[2] b, float[1] c) { a, b, c = Split <num_outputs = 3> (x) }",
           {"dense<[2, 2, 1]>", "(tensor<2xf32>, tensor<2xf32>, tensor<1xf32>)"});
  expectIR("g (float[6] x) => (float[3] a, float[3] b) { a, b = Split <num_outputs = 2> (x) }",
           {"nn.split %arg0", "(tensor<6xf32>) -> (tensor<3xf32>, tensor<3xf32>)"});
}

TEST_F(Conversion, OldSoftmaxFlattens) {
  expectIR("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 1> (x) }",
           {"dense<[2, 3, 4]>", "nn.flatten", "tensor<2x12xf32>", "nn.softmax", "nn.reshape", "tensor<2x3x4xf32>"}, 11);
  // On the last axis both mean the same.
  expectIR("g (float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 2> (x) }",
           {"@main", "nn.softmax %arg0 {axis = 2 : i64}", "return"}, 11);
  expectIR("g (float[2,3,4] x) => (float[2,3,4] y) { y = LogSoftmax <axis = 1> (x) }",
           {"nn.log_softmax %arg0 {axis = 1 : i64}"}, 13);
}

TEST_F(Conversion, GroupNormalizationOfOpset18IsDeprecated) {
  std::string text = import(parse("g (float[1,4,5] x, float[2] s, float[2] b) => (float[1,4,5] y) "
                                  "{ y = GroupNormalization <num_groups = 2> (x, s, b) }", 18));
  EXPECT_NE(text.find("is deprecated since version 18"), std::string::npos) << text;
  expectIR("g (float[1,4,5] x, float[4] s, float[4] b) => (float[1,4,5] y) "
           "{ y = GroupNormalization <num_groups = 2> (x, s, b) }",
           {"nn.group_normalization %arg0, %arg1, %arg2"});
}

TEST_F(Conversion, InferenceRemovesDropoutAndIdentity) {
  expectIR("g (float[2] x) => (float[2] y) { a = Identity (x) b, m = Dropout (a) y = Neg (b) }",
           {"@main", "nn.neg %arg0", "return"});
}

TEST_F(Conversion, ConstantsOfEveryKind) {
  expectIR("g () => (float[2] y) { y = Constant <value_floats = [1.5, 2.5]> () }",
           {"dense<[1.500000e+00, 2.500000e+00]>"});
  expectIR("g () => (float y) { y = Constant <value_float = 3.5> () }", {"dense<3.500000e+00> : tensor<f32>"});
  expectIR("g () => (int64[2] y) { y = Constant <value_ints = [4, 5]> () }", {"dense<[4, 5]> : tensor<2xi64>"});
  expectIR("g () => (int64 y) { y = Constant <value_int = 6> () }", {"dense<6> : tensor<i64>"});
  expectIR("g () => (bool[2] y) { y = Constant <value = bool[2] {1, 0}> () }", {"dense<[true, false]> : tensor<2xi1>"});
  expectIR("g (int64[2] s) => (int64[N,M] y) { y = ConstantOfShape <value = int64[1] {7}> (s) }",
           {"nn.constant_of_shape %arg0", "dense<7> : tensor<1xi64>", "tensor<?x?xi64>"});
}

TEST_F(Conversion, ShapeOfKnownDimensionsIsConstant) {
  expectIR("g (float[2,3,N] x) => (int64[2] y) { y = Shape <end = 2> (x) }", {"dense<[2, 3]> : tensor<2xi64>"});
  expectIR("g (float[2,3,N] x) => (int64[1] y) { y = Shape <start = -1> (x) }", {"nn.shape %arg0 {start = -1"});
}

TEST_F(Conversion, ResizeWithoutScales) {
  expectIR("g (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[0] none = {}, int64[4] s = {1, 1, 4, 4}> "
           "{ y = Resize <mode = \"nearest\", coordinate_transformation_mode = \"asymmetric\"> (x, none, none, s) }",
           {"nn.resize", "asymmetric", "tensor<1x1x4x4xf32>"}, 11);
}

TEST_F(Conversion, QuantizeWithoutZeroPointGetsItsType) {
  expectIR("g (float[2] x) => (int8[2] y) <float s = {0.5}> { y = QuantizeLinear <output_dtype = 3> (x, s) }",
           {"dense<0> : tensor<i8>", "nn.quantize_linear", "tensor<2xi8>"});
  expectIR("g (float[2] x) => (uint8[2] y) <float s = {0.5}> { y = QuantizeLinear (x, s) }",
           {"nn.quantize_linear %arg0, %0 :", "tensor<2xui8>"});
}

TEST_F(Conversion, SkipNormalizationsDecompose) {
  expectIR("g (float[1,2,4] x, float[1,2,4] s, float[4] g) => (float[1,2,4] y, float[1,2,4] sum) "
           "{ y, m, v, sum = com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 0.5> (x, s, g) }",
           {"%0 = nn.add %arg0, %arg1", "%1 = nn.rms_normalization %0, %arg2 {epsilon = 5.000000e-01",
            "return %1, %0"});
  mlir::Operation *add = &module->lookupSymbol<mlir::func::FuncOp>("main").getBody().front().front();
  EXPECT_EQ(nn::tensorName(add->getResult(0)), "sum");
  expectIR("g (float[1,2,4] x, float[1,2,4] s, float[4] g, float[4] b, float[4] c) => (float[1,2,4] y) "
           "{ y = com.microsoft.SkipLayerNormalization (x, s, g, b, c) }",
           {"%0 = nn.add %arg0, %arg1", "%1 = nn.add %0, %arg4", "nn.layer_normalization %1, %arg2, %arg3"});
}

TEST_F(Conversion, RotaryEmbeddingOperandOrder) {
  expectIR("g (float[1,2,3,8] x, float[9,4] c, float[9,4] s, int64[1,3] p) => (float[1,2,3,8] y) "
           "{ y = RotaryEmbedding <interleaved = 1> (x, c, s, p) }",
           {"nn.rotary_embedding %arg0, %arg3, %arg1, %arg2 {interleaved = true"}, 23);
  expectIR("g (float[1,3,16] x, int64[1,3] p, float[9,4] c, float[9,4] s) => (float[1,3,16] y) "
           "{ y = com.microsoft.RotaryEmbedding <num_heads = 2> (x, p, c, s) }",
           {"nn.rotary_embedding %arg0, %arg1, %arg2, %arg3", "num_heads = 2"});
}

TEST_F(Conversion, GroupQueryAttentionKeepsAbsentOperands) {
  expectIR("g (float[1,3,64] q, float[1,3,32] k, float[1,3,32] v, int32[1] l, int32 t) => (float[1,3,64] y) "
           "{ y = com.microsoft.GroupQueryAttention <num_heads = 8, kv_num_heads = 4> (q, k, v, \"\", \"\", l, t) }",
           {"nn.group_query_attention %arg0, %arg1, %arg2, %arg3, %arg4", "kv_num_heads = 4", "num_heads = 8",
            "array<i32: 1, 1, 1, 0, 0, 1, 1, 0, 0>"});
}

TEST_F(Conversion, GelusOfRuntime) {
  expectIR("g (float[2] x) => (float[2] y) { y = com.microsoft.Gelu (x) }", {"nn.gelu %arg0"});
  expectIR("g (float[2] x, float[2] b) => (float[2] y) { y = com.microsoft.FastGelu (x, b) }",
           {"nn.add %arg0, %arg1", "nn.gelu %0 {approximate = \"tanh\"}"});
  expectIR("g (float[2] x, float[2] b) => (float[2] y) { y = com.microsoft.BiasGelu (x, b) }",
           {"nn.add %arg0, %arg1", "nn.gelu %0"});
  expectIR("g (float[2] x) => (float[2] y) { y = com.microsoft.QuickGelu <alpha = 2.0> (x) }",
           {"nn.quick_gelu %arg0 {alpha = 2.0"});
}

TEST_F(Conversion, FusedMatMulTransposesAndScales) {
  expectIR("g (float[2,3,4] a, float[2,5,4] b) => (float[2,3,5] y) "
           "{ y = com.microsoft.FusedMatMul <transB = 1, alpha = 0.5> (a, b) }",
           {"nn.transpose %arg1 {perm = array<i64: 0, 2, 1>}", "nn.matmul %arg0, %0", "dense<5.000000e-01>", "nn.mul"});
}

/// Weights of 2 rows, 36 columns (one block of 32 and one that is padded), 4 bits, with zero points.
TEST_F(Conversion, MatMulNBitsBecomesDequantizedWeight) {
  constexpr int64_t rows = 2, depth = 36, blocks = 2, blockSize = 32;
  onnx::ModelProto model =
      parse("g (float[1,36] x) => (float[1,2] y) { y = com.microsoft.MatMulNBits "
            "<K = 36, N = 2, bits = 4, block_size = 32> (x, b, s, z) }");
  std::vector<float> scales = {0.5f, 0.25f, 2.0f, 1.0f};
  std::vector<unsigned> zeroPoints = {7, 8, 9, 10};
  auto stored = [](int64_t row, int64_t column) { return static_cast<unsigned>((row * 5 + column * 3) % 16); };
  onnx::TensorProto *b = model.mutable_graph()->add_initializer();
  b->set_name("b");
  b->set_data_type(onnx::TensorProto::UINT8);
  for (int64_t dim : {rows, blocks, blockSize / 2})
    b->add_dims(dim);
  std::string bytes;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < blocks * blockSize; column += 2) {
      auto nibble = [&](int64_t c) { return c < depth ? stored(row, c) : 5u; };
      bytes.push_back(static_cast<char>(nibble(column) | nibble(column + 1) << 4));
    }
  b->set_raw_data(bytes);
  onnx::TensorProto *s = model.mutable_graph()->add_initializer();
  s->set_name("s");
  s->set_data_type(onnx::TensorProto::FLOAT);
  s->add_dims(rows * blocks);
  s->mutable_float_data()->Assign(scales.begin(), scales.end());
  onnx::TensorProto *z = model.mutable_graph()->add_initializer();
  z->set_name("z");
  z->set_data_type(onnx::TensorProto::UINT8);
  z->add_dims(rows);
  z->set_raw_data(std::string({static_cast<char>(zeroPoints[0] | zeroPoints[1] << 4),
                               static_cast<char>(zeroPoints[2] | zeroPoints[3] << 4)}));

  std::string text = import(model);
  nn::DequantizeWeightOp weight;
  module->walk([&](nn::DequantizeWeightOp op) { weight = op; });
  ASSERT_TRUE(weight) << text;
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(nn::lookupQuantizer(weight, weight.getQuantizerAttr()));
  ASSERT_TRUE(bool(encoding)) << llvm::toString(encoding.takeError());
  llvm::Expected<Tensor> integers = nn::readConstant(weight.getInput());
  ASSERT_TRUE(bool(integers)) << llvm::toString(integers.takeError());
  Tensor real = quant::dequantize(*integers, *encoding);
  ASSERT_EQ(real.elementCount(), rows * depth);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < depth; ++column) {
      size_t block = static_cast<size_t>(row * blocks + column / blockSize);
      float wanted = scales[block] * (static_cast<float>(stored(row, column)) - static_cast<float>(zeroPoints[block]));
      EXPECT_EQ(real.data<float>()[row * depth + column], wanted) << row << ", " << column;
    }
  EXPECT_NE(text.find("nn.transpose"), std::string::npos);
  EXPECT_NE(text.find("-> tensor<1x2xf32>"), std::string::npos) << text;
}

TEST_F(Conversion, InitializerThatIsAnInputIsConstant) {
  expectIR("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }",
           {"@main(%arg0: tensor<2xf32> {nn.name = \"x\"})", "nn.add %arg0, %0"});
}

TEST_F(Conversion, FunctionsAreInlined) {
  onnx::ModelProto model = parse("g (float[2] x) => (float[2] y) { y = local.Twice (x) }\n"
                                 "<domain: \"local\", opset_import: [\"\" : 21]> Twice (a) => (b) { b = Add (a, a) }");
  std::string text = import(model);
  EXPECT_NE(text.find("nn.add %arg0, %arg0"), std::string::npos) << text;
}

TEST_F(Conversion, LocationsCarryNames) {
  onnx::ModelProto model = parse("g (float[4] x) => (float[2] a, float[2] b) { a, b = Split <num_outputs = 2> (x) }");
  model.mutable_graph()->mutable_node(0)->set_name("the node");
  import(model);
  nn::SplitOp split;
  module->walk([&](nn::SplitOp op) { split = op; });
  ASSERT_TRUE(split);
  EXPECT_EQ(nn::nodeName(split), "the node");
  EXPECT_EQ(nn::tensorName(split->getResult(0)), "a");
  EXPECT_EQ(nn::tensorName(split->getResult(1)), "b");
}

TEST_F(Conversion, TypedFieldsOfEveryType) {
  struct Case {
    int32_t type;
    std::string elements;
  };
  using T = onnx::TensorProto;
  for (const Case &c : {Case{T::FLOAT, "f32"}, {T::DOUBLE, "f64"}, {T::INT8, "i8"}, {T::UINT8, "ui8"},
                        {T::INT16, "i16"}, {T::UINT16, "ui16"}, {T::INT32, "i32"}, {T::UINT32, "ui32"},
                        {T::INT64, "i64"}, {T::UINT64, "ui64"}, {T::BOOL, "i1"}}) {
    onnx::ModelProto model = parse("g () => (float[2] y) { y = Cast <to = 1> (w) }");
    T *tensor = model.mutable_graph()->add_initializer();
    tensor->set_name("w");
    tensor->set_data_type(c.type);
    tensor->add_dims(2);
    for (int value : {1, 0})
      switch (c.type) {
      case T::FLOAT: tensor->add_float_data(static_cast<float>(value)); break;
      case T::DOUBLE: tensor->add_double_data(value); break;
      case T::INT64: tensor->add_int64_data(value); break;
      case T::UINT32:
      case T::UINT64: tensor->add_uint64_data(static_cast<uint64_t>(value)); break;
      default: tensor->add_int32_data(value);
      }
    std::string text = import(model);
    nn::ConstantOp constant;
    if (module)
      module->walk([&](nn::ConstantOp op) { constant = op; });
    ASSERT_TRUE(constant) << text;
    EXPECT_NE(text.find("tensor<2x" + c.elements + ">"), std::string::npos) << text;
    llvm::Expected<Tensor> values = nn::readConstant(constant.getResult());
    ASSERT_TRUE(bool(values));
    EXPECT_EQ(values->valueAsDouble(0), 1) << c.elements;
    EXPECT_EQ(values->valueAsDouble(1), 0) << c.elements;
  }
}

/// Weights large enough to be cut out of the parsed message, from raw bytes and from packed floats.
TEST_F(Conversion, LargeWeightsAreReadFromTheFile) {
  for (bool isRaw : {false, true}) {
    onnx::ModelProto model = parse("g (float[1000] x) => (float[1000] y) { y = Add (x, w) }");
    onnx::TensorProto *tensor = model.mutable_graph()->add_initializer();
    tensor->set_name("w");
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    tensor->add_dims(1000);
    std::vector<float> wanted;
    for (int i = 0; i < 1000; ++i)
      wanted.push_back(static_cast<float>(i) * 0.5f);
    if (isRaw)
      tensor->set_raw_data(std::string(reinterpret_cast<const char *>(wanted.data()), 4000));
    else
      tensor->mutable_float_data()->Assign(wanted.begin(), wanted.end());
    std::string text = import(model);
    EXPECT_NE(text.find("#nn.blob<"), std::string::npos) << text;
    EXPECT_EQ(text.find("spill:"), std::string::npos) << text;
    nn::ConstantOp constant;
    module->walk([&](nn::ConstantOp op) { constant = op; });
    llvm::Expected<Tensor> values = nn::readConstant(constant.getResult());
    ASSERT_TRUE(bool(values));
    EXPECT_EQ(llvm::ArrayRef<float>(wanted), values->values<float>());
  }
}

TEST_F(Conversion, RefusalsNameNodeReasonAndRemedy) {
  std::string text = import(parse("g (float[1,2,4] x, float[4] s) => (float[1,2,4] y, float[1,2,1] m) "
                                  "{ y, m = LayerNormalization (x, s) }"));
  EXPECT_NE(text.find("node 'y' (LayerNormalization): the outputs of mean or deviation are used"), std::string::npos)
      << text;
  text = import(parse("g (float[2] x) => (float16[2] y) { y = Cast <to = 10> (x) }"));
  EXPECT_NE(text.find("tensor 'y' is of type float16, which is not supported"), std::string::npos) << text;
  EXPECT_NE(text.find("note: export the model in float32"), std::string::npos) << text;
}

TEST(Bindings, AreNumbersByName) {
  auto bindings = parseBindings({"batch=2", "a=b=3", "past=0"});
  ASSERT_TRUE(bool(bindings)) << llvm::toString(bindings.takeError());
  EXPECT_EQ(*bindings, (std::map<std::string, int64_t>{{"batch", 2}, {"a=b", 3}, {"past", 0}}));
  for (const char *wrong : {"batch", "=2", "batch=", "batch=x", "batch=-1", "batch=99999999999999999999"}) {
    auto refused = parseBindings({wrong});
    ASSERT_FALSE(bool(refused)) << wrong;
    EXPECT_EQ(llvm::toString(refused.takeError()),
              std::string("--bind: wanted NAME=VALUE with a value of at least 0, found '") + wrong + "'");
  }
  EXPECT_EQ(llvm::toString(parseBindings({"batch=1", "batch=1"}).takeError()), "--bind gives dimension 'batch' twice");
}

} // namespace

//===- QuantizersTest.cpp - encodings survive the trip through the IR --------===//
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Support/Error.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace nibble;
using namespace nibble::nn;

namespace {

class QuantizersTest : public ::testing::Test {
protected:
  QuantizersTest() { context.loadDialect<NNDialect>(); }
  /// The fault that readEncoding finds in a quantizer with these attributes.
  std::string faultOf(llvm::StringRef attributes) {
    auto parsed = parseSourceString<ModuleOp>(("nn.quantizer @q {" + attributes + "}").str(), &context);
    EXPECT_TRUE(parsed);
    llvm::Expected<quant::Encoding> encoding = readEncoding(*parsed->getOps<QuantizerOp>().begin());
    return encoding ? "none" : llvm::toString(encoding.takeError());
  }
  MLIRContext context;
};

TEST_F(QuantizersTest, ReadsBackWhatWasWritten) {
  quant::Encoding encoding;
  encoding.kind = quant::EncodingKind::LPBQ;
  encoding.storage = ElementType::I4;
  encoding.quantMin = -7;
  encoding.quantMax = 7;
  encoding.axis = 0;
  encoding.blockSize = 32;
  encoding.channelAxis = 1;
  // Enough scales that they go to a blob, few enough multipliers that they stay inline.
  for (int i = 0; i < 300; ++i)
    encoding.scales.push_back(0.5f + static_cast<float>(i));
  encoding.blockMultipliers.assign(600, 7);
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  QuantizerOp quantizer = llvm::cantFail(createQuantizer(*module, "w", encoding));
  EXPECT_TRUE(isa<nibble::nn::BlobAttr>(*quantizer.getScales()));
  EXPECT_TRUE(succeeded(verify(*module)));
  quant::Encoding back = llvm::cantFail(readEncoding(quantizer));
  EXPECT_EQ(back.kind, encoding.kind);
  EXPECT_EQ(back.storage, encoding.storage);
  EXPECT_EQ(back.symmetric, encoding.symmetric);
  EXPECT_EQ(back.quantMin, -7);
  EXPECT_EQ(back.quantMax, 7);
  EXPECT_EQ(back.axis, encoding.axis);
  EXPECT_EQ(back.blockSize, encoding.blockSize);
  EXPECT_EQ(back.channelAxis, encoding.channelAxis);
  EXPECT_EQ(back.scales, encoding.scales);
  EXPECT_EQ(back.zeroPoints, encoding.zeroPoints);
  EXPECT_EQ(back.blockMultipliers, encoding.blockMultipliers);
}

TEST_F(QuantizersTest, TakenNamesGetASuffixAndOrderIsKept) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  quant::Encoding encoding = quant::makeTensorEncoding(ElementType::U8, false, -1, 1);
  EXPECT_EQ(llvm::cantFail(createQuantizer(*module, "a", encoding)).getSymName(), "a");
  EXPECT_EQ(llvm::cantFail(createQuantizer(*module, "a", encoding)).getSymName(), "a_1");
  QuantizerOp last = llvm::cantFail(createQuantizer(*module, "b", encoding));
  EXPECT_EQ(&module->getBody()->back(), last.getOperation());
  EXPECT_EQ(lookupQuantizer(last, FlatSymbolRefAttr::get(&context, "a_1")).getSymName(), "a_1");
  EXPECT_FALSE(lookupQuantizer(last, FlatSymbolRefAttr::get(&context, "c")));
}

TEST_F(QuantizersTest, UncalibratedQuantizersAreRead) {
  EXPECT_EQ(faultOf("storage = i8"), "none");
}

TEST_F(QuantizersTest, FaultsAreNamed) {
  EXPECT_EQ(faultOf("storage = i8, scales = dense<0.0> : tensor<f32>"),
            "quantizer @q has scale 0.000000, but a scale must be a positive normal number");
  EXPECT_EQ(faultOf("storage = i8, scales = dense<1.0> : tensor<f64>"),
            "quantizer @q scales: has values of another type than float32");
  EXPECT_EQ(faultOf("storage = i4, quant_min = -9, scales = dense<1.0> : tensor<f32>"),
            "quantizer @q uses integers -9 to 7, but its storage holds -8 to 7");
  EXPECT_EQ(faultOf("storage = ui8, scales = dense<1.0> : tensor<f32>, zero_points = dense<-1> : tensor<i32>"),
            "quantizer @q has zero point -1, but its storage holds 0 to 255");
  EXPECT_EQ(faultOf("storage = i8, axis = 0, scales = dense<1.0> : tensor<2xf32>, zero_points = dense<1> : tensor<3xi32>"),
            "quantizer @q has 3 zero points for 2 scales");
  EXPECT_EQ(faultOf("storage = i8, scales = dense<1.0> : tensor<2xf32>"),
            "quantizer @q has several scales, but no axis");
  EXPECT_EQ(faultOf("storage = i4, kind = 1 : i32, axis = 0, block_size = 2, channel_axis = 1, "
                    "scales = dense<1.0> : tensor<2xf32>, block_multipliers = dense<17> : tensor<2xui8>"),
            "quantizer @q has block multiplier 17, but multipliers lie in 1 to 16");
  EXPECT_EQ(faultOf("storage = i64"), "quantizer @q has a storage type that holds no quantized values");
}

} // namespace

// What a QDQ model may deviate follows from its operators; nothing is executed.
#include "lib/Export/Vendor/HtpCheck.h"
#include "tests/unit/vendor/QdqModels.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace nibble;

namespace {

TEST(AllowedDeviations, AddUpAlongTheGraph) {
  auto target = llvm::cantFail(Target::load("snapdragon-8gen2"));
  auto allowed = vendor::allowedDeviations(*target, test::makeConvModel("Tanh"));
  ASSERT_TRUE(bool(allowed)) << llvm::toString(allowed.takeError());
  ASSERT_EQ(allowed->size(), 2u);
  EncodingClass weight{ElementType::I8, true, EncodingClass::Granularity::Axis, 0, true};
  ErrorBound conv = target->errorBound("conv", ElementType::U8, &weight), tanh = target->errorBound("tanh", ElementType::U8);
  EXPECT_EQ((*allowed)[0].tensor, "y");
  EXPECT_EQ((*allowed)[0].node, "conv_node");
  EXPECT_EQ((*allowed)[0].allowed.maximum, conv.maximum);
  EXPECT_EQ((*allowed)[1].tensor, "z");
  EXPECT_EQ((*allowed)[1].operatorType, "Tanh");
  EXPECT_EQ((*allowed)[1].allowed.maximum, conv.maximum + tanh.maximum);
  EXPECT_DOUBLE_EQ((*allowed)[1].allowed.rootMeanSquare, std::hypot(conv.rootMeanSquare, tanh.rootMeanSquare));
  auto garbage = vendor::allowedDeviations(*target, "not a model");
  ASSERT_FALSE(bool(garbage));
  EXPECT_EQ(llvm::toString(garbage.takeError()), "the block is not an ONNX model");
}

/// The bound of "z" = `unaryOperator` of a convolution's result, rounded to steps of `scale`.
ErrorBound boundBehind(const Target &target, const std::string &unaryOperator, float scale) {
  auto allowed = vendor::allowedDeviations(target, test::makeConvModel(unaryOperator, /*misreadByHtp=*/false, scale));
  if (!allowed || allowed->size() != 2) {
    ADD_FAILURE() << (allowed ? "wanted two tensors" : llvm::toString(allowed.takeError()));
    return {};
  }
  return allowed->back().allowed;
}

TEST(AllowedDeviations, GrowWithTheSlopeOfASine) {
  auto target = llvm::cantFail(Target::load("snapdragon-8gen2"));
  EncodingClass weight{ElementType::I8, true, EncodingClass::Granularity::Axis, 0, true};
  ErrorBound conv = target->errorBound("conv", ElementType::U8, &weight);
  ASSERT_GT(conv.maximum, 0);
  for (const char *name : {"Sin", "Cos", "Tanh"}) {
    SCOPED_TRACE(name);
    ErrorBound own = target->errorBound(llvm::StringRef(name).lower(), ElementType::U8);
    // A quantum before the sine is 16 behind it; the range of tanh's result does not outgrow its argument's.
    double gain = name == llvm::StringRef("Tanh") ? 1 : 16;
    ErrorBound finer = boundBehind(*target, name, test::convOutputScale / 16);
    EXPECT_DOUBLE_EQ(finer.maximum, conv.maximum * gain + own.maximum);
    EXPECT_DOUBLE_EQ(finer.rootMeanSquare, std::hypot(conv.rootMeanSquare * gain, own.rootMeanSquare));
    // A coarser grid behind it hides no error: what was counted before stays.
    EXPECT_DOUBLE_EQ(boundBehind(*target, name, test::convOutputScale * 16).maximum, conv.maximum + own.maximum);
  }
}

} // namespace

#include "lib/Export/Vendor/HtpCheck.h"
#include "lib/Support/Error.h"
#include "tests/unit/vendor/QdqModels.h"

#include <gtest/gtest.h>

using namespace nibble;
using vendor::BlockToCheck;

namespace {

class HtpCheck : public ::testing::Test {
protected:
  void SetUp() override {
    auto libraries = test::librariesOrNone(/*withQnn=*/true);
    if (!libraries)
      GTEST_SKIP() << "onnxruntime-qnn is not installed";
    settings.libraries = *libraries;
    settings.timeLimitSeconds = 300;
    target = llvm::cantFail(Target::load("snapdragon-8gen2"));
  }
  /// A block with one sample and ONNX Runtime's outputs as reference.
  BlockToCheck makeBlock(const std::string &model) {
    BlockToCheck block{"conv_block", model, {{{"x", test::makeConvInput()}}}, {}, {}};
    auto session = vendor::CpuSession::fromMemory(settings.libraries, model, /*optimize=*/false);
    EXPECT_TRUE(bool(session)) << llvm::toString(session.takeError());
    auto outputs = (*session)->run({test::makeConvInput()});
    EXPECT_TRUE(bool(outputs)) << llvm::toString(outputs.takeError());
    block.expected = {{{(*session)->outputNames().front(), outputs->front()}}};
    return block;
  }
  llvm::Expected<vendor::CheckSummary> check(const BlockToCheck &block, int64_t count = 1, double limit = 300) {
    return vendor::checkBlocks(
        settings, *target, count, [&](int64_t) -> llvm::Expected<BlockToCheck> { return block; }, limit,
        [](const vendor::BlockDeviation &) {});
  }
  vendor::HtpSettings settings;
  std::unique_ptr<Target> target;
};

TEST_F(HtpCheck, AcceptsWhatTheTargetComputesWell) {
  auto summary = check(makeBlock(test::makeConvModel("Tanh")));
  ASSERT_TRUE(bool(summary)) << llvm::toString(summary.takeError());
  EXPECT_EQ(summary->blocksChecked, 1);
  ASSERT_EQ(summary->blocks.size(), 1u);
  ASSERT_EQ(summary->blocks[0].outputs.size(), 1u);
  EXPECT_EQ(summary->blocks[0].outputs[0].tensor, "z");
  EXPECT_LE(summary->blocks[0].outputs[0].maximum, summary->blocks[0].outputs[0].allowed.maximum);
}

TEST_F(HtpCheck, NamesTheFirstTensorThatDeviates) {
  auto summary = check(makeBlock(test::makeConvModel("Tanh", /*misreadByHtp=*/true)));
  ASSERT_FALSE(bool(summary));
  llvm::handleAllErrors(summary.takeError(), [](const NibbleError &error) {
    EXPECT_EQ(error.kind, ErrorKind::Unsupported);
    EXPECT_EQ(error.message.find("target 'snapdragon-8gen2' computes block 'conv_block' differently from the "
                                 "reference: first, tensor 'y' (Conv 'conv_node') is off by "),
              0u)
        << error.message;
    EXPECT_FALSE(error.notes.empty());
  });
}

TEST_F(HtpCheck, NoticesAWrongReference) {
  BlockToCheck block = makeBlock(test::makeConvModel());
  Tensor &expected = block.expected[0][0].tensor;
  expected.mutableData<uint8_t>()[17] = expected.data<uint8_t>()[17] < 128 ? 255 : 0;
  auto deviation = vendor::compareWithReference(settings, *target, block);
  ASSERT_TRUE(bool(deviation)) << llvm::toString(deviation.takeError());
  EXPECT_TRUE(deviation->exceeds());
  auto first = vendor::findFirstDeviation(settings, *target, block);
  ASSERT_TRUE(bool(first)) << llvm::toString(first.takeError());
  // The vendor agrees with ONNX Runtime on every inner tensor: the reference is what is wrong.
  EXPECT_FALSE(first->has_value());
}

TEST_F(HtpCheck, StopsWhenTimeIsOver) {
  auto summary = check(makeBlock(test::makeConvModel()), /*count=*/1000, /*limit=*/0.01);
  ASSERT_TRUE(bool(summary)) << llvm::toString(summary.takeError());
  EXPECT_EQ(summary->blocksChecked, 1);
  EXPECT_EQ(summary->blocksTotal, 1000);
}

} // namespace

#include "lib/Export/Vendor/HtpCheck.h"
#include "lib/Export/Vendor/ContextIo.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "tests/unit/vendor/QdqModels.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
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

TEST(IoJson, RoundTripsAndConverts) {
  IoDescription io;
  io.modelFile = "m_ctx.onnx";
  io.binaryFile = "m_ctx_qnn.bin";
  io.binarySha256 = std::string(64, 'a');
  io.binaryBytes = 53248;
  io.graphName = "graph";
  io.target = "snapdragon-8gen2";
  io.socModel = "43";
  io.inputs = {{"x", ElementType::U8, {2, 3}, 0.02f, 128}, {"ids", ElementType::I64, {1, 4}, std::nullopt, 0}};
  io.outputs = {{"y", ElementType::U16, {2}, 0.001f, 32768}};
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-io", folder));
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(folder); });
  std::string path = (folder + "/io.json").str();
  ASSERT_FALSE(bool(writeFileAtomically(path, formatIo(io))));
  auto again = readIo(path);
  ASSERT_TRUE(bool(again)) << llvm::toString(again.takeError());
  EXPECT_EQ(formatIo(*again), formatIo(io));

  // 0.03 / 0.02 = 1.5 rounds to the even 2; values outside saturate.
  Tensor real = Tensor::fromValues<float>({2, 3}, {0.f, 0.03f, -0.02f, 100.f, -100.f, 1.f});
  auto stored = toStored(io.inputs[0], real);
  ASSERT_TRUE(bool(stored)) << llvm::toString(stored.takeError());
  EXPECT_EQ(stored->values<uint8_t>(), llvm::ArrayRef<uint8_t>({128, 130, 127, 255, 0, 178}));
  Tensor back = toReal(io.inputs[0], *stored);
  EXPECT_FLOAT_EQ(back.data<float>()[3], 127 * 0.02f);
  auto wrong = toStored(io.inputs[1], real);
  EXPECT_EQ(llvm::toString(wrong.takeError()), "input 'ids': wanted int64[1,4], found float32[2,3]");
  auto refuse = [&](llvm::StringRef text) {
    EXPECT_FALSE(bool(writeFileAtomically(path, text)));
    auto read = readIo(path);
    return read ? "" : llvm::toString(read.takeError());
  };
  EXPECT_EQ(refuse("{}"), "'" + path + "': wanted an object with schema 'nibble-io-1'");
  EXPECT_NE(refuse("[").find("is not JSON"), std::string::npos);
  EXPECT_EQ(refuse("{\"schema\": \"nibble-io-1\"}"), "'" + path + "': key 'model' is missing");
}

} // namespace

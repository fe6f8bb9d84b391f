// io.json, and reals as the integers it describes.
#include "lib/Export/Io/IoDescription.h"
#include "tests/unit/TestFiles.h"

using namespace nibble;

namespace {

struct IoDescriptionTest : ::testing::Test {
  IoDescriptionTest() {
    io.modelFile = "m_ctx.onnx";
    io.binaryFile = "m_ctx_qnn.bin";
    io.binarySha256 = std::string(64, 'a');
    io.binaryBytes = 53248;
    io.target = "snapdragon-8gen2";
    io.graphName = "graph";
    io.inputs = {{"x", ElementType::U8, {2, 3}, 0.02f, 128}, {"ids", ElementType::I64, {1, 4}, std::nullopt, 0}};
    io.outputs = {{"y", ElementType::I16, {2}, 0.001f, 0, "TosaOutput_0"}};
  }
  /// What readIo says of a file with this text.
  std::string refuse(llvm::StringRef text) {
    auto read = readIo(folder.write("io.json", text));
    return read ? "" : llvm::toString(read.takeError());
  }
  test::TemporaryFolder folder;
  IoDescription io;
};

TEST_F(IoDescriptionTest, RoundTrips) {
  auto again = readIo(folder.write("io.json", formatIo(io)));
  ASSERT_TRUE(bool(again)) << llvm::toString(again.takeError());
  EXPECT_EQ(formatIo(*again), formatIo(io));
  EXPECT_EQ(again->outputs[0].nameInFile, "TosaOutput_0");
  // What does not apply to the target is not there.
  EXPECT_EQ(formatIo(io).find("vela_version"), std::string::npos);
}

TEST_F(IoDescriptionTest, IsFoundBesideItsModelOnly) {
  folder.write("io.json", formatIo(io));
  EXPECT_TRUE(bool(readIoBeside(folder.file("m_ctx.onnx"))));
  test::expectError(readIoBeside(folder.file("other.onnx")).takeError(), ErrorKind::BadInput,
                    "describes 'm_ctx.onnx', not 'other.onnx'");
}

TEST_F(IoDescriptionTest, NamesWhatIsWrong) {
  std::string path = folder.file("io.json");
  EXPECT_EQ(refuse("{}"), "'" + path + "': wanted an object with schema 'nibble-io-1'");
  EXPECT_NE(refuse("[").find("is not JSON"), std::string::npos);
  EXPECT_EQ(refuse("{\"schema\": \"nibble-io-1\"}"), "'" + path + "': key 'model' is missing");
}

TEST_F(IoDescriptionTest, StoresRealsAndGivesThemBack) {
  // 0.03 / 0.02 = 1.5 rounds to the even 2; values outside saturate.
  Tensor real = Tensor::fromValues<float>({2, 3}, {0.f, 0.03f, -0.02f, 100.f, -100.f, 1.f});
  auto stored = toStored(io.inputs[0], real);
  ASSERT_TRUE(bool(stored)) << llvm::toString(stored.takeError());
  EXPECT_EQ(stored->values<uint8_t>(), llvm::ArrayRef<uint8_t>({128, 130, 127, 255, 0, 178}));
  EXPECT_FLOAT_EQ(toReal(io.inputs[0], *stored).data<float>()[3], 127 * 0.02f);
  EXPECT_EQ(llvm::toString(toStored(io.inputs[1], real).takeError()), "input 'ids': wanted int64[1,4], found float32[2,3]");
}

TEST_F(IoDescriptionTest, TakesNumbersIn32BitsWhereTheyFit) {
  IoTensor ids{"ids", ElementType::I32, {2}, std::nullopt, 0};
  auto stored = toStored(ids, Tensor::fromValues<int64_t>({2}, {-5, 2147483647}));
  ASSERT_TRUE(bool(stored)) << llvm::toString(stored.takeError());
  EXPECT_EQ(stored->values<int32_t>(), llvm::ArrayRef<int32_t>({-5, 2147483647}));
  test::expectError(toStored(ids, Tensor::fromValues<int64_t>({2}, {0, 2147483648})).takeError(), ErrorKind::BadInput,
                    "input 'ids' holds 2147483648, and an integer program takes 32 bits");
}

} // namespace

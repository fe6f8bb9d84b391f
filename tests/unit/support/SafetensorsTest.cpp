// The container and the statistics file built on it: round trips, equal bytes, refusals.
#include "lib/Quant/Statistics.h"
#include "lib/Support/Safetensors.h"
#include "tests/unit/TestFiles.h"

using namespace nibble;
using namespace nibble::test;

namespace {

std::string makeFile(llvm::StringRef header, llvm::StringRef data) {
  std::string result(8, '\0');
  for (int i = 0; i < 8; ++i)
    result[i] = static_cast<char>(header.size() >> 8 * i);
  return result + header.str() + data.str();
}

TEST(Safetensors, KeepsTensorsAndMetadata) {
  Safetensors contents;
  contents.tensors["odd"] = Tensor::fromValues<uint8_t>({3}, {1, 2, 3});
  contents.tensors["wide"] = Tensor::fromValues<double>({2, 1}, {0.5, -1});
  contents.tensors["a"] = Tensor::fromValues<float>({}, {4});
  contents.tensors["empty"] = Tensor::allocate(ElementType::F16, {0, 7});
  contents.metadata["key \"quoted\""] = "value\n";
  TemporaryFolder folder;
  ASSERT_FALSE(llvm::errorToBool(writeSafetensors(folder.file("a.safetensors"), contents)));
  ASSERT_FALSE(llvm::errorToBool(writeSafetensors(folder.file("b.safetensors"), contents)));
  EXPECT_EQ(readText(folder.file("a.safetensors")), readText(folder.file("b.safetensors")));
  Safetensors read = valueOrFail(readSafetensors(folder.file("a.safetensors")));
  EXPECT_EQ(read.metadata, contents.metadata);
  ASSERT_EQ(read.tensors.size(), 4u);
  EXPECT_EQ(read.tensors["wide"].values<double>(), (llvm::ArrayRef<double>{0.5, -1}));
  EXPECT_EQ(read.tensors["odd"].values<uint8_t>(), (llvm::ArrayRef<uint8_t>{1, 2, 3}));
  EXPECT_EQ(read.tensors["a"].values<float>(), (llvm::ArrayRef<float>{4}));
  EXPECT_EQ(read.tensors["empty"].shape(), (llvm::ArrayRef<int64_t>{0, 7}));
}

TEST(Safetensors, ReadsElementsThatAreNotAligned) {
  TemporaryFolder folder;
  std::string path = folder.write(
      "u.safetensors", makeFile(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                R"("f":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                                llvm::StringRef("\x07\0\0\x80\x3f", 5)));
  Safetensors read = valueOrFail(readSafetensors(path));
  EXPECT_EQ(read.tensors["f"].values<float>(), (llvm::ArrayRef<float>{1}));
}

TEST(Safetensors, RefusesDamagedFiles) {
  struct Case {
    const char *label;
    std::string bytes;
    ErrorKind kind;
    const char *fragment;
  };
  auto one = [](llvm::StringRef fields, llvm::StringRef data) {
    return makeFile(("{\"t\":{" + fields + "}}").str(), data);
  };
  const Case cases[] = {
      {"short", "1234567", ErrorKind::BadInput, "too short"},
      {"header of 2^63", std::string(7, '\0') + "\x7f{}", ErrorKind::Limit, "header"},
      {"header past the end", makeFile("{}", "").substr(0, 9), ErrorKind::BadInput, "cut off"},
      {"array", makeFile("[]", ""), ErrorKind::BadInput, "not a safetensors file"},
      {"not JSON", makeFile("{\"a\":", ""), ErrorKind::BadInput, "not JSON"},
      {"nesting", makeFile("{\"a\":" + std::string(100000, '['), ""), ErrorKind::BadInput, "nests"},
      {"no fields", one("", ""), ErrorKind::BadInput, "lacks dtype"},
      {"dtype", one(R"("dtype":"F3","shape":[1],"data_offsets":[0,4])", "1234"), ErrorKind::Unsupported, "F3"},
      {"negative dimension", one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])", "1234"), ErrorKind::BadInput, "dimension"},
      {"product overflow", one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4])", "1234"),
       ErrorKind::BadInput, "contradict"},
      {"size contradicts", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", "1234"), ErrorKind::BadInput, "contradict"},
      {"reversed range", one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", "1234"), ErrorKind::BadInput, "no range"},
      {"past the end", one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", "1234"), ErrorKind::BadInput, "end by 4"},
      {"hole", one(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])", "12"), ErrorKind::BadInput, "begin at 0"},
      {"bytes left over", one(R"("dtype":"U8","shape":[1],"data_offsets":[0,1])", "12"), ErrorKind::BadInput, "no tensor covers"},
      {"metadata", makeFile(R"({"__metadata__":{"a":1}})", ""), ErrorKind::BadInput, "not a string"},
      {"overlap", makeFile(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", "123"),
       ErrorKind::BadInput, "begin at 2"},
  };
  TemporaryFolder folder;
  for (const Case &bad : cases) {
    SCOPED_TRACE(bad.label);
    expectError(readSafetensors(folder.write("bad.safetensors", bad.bytes)).takeError(), bad.kind, bad.fragment);
  }
}

quant::Statistics makeStatistics() {
  quant::Statistics statistics;
  statistics.fingerprint = "f00d";
  quant::TensorStatistics &a = statistics.tensors["encoder/a::b"];
  a.elementCount = 10, a.sampleCount = 2, a.infiniteCount = 1;
  a.min = -1.5f, a.max = 2, a.movingMin = -1, a.movingMax = 1.75f;
  a.sum = 0.1, a.sumOfSquares = 12.3;
  a.histogramMin = -2, a.histogramMax = 2;
  a.histogram = {1, 0, 5, 3};
  a.channelSumOfSquares = {1, 2.5};
  a.channelSumOfMagnitudes = {0.5, 3};
  a.channelMin = {-1.5f, 0.25f};
  a.channelMax = {-0.5f, 2};
  a.channelAxis = 1;
  statistics.tensors["ids"].allIntegers = true;
  return statistics;
}

TEST(Statistics, AreReadAsTheyWereSaved) {
  TemporaryFolder folder;
  quant::Statistics saved = makeStatistics();
  ASSERT_FALSE(llvm::errorToBool(saved.save(folder.file("s.safetensors"))));
  quant::Statistics loaded = valueOrFail(quant::Statistics::load(folder.file("s.safetensors")));
  EXPECT_EQ(loaded.fingerprint, "f00d");
  ASSERT_EQ(loaded.tensors.size(), 2u);
  const quant::TensorStatistics *a = loaded.find("encoder/a::b");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->elementCount, 10);
  EXPECT_EQ(a->infiniteCount, 1);
  EXPECT_EQ(a->movingMax, 1.75f);
  EXPECT_EQ(a->sumOfSquares, 12.3);
  EXPECT_EQ(a->histogram, (std::vector<int64_t>{1, 0, 5, 3}));
  EXPECT_EQ(a->channelSumOfSquares, (std::vector<double>{1, 2.5}));
  EXPECT_EQ(a->channelSumOfMagnitudes, (std::vector<double>{0.5, 3}));
  EXPECT_EQ(a->channelMin, (std::vector<float>{-1.5f, 0.25f}));
  EXPECT_EQ(a->channelMax, (std::vector<float>{-0.5f, 2}));
  EXPECT_EQ(a->channelAxis, 1);
  EXPECT_FALSE(a->allIntegers);
  EXPECT_TRUE(loaded.find("ids")->allIntegers);
  EXPECT_EQ(loaded.find("absent"), nullptr);
  ASSERT_FALSE(llvm::errorToBool(loaded.save(folder.file("again.safetensors"))));
  EXPECT_EQ(readText(folder.file("s.safetensors")), readText(folder.file("again.safetensors")));
}

TEST(Statistics, AnyFlippedBitIsNoticed) {
  TemporaryFolder folder;
  quant::Statistics saved = makeStatistics();
  saved.fingerprint.clear();
  ASSERT_FALSE(llvm::errorToBool(saved.save(folder.file("s.safetensors"))));
  std::string good = readText(folder.file("s.safetensors"));
  size_t dataBegins = 8 + static_cast<size_t>(static_cast<uint8_t>(good[0]) | static_cast<uint8_t>(good[1]) << 8);
  for (size_t byte = dataBegins; byte < good.size(); ++byte) {
    std::string flipped = good;
    flipped[byte] ^= 4;
    expectError(quant::Statistics::load(folder.write("flipped.safetensors", flipped)).takeError(), ErrorKind::BadInput,
                "digest differs");
  }
}

TEST(Statistics, RefusesOtherFilesAndVersions) {
  TemporaryFolder folder;
  Safetensors other;
  ASSERT_FALSE(llvm::errorToBool(writeSafetensors(folder.file("o.safetensors"), other)));
  expectError(quant::Statistics::load(folder.file("o.safetensors")).takeError(), ErrorKind::BadInput, "not a statistics");
  other.metadata = {{"format", "nibble-statistics"}, {"version", "1"}};
  ASSERT_FALSE(llvm::errorToBool(writeSafetensors(folder.file("o.safetensors"), other)));
  expectError(quant::Statistics::load(folder.file("o.safetensors")).takeError(), ErrorKind::BadInput, "expected version '2'");
}

} // namespace

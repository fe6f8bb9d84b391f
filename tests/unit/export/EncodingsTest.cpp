#include "lib/Export/Encodings/Encodings.h"
#include "lib/Support/Error.h"
#include "gtest/gtest.h"

using namespace nibble;
using namespace nibble::encodings;

namespace {

std::string messageOf(llvm::Error error, ErrorKind kind) {
  std::string message = "no error";
  llvm::handleAllErrors(std::move(error), [&](const NibbleError &found) {
    EXPECT_EQ(found.kind, kind);
    message = found.message;
  });
  return message;
}

/// One activation, one weight per channel, one weight in blocks and a tensor that stays float.
std::vector<TensorEncoding> makeEntries() {
  std::vector<TensorEncoding> entries(4);
  entries[0] = {"x", false, {2, 4}, quant::makeTensorEncoding(ElementType::U16, false, -1.0f, 3.0f)};
  quant::Encoding channels;
  channels.axis = 1;
  channels.scales = {0.1f, 0.2f, 0.3f};
  entries[1] = {"w", true, {4, 3}, channels};
  quant::Encoding blocks;
  blocks.storage = ElementType::I4;
  blocks.quantMin = -8, blocks.quantMax = 7;
  blocks.axis = 0, blocks.blockSize = 16;
  blocks.scales = {1, 2, 3, 4, 5, 6};
  entries[2] = {"v", true, {32, 3}, blocks};
  entries[3] = {"float", false, {2, 4}, std::nullopt};
  return entries;
}

std::string write(llvm::ArrayRef<TensorEncoding> entries, Version version) {
  std::string text;
  llvm::raw_string_ostream os(text);
  EXPECT_EQ(messageOf(writeEncodings(entries, version, os), ErrorKind::Unsupported), "no error");
  return text;
}

TEST(Encodings, CheckAcceptsWhatWasWritten) {
  std::vector<TensorEncoding> entries = makeEntries();
  for (Version version : {Version::V100, Version::V200})
    EXPECT_EQ(messageOf(checkEncodings(entries, write(entries, version), "f"), ErrorKind::Internal), "no error");
  entries.erase(entries.begin() + 2);
  EXPECT_EQ(messageOf(checkEncodings(entries, write(entries, Version::V061), "f"), ErrorKind::Internal), "no error");
}

TEST(Encodings, CheckNoticesEveryNumber) {
  std::vector<TensorEncoding> entries = makeEntries();
  for (Version version : {Version::V100, Version::V200}) {
    std::string text = write(entries, version);
    for (size_t entry = 0; entry < 3; ++entry)
      for (size_t i = 0; i < entries[entry].encoding->scales.size(); ++i) {
        std::vector<TensorEncoding> changed = entries;
        changed[entry].encoding->scales[i] *= 1.0000002f;
        EXPECT_NE(messageOf(checkEncodings(changed, text, "f"), ErrorKind::Internal), "no error") << entry << " " << i;
      }
    std::vector<TensorEncoding> changed = entries;
    changed[0].encoding->zeroPoints[0] += 1;
    EXPECT_NE(messageOf(checkEncodings(changed, text, "f"), ErrorKind::Internal), "no error");
    changed = entries;
    changed[0].tensor = "other";
    EXPECT_EQ(messageOf(checkEncodings(changed, text, "f"), ErrorKind::Internal), "f: the entry of tensor 'other' is missing");
    changed = entries;
    changed.pop_back();
    changed.erase(changed.begin());
    EXPECT_EQ(messageOf(checkEncodings(changed, text, "f"), ErrorKind::Internal),
              "f: has entries of tensors that were not written");
  }
}

TEST(Encodings, BlocksAreRefusedIn061) {
  std::string text;
  llvm::raw_string_ostream os(text);
  EXPECT_EQ(messageOf(writeEncodings(makeEntries(), Version::V061, os), ErrorKind::Unsupported),
            "tensor 'v' has an encoding in blocks, which encodings 0.6.1 have no form for");
}

TEST(Encodings, BlocksAlongThreeAxesAreRefusedIn100) {
  TensorEncoding entry = makeEntries()[2];
  entry.shape = {32, 3, 2};
  entry.encoding->scales.resize(12, 1.0f);
  std::string text;
  llvm::raw_string_ostream os(text);
  EXPECT_NE(messageOf(writeEncodings({entry}, Version::V100, os), ErrorKind::Unsupported).find("more than one axis"),
            std::string::npos);
  EXPECT_EQ(messageOf(writeEncodings({entry}, Version::V200, os), ErrorKind::Unsupported), "no error");
}

TEST(Encodings, ReaderNamesTheField) {
  struct Case {
    const char *text, *message;
  } cases[] = {
      {"[]", "f: field 'version' must be a string"},
      {R"({"version": "3.0.0"})", "f: version '3.0.0' is not one of 0.6.1, 1.0.0, 2.0.0"},
      {R"({"version": "2.0.0"})", "f: field 'encodings' must be a list"},
      {R"({"version": "2.0.0", "encodings": [7]})", "f: encodings[0] must be an object"},
      {R"({"version": "2.0.0", "encodings": [{"name": "t", "output_dtype": "int9"}]})",
       "f: encodings[0]: field 'output_dtype' must be an integer type of 4 to 32 bits"},
      {R"({"version": "2.0.0", "encodings": [{"name": "t", "output_dtype": "int8", "y_scale": "1"}]})",
       "f: encodings[0]: field 'y_scale' must be a number or nested lists of numbers"},
      {R"({"version": "2.0.0", "encodings": [{"name": "t", "output_dtype": "int8", "y_scale": 1, "y_zero_point": 1e300}]})",
       "f: encodings[0]: field 'y_zero_point' must hold integers"},
      {R"({"version": "1.0.0", "activation_encodings": [{"name": "t", "dtype": "INT", "bw": 99}]})",
       "f: activation_encodings[0]: field 'bw' must lie in 2 to 32"},
      {R"({"version": "1.0.0", "activation_encodings": [{"name": "t", "dtype": "INT", "bw": 8, "is_sym": true,
          "scale": [1], "offset": [], "enc_type": "PER_TENSOR"}]})",
       "f: activation_encodings[0]: field 'offset' must be as long as field 'scale'"},
      {R"({"version": "0.6.1", "activation_encodings": {"t": []}})",
       "f: activation_encodings['t'] must be a list of at least one object"},
  };
  for (const Case &test : cases) {
    llvm::Expected<EncodingsFile> file = readEncodings(test.text, "f");
    ASSERT_FALSE(static_cast<bool>(file)) << test.text;
    EXPECT_EQ(messageOf(file.takeError(), ErrorKind::BadInput), test.message);
  }
}

} // namespace

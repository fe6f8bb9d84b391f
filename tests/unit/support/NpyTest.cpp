// Reads what numpy wrote, refuses what is damaged, and writes what it can read.
#include "lib/Support/Digest.h"
#include "lib/Support/Npy.h"
#include "tests/unit/TestFiles.h"

using namespace nibble;
using namespace nibble::test;

namespace {

std::string npyData(llvm::StringRef name) { return testData(("npy/" + name).str()); }

/// A .npy of version 1 with this header text and these element bytes.
std::string makeNpy(llvm::StringRef header, llvm::StringRef elements, char major = 1) {
  std::string result = "\x93NUMPY";
  result += major;
  result += '\0';
  result += static_cast<char>(header.size() & 255);
  result += static_cast<char>(header.size() >> 8);
  if (major != 1)
    result += std::string(2, '\0');
  return result + header.str() + elements.str();
}

TEST(Npy, ReadsEveryTypeThatNumpyWrites) {
  Tensor f4 = valueOrFail(readNpy(npyData("c_f4.npy")));
  EXPECT_EQ(f4.shape(), (llvm::ArrayRef<int64_t>{2, 3}));
  EXPECT_EQ(f4.values<float>(), (llvm::ArrayRef<float>{0, 0.25f, 0.5f, 0.75f, 1, 1.25f}));
  Tensor f2 = valueOrFail(readNpy(npyData("c_f2.npy")));
  EXPECT_EQ(f2.elementType(), ElementType::F16);
  EXPECT_EQ(f2.valueAsDouble(2), 65504);
  EXPECT_EQ(valueOrFail(readNpy(npyData("c_f8.npy"))).values<double>(), (llvm::ArrayRef<double>{1e300, -0.25}));
  EXPECT_EQ(valueOrFail(readNpy(npyData("c_i8.npy"))).values<int64_t>(),
            (llvm::ArrayRef<int64_t>{-1, int64_t(1) << 62}));
  EXPECT_EQ(valueOrFail(readNpy(npyData("c_u1.npy"))).values<uint8_t>(), (llvm::ArrayRef<uint8_t>{0, 255}));
  EXPECT_EQ(valueOrFail(readNpy(npyData("c_bool.npy"))).elementType(), ElementType::Bool);
  Tensor scalar = valueOrFail(readNpy(npyData("scalar.npy")));
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.valueAsDouble(0), 7);
  EXPECT_EQ(valueOrFail(readNpy(npyData("empty.npy"))).shape(), (llvm::ArrayRef<int64_t>{1, 4, 0, 32}));
}

TEST(Npy, RefusesWhatItCannotHoldAndSaysWhatToDo) {
  expectError(readNpy(npyData("fortran.npy")).takeError(), ErrorKind::Unsupported, "numpy.ascontiguousarray");
  expectError(readNpy(npyData("big_endian.npy")).takeError(), ErrorKind::Unsupported, "dtype '>f4'");
  expectError(readNpy(npyData("complex.npy")).takeError(), ErrorKind::Unsupported, "dtype '<c8'");
  expectError(readNpy(npyData("records.npy")).takeError(), ErrorKind::Unsupported, "records");
  expectError(readNpy(npyData("object.npy")).takeError(), ErrorKind::Unsupported, "pickles");
  expectError(readNpy(npyData("absent.npy")).takeError(), ErrorKind::IO, "absent.npy");
}

struct BadNpy {
  const char *label;
  std::string bytes;
  ErrorKind kind;
  const char *fragment;
};

TEST(Npy, RefusesDamagedFiles) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  std::string manyOnes;
  for (int i = 0; i < 40; ++i)
    manyOnes += "1,";
  const BadNpy cases[] = {
      {"empty", "", ErrorKind::BadInput, "not a .npy"},
      {"other magic", "NUMPY............", ErrorKind::BadInput, "not a .npy"},
      {"version", makeNpy(good, "12345678", 9), ErrorKind::Unsupported, "version 9"},
      {"cut in header", makeNpy(good, "").substr(0, 30), ErrorKind::BadInput, "cut off"},
      {"cut in length", makeNpy(good, "", 2).substr(0, 11), ErrorKind::BadInput, "cut off"},
      {"too few elements", makeNpy(good, "1234567"), ErrorKind::BadInput, "states 8 bytes of elements but holds 7"},
      {"too many elements", makeNpy(good, "123456789"), ErrorKind::BadInput, "holds 9"},
      {"header of 4 GiB", std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff____", 16), ErrorKind::Limit, "header of"},
      {"product overflow", makeNpy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", ""),
       ErrorKind::BadInput, "too many"},
      {"dimension overflow", makeNpy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }", ""),
       ErrorKind::BadInput, "dimensions from 0"},
      {"negative dimension", makeNpy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", ""),
       ErrorKind::BadInput, "dimensions from 0"},
      {"rank bomb", makeNpy("{'descr': '|u1', 'fortran_order': False, 'shape': (" + manyOnes + "), }", "1"), ErrorKind::Limit,
       "more than 32 dimensions"},
      {"no shape", makeNpy("{'descr': '<f4', 'fortran_order': False, }", ""), ErrorKind::BadInput, "keys"},
      {"key twice", makeNpy("{'descr': '<f4', 'descr': '<f4', 'shape': (), }", ""), ErrorKind::BadInput, "each once"},
      {"code", makeNpy("__import__('os').system('true')", ""), ErrorKind::BadInput, "a dictionary"},
      {"unclosed string", makeNpy("{'descr", ""), ErrorKind::BadInput, "end of a string"},
      {"unclosed tuple", makeNpy("{'shape': (1", ""), ErrorKind::BadInput, "malformed"},
      {"more after the dictionary", makeNpy(good + "x", "12345678"), ErrorKind::BadInput, "nothing after"},
      {"order", makeNpy("{'descr': '<f4', 'fortran_order': 1, 'shape': (2,), }", ""), ErrorKind::BadInput, "True or False"},
  };
  TemporaryFolder folder;
  for (const BadNpy &bad : cases) {
    SCOPED_TRACE(bad.label);
    expectError(readNpy(folder.write("bad.npy", bad.bytes)).takeError(), bad.kind, bad.fragment);
  }
  expectError(readNpy(folder.file(".")).takeError(), ErrorKind::BadInput, "not a regular file");
}

TEST(Npy, EveryPrefixAndEveryFlippedBitIsReadOrRefused) {
  std::string good = readText(npyData("c_f4.npy"));
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_TRUE(llvm::errorToBool(parseNpyHeader({good.data(), length}, length, "prefix").takeError())) << length;
  for (size_t bit = 0; bit < 128 * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] ^= static_cast<char>(1 << bit % 8);
    llvm::Expected<NpyHeader> header = parseNpyHeader({flipped.data(), flipped.size()}, flipped.size(), "flipped");
    if (header)
      EXPECT_EQ(header->dataOffset + byteSize(header->elementType, elementCount(header->shape)), flipped.size());
    else
      llvm::consumeError(header.takeError());
  }
}

TEST(Npy, WritesWhatItReads) {
  TemporaryFolder folder;
  for (llvm::StringRef name : {"c_f4.npy", "c_f2.npy", "c_i8.npy", "c_bool.npy", "scalar.npy", "empty.npy"}) {
    Tensor tensor = valueOrFail(readNpy(npyData(name)));
    ASSERT_FALSE(llvm::errorToBool(writeNpy(folder.file("out.npy"), tensor)));
    EXPECT_EQ(readText(folder.file("out.npy")), readText(npyData(name))) << name.str();
  }
  Tensor packed = Tensor::allocate(ElementType::I4, {2});
  expectError(writeNpy(folder.file("int4.npy"), packed), ErrorKind::Unsupported, "int4");
}

TEST(Npz, ReadsStoredAndDeflatedArrays) {
  for (llvm::StringRef name : {"stored.npz", "deflated.npz"}) {
    std::unique_ptr<NpzReader> reader = valueOrFail(NpzReader::open(npyData(name)));
    ASSERT_TRUE(reader);
    ASSERT_GE(reader->entries().size(), 2u);
    EXPECT_EQ(reader->entries()[0].name, "ids");
    EXPECT_EQ(valueOrFail(reader->read(reader->entries()[0])).values<int64_t>(), (llvm::ArrayRef<int64_t>{1, 2, 3}));
    EXPECT_EQ(reader->entries()[1].header.shape, (Shape{2, 3}));
    EXPECT_EQ(valueOrFail(reader->read(reader->entries()[1])).values<float>(),
              (llvm::ArrayRef<float>{0, 1, 2, 3, 4, 5}));
  }
}

TEST(Npz, WritesEqualBytesForEqualTensors) {
  TemporaryFolder folder;
  std::vector<NamedTensor> tensors{{"b", Tensor::fromValues<float>({2}, {1, 2})},
                                   {"a/with/slash", Tensor::fromValues<int64_t>({1, 1}, {5})}};
  ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("one.npz"), tensors)));
  ASSERT_FALSE(llvm::errorToBool(writeNpz(folder.file("two.npz"), tensors)));
  EXPECT_EQ(readText(folder.file("one.npz")), readText(folder.file("two.npz")));
  std::vector<NamedTensor> read = valueOrFail(readNpz(folder.file("one.npz")));
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].name, "a/with/slash");
  EXPECT_EQ(read[1].tensor.values<float>(), (llvm::ArrayRef<float>{1, 2}));
  expectError(writeNpz(folder.file("no/such/folder.npz"), tensors), ErrorKind::IO, "folder.npz");
}

TEST(Npz, RefusesDamagedArchives) {
  TemporaryFolder folder;
  expectError(readNpz(folder.write("text.npz", "no archive")).takeError(), ErrorKind::BadInput, "not a .npz");
  std::string stored = readText(npyData("stored.npz"));
  // A flipped element is found by the archive's checksum.
  std::string flipped = stored;
  flipped[stored.find(std::string("\0\0\x80\x3f", 4))] ^= 1;
  expectError(readNpz(folder.write("flipped.npz", flipped)).takeError(), ErrorKind::BadInput, "damaged");
  for (size_t length = 0; length < stored.size(); length += 7)
    EXPECT_TRUE(llvm::errorToBool(readNpz(folder.write("cut.npz", stored.substr(0, length))).takeError())) << length;
  // No flipped bit may crash; those in dates and the like change nothing.
  std::string deflated = readText(npyData("deflated.npz"));
  for (size_t byte = 0; byte < deflated.size(); ++byte) {
    std::string changed = deflated;
    changed[byte] = static_cast<char>(changed[byte] ^ 0x81);
    if (llvm::Expected<std::vector<NamedTensor>> read = readNpz(folder.write("changed.npz", changed)); !read)
      llvm::consumeError(read.takeError());
  }
  // A stated size far above what deflate can make is refused before anything is allocated.
  std::string lying = deflated;
  size_t directory = lying.find("PK\x01\x02");
  ASSERT_NE(directory, std::string::npos);
  lying.replace(directory + 24, 4, std::string("\xff\xff\xff\x7f", 4));
  expectError(readNpz(folder.write("lying.npz", lying)).takeError(), ErrorKind::BadInput, "lying.npz");
}

TEST(Digest, MatchesThePublishedVectors) {
  EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256({"abc", 3}), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  TemporaryFolder folder;
  EXPECT_EQ(valueOrFail(sha256File(folder.write("abc", "abc"))), sha256({"abc", 3}));
  expectError(sha256File(folder.file("absent")).takeError(), ErrorKind::IO, "absent");
}

} // namespace

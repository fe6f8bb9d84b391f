#include "lib/Support/Error.h"
#include "tests/unit/vendor/QdqModels.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <cstdlib>
#include <gtest/gtest.h>

using namespace nibble;

namespace {

std::string messageOf(llvm::Error error) { return llvm::toString(std::move(error)); }

/// Sets an environment variable for one test.
class ScopedVariable {
public:
  ScopedVariable(const char *name, const std::string &value) : name(name) {
    if (const char *before = std::getenv(name))
      old = before;
    setenv(name, value.c_str(), 1);
  }
  ~ScopedVariable() { old ? setenv(name, old->c_str(), 1) : unsetenv(name); }

private:
  const char *name;
  std::optional<std::string> old;
};

class CpuSession : public ::testing::Test {
protected:
  void SetUp() override {
    libraries = test::librariesOrNone(/*withQnn=*/false);
    if (!libraries)
      GTEST_SKIP() << "onnxruntime is not installed";
  }
  std::optional<vendor::VendorLibraries> libraries;
};

TEST_F(CpuSession, ComputesAConvolutionExactly) {
  auto session = vendor::CpuSession::fromMemory(*libraries, test::makeConvModel(), /*optimize=*/false);
  ASSERT_TRUE(bool(session)) << messageOf(session.takeError());
  EXPECT_EQ((*session)->inputNames(), llvm::ArrayRef<std::string>{"x"});
  EXPECT_EQ((*session)->outputNames(), llvm::ArrayRef<std::string>{"y"});
  auto outputs = (*session)->run({test::makeConvInput()});
  ASSERT_TRUE(bool(outputs)) << messageOf(outputs.takeError());
  ASSERT_EQ(outputs->size(), 1u);
  EXPECT_EQ(outputs->front().elementType(), ElementType::U8);
  EXPECT_EQ(outputs->front().shape(), llvm::ArrayRef<int64_t>({1, 8, 8, 8}));
  // An input at its zero point leaves the bias: round((i*100-350) * 0.02 * 0.01 / 0.05) + 120.
  Tensor zero = Tensor::allocate(ElementType::U8, {1, 4, 8, 8});
  std::fill_n(zero.mutableData<uint8_t>(), 256, uint8_t(test::convInputZeroPoint));
  outputs = (*session)->run({zero});
  ASSERT_TRUE(bool(outputs)) << messageOf(outputs.takeError());
  for (int channel = 0; channel < 8; ++channel)
    EXPECT_EQ(outputs->front().data<uint8_t>()[channel * 64],
              std::lround((channel * 100 - 350) * 0.02 * 0.01 / 0.05) + 120);
}

TEST_F(CpuSession, RefusesInputsThatDoNotFit) {
  auto session = vendor::CpuSession::fromMemory(*libraries, test::makeConvModel(), /*optimize=*/true);
  ASSERT_TRUE(bool(session)) << messageOf(session.takeError());
  auto wrongType = (*session)->run({Tensor::allocate(ElementType::F32, {1, 4, 8, 8})});
  EXPECT_EQ(messageOf(wrongType.takeError()), "input 'x': wanted uint8[1,4,8,8], found float32[1,4,8,8]");
  auto wrongShape = (*session)->run({Tensor::allocate(ElementType::U8, {1, 4, 8, 9})});
  EXPECT_EQ(messageOf(wrongShape.takeError()), "input 'x': wanted uint8[1,4,8,8], found uint8[1,4,8,9]");
  auto wrongCount = (*session)->run({});
  EXPECT_EQ(messageOf(wrongCount.takeError()), "wanted 1 inputs, found 0");
}

TEST_F(CpuSession, ReportsModelsThatCannotBeLoaded) {
  auto garbage = vendor::CpuSession::fromMemory(*libraries, "not a model", false);
  ASSERT_FALSE(bool(garbage));
  llvm::handleAllErrors(garbage.takeError(), [](const NibbleError &error) {
    EXPECT_EQ(error.kind, ErrorKind::BadInput);
    EXPECT_NE(error.message.find("cannot load the model: onnxruntime says: "), std::string::npos);
  });
  auto missing = vendor::CpuSession::fromFile(*libraries, "/nonexistent/model.onnx", false);
  ASSERT_FALSE(bool(missing));
  EXPECT_NE(messageOf(missing.takeError()).find("'/nonexistent/model.onnx'"), std::string::npos);
}

TEST(VendorLibraries, AFolderThatWasNamedMustHoldTheLibraries) {
  auto fromOption = vendor::findVendorLibraries("/nonexistent");
  ASSERT_FALSE(bool(fromOption));
  EXPECT_EQ(messageOf(fromOption.takeError()).find("--qnn-dir: wanted libQnnHtp.so"), 0u);
  ScopedVariable variable("NIBBLE_QNN_DIR", "/nonexistent");
  auto fromVariable = vendor::findVendorLibraries("");
  ASSERT_FALSE(bool(fromVariable));
  EXPECT_EQ(messageOf(fromVariable.takeError()).find("NIBBLE_QNN_DIR: wanted"), 0u);
}

TEST(VendorLibraries, TheActiveEnvironmentComesBeforeThatOfSetUp) {
  llvm::SmallString<128> root;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-venv", root));
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(root); });
  auto addFile = [&](const std::string &name, llvm::StringRef text = "") {
    std::string path = (root + "/" + name).str();
    llvm::sys::fs::create_directories(llvm::sys::path::parent_path(path));
    std::error_code error;
    llvm::raw_fd_ostream(path, error) << text;
  };
  addFile("a/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.30.0");
  addFile("b/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.9.0");
  addFile("b/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1");
  std::string qnn = "b/lib/python3.11/site-packages/onnxruntime_qnn/";
  addFile(qnn + "libQnnHtp.so");
  addFile(qnn + "libonnxruntime_providers_qnn.so");
  addFile(qnn + "build_and_package_info.py", "package_name = 'onnxruntime-qnn'\n__version__ = '2.7.0'\nqnn_version = '2.51.0'\n");
  ScopedVariable none("NIBBLE_QNN_DIR", "");
  std::string rootText(root);

  // Only the second has QNN, so it is taken.
  ScopedVariable active("VIRTUAL_ENV", rootText + "/a"), setUp("NIBBLE_VENV", rootText + "/b");
  auto found = vendor::findVendorLibraries("");
  ASSERT_TRUE(bool(found)) << messageOf(found.takeError());
  EXPECT_EQ(found->foundBy, "set-up venv");
  EXPECT_EQ(found->onnxRuntimeVersion, "1.31.1");
  EXPECT_EQ(found->qnnVersion, "2.51.0");
  EXPECT_EQ(found->qnnPackageVersion, "2.7.0");
  EXPECT_FALSE(bool(vendor::requireQnn(*found)));

  ScopedVariable activeWithQnn("VIRTUAL_ENV", rootText + "/b");
  found = vendor::findVendorLibraries("");
  ASSERT_TRUE(bool(found)) << messageOf(found.takeError());
  EXPECT_EQ(found->foundBy, "active venv");

  ScopedVariable bothWithout("NIBBLE_VENV", rootText + "/a"), activeWithout("VIRTUAL_ENV", rootText + "/a");
  found = vendor::findVendorLibraries("");
  ASSERT_TRUE(bool(found)) << messageOf(found.takeError());
  EXPECT_NE(messageOf(vendor::requireQnn(*found)).find("pip install onnxruntime-qnn"), std::string::npos);

  // Named folders: the package's own, site-packages, an environment.
  for (std::string named : {rootText + "/b", rootText + "/b/lib/python3.11/site-packages", rootText + "/" + qnn}) {
    found = vendor::findVendorLibraries(named);
    ASSERT_TRUE(bool(found)) << messageOf(found.takeError());
    EXPECT_EQ(found->foundBy, "--qnn-dir");
    EXPECT_EQ(llvm::sys::path::filename(found->onnxRuntimeLibrary), "libonnxruntime.so.1.31.1");
  }
}

} // namespace

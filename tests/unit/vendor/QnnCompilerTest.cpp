#include "lib/Export/Vendor/QnnCompiler.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "tests/unit/vendor/QdqModels.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <cstdlib>
#include <gtest/gtest.h>

using namespace nibble;

namespace {

class QnnCompiler : public ::testing::Test {
protected:
  void SetUp() override {
    std::optional<vendor::VendorLibraries> libraries = test::librariesOrNone(/*withQnn=*/true);
    if (!libraries)
      GTEST_SKIP() << "onnxruntime-qnn is not installed";
    settings.libraries = *libraries;
    settings.timeLimitSeconds = 300;
    auto loaded = Target::load("snapdragon-8gen2");
    ASSERT_TRUE(bool(loaded)) << llvm::toString(loaded.takeError());
    target = std::move(*loaded);
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-htp", folder));
  }
  void TearDown() override {
    if (!folder.empty())
      llvm::sys::fs::remove_directories(folder);
  }
  std::string pathOf(const std::string &name) { return (folder + "/" + name).str(); }
  std::string bytesOf(const std::string &path) {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    EXPECT_TRUE(bool(buffer)) << path;
    return buffer ? (*buffer)->getBuffer().str() : "";
  }
  std::vector<std::string> filesInFolder() {
    std::vector<std::string> names;
    std::error_code error;
    for (llvm::sys::fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      names.push_back(llvm::sys::path::filename(it->path()).str());
    std::sort(names.begin(), names.end());
    return names;
  }

  vendor::HtpSettings settings;
  std::unique_ptr<Target> target;
  llvm::SmallString<128> folder;
};

TEST_F(QnnCompiler, TakesPathsRelativeToTheWorkingFolder) {
  llvm::SmallString<128> before;
  ASSERT_FALSE(llvm::sys::fs::current_path(before));
  ASSERT_FALSE(llvm::sys::fs::create_directory(pathOf("out")));
  ASSERT_FALSE(llvm::sys::fs::set_current_path(folder));
  auto context = vendor::compileContext(settings, *target, test::makeConvModel(), "out/conv_ctx.onnx");
  ASSERT_FALSE(llvm::sys::fs::set_current_path(before));
  ASSERT_TRUE(bool(context)) << llvm::toString(context.takeError());
  EXPECT_TRUE(llvm::sys::fs::exists(pathOf("out/conv_ctx.onnx")));
}

TEST_F(QnnCompiler, CompilesAndEmulatesAConvolution) {
  std::string model = test::makeConvModel();
  auto context = vendor::compileContext(settings, *target, model, pathOf("conv_ctx.onnx"));
  ASSERT_TRUE(bool(context)) << llvm::toString(context.takeError());
  EXPECT_TRUE(context->acceptance.isComplete());
  EXPECT_GT(context->acceptance.vendorOperators, 0);
  EXPECT_FALSE(context->graphName.empty());
  EXPECT_NE(context->compilerVersion.find(settings.libraries.qnnVersion), std::string::npos);
  EXPECT_EQ(filesInFolder(), (std::vector<std::string>{"conv_ctx.onnx", "conv_ctx_qnn.bin"}));
  EXPECT_EQ(bytesOf(context->binaryPath).size(), context->binaryBytes);

  std::vector<std::vector<NamedTensor>> samples = {{{"x", test::makeConvInput()}}, {{"x", test::makeConvInput()}}};
  int seen = 0;
  settings.onSample = [&] { ++seen; };
  auto emulated = vendor::emulateContext(settings, *target, context->contextModelPath, context->binarySha256, samples);
  ASSERT_TRUE(bool(emulated)) << llvm::toString(emulated.takeError());
  EXPECT_EQ(seen, 2);
  ASSERT_EQ(emulated->outputs.size(), 2u);
  ASSERT_EQ(emulated->outputs[0].size(), 1u);
  EXPECT_EQ(emulated->outputs[0][0].name, "y");

  auto session = vendor::CpuSession::fromMemory(settings.libraries, model, /*optimize=*/false);
  ASSERT_TRUE(bool(session)) << llvm::toString(session.takeError());
  auto reference = (*session)->run({test::makeConvInput()});
  ASSERT_TRUE(bool(reference)) << llvm::toString(reference.takeError());
  double bound = target->errorBound("conv", ElementType::U8).maximum;
  for (const auto &outputs : emulated->outputs)
    for (int64_t i = 0; i < 512; ++i)
      ASSERT_LE(std::abs(outputs[0].tensor.valueAsDouble(i) - reference->front().valueAsDouble(i)), bound) << i;

  auto direct = vendor::emulateModel(settings, *target, model, llvm::ArrayRef(samples).take_front(1));
  ASSERT_TRUE(bool(direct)) << llvm::toString(direct.takeError());
  EXPECT_EQ(direct->outputs[0][0].tensor.values<uint8_t>(), emulated->outputs[0][0].tensor.values<uint8_t>());
}

TEST_F(QnnCompiler, BytesDependOnTheModelAlone) {
  std::string model = test::makeConvModel(), other = pathOf("other");
  ASSERT_FALSE(llvm::sys::fs::create_directory(other));
  auto first = vendor::compileContext(settings, *target, model, pathOf("m_ctx.onnx"));
  auto second = vendor::compileContext(settings, *target, model, other + "/m_ctx.onnx");
  ASSERT_TRUE(bool(first)) << llvm::toString(first.takeError());
  ASSERT_TRUE(bool(second)) << llvm::toString(second.takeError());
  EXPECT_EQ(first->binarySha256, second->binarySha256);
  EXPECT_EQ(bytesOf(first->contextModelPath), bytesOf(second->contextModelPath));
  EXPECT_EQ(bytesOf(first->binaryPath), bytesOf(second->binaryPath));
}

TEST_F(QnnCompiler, ADamagedBinaryIsRefused) {
  auto context = vendor::compileContext(settings, *target, test::makeConvModel(), pathOf("m_ctx.onnx"));
  ASSERT_TRUE(bool(context)) << llvm::toString(context.takeError());
  std::string bytes = bytesOf(context->binaryPath);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_FALSE(bool(writeFileAtomically(context->binaryPath, bytes)));
  auto emulated = vendor::emulateContext(settings, *target, context->contextModelPath, context->binarySha256,
                                         {{{"x", test::makeConvInput()}}});
  ASSERT_FALSE(bool(emulated));
  llvm::handleAllErrors(emulated.takeError(), [](const NibbleError &error) {
    EXPECT_EQ(error.kind, ErrorKind::BadInput);
    EXPECT_NE(error.message.find("is damaged or not the one that was compiled"), std::string::npos);
  });
}

TEST_F(QnnCompiler, RefusedNodesAreNamedAndNothingIsLeftBehind) {
  auto context = vendor::compileContext(settings, *target, test::makeConvModel("Erf"), pathOf("m_ctx.onnx"));
  ASSERT_FALSE(bool(context));
  llvm::handleAllErrors(context.takeError(), [](const NibbleError &error) {
    EXPECT_EQ(error.kind, ErrorKind::Unsupported);
    EXPECT_EQ(error.message.find("target 'snapdragon-8gen2' refuses "), 0u);
    ASSERT_EQ(error.notes.size(), 2u);
    EXPECT_EQ(error.notes[0].find("node 'Erf_node' (Erf): Operators of type `Erf` are not supported"), 0u);
    EXPECT_EQ(error.notes[1], "legalization 'erf-gelu-to-gelu' rewrites Erf for target 'snapdragon-8gen2'");
  });
  EXPECT_TRUE(filesInFolder().empty());
}

TEST_F(QnnCompiler, EstimatesTimeAndTraffic) {
  auto estimate = vendor::estimate(settings, *target, test::makeConvModel());
  ASSERT_TRUE(bool(estimate)) << llvm::toString(estimate.takeError());
  EXPECT_GT(estimate->cycles, 0u);
  EXPECT_LE(estimate->microsecondsLower, estimate->microsecondsUpper);
  EXPECT_GE(estimate->outputBytes, 512u);
  EXPECT_EQ(estimate->simulatedPart.find("QCS9100"), 0u);
}

TEST_F(QnnCompiler, RefusesOptionsItDoesNotKnow) {
  settings.vendorOptions = {{"vtcm_mb", "seven"}};
  auto context = vendor::compileContext(settings, *target, test::makeConvModel(), pathOf("m_ctx.onnx"));
  EXPECT_FALSE(bool(context));
  EXPECT_EQ(llvm::toString(context.takeError()), "vendor option 'vtcm_mb': wanted one of 1, 2, 4, 8, found 'seven'");
}

} // namespace

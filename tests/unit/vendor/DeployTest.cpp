// The example of docs/deploy-snapdragon.md, as a user would start it, gives what `nibble run` computes.
#include "lib/Export/Vendor/ContextIo.h"
#include "tests/unit/vendor/QdqModels.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"
#include <cstring>
#include <gtest/gtest.h>

using namespace nibble;

namespace {

void writeFloats(const std::string &path, const Tensor &tensor) {
  std::error_code error;
  llvm::raw_fd_ostream os(path, error);
  ASSERT_FALSE(error);
  os.write(static_cast<const char *>(tensor.raw()), static_cast<size_t>(tensor.byteSize()));
}

TEST(DeployExample, QuantizesRunsAndDequantizes) {
  auto libraries = test::librariesOrNone(/*withQnn=*/true);
  if (!libraries)
    GTEST_SKIP() << "onnxruntime-qnn is not installed";
  auto target = Target::load("snapdragon-8gen2");
  ASSERT_TRUE(bool(target)) << llvm::toString(target.takeError());
  llvm::SmallString<128> root;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-deploy", root));
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(root); });
  std::string folder(root), modelPath = folder + "/m_ctx.onnx";
  vendor::HtpSettings settings;
  settings.libraries = *libraries;
  auto context = vendor::compileContext(settings, **target, test::makeConvModel(), modelPath);
  ASSERT_TRUE(bool(context)) << llvm::toString(context.takeError());
  std::vector<onnx_export::IntegerIO> integers = {
      {"x", true, ElementType::U8, test::convInputScale, test::convInputZeroPoint, {1, 4, 8, 8}},
      {"y", false, ElementType::U8, test::convOutputScale, test::convOutputZeroPoint, {1, 8, 8, 8}}};
  auto io = vendor::describeContext(*context, **target, *libraries, integers);
  ASSERT_TRUE(bool(io)) << llvm::toString(io.takeError());

  Tensor real = Tensor::allocate(ElementType::F32, {1, 4, 8, 8});
  for (int i = 0; i < 256; ++i)
    real.mutableData<float>()[i] = static_cast<float>(i % 37) * 0.11f - 2.0f;
  writeFloats(folder + "/x.f32", real);
  std::vector<std::string> arguments = {NIBBLE_TEST_DEPLOY, libraries->onnxRuntimeLibrary, libraries->qnnFolder, modelPath};
  auto add = [&](const char *flag, const IoTensor &tensor, const char *shape, const std::string &file) {
    std::string scale = std::to_string(*tensor.scale);
    for (const std::string &word : {std::string(flag), tensor.name, name(tensor.type).str(), std::string(shape), scale,
                                    std::to_string(tensor.zeroPoint), file})
      arguments.push_back(word);
  };
  add("--input", io->inputs[0], "1,4,8,8", folder + "/x.f32");
  add("--output", io->outputs[0], "1,8,8,8", folder + "/y.f32");
  std::vector<llvm::StringRef> words(arguments.begin(), arguments.end());
  std::string log = folder + "/log";
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, llvm::StringRef(log), llvm::StringRef(log)};
  int code = llvm::sys::ExecuteAndWait(NIBBLE_TEST_DEPLOY, words, std::nullopt, redirects);
  ASSERT_EQ(code, 0) << (*llvm::MemoryBuffer::getFile(log))->getBuffer().str();

  auto stored = toStored(io->inputs[0], real);
  ASSERT_TRUE(bool(stored)) << llvm::toString(stored.takeError());
  auto emulated = vendor::emulateContext(settings, **target, modelPath, io->binarySha256, {{{"x", *stored}}});
  ASSERT_TRUE(bool(emulated)) << llvm::toString(emulated.takeError());
  Tensor expected = toReal(io->outputs[0], emulated->outputs[0][0].tensor);
  auto written = llvm::MemoryBuffer::getFile(folder + "/y.f32");
  ASSERT_TRUE(bool(written));
  ASSERT_EQ((*written)->getBufferSize(), static_cast<size_t>(expected.byteSize()));
  std::vector<float> found(512);
  std::memcpy(found.data(), (*written)->getBufferStart(), 2048);
  for (size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected.data<float>()[i], 1e-5f) << i;
  EXPECT_NE(*std::max_element(found.begin(), found.end()), *std::min_element(found.begin(), found.end()));
}

} // namespace

#include "lib/Export/Vendor/VendorWorker.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include <chrono>
#include <gtest/gtest.h>

using namespace nibble;

namespace {

NibbleError errorOf(const char *library, double timeLimit) {
  llvm::SmallString<128> folder;
  EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-worker", folder));
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(folder); });
  vendor::WorkerRequest request;
  request.onnxRuntimeLibrary = library;
  auto result = vendor::runWorker(request, folder, timeLimit);
  EXPECT_FALSE(bool(result));
  NibbleError copy(ErrorKind::Internal, "", {});
  llvm::handleAllErrors(result.takeError(), [&](const NibbleError &error) { copy = error; });
  return copy;
}

TEST(VendorWorker, SurvivesACrash) {
  NibbleError error = errorOf(NIBBLE_TEST_CRASHING, 60);
  EXPECT_EQ(error.kind, ErrorKind::Unsupported);
  EXPECT_EQ(error.message, "the vendor's library crashed: Aborted");
  EXPECT_EQ(error.notes, std::vector<std::string>{"about to fail"});
}

TEST(VendorWorker, StopsWhatHangs) {
  auto start = std::chrono::steady_clock::now();
  NibbleError error = errorOf(NIBBLE_TEST_HANGING, 1);
  EXPECT_EQ(error.kind, ErrorKind::Limit);
  EXPECT_EQ(error.message, "the vendor's library took longer than 1 s and was stopped");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(VendorWorker, PassesErrorsOn) {
  NibbleError error = errorOf("/nonexistent.so", 60);
  EXPECT_EQ(error.kind, ErrorKind::Unsupported);
  EXPECT_EQ(error.message.find("cannot load ONNX Runtime: "), 0u);
}

} // namespace

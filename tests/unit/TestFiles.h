//===- TestFiles.h - files and errors in unit tests ------------------------===//
#ifndef NIBBLE_TESTS_UNIT_TESTFILES_H
#define NIBBLE_TESTS_UNIT_TESTFILES_H

#include "lib/Support/Error.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>
#include <string>

namespace nibble::test {

/// A path below the project's testdata folder.
inline std::string testData(llvm::StringRef name) { return std::string(NIBBLE_SOURCE_DIR "/testdata/") + name.str(); }

/// A folder that is removed, with what is in it, when the test ends.
class TemporaryFolder {
public:
  TemporaryFolder() { EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-test", path)); }
  ~TemporaryFolder() { llvm::sys::fs::remove_directories(path); }
  std::string file(llvm::StringRef name) const {
    llvm::SmallString<128> result(path);
    llvm::sys::path::append(result, name);
    return std::string(result);
  }
  std::string write(llvm::StringRef name, llvm::StringRef contents) const {
    std::string result = file(name);
    llvm::sys::fs::create_directories(llvm::sys::path::parent_path(result));
    std::error_code error;
    llvm::raw_fd_ostream os(result, error);
    os << contents;
    return result;
  }

private:
  llvm::SmallString<128> path;
};

inline std::string readText(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  EXPECT_TRUE(static_cast<bool>(buffer)) << path.str();
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

/// Expects an error of `kind` whose text, notes included, contains `fragment`.
inline void expectError(llvm::Error error, ErrorKind kind, llvm::StringRef fragment) {
  std::string text;
  llvm::raw_string_ostream os(text);
  int code = reportError(std::move(error), os);
  EXPECT_EQ(code, static_cast<int>(kind)) << text;
  EXPECT_NE(text.find(fragment.str()), std::string::npos) << "wanted: " << fragment.str() << "\nfound: " << text;
}

/// The value, or a failure of the test and an empty value.
template <typename T> T valueOrFail(llvm::Expected<T> value) {
  if (value)
    return std::move(*value);
  ADD_FAILURE() << llvm::toString(value.takeError());
  return T();
}

} // namespace nibble::test

#endif

//===- MappedFile.h - the one opener for untrusted files -------------------===//
//
// No other code opens a file that a model names. A file is opened beneath a
// folder, without following symbolic links out of it, and must be a regular
// file; its size is taken from the opened descriptor, so a check cannot be
// raced.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_SUPPORT_MAPPEDFILE_H
#define NIBBLE_SUPPORT_MAPPEDFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace nibble {

/// A read-only memory mapping of a whole regular file.
class MappedFile {
public:
  /// Maps a file that the user named. Symbolic links are followed. Errors: IO (cannot be opened or
  /// mapped), BadInput (not a regular file).
  static llvm::Expected<std::shared_ptr<const MappedFile>> open(llvm::StringRef path);

  /// Maps `relativePath`, a name found inside an untrusted file, beneath `folder`. Absolute paths,
  /// `..`, symbolic links anywhere in the path, hard links and files that are not regular are BadInput.
  static llvm::Expected<std::shared_ptr<const MappedFile>> openBeneath(llvm::StringRef folder,
                                                                       llvm::StringRef relativePath);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  llvm::ArrayRef<char> bytes() const { return {data, size}; }
  llvm::StringRef path() const { return name; }

private:
  MappedFile() = default;
  static llvm::Expected<std::shared_ptr<const MappedFile>> mapDescriptor(int descriptor, llvm::StringRef path,
                                                                         bool trusted);
  std::string name;
  const char *data = nullptr;
  size_t size = 0;
};

} // namespace nibble

#endif

//===- AtomicFile.h - outputs that are whole or absent ---------------------===//
#ifndef NIBBLE_SUPPORT_ATOMICFILE_H
#define NIBBLE_SUPPORT_ATOMICFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <string>

namespace nibble {

/// A file written under a temporary name in its own folder. `commit` checks for write errors,
/// syncs and renames it over the final name; without `commit` the destructor removes it.
class AtomicFile {
public:
  /// Errors: IO.
  static llvm::Expected<std::unique_ptr<AtomicFile>> create(llvm::StringRef finalPath);
  ~AtomicFile();
  AtomicFile(const AtomicFile &) = delete;
  AtomicFile &operator=(const AtomicFile &) = delete;

  llvm::raw_fd_ostream &stream() { return *os; }
  /// The temporary name, for a library that insists on writing by path.
  llvm::StringRef temporaryPath() const { return temporary; }
  /// Makes what was written so far readable under the temporary name. Errors: IO.
  llvm::Error flush();
  llvm::Error commit();

private:
  AtomicFile() = default;
  llvm::Error checkStream();
  std::string finalPath, temporary;
  std::unique_ptr<llvm::raw_fd_ostream> os;
};

/// Writes `contents` to `path` atomically.
llvm::Error writeFileAtomically(llvm::StringRef path, llvm::StringRef contents);

} // namespace nibble

#endif

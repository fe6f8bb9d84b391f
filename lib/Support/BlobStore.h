//===- BlobStore.h - where weight bytes live -------------------------------===//
//
// IR names weights by (file, offset, size); this store turns such a reference
// into bytes. A file is a mapped input file, registered under the name that the
// IR uses, or a spill that the store made for bytes a pass produced.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_SUPPORT_BLOBSTORE_H
#define NIBBLE_SUPPORT_BLOBSTORE_H

#include "lib/Support/MappedFile.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <mutex>

namespace nibble {

/// A reference to bytes: `size` bytes at `offset` of the file registered as `file`.
struct BlobReference {
  std::string file;
  uint64_t offset = 0;
  uint64_t size = 0;
};

/// Resolved bytes and what keeps them alive.
struct Blob {
  llvm::ArrayRef<char> bytes;
  std::shared_ptr<const void> owner;
};

/// Thread safe.
class BlobStore {
public:
  /// Makes `file` resolvable under `name`. Registering the same name twice keeps the first.
  void addFile(llvm::StringRef name, std::shared_ptr<const MappedFile> file);

  /// Resolves a reference. Errors: BadInput when the name is not registered or the range lies
  /// outside the file.
  llvm::Expected<Blob> resolve(const BlobReference &reference) const;

  /// Stores `size` new bytes, filled by `write(destination)`, and returns their reference. Bytes go
  /// to an unlinked file in the system's temporary folder, so the kernel may write them out under
  /// memory pressure. The name is "spill:N" with N counted from 0. Errors: IO.
  llvm::Expected<BlobReference> add(uint64_t size, std::function<void(char *destination)> write);

private:
  struct Source {
    llvm::ArrayRef<char> bytes;
    std::shared_ptr<const void> owner;
  };
  mutable std::mutex mutex;
  llvm::StringMap<Source> sources;
  uint64_t spillCount = 0;
};

} // namespace nibble

#endif

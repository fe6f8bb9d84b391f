#include "lib/Support/BlobStore.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace nibble {

void BlobStore::addFile(llvm::StringRef name, std::shared_ptr<const MappedFile> file) {
  std::lock_guard<std::mutex> lock(mutex);
  llvm::ArrayRef<char> bytes = file->bytes();
  sources.try_emplace(name, Source{bytes, std::move(file)});
}

llvm::Expected<Blob> BlobStore::resolve(const BlobReference &reference) const {
  std::lock_guard<std::mutex> lock(mutex);
  auto it = sources.find(reference.file);
  if (it == sources.end())
    return makeError(ErrorKind::BadInput, "weights refer to '" + reference.file + "', which is not open");
  llvm::ArrayRef<char> bytes = it->second.bytes;
  if (reference.offset > bytes.size() || reference.size > bytes.size() - reference.offset)
    return makeError(ErrorKind::BadInput, "weights at offset " + llvm::Twine(reference.offset) + " with " +
                                              llvm::Twine(reference.size) + " bytes lie outside '" + reference.file +
                                              "', which has " + llvm::Twine(bytes.size()) + " bytes");
  return Blob{bytes.slice(reference.offset, reference.size), it->second.owner};
}

/// Maps `size` bytes of a temporary file that has no name any more.
static llvm::Expected<std::shared_ptr<char>> mapSpill(uint64_t size) {
  llvm::SmallString<128> folder;
  llvm::sys::path::system_temp_directory(/*ErasedOnReboot=*/true, folder);
  std::string path = (folder + "/nibble-spill-XXXXXX").str();
  int descriptor = ::mkostemp(path.data(), O_CLOEXEC);
  if (descriptor < 0)
    return makeError(ErrorKind::IO, "cannot create a spill file in '" + folder.str() + "': " + std::strerror(errno));
  ::unlink(path.c_str());
  // Space is reserved now: running out of disk later would be a signal and not an error.
  int reserveError = ::posix_fallocate(descriptor, 0, static_cast<off_t>(size));
  void *mapping = reserveError ? MAP_FAILED
                               : ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  int mapError = reserveError ? reserveError : errno;
  ::close(descriptor);
  if (mapping == MAP_FAILED)
    return makeError(ErrorKind::IO, "cannot reserve " + llvm::Twine(size) + " bytes of spill: " + std::strerror(mapError));
  return std::shared_ptr<char>(static_cast<char *>(mapping), [size](char *p) { ::munmap(p, size); });
}

llvm::Expected<BlobReference> BlobStore::add(uint64_t size, std::function<void(char *)> write) {
  std::shared_ptr<char> memory;
  if (size > 0) {
    llvm::Expected<std::shared_ptr<char>> spill = mapSpill(size);
    if (!spill)
      return spill.takeError();
    memory = std::move(*spill);
    write(memory.get());
  }
  std::lock_guard<std::mutex> lock(mutex);
  BlobReference reference{"spill:" + std::to_string(spillCount++), 0, size};
  sources.try_emplace(reference.file, Source{{memory.get(), static_cast<size_t>(size)}, memory});
  return reference;
}

} // namespace nibble

#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace nibble {

llvm::Expected<std::unique_ptr<AtomicFile>> AtomicFile::create(llvm::StringRef finalPath) {
  std::unique_ptr<AtomicFile> file(new AtomicFile);
  file->finalPath = finalPath.str();
  llvm::SmallString<128> temporary;
  int descriptor = -1;
  if (std::error_code error = llvm::sys::fs::createUniqueFile(finalPath + ".%%%%%%%%.partial", descriptor, temporary))
    return makeError(ErrorKind::IO, "cannot create '" + finalPath + "': " + error.message());
  file->temporary = std::string(temporary);
  file->os = std::make_unique<llvm::raw_fd_ostream>(descriptor, /*shouldClose=*/true);
  return file;
}

AtomicFile::~AtomicFile() {
  if (temporary.empty())
    return;
  if (os) {
    os->close();
    os->clear_error();
  }
  llvm::sys::fs::remove(temporary);
}

llvm::Error AtomicFile::checkStream() {
  std::error_code error = os->error();
  if (!error)
    return llvm::Error::success();
  os->clear_error();
  return makeError(ErrorKind::IO, "cannot write '" + finalPath + "': " + error.message());
}

llvm::Error AtomicFile::flush() {
  os->flush();
  return checkStream();
}

llvm::Error AtomicFile::commit() {
  os->close();
  if (llvm::Error error = checkStream())
    return error;
  int descriptor = ::open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || ::fsync(descriptor) != 0) {
    int syncError = errno;
    if (descriptor >= 0)
      ::close(descriptor);
    return makeError(ErrorKind::IO, "cannot sync '" + finalPath + "': " + std::strerror(syncError));
  }
  ::close(descriptor);
  if (std::error_code error = llvm::sys::fs::rename(temporary, finalPath))
    return makeError(ErrorKind::IO, "cannot rename onto '" + finalPath + "': " + error.message());
  temporary.clear();
  return llvm::Error::success();
}

llvm::Error writeFileAtomically(llvm::StringRef path, llvm::StringRef contents) {
  llvm::Expected<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  (*file)->stream() << contents;
  return (*file)->commit();
}

} // namespace nibble

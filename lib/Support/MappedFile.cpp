#include "lib/Support/MappedFile.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace nibble {

MappedFile::~MappedFile() {
  if (data)
    ::munmap(const_cast<char *>(data), size);
}

/// Takes ownership of `descriptor`. An untrusted file must have one name only: a hard link could
/// bring a file from outside the model's folder into it.
llvm::Expected<std::shared_ptr<const MappedFile>> MappedFile::mapDescriptor(int descriptor, llvm::StringRef path,
                                                                            bool trusted) {
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{descriptor};
  struct stat status;
  if (::fstat(descriptor, &status) != 0)
    return makeError(ErrorKind::IO, "cannot inspect '" + path + "': " + std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    return makeError(ErrorKind::BadInput, "'" + path + "' is not a regular file");
  if (!trusted && status.st_nlink > 1)
    return makeError(ErrorKind::BadInput, "'" + path + "' has more than one hard link, which a model's data file may not");
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->name = path.str();
  file->size = static_cast<size_t>(status.st_size);
  if (file->size == 0)
    return file;
  void *mapping = ::mmap(nullptr, file->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapping == MAP_FAILED)
    return makeError(ErrorKind::IO, "cannot map '" + path + "': " + std::strerror(errno));
  file->data = static_cast<const char *>(mapping);
  return file;
}

llvm::Expected<std::shared_ptr<const MappedFile>> MappedFile::open(llvm::StringRef path) {
  // O_NONBLOCK keeps a named pipe from blocking the program before it is refused.
  int descriptor = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return makeError(ErrorKind::IO, "cannot open '" + path + "': " + std::strerror(errno));
  return mapDescriptor(descriptor, path, /*trusted=*/true);
}

llvm::Expected<std::shared_ptr<const MappedFile>> MappedFile::openBeneath(llvm::StringRef folder,
                                                                          llvm::StringRef relativePath) {
  if (relativePath.empty() || relativePath.contains('\0') || llvm::sys::path::is_absolute(relativePath))
    return makeError(ErrorKind::BadInput, "data file name '" + llvm::toStringRef(llvm::ArrayRef<uint8_t>(
                                              relativePath.bytes_begin(), relativePath.size())) +
                                              "' is not a relative path");
  int folderDescriptor = ::open(folder.empty() ? "." : folder.str().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folderDescriptor < 0)
    return makeError(ErrorKind::IO, "cannot open folder '" + folder + "': " + std::strerror(errno));
  struct open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  int descriptor = static_cast<int>(
      ::syscall(SYS_openat2, folderDescriptor, relativePath.str().c_str(), &how, sizeof(how)));
  int openError = errno;
  ::close(folderDescriptor);
  if (descriptor < 0) {
    if (openError == EXDEV || openError == ELOOP)
      return makeError(ErrorKind::BadInput, "data file '" + relativePath + "' leads outside the model's folder");
    return makeError(openError == ENOENT ? ErrorKind::BadInput : ErrorKind::IO,
                     "cannot open data file '" + relativePath + "': " + std::strerror(openError));
  }
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, relativePath);
  return mapDescriptor(descriptor, path, /*trusted=*/false);
}

} // namespace nibble

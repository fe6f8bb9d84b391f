#include "cli/driver/OutputFolder.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <vector>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble::driver {

static constexpr llvm::StringLiteral stagingPrefix(".partial-");

/// Takes the lock that ends with the process, however that ends.
llvm::Error OutputFolder::lock() {
  descriptor = ::open(finalFolder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return makeError(ErrorKind::IO, "cannot open folder '" + finalFolder + "': " + std::strerror(errno));
  // File systems without locks are used without.
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return makeError(ErrorKind::IO, "another run is writing into folder '" + finalFolder + "'",
                     {"wait for it, or give another folder with -o"});
  return llvm::Error::success();
}

/// Staging folders of runs that were killed: whoever holds the lock is the only one at work.
static void removeLeftovers(llvm::StringRef folder) {
  std::vector<std::string> leftovers;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; it != end && !error; it.increment(error))
    if (path::filename(it->path()).starts_with(stagingPrefix) && it->type() == fs::file_type::directory_file)
      leftovers.push_back(it->path());
  for (const std::string &leftover : leftovers)
    fs::remove_directories(leftover);
}

llvm::Expected<std::unique_ptr<OutputFolder>> OutputFolder::create(llvm::StringRef finalFolder) {
  std::unique_ptr<OutputFolder> folder(new OutputFolder);
  folder->finalFolder = finalFolder.str();
  folder->isNew = !fs::exists(finalFolder);
  if (std::error_code error = fs::create_directories(finalFolder))
    return makeError(ErrorKind::IO, "cannot create folder '" + finalFolder + "': " + error.message());
  if (llvm::Error error = folder->lock())
    return std::move(error);
  removeLeftovers(finalFolder);
  // Inside the final folder, so that renaming never crosses a file system.
  llvm::SmallString<128> model(finalFolder), staging;
  path::append(model, stagingPrefix + "%%%%%%%%");
  for (int attempt = 0; attempt < 16; ++attempt) {
    fs::createUniquePath(model, staging, /*MakeAbsolute=*/false);
    std::error_code error = fs::create_directory(staging, /*IgnoreExisting=*/false);
    if (!error) {
      folder->stagingFolder = std::string(staging);
      return folder;
    }
    if (error != std::errc::file_exists)
      return makeError(ErrorKind::IO, "cannot write in folder '" + finalFolder + "': " + error.message());
  }
  return makeError(ErrorKind::IO, "cannot make a temporary folder in '" + finalFolder + "'");
}

OutputFolder::~OutputFolder() {
  if (!stagingFolder.empty())
    fs::remove_directories(stagingFolder);
  // Fails, as it should, where the folder holds something.
  if (isNew)
    ::rmdir(finalFolder.c_str());
  if (descriptor >= 0)
    ::close(descriptor);
}

std::string OutputFolder::path(llvm::StringRef name) const {
  llvm::SmallString<128> result(stagingFolder);
  path::append(result, name);
  return std::string(result);
}

llvm::Error OutputFolder::publish(llvm::StringRef lastFile, llvm::ArrayRef<std::string> obsolete) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(stagingFolder, error), end; it != end && !error; it.increment(error))
    names.push_back(path::filename(it->path()).str());
  if (error)
    return makeError(ErrorKind::IO, "cannot list '" + stagingFolder + "': " + error.message());
  llvm::sort(names, [&](const std::string &a, const std::string &b) {
    return std::pair(a == lastFile, a) < std::pair(b == lastFile, b);
  });
  auto finalPath = [&](llvm::StringRef name) {
    llvm::SmallString<128> result(finalFolder);
    path::append(result, name);
    return result;
  };
  // An old manifest must not vouch for files that are being replaced.
  if (std::error_code removeError = fs::remove(finalPath(lastFile)))
    return makeError(ErrorKind::IO, "cannot replace '" + finalPath(lastFile) + "': " + removeError.message());
  for (const std::string &name : obsolete)
    if (!llvm::is_contained(names, name))
      if (std::error_code removeError = fs::remove(finalPath(name)))
        return makeError(ErrorKind::IO, "cannot remove '" + finalPath(name) + "': " + removeError.message());
  for (const std::string &name : names) {
    llvm::SmallString<128> destination = finalPath(name);
    if (std::error_code renameError = fs::rename(path(name), destination))
      return makeError(ErrorKind::IO, "cannot rename onto '" + destination.str() + "': " + renameError.message());
  }
  return llvm::Error::success();
}

} // namespace nibble::driver

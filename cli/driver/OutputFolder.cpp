#include "cli/driver/OutputFolder.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <vector>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble::driver {

llvm::Expected<std::unique_ptr<OutputFolder>> OutputFolder::create(llvm::StringRef finalFolder) {
  if (std::error_code error = fs::create_directories(finalFolder))
    return makeError(ErrorKind::IO, "cannot create folder '" + finalFolder + "': " + error.message());
  std::unique_ptr<OutputFolder> folder(new OutputFolder);
  folder->finalFolder = finalFolder.str();
  // Inside the final folder, so that renaming never crosses a file system.
  llvm::SmallString<128> model(finalFolder), staging;
  path::append(model, ".partial-%%%%%%%%");
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

OutputFolder::~OutputFolder() { fs::remove_directories(stagingFolder); }

std::string OutputFolder::path(llvm::StringRef name) const {
  llvm::SmallString<128> result(stagingFolder);
  path::append(result, name);
  return std::string(result);
}

llvm::Error OutputFolder::publish(llvm::StringRef lastFile) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(stagingFolder, error), end; it != end && !error; it.increment(error))
    names.push_back(path::filename(it->path()).str());
  if (error)
    return makeError(ErrorKind::IO, "cannot list '" + stagingFolder + "': " + error.message());
  llvm::sort(names, [&](const std::string &a, const std::string &b) {
    return std::pair(a == lastFile, a) < std::pair(b == lastFile, b);
  });
  // An old manifest must not vouch for files that are being replaced.
  llvm::SmallString<128> last(finalFolder);
  path::append(last, lastFile);
  if (std::error_code removeError = fs::remove(last))
    return makeError(ErrorKind::IO, "cannot replace '" + last.str() + "': " + removeError.message());
  for (const std::string &name : names) {
    llvm::SmallString<128> destination(finalFolder);
    path::append(destination, name);
    if (std::error_code renameError = fs::rename(path(name), destination))
      return makeError(ErrorKind::IO, "cannot rename onto '" + destination.str() + "': " + renameError.message());
  }
  return llvm::Error::success();
}

} // namespace nibble::driver

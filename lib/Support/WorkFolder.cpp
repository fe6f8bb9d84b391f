#include "lib/Support/WorkFolder.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble {

llvm::Expected<WorkFolder> WorkFolder::create(llvm::StringRef parent) {
  llvm::SmallString<128> result;
  if (parent.empty())
    path::system_temp_directory(/*ErasedOnReboot=*/true, result);
  else
    result = parent;
  // Other programs get this path; LLVM would take a relative one as one below /tmp.
  if (std::error_code error = fs::make_absolute(result))
    return makeError(ErrorKind::IO, "cannot find the working folder: " + error.message());
  path::append(result, ".nibble-%%%%%%%%.partial");
  for (int attempt = 0; attempt < 16; ++attempt) {
    llvm::SmallString<128> candidate;
    fs::createUniquePath(result, candidate, /*MakeAbsolute=*/false);
    std::error_code error = fs::create_directory(candidate, /*IgnoreExisting=*/false, fs::perms::owner_all);
    if (!error)
      return WorkFolder(std::string(candidate));
    if (error != std::errc::file_exists)
      return makeError(ErrorKind::IO, "cannot create folder '" + candidate + "': " + error.message());
  }
  return makeError(ErrorKind::IO, "cannot find a free name for a folder in '" + parent + "'");
}

WorkFolder::~WorkFolder() {
  if (!name.empty())
    fs::remove_directories(name);
}

std::string WorkFolder::file(const llvm::Twine &fileName) const {
  llvm::SmallString<128> result(name);
  path::append(result, fileName);
  return std::string(result);
}

} // namespace nibble

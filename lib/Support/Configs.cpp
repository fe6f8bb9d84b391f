#include "lib/Support/Configs.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cstdlib>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble {

llvm::Expected<std::string> findConfigFolder() {
  if (const char *folder = std::getenv("NIBBLE_CONFIG_DIR"); folder && *folder) {
    if (!fs::is_directory(folder))
      return makeError(ErrorKind::IO, llvm::Twine("NIBBLE_CONFIG_DIR: '") + folder + "' is not a folder");
    return std::string(folder);
  }
  llvm::SmallString<128> installed(path::parent_path(path::parent_path(fs::getMainExecutable(nullptr, nullptr))));
  path::append(installed, "share/nibble", "configs");
  if (fs::is_directory(installed))
    return std::string(installed);
  return makeError(ErrorKind::IO, "found no folder of configurations",
                   {"looked at '" + std::string(installed) + "'", "NIBBLE_CONFIG_DIR names another one"});
}

std::vector<std::string> listConfigs(llvm::StringRef kind) {
  llvm::Expected<std::string> configs = findConfigFolder();
  if (!configs) {
    llvm::consumeError(configs.takeError());
    return {};
  }
  llvm::SmallString<128> folder(*configs);
  path::append(folder, kind);
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (path::extension(it->path()) == ".yaml")
      names.push_back(path::stem(it->path()).str());
  llvm::sort(names);
  return names;
}

} // namespace nibble

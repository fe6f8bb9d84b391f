//===- WorkFolder.h - a folder of our own for files in between -------------===//
#ifndef NIBBLE_SUPPORT_WORKFOLDER_H
#define NIBBLE_SUPPORT_WORKFOLDER_H

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <string>
#include <utility>

namespace nibble {

/// A folder that is gone, with what is in it, when the object is. Only its owner may read it.
class WorkFolder {
public:
  /// Under `parent`, or under the system's temporary folder where it is empty. Errors: IO.
  static llvm::Expected<WorkFolder> create(llvm::StringRef parent);
  WorkFolder(WorkFolder &&other) : name(std::exchange(other.name, "")) {}
  ~WorkFolder();
  /// The absolute path.
  const std::string &str() const { return name; }
  std::string file(const llvm::Twine &fileName) const;

private:
  explicit WorkFolder(std::string name) : name(std::move(name)) {}
  std::string name;
};

} // namespace nibble

#endif

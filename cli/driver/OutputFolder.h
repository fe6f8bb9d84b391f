//===- OutputFolder.h - outputs appear together or not at all --------------===//
#ifndef NIBBLE_CLI_DRIVER_OUTPUTFOLDER_H
#define NIBBLE_CLI_DRIVER_OUTPUTFOLDER_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace nibble::driver {

/// A staging folder inside the final one. Files are written there; `publish` moves them under their
/// final names, `lastFile` last, so that a manifest is only ever seen beside complete files. Without
/// `publish` the staging folder is removed, and so is the final one where this run made it.
class OutputFolder {
public:
  /// Creates the final folder where it is missing, and removes what killed runs left in it. Errors: IO;
  /// also where another run is writing there.
  static llvm::Expected<std::unique_ptr<OutputFolder>> create(llvm::StringRef finalFolder);
  ~OutputFolder();
  OutputFolder(const OutputFolder &) = delete;
  OutputFolder &operator=(const OutputFolder &) = delete;

  /// Where to write the file that will be called `name`.
  std::string path(llvm::StringRef name) const;
  llvm::StringRef staging() const { return stagingFolder; }
  /// Removes `obsolete`, files in the final folder, unless they are written anew. Errors: IO.
  llvm::Error publish(llvm::StringRef lastFile, llvm::ArrayRef<std::string> obsolete);

private:
  OutputFolder() = default;
  llvm::Error lock();
  std::string finalFolder, stagingFolder;
  /// Of the final folder, which is locked while it is open.
  int descriptor = -1;
  bool isNew = false;
};

} // namespace nibble::driver

#endif

//===- OutputFolder.h - outputs appear together or not at all --------------===//
#ifndef NIBBLE_CLI_DRIVER_OUTPUTFOLDER_H
#define NIBBLE_CLI_DRIVER_OUTPUTFOLDER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace nibble::driver {

/// A staging folder beside the final one. Files are written there; `publish` moves them under their
/// final names, `lastFile` last, so that a manifest is only ever seen beside complete files. Without
/// `publish` the staging folder is removed.
class OutputFolder {
public:
  /// Creates the final folder where it is missing. Errors: IO.
  static llvm::Expected<std::unique_ptr<OutputFolder>> create(llvm::StringRef finalFolder);
  ~OutputFolder();
  OutputFolder(const OutputFolder &) = delete;
  OutputFolder &operator=(const OutputFolder &) = delete;

  /// Where to write the file that will be called `name`.
  std::string path(llvm::StringRef name) const;
  llvm::StringRef staging() const { return stagingFolder; }
  /// Errors: IO.
  llvm::Error publish(llvm::StringRef lastFile);

private:
  OutputFolder() = default;
  std::string finalFolder, stagingFolder;
};

} // namespace nibble::driver

#endif

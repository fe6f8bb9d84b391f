//===- ModelFile.h - a model as read, weights left in their files ----------===//
#ifndef NIBBLE_IMPORT_ONNX_MODELFILE_H
#define NIBBLE_IMPORT_ONNX_MODELFILE_H

#include "lib/Support/MappedFile.h"
#include <map>
#include <onnx/onnx_pb.h>

namespace nibble::onnx_import {

/// Bytes of a tensor in a mapped file.
struct MappedBytes {
  std::shared_ptr<const MappedFile> file;
  uint64_t offset = 0, size = 0;
  llvm::ArrayRef<char> bytes() const { return file->bytes().slice(offset, size); }
};

/// The result of the Reader: a parsed model whose larger weights are references (data_location
/// EXTERNAL) into the mapped model file or into external files. Nothing else is promised about it.
class ModelFile {
public:
  /// Errors: IO, BadInput, Limit; each names the field and the offset.
  static llvm::Expected<std::unique_ptr<ModelFile>> open(llvm::StringRef path);

  /// Where the bytes of `tensor` are, which must have data_location EXTERNAL. Opens external files
  /// beneath the model's folder. `cutField` is set to the name of the field that the bytes were cut out
  /// of, or empty. Errors name `what`.
  llvm::Expected<MappedBytes> locate(const onnx::TensorProto &tensor, llvm::StringRef what, std::string &cutField);

  llvm::StringRef path() const { return file->path(); }
  uint64_t fileBytes() const { return file->bytes().size(); }
  /// Bytes of all external files opened so far.
  uint64_t externalBytes() const { return externalTotal; }
  /// Paths of all external files opened so far, sorted.
  std::vector<std::string> externalPaths() const;

  onnx::ModelProto model;

private:
  ModelFile() = default;
  std::shared_ptr<const MappedFile> file;
  std::map<std::string, std::shared_ptr<const MappedFile>> externalFiles;
  uint64_t externalTotal = 0;
};

} // namespace nibble::onnx_import

#endif

//===- TosaFiles.h - the TOSA files of a model -----------------------------===//
#ifndef NIBBLE_EXPORT_TOSA_TOSAFILES_H
#define NIBBLE_EXPORT_TOSA_TOSAFILES_H

#include "lib/Export/TOSA/TosaWriter.h"
#include "mlir/IR/BuiltinOps.h"
#include <vector>

namespace nibble::tosa_export {

struct TosaFile {
  std::string path;
  /// The block that the file holds; empty for the file of a whole model.
  std::string block;
};

/// Writes @main of `module` to `path`. Where that would pass the size limit, or the options ask for it, every nn.block of
/// @main gets a file `<stem>-<number>.tosa` instead, and `<stem>.blocks.json` beside them lists, in order of execution,
///   {"file": name, "block": name, "inputs": [tensor, ...], "outputs": [tensor, ...]}
/// where a tensor is the ONNX name of what the input or output of that number carries; equal names are the edges
/// between files. All files are written atomically, the list last.
/// Errors: Limit (one block passes the limit, or operations lie outside of blocks), IO, those of toTosaFlatbuffer.
llvm::Expected<std::vector<TosaFile>> writeTosaFiles(mlir::ModuleOp module, llvm::StringRef path,
                                                     const TosaOptions &options = {});

/// One entry of the list of blocks.
struct TosaBlock {
  /// The file's name beside the list.
  std::string file;
  std::vector<std::string> inputs, outputs;
};
/// Reads `<stem>.blocks.json`. Errors: IO, BadInput.
llvm::Expected<std::vector<TosaBlock>> readBlockList(llvm::StringRef path);

} // namespace nibble::tosa_export

#endif

//===- TosaReader.h - what a TOSA file says of itself ----------------------===//
#ifndef NIBBLE_EXPORT_TOSA_TOSAREADER_H
#define NIBBLE_EXPORT_TOSA_TOSAREADER_H

#include "lib/Support/Tensor.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble::tosa_export {

struct TosaContents {
  struct Operator {
    /// The schema's name of the operation, for example "REDUCE_MAX", and the ONNX node in its location.
    std::string operation, node;
  };
  std::vector<std::string> inputs, outputs;
  /// Without constants, in the order of the file.
  std::vector<Operator> operators;
};

/// Reads a file of one basic block. Errors: BadInput where `bytes` is not such a file.
llvm::Expected<TosaContents> readTosa(llvm::StringRef bytes);

} // namespace nibble::tosa_export

#endif

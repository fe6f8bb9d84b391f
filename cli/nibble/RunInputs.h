//===- RunInputs.h - what `nibble run` reads from its sample ----------------===//
#ifndef NIBBLE_CLI_NIBBLE_RUNINPUTS_H
#define NIBBLE_CLI_NIBBLE_RUNINPUTS_H

#include "lib/Support/Npy.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble::cli {

/// The arrays of one .npz file.
class RunSample {
public:
  /// Errors: IO, BadInput.
  static llvm::Expected<RunSample> read(llvm::StringRef path);

  /// The array called `name` as it is. Errors: BadInput with what the file holds and the nearest name.
  llvm::Expected<Tensor> take(llvm::StringRef name) const;
  /// The same in element type `wanted`; a conversion is noted on the standard error stream. Errors: also
  /// BadInput where the types are of different kinds or a value does not fit.
  llvm::Expected<Tensor> take(llvm::StringRef name, ElementType wanted) const;

private:
  std::string path;
  std::vector<NamedTensor> arrays;
};

/// Runs the ONNX model at `modelPath` in Nibble's own float runtime. Symbolic dimensions take the sizes that the
/// sample has. Errors: those of the importer and the runtime; BadInput where a symbol would have two values.
llvm::Expected<std::vector<NamedTensor>> runInFloat(llvm::StringRef modelPath, const RunSample &sample);

} // namespace nibble::cli

#endif

//===- Compile.h - from an ONNX model to an output folder ------------------===//
#ifndef NIBBLE_CLI_DRIVER_COMPILE_H
#define NIBBLE_CLI_DRIVER_COMPILE_H

#include "cli/driver/CompileOptions.h"
#include "llvm/Support/Error.h"

namespace nibble::driver {

/// Runs all phases and fills the output folder. Files appear there only when every phase has
/// succeeded; a failed gate (ErrorKind::Gate) leaves the complete folder. Notes and progress go to
/// the standard error stream.
llvm::Error compile(const CompileOptions &options);

} // namespace nibble::driver

#endif

//===- Trace.h - trace.json: what was decided, and why ---------------------===//
#ifndef NIBBLE_CLI_DRIVER_TRACE_H
#define NIBBLE_CLI_DRIVER_TRACE_H

#include "cli/driver/Diagnostics.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/ArrayRef.h"

namespace nibble::driver {

/// The text of trace.json: the decisions of passes in the order they were made, and every quantizer of `module`
/// with its encoding and where its range comes from. See docs/spec/outputs.md. Errors: those of
/// nn::readEncoding.
llvm::Expected<std::string> formatTrace(llvm::ArrayRef<TraceEvent> events, mlir::ModuleOp module);

} // namespace nibble::driver

#endif

//===- Diagnostics.h - MLIR diagnostics as a user reads them ---------------===//
#ifndef NIBBLE_CLI_DRIVER_DIAGNOSTICS_H
#define NIBBLE_CLI_DRIVER_DIAGNOSTICS_H

#include "lib/Support/Error.h"
#include "lib/Support/Progress.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include <functional>
#include <string>
#include <vector>

namespace nibble::driver {

/// One decision of a pass: a remark, with the node it is about and the phase it was made in.
struct TraceEvent {
  std::string phase, node, message;
};

/// Collects what passes say while it lives: errors with their notes become one llvm::Error, warnings
/// are handed on, remarks are decisions for trace.json.
class DiagnosticCollector {
public:
  DiagnosticCollector(mlir::MLIRContext &context, std::function<void(llvm::StringRef)> warn);

  /// Names the phase that later remarks belong to.
  void beginPhase(llvm::StringRef name) { phase = name.str(); }
  /// The errors since the last call as one error of `kind`, or BadInput where a pass says that (see
  /// lib/Dialect/NN/Diagnostics.h); Internal where a pass failed silently.
  llvm::Error takeError(ErrorKind kind);
  const std::vector<TraceEvent> &events() const { return trace; }

private:
  mlir::LogicalResult handle(mlir::Diagnostic &diagnostic);

  std::function<void(llvm::StringRef)> warn;
  std::string phase;
  std::vector<std::string> messages;
  std::vector<std::string> notes;
  bool isBadInput = false;
  std::vector<TraceEvent> trace;
  mlir::ScopedDiagnosticHandler handler;
};

/// The same error with one more note, where it is one of ours.
llvm::Error withNote(llvm::Error error, std::string note);

/// Runs the passes that `build` adds as phase `name` over `module`; diagnostics become an error of `kind`. Where
/// `progress` is given it counts the passes.
llvm::Error runPasses(DiagnosticCollector &diagnostics, Progress *progress, llvm::StringRef name, mlir::ModuleOp module,
                      ErrorKind kind, llvm::function_ref<void(mlir::OpPassManager &)> build);

} // namespace nibble::driver

#endif

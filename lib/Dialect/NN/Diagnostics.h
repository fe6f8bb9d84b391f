//===- Diagnostics.h - whose mistake a diagnostic is about -----------------===//
#ifndef NIBBLE_DIALECT_NN_DIAGNOSTICS_H
#define NIBBLE_DIALECT_NN_DIAGNOSTICS_H

#include "lib/Support/Error.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"

namespace nibble::nn {

inline constexpr llvm::StringLiteral badInputMark("bad-input");

/// Says that the error is in what the user gave (recipe, weights), where errors of passes otherwise mean that
/// something is not supported. It decides the exit code.
inline void markAsBadInput(mlir::InFlightDiagnostic &diagnostic) {
  if (mlir::Diagnostic *underlying = diagnostic.getUnderlyingDiagnostic())
    underlying->getMetadata().push_back(mlir::DiagnosticArgument(badInputMark));
}

inline bool isMarkedAsBadInput(mlir::Diagnostic &diagnostic) {
  return llvm::any_of(diagnostic.getMetadata(), [](const mlir::DiagnosticArgument &argument) {
    return argument.getKind() == mlir::DiagnosticArgument::DiagnosticArgumentKind::String &&
           argument.getAsString() == badInputMark;
  });
}

/// Appends what a library says, and whose mistake it is.
inline void appendError(mlir::InFlightDiagnostic &diagnostic, llvm::Error error) {
  llvm::handleAllErrors(std::move(error), [&](const NibbleError &e) {
    diagnostic << e.message;
    if (e.kind == ErrorKind::BadInput)
      markAsBadInput(diagnostic);
  });
}

} // namespace nibble::nn

#endif

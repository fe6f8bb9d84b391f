//===- ErrorContext.h - errors with what was being done, and for machines --===//
#ifndef NIBBLE_SUPPORT_ERRORCONTEXT_H
#define NIBBLE_SUPPORT_ERRORCONTEXT_H

#include "lib/Support/Error.h"

namespace nibble {

/// The same error with "context: " before its message. Takes ownership.
llvm::Error addContext(llvm::Error error, const llvm::Twine &context);

/// As reportError, in one line of JSON: an object with `error`, `notes` and `exit_code`. Nothing for success.
int reportErrorAsJson(llvm::Error error, llvm::raw_ostream &os);

} // namespace nibble

#endif

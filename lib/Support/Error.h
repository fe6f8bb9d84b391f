//===- Error.h - errors that know their exit code --------------------------===//
//
// Outside MLIR every fallible function returns llvm::Error or llvm::Expected.
// The payload is a NibbleError: what kind of failure it is (and so the exit code
// of the program), one line that says what is wrong, and notes that name causes.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_SUPPORT_ERROR_H
#define NIBBLE_SUPPORT_ERROR_H

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble {

/// The kind of a failure. The value is the program's exit code.
enum class ErrorKind : int {
  Usage = 1,
  BadInput = 2,
  Unsupported = 3,
  IO = 4,
  Limit = 5,
  Gate = 6,
  Internal = 70,
};

class NibbleError : public llvm::ErrorInfo<NibbleError> {
public:
  static char ID;
  NibbleError(ErrorKind kind, std::string message, std::vector<std::string> notes)
      : kind(kind), message(std::move(message)), notes(std::move(notes)) {}
  void log(llvm::raw_ostream &os) const override;
  std::error_code convertToErrorCode() const override;

  ErrorKind kind;
  /// Lower case, no full stop, says what was wanted and what was found.
  std::string message;
  std::vector<std::string> notes;
};

/// Makes an error of `kind`. `message` is lower case, without a full stop, and names the file,
/// node, tensor or line it is about; each note gives one cause or remedy.
llvm::Error makeError(ErrorKind kind, const llvm::Twine &message, std::vector<std::string> notes = {});

/// What an error says, taken apart: its message, then its notes. Takes ownership.
std::vector<std::string> takeMessages(llvm::Error error);

/// Prints "error: message" and "note: ..." lines to `os` and returns the exit code.
/// Takes ownership. Returns 0 for success.
int reportError(llvm::Error error, llvm::raw_ostream &os);

} // namespace nibble

#endif

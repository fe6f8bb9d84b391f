#include "lib/Support/Error.h"

#include "llvm/Support/raw_ostream.h"

namespace nibble {

char NibbleError::ID = 0;

void NibbleError::log(llvm::raw_ostream &os) const {
  os << message;
  for (const std::string &note : notes)
    os << "\nnote: " << note;
}

std::error_code NibbleError::convertToErrorCode() const { return llvm::inconvertibleErrorCode(); }

llvm::Error makeError(ErrorKind kind, const llvm::Twine &message, std::vector<std::string> notes) {
  return llvm::make_error<NibbleError>(kind, message.str(), std::move(notes));
}

int reportError(llvm::Error error, llvm::raw_ostream &os) {
  int code = 0;
  llvm::handleAllErrors(
      std::move(error),
      [&](const NibbleError &e) {
        os << "error: ";
        e.log(os);
        os << '\n';
        code = code ? code : static_cast<int>(e.kind);
      },
      [&](const llvm::ErrorInfoBase &e) {
        os << "error: " << e.message() << '\n';
        code = code ? code : static_cast<int>(ErrorKind::Internal);
      });
  return code;
}

} // namespace nibble

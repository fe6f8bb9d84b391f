#include "lib/Support/Error.h"

#include "llvm/ADT/StringExtras.h"
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

/// Messages quote names from files: control characters must neither reach a terminal nor break lines.
static void printEscaped(llvm::StringRef text, llvm::raw_ostream &os) {
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 32 || byte == 127)
      os << "\\x" << llvm::hexdigit(byte >> 4, /*LowerCase=*/true) << llvm::hexdigit(byte & 15, /*LowerCase=*/true);
    else
      os << c;
  }
}

std::vector<std::string> takeMessages(llvm::Error error) {
  std::vector<std::string> messages;
  llvm::handleAllErrors(
      std::move(error),
      [&](const NibbleError &e) {
        messages.push_back(e.message);
        messages.insert(messages.end(), e.notes.begin(), e.notes.end());
      },
      [&](const llvm::ErrorInfoBase &e) { messages.push_back(e.message()); });
  return messages;
}

int reportError(llvm::Error error, llvm::raw_ostream &os) {
  int code = 0;
  llvm::handleAllErrors(
      std::move(error),
      [&](const NibbleError &e) {
        os << "error: ";
        printEscaped(e.message, os);
        os << '\n';
        for (const std::string &note : e.notes) {
          os << "note: ";
          printEscaped(note, os);
          os << '\n';
        }
        code = code ? code : static_cast<int>(e.kind);
      },
      [&](const llvm::ErrorInfoBase &e) {
        os << "error: " << e.message() << '\n';
        code = code ? code : static_cast<int>(ErrorKind::Internal);
      });
  return code;
}

} // namespace nibble

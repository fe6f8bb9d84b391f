#include "lib/Support/ErrorContext.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace nibble {

llvm::Error addContext(llvm::Error error, const llvm::Twine &context) {
  return llvm::handleErrors(std::move(error), [&](const NibbleError &e) {
    return makeError(e.kind, context + ": " + e.message, e.notes);
  });
}

int reportErrorAsJson(llvm::Error error, llvm::raw_ostream &os) {
  if (!error)
    return 0;
  ErrorKind kind = ErrorKind::Internal;
  error = llvm::handleErrors(std::move(error), [&](std::unique_ptr<NibbleError> e) {
    kind = e->kind;
    return llvm::Error(std::move(e));
  });
  std::vector<std::string> messages = takeMessages(std::move(error));
  llvm::json::Array notes;
  for (const std::string &note : llvm::ArrayRef(messages).drop_front())
    notes.push_back(llvm::json::fixUTF8(note));
  os << llvm::json::Value(llvm::json::Object{{"error", llvm::json::fixUTF8(messages.front())},
                                             {"notes", std::move(notes)},
                                             {"exit_code", static_cast<int>(kind)}})
     << '\n';
  return static_cast<int>(kind);
}

} // namespace nibble

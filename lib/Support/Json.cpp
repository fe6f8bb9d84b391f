#include "lib/Support/Json.h"
#include "lib/Support/Error.h"
#include "lib/Support/MappedFile.h"

#include "llvm/Support/FormatVariadic.h"
#include <cmath>

namespace nibble {

/// The deepest nesting of brackets outside of strings.
static unsigned nestingDepth(llvm::StringRef text) {
  unsigned depth = 0, deepest = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

llvm::Expected<llvm::json::Value> parseJson(llvm::StringRef text, llvm::StringRef what, unsigned maximumDepth) {
  if (unsigned depth = nestingDepth(text); depth > maximumDepth)
    return makeError(ErrorKind::BadInput, "'" + what + "' nests JSON values " + llvm::Twine(depth) +
                                              " deep, at most " + llvm::Twine(maximumDepth) + " are allowed");
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  if (!value)
    return makeError(ErrorKind::BadInput, "'" + what + "' is not JSON: " + llvm::toString(value.takeError()));
  return value;
}

llvm::Expected<llvm::json::Value> readJson(llvm::StringRef path, uint64_t maximumBytes) {
  llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  llvm::ArrayRef<char> bytes = (*file)->bytes();
  if (bytes.size() > maximumBytes)
    return makeError(ErrorKind::Limit, "'" + path + "' has " + llvm::Twine(bytes.size()) + " bytes, at most " +
                                           llvm::Twine(maximumBytes) + " of JSON are read");
  return parseJson(llvm::StringRef(bytes.data(), bytes.size()), path);
}

llvm::json::Value jsonNumber(double value) {
  if (std::isfinite(value))
    return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

std::string formatJson(const llvm::json::Value &value) { return llvm::formatv("{0:2}\n", value).str(); }

} // namespace nibble

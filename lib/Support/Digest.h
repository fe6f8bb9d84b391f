//===- Digest.h - SHA-256 of bytes and files -------------------------------===//
#ifndef NIBBLE_SUPPORT_DIGEST_H
#define NIBBLE_SUPPORT_DIGEST_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/SHA256.h"
#include <string>

namespace nibble {

/// SHA-256 of a sequence of pieces (FIPS 180-4).
class Digest {
public:
  void update(llvm::ArrayRef<char> bytes);
  void update(llvm::StringRef text) { update(llvm::ArrayRef<char>(text.data(), text.size())); }
  /// Adds `value` as 8 little-endian bytes.
  void update(uint64_t value);
  /// The digest of everything added so far, as 64 lower-case hexadecimal digits.
  std::string hex();

private:
  llvm::SHA256 state;
};

/// Hexadecimal SHA-256 of `bytes`.
std::string sha256(llvm::ArrayRef<char> bytes);
/// Hexadecimal SHA-256 of a whole file. Errors: IO, BadInput (not a regular file).
llvm::Expected<std::string> sha256File(llvm::StringRef path);

} // namespace nibble

#endif

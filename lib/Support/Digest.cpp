#include "lib/Support/Digest.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"

namespace nibble {

void Digest::update(llvm::ArrayRef<char> bytes) {
  state.update(llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
}

void Digest::update(uint64_t value) {
  char bytes[8];
  llvm::support::endian::write64le(bytes, value);
  update(llvm::ArrayRef<char>(bytes));
}

std::string Digest::hex() { return llvm::toHex(state.result(), /*LowerCase=*/true); }

std::string sha256(llvm::ArrayRef<char> bytes) {
  Digest digest;
  digest.update(bytes);
  return digest.hex();
}

llvm::Expected<std::string> sha256File(llvm::StringRef path) {
  llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  return sha256((*file)->bytes());
}

} // namespace nibble

//===- Safetensors.h - the safetensors format ------------------------------===//
//
// A little-endian 64-bit header length, a JSON header, and the bytes of all
// tensors without gaps. Files are not trusted: the header is at most 100 MB, and
// the tensors' ranges must be contiguous and cover the data exactly.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_SUPPORT_SAFETENSORS_H
#define NIBBLE_SUPPORT_SAFETENSORS_H

#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>

namespace nibble {

struct Safetensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a file; tensors are views of the mapped file where their elements are aligned. The format
/// has no 4-bit integers: callers store them as U8. Errors: IO, BadInput, Limit, Unsupported (element type).
llvm::Expected<Safetensors> readSafetensors(llvm::StringRef path);

/// Writes a file atomically: wide elements first so that all are aligned, then by name; equal
/// contents give equal bytes. Errors: IO, Unsupported (element type).
llvm::Error writeSafetensors(llvm::StringRef path, const Safetensors &contents);

} // namespace nibble

#endif

//===- WireScanner.h - bounded walk over a serialized model ----------------===//
//
// Walks the protobuf wire format of a model before any parser sees it: every length, wire type,
// depth, count and string is checked, and weights are cut out, so that the parser gets a small
// and sound serialization and weights stay in the mapped file.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_IMPORT_ONNX_WIRESCANNER_H
#define NIBBLE_IMPORT_ONNX_WIRESCANNER_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace nibble::onnx_import {

/// The `location` of a tensor whose bytes were cut out of the model file itself. No string of a
/// file can be equal to it, since names with a NUL byte are refused.
inline constexpr llvm::StringRef modelFileLocation("\0model", 6);
/// The `external_data` key that tells which field of the tensor was cut out: raw_data, float_data or
/// double_data. The other keys are ONNX's own: location, offset, length.
inline constexpr llvm::StringRef cutFieldKey("\0field", 6);
/// Weights of at least this many bytes are cut out.
inline constexpr size_t cutBytes = 1024;

/// The serialization of the ModelProto in `bytes` without its weights, documentation strings and
/// metadata. `path` is for messages. Errors: BadInput, Limit; each names the field and the offset.
llvm::Expected<std::string> makeSkeleton(llvm::ArrayRef<char> bytes, llvm::StringRef path);

} // namespace nibble::onnx_import

#endif

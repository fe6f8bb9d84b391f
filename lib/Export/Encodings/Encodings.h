//===- Encodings.h - AIMET's files of encodings -----------------------------===//
//
// JSON files that state scale and offset of every tensor of a float ONNX model; Qualcomm's converter reads
// them. Tensor names are those of the model that onnx_export::exportQDQ writes with `dropQuantizers`, which
// are the names of the imported model wherever a tensor was not created by a rewrite.
//
// Versions 0.6.1 and 1.0.0 number the grid from 0: x = scale * (q + offset) with q in [0, 2^bits - 1].
// Version 2.0.0 states ONNX's own scale and zero point.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_ENCODINGS_ENCODINGS_H
#define NIBBLE_EXPORT_ENCODINGS_ENCODINGS_H

#include "lib/Quant/Encoding.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <optional>
#include <string>
#include <vector>

namespace nibble::encodings {

enum class Version {
  /// "0.6.1": per tensor and per channel only.
  V061,
  /// "1.0.0".
  V100,
  /// "2.0.0": one flat list; tensors that stay float have no entry.
  V200,
};

/// The version that `text` spells. Errors: Usage (lists the versions).
llvm::Expected<Version> parseVersion(llvm::StringRef text);

/// What a file says of one tensor. Scales are in the order of quant::Encoding.
struct TensorEncoding {
  std::string tensor;
  /// True for weights and other constants.
  bool isParameter = false;
  Shape shape;
  /// Absent where the tensor stays float32.
  std::optional<quant::Encoding> encoding;
};

/// The encoding of every float tensor of a quantized module: arguments, results of operations and constants,
/// in program order. The output of a data movement takes the encoding of its input where it has no quantizer
/// of its own, and its input that of the output where only data movements read it. `notes`, if given,
/// receives one line per tensor that has more than one quantizer, of which only the first can be stated.
/// Errors: BadInput (a quantizer without range), Unsupported (names the tensor).
llvm::Expected<std::vector<TensorEncoding>> collectEncodings(mlir::ModuleOp module,
                                                             std::vector<std::string> *notes = nullptr);

/// Writes the file. The grid of 0.6.1 and 1.0.0 is always that of all bits of the storage type, so a range
/// of integers narrower than the type is not stated. Numbers are printed such that reading them gives the
/// same float32. Errors: Unsupported (block encodings in 0.6.1; blocks of more than two dimensions in
/// 1.0.0; palettes), naming the tensor and the remedy.
llvm::Error writeEncodings(llvm::ArrayRef<TensorEncoding> entries, Version version, llvm::raw_ostream &os);

/// collectEncodings and writeEncodings to a file, then checkEncodings on what the file holds; written
/// atomically. Errors: IO and those above.
llvm::Error exportEncodings(mlir::ModuleOp module, llvm::StringRef path, Version version,
                            std::vector<std::string> *notes = nullptr);

/// An entry as a file states it: scales, offsets and multipliers in the file's order.
struct FileEncoding {
  std::string tensor;
  bool isFloat = false;
  unsigned bits = 0;
  bool isSymmetric = false;
  std::vector<double> scales;
  /// Zero points of an unsigned grid: minus the offset of 0.6.1 and 1.0.0; of 2.0.0, the zero point, plus
  /// half the range for signed types. As long as `scales`, or one per channel for LPBQ.
  std::vector<int64_t> zeroPoints;
  std::optional<int64_t> blockSize, axis;
  /// LPBQ: integer scales of blocks; `scales` then holds one scale per channel.
  std::vector<int64_t> multipliers;
};

struct EncodingsFile {
  Version version;
  std::vector<FileEncoding> entries;
};

/// Reads a file of any of the three versions; `what` names it in messages. Errors: BadInput (names the entry
/// and the field).
llvm::Expected<EncodingsFile> readEncodings(llvm::StringRef text, llvm::StringRef what);

/// Compares a file with what it was written from, number by number. Errors: Internal (names the first tensor
/// that differs), BadInput.
llvm::Error checkEncodings(llvm::ArrayRef<TensorEncoding> entries, llvm::StringRef text, llvm::StringRef what);

} // namespace nibble::encodings

#endif

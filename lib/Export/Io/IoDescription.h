//===- IoDescription.h - io.json, what a program needs to feed a binary --------===//
//
// See docs/spec/io.md and configs/schema/io.schema.json.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_IO_IODESCRIPTION_H
#define NIBBLE_EXPORT_IO_IODESCRIPTION_H

#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace nibble {

/// One input or output of a binary.
struct IoTensor {
  std::string name;
  ElementType type = ElementType::U8;
  Shape shape;
  /// Set where the stored integers stand for reals: real = scale * (q - zeroPoint), q in the range of the type. Absent
  /// for ids, masks and positions, whose values are the integers themselves.
  std::optional<float> scale;
  int64_t zeroPoint = 0;
  /// The binary's own name of it, where that is another.
  std::string nameInFile = {};
};

struct IoDescription {
  /// File names beside io.json: what is loaded, and what it refers to, which may be the same.
  std::string modelFile, binaryFile;
  std::string binarySha256;
  uint64_t binaryBytes = 0;
  std::string target;
  /// Empty where they do not apply to the target.
  std::string graphName, socModel, architecture, qnnVersion, onnxRuntimeVersion, qnnPackageVersion, velaVersion;
  std::vector<IoTensor> inputs, outputs;
};

/// The text of io.json; deterministic.
std::string formatIo(const IoDescription &description);
/// Errors: IO, BadInput (names the key that is missing or wrong).
llvm::Expected<IoDescription> readIo(llvm::StringRef path);
/// The io.json beside the model at `modelPath`. Errors: those of readIo; BadInput where it describes another model.
llvm::Expected<IoDescription> readIoBeside(llvm::StringRef modelPath);

/// Rounds reals to the stored integers of an input. An input without a scale takes its own type; int64 numbers where it is
/// int32. Errors: BadInput (shape, type, NaN, a number beyond 32 bits; names the input).
llvm::Expected<Tensor> toStored(const IoTensor &io, const Tensor &real);
/// Stored integers to float32; a tensor without a scale is returned as it is.
Tensor toReal(const IoTensor &io, const Tensor &stored);

} // namespace nibble

#endif

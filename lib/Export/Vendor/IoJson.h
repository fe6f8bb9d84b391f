//===- IoJson.h - io.json, what a program needs to feed a binary ---------------===//
//
// See docs/spec/io.md and configs/schema/io.schema.json.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_IOJSON_H
#define NIBBLE_EXPORT_VENDOR_IOJSON_H

#include "lib/Export/ONNX/QDQ.h"
#include "lib/Export/Vendor/QnnCompiler.h"
#include <optional>

namespace nibble::vendor {

/// One input or output of a binary.
struct IoTensor {
  std::string name;
  ElementType type = ElementType::U8;
  Shape shape;
  /// Set where the stored integers stand for reals: real = scale * (q - zeroPoint). Absent for ids,
  /// masks and positions, whose values are the integers themselves.
  std::optional<float> scale;
  int64_t zeroPoint = 0;
};

struct IoDescription {
  /// File names beside io.json.
  std::string modelFile, binaryFile;
  std::string binarySha256;
  uint64_t binaryBytes = 0;
  std::string graphName;
  std::string target, socModel, architecture;
  std::string compilerVersion, onnxRuntimeVersion, qnnPackageVersion;
  std::vector<IoTensor> inputs, outputs;
};

/// Describes a compiled model. Types and shapes come from the context model; `io`, from the export of
/// the same model, gives scales. Errors: Internal (the two disagree).
llvm::Expected<IoDescription> describeContext(const HtpContext &context, const Target &target,
                                              const VendorLibraries &libraries,
                                              llvm::ArrayRef<onnx_export::IntegerIO> io);

/// The text of io.json; deterministic.
std::string formatIo(const IoDescription &description);
/// Errors: IO, BadInput (names the key that is missing or wrong).
llvm::Expected<IoDescription> readIo(llvm::StringRef path);

/// Rounds reals to the stored integers of an input, or checks that an input without a scale has its
/// type. Errors: BadInput (shape, type, NaN; names the input).
llvm::Expected<Tensor> toStored(const IoTensor &io, const Tensor &real);
/// Stored integers to float32; a tensor without a scale is returned as it is.
Tensor toReal(const IoTensor &io, const Tensor &stored);

} // namespace nibble::vendor

#endif

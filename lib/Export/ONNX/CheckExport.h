//===- CheckExport.h - what was written, read back and compared -------------===//
#ifndef NIBBLE_EXPORT_ONNX_CHECKEXPORT_H
#define NIBBLE_EXPORT_ONNX_CHECKEXPORT_H

#include "lib/Export/ONNX/QDQ.h"
#include "lib/Support/Tensor.h"

namespace nibble::onnx_export {

/// How much a check compared.
struct ExportCheck {
  int64_t weights = 0, activations = 0;
};

/// Imports the QDQ file at `path` that `module` was written to with `options`, and compares: names, types and
/// shapes of inputs and outputs; the reals of every stored weight, bit by bit; scale and zero point of every
/// quantized activation. Weights are compared one at a time. Errors: Internal (names the first tensor that
/// differs, with the value found and the one wanted), and those of the importer.
llvm::Expected<ExportCheck> checkQDQ(mlir::ModuleOp module, llvm::StringRef path, const QDQOptions &options);

/// Runs `module` and the file at `path`, which was written from it in any form, on the same float inputs in
/// our float runtime, one after the other. Integer inputs of the file are made with its quantizers, integer
/// outputs are turned into reals. Returns the largest difference of an output element, relative to the
/// largest magnitude of that output. Errors: those of the importer and the runtime; Internal where the
/// numbers or shapes of outputs differ.
llvm::Expected<double> compareExecution(mlir::ModuleOp module, llvm::StringRef path,
                                        llvm::ArrayRef<std::vector<Tensor>> samples);

} // namespace nibble::onnx_export

#endif

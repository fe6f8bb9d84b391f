//===- MatMulNBits.h - weight-only models for ONNX Runtime ------------------===//
#ifndef NIBBLE_EXPORT_ONNX_MATMULNBITS_H
#define NIBBLE_EXPORT_ONNX_MATMULNBITS_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble::onnx_export {

struct MatMulNBitsOptions {
  /// Weights above protobuf's limit, or above this many bytes, go to `<stem>.data`.
  uint64_t externalDataThreshold = uint64_t(1) << 30;
};

/// Writes a weight-only module: nn.matmul and nn.gemm whose weight is stored in blocks of 4 or 8 bits along
/// the reduced axis, with a block size that is a power of two and at least 16, become
/// com.microsoft.MatMulNBits, and nn.gather from a table with such blocks in its rows GatherBlockQuantized;
/// other stored weights become DequantizeLinear in front of a float operator. `notes`, if given, receives one
/// line per product or gather for which that is so, with the reason.
/// Written atomically. Errors: IO, Unsupported, BadInput.
llvm::Error exportMatMulNBits(mlir::ModuleOp module, llvm::StringRef path, const MatMulNBitsOptions &options,
                              std::vector<std::string> *notes = nullptr);

} // namespace nibble::onnx_export

#endif

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

/// Writes a weight-only module: nn.matmul and nn.gemm with a stored weight of 4 or 8 bits become
/// com.microsoft.MatMulNBits, and nn.gather from such a table GatherBlockQuantized. Blocks must run along the
/// reduced axis (of a table, along its rows) and their size be a power of two and at least 16; one scale per
/// output channel, per row or per tensor is repeated for blocks of up to 256. In this form ONNX Runtime
/// multiplies with the stored weights as they are, whereas it may round the activations of a product with
/// DequantizeLinear to 8 bits when it optimizes. Other stored weights become DequantizeLinear in front of a
/// float operator. Addends, norms and all else stay float. `notes`, if given, receives one
/// line per product or gather for which that is so, with the reason.
/// Written atomically. Errors: IO, Unsupported, BadInput.
llvm::Error exportMatMulNBits(mlir::ModuleOp module, llvm::StringRef path, const MatMulNBitsOptions &options,
                              std::vector<std::string> *notes = nullptr);

} // namespace nibble::onnx_export

#endif

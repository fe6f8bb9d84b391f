//===- Operators.h - nn operations as ONNX nodes ----------------------------===//
#ifndef NIBBLE_EXPORT_ONNX_OPERATORS_H
#define NIBBLE_EXPORT_ONNX_OPERATORS_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"
#include "mlir/IR/Operation.h"
#include "onnx/onnx_pb.h"
#include <string>

namespace nibble::onnx_export {

/// Fills operator type, domain, inputs and attributes of `node` from `op`, an nn operation that has an
/// ONNX counterpart of the same meaning at opset 21 or in com.microsoft. `nameOf` gives the ONNX name
/// of an operand. Names and outputs are left to the caller. Errors: Unsupported (names the node).
llvm::Error fillNode(mlir::Operation *op, llvm::function_ref<std::string(mlir::Value)> nameOf,
                     onnx::NodeProto &node);

/// Sets an integer attribute.
void addAttribute(onnx::NodeProto &node, llvm::StringRef name, int64_t value);

} // namespace nibble::onnx_export

#endif

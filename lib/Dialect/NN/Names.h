//===- Names.h - ONNX names carried by locations ---------------------------===//
//
// An operation made from an ONNX node has the location
//   "node name"(fused["first result", "second result", ...])
// so that diagnostics name the node and every tensor keeps its ONNX name through
// rewrites. A pass that replaces a value gives the new operation the old
// location, or one made with makeLocation.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_DIALECT_NN_NAMES_H
#define NIBBLE_DIALECT_NN_NAMES_H

#include "mlir/IR/Location.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include <string>

namespace nibble::nn {

/// A location for a node and the tensors it makes, in result order.
mlir::Location makeLocation(mlir::MLIRContext *context, llvm::StringRef nodeName,
                            llvm::ArrayRef<llvm::StringRef> tensorNames);
/// The location of an operation that a rewrite of `op` creates beside it: node "<node>/<suffix>", one
/// tensor "<first tensor of op>/<suffix>".
mlir::Location makeDerivedLocation(mlir::Operation *op, llvm::StringRef suffix);

/// The ONNX node name of an operation, or its operation name where it has none.
std::string nodeName(mlir::Operation *op);
/// The ONNX tensor name of a value, the same inside and outside of blocks: from the location of its
/// operation, or the `nn.name` attribute of a function argument. Empty where it has none.
std::string tensorName(mlir::Value value);

/// Name of the argument and result attribute with the ONNX name of a graph input or output.
inline constexpr llvm::StringLiteral nameAttribute = "nn.name";
/// Name of the argument and result attribute of an integer program with the symbol of the quantizer whose integers
/// a graph input or output holds; absent where they are numbers.
inline constexpr llvm::StringLiteral encodingAttribute = "nn.encoding";
/// Name of the argument attribute with the symbols of a graph input's dimensions: an array of strings,
/// one per dimension, empty where the dimension is a number. Absent where all are numbers.
inline constexpr llvm::StringLiteral symbolsAttribute = "nn.symbols";

} // namespace nibble::nn

#endif

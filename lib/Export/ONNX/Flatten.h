//===- Flatten.h - a module with one function and no blocks -----------------===//
#ifndef NIBBLE_EXPORT_ONNX_FLATTEN_H
#define NIBBLE_EXPORT_ONNX_FLATTEN_H

#include "lib/Dialect/NN/NNDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

namespace nibble::onnx_export {

/// A copy of `module`'s @main and quantizers in which nn.block is replaced by its body. Weights are
/// references, so the copy is small. Errors: BadInput where there is no function @main.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> flattenModule(mlir::ModuleOp module);
/// A module whose @main is the body of `block`; arguments and results are named after the block's
/// operands and results. Quantizers come from `symbolScope`. With `quantizeEdges`, an operand that another
/// block rounded is rounded again, which changes no value, and a result that all its readers round through
/// one quantizer is rounded here: the edges then show their integers.
mlir::OwningOpRef<mlir::ModuleOp> flattenBlock(nn::BlockOp block, mlir::ModuleOp symbolScope, bool quantizeEdges);

/// @main of a module that one of the functions above returned.
mlir::func::FuncOp mainFunction(mlir::ModuleOp flat);

} // namespace nibble::onnx_export

#endif

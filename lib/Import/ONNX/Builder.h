//===- Builder.h - a checked model to nn operations ------------------------===//
#ifndef NIBBLE_IMPORT_ONNX_BUILDER_H
#define NIBBLE_IMPORT_ONNX_BUILDER_H

#include "lib/Import/ONNX/Checker.h"
#include "lib/Import/ONNX/Import.h"

namespace nibble::onnx_import {

/// Makes the module of `model`. Errors: Unsupported, BadInput (shapes that do not fit), Usage (bindings
/// of symbols that no input has).
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> buildModule(const CheckedModel &model, mlir::MLIRContext &context,
                                                              const ImportOptions &options);

/// The symbol of dimension `axis` of an input, or an empty string where it has a value. A dimension
/// without value and name is called "<input>.<axis>".
std::string dimensionSymbol(const onnx::ValueInfoProto &input, int axis);

} // namespace nibble::onnx_import

#endif

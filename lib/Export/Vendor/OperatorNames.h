//===- OperatorNames.h - ONNX operators as targets name them --------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_OPERATORNAMES_H
#define NIBBLE_EXPORT_VENDOR_OPERATORNAMES_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace nibble::vendor {

/// The operation of the nn dialect that is exported as `operatorType`: "LayerNormalization" to
/// "layer_normalization", "MatMul" to "matmul".
std::string operationName(llvm::StringRef operatorType);

} // namespace nibble::vendor

#endif

//===- Import.h - ONNX to the nn dialect -----------------------------------===//
//
// Reader (bounded parse, weights left in the mapped files) -> Checker (every rule that the Builder
// relies on) -> Builder (nn operations with ONNX names as locations).
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_IMPORT_ONNX_IMPORT_H
#define NIBBLE_IMPORT_ONNX_IMPORT_H

#include "lib/Support/Error.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>
#include <string>
#include <vector>

namespace nibble::onnx_import {

/// Reads `--bind` arguments of the form NAME=VALUE, value a number of at least 0. Errors: Usage.
llvm::Expected<std::map<std::string, int64_t>> parseBindings(llvm::ArrayRef<std::string> arguments);

struct ImportOptions {
  /// Values of symbolic dimensions, from `--bind NAME=VALUE`. A name that no input has is an error.
  std::map<std::string, int64_t> bindings;
};

/// A symbolic dimension of a graph input: its name, and the inputs and axes that carry it.
struct SymbolicDimension {
  std::string name;
  std::vector<std::pair<std::string, int64_t>> uses;
};

/// A graph input or output: name, element type as ONNX spells it, dimensions (-1 where symbolic,
/// with the symbol in `symbols`).
struct GraphValue {
  std::string name;
  std::string elementType;
  std::vector<int64_t> shape;
  std::vector<std::string> symbols;
};

/// What `nibble inspect` prints; made without building IR.
struct ModelSummary {
  int64_t irVersion = 0;
  std::vector<std::pair<std::string, int64_t>> opsets;
  std::string producer;
  std::vector<GraphValue> inputs, outputs;
  /// "domain::OpType" (domain omitted where it is ai.onnx) to number of nodes, subgraphs included.
  std::map<std::string, int64_t> operators;
  int64_t parameterCount = 0;
  std::map<std::string, int64_t> bytesByElementType;
  int64_t fileBytes = 0, externalBytes = 0;
  /// Paths of the files that hold external data, sorted.
  std::vector<std::string> externalFiles;
  std::vector<SymbolicDimension> symbolicDimensions;
};

/// Errors: IO, BadInput, Limit; each names the file and the field, node or tensor.
llvm::Expected<ModelSummary> summarizeModel(llvm::StringRef path);

/// Imports a model into a module with one function @main, whose arguments and results carry
/// `nn.name`. Dimensions that are not bound stay dynamic. Initializers are `nn.constant` with blobs
/// in the mapped files (small ones inline). The context must have the nn and func dialects loaded.
/// Errors: IO, BadInput, Limit, Unsupported (operator, type, option: names node, reason, remedy).
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> importModel(llvm::StringRef path, mlir::MLIRContext &context,
                                                              const ImportOptions &options);

} // namespace nibble::onnx_import

#endif

//===- QDQ.h - the quantized model as ONNX ---------------------------------===//
#ifndef NIBBLE_EXPORT_ONNX_QDQ_H
#define NIBBLE_EXPORT_ONNX_QDQ_H

#include "lib/Dialect/NN/NNDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble::onnx_export {

/// How a graph input or output is stored where the graph has integer I/O.
struct IntegerIO {
  std::string name;
  bool isInput = true;
  ElementType storage;
  float scale = 1;
  int64_t zeroPoint = 0;
  Shape shape;
};

struct QDQOptions {
  /// Graph inputs and outputs that have a quantizer are integers, without Q/DQ at the edge.
  bool integerIO = false;
  /// Leave out every quantizer and write stored weights as the float32 values that they stand for: the
  /// model that files of encodings belong to.
  bool dropQuantizers = false;
  /// Weights above protobuf's limit, or above this many bytes, go to `<stem>.data`.
  uint64_t externalDataThreshold = uint64_t(1) << 30;
};

/// The serialized ModelProto of a quantized module (float operations with nn.fake_quant and
/// nn.dequantize_weight become QuantizeLinear/DequantizeLinear; nn.block is inlined): IR version 10, opset 21.
/// Deterministic. `io`, if given, receives the integer inputs and outputs.
/// Errors: Unsupported (names the node), Limit.
llvm::Expected<std::string> exportQDQToMemory(mlir::ModuleOp module, const QDQOptions &options,
                                              std::vector<IntegerIO> *io = nullptr);
/// The same for one block of the module, as a model of its own. With `integerIO`, operands that another block
/// rounded and results that all their readers round through one quantizer are integers too.
llvm::Expected<std::string> exportBlockQDQToMemory(nn::BlockOp block, mlir::ModuleOp symbolScope,
                                                   const QDQOptions &options, std::vector<IntegerIO> *io = nullptr);
/// Streams weights to the file; written atomically. Errors: IO and those above.
llvm::Error exportQDQ(mlir::ModuleOp module, llvm::StringRef path, const QDQOptions &options);

} // namespace nibble::onnx_export

#endif

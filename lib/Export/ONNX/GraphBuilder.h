//===- GraphBuilder.h - a flat nn program as an ONNX graph ------------------===//
#ifndef NIBBLE_EXPORT_ONNX_GRAPHBUILDER_H
#define NIBBLE_EXPORT_ONNX_GRAPHBUILDER_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Export/ONNX/ModelWriter.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Export/ONNX/TensorNames.h"
#include "lib/Quant/Encoding.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringMap.h"
#include <map>
#include <tuple>

namespace nibble::onnx_export {

struct GraphOptions {
  enum class Form {
    /// QuantizeLinear and DequantizeLinear.
    QDQ,
    /// As QDQ, but products with weights in blocks of 4 or 8 bits are MatMulNBits.
    MatMulNBits,
    /// No quantizers; stored weights are written as the reals that they stand for.
    Float,
  };
  Form form = Form::QDQ;
  bool integerIO = false;
};

struct BlockMatrix;

/// Turns the module made by flattenModule or flattenBlock into the graph of a ModelWriter. The module
/// must outlive the writer's last writing, as weights are read then.
class GraphBuilder {
public:
  GraphBuilder(mlir::ModuleOp flat, ModelWriter &writer, const GraphOptions &options);

  /// `io`, if given, receives integer inputs and outputs; `notes` one line per product that could not
  /// become MatMulNBits. Errors: Unsupported, BadInput (each names the node).
  llvm::Error build(std::vector<IntegerIO> *io, std::vector<std::string> *notes);

private:
  llvm::Error buildInputs(std::vector<IntegerIO> *io);
  llvm::Error buildOutputs(std::vector<IntegerIO> *io);
  llvm::Error buildOperation(mlir::Operation *op, std::vector<std::string> *notes);
  llvm::Error buildFakeQuant(nn::FakeQuantOp op);
  /// The tensor that QuantizeLinear reads. It saturates at the range of its type, so a narrower range is
  /// cut before; a bound is a grid point, which rounds to itself, so the result is exact.
  llvm::Expected<std::string> buildRangeLimit(nn::FakeQuantOp op, const quant::Encoding &encoding);
  llvm::Error buildDequantizeWeight(nn::DequantizeWeightOp op);
  llvm::Error buildFloatWeight(nn::DequantizeWeightOp op);
  /// Emits `value` where it is a constant or a weight that was not emitted yet.
  llvm::Error buildConstant(mlir::Operation *reader, mlir::Value value);
  /// The same for all operands of `op`.
  llvm::Error buildConstantOperands(mlir::Operation *op);
  /// Returns whether `op` became a MatMulNBits or GatherBlockQuantized node.
  llvm::Expected<bool> buildWithPackedWeight(mlir::Operation *op, std::vector<std::string> *notes);
  llvm::Error buildMatMulNBits(mlir::Operation *op, BlockMatrix matrix);
  llvm::Error buildGatherBlockQuantized(nn::GatherOp op, BlockMatrix matrix);

  /// Names of the initializers of a quantizer for a tensor of `shape`.
  struct ScaleNames {
    std::string scale, zeroPoint;
  };
  llvm::Expected<ScaleNames> buildScales(nn::QuantizerOp quantizer, const quant::Encoding &encoding,
                                         llvm::ArrayRef<int64_t> shape);
  /// An initializer made from a quantizer's numbers when it is written, so that large tables are not kept.
  void addFromEncoding(std::string name, ElementType type, Shape shape, nn::QuantizerOp quantizer,
                       std::function<llvm::Expected<Tensor>(const quant::Encoding &)> make);
  llvm::Expected<quant::Encoding> encodingOf(mlir::Operation *op, mlir::FlatSymbolRefAttr symbol,
                                             nn::QuantizerOp &quantizer);

  onnx::NodeProto &addNode(llvm::StringRef name, llvm::StringRef type, llvm::ArrayRef<std::string> inputs,
                           const std::string &output);
  /// QuantizeLinear or DequantizeLinear.
  onnx::NodeProto &addScaleNode(bool quantizes, const std::string &input, const ScaleNames &scales,
                                const quant::Encoding &encoding, const std::string &output);
  /// The integers `from`, which `op` rounded, under another name. The vendor's compiler takes no Identity of integers,
  /// so they are dequantized and quantized again, which changes none.
  llvm::Error addIntegerCopy(nn::FakeQuantOp op, const std::string &from, const std::string &to);
  void addValueInfo(const std::string &name, mlir::Type elementType, mlir::Type shapedType);

  mlir::ModuleOp module;
  mlir::func::FuncOp function;
  ModelWriter &writer;
  GraphOptions options;
  TensorNames names;
  llvm::StringSet<> nodeNames;
  llvm::StringSet<> emittedTensors;
  llvm::StringMap<ScaleNames> scalesOfQuantizer;
  /// The quantizer that each stored weight was first written for.
  llvm::StringMap<std::string> quantizerOfStored;
  struct PackedNames {
    std::string weight, scale, zeroPoint;
  };
  PackedNames makePackedNames(const std::string &weight);
  /// By name of the stored weight, quantizer and whether the matrix is transposed.
  std::map<std::tuple<std::string, std::string, bool>, PackedNames> packedWeights;
  std::map<std::pair<std::string, std::string>, PackedNames> packedTables;
  struct IntegerValue {
    nn::QuantizerOp quantizer;
    std::string name;
  };
  /// Arguments and returned results of nn.fake_quant that cross the graph's edge as integers, with the
  /// tensor that holds these.
  llvm::DenseMap<mlir::Value, IntegerValue> integerValues;
};

/// Zero points in their storage type; `zeroPoints` empty means zeros.
Tensor makeZeroPoints(ElementType storage, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int32_t> zeroPoints);

} // namespace nibble::onnx_export

#endif

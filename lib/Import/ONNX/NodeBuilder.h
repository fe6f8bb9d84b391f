//===- NodeBuilder.h - one ONNX node becoming nn operations ----------------===//
#ifndef NIBBLE_IMPORT_ONNX_NODEBUILDER_H
#define NIBBLE_IMPORT_ONNX_NODEBUILDER_H

#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Import/ONNX/Checker.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace nibble::onnx_import {

/// What a conversion sees of its node, and how it makes operations. Operations get their result
/// types from shape inference as they are made. The first error is kept and reported by the driver;
/// a conversion may go on after it.
class NodeBuilder {
public:
  NodeBuilder(mlir::OpBuilder &builder, mlir::ModuleOp module, const CheckedModel &model, const onnx::NodeProto &node,
              llvm::SmallVector<mlir::Value> operands, llvm::SmallVector<bool> usedOutputs);

  const onnx::NodeProto &node() const { return proto; }
  int64_t opset() const { return model.opset(proto.domain()); }
  mlir::OpBuilder &builder() { return opBuilder; }
  mlir::MLIRContext *context() { return opBuilder.getContext(); }
  mlir::ModuleOp module() { return moduleOp; }

  /// Operand `index`, or null where it is absent.
  mlir::Value operand(unsigned index) const { return index < operands.size() ? operands[index] : mlir::Value(); }
  llvm::ArrayRef<mlir::Value> allOperands() const { return operands; }
  unsigned outputCount() const { return proto.output_size(); }
  /// Whether a later node or the graph reads output `index`.
  bool isUsed(unsigned index) const { return index < usedOutputs.size() && usedOutputs[index]; }

  bool has(llvm::StringRef attribute) const { return find(attribute) != nullptr; }
  int64_t integer(llvm::StringRef attribute, int64_t whenAbsent) const;
  bool flag(llvm::StringRef attribute, bool whenAbsent = false) const { return integer(attribute, whenAbsent) != 0; }
  float number(llvm::StringRef attribute, float whenAbsent) const;
  llvm::StringRef text(llvm::StringRef attribute, llvm::StringRef whenAbsent) const;
  llvm::SmallVector<int64_t> integers(llvm::StringRef attribute) const;
  llvm::SmallVector<float> numbers(llvm::StringRef attribute) const;
  const onnx::AttributeProto *find(llvm::StringRef attribute) const;

  /// The location of the node's own operation.
  mlir::Location location() const;
  /// The location of an operation beside it; nodes and tensors are named "<name>/<suffix>".
  mlir::Location location(llvm::StringRef suffix) const;
  /// The location of an operation beside it that makes the node's output `index` alone.
  mlir::Location outputLocation(llvm::StringRef suffix, unsigned index) const;

  /// Makes an operation that gives the node's outputs.
  template <typename OpT, typename... Args> OpT make(Args &&...args) {
    return makeAt<OpT>(location(), std::forward<Args>(args)...);
  }
  /// Makes an operation for an intermediate value.
  template <typename OpT, typename... Args> OpT makeStep(llvm::StringRef suffix, Args &&...args) {
    return makeAt<OpT>(location(suffix), std::forward<Args>(args)...);
  }
  /// A rank-1 int64 constant.
  mlir::Value integersConstant(llvm::StringRef suffix, llvm::ArrayRef<int64_t> values) {
    return nn::createIntegers(opBuilder, location(suffix), values);
  }
  /// A rank-0 constant of the float element type of `like`.
  mlir::Value scalarConstant(llvm::StringRef suffix, double value, mlir::Value like);
  /// nn.constant with the values of `tensor`, as the node's own operation.
  mlir::Value constant(const Tensor &tensor);
  /// The same for a tensor attribute; its bytes stay in their file where they are there.
  mlir::Value constant(const onnx::AttributeProto &attribute);
  /// The values of a tensor attribute; nullopt after recording an error.
  std::optional<Tensor> read(const onnx::AttributeProto &attribute);

  /// Makes `value` the node's output `index`.
  void setOutput(unsigned index, mlir::Value value) { outputs[index] = value; }
  mlir::Value output(unsigned index) const { return outputs[index]; }
  /// All results of `op`, in order, as the node's outputs.
  template <typename OpT> void setOutputs(OpT op) {
    for (unsigned i = 0; i < std::min<unsigned>(op->getNumResults(), outputs.size()); ++i)
      outputs[i] = op->getResult(i);
  }

  /// The shape of `value`, ShapedType::kDynamic where it is not known; empty once the node has failed.
  llvm::ArrayRef<int64_t> shape(mlir::Value value) const {
    auto type = mlir::dyn_cast<mlir::RankedTensorType>(value.getType());
    return type ? type.getShape() : llvm::ArrayRef<int64_t>();
  }
  int64_t rank(mlir::Value value) const { return static_cast<int64_t>(shape(value).size()); }

  /// Records that the node cannot be imported; `remedy` may be empty.
  void unsupported(const llvm::Twine &reason, llvm::StringRef remedy = {});
  /// Records that the node is not legal ONNX.
  void invalid(const llvm::Twine &reason);
  void fail(llvm::Error error);
  bool failed() const { return static_cast<bool>(firstError); }
  llvm::Error takeError();

private:
  template <typename OpT, typename... Args> OpT makeAt(mlir::Location at, Args &&...args) {
    mlir::Type open = mlir::UnrankedTensorType::get(opBuilder.getF32Type());
    OpT op;
    if constexpr (OpT::template hasTrait<mlir::OpTrait::OneResult>())
      op = OpT::create(opBuilder, at, open, std::forward<Args>(args)...);
    else if constexpr (OpT::template hasTrait<mlir::OpTrait::VariadicResults>())
      op = OpT::create(opBuilder, at, llvm::SmallVector<mlir::Type>(outputs.size(), open), std::forward<Args>(args)...);
    else
      op = OpT::create(opBuilder, at, llvm::SmallVector<mlir::Type>(resultCount<OpT>(), open),
                       std::forward<Args>(args)...);
    inferTypes(op);
    return op;
  }
  template <typename OpT> static constexpr unsigned resultCount() {
    return OpT::template hasTrait<mlir::OpTrait::NResults<2>::Impl>() ? 2 : 3;
  }
  void inferTypes(mlir::Operation *op);

  mlir::OpBuilder &opBuilder;
  mlir::ModuleOp moduleOp;
  const CheckedModel &model;
  const onnx::NodeProto &proto;
  llvm::SmallVector<mlir::Value> operands;
  llvm::SmallVector<bool> usedOutputs;
  llvm::SmallVector<mlir::Value> outputs;
  std::optional<llvm::Error> firstError;
};

/// nn.constant for a tensor of the model: a reference to the bytes where they stayed in a file, which is
/// made known to the dialect's BlobStore; small values inline. Errors: BadInput, Unsupported, IO.
llvm::Expected<mlir::Value> makeConstant(mlir::OpBuilder &builder, mlir::Location location,
                                         const CheckedTensor &tensor, llvm::StringRef what);

/// Converts one node; sets its outputs or records an error.
using Conversion = void (*)(NodeBuilder &);
/// By "OpType", or "domain::OpType" for other domains than ONNX's own.
using ConversionTable = llvm::StringMap<Conversion>;

void addElementwiseConversions(ConversionTable &table);
void addMovementConversions(ConversionTable &table);
void addComputeConversions(ConversionTable &table);
void addRuntimeConversions(ConversionTable &table);

/// The conversions of all operators that can be imported.
const ConversionTable &conversionTable();

} // namespace nibble::onnx_import

#endif

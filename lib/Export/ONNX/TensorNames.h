//===- TensorNames.h - unique ONNX names of a program's values --------------===//
#ifndef NIBBLE_EXPORT_ONNX_TENSORNAMES_H
#define NIBBLE_EXPORT_ONNX_TENSORNAMES_H

#include "lib/Dialect/NN/NNDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"
#include <map>
#include <string>
#include <vector>

namespace nibble::onnx_export {

/// Names for every value of a function without nn.block: the ONNX name that the value carries where it
/// is free, else the name with "_1", "_2", ... The graph's inputs and outputs keep theirs. Constants with
/// equal contents share one name.
class TensorNames {
public:
  enum class Form {
    /// The result of a quantizer has a name of its own, "<input>/dq".
    Quantized,
    /// Quantizers are looked through: their result has the name of what they quantize.
    Float,
  };
  TensorNames(mlir::func::FuncOp function, Form form);

  const std::string &of(mlir::Value value) const { return names.find(value)->second; }
  void set(mlir::Value value, std::string name) { names[value] = std::move(name); }
  /// The names of the graph's outputs, in order.
  const std::vector<std::string> &outputs() const { return outputNames; }
  /// Whether output `index` is the name of the value that is returned there; false where one value is
  /// returned twice, or an argument or a constant is returned.
  bool ownsOutput(size_t index) const { return owners[index]; }

  /// `wanted` if no tensor has this name yet, else with a number appended.
  std::string makeUnique(llvm::StringRef wanted);

private:
  void nameResults(mlir::Operation *op, Form form);
  /// The first constant of the same bytes, so that a mask that every layer has is written once.
  mlir::Attribute findSameContent(nn::ConstantOp constant);
  std::map<std::string, mlir::Attribute> blobsByContent;
  llvm::DenseMap<mlir::Value, std::string> names;
  llvm::DenseMap<std::pair<mlir::Attribute, mlir::Type>, std::string> constantNames;
  std::map<std::pair<std::string, std::string>, std::string> realNames;
  llvm::StringSet<> used, reservedOutputs, quantizedConstants;
  std::vector<std::string> outputNames;
  std::vector<bool> owners;
};

/// The value behind nn.fake_quant operations.
mlir::Value skipFakeQuants(mlir::Value value);

} // namespace nibble::onnx_export

#endif

//===- Checker.h - every rule that the Builder relies on -------------------===//
#ifndef NIBBLE_IMPORT_ONNX_CHECKER_H
#define NIBBLE_IMPORT_ONNX_CHECKER_H

#include "lib/Import/ONNX/ModelFile.h"
#include "lib/Support/Tensor.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include <map>
#include <optional>

namespace nibble::onnx_import {

/// A tensor of the model whose type, shape and number of bytes are consistent.
struct CheckedTensor {
  const onnx::TensorProto *proto = nullptr;
  /// onnx::TensorProto::DataType.
  int32_t dataType = 0;
  Shape shape;
  int64_t elements = 0;
  /// Bytes that the elements take in storage, strings aside.
  int64_t byteSize = 0;
  /// Where the bytes are, if they stayed in a file; otherwise they are in `proto`.
  std::optional<MappedBytes> mapped;
};

/// The storage type of an ONNX data type, or nullopt for strings, complex numbers and 8- or 4-bit floats.
std::optional<ElementType> toElementType(int32_t dataType);
/// ONNX's word for a data type in lower case ("float", "int64"), or "type N".
std::string dataTypeName(int32_t dataType);

/// Copies the values of a tensor that has no mapped bytes, or of any small one. Errors: BadInput where
/// a value does not fit its type; Unsupported where the type has no storage type.
llvm::Expected<Tensor> readTensor(const CheckedTensor &tensor, llvm::StringRef what);

/// "node 'name' (OpType)", or with the first output's name where the node has none.
std::string describe(const onnx::NodeProto &node);

/// A model in which these hold, subgraphs included:
/// - IR version and opsets are known ones, one per domain; every domain used is imported;
/// - functions are acyclic and have been inlined;
/// - names are unique, every tensor is made before it is used, graph outputs exist;
/// - every operator of ONNX and those of com.microsoft that the Builder knows has the inputs, outputs,
///   attributes (presence, type, range) and element types that its schema wants;
/// - tensors' dimensions, element counts and bytes agree; bytes lie inside their file.
/// The Builder takes nothing else.
class CheckedModel {
public:
  /// Errors: BadInput, Limit, Unsupported (opset, IR version, sequence types, sparse tensors).
  static llvm::Expected<CheckedModel> check(std::unique_ptr<ModelFile> file);

  const onnx::ModelProto &model() const { return file->model; }
  const onnx::GraphProto &graph() const { return file->model.graph(); }
  llvm::StringRef path() const { return file->path(); }
  const ModelFile &modelFile() const { return *file; }
  /// The version of a domain that the model imports; domain "" is ONNX's own.
  int64_t opset(llvm::StringRef domain) const;
  const std::map<std::string, int64_t> &opsets() const { return versions; }
  /// `tensor` must be part of the model.
  const CheckedTensor &tensor(const onnx::TensorProto &tensor) const { return tensors.at(&tensor); }
  const llvm::DenseMap<const onnx::TensorProto *, CheckedTensor> &allTensors() const { return tensors; }
  /// The data type of a tensor of the main graph; 0 where it is made by an operator without a schema.
  int32_t dataType(llvm::StringRef tensorName) const { return types.lookup(tensorName); }
  /// The initializer of the main graph with this name, or null.
  const onnx::TensorProto *initializer(llvm::StringRef name) const { return initializers.lookup(name); }

private:
  friend class Checker;
  CheckedModel() = default;
  std::unique_ptr<ModelFile> file;
  std::map<std::string, int64_t> versions;
  llvm::DenseMap<const onnx::TensorProto *, CheckedTensor> tensors;
  llvm::StringMap<int32_t> types;
  llvm::StringMap<const onnx::TensorProto *> initializers;
};

// The parts of the Checker that have files of their own.

/// Checks type, shape and bytes of one tensor. Errors name `what`.
llvm::Expected<CheckedTensor> checkTensor(ModelFile &file, const onnx::TensorProto &tensor, llvm::StringRef what);
/// Checks that functions are acyclic and their calls fit, then inlines them. Errors: BadInput, Limit.
llvm::Error inlineFunctions(onnx::ModelProto &model, llvm::StringRef path);
/// Makes onnx's registry know the operators of ONNX Runtime that the Builder knows. Thread safe.
void registerRuntimeSchemas();
/// Checks the values of integer attributes: what arithmetic on shapes relies on. Returns what is wrong,
/// or an empty string.
std::string checkAttributeRanges(const onnx::NodeProto &node);

} // namespace nibble::onnx_import

#endif

//===- ModelWriter.h - a ModelProto whose weights are streamed --------------===//
//
// Protobuf keeps a whole message in memory and copies every byte field into it.
// Here the message holds everything but the initializers; their bytes go from
// where they are (a mapped file, a spill) straight to the output.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_ONNX_MODELWRITER_H
#define NIBBLE_EXPORT_ONNX_MODELWRITER_H

#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include "onnx/onnx_pb.h"
#include <functional>
#include <string>
#include <vector>

namespace nibble::onnx_export {

/// The number of `type` in onnx.TensorProto.DataType.
int32_t toDataType(ElementType type);

/// A stored tensor of the model. `load` is called when its bytes are written, once per writing.
struct Initializer {
  std::string name;
  ElementType type;
  Shape shape;
  std::function<llvm::Expected<Tensor>()> load;
};

class ModelWriter {
public:
  ModelWriter();

  onnx::ModelProto &model() { return proto; }
  onnx::GraphProto &graph() { return *proto.mutable_graph(); }
  void addInitializer(Initializer initializer) { initializers.push_back(std::move(initializer)); }
  void addInitializer(std::string name, Tensor value);
  /// States that the model uses operators of com.microsoft.
  void requireMicrosoftOperators();

  /// Bytes of all initializers.
  uint64_t weightBytes() const;
  /// The serialized model, initializers included. Errors: Limit above protobuf's 2 GiB, and those of `load`.
  llvm::Expected<std::string> writeToMemory() const;
  /// Writes `path`, and `<stem>.data` beside it where the model would be larger than `threshold` bytes or
  /// protobuf's limit. Both files are written atomically, weights first. Errors: IO and those of `load`.
  llvm::Error writeToFile(llvm::StringRef path, uint64_t threshold) const;

private:
  /// Where the initializers' bytes go: after their header, or to `external` under `externalName`.
  llvm::Error write(llvm::raw_ostream &os, llvm::raw_ostream *external, llvm::StringRef externalName) const;
  onnx::ModelProto proto;
  std::vector<Initializer> initializers;
};

} // namespace nibble::onnx_export

#endif

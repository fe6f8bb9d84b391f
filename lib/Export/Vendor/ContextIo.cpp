#include "lib/Export/Vendor/ContextIo.h"
#include "lib/Support/Error.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include <onnx/onnx_pb.h>

namespace nibble::vendor {

static std::optional<ElementType> typeFromOnnx(int type) {
  switch (type) {
  case onnx::TensorProto::FLOAT: return ElementType::F32;
  case onnx::TensorProto::FLOAT16: return ElementType::F16;
  case onnx::TensorProto::INT8: return ElementType::I8;
  case onnx::TensorProto::UINT8: return ElementType::U8;
  case onnx::TensorProto::INT16: return ElementType::I16;
  case onnx::TensorProto::UINT16: return ElementType::U16;
  case onnx::TensorProto::INT32: return ElementType::I32;
  case onnx::TensorProto::UINT32: return ElementType::U32;
  case onnx::TensorProto::INT64: return ElementType::I64;
  case onnx::TensorProto::UINT64: return ElementType::U64;
  case onnx::TensorProto::BOOL: return ElementType::Bool;
  default: return std::nullopt;
  }
}

static llvm::Expected<IoTensor> describe(const onnx::ValueInfoProto &info, bool isInput,
                                         llvm::ArrayRef<onnx_export::IntegerIO> io) {
  IoTensor tensor;
  tensor.name = info.name();
  std::optional<ElementType> type = typeFromOnnx(info.type().tensor_type().elem_type());
  if (!type)
    return makeError(ErrorKind::Internal, "'" + tensor.name + "' of the context model has an element type that is not known");
  tensor.type = *type;
  for (const auto &dim : info.type().tensor_type().shape().dim())
    tensor.shape.push_back(dim.dim_value());
  for (const onnx_export::IntegerIO &entry : io) {
    if (entry.name != tensor.name || entry.isInput != isInput)
      continue;
    if (entry.storage != tensor.type || llvm::ArrayRef(entry.shape) != llvm::ArrayRef(tensor.shape))
      return makeError(ErrorKind::Internal, "'" + tensor.name + "' was exported as " + name(entry.storage) +
                                                formatShape(entry.shape) + " and compiled as " + name(tensor.type) +
                                                formatShape(tensor.shape));
    tensor.scale = entry.scale;
    tensor.zeroPoint = entry.zeroPoint;
  }
  return tensor;
}

llvm::Expected<IoDescription> describeContext(const HtpContext &context, const Target &target,
                                              const VendorLibraries &libraries,
                                              llvm::ArrayRef<onnx_export::IntegerIO> io) {
  IoDescription description;
  description.modelFile = llvm::sys::path::filename(context.contextModelPath).str();
  description.binaryFile = llvm::sys::path::filename(context.binaryPath).str();
  description.binarySha256 = context.binarySha256;
  description.binaryBytes = context.binaryBytes;
  description.graphName = context.graphName;
  description.target = target.name;
  for (auto [key, field] : {std::pair("soc_model", &description.socModel), {"architecture", &description.architecture}})
    if (auto option = target.backendOptions.find(key); option != target.backendOptions.end())
      *field = option->second;
  description.qnnVersion = context.compilerVersion;
  description.onnxRuntimeVersion = libraries.onnxRuntimeVersion;
  description.qnnPackageVersion = libraries.qnnPackageVersion;

  auto file = MappedFile::open(context.contextModelPath);
  if (!file)
    return file.takeError();
  onnx::ModelProto model;
  if (!model.ParseFromArray((*file)->bytes().data(), static_cast<int>((*file)->bytes().size())))
    return makeError(ErrorKind::Internal, "'" + context.contextModelPath + "' is not an ONNX model");
  for (const auto &info : model.graph().input()) {
    auto tensor = describe(info, /*isInput=*/true, io);
    if (!tensor)
      return tensor.takeError();
    description.inputs.push_back(std::move(*tensor));
  }
  for (const auto &info : model.graph().output()) {
    auto tensor = describe(info, /*isInput=*/false, io);
    if (!tensor)
      return tensor.takeError();
    description.outputs.push_back(std::move(*tensor));
  }
  return description;
}

} // namespace nibble::vendor

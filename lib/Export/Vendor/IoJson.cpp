#include "lib/Export/Vendor/IoJson.h"
#include "lib/Quant/Encoding.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <onnx/onnx_pb.h>

namespace json = llvm::json;

namespace nibble::vendor {

static constexpr llvm::StringRef schemaName = "nibble-io-1";

static const std::pair<llvm::StringRef, std::string IoDescription::*> textFields[] = {
    {"model", &IoDescription::modelFile},
    {"graph", &IoDescription::graphName},
    {"target", &IoDescription::target},
    {"soc_model", &IoDescription::socModel},
    {"architecture", &IoDescription::architecture},
    {"qnn_version", &IoDescription::compilerVersion},
    {"onnxruntime_version", &IoDescription::onnxRuntimeVersion},
    {"onnxruntime_qnn_version", &IoDescription::qnnPackageVersion},
};

static std::optional<ElementType> typeFromName(llvm::StringRef word) {
  for (ElementType type : {ElementType::F32, ElementType::F16, ElementType::I4, ElementType::U4, ElementType::I8,
                           ElementType::U8, ElementType::I16, ElementType::U16, ElementType::I32, ElementType::U32,
                           ElementType::I64, ElementType::U64, ElementType::Bool})
    if (name(type) == word)
      return type;
  return std::nullopt;
}

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

static std::string formatShape(llvm::ArrayRef<int64_t> shape) {
  return "[" + llvm::join(llvm::map_range(shape, [](int64_t d) { return std::to_string(d); }), ",") + "]";
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
  description.compilerVersion = context.compilerVersion;
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

static json::Array toJson(llvm::ArrayRef<IoTensor> tensors) {
  json::Array array;
  for (const IoTensor &tensor : tensors) {
    json::Object object{{"name", tensor.name},
                        {"type", name(tensor.type)},
                        {"shape", json::Array(tensor.shape)},
                        {"layout", "row-major"}};
    if (tensor.scale) {
      object["scale"] = static_cast<double>(*tensor.scale);
      object["zero_point"] = tensor.zeroPoint;
    }
    array.push_back(std::move(object));
  }
  return array;
}

std::string formatIo(const IoDescription &description) {
  json::Object object{{"schema", schemaName},
                      {"binary", json::Object{{"file", description.binaryFile},
                                              {"bytes", static_cast<int64_t>(description.binaryBytes)},
                                              {"sha256", description.binarySha256}}},
                      {"inputs", toJson(description.inputs)},
                      {"outputs", toJson(description.outputs)}};
  for (auto [key, field] : textFields)
    object[key] = description.*field;
  return formatJson(std::move(object));
}

static llvm::Error readTensors(const json::Object &root, llvm::StringRef key, llvm::StringRef path,
                               std::vector<IoTensor> &tensors) {
  auto fail = [&](const llvm::Twine &what) {
    return makeError(ErrorKind::BadInput, "'" + path + "': " + what + " under '" + key + "'");
  };
  const json::Array *array = root.getArray(key);
  if (!array)
    return fail("wanted a list");
  for (const json::Value &value : *array) {
    const json::Object *object = value.getAsObject();
    if (!object || !object->getString("name") || !object->getString("type") || !object->getArray("shape"))
      return fail("wanted name, type and shape");
    IoTensor tensor;
    tensor.name = object->getString("name")->str();
    std::optional<ElementType> type = typeFromName(*object->getString("type"));
    if (!type)
      return fail("unknown type '" + *object->getString("type") + "'");
    tensor.type = *type;
    for (const json::Value &dim : *object->getArray("shape")) {
      if (dim.getAsInteger().value_or(-1) < 0)
        return fail("wanted a shape of integers that are not negative");
      tensor.shape.push_back(*dim.getAsInteger());
    }
    if (std::optional<double> scale = object->getNumber("scale")) {
      tensor.scale = static_cast<float>(*scale);
      tensor.zeroPoint = object->getInteger("zero_point").value_or(0);
      if (!(*tensor.scale > 0) || !std::isfinite(*tensor.scale))
        return fail("wanted a positive scale");
    }
    tensors.push_back(std::move(tensor));
  }
  return llvm::Error::success();
}

llvm::Expected<IoDescription> readIo(llvm::StringRef path) {
  llvm::Expected<json::Value> value = readJson(path);
  if (!value)
    return value.takeError();
  const json::Object *root = value->getAsObject();
  auto fail = [&](const llvm::Twine &what) { return makeError(ErrorKind::BadInput, "'" + path + "': " + what); };
  if (!root || root->getString("schema").value_or("") != schemaName)
    return fail("wanted an object with schema '" + schemaName + "'");
  IoDescription description;
  for (auto [key, field] : textFields) {
    std::optional<llvm::StringRef> text = root->getString(key);
    if (!text)
      return fail("key '" + key + "' is missing");
    description.*field = text->str();
  }
  const json::Object *binary = root->getObject("binary");
  if (!binary || !binary->getString("file") || !binary->getString("sha256") || !binary->getInteger("bytes"))
    return fail("wanted file, sha256 and bytes under 'binary'");
  description.binaryFile = binary->getString("file")->str();
  description.binarySha256 = binary->getString("sha256")->str();
  description.binaryBytes = static_cast<uint64_t>(*binary->getInteger("bytes"));
  if (llvm::Error error = readTensors(*root, "inputs", path, description.inputs))
    return std::move(error);
  if (llvm::Error error = readTensors(*root, "outputs", path, description.outputs))
    return std::move(error);
  return description;
}

static quant::Encoding encodingOf(const IoTensor &io) {
  return quant::makeTensorEncoding(io.type, *io.scale, io.zeroPoint);
}

llvm::Expected<Tensor> toStored(const IoTensor &io, const Tensor &real) {
  ElementType wanted = io.scale ? ElementType::F32 : io.type;
  if (real.elementType() != wanted || real.shape() != llvm::ArrayRef<int64_t>(io.shape))
    return makeError(ErrorKind::BadInput, "input '" + io.name + "': wanted " + name(wanted) + formatShape(io.shape) +
                                              ", found " + name(real.elementType()) + formatShape(real.shape()));
  if (!io.scale)
    return real;
  llvm::Expected<Tensor> stored = quant::quantize(real, encodingOf(io));
  if (!stored)
    return makeError(ErrorKind::BadInput, "input '" + io.name + "': " + llvm::toString(stored.takeError()));
  return stored;
}

Tensor toReal(const IoTensor &io, const Tensor &stored) {
  return io.scale ? quant::dequantize(stored, encodingOf(io)) : stored;
}

} // namespace nibble::vendor

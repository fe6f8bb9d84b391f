#include "lib/Export/Io/IoDescription.h"
#include "lib/Quant/Encoding.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include <cmath>

namespace json = llvm::json;

namespace nibble {

static constexpr llvm::StringRef schemaName = "nibble-io-1";

struct TextField {
  llvm::StringRef key;
  std::string IoDescription::*field;
  bool isRequired = false;
};
static const TextField textFields[] = {
    {"model", &IoDescription::modelFile, true},
    {"target", &IoDescription::target, true},
    {"graph", &IoDescription::graphName},
    {"soc_model", &IoDescription::socModel},
    {"architecture", &IoDescription::architecture},
    {"qnn_version", &IoDescription::qnnVersion},
    {"onnxruntime_version", &IoDescription::onnxRuntimeVersion},
    {"onnxruntime_qnn_version", &IoDescription::qnnPackageVersion},
    {"vela_version", &IoDescription::velaVersion},
};

static std::optional<ElementType> typeFromName(llvm::StringRef word) {
  for (ElementType type : {ElementType::F32, ElementType::F16, ElementType::I4, ElementType::U4, ElementType::I8,
                           ElementType::U8, ElementType::I16, ElementType::U16, ElementType::I32, ElementType::U32,
                           ElementType::I64, ElementType::U64, ElementType::Bool})
    if (name(type) == word)
      return type;
  return std::nullopt;
}

static json::Array toJson(llvm::ArrayRef<IoTensor> tensors) {
  json::Array array;
  for (const IoTensor &tensor : tensors) {
    json::Object object{{"name", tensor.name},
                        {"type", name(tensor.type)},
                        {"shape", json::Array(tensor.shape)},
                        {"layout", "row-major"}};
    if (!tensor.nameInFile.empty())
      object["name_in_file"] = tensor.nameInFile;
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
  for (const TextField &text : textFields)
    if (text.isRequired || !(description.*text.field).empty())
      object[text.key] = description.*text.field;
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
    tensor.nameInFile = object->getString("name_in_file").value_or("").str();
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
  for (const TextField &field : textFields) {
    std::optional<llvm::StringRef> text = root->getString(field.key);
    if (!text && field.isRequired)
      return fail("key '" + field.key + "' is missing");
    description.*field.field = text.value_or("").str();
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

llvm::Expected<IoDescription> readIoBeside(llvm::StringRef modelPath) {
  llvm::SmallString<128> ioPath(llvm::sys::path::parent_path(modelPath));
  llvm::sys::path::append(ioPath, "io.json");
  llvm::Expected<IoDescription> io = readIo(ioPath);
  if (io && io->modelFile != llvm::sys::path::filename(modelPath))
    return makeError(ErrorKind::BadInput, "'" + ioPath + "' describes '" + io->modelFile + "', not '" +
                                              llvm::sys::path::filename(modelPath) + "'");
  return io;
}

static quant::Encoding encodingOf(const IoTensor &io) {
  return quant::makeTensorEncoding(io.type, *io.scale, io.zeroPoint);
}

/// int64 numbers in 32 bits.
static llvm::Expected<Tensor> narrow(const IoTensor &io, const Tensor &numbers) {
  Tensor stored = Tensor::allocate(ElementType::I32, numbers.shape());
  for (auto [i, value] : llvm::enumerate(numbers.values<int64_t>())) {
    if (value < INT32_MIN || value > INT32_MAX)
      return makeError(ErrorKind::BadInput, "input '" + io.name + "' holds " + llvm::Twine(value) +
                                                ", and an integer program takes 32 bits");
    stored.mutableData<int32_t>()[i] = static_cast<int32_t>(value);
  }
  return stored;
}

llvm::Expected<Tensor> toStored(const IoTensor &io, const Tensor &real) {
  ElementType wanted = io.scale ? ElementType::F32 : io.type;
  bool narrows = wanted == ElementType::I32 && real.elementType() == ElementType::I64;
  if ((real.elementType() != wanted && !narrows) || real.shape() != llvm::ArrayRef<int64_t>(io.shape))
    return makeError(ErrorKind::BadInput, "input '" + io.name + "': wanted " + name(wanted) + formatShape(io.shape) +
                                              ", found " + name(real.elementType()) + formatShape(real.shape()));
  if (narrows)
    return narrow(io, real);
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

} // namespace nibble

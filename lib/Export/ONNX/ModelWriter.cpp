#include "lib/Export/ONNX/ModelWriter.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/LEB128.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <algorithm>
#include <limits>

namespace nibble::onnx_export {

/// Protobuf refuses larger messages.
static constexpr uint64_t protobufLimit = std::numeric_limits<int32_t>::max();
/// Smaller tensors stay in the model even where it has external data: shapes and axes must be readable
/// without the data file, as shape inference needs their values.
static constexpr int64_t externalMinimumBytes = 1024;
/// Alignment of tensors in the data file, so that mapped weights suit vector loads.
static constexpr uint64_t externalAlignment = 64;

/// Tags of length-delimited fields: field number, wire type 2.
static constexpr uint64_t modelGraphTag = 7 << 3 | 2;
static constexpr uint64_t graphInitializerTag = 5 << 3 | 2;
static constexpr uint64_t tensorRawDataTag = 9 << 3 | 2;

int32_t toDataType(ElementType type) {
  switch (type) {
  case ElementType::F32: return onnx::TensorProto::FLOAT;
  case ElementType::F64: return onnx::TensorProto::DOUBLE;
  case ElementType::F16: return onnx::TensorProto::FLOAT16;
  case ElementType::BF16: return onnx::TensorProto::BFLOAT16;
  case ElementType::I4: return onnx::TensorProto::INT4;
  case ElementType::U4: return onnx::TensorProto::UINT4;
  case ElementType::I8: return onnx::TensorProto::INT8;
  case ElementType::U8: return onnx::TensorProto::UINT8;
  case ElementType::I16: return onnx::TensorProto::INT16;
  case ElementType::U16: return onnx::TensorProto::UINT16;
  case ElementType::I32: return onnx::TensorProto::INT32;
  case ElementType::U32: return onnx::TensorProto::UINT32;
  case ElementType::I64: return onnx::TensorProto::INT64;
  case ElementType::U64: return onnx::TensorProto::UINT64;
  case ElementType::Bool: return onnx::TensorProto::BOOL;
  }
  return onnx::TensorProto::UNDEFINED;
}

ModelWriter::ModelWriter() {
  proto.set_ir_version(10);
  proto.set_producer_name("nibble");
  proto.set_producer_version(NIBBLE_VERSION);
  onnx::OperatorSetIdProto *opset = proto.add_opset_import();
  opset->set_domain("");
  opset->set_version(21);
}

void ModelWriter::addInitializer(std::string name, Tensor value) {
  ElementType type = value.elementType();
  Shape shape(value.shape());
  addInitializer({std::move(name), type, std::move(shape), [value]() -> llvm::Expected<Tensor> { return value; }});
}

void ModelWriter::requireMicrosoftOperators() {
  if (proto.opset_import_size() > 1)
    return;
  onnx::OperatorSetIdProto *opset = proto.add_opset_import();
  opset->set_domain("com.microsoft");
  opset->set_version(1);
}

static uint64_t bytesOf(const Initializer &initializer) {
  return static_cast<uint64_t>(byteSize(initializer.type, elementCount(initializer.shape)));
}

uint64_t ModelWriter::weightBytes() const {
  uint64_t bytes = 0;
  for (const Initializer &initializer : initializers)
    bytes += bytesOf(initializer);
  return bytes;
}

static void addExternalEntry(onnx::TensorProto &tensor, const char *key, std::string value) {
  onnx::StringStringEntryProto *entry = tensor.add_external_data();
  entry->set_key(key);
  entry->set_value(std::move(value));
}

llvm::Error ModelWriter::write(llvm::raw_ostream &os, llvm::raw_ostream *external,
                               llvm::StringRef externalName) const {
  struct Piece {
    std::string header;
    bool isExternal;
    uint64_t offset, bytes;
    /// Bytes of the tensor message, raw data included.
    uint64_t messageSize;
  };
  std::vector<Piece> pieces;
  pieces.reserve(initializers.size());
  uint64_t externalEnd = 0;
  uint64_t graphSize = proto.graph().ByteSizeLong();
  for (const Initializer &initializer : initializers) {
    onnx::TensorProto tensor;
    for (int64_t dimension : initializer.shape)
      tensor.add_dims(dimension);
    tensor.set_data_type(toDataType(initializer.type));
    tensor.set_name(initializer.name);
    Piece piece;
    piece.bytes = bytesOf(initializer);
    piece.isExternal = external && piece.bytes >= externalMinimumBytes;
    piece.offset = llvm::alignTo(externalEnd, externalAlignment);
    if (piece.isExternal) {
      tensor.set_data_location(onnx::TensorProto::EXTERNAL);
      addExternalEntry(tensor, "location", externalName.str());
      addExternalEntry(tensor, "offset", std::to_string(piece.offset));
      addExternalEntry(tensor, "length", std::to_string(piece.bytes));
      externalEnd = piece.offset + piece.bytes;
    }
    piece.header = tensor.SerializeAsString();
    piece.messageSize = piece.header.size();
    if (!piece.isExternal)
      piece.messageSize +=
          llvm::getULEB128Size(tensorRawDataTag) + llvm::getULEB128Size(piece.bytes) + piece.bytes;
    graphSize +=
        llvm::getULEB128Size(graphInitializerTag) + llvm::getULEB128Size(piece.messageSize) + piece.messageSize;
    pieces.push_back(std::move(piece));
  }

  // A message may hold its fields in any order and in several parts, so the graph's initializers
  // follow the part that the library serializes.
  onnx::ModelProto envelope;
  envelope.set_ir_version(proto.ir_version());
  envelope.set_producer_name(proto.producer_name());
  envelope.set_producer_version(proto.producer_version());
  *envelope.mutable_opset_import() = proto.opset_import();
  os << envelope.SerializeAsString();
  llvm::encodeULEB128(modelGraphTag, os);
  llvm::encodeULEB128(graphSize, os);
  os << proto.graph().SerializeAsString();
  uint64_t written = 0;
  for (auto [initializer, piece] : llvm::zip_equal(initializers, pieces)) {
    llvm::encodeULEB128(graphInitializerTag, os);
    llvm::encodeULEB128(piece.messageSize, os);
    os << piece.header;
    llvm::Expected<Tensor> value = initializer.load();
    if (!value)
      return value.takeError();
    llvm::raw_ostream *destination = &os;
    if (piece.isExternal) {
      destination = external;
      external->write_zeros(static_cast<unsigned>(piece.offset - written));
      written = piece.offset + piece.bytes;
    } else {
      llvm::encodeULEB128(tensorRawDataTag, os);
      llvm::encodeULEB128(piece.bytes, os);
    }
    destination->write(static_cast<const char *>(value->raw()), piece.bytes);
  }
  return llvm::Error::success();
}

llvm::Expected<std::string> ModelWriter::writeToMemory() const {
  uint64_t estimate = proto.ByteSizeLong() + weightBytes() + 256 * initializers.size();
  if (estimate > protobufLimit)
    return makeError(ErrorKind::Limit, "the model takes " + llvm::Twine(estimate) +
                                           " bytes, but a model in memory is limited to " +
                                           llvm::Twine(protobufLimit));
  std::string bytes;
  bytes.reserve(estimate);
  llvm::raw_string_ostream os(bytes);
  if (llvm::Error error = write(os, nullptr, {}))
    return std::move(error);
  return bytes;
}

llvm::Error ModelWriter::writeToFile(llvm::StringRef path, uint64_t threshold) const {
  llvm::Expected<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  uint64_t estimate = proto.ByteSizeLong() + weightBytes() + 256 * initializers.size();
  if (estimate <= std::min(threshold, protobufLimit)) {
    if (llvm::Error error = write((*file)->stream(), nullptr, {}))
      return error;
    return (*file)->commit();
  }
  llvm::SmallString<128> dataPath(path);
  llvm::sys::path::replace_extension(dataPath, "data");
  llvm::Expected<std::unique_ptr<AtomicFile>> data = AtomicFile::create(dataPath);
  if (!data)
    return data.takeError();
  if (llvm::Error error = write((*file)->stream(), &(*data)->stream(), llvm::sys::path::filename(dataPath)))
    return error;
  if (llvm::Error error = (*data)->commit())
    return error;
  return (*file)->commit();
}

} // namespace nibble::onnx_export

#include "lib/Import/ONNX/WireScanner.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/JSON.h"
#include <onnx/onnx_pb.h>

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

namespace nibble::onnx_import {
namespace {

enum WireType : unsigned { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// The wire type of one element of `field`, unpacked.
WireType wireTypeOf(const FieldDescriptor *field) {
  switch (field->cpp_type()) {
  case FieldDescriptor::CPPTYPE_FLOAT: return Fixed32;
  case FieldDescriptor::CPPTYPE_DOUBLE: return Fixed64;
  case FieldDescriptor::CPPTYPE_STRING:
  case FieldDescriptor::CPPTYPE_MESSAGE: return Bytes;
  default: return Varint;
  }
}

bool isNumeric(const FieldDescriptor *field) { return wireTypeOf(field) != Bytes; }

/// Reads one model; recursion is as deep as limits::messageDepth.
class Scanner {
public:
  Scanner(llvm::ArrayRef<char> bytes, llvm::StringRef path) : bytes(bytes), path(path) {}

  llvm::Error scanMessage(const Descriptor *message, size_t begin, size_t end, unsigned depth);
  std::string out;

private:
  struct TensorState {
    const FieldDescriptor *cutField = nullptr;
    size_t offset = 0, length = 0;
    bool isExternal = false;
  };
  /// A field with its number inside a repeated one, for messages.
  using Step = std::pair<const FieldDescriptor *, uint64_t>;

  llvm::Error scanField(const FieldDescriptor *field, unsigned wireType, size_t tagAt, size_t begin, size_t end,
                        unsigned depth, TensorState *tensor);
  llvm::Error scanPacked(const FieldDescriptor *field, size_t begin, size_t end);
  llvm::Error checkCounts(const FieldDescriptor *field, uint64_t count);
  llvm::Error readVarint(size_t &at, size_t end, uint64_t &value);
  llvm::Error fail(ErrorKind kind, size_t at, const llvm::Twine &what) const;
  void putVarint(uint64_t value) {
    for (; value >= 0x80; value >>= 7)
      out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
  }
  void putCutReference(const TensorState &tensor);

  llvm::ArrayRef<char> bytes;
  llvm::StringRef path;
  llvm::SmallVector<Step, 16> steps;
  uint64_t messageCount = 0, nodeCount = 0, tensorCount = 0, functionCount = 0;
};

llvm::Error Scanner::fail(ErrorKind kind, size_t at, const llvm::Twine &what) const {
  std::string field;
  for (const Step &step : steps) {
    if (!field.empty())
      field += '.';
    field += step.first->name();
    if (step.first->is_repeated())
      field += "[" + std::to_string(step.second) + "]";
  }
  return makeError(kind, "'" + path + "': " + (field.empty() ? "model" : field) + " at byte " + llvm::Twine(at) +
                             ": " + what);
}

llvm::Error Scanner::readVarint(size_t &at, size_t end, uint64_t &value) {
  size_t start = at;
  value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (at == end)
      return fail(ErrorKind::BadInput, start, "the number is cut off");
    uint8_t byte = static_cast<uint8_t>(bytes[at++]);
    if (shift < 64)
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return llvm::Error::success();
  }
  return fail(ErrorKind::BadInput, start, "the number is longer than 10 bytes");
}

llvm::Error Scanner::checkCounts(const FieldDescriptor *field, uint64_t count) {
  const Descriptor *type = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ? field->message_type() : nullptr;
  struct Counter {
    const Descriptor *type;
    uint64_t &count;
    uint64_t limit;
    const char *what;
  };
  for (const Counter &counter : {Counter{onnx::NodeProto::descriptor(), nodeCount, limits::nodes, "nodes"},
                                 Counter{onnx::TensorProto::descriptor(), tensorCount, limits::tensors, "tensors"},
                                 Counter{onnx::FunctionProto::descriptor(), functionCount, limits::functions,
                                         "functions"}})
    if (type == counter.type && ++counter.count > counter.limit)
      return makeError(ErrorKind::Limit, "'" + path + "': the model has more than " + llvm::Twine(counter.limit) + " " +
                                             counter.what);
  if (count > limits::listEntries)
    return makeError(ErrorKind::Limit, "'" + path + "': field '" + field->full_name() + "' has more than " +
                                           llvm::Twine(limits::listEntries) + " entries");
  return llvm::Error::success();
}

/// Checks the elements of a packed repeated field and counts those of lists that are not weights.
llvm::Error Scanner::scanPacked(const FieldDescriptor *field, size_t begin, size_t end) {
  uint64_t count = 0;
  unsigned width = wireTypeOf(field) == Fixed32 ? 4 : 8;
  if (wireTypeOf(field) == Varint) {
    uint64_t value;
    for (size_t at = begin; at != end; ++count)
      if (llvm::Error error = readVarint(at, end, value))
        return error;
  } else if ((end - begin) % width != 0) {
    return fail(ErrorKind::BadInput, begin, "a list of " + llvm::Twine(width) + "-byte numbers has " +
                                                llvm::Twine(end - begin) + " bytes");
  } else {
    count = (end - begin) / width;
  }
  bool isTensor = field->containing_type() == onnx::TensorProto::descriptor();
  if (isTensor && field->number() == onnx::TensorProto::kDimsFieldNumber && count > uint64_t(limits::rank))
    return fail(ErrorKind::Limit, begin, "rank " + llvm::Twine(count) + " is over the limit of " +
                                             llvm::Twine(limits::rank));
  if (!isTensor && count > limits::listEntries)
    return fail(ErrorKind::Limit, begin, "the list has " + llvm::Twine(count) + " entries, over the limit of " +
                                             llvm::Twine(limits::listEntries));
  return llvm::Error::success();
}

/// Writes what stands for a weight that was cut out: a reference in ONNX's form for external data.
void Scanner::putCutReference(const TensorState &tensor) {
  onnx::TensorProto reference;
  reference.set_data_location(onnx::TensorProto::EXTERNAL);
  auto add = [&](llvm::StringRef key, std::string value) {
    onnx::StringStringEntryProto *entry = reference.add_external_data();
    entry->set_key(key.str());
    entry->set_value(std::move(value));
  };
  add("location", modelFileLocation.str());
  add("offset", std::to_string(tensor.offset));
  add("length", std::to_string(tensor.length));
  add(cutFieldKey, tensor.cutField->name());
  // A message continues where its serialization is appended to.
  reference.AppendToString(&out);
}

llvm::Error Scanner::scanField(const FieldDescriptor *field, unsigned wireType, size_t tagAt, size_t begin, size_t end,
                               unsigned depth, TensorState *tensor) {
  bool isPacked = wireType == Bytes && isNumeric(field) && field->is_repeated();
  if (wireType != wireTypeOf(field) && !isPacked)
    return fail(ErrorKind::BadInput, tagAt, "the field has wire type " + llvm::Twine(wireType) + ", wanted " +
                                                llvm::Twine(unsigned(wireTypeOf(field))));
  if (field->name() == "doc_string" || field->name() == "metadata_props")
    return llvm::Error::success();

  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    if (tensor && field->number() == onnx::TensorProto::kExternalDataFieldNumber)
      tensor->isExternal = true;
    putVarint(uint64_t(field->number()) << 3 | Bytes);
    // The length is known once weights are cut; five bytes hold any, padded with zero groups.
    size_t lengthAt = out.size();
    out.append(5, '\0');
    if (llvm::Error error = scanMessage(field->message_type(), begin, end, depth + 1))
      return error;
    uint64_t length = out.size() - lengthAt - 5;
    for (unsigned i = 0; i < 5; ++i)
      out[lengthAt + i] = static_cast<char>((length >> (7 * i) & 0x7f) | (i < 4 ? 0x80 : 0));
    return llvm::Error::success();
  }

  bool isWeight = tensor && (field->number() == onnx::TensorProto::kRawDataFieldNumber ||
                             (isPacked && (field->number() == onnx::TensorProto::kFloatDataFieldNumber ||
                                           field->number() == onnx::TensorProto::kDoubleDataFieldNumber)));
  if (isPacked)
    if (llvm::Error error = scanPacked(field, begin, end))
      return error;
  if (isWeight && tensor->cutField)
    return fail(ErrorKind::BadInput, tagAt, "the tensor's data is stored twice");
  if (isWeight && end - begin >= cutBytes) {
    *tensor = {field, begin, end - begin, tensor->isExternal};
    return llvm::Error::success();
  }
  if (wireTypeOf(field) == Bytes && !isWeight) {
    llvm::StringRef text(bytes.data() + begin, end - begin);
    if (text.size() > limits::stringBytes)
      return fail(ErrorKind::Limit, begin, "the string has " + llvm::Twine(text.size()) +
                                               " bytes, over the limit of " + llvm::Twine(limits::stringBytes));
    if (field->type() == FieldDescriptor::TYPE_STRING && text.contains('\0'))
      return fail(ErrorKind::BadInput, begin, "the string contains a NUL byte");
    if (field->type() == FieldDescriptor::TYPE_STRING && !llvm::json::isUTF8(text))
      return fail(ErrorKind::BadInput, begin, "the string is not UTF-8");
  }
  if (tensor && field->number() == onnx::TensorProto::kDataLocationFieldNumber)
    tensor->isExternal |= bytes[begin] != 0;
  out.append(bytes.data() + tagAt, end - tagAt);
  if (out.size() > limits::structureBytes)
    return fail(ErrorKind::Limit, tagAt, "the model's structure takes more than " +
                                             llvm::Twine(limits::structureBytes) + " bytes without its weights");
  return llvm::Error::success();
}

llvm::Error Scanner::scanMessage(const Descriptor *message, size_t begin, size_t end, unsigned depth) {
  if (depth > limits::messageDepth)
    return makeError(ErrorKind::Limit, "'" + path + "': messages at byte " + llvm::Twine(begin) +
                                           " nest deeper than " + llvm::Twine(limits::messageDepth));
  if (++messageCount > limits::messages)
    return makeError(ErrorKind::Limit, "'" + path + "': the model has more than " + llvm::Twine(limits::messages) +
                                           " parts");
  TensorState tensor;
  bool isTensor = message == onnx::TensorProto::descriptor();
  llvm::SmallVector<uint64_t, 40> counts(message->field_count(), 0);
  for (size_t at = begin; at < end;) {
    size_t tagAt = at;
    uint64_t tag, value;
    if (llvm::Error error = readVarint(at, end, tag))
      return error;
    unsigned wireType = tag & 7;
    if (tag > UINT32_MAX || tag >> 3 == 0)
      return fail(ErrorKind::BadInput, tagAt, "field number " + llvm::Twine(tag >> 3) + " is not legal");
    const FieldDescriptor *field = message->FindFieldByNumber(static_cast<int>(tag >> 3));
    if (field) {
      steps.push_back({field, counts[field->index()]++});
      if (!field->is_repeated() && steps.back().second > 0)
        return fail(ErrorKind::BadInput, tagAt, "the field is given twice");
      if (field->containing_type() != onnx::TensorProto::descriptor() || !isNumeric(field))
        if (llvm::Error error = checkCounts(field, steps.back().second + 1))
          return error;
    }
    size_t bodyAt = at;
    if (wireType == Varint) {
      if (llvm::Error error = readVarint(at, end, value))
        return error;
    } else if (wireType == Fixed64 || wireType == Fixed32 || wireType == Bytes) {
      value = wireType == Fixed64 ? 8 : 4;
      if (wireType == Bytes) {
        if (llvm::Error error = readVarint(at, end, value))
          return error;
        bodyAt = at;
      }
      if (value > end - at)
        return fail(ErrorKind::BadInput, tagAt, "the field claims " + llvm::Twine(value) + " bytes, but " +
                                                    llvm::Twine(end - at) + " are left");
      at += value;
    } else {
      return fail(ErrorKind::BadInput, tagAt, "wire type " + llvm::Twine(wireType) + " is not used by ONNX");
    }
    // Fields of a later ONNX version are left out; what they would mean is checked by the IR version.
    if (!field)
      continue;
    if (llvm::Error error = scanField(field, wireType, tagAt, bodyAt, at, depth, isTensor ? &tensor : nullptr))
      return error;
    steps.pop_back();
  }
  if (tensor.cutField) {
    if (tensor.isExternal)
      return fail(ErrorKind::BadInput, tensor.offset, "the tensor has both external data and data of its own");
    putCutReference(tensor);
  }
  return llvm::Error::success();
}

} // namespace

llvm::Expected<std::string> makeSkeleton(llvm::ArrayRef<char> bytes, llvm::StringRef path) {
  if (bytes.empty())
    return makeError(ErrorKind::BadInput, "'" + path + "' is empty");
  if (bytes.size() > limits::fileBytes)
    return makeError(ErrorKind::Limit, "'" + path + "' has " + llvm::Twine(bytes.size()) +
                                           " bytes, over the limit of " + llvm::Twine(limits::fileBytes),
                     {"store the weights as external data"});
  Scanner scanner(bytes, path);
  if (llvm::Error error = scanner.scanMessage(onnx::ModelProto::descriptor(), 0, bytes.size(), 1))
    return error;
  return std::move(scanner.out);
}

} // namespace nibble::onnx_import

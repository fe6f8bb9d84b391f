#include "lib/Support/Safetensors.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"
#include "lib/Support/MappedFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

namespace nibble {
namespace {

constexpr uint64_t maximumHeader = 100'000'000;
constexpr size_t maximumRank = 32;

std::optional<ElementType> parseType(llvm::StringRef word) {
  return llvm::StringSwitch<std::optional<ElementType>>(word)
      .Case("F64", ElementType::F64).Case("F32", ElementType::F32).Case("F16", ElementType::F16)
      .Case("BF16", ElementType::BF16).Case("I64", ElementType::I64).Case("I32", ElementType::I32)
      .Case("I16", ElementType::I16).Case("I8", ElementType::I8).Case("U64", ElementType::U64)
      .Case("U32", ElementType::U32).Case("U16", ElementType::U16).Case("U8", ElementType::U8)
      .Case("BOOL", ElementType::Bool).Default(std::nullopt);
}

std::optional<llvm::StringRef> spellType(ElementType type) {
  switch (type) {
  case ElementType::F64: return "F64";
  case ElementType::F32: return "F32";
  case ElementType::F16: return "F16";
  case ElementType::BF16: return "BF16";
  case ElementType::I64: return "I64";
  case ElementType::I32: return "I32";
  case ElementType::I16: return "I16";
  case ElementType::I8: return "I8";
  case ElementType::U64: return "U64";
  case ElementType::U32: return "U32";
  case ElementType::U16: return "U16";
  case ElementType::U8: return "U8";
  case ElementType::Bool: return "BOOL";
  case ElementType::I4:
  case ElementType::U4: return std::nullopt;
  }
  return std::nullopt;
}

struct Entry {
  std::string name;
  ElementType type;
  Shape shape;
  uint64_t begin, end;
};

/// One tensor of the header: its type, shape and range, which must agree.
llvm::Expected<Entry> parseEntry(llvm::StringRef path, llvm::StringRef name, const llvm::json::Value &value) {
  auto malformed = [&](const llvm::Twine &reason) {
    return makeError(ErrorKind::BadInput, "'" + path + "': tensor '" + name + "' " + reason);
  };
  const llvm::json::Object *object = value.getAsObject();
  const llvm::json::Array *shape = object ? object->getArray("shape") : nullptr;
  const llvm::json::Array *offsets = object ? object->getArray("data_offsets") : nullptr;
  std::optional<llvm::StringRef> word = object ? object->getString("dtype") : std::nullopt;
  if (!shape || !offsets || !word || offsets->size() != 2)
    return malformed("lacks dtype, shape or data_offsets");
  std::optional<ElementType> type = parseType(*word);
  if (!type)
    return makeError(ErrorKind::Unsupported, "'" + path + "': tensor '" + name + "' has dtype '" + *word + "'");
  if (shape->size() > maximumRank)
    return malformed("has more than " + llvm::Twine(maximumRank) + " dimensions");
  Entry entry{name.str(), *type, {}, 0, 0};
  std::optional<int64_t> bytes = bitWidth(*type) / 8;
  for (const llvm::json::Value &element : *shape) {
    std::optional<int64_t> dim = element.getAsInteger();
    if (!dim || *dim < 0)
      return malformed("has a dimension that is no count");
    entry.shape.push_back(*dim);
    // Beside a 0 too the product must be in range, since later code multiplies in any order.
    if (bytes)
      bytes = llvm::checkedMul<int64_t>(*bytes, std::max<int64_t>(*dim, 1));
  }
  if (bytes && llvm::is_contained(entry.shape, 0))
    bytes = 0;
  std::optional<uint64_t> begin = (*offsets)[0].getAsUINT64(), end = (*offsets)[1].getAsUINT64();
  if (!begin || !end || *end < *begin)
    return malformed("has offsets that are no range");
  if (!bytes || static_cast<uint64_t>(*bytes) != *end - *begin)
    return malformed("has " + llvm::Twine(*end - *begin) + " bytes, which its shape and dtype contradict");
  entry.begin = *begin;
  entry.end = *end;
  return entry;
}

} // namespace

llvm::Expected<Safetensors> readSafetensors(llvm::StringRef path) {
  llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  llvm::ArrayRef<char> bytes = (*file)->bytes();
  if (bytes.size() < 8)
    return makeError(ErrorKind::BadInput, "'" + path + "' is too short for a safetensors file");
  uint64_t headerSize = llvm::support::endian::read64le(bytes.data());
  if (headerSize > maximumHeader)
    return makeError(ErrorKind::Limit, "'" + path + "' states a safetensors header of " + llvm::Twine(headerSize) +
                                           " bytes, at most " + llvm::Twine(maximumHeader) + " are read");
  if (headerSize > bytes.size() - 8)
    return makeError(ErrorKind::BadInput, "'" + path + "' is cut off in its safetensors header");
  llvm::StringRef text(bytes.data() + 8, headerSize);
  if (!text.starts_with("{"))
    return makeError(ErrorKind::BadInput, "'" + path + "' is not a safetensors file");
  llvm::Expected<llvm::json::Value> header = parseJson(text, path, /*maximumDepth=*/4);
  if (!header)
    return header.takeError();

  Safetensors result;
  std::vector<Entry> entries;
  for (const auto &[key, value] : *header->getAsObject()) {
    if (key == "__metadata__") {
      const llvm::json::Object *metadata = value.getAsObject();
      if (!metadata)
        return makeError(ErrorKind::BadInput, "'" + path + "': __metadata__ is not an object");
      for (const auto &[name, text] : *metadata) {
        std::optional<llvm::StringRef> string = text.getAsString();
        if (!string)
          return makeError(ErrorKind::BadInput, "'" + path + "': __metadata__ '" + llvm::StringRef(name) + "' is not a string");
        result.metadata[name.str()] = string->str();
      }
      continue;
    }
    llvm::Expected<Entry> entry = parseEntry(path, key, value);
    if (!entry)
      return entry.takeError();
    entries.push_back(std::move(*entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  llvm::ArrayRef<char> data = bytes.drop_front(8 + headerSize);
  uint64_t position = 0;
  for (const Entry &entry : entries) {
    if (entry.begin != position || entry.end > data.size())
      return makeError(ErrorKind::BadInput, "'" + path + "': tensor '" + entry.name + "' lies at bytes " +
                                                llvm::Twine(entry.begin) + " to " + llvm::Twine(entry.end) +
                                                ", expected it to begin at " + llvm::Twine(position) + " and end by " +
                                                llvm::Twine(data.size()));
    position = entry.end;
    const char *elements = data.data() + entry.begin;
    Tensor tensor = Tensor::view(entry.type, entry.shape, elements, *file);
    if (reinterpret_cast<uintptr_t>(elements) % (bitWidth(entry.type) / 8) != 0) {
      Tensor aligned = Tensor::allocate(entry.type, entry.shape);
      std::memcpy(aligned.mutableRaw(), elements, entry.end - entry.begin);
      tensor = aligned;
    }
    result.tensors.emplace(entry.name, std::move(tensor));
  }
  if (position != data.size())
    return makeError(ErrorKind::BadInput, "'" + path + "' has " + llvm::Twine(data.size() - position) +
                                              " bytes that no tensor covers");
  return result;
}

llvm::Error writeSafetensors(llvm::StringRef path, const Safetensors &contents) {
  std::vector<std::pair<llvm::StringRef, const Tensor *>> order;
  for (const auto &[name, tensor] : contents.tensors)
    order.emplace_back(name, &tensor);
  std::sort(order.begin(), order.end(), [](const auto &a, const auto &b) {
    unsigned widthOfA = bitWidth(a.second->elementType()), widthOfB = bitWidth(b.second->elementType());
    return widthOfA != widthOfB ? widthOfA > widthOfB : a.first < b.first;
  });
  llvm::json::Object header;
  if (!contents.metadata.empty()) {
    llvm::json::Object metadata;
    for (const auto &[name, value] : contents.metadata)
      metadata[name] = value;
    header["__metadata__"] = std::move(metadata);
  }
  int64_t position = 0;
  for (const auto &[name, tensor] : order) {
    std::optional<llvm::StringRef> type = spellType(tensor->elementType());
    if (!type)
      return makeError(ErrorKind::Unsupported, "a safetensors file cannot hold " + nibble::name(tensor->elementType()) +
                                                   " elements (tensor '" + name + "')");
    int64_t end = position + tensor->byteSize();
    header[name] = llvm::json::Object{{"dtype", *type},
                                      {"shape", llvm::json::Array(tensor->shape())},
                                      {"data_offsets", llvm::json::Array{position, end}}};
    position = end;
  }
  std::string text = llvm::formatv("{0}", llvm::json::Value(std::move(header))).str();
  text.resize((text.size() + 7) / 8 * 8, ' ');

  llvm::Expected<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  char length[8];
  llvm::support::endian::write64le(length, text.size());
  (*file)->stream().write(length, sizeof(length)) << text;
  for (const auto &[name, tensor] : order)
    (*file)->stream().write(static_cast<const char *>(tensor->raw()), static_cast<size_t>(tensor->byteSize()));
  return (*file)->commit();
}

} // namespace nibble

#include "lib/Export/Encodings/Encodings.h"
#include "lib/Quant/Encoding.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"

namespace nibble::encodings {
namespace {

using llvm::json::Array;
using llvm::json::Object;
using llvm::json::Value;

/// Reads the fields of one entry, keeping the first mistake.
class EntryReader {
public:
  EntryReader(const Object &object, std::string where) : object(object), where(std::move(where)) {}

  std::string text(llvm::StringRef key) {
    std::optional<llvm::StringRef> value = object.getString(key);
    if (!value)
      fail(key, "must be a string");
    return value.value_or("").str();
  }
  int64_t integer(llvm::StringRef key) {
    std::optional<int64_t> value = object.getInteger(key);
    if (!value)
      fail(key, "must be an integer");
    return value.value_or(0);
  }
  bool boolean(llvm::StringRef key) {
    std::optional<bool> value = object.getBoolean(key);
    if (!value)
      fail(key, "must be true or false");
    return value.value_or(false);
  }
  unsigned bits(llvm::StringRef key) {
    int64_t value = integer(key);
    if (value < 2 || value > 32)
      fail(key, "must lie in 2 to 32");
    return static_cast<unsigned>(std::clamp<int64_t>(value, 2, 32));
  }
  /// A number, or arrays of numbers nested to any depth, flattened.
  std::vector<double> numbers(llvm::StringRef key) {
    std::vector<double> values;
    const Value *value = object.get(key);
    if (!value || !flatten(*value, values))
      fail(key, "must be a number or nested lists of numbers");
    return values;
  }
  std::vector<int64_t> integers(llvm::StringRef key) {
    std::vector<int64_t> values;
    for (double number : numbers(key)) {
      // The range keeps the conversion defined; every stated grid lies inside.
      if (!(number >= -4294967296.0 && number <= 4294967296.0) || number != static_cast<double>(int64_t(number)))
        fail(key, "must hold integers");
      else
        values.push_back(static_cast<int64_t>(number));
    }
    return values;
  }
  bool has(llvm::StringRef key) const { return object.get(key) != nullptr; }
  void fail(llvm::StringRef key, const llvm::Twine &what) {
    if (message.empty())
      message = (where + ": field '" + key + "' " + what).str();
  }
  llvm::Error takeError() {
    return message.empty() ? llvm::Error::success() : makeError(ErrorKind::BadInput, message);
  }

private:
  static bool flatten(const Value &value, std::vector<double> &values) {
    if (const Array *array = value.getAsArray())
      return llvm::all_of(*array, [&](const Value &element) { return flatten(element, values); });
    std::optional<double> number = value.getAsNumber();
    if (number)
      values.push_back(*number);
    return number.has_value();
  }
  const Object &object;
  std::string where, message;
};

void negate(std::vector<int64_t> &values) {
  for (int64_t &value : values)
    value = -value;
}

llvm::Error readEntry061(const Object &object, FileEncoding &entry, const std::string &where) {
  EntryReader reader(object, where);
  entry.isFloat = reader.text("dtype") == "float";
  entry.bits = reader.bits("bitwidth");
  if (entry.isFloat)
    return reader.takeError();
  entry.isSymmetric = reader.text("is_symmetric") == "True";
  entry.scales.push_back(object.getNumber("scale").value_or(0));
  entry.zeroPoints.push_back(-reader.integer("offset"));
  if (!object.getNumber("scale"))
    reader.fail("scale", "must be a number");
  return reader.takeError();
}

llvm::Error readEntry100(const Object &object, FileEncoding &entry, const std::string &where) {
  EntryReader reader(object, where);
  entry.tensor = reader.text("name");
  entry.isFloat = reader.text("dtype") == "FLOAT";
  entry.bits = reader.bits("bw");
  if (entry.isFloat)
    return reader.takeError();
  entry.isSymmetric = reader.boolean("is_sym");
  entry.scales = reader.numbers("scale");
  entry.zeroPoints = reader.integers("offset");
  negate(entry.zeroPoints);
  if (entry.zeroPoints.size() != entry.scales.size())
    reader.fail("offset", "must be as long as field 'scale'");
  std::string type = reader.text("enc_type");
  if (type == "PER_BLOCK" || type == "LPBQ")
    entry.blockSize = reader.integer("block_size");
  if (type == "LPBQ") {
    entry.multipliers = reader.integers("per_block_int_scale");
    entry.bits = reader.bits("compressed_bw");
  }
  return reader.takeError();
}

std::optional<ElementType> storageType(llvm::StringRef text) {
  for (ElementType type : {ElementType::I4, ElementType::U4, ElementType::I8, ElementType::U8, ElementType::I16,
                           ElementType::U16, ElementType::I32})
    if (name(type) == text)
      return type;
  return std::nullopt;
}

llvm::Error readEntry200(const Object &object, FileEncoding &entry, const std::string &where) {
  EntryReader reader(object, where);
  entry.tensor = reader.text("name");
  std::optional<ElementType> storage = storageType(reader.text("output_dtype"));
  if (!storage) {
    reader.fail("output_dtype", "must be an integer type of 4 to 32 bits");
    return reader.takeError();
  }
  entry.bits = bitWidth(*storage);
  if (reader.has("axis"))
    entry.axis = reader.integer("axis");
  if (reader.has("block_size"))
    entry.blockSize = reader.integer("block_size");
  bool isLPBQ = reader.has("per_block_int_scale");
  if (isLPBQ)
    entry.multipliers = reader.integers("per_block_int_scale");
  entry.scales = reader.numbers(isLPBQ ? "per_channel_float_scale" : "y_scale");
  if (reader.has("y_zero_point"))
    entry.zeroPoints = reader.integers("y_zero_point");
  else
    entry.zeroPoints.assign(entry.scales.size(), 0);
  if (entry.zeroPoints.size() != entry.scales.size())
    reader.fail("y_zero_point", "must have the shape of field 'y_scale'");
  bool isSigned = quant::integerRange(*storage).first < 0;
  entry.isSymmetric = isSigned && llvm::all_of(entry.zeroPoints, [](int64_t zeroPoint) { return zeroPoint == 0; });
  for (int64_t &zeroPoint : entry.zeroPoints)
    zeroPoint += isSigned ? int64_t(1) << (entry.bits - 1) : 0;
  return reader.takeError();
}

using EntryFunction = llvm::Error (*)(const Object &, FileEncoding &, const std::string &);

llvm::Error readList(const Object &root, llvm::StringRef key, llvm::StringRef what, EntryFunction readEntry,
                     std::vector<FileEncoding> &entries) {
  const Array *list = root.getArray(key);
  if (!list)
    return makeError(ErrorKind::BadInput, what + ": field '" + key + "' must be a list");
  for (size_t i = 0; i < list->size(); ++i) {
    std::string where = (what + ": " + key + "[" + llvm::Twine(i) + "]").str();
    const Object *object = (*list)[i].getAsObject();
    if (!object)
      return makeError(ErrorKind::BadInput, where + " must be an object");
    if (llvm::Error error = readEntry(*object, entries.emplace_back(), where))
      return error;
  }
  return llvm::Error::success();
}

/// Version 0.6.1 maps names to lists with one object per channel.
llvm::Error readMap061(const Object &root, llvm::StringRef key, llvm::StringRef what,
                       std::vector<FileEncoding> &entries) {
  const Object *map = root.getObject(key);
  if (!map)
    return makeError(ErrorKind::BadInput, what + ": field '" + key + "' must be an object");
  std::vector<llvm::StringRef> names;
  for (const auto &item : *map)
    names.push_back(item.first);
  llvm::sort(names);
  for (llvm::StringRef tensor : names) {
    std::string where = (what + ": " + key + "['" + tensor + "']").str();
    const Array *list = map->getArray(tensor);
    if (!list || list->empty())
      return makeError(ErrorKind::BadInput, where + " must be a list of at least one object");
    FileEncoding &entry = entries.emplace_back();
    entry.tensor = tensor.str();
    for (const Value &element : *list) {
      if (!element.getAsObject())
        return makeError(ErrorKind::BadInput, where + " must hold objects");
      if (llvm::Error error = readEntry061(*element.getAsObject(), entry, where))
        return error;
    }
  }
  return llvm::Error::success();
}

} // namespace

llvm::Expected<EncodingsFile> readEncodings(llvm::StringRef text, llvm::StringRef what) {
  llvm::Expected<Value> root = parseJson(text, what);
  if (!root)
    return root.takeError();
  const Object *object = root->getAsObject();
  std::optional<llvm::StringRef> version = object ? object->getString("version") : std::nullopt;
  if (!version)
    return makeError(ErrorKind::BadInput, what + ": field 'version' must be a string");
  llvm::Expected<Version> known = parseVersion(*version);
  if (!known) {
    llvm::consumeError(known.takeError());
    return makeError(ErrorKind::BadInput, what + ": version '" + *version + "' is not one of 0.6.1, 1.0.0, 2.0.0");
  }
  EncodingsFile file = {*known, {}};
  if (file.version == Version::V200) {
    if (llvm::Error error = readList(*object, "encodings", what, readEntry200, file.entries))
      return std::move(error);
    return file;
  }
  for (llvm::StringRef key : {"activation_encodings", "param_encodings"})
    if (llvm::Error error = file.version == Version::V061 ? readMap061(*object, key, what, file.entries)
                                                          : readList(*object, key, what, readEntry100, file.entries))
      return std::move(error);
  return file;
}

} // namespace nibble::encodings

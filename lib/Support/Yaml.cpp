#include "lib/Support/Yaml.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>

namespace nibble {

static llvm::Error errorAtMark(llvm::StringRef file, const YAML::Mark &mark, const llvm::Twine &message,
                               std::vector<std::string> notes = {}, ErrorKind kind = ErrorKind::BadInput) {
  // An empty document has no place; its beginning stands for it.
  int line = mark.is_null() ? 0 : mark.line, column = mark.is_null() ? 0 : mark.column;
  return makeError(kind,
                   file + ":" + llvm::Twine(line + 1) + ":" + llvm::Twine(column + 1) + ": " + message, std::move(notes));
}

llvm::Expected<YamlFile> YamlFile::open(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return makeError(ErrorKind::IO, "cannot read '" + path + "': " + buffer.getError().message());
  return parse((*buffer)->getBuffer(), path);
}

llvm::Expected<YamlFile> YamlFile::parse(llvm::StringRef text, llvm::StringRef name) {
  constexpr size_t maximumBytes = size_t(4) << 20;
  constexpr int maximumDepth = 64;
  if (text.size() > maximumBytes)
    return makeError(ErrorKind::BadInput, name + ": wanted at most " + llvm::Twine(maximumBytes) + " bytes, found " +
                                              llvm::Twine(text.size()));
  // The parser recurses, so nesting is bounded before it sees the text: brackets by counting them,
  // indentation by the longest one that can open a level per column.
  int depth = 0, deepest = 0;
  for (char c : text) {
    depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    deepest = std::max(deepest, depth);
  }
  llvm::SmallVector<llvm::StringRef> lines;
  text.split(lines, '\n');
  for (llvm::StringRef line : lines) {
    size_t indentation = line.find_first_not_of(" -?");
    if (indentation != llvm::StringRef::npos)
      deepest = std::max(deepest, static_cast<int>(indentation / 2));
  }
  if (deepest > maximumDepth)
    return makeError(ErrorKind::BadInput, name + ": nested deeper than " + llvm::Twine(maximumDepth) + " levels");

  YamlFile file;
  file.name = name.str();
  try {
    std::vector<YAML::Node> documents = YAML::LoadAll(text.str());
    if (documents.size() > 1)
      return errorAtMark(name, documents[1].Mark(), "wanted one YAML document, found a second");
    file.rootNode = documents.empty() ? YAML::Node() : documents.front();
  } catch (const YAML::Exception &exception) {
    return errorAtMark(name, exception.mark, "not YAML: " + llvm::Twine(exception.msg));
  }
  return file;
}

llvm::Error YamlFile::errorAt(const YAML::Node &node, const llvm::Twine &message,
                              std::vector<std::string> notes, ErrorKind kind) const {
  return errorAtMark(name, node.Mark(), message, std::move(notes), kind);
}

llvm::Error YamlFile::expectMap(const YAML::Node &node, llvm::ArrayRef<llvm::StringRef> keys) const {
  if (!node.IsMap())
    return errorAt(node, "wanted a map");
  llvm::StringSet<> seen;
  for (const auto &entry : node) {
    if (!entry.first.IsScalar())
      return errorAt(entry.first, "wanted a word as key");
    const std::string &key = entry.first.Scalar();
    if (!llvm::is_contained(keys, key)) {
      std::vector<std::string> known(keys.begin(), keys.end());
      std::string nearest = nearestName(key, known);
      return errorAt(entry.first, "unknown key '" + key + "'",
                     {nearest.empty() ? "known keys: " + llvm::join(known, ", ") : "did you mean '" + nearest + "'"});
    }
    if (!seen.insert(key).second)
      return errorAt(entry.first, "key '" + key + "' is given twice");
  }
  return llvm::Error::success();
}

llvm::Expected<YAML::Node> YamlFile::require(const YAML::Node &map, llvm::StringRef key) const {
  YAML::Node value = map[key.str()];
  if (!value)
    return errorAt(map, "key '" + key + "' is missing");
  return value;
}

llvm::Expected<std::string> YamlFile::asString(const YAML::Node &node) const {
  if (!node.IsScalar())
    return errorAt(node, "wanted a string");
  return node.Scalar();
}

llvm::Expected<bool> YamlFile::asBool(const YAML::Node &node) const {
  bool value = false;
  if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value))
    return errorAt(node, "wanted true or false");
  return value;
}

llvm::Expected<int64_t> YamlFile::asInteger(const YAML::Node &node, int64_t minimum, int64_t maximum) const {
  int64_t value = 0;
  if (!node.IsScalar() || llvm::StringRef(node.Scalar()).getAsInteger(10, value))
    return errorAt(node, "wanted an integer");
  if (value < minimum || value > maximum)
    return errorAt(node, "wanted an integer from " + llvm::Twine(minimum) + " to " + llvm::Twine(maximum) +
                             ", found " + llvm::Twine(value));
  return value;
}

llvm::Expected<double> YamlFile::asNumber(const YAML::Node &node, double minimum) const {
  double value = 0;
  if (!node.IsScalar() || llvm::StringRef(node.Scalar()).getAsDouble(value) || !std::isfinite(value))
    return errorAt(node, "wanted a number");
  if (value < minimum) {
    llvm::SmallString<16> text;
    llvm::APFloat(minimum).toString(text);
    return errorAt(node, "wanted a number of at least " + text + ", found " + node.Scalar());
  }
  return value;
}

llvm::Expected<std::vector<std::string>> YamlFile::asStrings(const YAML::Node &node) const {
  if (node.IsScalar())
    return std::vector<std::string>{node.Scalar()};
  if (!node.IsSequence())
    return errorAt(node, "wanted a list of strings");
  std::vector<std::string> values;
  for (const YAML::Node &entry : node) {
    llvm::Expected<std::string> value = asString(entry);
    if (!value)
      return value.takeError();
    values.push_back(*value);
  }
  return values;
}

} // namespace nibble

#include "lib/Support/Npy.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#include <optional>

namespace nibble {
namespace {

constexpr llvm::StringLiteral magic("\x93NUMPY");
constexpr size_t maximumRank = 32;

/// The dictionary that a .npy header is: Python literals, three fixed keys, any order.
class HeaderParser {
public:
  HeaderParser(llvm::StringRef text, llvm::StringRef what) : text(text), what(what) {}

  llvm::Expected<NpyHeader> parse() {
    if (!consume('{'))
      return malformed("a dictionary");
    while (!consume('}')) {
      llvm::Expected<llvm::StringRef> key = parseString();
      if (!key)
        return key.takeError();
      if (!consume(':'))
        return malformed("':' after a key");
      if (llvm::Error error = parseValue(*key))
        return std::move(error);
      if (!consume(',') && !peekIs('}'))
        return malformed("',' or '}'");
    }
    if (!text.trim(" \t\n\r").empty())
      return malformed("nothing after the dictionary");
    if (!haveType || !haveOrder || !haveShape)
      return malformed("keys 'descr', 'fortran_order' and 'shape'");
    if (fortranOrder && header.shape.size() > 1)
      return makeError(ErrorKind::Unsupported, "'" + what + "' is stored in Fortran order, C order is needed",
                       {"save numpy.ascontiguousarray(array)"});
    return header;
  }

private:
  llvm::Error malformed(const llvm::Twine &wanted) {
    return makeError(ErrorKind::BadInput, "'" + what + "' has a malformed .npy header: expected " + wanted);
  }
  bool peekIs(char c) {
    text = text.ltrim(" \t\n\r");
    return !text.empty() && text.front() == c;
  }
  bool consume(char c) {
    if (!peekIs(c))
      return false;
    text = text.drop_front();
    return true;
  }
  llvm::Expected<llvm::StringRef> parseString() {
    char quote = peekIs('\'') ? '\'' : '"';
    if (!consume(quote))
      return malformed("a string");
    size_t end = text.find(quote);
    if (end == llvm::StringRef::npos)
      return malformed("the end of a string");
    llvm::StringRef value = text.take_front(end);
    text = text.drop_front(end + 1);
    return value;
  }
  llvm::Error parseValue(llvm::StringRef key) {
    bool &seen = key == "descr" ? haveType : key == "fortran_order" ? haveOrder : haveShape;
    if ((key != "descr" && key != "fortran_order" && key != "shape") || seen)
      return malformed("keys 'descr', 'fortran_order' and 'shape', each once");
    seen = true;
    if (key == "descr")
      return parseType();
    if (key == "shape")
      return parseShape();
    text = text.ltrim(" \t\n\r");
    fortranOrder = text.consume_front("True");
    if (!fortranOrder && !text.consume_front("False"))
      return malformed("True or False for 'fortran_order'");
    return llvm::Error::success();
  }
  llvm::Error parseType() {
    if (peekIs('['))
      return makeError(ErrorKind::Unsupported, "'" + what + "' holds records, an array of numbers is needed",
                       {"save each field as an array of its own"});
    llvm::Expected<llvm::StringRef> descr = parseString();
    if (!descr)
      return descr.takeError();
    std::string spelled = llvm::toStringRef(llvm::arrayRefFromStringRef(*descr)).str();
    llvm::StringRef kind = *descr;
    bool bigEndian = kind.consume_front(">");
    if (!bigEndian && !kind.consume_front("<") && !kind.consume_front("|"))
      kind.consume_front("=");
    std::optional<ElementType> type =
        llvm::StringSwitch<std::optional<ElementType>>(kind)
            .Case("f2", ElementType::F16).Case("f4", ElementType::F32).Case("f8", ElementType::F64)
            .Case("i1", ElementType::I8).Case("i2", ElementType::I16).Case("i4", ElementType::I32)
            .Case("i8", ElementType::I64).Case("u1", ElementType::U8).Case("u2", ElementType::U16)
            .Case("u4", ElementType::U32).Case("u8", ElementType::U64).Case("b1", ElementType::Bool)
            .Default(std::nullopt);
    if (!type || (bigEndian && bitWidth(*type) > 8)) {
      bool isObject = kind == "O";
      return makeError(ErrorKind::Unsupported, "'" + what + "' has dtype '" + spelled +
                                                   "', wanted little-endian float16/32/64, an integer or bool",
                       {isObject ? "arrays of Python objects are pickles, which are never read"
                                 : "save array.astype(numpy.float32) or another of these types"});
    }
    header.elementType = *type;
    return llvm::Error::success();
  }
  llvm::Error parseShape() {
    if (!consume('('))
      return malformed("a tuple for 'shape'");
    while (!consume(')')) {
      text = text.ltrim(" \t\n\r");
      llvm::StringRef digits = text.take_while(llvm::isDigit);
      int64_t dim = 0;
      if (digits.empty() || digits.getAsInteger(10, dim))
        return malformed("dimensions from 0 to 2^63-1");
      text = text.drop_front(digits.size());
      if (header.shape.size() == maximumRank)
        return makeError(ErrorKind::Limit, "'" + what + "' has more than " + llvm::Twine(maximumRank) + " dimensions");
      header.shape.push_back(dim);
      if (!consume(',') && !peekIs(')'))
        return malformed("',' or ')' in 'shape'");
    }
    return llvm::Error::success();
  }

  llvm::StringRef text, what;
  NpyHeader header;
  bool haveType = false, haveOrder = false, haveShape = false, fortranOrder = false;
};

/// Bytes of the elements, or nullopt where they are more than 2^62. Dimensions beside a 0 must have a
/// product in range too, since later code multiplies them in any order.
std::optional<uint64_t> checkedByteSize(const NpyHeader &header) {
  std::optional<int64_t> bytes = bitWidth(header.elementType) / 8;
  for (int64_t dim : header.shape)
    if (!(bytes = llvm::checkedMul(*bytes, std::max<int64_t>(dim, 1))))
      return std::nullopt;
  if (*bytes > (int64_t(1) << 62))
    return std::nullopt;
  return llvm::is_contained(header.shape, 0) ? 0 : static_cast<uint64_t>(*bytes);
}

} // namespace

llvm::Expected<NpyHeader> parseNpyHeader(llvm::ArrayRef<char> bytes, uint64_t fileSize, llvm::StringRef what) {
  llvm::StringRef text(bytes.data(), bytes.size());
  if (!text.starts_with(magic) || text.size() < 10)
    return makeError(ErrorKind::BadInput, "'" + what + "' is not a .npy array");
  unsigned major = static_cast<uint8_t>(text[6]);
  if (major < 1 || major > 3)
    return makeError(ErrorKind::Unsupported, "'" + what + "' is .npy version " + llvm::Twine(major) +
                                                 ", versions 1 to 3 are read");
  uint64_t start = major == 1 ? 10 : 12;
  if (text.size() < start)
    return makeError(ErrorKind::BadInput, "'" + what + "' is cut off in its .npy header");
  uint64_t length = major == 1 ? llvm::support::endian::read16le(bytes.data() + 8)
                               : llvm::support::endian::read32le(bytes.data() + 8);
  if (length > maximumNpyHeader)
    return makeError(ErrorKind::Limit, "'" + what + "' has a .npy header of " + llvm::Twine(length) +
                                           " bytes, at most " + llvm::Twine(maximumNpyHeader) + " are read");
  if (text.size() < start + length)
    return makeError(ErrorKind::BadInput, "'" + what + "' is cut off in its .npy header");
  llvm::Expected<NpyHeader> header = HeaderParser(text.substr(start, length), what).parse();
  if (!header)
    return header;
  header->dataOffset = start + length;
  std::optional<uint64_t> wanted = checkedByteSize(*header);
  uint64_t found = fileSize - header->dataOffset;
  if (fileSize < header->dataOffset || !wanted || *wanted != found)
    return makeError(ErrorKind::BadInput,
                     "'" + what + "' states " + (wanted ? llvm::Twine(*wanted) : llvm::Twine("too many")) +
                         " bytes of elements but holds " + llvm::Twine(found));
  return header;
}

llvm::Expected<Tensor> readNpy(llvm::StringRef path) {
  llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  llvm::ArrayRef<char> bytes = (*file)->bytes();
  llvm::Expected<NpyHeader> header = parseNpyHeader(bytes, bytes.size(), path);
  if (!header)
    return header.takeError();
  const char *data = bytes.data() + header->dataOffset;
  // numpy aligns elements to 64 bytes; another writer's may lie at any offset.
  if (reinterpret_cast<uintptr_t>(data) % 8 == 0)
    return Tensor::view(header->elementType, header->shape, data, *file);
  Tensor tensor = Tensor::allocate(header->elementType, header->shape);
  std::memcpy(tensor.mutableRaw(), data, static_cast<size_t>(tensor.byteSize()));
  return tensor;
}

llvm::Expected<std::string> formatNpy(const Tensor &tensor) {
  std::string kind;
  switch (tensor.elementType()) {
  case ElementType::F16: case ElementType::F32: case ElementType::F64: kind = "f"; break;
  case ElementType::I8: case ElementType::I16: case ElementType::I32: case ElementType::I64: kind = "i"; break;
  case ElementType::U8: case ElementType::U16: case ElementType::U32: case ElementType::U64: kind = "u"; break;
  case ElementType::Bool: kind = "b"; break;
  case ElementType::BF16: case ElementType::I4: case ElementType::U4:
    return makeError(ErrorKind::Unsupported, "a .npy array cannot hold " + name(tensor.elementType()) + " elements");
  }
  unsigned bytes = bitWidth(tensor.elementType()) / 8;
  std::string shape;
  for (int64_t dim : tensor.shape())
    shape += std::to_string(dim) + (tensor.rank() == 1 ? "," : ", ");
  if (tensor.rank() > 1)
    shape.resize(shape.size() - 2);
  std::string header = "{'descr': '" + std::string(bytes == 1 ? "|" : "<") + kind + std::to_string(bytes) +
                       "', 'fortran_order': False, 'shape': (" + shape + "), }";
  // Elements begin at a multiple of 64, as numpy does, so that they can be used where they are mapped.
  header.resize(llvm::alignTo(10 + header.size() + 1, 64) - 11, ' ');
  header += '\n';
  std::string result = magic.str();
  result += '\x01';
  result += '\0';
  result += static_cast<char>(header.size() & 255);
  result += static_cast<char>(header.size() >> 8);
  result += header;
  result.append(static_cast<const char *>(tensor.raw()), static_cast<size_t>(tensor.byteSize()));
  return result;
}

llvm::Error writeNpy(llvm::StringRef path, const Tensor &tensor) {
  llvm::Expected<std::string> bytes = formatNpy(tensor);
  if (!bytes)
    return bytes.takeError();
  return writeFileAtomically(path, *bytes);
}

} // namespace nibble

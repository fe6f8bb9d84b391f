#include "lib/Export/TOSA/TosaReader.h"
#include "lib/Export/TOSA/tosa_generated.h"
#include "lib/Support/Error.h"

namespace schema = ::tosa;

namespace nibble::tosa_export {

static std::string toString(const flatbuffers::String *text) { return text ? text->str() : std::string(); }

static std::vector<std::string> toStrings(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>> *list) {
  std::vector<std::string> strings;
  if (list)
    for (const flatbuffers::String *text : *list)
      strings.push_back(toString(text));
  return strings;
}

llvm::Expected<TosaContents> readTosa(llvm::StringRef bytes) {
  // Every table takes four bytes at least, so this bounds the work by the size of the file.
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), /*max_depth=*/64,
                                 static_cast<flatbuffers::uoffset_t>(bytes.size() / 4 + 1));
  if (bytes.size() >= FLATBUFFERS_MAX_BUFFER_SIZE || !schema::VerifyTosaGraphBuffer(verifier))
    return makeError(ErrorKind::BadInput, "the file is not a TOSA flatbuffer");
  const auto *regions = schema::GetTosaGraph(bytes.data())->regions();
  if (!regions || regions->size() != 1 || !regions->Get(0)->blocks() || regions->Get(0)->blocks()->size() != 1)
    return makeError(ErrorKind::BadInput, "wanted a TOSA file of one basic block");
  const schema::TosaBasicBlock *block = regions->Get(0)->blocks()->Get(0);
  TosaContents contents{toStrings(block->inputs()), toStrings(block->outputs()), {}};
  if (!block->operators())
    return contents;
  for (const schema::TosaOperator *op : *block->operators())
    if (op->op() != schema::Op_CONST && op->op() != schema::Op_CONST_SHAPE)
      contents.operators.push_back(
          {schema::EnumNameOp(op->op()), op->location() ? toString(op->location()->text()) : std::string()});
  return contents;
}

} // namespace nibble::tosa_export

#include "lib/Export/TOSA/TosaFiles.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"

using namespace mlir;
namespace json = llvm::json;

namespace nibble::tosa_export {

template <typename Op> static llvm::Error writeOne(Op op, llvm::StringRef path, const TosaOptions &options) {
  llvm::Expected<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  if (llvm::Error error = writeTosa(op, (*file)->stream(), options))
    return error;
  return (*file)->commit();
}

static json::Array tensorNames(ValueRange values) {
  json::Array names;
  for (Value value : values)
    names.push_back(nn::tensorName(value));
  return names;
}

static llvm::Expected<std::vector<TosaFile>> writeBlocks(func::FuncOp function, llvm::StringRef path,
                                                         const TosaOptions &options) {
  for (Operation &op : function.getBody().front().without_terminator())
    if (!isa<nn::BlockOp>(op))
      return makeError(ErrorKind::Limit, "node '" + nn::nodeName(&op) +
                                             "': a TOSA file for every block was wanted, but the node lies in "
                                             "no block");
  llvm::SmallString<128> stem(path);
  llvm::sys::path::replace_extension(stem, "");
  std::vector<TosaFile> files;
  json::Array list;
  for (nn::BlockOp block : function.getOps<nn::BlockOp>()) {
    std::string name;
    llvm::raw_string_ostream(name) << stem << llvm::format("-%03zu.tosa", files.size());
    if (llvm::Error error = writeOne(block, name, options))
      return std::move(error);
    list.push_back(json::Object{{"file", llvm::sys::path::filename(name)},
                                {"block", block.getSymName()},
                                {"inputs", tensorNames(block.getInputs())},
                                {"outputs", tensorNames(block.getOutputs())}});
    files.push_back({std::move(name), block.getSymName().str()});
  }
  if (llvm::Error error = writeFileAtomically((stem + ".blocks.json").str(), formatJson(std::move(list))))
    return std::move(error);
  return files;
}

llvm::Expected<std::vector<TosaFile>> writeTosaFiles(ModuleOp module, llvm::StringRef path,
                                                     const TosaOptions &options) {
  auto function = module.lookupSymbol<func::FuncOp>("main");
  if (!function || function.isExternal())
    return makeError(ErrorKind::Internal, "the module has no function @main");
  if (options.filePerBlock)
    return writeBlocks(function, path, options);
  llvm::Error whole = writeOne(function, path, options);
  if (!whole)
    return std::vector<TosaFile>{{path.str(), ""}};
  bool isTooLarge = false;
  llvm::Error other = llvm::handleErrors(std::move(whole), [&](std::unique_ptr<NibbleError> error) -> llvm::Error {
    isTooLarge = error->kind == ErrorKind::Limit;
    return isTooLarge ? llvm::Error::success() : llvm::Error(std::move(error));
  });
  if (other)
    return std::move(other);
  return writeBlocks(function, path, options);
}

llvm::Expected<std::vector<TosaBlock>> readBlockList(llvm::StringRef path) {
  llvm::Expected<json::Value> value = readJson(path);
  if (!value)
    return value.takeError();
  auto fail = [&](const llvm::Twine &what) { return makeError(ErrorKind::BadInput, "'" + path + "': " + what); };
  const json::Array *list = value->getAsArray();
  if (!list || list->empty())
    return fail("wanted a list of blocks");
  std::vector<TosaBlock> blocks;
  for (const json::Value &entry : *list) {
    const json::Object *object = entry.getAsObject();
    std::optional<llvm::StringRef> file = object ? object->getString("file") : std::nullopt;
    if (!file || llvm::sys::path::filename(*file) != *file)
      return fail("wanted the name of a file beside it in every block");
    TosaBlock block{file->str(), {}, {}};
    for (auto [key, names] : {std::pair("inputs", &block.inputs), std::pair("outputs", &block.outputs)}) {
      const json::Array *array = object->getArray(key);
      for (const json::Value &name : array ? *array : json::Array()) {
        if (!name.getAsString())
          return fail(llvm::Twine("wanted names of tensors under '") + key + "'");
        names->push_back(name.getAsString()->str());
      }
      if (names->empty())
        return fail(llvm::Twine("wanted names of tensors under '") + key + "'");
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

} // namespace nibble::tosa_export

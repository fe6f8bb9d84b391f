#include "lib/Import/ONNX/ModelFile.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Import/ONNX/WireScanner.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Path.h"

namespace nibble::onnx_import {

llvm::Expected<std::unique_ptr<ModelFile>> ModelFile::open(llvm::StringRef path) {
  llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  llvm::Expected<std::string> skeleton = makeSkeleton((*file)->bytes(), path);
  if (!skeleton)
    return skeleton.takeError();
  std::unique_ptr<ModelFile> result(new ModelFile);
  result->file = std::move(*file);
  if (!result->model.ParseFromString(*skeleton))
    return makeError(ErrorKind::BadInput, "'" + path + "' is not an ONNX model: protobuf cannot parse it");
  return result;
}

llvm::Expected<MappedBytes> ModelFile::locate(const onnx::TensorProto &tensor, llvm::StringRef what,
                                              std::string &cutField) {
  auto fail = [&](ErrorKind kind, const llvm::Twine &message) {
    return makeError(kind, "'" + path() + "': " + what + ": " + message);
  };
  llvm::StringMap<llvm::StringRef> entries;
  for (const onnx::StringStringEntryProto &entry : tensor.external_data())
    if (!entries.try_emplace(entry.key(), entry.value()).second)
      return fail(ErrorKind::BadInput, "external data gives '" + entry.key() + "' twice");
  if (!entries.contains("location"))
    return fail(ErrorKind::BadInput, "external data has no location");
  llvm::StringRef location = entries["location"];
  cutField = entries.lookup(cutFieldKey).str();

  MappedBytes result;
  if (location == modelFileLocation) {
    result.file = file;
  } else {
    auto known = externalFiles.find(location.str());
    if (known == externalFiles.end()) {
      llvm::Expected<std::shared_ptr<const MappedFile>> opened =
          MappedFile::openBeneath(llvm::sys::path::parent_path(path()), location);
      if (!opened) {
        ErrorKind kind = ErrorKind::BadInput;
        std::string message;
        llvm::handleAllErrors(opened.takeError(), [&](const NibbleError &error) {
          kind = error.kind;
          message = error.message;
        });
        return fail(kind, message);
      }
      known = externalFiles.insert({location.str(), *opened}).first;
      externalTotal += (*opened)->bytes().size();
      if (externalFiles.size() > limits::externalFiles)
        return fail(ErrorKind::Limit, "the model uses more than " + llvm::Twine(limits::externalFiles) +
                                          " external files");
      if (externalTotal > limits::externalBytes)
        return fail(ErrorKind::Limit, "external files have more than " + llvm::Twine(limits::externalBytes) +
                                          " bytes in all");
    }
    result.file = known->second;
  }
  uint64_t total = result.file->bytes().size();
  for (auto [key, value] : {std::pair("offset", &result.offset), std::pair("length", &result.size)}) {
    auto entry = entries.find(key);
    bool isDigits = entry != entries.end() && llvm::all_of(entry->second, llvm::isDigit);
    if (entry != entries.end() && (!isDigits || entry->second.getAsInteger(10, *value)))
      return fail(ErrorKind::BadInput, llvm::Twine("external data ") + key + " must be a number of bytes, but is '" +
                                           entry->second.take_front(40) + "'");
    if (entry == entries.end() && value == &result.size)
      result.size = result.offset <= total ? total - result.offset : 0;
  }
  if (result.offset > total || result.size > total - result.offset)
    return fail(ErrorKind::BadInput, "external data at offset " + llvm::Twine(result.offset) + " with " +
                                         llvm::Twine(result.size) + " bytes lies outside '" + result.file->path() +
                                         "', which has " + llvm::Twine(total) + " bytes");
  return result;
}

std::vector<std::string> ModelFile::externalPaths() const {
  std::vector<std::string> paths;
  for (const auto &[location, file] : externalFiles)
    paths.push_back(file->path().str());
  llvm::sort(paths);
  return paths;
}

} // namespace nibble::onnx_import

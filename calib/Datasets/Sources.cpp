#include "calib/Datasets/Sources.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace nibble::calib {
namespace {

constexpr int64_t maximumRandomSamples = 1'000'000;

class Finder {
public:
  Finder(llvm::ArrayRef<InputSpec> inputs, Sources &sources) : sources(sources) {
    for (const InputSpec &input : inputs)
      names.push_back(input.name);
  }

  llvm::Error addArgument(llvm::StringRef argument) {
    if (llvm::StringRef count = argument; count.consume_front("random:")) {
      int64_t samples = 0;
      if (count.getAsInteger(10, samples) || samples < 1 || samples > maximumRandomSamples)
        return makeError(ErrorKind::Usage, "'" + argument + "' is malformed, expected random:N with N from 1 to " +
                                               llvm::Twine(maximumRandomSamples));
      sources.randomSamples = samples;
      return llvm::Error::success();
    }
    auto [name, path] = argument.split('=');
    if (argument.contains('=') && !llvm::sys::fs::exists(argument)) {
      if (!llvm::is_contained(names, name)) {
        std::string nearest = nearestName(name, names);
        return makeError(ErrorKind::Usage, "'" + argument + "' names no input of the model",
                         {nearest.empty() ? "inputs: " + llvm::join(names, ", ") : "nearest input: '" + nearest + "'"});
      }
      return addColumn(path, name);
    }
    if (llvm::sys::fs::is_directory(argument))
      return addFolder(argument);
    if (argument.ends_with(".npz"))
      return addArchive(argument);
    if (argument.ends_with(".npy"))
      return addColumn(argument, "");
    if (!llvm::sys::fs::exists(argument))
      return makeError(ErrorKind::IO, "'" + argument + "' does not exist");
    return makeError(ErrorKind::BadInput, "'" + argument + "' is neither a folder nor a .npz or .npy file");
  }

private:
  llvm::Error addFolder(llvm::StringRef folder) {
    std::vector<std::string> files;
    std::error_code error;
    for (llvm::sys::fs::directory_iterator it(folder, error), end; it != end && !error; it.increment(error))
      if (llvm::StringRef path = it->path(); path.ends_with(".npz") || path.ends_with(".npy"))
        files.push_back(path.str());
    if (error)
      return makeError(ErrorKind::IO, "cannot list '" + folder + "': " + error.message());
    if (files.empty())
      return makeError(ErrorKind::BadInput, "folder '" + folder + "' holds no .npz and no .npy file");
    llvm::sort(files);
    for (const std::string &file : files) {
      llvm::StringRef stem = llvm::sys::path::stem(file);
      bool isArchive = llvm::StringRef(file).ends_with(".npz");
      llvm::StringRef input = llvm::is_contained(names, stem) ? stem : llvm::StringRef();
      if (llvm::Error failure = isArchive ? addArchive(file) : addColumn(file, input))
        return failure;
    }
    return llvm::Error::success();
  }

  llvm::Error addArchive(llvm::StringRef path) {
    llvm::Expected<std::unique_ptr<NpzReader>> reader = NpzReader::open(path);
    if (!reader)
      return reader.takeError();
    SourceArchive archive{path.str(), {}};
    for (const NpzReader::Entry &entry : (*reader)->entries())
      archive.arrays.push_back({path.str(), entry.name, entry.header.elementType, entry.header.shape});
    sources.archives.push_back(std::move(archive));
    return llvm::Error::success();
  }

  llvm::Error addColumn(llvm::StringRef path, llvm::StringRef input) {
    if (!path.ends_with(".npy"))
      return makeError(ErrorKind::BadInput, "'" + path + "' was given for input '" + input + "', expected a .npy file",
                       {"a .npz names the inputs that its arrays fill and is given alone"});
    llvm::Expected<Tensor> tensor = readNpy(path);
    if (!tensor)
      return tensor.takeError();
    sources.columns.push_back({input.str(), {path.str(), "", tensor->elementType(), Shape(tensor->shape())}});
    return llvm::Error::success();
  }

  std::vector<std::string> names;
  Sources &sources;
};

} // namespace

std::vector<std::string> Sources::files() const {
  std::vector<std::string> result;
  for (const SourceArchive &archive : archives)
    result.push_back(archive.path);
  for (const SourceColumn &column : columns)
    result.push_back(column.array.path);
  llvm::sort(result);
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

llvm::Expected<Sources> findSources(const DatasetOptions &options, llvm::ArrayRef<InputSpec> inputs) {
  if (options.arguments.empty())
    return makeError(ErrorKind::Usage, "no samples were given");
  Sources sources;
  Finder finder(inputs, sources);
  for (const std::string &argument : options.arguments)
    if (llvm::Error error = finder.addArgument(argument))
      return std::move(error);
  if (sources.randomSamples > 0 && options.arguments.size() > 1)
    return makeError(ErrorKind::Usage, "random:N cannot be combined with files");
  return sources;
}

} // namespace nibble::calib

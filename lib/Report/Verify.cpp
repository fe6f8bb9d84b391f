#include "lib/Report/Verify.h"
#include "lib/Report/Manifest.h"
#include "lib/Report/Schema.h"
#include "lib/Support/Digest.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"
#include "lib/Support/MappedFile.h"
#include "lib/Support/Npy.h"
#include "lib/Support/Safetensors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <set>

namespace nibble::report {
namespace {

constexpr size_t maximumProblems = 100;

class Verifier {
public:
  Verifier(llvm::StringRef folder, const VerifyOptions &options) : folder(folder), options(options) {}

  llvm::Expected<VerifySummary> run() {
    llvm::Expected<llvm::json::Value> manifest = readJson(pathOf(manifestName));
    if (!manifest)
      return manifest.takeError();
    const llvm::json::Object *root = manifest->getAsObject();
    const llvm::json::Array *outputs = root ? root->getArray("outputs") : nullptr;
    if (!outputs || root->getString("schema") != "nibble-manifest" || !root->getInteger("version"))
      return makeError(ErrorKind::BadInput, "'" + pathOf(manifestName) + "' is not a manifest");
    if (int64_t version = *root->getInteger("version"); version != manifestVersion)
      return makeError(ErrorKind::BadInput, "'" + pathOf(manifestName) + "' has version " + llvm::Twine(version) +
                                                ", expected version " + llvm::Twine(manifestVersion));
    for (const llvm::json::Value &output : *outputs)
      checkOutput(output);
    checkOtherFiles();
    if (problems.empty())
      return summary;
    size_t count = problems.size();
    problems.resize(std::min(count, maximumProblems));
    return makeError(ErrorKind::BadInput, "'" + folder + "' is not what was written: " + llvm::Twine(count) +
                                              (count == 1 ? " problem" : " problems"),
                     std::move(problems));
  }

private:
  std::string pathOf(llvm::StringRef name) const {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, name);
    return std::string(path);
  }
  void problem(llvm::StringRef name, const llvm::Twine &text) { problems.push_back(("'" + name + "' " + text).str()); }
  void problem(llvm::StringRef name, llvm::Error error) {
    std::string text = llvm::toString(std::move(error));
    std::replace(text.begin(), text.end(), '\n', ' ');
    problem(name, "cannot be read: " + text);
  }

  void checkOutput(const llvm::json::Value &value) {
    const llvm::json::Object *entry = value.getAsObject();
    std::optional<llvm::StringRef> name = entry ? entry->getString("name") : std::nullopt;
    std::optional<llvm::StringRef> digest = entry ? entry->getString("sha256") : std::nullopt;
    std::optional<int64_t> bytes = entry ? entry->getInteger("bytes") : std::nullopt;
    if (!name || !digest || !bytes) {
      problem(manifestName, "has an output without name, sha256 or bytes");
      return;
    }
    if (!listed.insert(name->str()).second) {
      problem(*name, "is listed twice");
      return;
    }
    llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::openBeneath(folder, *name);
    if (!file) {
      bool isInside = !llvm::sys::path::is_absolute(*name) && !name->contains("..");
      if (!isInside || llvm::sys::fs::exists(pathOf(*name))) {
        problem(*name, file.takeError());
      } else {
        llvm::consumeError(file.takeError());
        problem(*name, "is missing");
      }
      return;
    }
    ++summary.files;
    summary.bytes += static_cast<int64_t>((*file)->bytes().size());
    if (static_cast<int64_t>((*file)->bytes().size()) != *bytes)
      problem(*name, "has " + llvm::Twine((*file)->bytes().size()) + " bytes, expected " + llvm::Twine(*bytes));
    else if (sha256((*file)->bytes()) != *digest)
      problem(*name, "was changed: its SHA-256 differs");
    else
      reopen(*name);
  }

  /// A file may be what was written and yet be no use, if what was written was wrong.
  void reopen(llvm::StringRef name) {
    std::string path = pathOf(name);
    if (name.ends_with(".json")) {
      llvm::Expected<llvm::json::Value> value = readJson(path);
      if (!value)
        problem(name, value.takeError());
      else if (name.ends_with("io.json"))
        checkBinary(name, *value);
      else if (name == "report.json" && !options.reportSchema.empty())
        checkReport(name, *value);
    } else if (name.ends_with(".onnx") || name.ends_with(".tosa")) {
      if (llvm::Error failure = options.openModel(path))
        problem(name, std::move(failure));
    } else if (name.ends_with(".safetensors")) {
      if (llvm::Expected<Safetensors> file = readSafetensors(path); !file)
        problem(name, file.takeError());
    } else if (name.ends_with(".npz") && !name.ends_with("_vela.npz")) {
      // Vela's archives hold byte strings, of which the digest is all that can be checked.
      if (llvm::Expected<std::vector<NamedTensor>> file = readNpz(path); !file)
        problem(name, file.takeError());
    } else if (name.ends_with(".npy")) {
      if (llvm::Expected<Tensor> file = readNpy(path); !file)
        problem(name, file.takeError());
    }
  }

  /// The loader of a vendor accepts flipped bits, so io.json repeats the digest of its binary.
  void checkBinary(llvm::StringRef name, const llvm::json::Value &value) {
    const llvm::json::Object *root = value.getAsObject();
    const llvm::json::Object *entry = root ? root->getObject("binary") : nullptr;
    std::optional<llvm::StringRef> binary = entry ? entry->getString("file") : std::nullopt;
    std::optional<llvm::StringRef> digest = entry ? entry->getString("sha256") : std::nullopt;
    if (!binary || !digest) {
      problem(name, "names no binary with file and sha256");
      return;
    }
    llvm::SmallString<128> relative = llvm::sys::path::parent_path(name);
    llvm::sys::path::append(relative, *binary);
    llvm::Expected<std::shared_ptr<const MappedFile>> file = MappedFile::openBeneath(folder, relative);
    if (!file)
      problem(name, file.takeError());
    else if (sha256((*file)->bytes()) != *digest)
      problem(name, "states another SHA-256 for '" + *binary + "' than the file has");
  }

  void checkReport(llvm::StringRef name, const llvm::json::Value &value) {
    llvm::Expected<llvm::json::Value> schema = parseJson(options.reportSchema, "report.schema.json");
    if (!schema) {
      problem(name, schema.takeError());
      return;
    }
    for (const std::string &violation : validateJson(value, *schema))
      problem(name, violation);
  }

  void checkOtherFiles() {
    llvm::Expected<std::vector<std::string>> names = listFiles(folder);
    if (!names) {
      problem(folder, names.takeError());
      return;
    }
    for (const std::string &name : *names)
      if (name != manifestName && name != runName && !listed.count(name))
        problem(name, "is not in the manifest");
    if (llvm::is_contained(*names, runName.str()))
      if (llvm::Expected<llvm::json::Value> run = readJson(pathOf(runName)); !run)
        problem(runName, run.takeError());
  }

  llvm::StringRef folder;
  const VerifyOptions &options;
  VerifySummary summary;
  std::set<std::string> listed;
  std::vector<std::string> problems;
};

} // namespace

llvm::Expected<std::vector<std::string>> listFiles(llvm::StringRef folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (llvm::sys::fs::recursive_directory_iterator it(folder, error, /*follow_symlinks=*/false), end; it != end && !error;
       it.increment(error)) {
    if (it->type() == llvm::sys::fs::file_type::directory_file)
      continue;
    llvm::StringRef name = it->path();
    name.consume_front(folder);
    names.push_back(name.ltrim('/').str());
  }
  if (error)
    return makeError(ErrorKind::IO, "cannot list '" + folder + "': " + error.message());
  llvm::sort(names);
  return names;
}

llvm::Expected<VerifySummary> verifyFolder(llvm::StringRef folder, const VerifyOptions &options) {
  return Verifier(folder, options).run();
}

} // namespace nibble::report

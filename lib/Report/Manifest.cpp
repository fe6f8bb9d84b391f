#include "lib/Report/Manifest.h"
#include "lib/Report/Verify.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Digest.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"
#include "lib/Support/Parallel.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Chrono.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include <ctime>
#include <sys/resource.h>
#include <tuple>
#include <unistd.h>

namespace nibble::report {

using llvm::json::Array;
using llvm::json::Object;

static std::string inFolder(llvm::StringRef folder, llvm::StringRef name) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

/// "unet/000.npz" of ".../calib/unet/000.npz".
static std::string shortName(llvm::StringRef path) {
  llvm::SmallString<128> absolute(path);
  llvm::sys::fs::make_absolute(absolute);
  llvm::sys::path::remove_dots(absolute, /*remove_dot_dot=*/true);
  llvm::StringRef folder = llvm::sys::path::filename(llvm::sys::path::parent_path(absolute));
  llvm::StringRef file = llvm::sys::path::filename(absolute);
  return folder == "/" || folder.empty() ? file.str() : (folder + "/" + file).str();
}

static llvm::Expected<Object> describeFile(llvm::StringRef path) {
  llvm::Expected<std::string> digest = sha256File(path);
  if (!digest)
    return digest.takeError();
  uint64_t size = 0;
  if (std::error_code error = llvm::sys::fs::file_size(path, size))
    return makeError(ErrorKind::IO, "cannot inspect '" + path + "': " + error.message());
  return Object{{"sha256", *digest}, {"bytes", static_cast<int64_t>(size)}};
}

llvm::Error writeManifest(llvm::StringRef folder, const Manifest &manifest) {
  std::vector<std::tuple<std::string, std::string, Object>> inputs;
  for (const InputFile &input : manifest.inputs) {
    llvm::Expected<Object> file = describeFile(input.path);
    if (!file)
      return file.takeError();
    inputs.emplace_back(input.role, shortName(input.path), std::move(*file));
  }
  auto keyOf = [](const auto &input) {
    return std::make_tuple(std::get<0>(input), std::get<1>(input), std::get<2>(input).getString("sha256")->str());
  };
  llvm::sort(inputs, [&](const auto &a, const auto &b) { return keyOf(a) < keyOf(b); });
  Array inputList;
  for (auto &[role, name, file] : inputs) {
    file["role"] = role;
    file["name"] = name;
    inputList.push_back(std::move(file));
  }

  llvm::Expected<std::vector<std::string>> names = listFiles(folder);
  if (!names)
    return names.takeError();
  Array outputs;
  for (const std::string &name : *names) {
    if (name == manifestName || name == runName)
      continue;
    llvm::Expected<Object> file = describeFile(inFolder(folder, name));
    if (!file)
      return file.takeError();
    (*file)["name"] = name;
    outputs.push_back(std::move(*file));
  }
  Object bindings, options;
  for (const auto &[name, value] : manifest.bindings)
    bindings[name] = value;
  for (const auto &[name, value] : manifest.options)
    options[name] = value;
  Object root{{"schema", "nibble-manifest"},    {"version", manifestVersion},
              {"tool_version", manifest.toolVersion}, {"recipe", manifest.recipe},
              {"target", manifest.target},      {"bindings", std::move(bindings)},
              {"options", std::move(options)},  {"inputs", std::move(inputList)},
              {"outputs", std::move(outputs)}};
  return writeFileAtomically(inFolder(folder, manifestName), formatJson(std::move(root)));
}

std::vector<std::string> findUnchangedOutputs(llvm::StringRef folder) {
  llvm::Expected<llvm::json::Value> manifest = readJson(inFolder(folder, manifestName));
  if (!manifest) {
    llvm::consumeError(manifest.takeError());
    return {};
  }
  const Object *root = manifest->getAsObject();
  const Array *outputs = root ? root->getArray("outputs") : nullptr;
  std::vector<std::string> names;
  if (!outputs)
    return names;
  for (const llvm::json::Value &output : *outputs) {
    const Object *entry = output.getAsObject();
    std::optional<llvm::StringRef> name = entry ? entry->getString("name") : std::nullopt;
    // The manifest could be anybody's: a name that leaves the folder is none of ours.
    if (!name || name->empty() || name->contains('/') || name->starts_with("."))
      continue;
    llvm::Expected<Object> file = describeFile(inFolder(folder, *name));
    if (!file)
      llvm::consumeError(file.takeError());
    else if (file->getString("sha256") == entry->getString("sha256"))
      names.push_back(name->str());
  }
  return names;
}

RunRecord startRunRecord(llvm::ArrayRef<std::string> commandLine) {
  RunRecord record;
  record.started = llvm::formatv("{0:%Y-%m-%dT%H:%M:%SZ}", llvm::sys::toUtcTime(std::time(nullptr))).str();
  record.commandLine = commandLine.vec();
  llvm::SmallString<128> folder;
  if (!llvm::sys::fs::current_path(folder))
    record.workingFolder = std::string(folder);
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) == 0)
    record.host = host;
  record.threads = getThreadCount();
  return record;
}

llvm::Error writeRunRecord(llvm::StringRef folder, RunRecord record) {
  struct rusage usage = {};
  // Linux counts in KiB.
  if (::getrusage(RUSAGE_SELF, &usage) == 0)
    record.peakMemoryBytes = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  Array phases;
  double total = 0;
  for (const auto &[name, seconds] : record.phases) {
    phases.push_back(Object{{"phase", name}, {"seconds", seconds}});
    total += seconds;
  }
  Object paths;
  for (const auto &[name, path] : record.paths)
    paths[name] = path;
  Object root{{"schema", "nibble-run"},
              {"version", 1},
              {"started", record.started},
              {"command_line", Array(record.commandLine)},
              {"working_folder", record.workingFolder},
              {"host", record.host},
              {"threads", record.threads},
              {"peak_memory_bytes", record.peakMemoryBytes},
              {"seconds", total},
              {"phases", std::move(phases)},
              {"paths", std::move(paths)}};
  return writeFileAtomically(inFolder(folder, runName), formatJson(std::move(root)));
}

} // namespace nibble::report

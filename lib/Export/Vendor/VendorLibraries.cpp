#include "lib/Export/Vendor/OnnxRuntime.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/VersionTuple.h"
#include <cstdlib>

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace nibble::vendor {

static std::string join(llvm::StringRef folder, const llvm::Twine &a, const llvm::Twine &b = "") {
  llvm::SmallString<128> result(folder);
  path::append(result, a, b);
  return std::string(result);
}

/// Names in `folder` that begin with `prefix`, sorted. Empty where the folder cannot be read.
static std::vector<std::string> listNames(llvm::StringRef folder, llvm::StringRef prefix) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (llvm::StringRef name = path::filename(it->path()); name.starts_with(prefix))
      names.push_back(name.str());
  llvm::sort(names);
  return names;
}

/// The value of `key = 'value'` in a Python package's information file; empty where absent.
static std::string readPackageValue(llvm::StringRef packageFolder, llvm::StringRef key) {
  auto buffer = llvm::MemoryBuffer::getFile(join(packageFolder, "build_and_package_info.py"));
  if (!buffer)
    return "";
  llvm::SmallVector<llvm::StringRef> lines;
  (*buffer)->getBuffer().split(lines, '\n');
  for (llvm::StringRef line : lines) {
    auto [name, value] = line.split('=');
    if (name.trim() == key)
      return value.trim().trim("'\"").str();
  }
  return "";
}

static void findOnnxRuntime(llvm::StringRef folder, VendorLibraries &found) {
  llvm::VersionTuple best;
  for (const std::string &name : listNames(folder, "libonnxruntime.so")) {
    llvm::StringRef suffix = llvm::StringRef(name).substr(strlen("libonnxruntime.so"));
    llvm::VersionTuple version;
    if (!suffix.empty() && (!suffix.consume_front(".") || version.tryParse(suffix)))
      continue;
    if (found.onnxRuntimeLibrary.empty() || version > best) {
      best = version;
      found.onnxRuntimeLibrary = join(folder, name);
      found.onnxRuntimeVersion = version.empty() ? "unknown" : version.getAsString();
    }
  }
}

static void findQnn(llvm::StringRef folder, VendorLibraries &found) {
  if (!fs::exists(join(folder, "libQnnHtp.so")) || !fs::exists(join(folder, "libonnxruntime_providers_qnn.so")))
    return;
  found.qnnFolder = folder.str();
  found.qnnPackageVersion = readPackageValue(folder, "__version__");
  found.qnnVersion = readPackageValue(folder, "qnn_version");
  for (std::string *version : {&found.qnnPackageVersion, &found.qnnVersion})
    if (version->empty())
      *version = "unknown";
}

/// Looks into a site-packages folder.
static VendorLibraries lookIntoPackages(llvm::StringRef packages) {
  VendorLibraries found;
  findOnnxRuntime(join(packages, "onnxruntime", "capi"), found);
  findQnn(join(packages, "onnxruntime_qnn"), found);
  return found;
}

/// Looks into a virtual environment: its newest Python that has ONNX Runtime.
static VendorLibraries lookIntoEnvironment(llvm::StringRef environment) {
  VendorLibraries found;
  std::vector<std::string> pythons = listNames(join(environment, "lib"), "python3");
  for (const std::string &python : llvm::reverse(pythons)) {
    VendorLibraries here = lookIntoPackages(join(environment, "lib", python + "/site-packages"));
    if (!here.onnxRuntimeLibrary.empty() && (found.onnxRuntimeLibrary.empty() || found.qnnFolder.empty()))
      found = here;
  }
  return found;
}

/// Looks into a folder that the user named: the package's own folder, site-packages or an environment.
static VendorLibraries lookIntoNamedFolder(llvm::StringRef folder) {
  VendorLibraries found;
  findQnn(folder, found);
  if (!found.qnnFolder.empty()) {
    findOnnxRuntime(folder, found);
    if (found.onnxRuntimeLibrary.empty())
      findOnnxRuntime(join(path::parent_path(folder), "onnxruntime", "capi"), found);
    return found;
  }
  found = lookIntoPackages(folder);
  return found.qnnFolder.empty() ? lookIntoEnvironment(folder) : found;
}

static std::string environmentValue(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

std::string setUpEnvironmentFolder() {
  if (std::string folder = environmentValue("NIBBLE_VENV"); !folder.empty())
    return folder;
  if (std::string folder = environmentValue("NIBBLE_CACHE_DIR"); !folder.empty())
    return join(folder, "venv");
  return join(environmentValue("HOME"), ".cache/nibble", "venv");
}

llvm::Expected<VendorLibraries> findVendorLibraries(llvm::StringRef qnnFolderOption) {
  // A folder that was named and does not hold the libraries is a mistake to report, not to look past.
  std::pair<std::string, std::string> named[] = {{"--qnn-dir", qnnFolderOption.rtrim('/').str()},
                                                 {"NIBBLE_QNN_DIR", environmentValue("NIBBLE_QNN_DIR")}};
  for (auto &[rule, folder] : named) {
    if (folder.empty())
      continue;
    VendorLibraries found = lookIntoNamedFolder(llvm::StringRef(folder).rtrim('/'));
    found.foundBy = rule;
    if (found.qnnFolder.empty())
      return makeError(ErrorKind::Unsupported,
                       rule + ": wanted libQnnHtp.so and libonnxruntime_providers_qnn.so in '" + folder +
                           "', found neither",
                       {"name the folder 'onnxruntime_qnn' in site-packages of the environment that has it"});
    if (found.onnxRuntimeLibrary.empty())
      return makeError(ErrorKind::Unsupported,
                       rule + ": wanted libonnxruntime.so in or beside '" + folder + "', found none",
                       {"install it in the same environment: pip install onnxruntime"});
    return found;
  }

  VendorLibraries best;
  std::pair<std::string, std::string> environments[] = {{"active venv", environmentValue("VIRTUAL_ENV")},
                                                        {"set-up venv", setUpEnvironmentFolder()}};
  for (auto &[rule, folder] : environments) {
    if (folder.empty())
      continue;
    VendorLibraries found = lookIntoEnvironment(folder);
    found.foundBy = rule;
    if (!found.onnxRuntimeLibrary.empty() &&
        (best.onnxRuntimeLibrary.empty() || (best.qnnFolder.empty() && !found.qnnFolder.empty())))
      best = found;
  }
  if (best.onnxRuntimeLibrary.empty())
    return makeError(ErrorKind::Unsupported, "onnxruntime is not installed",
                     {"looked in --qnn-dir, NIBBLE_QNN_DIR, the active virtual environment and '" +
                          environments[1].second + "'",
                      "install it: ./bootstrap, or in a virtual environment: pip install onnxruntime onnxruntime-qnn"});
  return best;
}

llvm::Error requireQnn(const VendorLibraries &libraries) {
  if (!libraries.qnnFolder.empty())
    return llvm::Error::success();
  return makeError(ErrorKind::Unsupported, "onnxruntime-qnn is not installed",
                   {"found onnxruntime " + libraries.onnxRuntimeVersion + " by " + libraries.foundBy + " in '" +
                        libraries.onnxRuntimeLibrary + "'",
                    "install it beside: pip install onnxruntime-qnn (its libraries are under Qualcomm's AI Stack "
                    "licence), or name its folder with --qnn-dir"});
}

} // namespace nibble::vendor

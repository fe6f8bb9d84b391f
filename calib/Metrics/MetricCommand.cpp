#include "calib/Metrics/MetricCommand.h"
#include "calib/Metrics/Evaluation.h"
#include "lib/Support/Error.h"
#include "lib/Support/Npy.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <cmath>
#include <set>

namespace nibble::calib {

llvm::Error writeOutputs(llvm::StringRef folder, int64_t index, llvm::ArrayRef<std::string> names,
                         llvm::ArrayRef<Tensor> outputs) {
  if (std::error_code error = llvm::sys::fs::create_directories(folder))
    return makeError(ErrorKind::IO, "cannot create folder '" + folder + "': " + error.message());
  std::vector<NamedTensor> arrays;
  for (size_t i = 0; i < names.size(); ++i)
    arrays.push_back({names[i], outputs[i]});
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, llvm::formatv("{0,0+6}.npz", index).str());
  return writeNpz(path, arrays);
}

llvm::Expected<std::vector<std::pair<std::string, double>>> parseMetricLines(llvm::StringRef text) {
  std::vector<std::pair<std::string, double>> metrics;
  std::set<std::string> names;
  unsigned number = 0;
  while (!text.empty()) {
    auto [line, rest] = text.split('\n');
    text = rest;
    ++number;
    line = line.trim();
    if (line.empty())
      continue;
    auto [name, value] = line.split('=');
    name = name.trim();
    double parsed = 0;
    bool isName = !name.empty() && llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_' || c == '-' || c == '.'; });
    if (!isName || value.trim().getAsDouble(parsed) || !std::isfinite(parsed))
      return makeError(ErrorKind::BadInput, "the metric command's line " + llvm::Twine(number) + " is '" + line +
                                                "', expected name=value");
    if (!names.insert(name.str()).second)
      return makeError(ErrorKind::BadInput, "the metric command printed '" + name + "' twice");
    metrics.emplace_back(name.str(), parsed);
  }
  if (metrics.empty())
    return makeError(ErrorKind::BadInput, "the metric command printed no name=value line");
  return metrics;
}

llvm::Expected<std::vector<report::MetricValue>> runMetricCommand(llvm::StringRef command, llvm::StringRef referenceFolder,
                                                                  llvm::StringRef quantizedFolder,
                                                                  llvm::StringRef arithmetic, int64_t samples) {
  // Beside the folders, where it goes with them even if this process is killed.
  llvm::SmallString<128> output;
  if (std::error_code error = llvm::sys::fs::createUniqueFile(quantizedFolder + "-%%%%%%%%.txt", output))
    return makeError(ErrorKind::IO, "cannot make a file for the metric command's output: " + error.message());
  llvm::FileRemover remover(output);
  std::string script = (command + " \"$@\"").str();
  llvm::StringRef arguments[] = {"/bin/sh", "-c", script, "metric-cmd", referenceFolder, quantizedFolder};
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef("/dev/null"), llvm::StringRef(output), std::nullopt};
  std::string reason;
  bool failed = false;
  int code = llvm::sys::ExecuteAndWait("/bin/sh", arguments, std::nullopt, redirects, /*SecondsToWait=*/0,
                                       /*MemoryLimit=*/0, &reason, &failed);
  // LLVM gives -1 for the shell's 126 and 127, which say that there is nothing to run.
  if (failed || code == -1)
    return makeError(ErrorKind::IO, "cannot run the metric command '" + command + "': " + reason);
  if (code != 0)
    return makeError(ErrorKind::BadInput, "the metric command '" + command + "' ended with " +
                                              (code < 0 ? "a signal: " + reason : "exit code " + std::to_string(code)));
  auto text = llvm::MemoryBuffer::getFile(output);
  if (!text)
    return makeError(ErrorKind::IO, "cannot read the metric command's output: " + text.getError().message());
  llvm::Expected<std::vector<std::pair<std::string, double>>> metrics = parseMetricLines((*text)->getBuffer());
  if (!metrics)
    return metrics.takeError();
  std::vector<report::MetricValue> rows;
  for (auto &[name, value] : *metrics) {
    // A gate names one figure, not two.
    if (llvm::Expected<Metric> known = parseMetric(name))
      return makeError(ErrorKind::BadInput, "the metric command printed '" + name + "', which is a metric of this program",
                       {"give the command's metric a name of its own"});
    else
      llvm::consumeError(known.takeError());
    rows.push_back({name, arithmetic.str(), samples, value, 0});
  }
  return rows;
}

} // namespace nibble::calib

//===- Manifest.h - what an output folder holds, and what it came from -----===//
#ifndef NIBBLE_REPORT_MANIFEST_H
#define NIBBLE_REPORT_MANIFEST_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nibble::report {

inline constexpr int64_t manifestVersion = 1;
inline constexpr llvm::StringLiteral manifestName("manifest.json"), runName("run.json");

/// A file that was read. Only the last two parts of its path are kept in the manifest, since the same
/// inputs in another place must give the same bytes.
struct InputFile {
  /// "model", "external data", "calibration", "evaluation", "statistics", "recipe" or "target".
  std::string role;
  std::string path;
};

struct Manifest {
  std::string toolVersion;
  /// Canonical YAML of the recipe as resolved.
  std::string recipe;
  std::string target;
  std::map<std::string, int64_t> bindings;
  /// Further options that decide the outputs, by name, for example "seed".
  std::map<std::string, std::string> options;
  std::vector<InputFile> inputs;
};

/// The files directly in `folder` that its manifest lists and that are what it says: those an earlier run
/// wrote and nobody has changed. Empty where there is no manifest that can be read.
std::vector<std::string> findUnchangedOutputs(llvm::StringRef folder);

/// Writes manifest.json into `folder`, with the SHA-256 of every input and of every file in the folder
/// except manifest.json and run.json. To be called when all other outputs are written. Errors: IO.
llvm::Error writeManifest(llvm::StringRef folder, const Manifest &manifest);

/// What differs between two runs of the same compilation.
struct RunRecord {
  /// Start in ISO 8601, UTC.
  std::string started;
  std::vector<std::string> commandLine;
  std::string workingFolder, host;
  int64_t threads = 0, peakMemoryBytes = 0;
  /// Wall time of each phase in seconds, in order.
  std::vector<std::pair<std::string, double>> phases;
  /// Absolute paths of inputs and of the output folder, and of libraries that were loaded.
  std::map<std::string, std::string> paths;
};

/// A record with start time, host, working folder and threads filled in.
RunRecord startRunRecord(llvm::ArrayRef<std::string> commandLine);
/// Writes run.json into `folder`, with the peak memory of this process. Errors: IO.
llvm::Error writeRunRecord(llvm::StringRef folder, RunRecord record);

} // namespace nibble::report

#endif

//===- VendorWorker.h - vendor code in a process of its own -----------------===//
//
// The vendor's libraries run in a fresh child process: what they write then depends on their input
// alone (they count sessions within a process), and a crash or hang of theirs is an error of ours.
// The child is the running program itself, started again with `workerArgument`. Every program that
// calls `runWorker` must therefore call `runIfWorker` first thing in main.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_VENDORWORKER_H
#define NIBBLE_EXPORT_VENDOR_VENDORWORKER_H

#include "lib/Export/Vendor/OrtSession.h"
#include "lib/Support/Npy.h"
#include <functional>
#include <optional>

namespace nibble::vendor {

inline constexpr const char *workerArgument = "__vendor-worker";

/// What the child does: load one model and run it on samples.
struct WorkerRequest {
  std::string onnxRuntimeLibrary, qnnFolder;
  /// A model is given either as bytes, loaded from memory, or by its path.
  std::string modelPath;
  bool loadFromMemory = true;
  Options providerOptions, sessionOptions;
  /// Inputs by name, one entry per run.
  std::vector<std::vector<NamedTensor>> samples;
  /// Called in the parent, where set, when the child has run a sample.
  std::function<void()> onSample;
};

struct WorkerResult {
  /// Per sample, in the order of the model's outputs.
  std::vector<std::vector<NamedTensor>> outputs;
  double sessionSeconds = 0, runSeconds = 0;
  /// Largest resident set of the child.
  uint64_t peakBytes = 0;
};

/// Does the work in a child. `workFolder` exists and is the caller's to remove; the child's output
/// goes to `log` in it. Errors: those of the runtime with its message; Unsupported (the child was
/// killed by a signal, with the last lines it wrote); Limit (it took longer than `timeLimitSeconds`).
llvm::Expected<WorkerResult> runWorker(const WorkerRequest &request, llvm::StringRef workFolder,
                                       double timeLimitSeconds);

/// In a child started by runWorker: does the work and returns the process's exit code. Otherwise nothing.
std::optional<int> runIfWorker(int argc, char **argv);

} // namespace nibble::vendor

#endif

//===- OrtSession.h - sessions of a runtime loaded with dlopen --------------===//
//
// Internal to this library: what CpuSession and the vendor worker share.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_ORTSESSION_H
#define NIBBLE_EXPORT_VENDOR_ORTSESSION_H

#include "lib/Export/Vendor/OrtApi.h"
#include "lib/Support/Tensor.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace nibble::vendor {

using Options = std::vector<std::pair<std::string, std::string>>;

/// The runtime of this process: library, table of functions and the one environment.
class OrtRuntime {
public:
  /// Loads the library once; later calls with the same path return the same object. It stays loaded
  /// until the process ends, as the runtime does not survive being unloaded. Errors: Unsupported.
  static llvm::Expected<OrtRuntime *> load(llvm::StringRef libraryPath);

  /// Makes an error from `status`, which is released; success where it is null. `what` says what was
  /// being done: "cannot load 'x.onnx'".
  llvm::Error check(ort::Status *status, const llvm::Twine &what) const;

  const ort::Api *api = nullptr;
  ort::Env *env = nullptr;
  std::string version;

private:
  OrtRuntime() = default;
};

struct TensorInfo {
  std::string name;
  ElementType elementType;
  /// -1 where a dimension is not static.
  Shape shape;
};

struct SessionSettings {
  bool optimize = false;
  int threads = 1;
  Options configEntries;
  /// The provider to append, with its options; empty for the CPU alone. Its library must be registered.
  std::string executionProvider;
  Options providerOptions;
};

/// One loaded model.
class OrtSession {
public:
  /// Errors: those of the runtime, with its message.
  static llvm::Expected<std::unique_ptr<OrtSession>> fromMemory(OrtRuntime &runtime, llvm::StringRef modelBytes,
                                                                const SessionSettings &settings);
  static llvm::Expected<std::unique_ptr<OrtSession>> fromFile(OrtRuntime &runtime, llvm::StringRef path,
                                                              const SessionSettings &settings);
  ~OrtSession();
  OrtSession(const OrtSession &) = delete;
  OrtSession &operator=(const OrtSession &) = delete;

  const std::vector<TensorInfo> &inputs() const { return inputInfos; }
  const std::vector<TensorInfo> &outputs() const { return outputInfos; }
  /// In the order of the graph. Errors: BadInput (count, type or shape differ from the model's).
  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> tensors);

private:
  explicit OrtSession(OrtRuntime &runtime) : runtime(runtime) {}
  static llvm::Expected<std::unique_ptr<OrtSession>> create(OrtRuntime &runtime, const SessionSettings &settings,
                                                            llvm::StringRef what, const void *bytes, size_t size,
                                                            const char *path);
  llvm::Error readInfos();
  llvm::Expected<std::pair<ElementType, Shape>> describe(const ort::TensorInfo *info, const llvm::Twine &what) const;
  llvm::Error checkInputs(llvm::ArrayRef<Tensor> tensors) const;

  OrtRuntime &runtime;
  ort::Session *session = nullptr;
  std::vector<TensorInfo> inputInfos, outputInfos;
};

} // namespace nibble::vendor

#endif

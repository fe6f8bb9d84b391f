//===- QnnCompiler.h - context binaries for the Hexagon HTP --------------------===//
//
// Compiles a QDQ model to a context binary through ONNX Runtime's QNN execution provider, runs it in
// the vendor's emulation of the NPU and asks the vendor's simulator for time and memory traffic.
// Every call works in a fresh child process (VendorWorker.h).
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_QNNCOMPILER_H
#define NIBBLE_EXPORT_VENDOR_QNNCOMPILER_H

#include "lib/Export/Vendor/Estimate.h"
#include "lib/Export/Vendor/OnnxRuntime.h"
#include "lib/Export/Vendor/OpTrace.h"
#include "lib/Support/Npy.h"
#include "lib/Target/Target.h"
#include <functional>

namespace nibble::vendor {

/// What all calls need.
struct HtpSettings {
  VendorLibraries libraries;
  /// Further options of the vendor's compiler, checked by checkVendorOptions.
  std::vector<std::pair<std::string, std::string>> vendorOptions;
  double timeLimitSeconds = 3600;
  /// Called, where set, when a sample has been executed.
  std::function<void()> onSample;
};

/// A compiled model on disk: `<stem>.onnx`, a model of one EPContext node, and `<stem>_qnn.bin` beside it.
struct HtpContext {
  std::string contextModelPath, binaryPath;
  /// Hexadecimal SHA-256 of the binary. The vendor's loader takes damaged binaries.
  std::string binarySha256;
  uint64_t binaryBytes = 0;
  std::string graphName;
  /// The vendor's version of the compiler, as written into the context model ("v2.51.0.260929181845").
  std::string compilerVersion;
  Acceptance acceptance;
  double seconds = 0;
  uint64_t peakBytes = 0;
};

/// Compiles a serialized QDQ model. The two files appear under their final names only when all went
/// well; their bytes depend on `modelBytes`, target, options and library versions alone.
/// Errors: Usage (options), Unsupported (names each refused node with the vendor's reason and what
/// would help; more than one graph; crash), Limit (time), IO.
llvm::Expected<HtpContext> compileContext(const HtpSettings &settings, const Target &target,
                                          llvm::StringRef modelBytes, llvm::StringRef contextModelPath);

struct Emulation {
  /// Per sample, in the order of the model's outputs.
  std::vector<std::vector<NamedTensor>> outputs;
  double sessionSeconds = 0, runSeconds = 0;
  uint64_t peakBytes = 0;
};

/// Runs a context model in the vendor's emulation. `binarySha256` is checked first.
/// Errors: BadInput (digest differs, inputs do not fit), and those of compileContext.
llvm::Expected<Emulation> emulateContext(const HtpSettings &settings, const Target &target,
                                         llvm::StringRef contextModelPath, llvm::StringRef binarySha256,
                                         llvm::ArrayRef<std::vector<NamedTensor>> samples);

/// Compiles a QDQ model in memory and runs it, without a context binary: for single blocks.
llvm::Expected<Emulation> emulateModel(const HtpSettings &settings, const Target &target, llvm::StringRef modelBytes,
                                       llvm::ArrayRef<std::vector<NamedTensor>> samples);

/// The vendor's estimate for the part named by the target's `estimator_soc_model`.
/// Errors: Unsupported (the target names no such part, the figures are not usable), and those above.
llvm::Expected<HtpEstimate> estimate(const HtpSettings &settings, const Target &target, llvm::StringRef modelBytes);

} // namespace nibble::vendor

#endif

//===- OnnxRuntime.h - ONNX Runtime found at run time ----------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_ONNXRUNTIME_H
#define NIBBLE_EXPORT_VENDOR_ONNXRUNTIME_H

#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>
#include <vector>

namespace nibble::vendor {

/// Where vendor libraries were found, and which versions.
struct VendorLibraries {
  std::string onnxRuntimeLibrary, onnxRuntimeVersion;
  /// Folder with libQnnHtp.so and libonnxruntime_providers_qnn.so; empty where absent.
  std::string qnnFolder, qnnVersion;
  /// Which rule found them: "--qnn-dir", "NIBBLE_QNN_DIR", "active venv", "set-up venv".
  std::string foundBy;
};

/// Looks in `qnnFolderOption`, NIBBLE_QNN_DIR, the active virtual environment, then set-up's own.
/// Errors: Unsupported, saying how to install what is missing.
llvm::Expected<VendorLibraries> findVendorLibraries(llvm::StringRef qnnFolderOption);

/// A model loaded by ONNX Runtime on the CPU, graph optimizations off unless asked. Loaded with dlopen.
class CpuSession {
public:
  virtual ~CpuSession() = default;
  static llvm::Expected<std::unique_ptr<CpuSession>> fromMemory(const VendorLibraries &libraries,
                                                                llvm::StringRef modelBytes, bool optimize);
  static llvm::Expected<std::unique_ptr<CpuSession>> fromFile(const VendorLibraries &libraries, llvm::StringRef path,
                                                              bool optimize);
  /// Inputs and outputs in the order of the graph.
  virtual llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> inputs) = 0;
};

} // namespace nibble::vendor

#endif

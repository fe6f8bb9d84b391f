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
  std::string qnnFolder;
  /// The version of QNN itself ("2.51.0") and of the package that brings it ("2.7.0").
  std::string qnnVersion, qnnPackageVersion;
  /// Which rule found them: "--qnn-dir", "NIBBLE_QNN_DIR", "active venv", "set-up venv".
  std::string foundBy;
};

/// Looks in `qnnFolderOption`, NIBBLE_QNN_DIR, the active virtual environment, then set-up's own.
/// A folder that the user named must hold QNN; found by a venv, QNN may be absent.
/// Errors: Unsupported, saying how to install what is missing.
llvm::Expected<VendorLibraries> findVendorLibraries(llvm::StringRef qnnFolderOption);
/// Errors: Unsupported where `libraries` lacks QNN, saying how to install it.
llvm::Error requireQnn(const VendorLibraries &libraries);
/// The virtual environment that set-up makes: NIBBLE_VENV, NIBBLE_CACHE_DIR/venv or ~/.cache/nibble/venv.
std::string setUpEnvironmentFolder();

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
  virtual llvm::ArrayRef<std::string> inputNames() const = 0;
  virtual llvm::ArrayRef<std::string> outputNames() const = 0;
};

} // namespace nibble::vendor

#endif

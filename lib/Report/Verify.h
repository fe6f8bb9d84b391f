//===- Verify.h - is an output folder whole and unchanged ------------------===//
#ifndef NIBBLE_REPORT_VERIFY_H
#define NIBBLE_REPORT_VERIFY_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <vector>

namespace nibble::report {

/// Names of all regular files below `folder`, relative to it, sorted. Errors: IO.
llvm::Expected<std::vector<std::string>> listFiles(llvm::StringRef folder);

struct VerifyOptions {
  /// Opens an ONNX model, or a TOSA file by its name, far enough to know that it is one.
  llvm::function_ref<llvm::Error(llvm::StringRef path)> openModel;
  /// report.schema.json as text; empty leaves the report's structure unchecked.
  std::string reportSchema;
};

struct VerifySummary {
  int64_t files = 0, bytes = 0;
};

/// Checks a folder against its manifest.json: every output is there with the stated size and SHA-256,
/// there is no other file, and every file can be read as what its name says (.json, .onnx, .tosa,
/// .safetensors, .npz, .npy); an io.json names a binary of the folder and its digest. run.json is not part of
/// the manifest. Errors: BadInput, with a note per problem.
llvm::Expected<VerifySummary> verifyFolder(llvm::StringRef folder, const VerifyOptions &options);

} // namespace nibble::report

#endif

//===- RunCompiled.h - compiled models on one sample --------------------------===//
#ifndef NIBBLE_CLI_NIBBLE_RUNCOMPILED_H
#define NIBBLE_CLI_NIBBLE_RUNCOMPILED_H

#include "cli/nibble/RunInputs.h"
#include "lib/Export/Vendor/QnnCompiler.h"

namespace nibble::cli {

/// Runs a context model with io.json beside it in the vendor's emulation. With `rawIO` the sample and the outputs hold stored
/// integers. Errors: those of readIoBeside, RunSample::take, toStored and emulateContext.
llvm::Expected<std::vector<NamedTensor>> runInEmulator(llvm::StringRef modelPath, const vendor::VendorLibraries &libraries,
                                                       const RunSample &sample, bool rawIO);

/// Runs a TOSA file, or a list of blocks, with io.json beside it in Arm's reference model on the sample at `inputPath`.
/// Errors: those of readIoBeside, RunSample, toStored and runReferenceModel; BadInput where the file is another than io.json
/// describes.
llvm::Expected<std::vector<NamedTensor>> runInReferenceModel(llvm::StringRef modelPath, llvm::StringRef inputPath, bool rawIO);

} // namespace nibble::cli

#endif

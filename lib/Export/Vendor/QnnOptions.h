//===- QnnOptions.h - options of the QNN execution provider -------------------===//
#ifndef NIBBLE_EXPORT_VENDOR_QNNOPTIONS_H
#define NIBBLE_EXPORT_VENDOR_QNNOPTIONS_H

#include "lib/Export/Vendor/OrtSession.h"
#include "lib/Target/Target.h"

namespace nibble::vendor {

/// Checks options that a user gives for the vendor's compiler against those Nibble knows; the vendor
/// itself ignores unknown names and values. Errors: Usage (unknown name with the nearest one, value
/// outside of what is allowed, an option that Nibble sets itself or that was measured to be unsound).
llvm::Error checkVendorOptions(llvm::ArrayRef<std::pair<std::string, std::string>> options);

/// The options of the provider for `target`: back end, SoC, then `extra` (checked already).
/// Errors: BadInput where the target's data lacks soc_model.
llvm::Expected<Options> providerOptions(llvm::StringRef qnnFolder, const Target &target, llvm::StringRef socKey,
                                        const Options &extra);

} // namespace nibble::vendor

#endif

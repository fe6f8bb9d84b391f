//===- ContextIo.h - the inputs and outputs of a context binary ----------------===//
#ifndef NIBBLE_EXPORT_VENDOR_CONTEXTIO_H
#define NIBBLE_EXPORT_VENDOR_CONTEXTIO_H

#include "lib/Export/Io/IoDescription.h"
#include "lib/Export/ONNX/QDQ.h"
#include "lib/Export/Vendor/QnnCompiler.h"

namespace nibble::vendor {

/// Describes a compiled model. Types and shapes come from the context model; `io`, from the export of
/// the same model, gives scales. Errors: Internal (the two disagree).
llvm::Expected<IoDescription> describeContext(const HtpContext &context, const Target &target,
                                              const VendorLibraries &libraries,
                                              llvm::ArrayRef<onnx_export::IntegerIO> io);

} // namespace nibble::vendor

#endif

//===- ImageErrors.h - how far generated images lie apart -------------------===//
//
// Definitions are in docs/spec/numerics.md.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_METRICS_IMAGEERRORS_H
#define NIBBLE_CALIB_METRICS_IMAGEERRORS_H

#include "calib/Metrics/Bootstrap.h"
#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace nibble::calib {

/// PSNR in dB for each row along the first axis, with the range of the reference's row as peak. Errors: BadInput where the
/// shapes differ; `what` names the arrays.
llvm::Expected<std::vector<double>> latentPsnr(const Tensor &reference, const Tensor &actual, llvm::StringRef what);

/// The same for images, whose values -1 to 1 are what is shown: both are clamped to it, and the peak is 2.
llvm::Expected<std::vector<double>> imagePsnr(const Tensor &reference, const Tensor &actual, llvm::StringRef what);

} // namespace nibble::calib

#endif

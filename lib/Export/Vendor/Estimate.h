//===- Estimate.h - the vendor's offline estimate of time and traffic ---------===//
#ifndef NIBBLE_EXPORT_VENDOR_ESTIMATE_H
#define NIBBLE_EXPORT_VENDOR_ESTIMATE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>

namespace nibble::vendor {

/// Figures of the vendor's simulator for one inference. They are estimates for the part that was
/// simulated, which may stand in for another one, and were never checked on a device by Nibble.
struct HtpEstimate {
  uint64_t cycles = 0, cyclesLower = 0, cyclesUpper = 0;
  uint64_t microseconds = 0, microsecondsLower = 0, microsecondsUpper = 0;
  /// DRAM traffic in bytes: inputs and weights in, intermediate tensors in and out, outputs out.
  uint64_t inputFillBytes = 0, intermediateFillBytes = 0, spillBytes = 0, outputBytes = 0;
  /// Operators without a cost model, counted as free: above 0 the figures are too low.
  uint64_t operatorsWithoutCost = 0;
  /// The simulated part, for example "QCS9100 (v73, 8 MB VTCM, 4 HVX threads)".
  std::string simulatedPart;
};

/// Reads the vendor's profile. Errors: Unsupported where a figure is missing, wrapped around or
/// contradicts its bounds; the message names it.
llvm::Expected<HtpEstimate> parseEstimate(llvm::StringRef csvText);

} // namespace nibble::vendor

#endif

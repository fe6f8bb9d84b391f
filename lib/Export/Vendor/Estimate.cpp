#include "lib/Export/Vendor/Estimate.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace nibble::vendor {

namespace {
struct Row {
  llvm::StringRef label;
  uint64_t HtpEstimate::*field;
  std::optional<uint64_t> value = std::nullopt;
};
} // namespace

llvm::Expected<HtpEstimate> parseEstimate(llvm::StringRef csvText) {
  Row rows[] = {
      {"Simulated (Accelerator exec cycles)", &HtpEstimate::cycles},
      {"Simulated (Accelerator exec cycles (lower estimate))", &HtpEstimate::cyclesLower},
      {"Simulated (Accelerator exec cycles (upper estimate))", &HtpEstimate::cyclesUpper},
      {"Simulated (Accelerator exec time us)", &HtpEstimate::microseconds},
      {"Simulated (Accelerator exec time us (lower estimate))", &HtpEstimate::microsecondsLower},
      {"Simulated (Accelerator exec time us (upper estimate))", &HtpEstimate::microsecondsUpper},
      {"Input Fill", &HtpEstimate::inputFillBytes},
      {"Intermediate Fill", &HtpEstimate::intermediateFillBytes},
      {"Intermediate Spill", &HtpEstimate::spillBytes},
      {"Output Spill", &HtpEstimate::outputBytes},
      {"Missing Ops (Number of Ops with no Costs associated)", &HtpEstimate::operatorsWithoutCost},
  };
  // Columns: time stamp, message, value, unit, source, level, identifier, ONNX operators.
  llvm::SmallVector<llvm::StringRef> lines;
  csvText.split(lines, '\n');
  for (llvm::StringRef line : lines) {
    llvm::SmallVector<llvm::StringRef, 8> cells;
    line.split(cells, ',');
    if (cells.size() < 7)
      continue;
    for (Row &row : rows) {
      if (cells[6].trim() != row.label)
        continue;
      uint64_t value = 0;
      if (cells[2].trim().getAsInteger(10, value))
        return makeError(ErrorKind::Unsupported, "the vendor's estimate has '" + cells[2] + "' for '" + row.label + "'");
      // One graph was compiled, so a second figure would mean that this file is about something else.
      if (row.value)
        return makeError(ErrorKind::Unsupported, "the vendor's estimate has two figures for '" + row.label + "'");
      row.value = value;
    }
  }
  // Differences below zero come out as figures near 2^64; nothing real takes 2^48 cycles or bytes.
  constexpr uint64_t implausible = uint64_t(1) << 48;
  HtpEstimate estimate;
  for (const Row &row : rows) {
    if (!row.value)
      return makeError(ErrorKind::Unsupported, "the vendor's estimate has no figure for '" + row.label + "'");
    if (*row.value >= implausible)
      return makeError(ErrorKind::Unsupported, "the vendor's estimate is wrapped around: " + llvm::Twine(*row.value) +
                                                   " for '" + row.label + "'");
    estimate.*row.field = *row.value;
  }
  if (estimate.cycles == 0 || estimate.cyclesLower > estimate.cycles || estimate.cycles > estimate.cyclesUpper)
    return makeError(ErrorKind::Unsupported, "the vendor's estimate contradicts itself: " +
                                                 llvm::Twine(estimate.cycles) + " cycles, from " +
                                                 llvm::Twine(estimate.cyclesLower) + " to " +
                                                 llvm::Twine(estimate.cyclesUpper));
  return estimate;
}

} // namespace nibble::vendor

//===- Gptq.h - rounding that passes errors on -------------------------------===//
//
// GPTQ (Frantar et al. 2022): columns are rounded one after the other, and what rounding one did to the output is made
// up for in those that follow, with the factor U of the inverse of the inputs' moments, H^-1 = U^T U.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_QUANT_GPTQ_H
#define NIBBLE_QUANT_GPTQ_H

#include "lib/Quant/RoundingGrid.h"

namespace nibble::quant {

struct GptqOptions {
  /// Columns with the largest moments first. Blocks keep their columns and scales ("static" order), so storage does
  /// not change.
  bool activationOrder = true;
  /// Share of the mean moment that is added to the diagonal. Ten times as much is tried where H has no factor, up to
  /// `largestDamping`.
  double damping = 0.01, largestDamping = 1.0;
  /// First-order term of FOEM (Zheng et al. 2025): how strongly weights that moved are drawn back; 0 is GPTQ.
  float firstOrder = 0;
};

struct GptqResult {
  /// Row-major [rows, columns]; empty where H has no factor even with the largest damping.
  std::vector<float> rounded;
  double damping = 0;
  unsigned numRetries = 0;
  /// Columns whose input was always zero; they are rounded to nearest and influence no other.
  int64_t numDeadColumns = 0;
};

/// Rounds row-major `weight` [rows, columns] to `grid` for inputs with moments `gram` [columns, columns]. The same
/// bytes at any thread count. Peak memory beside its arguments: three times `gram` and twice `weight`.
GptqResult roundWithGptq(const std::vector<float> &weight, const RoundingGrid &grid, const float *gram,
                         const GptqOptions &options);

/// What a layer should compute from drifted inputs x to come closest to what it computed of the float program's x_f:
/// W + strength * W D (H + damping)^-1 with D = mean (x_f - x) x^T. This is the target that GPTAQ (Li et al. 2025)
/// steers to column by column, in closed form, so that any rounding can follow. Empty where H has no factor.
std::vector<float> correctForDrift(const std::vector<float> &weight, int64_t columns, const float *gram,
                                   const float *drift, double strength, double damping);

} // namespace nibble::quant

#endif

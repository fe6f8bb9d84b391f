//===- CoordinateDescent.h - rounded weights, one at a time ------------------===//
#ifndef NIBBLE_QUANT_COORDINATEDESCENT_H
#define NIBBLE_QUANT_COORDINATEDESCENT_H

#include "lib/Quant/RoundingGrid.h"

namespace nibble::quant {

struct CoordinateDescentOptions {
  /// Sweeps over all columns; ends early where a sweep changes nothing.
  unsigned sweeps = 4;
  /// After each sweep every scale takes its least-squares value for the levels that it has, where scales may change
  /// alone. `minimumScales` [rows, blocks], if not empty, are not gone below.
  bool refitScales = false;
  std::vector<float> minimumScales;
};

/// Moves every element of `rounded` [rows, columns] in turn to the value of `grid` that is best for the others as they
/// are: for error rows e = rounded - weight, moments H and G = e H, element j moves to round(rounded_j - G_j / H_jj).
/// The output's error e H e^T never grows (beyond float32 rounding). Each row is independent; the same bytes at any
/// thread count. Peak memory beside its arguments: twice a tile of at most 256 rows per thread.
void descendCoordinates(const std::vector<float> &weight, RoundingGrid &grid, const float *gram,
                        const CoordinateDescentOptions &options, std::vector<float> &rounded);

} // namespace nibble::quant

#endif

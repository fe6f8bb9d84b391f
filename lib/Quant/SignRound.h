//===- SignRound.h - rounding found by signed gradient descent ---------------===//
#ifndef NIBBLE_QUANT_SIGNROUND_H
#define NIBBLE_QUANT_SIGNROUND_H

#include "lib/Quant/RoundingGrid.h"

namespace nibble::quant {

/// SignRound (Cheng et al. 2023) on the moments of a layer's inputs: elements are rounded after an offset in
/// [-1/2, 1/2] of a step, and offsets follow the sign of the gradient 2 (W' - W) H of the output's error (straight
/// through the rounding) with a rate that falls from 1 / `iterations` to 0. The best rounding of each row that was met
/// is the result; round-to-nearest is the first, so that it is never worse. Costs two products of `weight` and `gram`
/// per iteration; peak memory beside its arguments: four times a tile of 64 rows per thread.
std::vector<float> roundWithSignedGradient(const std::vector<float> &weight, const RoundingGrid &grid,
                                           const float *gram, unsigned iterations);

/// AdaRound (Nagel et al. 2020) on the moments: every element is rounded down or up by h(v) = clip(1.2 sigmoid(v) -
/// 0.1, 0, 1), v follows Adam on the output's error plus sum(1 - |2 h - 1|^beta), beta falling from 20 to 2, and
/// h is rounded at the end. The error is measured in what one step of a typical element makes, where the paper's weight
/// of 0.01 for the second term leaves elements undecided. Rows that end worse than round-to-nearest keep that. Costs and memory as above, with six
/// times a tile.
std::vector<float> roundAdaptively(const std::vector<float> &weight, const RoundingGrid &grid, const float *gram,
                                   unsigned iterations);

} // namespace nibble::quant

#endif

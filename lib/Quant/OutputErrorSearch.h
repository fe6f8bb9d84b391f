//===- OutputErrorSearch.h - scales by the error of the output ---------------===//
#ifndef NIBBLE_QUANT_OUTPUTERRORSEARCH_H
#define NIBBLE_QUANT_OUTPUTERRORSEARCH_H

#include "lib/Quant/RoundingGrid.h"

namespace nibble::quant {

/// SeqMSE (AIMET's sequential MSE, on moments): multiplies every scale of `grid`, which must have its own scales, by
/// the one of `candidates` factors from 0.5 to 1.2 (and 1) with which rounding to nearest disturbs the output least,
/// e H e^T over the columns of its block. Never worse than the scales that it is given, by that measure.
/// `minimumScales` [rows, blocks], if not empty, are not gone below.
void searchScalesByOutputError(const std::vector<float> &weight, RoundingGrid &grid, const float *gram,
                               unsigned candidates, const std::vector<float> &minimumScales);

} // namespace nibble::quant

#endif

//===- FixedPoint.h - reals as integer multipliers and shifts ---------------===//
#ifndef NIBBLE_QUANT_FIXEDPOINT_H
#define NIBBLE_QUANT_FIXEDPOINT_H

#include <cstdint>
#include <optional>

namespace nibble::quant {

/// The factor multiplier * 2^-shift, as TOSA's RESCALE takes it: shift in [2, 62].
struct FixedPoint {
  int32_t multiplier = 0;
  int32_t shift = 2;

  double value() const;
};

/// The closest fixed point number to `factor`, which is finite and not negative, with a multiplier below
/// 2^bits. The relative error is at most 2^-bits while the shift is below 62, smaller factors lose bits and
/// end at 0. Nullopt where the factor is too large for a shift of 2.
std::optional<FixedPoint> makeFixedPoint(double factor, unsigned bits);

} // namespace nibble::quant

#endif

#include "lib/Quant/FixedPoint.h"

#include <cassert>
#include <cmath>

namespace nibble::quant {

double FixedPoint::value() const { return std::ldexp(static_cast<double>(multiplier), -shift); }

std::optional<FixedPoint> makeFixedPoint(double factor, unsigned bits) {
  assert(std::isfinite(factor) && factor >= 0 && bits >= 2 && bits <= 31 && "wanted a factor that a multiplier can state");
  if (factor == 0)
    return FixedPoint{};
  int exponent = 0;
  double fraction = std::frexp(factor, &exponent);
  auto multiplier = static_cast<int64_t>(std::nearbyint(std::ldexp(fraction, static_cast<int>(bits))));
  int shift = static_cast<int>(bits) - exponent;
  if (multiplier == int64_t(1) << bits) {
    multiplier >>= 1;
    --shift;
  }
  if (shift < 2)
    return std::nullopt;
  if (shift > 62) {
    int excess = shift - 62;
    multiplier = excess > 62 ? 0 : static_cast<int64_t>(std::nearbyint(std::ldexp(static_cast<double>(multiplier), -excess)));
    shift = 62;
  }
  return FixedPoint{static_cast<int32_t>(multiplier), shift};
}

} // namespace nibble::quant

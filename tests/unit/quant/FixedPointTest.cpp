// Factors as multipliers and shifts of RESCALE.
#include "lib/Quant/FixedPoint.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace nibble::quant;

namespace {

TEST(FixedPoint, IsTheClosestNumberWithinItsBits) {
  for (unsigned bits : {15u, 31u})
    for (double factor : {1.0, 0.5, 1.0 / 3, 0.999999999, 3.9, 1e-5, 1234.5, 0.7071067811865476}) {
      auto point = makeFixedPoint(factor, bits);
      if (factor >= std::ldexp(1.0, static_cast<int>(bits) - 2)) {
        EXPECT_FALSE(point);
        continue;
      }
      ASSERT_TRUE(point) << factor;
      EXPECT_GE(point->multiplier, 0);
      EXPECT_LT(point->multiplier, std::ldexp(1.0, static_cast<int>(bits)));
      EXPECT_GE(point->shift, 2);
      EXPECT_LE(point->shift, 62);
      EXPECT_LE(std::abs(point->value() / factor - 1), std::ldexp(1.0, -static_cast<int>(bits))) << factor;
    }
}

TEST(FixedPoint, PowersOfTwoAreExact) {
  for (int exponent = -30; exponent <= 12; ++exponent) {
    auto point = makeFixedPoint(std::ldexp(1.0, exponent), 15);
    ASSERT_TRUE(point) << exponent;
    EXPECT_EQ(point->value(), std::ldexp(1.0, exponent));
  }
}

TEST(FixedPoint, SmallFactorsEndAtZeroAndLargeOnesAreRefused) {
  auto small = makeFixedPoint(std::ldexp(1.0, -80), 31);
  ASSERT_TRUE(small);
  EXPECT_EQ(small->multiplier, 0);
  EXPECT_EQ(makeFixedPoint(0, 31)->multiplier, 0);
  EXPECT_FALSE(makeFixedPoint(std::ldexp(1.0, 31), 31));
}

} // namespace

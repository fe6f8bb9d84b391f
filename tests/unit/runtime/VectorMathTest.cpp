//===- VectorMathTest.cpp - errors of the vectorised functions --------------===//
#include "lib/Runtime/Float/Simd.h"

#include "gtest/gtest.h"
#include <vector>

using namespace nibble::runtime;

namespace {

/// The largest error in units of the last place of the rounded true value, over floats from a sweep of bit patterns.
template <class Fast, class Exact>
double largestError(float from, float to, Fast fast, Exact exact) {
  double worst = 0;
  for (int i = 0; i <= 2000000; ++i) {
    float x = static_cast<float>(double(from) + (double(to) - double(from)) * i / 2000000.0);
    double wanted = exact(static_cast<double>(x));
    float nearest = static_cast<float>(wanted);
    double ulp = std::fabs(double(std::nextafter(nearest, INFINITY)) - double(nearest));
    worst = std::max(worst, std::fabs(static_cast<double>(fast(x)) - wanted) / ulp);
  }
  return worst;
}

TEST(VectorMath, StaysWithinTheStatedErrors) {
  auto exponential = [](double x) { return std::exp(x); };
  EXPECT_LE(largestError(-103.0f, 88.7f, fastExp, exponential), 2.0);
  EXPECT_LE(largestError(-1.0f, 1.0f, fastExp, exponential), 2.0);
  auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_LE(largestError(-80.0f, 80.0f, fastSigmoid, sigmoid), 4.0);
  EXPECT_LE(largestError(-2.0f, 2.0f, fastSigmoid, sigmoid), 4.0);
  auto tangent = [](double x) { return std::tanh(x); };
  EXPECT_LE(largestError(-12.0f, 12.0f, fastTanh, tangent), 3.0);
  EXPECT_LE(largestError(-0.7f, 0.7f, fastTanh, tangent), 3.0);
  auto error = [](double x) { return std::erf(x); };
  EXPECT_LE(largestError(-5.0f, 5.0f, fastErf, error), 3.0);
  EXPECT_LE(largestError(-1.0f, 1.0f, fastErf, error), 3.0);
}

TEST(VectorMath, KeepsSpecialValues) {
  EXPECT_EQ(fastExp(-INFINITY), 0.0f);
  EXPECT_EQ(fastExp(-200.0f), 0.0f);
  EXPECT_EQ(fastExp(INFINITY), INFINITY);
  EXPECT_EQ(fastExp(0.0f), 1.0f);
  EXPECT_EQ(fastTanh(INFINITY), 1.0f);
  EXPECT_EQ(fastErf(-INFINITY), -1.0f);
  EXPECT_EQ(fastSigmoid(-INFINITY), 0.0f);
  EXPECT_EQ(fastSigmoid(INFINITY), 1.0f);
  for (auto function : {fastExp, fastTanh, fastErf, fastSigmoid})
    EXPECT_TRUE(std::isnan(function(NAN)));
}

TEST(VectorMath, GivesTheSameBytesInEveryLane) {
  std::vector<float> in, vectorised, scalar;
  for (int i = 0; i < 1001; ++i)
    in.push_back(static_cast<float>(i - 500) * 0.037f);
  vectorised.resize(in.size());
  simd([&]() NIBBLE_INLINE {
    for (size_t i = 0; i < in.size(); ++i)
      vectorised[i] = fastExp(in[i]) + fastErf(in[i]) + fastTanh(in[i]) + fastSigmoid(in[i]);
  });
  for (float x : in)
    scalar.push_back(fastExp(x) + fastErf(x) + fastTanh(x) + fastSigmoid(x));
  EXPECT_EQ(vectorised, scalar);
}

} // namespace

//===- Roots.cpp - 1 / v, 1 / sqrt(v) and log2(v) in integers ----------------===//
//
// All shift their operand to a fixed number of bits (CLZ) and look a value up (TABLE, 16 bits of result). The first two
// improve it by one step of Newton's method, which doubles the number of right bits. They run on one value per
// row, so the steps cost next to nothing beside the row.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Functions.h"

#include <cmath>

using namespace mlir;

namespace nibble {

namespace {

/// Knots of function(position in [0, 1]) * 16384, lowered by half of the chord's error.
llvm::SmallVector<int64_t> makeKnots(llvm::function_ref<double(double)> function) {
  llvm::SmallVector<int64_t> knots;
  constexpr double distance = 1.0 / 512;
  for (int64_t knot = 0; knot <= 512; ++knot) {
    double at = distance * static_cast<double>(knot);
    double bend = function(at - distance) - 2 * function(at) + function(at + distance);
    knots.push_back(static_cast<int64_t>(std::min(32767.0, std::nearbyint(16384 * (function(at) - bend / 16)))));
  }
  return knots;
}

} // namespace

InverseRoot inverseRoot(TosaBuilder &b, Value v) {
  int64_t rank = b.rank(v);
  auto c = [&](int64_t value) { return b.scalar(value, rank); };
  // An even shift, so that its root is a shift too: n in [2^29, 2^31) stands for n / 2^31 in [1/4, 1).
  Value halfShift = b.shiftRight(b.sub(b.clz(v), c(1)), 1, /*round=*/false);
  Value n = b.shiftLeft(v, b.shiftLeft(halfShift, 1));
  // The table spans [1/4, 1) by 2^16 steps.
  constexpr double middle = 0.625 * 2147483648.0;
  Value index = b.rescale(b.sub(n, c(static_cast<int64_t>(middle))), 65536 / 0.75 / 2147483648.0, {16, 0});
  // 21 fractional bits, value in [1, 2].
  Value r = b.table(index, makeKnots([](double at) { return 1 / std::sqrt(0.25 + 0.75 * at); }));
  // r' = r (3 - n r^2) / 2.
  Value square = b.mul(r, r, 14);                    // 28 fractional bits, up to 4
  Value product = b.mul(n, square, 31);              // n r^2, close to 1
  Value correction = b.sub(c(3 << 28), product);     // close to 2
  return {b.mul(r, correction, 21), halfShift, n};   // 21 + 28 + 1 - 21 = 29 fractional bits
}

Reciprocal reciprocal(TosaBuilder &b, Value v) {
  int64_t rank = b.rank(v);
  auto c = [&](int64_t value) { return b.scalar(value, rank); };
  // m in [2^30, 2^31) stands for m / 2^30 in [1, 2).
  Value shift = b.sub(b.clz(v), c(1));
  Value m = b.shiftLeft(v, shift);
  Value index = b.rescale(b.sub(m, c(3 << 29)), 65536.0 / 1073741824.0, {16, 0});
  // 21 fractional bits, value in (1/2, 1].
  Value r = b.table(index, makeKnots([](double at) { return 1 / (1 + at); }));
  // r' = r (2 - m r).
  Value product = b.mul(m, r, 23);                   // 30 + 21 - 23 = 28 fractional bits, close to 1
  Value correction = b.sub(c(2 << 28), product);
  return {b.mul(r, correction, 19), shift};          // 21 + 28 - 19 = 30 fractional bits
}

Value logarithm(TosaBuilder &b, Value v) {
  int64_t rank = b.rank(v);
  auto c = [&](int64_t value) { return b.scalar(value, rank); };
  // m in [2^30, 2^31) stands for m / 2^30 in [1, 2).
  Value shift = b.sub(b.clz(v), c(1));
  Value index = b.rescale(b.sub(b.shiftLeft(v, shift), c(3 << 29)), 65536.0 / 1073741824.0, {16, 0});
  Value fraction = b.table(index, makeKnots([](double at) { return std::log2(1 + at); }));
  return b.add(b.shiftLeft(b.sub(c(30), shift), 21), fraction);
}

} // namespace nibble

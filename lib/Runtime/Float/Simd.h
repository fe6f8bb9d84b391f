//===- Simd.h - loops compiled for the vector units of the machine ---------===//
//
// simd(body) runs `body`, a lambda marked NIBBLE_INLINE, from a function that is
// compiled for AVX-512, for AVX2 or for the baseline, whichever the machine has.
// Contraction is off and the functions below use no fused multiply-add, so the
// results of elementwise loops are the same on all three. `body` captures by copy, or
// the compiler must assume that stores change what it captured.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_SIMD_H
#define NIBBLE_RUNTIME_FLOAT_SIMD_H

#include "lib/Support/Parallel.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#define NIBBLE_INLINE __attribute__((always_inline))
/// In front of a loop whose steps do not depend on each other, also where it overwrites what it reads.
#if defined(__clang__)
#define NIBBLE_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define NIBBLE_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace nibble::runtime {

#if defined(__x86_64__)
enum class VectorUnit { Baseline, AVX2, AVX512 };
VectorUnit detectVectorUnit();

template <class Body>
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,bmi2"), noinline, min_vector_width(512))) void
runAVX512(Body body) {
  body();
}
template <class Body>
__attribute__((target("avx2,bmi2"), noinline)) void runAVX2(Body body) {
  body();
}
template <class Body>
__attribute__((noinline)) void runBaseline(Body body) {
  body();
}
template <class Body>
void simd(Body body) {
  static const VectorUnit unit = detectVectorUnit();
  switch (unit) {
  case VectorUnit::AVX512: return runAVX512(body);
  case VectorUnit::AVX2: return runAVX2(body);
  case VectorUnit::Baseline: return runBaseline(body);
  }
}
#else
template <class Body>
void simd(Body body) {
  body();
}
#endif

/// Cuts [0, count) into ranges of `tileSize` (the last may be shorter) and calls body(begin, end).
template <class Body>
void parallelRanges(int64_t count, int64_t tileSize, Body &&body) {
  tileSize = std::max<int64_t>(tileSize, 1);
  parallelFor((count + tileSize - 1) / tileSize, [&](int64_t tile) {
    body(tile * tileSize, std::min(count, (tile + 1) * tileSize));
  });
}

/// e^x. Relative error at most 2 ulp; 0 below -103.98, infinity above 88.73, NaN for NaN.
NIBBLE_INLINE inline float fastExp(float x) {
  constexpr float roundingShift = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer.
  float clamped = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
  float shifted = clamped * 1.44269504f + roundingShift;
  int32_t power = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(roundingShift);
  float n = shifted - roundingShift;
  // ln 2 in two parts, the first with few enough bits that its product with n is exact.
  float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  // (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, minimax of degree 4, relative error of e^r 3.1e-9.
  float q = 0.0013814467f;
  q = q * r + 0.0083687808f;
  q = q * r + 0.0416683927f;
  q = q * r + 0.1666651964f;
  q = q * r + 0.4999999404f;
  float result = q * (r * r) + r + 1.0f;
  // 2^n as a product of two normal numbers, so that subnormal and infinite results come out right.
  int32_t half = power >> 1;
  float scaleA = std::bit_cast<float>((half + 127) << 23);
  float scaleB = std::bit_cast<float>((power - half + 127) << 23);
  return result * scaleA * scaleB;
}

/// 1 / (1 + e^-x), relative error at most 4 ulp.
NIBBLE_INLINE inline float fastSigmoid(float x) { return 1.0f / (1.0f + fastExp(-x)); }

/// tanh(x), relative error at most 3 ulp.
NIBBLE_INLINE inline float fastTanh(float x) {
  float s = x * x;
  // tanh(x)/x in x^2 on |x| <= 0.625, minimax of degree 5, relative error 3.9e-9.
  float p = -0.0056599891f;
  p = p * s + 0.0205909889f;
  p = p * s - 0.0537210666f;
  p = p * s + 0.1333112717f;
  p = p * s - 0.3333325982f;
  float small = p * s * x + x;
  float magnitude = std::fabs(x);
  float large = std::copysign(1.0f - 2.0f / (fastExp(2.0f * magnitude) + 1.0f), x);
  return magnitude <= 0.625f ? small : large;
}

/// erf(x), relative error at most 3 ulp.
NIBBLE_INLINE inline float fastErf(float x) {
  float s = x * x;
  // erf(x)/x in x^2 on |x| <= 0.95, minimax of degree 6, relative error 6.1e-10.
  float p = 8.1850936e-05f;
  p = p * s - 8.0977037e-04f;
  p = p * s + 5.1969523e-03f;
  p = p * s - 2.6857706e-02f;
  p = p * s + 1.1283662660e-01f;
  p = p * s - 3.7612631917e-01f;
  float small = (p * s + 0.1283792257f) * x + x;
  float magnitude = std::fabs(x);
  float t = magnitude > 4.0f ? 4.0f : magnitude;
  // -log(erfc(x)) on [0.95, 4], minimax of degree 7, error of erf 3.0e-11 relative. erf(4) rounds to 1.
  float q = 2.144553764e-05f;
  q = q * t - 4.385296197e-04f;
  q = q * t + 4.190854263e-03f;
  q = q * t - 2.517180517e-02f;
  q = q * t + 1.0836154968e-01f;
  q = q * t + 6.332724094e-01f;
  q = q * t + 1.1295520067f;
  q = q * t - 1.8245972751e-04f;
  float large = std::copysign(1.0f - fastExp(-q), x);
  return magnitude != magnitude ? x : magnitude <= 0.95f ? small : large;
}

} // namespace nibble::runtime

#endif

//===- Sums.h - sums in a fixed order --------------------------------------===//
//
// A sum runs in 16 lanes, lane i taking elements i, i + 16, ..., over pieces of 4096
// elements that are then added in double. The order is the same at any vector width.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_SUMS_H
#define NIBBLE_RUNTIME_FLOAT_SUMS_H

#include "lib/Runtime/Float/Simd.h"
#include <limits>

namespace nibble::runtime {

/// The sum of map(element) for `count` floats.
template <class Map>
NIBBLE_INLINE inline double sumOf(const float *values, int64_t count, Map map) {
  constexpr int64_t lanes = 16, piece = 4096;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += piece) {
    int64_t end = std::min(count, begin + piece);
    float partial[lanes] = {};
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes)
      for (int64_t lane = 0; lane < lanes; ++lane)
        partial[lane] += map(values[i + lane]);
    for (int64_t lane = 0; i < end; ++i, ++lane)
      partial[lane] += map(values[i]);
    for (int64_t width = lanes / 2; width; width /= 2)
      for (int64_t lane = 0; lane < width; ++lane)
        partial[lane] += partial[lane + width];
    total += partial[0];
  }
  return total;
}

/// The largest of `count` floats; NaN where one is NaN, -infinity where there is none.
NIBBLE_INLINE inline float maximumOf(const float *values, int64_t count) {
  constexpr int64_t lanes = 16;
  float partial[lanes];
  std::fill_n(partial, lanes, -std::numeric_limits<float>::infinity());
  auto larger = [](float a, float b) NIBBLE_INLINE { return a > b || a != a ? a : b; };
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane)
      partial[lane] = larger(partial[lane], values[i + lane]);
  for (int64_t lane = 0; i < count; ++i, ++lane)
    partial[lane] = larger(partial[lane], values[i]);
  for (int64_t width = lanes / 2; width; width /= 2)
    for (int64_t lane = 0; lane < width; ++lane)
      partial[lane] = larger(partial[lane], partial[lane + width]);
  return partial[0];
}

/// Replaces `count` values by their softmax; a row of only -infinity becomes NaN, as in ONNX.
NIBBLE_INLINE inline void softmaxRow(const float *in, float *out, int64_t count) {
  float maximum = maximumOf(in, count);
  NIBBLE_INDEPENDENT
  for (int64_t i = 0; i < count; ++i)
    out[i] = fastExp(in[i] - maximum);
  float scale = static_cast<float>(1.0 / sumOf(out, count, [](float x) NIBBLE_INLINE { return x; }));
  for (int64_t i = 0; i < count; ++i)
    out[i] *= scale;
}

} // namespace nibble::runtime

#endif

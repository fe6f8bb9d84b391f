//===- BlockTranspose.h - transposition of float matrices ------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_BLOCKTRANSPOSE_H
#define NIBBLE_RUNTIME_FLOAT_BLOCKTRANSPOSE_H

#include "lib/Runtime/Float/Simd.h"
#include <cstring>

namespace nibble::runtime {
namespace detail {

typedef float Lanes __attribute__((vector_size(64)));

/// Swaps the off-diagonal blocks of `Distance` lanes between two rows: one step of a recursive transposition.
template <int Distance, int... Lane>
NIBBLE_INLINE inline void swapBlocks(Lanes &upper, Lanes &lower, std::integer_sequence<int, Lane...>) {
  Lanes a = upper, b = lower;
  upper = __builtin_shufflevector(a, b, (Lane & Distance ? 16 + Lane - Distance : Lane)...);
  lower = __builtin_shufflevector(a, b, (Lane & Distance ? 16 + Lane : Lane + Distance)...);
}

template <int Distance>
NIBBLE_INLINE inline void transposeStep(Lanes *rows) {
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i)
    if ((i & Distance) == 0)
      swapBlocks<Distance>(rows[i], rows[i + Distance], std::make_integer_sequence<int, 16>());
}

NIBBLE_INLINE inline void transpose16(const float *source, int64_t sourceStride, float *target, int64_t targetStride) {
  Lanes rows[16];
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i)
    std::memcpy(&rows[i], source + i * sourceStride, sizeof(Lanes));
  transposeStep<8>(rows);
  transposeStep<4>(rows);
  transposeStep<2>(rows);
  transposeStep<1>(rows);
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i)
    std::memcpy(target + i * targetStride, &rows[i], sizeof(Lanes));
}

} // namespace detail

/// target[r][c] = source[c][r] for `rows` x `columns` elements of target. Called from simd().
NIBBLE_INLINE inline void transposeFloats(const float *source, int64_t sourceStride, float *target,
                                          int64_t targetStride, int64_t rows, int64_t columns) {
  int64_t fullRows = rows / 16 * 16, fullColumns = columns / 16 * 16;
  for (int64_t r = 0; r < fullRows; r += 16)
    for (int64_t c = 0; c < fullColumns; c += 16)
      detail::transpose16(source + c * sourceStride + r, sourceStride, target + r * targetStride + c, targetStride);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = r < fullRows ? fullColumns : 0; c < columns; ++c)
      target[r * targetStride + c] = source[c * sourceStride + r];
}

} // namespace nibble::runtime

#endif

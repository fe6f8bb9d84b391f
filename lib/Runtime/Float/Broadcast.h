//===- Broadcast.h - loops over broadcast operands -------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_BROADCAST_H
#define NIBBLE_RUNTIME_FLOAT_BROADCAST_H

#include "lib/Runtime/Float/Simd.h"
#include "lib/Support/Tensor.h"
#include <array>

namespace nibble::runtime {

/// Loops over a row-major result with `N` operands that broadcast to it, adjacent dimensions merged
/// where all operands allow. The innermost stride of every operand is 0 or 1.
template <size_t N>
struct BroadcastPlan {
  Shape sizes;
  std::array<Shape, N> strides;
  int64_t innerSize = 1, outerCount = 1;

  BroadcastPlan(llvm::ArrayRef<int64_t> result, std::array<llvm::ArrayRef<int64_t>, N> operands) {
    for (size_t dim = 0; dim < result.size(); ++dim) {
      if (result[dim] == 1)
        continue;
      std::array<bool, N> varies;
      for (size_t k = 0; k < N; ++k) {
        size_t missing = result.size() - operands[k].size();
        varies[k] = dim >= missing && operands[k][dim - missing] != 1;
      }
      if (!sizes.empty() && varies == lastVaries) {
        sizes.back() *= result[dim];
      } else {
        sizes.push_back(result[dim]);
        for (size_t k = 0; k < N; ++k)
          strides[k].push_back(varies[k]);
        lastVaries = varies;
      }
    }
    for (size_t k = 0; k < N; ++k) {
      int64_t stride = 1;
      for (size_t dim = sizes.size(); dim-- > 0;)
        if (strides[k][dim]) {
          strides[k][dim] = stride;
          stride *= sizes[dim];
        }
    }
    if (!sizes.empty()) {
      innerSize = sizes.back();
      for (size_t dim = 0; dim + 1 < sizes.size(); ++dim)
        outerCount *= sizes[dim];
    }
  }

  int64_t innerStride(size_t operand) const { return sizes.empty() ? 0 : strides[operand].back(); }

  /// Calls row(offsets of the operands, offset of the result, count) for pieces of rows; tiles have
  /// about `tileSize` elements. `row` is called from simd().
  template <class Row>
  void run(int64_t tileSize, Row row) const {
    if (innerSize == 0 || outerCount == 0)
      return;
    int64_t pieceSize = std::min(innerSize, std::max<int64_t>(tileSize, 1));
    int64_t pieces = (innerSize + pieceSize - 1) / pieceSize;
    int64_t rowsPerTile = std::max<int64_t>(1, tileSize / pieceSize);
    parallelRanges(outerCount * pieces, rowsPerTile, [&](int64_t begin, int64_t end) {
      // A copy of `row` lets the compiler see that stores do not change what it captured.
      simd([&, row]() NIBBLE_INLINE {
        for (int64_t item = begin; item < end; ++item) {
          int64_t outer = item / pieces, start = item % pieces * pieceSize;
          std::array<int64_t, N> offsets;
          int64_t rest = outer;
          for (size_t k = 0; k < N; ++k)
            offsets[k] = start * innerStride(k);
          for (size_t dim = sizes.size() ? sizes.size() - 1 : 0; dim-- > 0;) {
            int64_t index = rest % sizes[dim];
            rest /= sizes[dim];
            for (size_t k = 0; k < N; ++k)
              offsets[k] += index * strides[k][dim];
          }
          row(offsets, outer * innerSize + start, std::min(pieceSize, innerSize - start));
        }
      });
    });
  }

private:
  std::array<bool, N> lastVaries{};
};

/// Elements of one tile of cheap elementwise work: about 10 microseconds.
inline constexpr int64_t elementwiseTile = 32768;

} // namespace nibble::runtime

#endif

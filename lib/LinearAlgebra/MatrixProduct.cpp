#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"

#include <algorithm>
#include <dnnl.hpp>

namespace nibble {

/// Rows and columns of a tile: large enough that a product runs at full speed, small enough for some per thread.
constexpr int64_t tileSize = 256;

static int64_t tilesOf(int64_t extent) { return (extent + tileSize - 1) / tileSize; }

void multiplyMatrices(bool transposeA, bool transposeB, int64_t rows, int64_t columns, int64_t inner, float alpha,
                      const float *a, int64_t leadingA, const float *b, int64_t leadingB, float beta, float *c,
                      int64_t leadingC) {
  dnnl_sgemm(transposeA ? 'T' : 'N', transposeB ? 'T' : 'N', rows, columns, inner, alpha, a, leadingA, b, leadingB,
             beta, c, leadingC);
}

void multiplyMatricesInParallel(bool transposeA, bool transposeB, int64_t rows, int64_t columns, int64_t inner,
                                float alpha, const float *a, int64_t leadingA, const float *b, int64_t leadingB,
                                float beta, float *c, int64_t leadingC) {
  int64_t across = tilesOf(columns);
  parallelFor(tilesOf(rows) * across, [&](int64_t tile) {
    int64_t row = tile / across * tileSize, column = tile % across * tileSize;
    multiplyMatrices(transposeA, transposeB, std::min(tileSize, rows - row), std::min(tileSize, columns - column), inner,
                     alpha, a + (transposeA ? row : row * leadingA), leadingA,
                     b + (transposeB ? column * leadingB : column), leadingB, beta, c + row * leadingC + column, leadingC);
  });
}

void addGram(int64_t rows, int64_t size, float alpha, const float *a, int64_t leadingA, float *c) {
  int64_t across = tilesOf(size);
  parallelFor(across * across, [&](int64_t tile) {
    int64_t row = tile / across * tileSize, column = tile % across * tileSize;
    if (column < row)
      return;
    multiplyMatrices(true, false, std::min(tileSize, size - row), std::min(tileSize, size - column), rows, alpha, a + row,
                     leadingA, a + column, leadingA, 1, c + row * size + column, size);
  });
}

void mirrorUpper(int64_t size, float *c) {
  for (int64_t row = 0; row < size; ++row)
    for (int64_t column = row + 1; column < size; ++column)
      c[column * size + row] = c[row * size + column];
}

} // namespace nibble

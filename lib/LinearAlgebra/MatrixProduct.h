//===- MatrixProduct.h - products of float32 matrices ----------------------===//
#ifndef NIBBLE_LINEARALGEBRA_MATRIXPRODUCT_H
#define NIBBLE_LINEARALGEBRA_MATRIXPRODUCT_H

#include <cstdint>

namespace nibble {

/// row-major C[rows, columns] = alpha * op(A) op(B) + beta * C on the calling thread; a transposed
/// operand is stored [inner, rows] or [columns, inner]. Leading dimensions are in elements.
void multiplyMatrices(bool transposeA, bool transposeB, int64_t rows, int64_t columns, int64_t inner, float alpha,
                      const float *a, int64_t leadingA, const float *b, int64_t leadingB, float beta, float *c,
                      int64_t leadingC);

/// The same cut into tiles for all threads, with the same bytes at any number of them.
void multiplyMatricesInParallel(bool transposeA, bool transposeB, int64_t rows, int64_t columns, int64_t inner,
                                float alpha, const float *a, int64_t leadingA, const float *b, int64_t leadingB,
                                float beta, float *c, int64_t leadingC);

/// Symmetric C[size, size] += alpha * A^T A for A [rows, size], row-major, on all threads. Only the blocks that touch
/// the upper triangle are computed; mirrorUpper copies them to the lower one.
void addGram(int64_t rows, int64_t size, float alpha, const float *a, int64_t leadingA, float *c);
void mirrorUpper(int64_t size, float *c);

} // namespace nibble

#endif

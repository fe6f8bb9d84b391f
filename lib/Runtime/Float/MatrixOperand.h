//===- MatrixOperand.h - batched matrices in memory ------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_MATRIXOPERAND_H
#define NIBBLE_RUNTIME_FLOAT_MATRIXOPERAND_H

#include "lib/Runtime/Float/Kernel.h"

namespace nibble::runtime {

/// Matrices as a matrix product of BLAS reads them: neighbours along a row, or along a column where
/// transposed, are next to each other.
struct MatrixOperand {
  bool isTransposed = false;
  int64_t leading = 1;
  /// The first element of the matrix of every batch entry.
  llvm::SmallVector<int64_t> offsets;

  int64_t rowOffset(int64_t row) const { return isTransposed ? row : row * leading; }
  int64_t columnOffset(int64_t column) const { return isTransposed ? column * leading : column; }
};

/// Whether the last two dimensions of `spec` can be read (`allowTransposed`) or written in place.
bool isMatrixInPlace(const ValueSpec &spec, bool allowTransposed);

/// The matrices of `spec`, of rank 2 or more, for every entry of `batch`, to which its leading
/// dimensions broadcast. isMatrixInPlace must hold.
MatrixOperand describeMatrix(const ValueSpec &spec, llvm::ArrayRef<int64_t> batch);

/// C[rows, columns] = A[rows, inner] B[inner, columns] for every batch entry, with the rules of numpy's
/// matmul. Where B is one matrix and the others are row-major, the batch becomes rows of A.
struct BatchedProduct {
  int64_t batch = 1, rows = 1, inner = 1, columns = 1;
  MatrixOperand a, b, c;

  BatchedProduct(const ValueSpec &left, const ValueSpec &right, const ValueSpec &result);
};

} // namespace nibble::runtime

#endif

#include "lib/Runtime/Float/MatrixOperand.h"

namespace nibble::runtime {
namespace {

Shape stridesOf(const ValueSpec &spec) { return spec.strides.empty() ? rowMajorStrides(spec.shape) : spec.strides; }

/// The dimensions that the leading dimensions of both operands broadcast to.
Shape broadcastBatch(const ValueSpec &left, const ValueSpec &right) {
  size_t rank = std::max(left.shape.size(), right.shape.size()) - 2;
  Shape batch(rank, 1);
  for (const ValueSpec *spec : {&left, &right})
    for (size_t i = 0, own = spec->shape.size() - 2; i < own; ++i)
      if (int64_t dim = spec->shape[own - 1 - i]; dim != 1)
        batch[rank - 1 - i] = dim;
  return batch;
}

} // namespace

bool isMatrixInPlace(const ValueSpec &spec, bool allowTransposed) {
  Shape strides = stridesOf(spec);
  size_t rank = strides.size();
  if (rank < 2)
    return false;
  int64_t rows = spec.shape[rank - 2], columns = spec.shape[rank - 1];
  int64_t rowStride = strides[rank - 2], columnStride = strides[rank - 1];
  if ((columnStride == 1 || columns == 1) && (rowStride >= columns || rows == 1))
    return true;
  return allowTransposed && (rowStride == 1 || rows == 1) && (columnStride >= rows || columns == 1);
}

MatrixOperand describeMatrix(const ValueSpec &spec, llvm::ArrayRef<int64_t> batch) {
  Shape strides = stridesOf(spec);
  size_t rank = strides.size();
  MatrixOperand matrix;
  int64_t rows = spec.shape[rank - 2], columns = spec.shape[rank - 1];
  matrix.isTransposed = columns != 1 && strides[rank - 1] != 1;
  // BLAS wants a leading dimension of at least the row even where there is only one row.
  matrix.leading = matrix.isTransposed ? std::max(strides[rank - 1], rows) : std::max(strides[rank - 2], columns);
  for (int64_t index = 0, count = elementCount(batch); index < count; ++index) {
    int64_t rest = index, offset = 0;
    for (size_t i = 0; i + 2 < rank; ++i) {
      size_t dim = rank - 3 - i;
      int64_t size = batch[batch.size() - 1 - i];
      if (spec.shape[dim] != 1)
        offset += rest % size * strides[dim];
      rest /= size;
    }
    matrix.offsets.push_back(offset);
  }
  return matrix;
}

BatchedProduct::BatchedProduct(const ValueSpec &left, const ValueSpec &right, const ValueSpec &result) {
  ValueSpec leftMatrix = left, rightMatrix = right, resultMatrix = result;
  // A vector on the left is a row, one on the right a column; the result lacks that dimension.
  if (left.rank() == 1)
    leftMatrix.shape = {1, left.shape[0]};
  if (right.rank() == 1)
    rightMatrix.shape = {right.shape[0], 1};
  rows = leftMatrix.shape[leftMatrix.shape.size() - 2], inner = leftMatrix.shape.back();
  columns = rightMatrix.shape.back();
  Shape dims = broadcastBatch(leftMatrix, rightMatrix);
  if (left.rank() == 1 || right.rank() == 1) {
    resultMatrix.shape = dims;
    resultMatrix.shape.append({rows, columns});
  }
  bool rightIsOne = elementCount(llvm::ArrayRef(rightMatrix.shape).drop_back(2)) == 1;
  if (rightIsOne && left.strides.empty() && result.strides.empty()) {
    rows *= elementCount(dims);
    leftMatrix.shape = {rows, inner};
    resultMatrix.shape = {rows, columns};
    dims.clear();
  }
  batch = elementCount(dims);
  a = describeMatrix(leftMatrix, dims);
  b = describeMatrix(rightMatrix, dims);
  c = describeMatrix(resultMatrix, dims);
}

} // namespace nibble::runtime

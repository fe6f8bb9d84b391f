#include "lib/LinearAlgebra/Cholesky.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

using BlockMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <typename T> using View = Eigen::Map<T, 0, Eigen::OuterStride<>>;

constexpr int64_t blockSize = 128;
/// Rows of a tile of the panel below a diagonal block.
constexpr int64_t panelRows = 256;

/// The inverse of a lower triangular block of at most blockSize rows.
FloatMatrix invertBlock(const float *block, int64_t count, int64_t leading) {
  BlockMatrix lower = View<const FloatMatrix>(block, count, count, Eigen::OuterStride<>(leading)).cast<double>();
  BlockMatrix inverse =
      lower.triangularView<Eigen::Lower>().solve(BlockMatrix::Identity(count, count));
  return inverse.triangularView<Eigen::Lower>().toDenseMatrix().cast<float>();
}

/// Factors the diagonal block in double. False where it is not positive definite.
bool factorBlock(float *block, int64_t count, int64_t leading) {
  View<FloatMatrix> view(block, count, count, Eigen::OuterStride<>(leading));
  BlockMatrix symmetric = view.cast<double>();
  Eigen::LLT<BlockMatrix, Eigen::Lower> factor(symmetric);
  if (factor.info() != Eigen::Success)
    return false;
  BlockMatrix lower = factor.matrixL();
  for (int64_t i = 0; i < count; ++i) {
    // A pivot below float32's resolution of the matrix is rounding noise.
    if (!(lower(i, i) > 0) || !std::isfinite(lower(i, i)))
      return false;
    for (int64_t j = 0; j <= i; ++j)
      view(i, j) = static_cast<float>(lower(i, j));
  }
  return true;
}

} // namespace

bool choleskyInPlace(int64_t size, float *a) {
  for (int64_t begin = 0; begin < size; begin += blockSize) {
    int64_t count = std::min(blockSize, size - begin), rest = begin + count;
    float *diagonal = a + begin * size + begin;
    if (!factorBlock(diagonal, count, size))
      return false;
    if (rest == size)
      break;
    FloatMatrix inverse = invertBlock(diagonal, count, size);
    int64_t tiles = (size - rest + panelRows - 1) / panelRows;
    // The panel below becomes A L^-T.
    parallelFor(tiles, [&](int64_t tile) {
      int64_t row = rest + tile * panelRows, rows = std::min(panelRows, size - row);
      FloatMatrix panel = View<const FloatMatrix>(a + row * size + begin, rows, count, Eigen::OuterStride<>(size));
      multiplyMatrices(false, true, rows, count, count, 1, panel.data(), count, inverse.data(), count, 0,
                       a + row * size + begin, size);
    });
    parallelFor(tiles * tiles, [&](int64_t tile) {
      int64_t row = rest + tile / tiles * panelRows, column = rest + tile % tiles * panelRows;
      if (column > row)
        return;
      multiplyMatrices(false, true, std::min(panelRows, size - row), std::min(panelRows, size - column), count, -1,
                       a + row * size + begin, size, a + column * size + begin, size, 1, a + row * size + column, size);
    });
  }
  return true;
}

std::vector<float> invertLower(int64_t size, const float *l) {
  std::vector<float> inverse(static_cast<size_t>(size * size), 0.0f);
  int64_t blocks = (size + blockSize - 1) / blockSize;
  std::vector<FloatMatrix> diagonal(static_cast<size_t>(blocks));
  parallelFor(blocks, [&](int64_t block) {
    int64_t begin = block * blockSize, count = std::min(blockSize, size - begin);
    FloatMatrix &result = diagonal[static_cast<size_t>(block)];
    result = invertBlock(l + begin * size + begin, count, size);
    View<FloatMatrix>(inverse.data() + begin * size + begin, count, count, Eigen::OuterStride<>(size)) = result;
  });
  // Column blocks do not depend on each other: X_ij = -L_ii^-1 sum_{j <= k < i} L_ik X_kj.
  parallelFor(blocks, [&](int64_t block) {
    int64_t begin = block * blockSize, columns = std::min(blockSize, size - begin);
    FloatMatrix sum(blockSize, columns);
    for (int64_t below = block + 1; below < blocks; ++below) {
      int64_t row = below * blockSize, rows = std::min(blockSize, size - row);
      multiplyMatrices(false, false, rows, columns, row - begin, 1, l + row * size + begin, size,
                       inverse.data() + begin * size + begin, size, 0, sum.data(), columns);
      multiplyMatrices(false, false, rows, columns, rows, -1, diagonal[static_cast<size_t>(below)].data(), rows,
                       sum.data(), columns, 0, inverse.data() + row * size + begin, size);
    }
  });
  return inverse;
}

std::vector<float> upperFactorOfInverse(int64_t size, const float *a) {
  std::vector<float> reversed(static_cast<size_t>(size * size));
  parallelFor(size, [&](int64_t row) {
    std::reverse_copy(a + (size - 1 - row) * size, a + (size - row) * size, reversed.begin() + row * size);
  });
  if (!choleskyInPlace(size, reversed.data()))
    return {};
  std::vector<float> inverse = invertLower(size, reversed.data());
  // Reversing both orders of a row-major matrix reverses its elements.
  std::reverse(inverse.begin(), inverse.end());
  return inverse;
}

} // namespace nibble

#include "lib/Quant/RoundingGrid.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble::quant {

/// Rows of a tile.
constexpr int64_t rowsPerTile = 64;

std::vector<float> WeightLayout::read(const Tensor &weight, int64_t group) const {
  std::vector<float> matrix(static_cast<size_t>(rows * columns));
  const float *data = weight.data<float>();
  parallelFor((rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile) {
    for (int64_t row = tile * rowsPerTile; row < std::min(rows, (tile + 1) * rowsPerTile); ++row)
      for (int64_t column = 0; column < columns; ++column)
        matrix[static_cast<size_t>(row * columns + column)] = data[offset(group, row, column)];
  });
  return matrix;
}

void WeightLayout::write(const std::vector<float> &matrix, int64_t group, Tensor &weight) const {
  float *data = weight.mutableData<float>();
  parallelFor((rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile) {
    for (int64_t row = tile * rowsPerTile; row < std::min(rows, (tile + 1) * rowsPerTile); ++row)
      for (int64_t column = 0; column < columns; ++column)
        data[offset(group, row, column)] = matrix[static_cast<size_t>(row * columns + column)];
  });
}

/// Which scale the element at `offset` has.
static int64_t scaleIndexOf(const Encoding &encoding, llvm::ArrayRef<int64_t> shape, int64_t offset) {
  if (!encoding.axis)
    return 0;
  size_t axis = static_cast<size_t>(*encoding.axis);
  int64_t extent = shape[axis], inner = elementCount(shape.drop_front(axis + 1));
  int64_t along = offset / inner % extent;
  if (!encoding.blockSize)
    return along;
  int64_t blocks = (extent + *encoding.blockSize - 1) / *encoding.blockSize;
  return (offset / inner / extent * blocks + along / *encoding.blockSize) * inner + offset % inner;
}

RoundingGrid::RoundingGrid(const Encoding &encoding, llvm::ArrayRef<int64_t> shape, const WeightLayout &layout,
                           int64_t group)
    : rows(layout.rows), columns(layout.columns) {
  assert(encoding.isCalibrated() && encoding.kind != EncodingKind::Palette && "a grid needs scales");
  llvm::DenseMap<int64_t, int32_t> blockOfScale;
  std::vector<int64_t> firstColumn;
  for (int64_t column = 0; column < columns; ++column) {
    int64_t index = scaleIndexOf(encoding, shape, layout.offset(group, 0, column));
    auto [entry, isNew] = blockOfScale.try_emplace(index, static_cast<int32_t>(blockOfScale.size()));
    if (isNew)
      firstColumn.push_back(column);
    blockOf.push_back(entry->second);
  }
  blocks = static_cast<int64_t>(firstColumn.size());
  std::vector<float> effective = encoding.effectiveScales();
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column : firstColumn) {
      int64_t index = scaleIndexOf(encoding, shape, layout.offset(group, row, column));
      int64_t zeroPoint = encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints[static_cast<size_t>(index)];
      scaleIndex.push_back(index);
      scales.push_back(effective[static_cast<size_t>(index)]);
      low.push_back(static_cast<float>(encoding.quantMin - zeroPoint));
      high.push_back(static_cast<float>(encoding.quantMax - zeroPoint));
    }
  hasOwnScales = encoding.kind == EncodingKind::Uniform &&
                 static_cast<int64_t>(effective.size()) == layout.groups * rows * blocks;
}

float RoundingGrid::round(float value, int64_t row, int64_t column) const {
  size_t index = static_cast<size_t>(row * blocks + blockOf[static_cast<size_t>(column)]);
  return std::nearbyint(std::clamp(value / scales[index], low[index], high[index])) * scales[index];
}

void RoundingGrid::storeScales(Encoding &encoding) const {
  assert(encoding.kind == EncodingKind::Uniform && "block multipliers do not follow from block scales");
  for (auto [index, scale] : llvm::zip_equal(scaleIndex, scales))
    encoding.scales[static_cast<size_t>(index)] = scale;
}

std::vector<float> roundToNearest(const std::vector<float> &weight, const RoundingGrid &grid) {
  std::vector<float> rounded(weight.size());
  parallelFor((grid.rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile) {
    for (int64_t row = tile * rowsPerTile; row < std::min(grid.rows, (tile + 1) * rowsPerTile); ++row)
      for (int64_t column = 0; column < grid.columns; ++column) {
        size_t i = static_cast<size_t>(row * grid.columns + column);
        rounded[i] = grid.round(weight[i], row, column);
      }
  });
  return rounded;
}

std::vector<double> outputErrorOfRows(const std::vector<float> &weight, const std::vector<float> &rounded,
                                      int64_t columns, const float *gram) {
  int64_t rows = static_cast<int64_t>(weight.size()) / columns;
  // Every tile reads all moments, so few large tiles are faster where there are rows for every thread all the same.
  int64_t tileRows = rows >= 512 ? 256 : 64;
  std::vector<double> errors(static_cast<size_t>(rows), 0.0);
  parallelFor((rows + tileRows - 1) / tileRows, [&](int64_t tile) {
    int64_t begin = tile * tileRows, count = std::min(tileRows, rows - begin);
    std::vector<float> error(static_cast<size_t>(count * columns)), product(error.size());
    for (size_t i = 0; i < error.size(); ++i)
      error[i] = rounded[static_cast<size_t>(begin * columns) + i] - weight[static_cast<size_t>(begin * columns) + i];
    multiplyMatrices(false, false, count, columns, columns, 1, error.data(), columns, gram, columns, 0, product.data(),
                     columns);
    for (size_t i = 0; i < error.size(); ++i)
      errors[static_cast<size_t>(begin) + i / static_cast<size_t>(columns)] +=
          static_cast<double>(error[i]) * static_cast<double>(product[i]);
  });
  return errors;
}

double outputError(const std::vector<float> &weight, const std::vector<float> &rounded, int64_t columns,
                   const float *gram) {
  std::vector<double> errors = outputErrorOfRows(weight, rounded, columns, gram);
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

} // namespace nibble::quant

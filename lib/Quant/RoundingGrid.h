//===- RoundingGrid.h - a weight as rows that are rounded one by one -------===//
//
// Algorithms that round against the inputs of a layer see its weight as matrices [rows, columns]: a row makes one
// output from `columns` inputs, so that the error of the layer's output is e H e^T for every row e = w' - w, with H
// the second moments of the inputs (LayerMoments). Rounded weights are floats, exact multiples of their scales.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_QUANT_ROUNDINGGRID_H
#define NIBBLE_QUANT_ROUNDINGGRID_H

#include "lib/Quant/Encoding.h"

namespace nibble::quant {

/// Where element (group, row, column) of a layer's weight stands in its tensor, by strides in elements. A layer of
/// several groups (a grouped convolution) has a matrix, and inputs, for each of them.
struct WeightLayout {
  int64_t groups = 1, rows = 0, columns = 0;
  int64_t groupStride = 0, rowStride = 0, columnStride = 0;

  int64_t offset(int64_t group, int64_t row, int64_t column) const {
    return group * groupStride + row * rowStride + column * columnStride;
  }
  /// Matrix `group` of `weight`, row-major [rows, columns].
  std::vector<float> read(const Tensor &weight, int64_t group) const;
  void write(const std::vector<float> &matrix, int64_t group, Tensor &weight) const;
};

/// The values that one matrix of a weight may take: scale * level, with low <= level <= high.
struct RoundingGrid {
  /// The grid of matrix `group`; `encoding` is calibrated and not a palette.
  RoundingGrid(const Encoding &encoding, llvm::ArrayRef<int64_t> shape, const WeightLayout &layout, int64_t group);

  float scale(int64_t row, int64_t column) const {
    return scales[static_cast<size_t>(row * blocks + blockOf[static_cast<size_t>(column)])];
  }
  /// The nearest value of the grid, halves to even levels.
  float round(float value, int64_t row, int64_t column) const;
  /// The scales back into the encoding that the grid was made of, which is not LPBQ.
  void storeScales(Encoding &encoding) const;

  int64_t rows, columns;
  /// Columns of one block share a scale in every row.
  int64_t blocks;
  std::vector<int32_t> blockOf;
  /// [rows, blocks]; levels are the integers less the zero point.
  std::vector<float> scales, low, high;
  /// Whether every scale belongs to one row and block and may change alone.
  bool hasOwnScales;

private:
  /// [rows, blocks], into the scales of the encoding.
  std::vector<int64_t> scaleIndex;
};

/// Every element of `weight` [rows, columns] on its nearest value.
std::vector<float> roundToNearest(const std::vector<float> &weight, const RoundingGrid &grid);

/// Mean square of the output's error over the calibration inputs, summed over rows: tr(E H E^T) for
/// E = rounded - weight and row-major `gram` H [columns, columns].
double outputError(const std::vector<float> &weight, const std::vector<float> &rounded, int64_t columns,
                   const float *gram);
/// The same of each row.
std::vector<double> outputErrorOfRows(const std::vector<float> &weight, const std::vector<float> &rounded,
                                      int64_t columns, const float *gram);

} // namespace nibble::quant

#endif

#include "lib/Quant/CoordinateDescent.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"
#include "lib/Support/VectorClones.h"

#include <algorithm>
#include <cmath>

namespace nibble::quant {
namespace {

/// Every tile reads all moments, so few large tiles are faster where there are rows for every thread all the same.
int64_t tileOf(int64_t rows) { return rows >= 512 ? 256 : 64; }
constexpr int64_t blockColumns = 128;

NIBBLE_VECTOR_CLONES
void addScaled(float *to, const float *from, int64_t count, float factor) {
  for (int64_t i = 0; i < count; ++i)
    to[i] += factor * from[i];
}

/// Rows [first, first + count) of the problem.
class Tile {
public:
  Tile(const std::vector<float> &weight, RoundingGrid &grid, const float *gram, std::vector<float> &rounded,
       int64_t first, int64_t count)
      : grid(grid), gram(gram), columns(grid.columns), first(first), count(count),
        weight(weight.data() + first * columns), rounded(rounded.data() + first * columns),
        error(static_cast<size_t>(count * columns)) {
    for (size_t i = 0; i < error.size(); ++i)
      error[i] = this->rounded[i] - this->weight[i];
  }

  /// One sweep over all columns; the number of elements that moved.
  int64_t sweep() {
    int64_t numMoved = 0;
    std::vector<float> gradient(static_cast<size_t>(count * blockColumns));
    for (int64_t begin = 0; begin < columns; begin += blockColumns) {
      int64_t width = std::min(blockColumns, columns - begin);
      multiplyMatrices(false, false, count, width, columns, 1, error.data(), columns, gram + begin, columns, 0,
                       gradient.data(), width);
      for (int64_t row = 0; row < count; ++row)
        for (int64_t i = 0; i < width; ++i)
          numMoved += move(row, begin, i, width, gradient.data() + row * width);
    }
    return numMoved;
  }

  /// Every scale in turn to s - (e H v^T) / (v H v^T) with v the levels of its block and zero elsewhere.
  void refit(llvm::ArrayRef<float> minimumScales) {
    size_t area = static_cast<size_t>(count * columns);
    std::vector<float> gradient(area), levels(area), product(area);
    multiplyMatrices(false, false, count, columns, columns, 1, error.data(), columns, gram, columns, 0, gradient.data(),
                     columns);
    for (int64_t block = 0; block < grid.blocks; ++block) {
      for (int64_t row = 0; row < count; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          size_t i = static_cast<size_t>(row * columns + column);
          levels[i] = grid.blockOf[static_cast<size_t>(column)] == block
                          ? std::nearbyint(rounded[i] / scaleOf(row, block))
                          : 0.0f;
        }
      // Blocks are few columns, mostly one run, of which alone the product is made.
      auto [begin, end] = runOf(block);
      multiplyMatrices(false, false, count, columns, end - begin, 1, levels.data() + begin, columns,
                       gram + begin * columns, columns, 0, product.data(), columns);
      for (int64_t row = 0; row < count; ++row)
        refitRow(row, block, begin, end, levels.data() + row * columns, product.data() + row * columns,
                 gradient.data() + row * columns, minimumScales);
    }
  }

private:
  float &scaleOf(int64_t row, int64_t block) {
    return grid.scales[static_cast<size_t>((first + row) * grid.blocks + block)];
  }

  std::pair<int64_t, int64_t> runOf(int64_t block) const {
    auto begin = std::find(grid.blockOf.begin(), grid.blockOf.end(), static_cast<int32_t>(block));
    auto end = std::find(grid.blockOf.rbegin(), grid.blockOf.rend(), static_cast<int32_t>(block)).base();
    return {begin - grid.blockOf.begin(), end - grid.blockOf.begin()};
  }

  bool move(int64_t row, int64_t begin, int64_t i, int64_t width, float *gradient) {
    int64_t column = begin + i;
    float moment = gram[column * columns + column];
    if (!(moment > 0))
      return false;
    size_t at = static_cast<size_t>(row * columns + column);
    float next = grid.round(rounded[at] - gradient[i] / moment, first + row, column);
    float step = next - rounded[at];
    // The change of the error is 2 step G + step^2 H; float32 rounding must not let it grow for ever.
    if (step == 0 || !(2 * gradient[i] * step + step * step * moment < 0))
      return false;
    rounded[at] = next;
    error[at] = next - weight[at];
    addScaled(gradient, gram + column * columns + begin, width, step);
    return true;
  }

  void refitRow(int64_t row, int64_t block, int64_t begin, int64_t end, const float *levels, const float *product,
                float *gradient, llvm::ArrayRef<float> minimumScales) {
    double curvature = 0, slope = 0;
    for (int64_t column = begin; column < end; ++column) {
      curvature += static_cast<double>(levels[column]) * static_cast<double>(product[column]);
      slope += static_cast<double>(levels[column]) * static_cast<double>(gradient[column]);
    }
    if (!(curvature > 0))
      return;
    float &scale = scaleOf(row, block);
    double wanted = static_cast<double>(scale) - slope / curvature;
    // A scale that changes sign or vanishes says that the levels are wrong, not the scale.
    if (!(wanted > 0.5 * static_cast<double>(scale)))
      return;
    float next = makeScale(wanted);
    if (!minimumScales.empty())
      next = std::max(next, minimumScales[static_cast<size_t>((first + row) * grid.blocks + block)]);
    float step = next - scale;
    if (!(2 * slope * static_cast<double>(step) + curvature * static_cast<double>(step) * static_cast<double>(step) < 0))
      return;
    scale = next;
    for (int64_t column = begin; column < end; ++column)
      if (levels[column] != 0) {
        size_t at = static_cast<size_t>(row * columns + column);
        rounded[at] = levels[column] * scale;
        error[at] = rounded[at] - weight[at];
      }
    addScaled(gradient, product, columns, step);
  }

  RoundingGrid &grid;
  const float *gram;
  int64_t columns, first, count;
  const float *weight;
  float *rounded;
  std::vector<float> error;
};

} // namespace

void descendCoordinates(const std::vector<float> &weight, RoundingGrid &grid, const float *gram,
                        const CoordinateDescentOptions &options, std::vector<float> &rounded) {
  int64_t rowsPerTile = tileOf(grid.rows);
  parallelFor((grid.rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile) {
    int64_t first = tile * rowsPerTile;
    Tile rows(weight, grid, gram, rounded, first, std::min(rowsPerTile, grid.rows - first));
    for (unsigned i = 0; i < options.sweeps; ++i) {
      int64_t numMoved = rows.sweep();
      if (options.refitScales && grid.hasOwnScales)
        rows.refit(options.minimumScales);
      else if (numMoved == 0)
        break;
    }
  });
}

} // namespace nibble::quant

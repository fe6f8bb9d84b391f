#include "lib/Quant/OutputErrorSearch.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"

#include <algorithm>
#include <limits>

namespace nibble::quant {

constexpr int64_t rowsPerTile = 64;

/// The columns of every block, and their moments among themselves, packed.
struct BlockMoments {
  std::vector<int64_t> columns;
  std::vector<float> gram;
};

static std::vector<BlockMoments> collectBlocks(const RoundingGrid &grid, const float *gram) {
  std::vector<BlockMoments> blocks(static_cast<size_t>(grid.blocks));
  for (int64_t column = 0; column < grid.columns; ++column)
    blocks[static_cast<size_t>(grid.blockOf[static_cast<size_t>(column)])].columns.push_back(column);
  for (BlockMoments &block : blocks)
    for (int64_t i : block.columns)
      for (int64_t j : block.columns)
        block.gram.push_back(gram[i * grid.columns + j]);
  return blocks;
}

void searchScalesByOutputError(const std::vector<float> &weight, RoundingGrid &grid, const float *gram,
                               unsigned candidates, const std::vector<float> &minimumScales) {
  assert(grid.hasOwnScales && "scales that rows share cannot be searched by row");
  std::vector<BlockMoments> blocks = collectBlocks(grid, gram);
  std::vector<float> factors = {1.0f};
  for (unsigned i = 0; i < candidates; ++i)
    factors.push_back(0.5f + 0.7f * static_cast<float>(i) / static_cast<float>(std::max(1u, candidates - 1)));
  parallelFor((grid.rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile) {
    int64_t first = tile * rowsPerTile, count = std::min(rowsPerTile, grid.rows - first);
    for (int64_t b = 0; b < grid.blocks; ++b) {
      const BlockMoments &block = blocks[static_cast<size_t>(b)];
      int64_t width = static_cast<int64_t>(block.columns.size());
      std::vector<float> error(static_cast<size_t>(count * width)), product(error.size());
      std::vector<double> least(static_cast<size_t>(count), std::numeric_limits<double>::infinity());
      std::vector<float> given, best(static_cast<size_t>(count));
      auto indexOf = [&](int64_t row) { return static_cast<size_t>((first + row) * grid.blocks + b); };
      for (int64_t row = 0; row < count; ++row)
        given.push_back(grid.scales[indexOf(row)]);
      for (float factor : factors) {
        for (int64_t row = 0; row < count; ++row) {
          float &scale = grid.scales[indexOf(row)];
          scale = makeScale(static_cast<double>(given[static_cast<size_t>(row)]) * static_cast<double>(factor));
          if (!minimumScales.empty())
            scale = std::max(scale, minimumScales[indexOf(row)]);
          for (int64_t i = 0; i < width; ++i) {
            int64_t column = block.columns[static_cast<size_t>(i)];
            float value = weight[static_cast<size_t>((first + row) * grid.columns + column)];
            error[static_cast<size_t>(row * width + i)] = grid.round(value, first + row, column) - value;
          }
        }
        multiplyMatrices(false, false, count, width, width, 1, error.data(), width, block.gram.data(), width, 0,
                         product.data(), width);
        for (int64_t row = 0; row < count; ++row) {
          double sum = 0;
          for (int64_t i = row * width; i < (row + 1) * width; ++i)
            sum += static_cast<double>(error[static_cast<size_t>(i)]) * static_cast<double>(product[static_cast<size_t>(i)]);
          if (sum < least[static_cast<size_t>(row)]) {
            least[static_cast<size_t>(row)] = sum;
            best[static_cast<size_t>(row)] = grid.scales[indexOf(row)];
          }
        }
      }
      for (int64_t row = 0; row < count; ++row)
        grid.scales[indexOf(row)] = best[static_cast<size_t>(row)];
    }
  });
}

} // namespace nibble::quant

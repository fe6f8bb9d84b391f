#include "lib/Quant/Gptq.h"
#include "lib/LinearAlgebra/Cholesky.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"
#include "lib/Support/VectorClones.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble::quant {
namespace {

/// Columns that are rounded before their errors reach the rest in one product.
constexpr int64_t blockColumns = 128;
constexpr int64_t rowsPerTile = 128;

/// One block of columns of some rows: every array is row-major [rows, count] unless said otherwise.
struct BlockOfRows {
  int64_t rows, count;
  /// Leading dimension of `weight`.
  int64_t leading;
  float *weight;
  const float *original, *scale, *low, *high;
  /// Upper triangular [count, count], leading dimension `leadingFactor`.
  const float *factor;
  int64_t leadingFactor;
  float firstOrder;
  float *rounded, *error;
};

NIBBLE_VECTOR_CLONES
void roundBlock(const BlockOfRows &block) {
  constexpr float roundingConstant = 12582912.0f;
  for (int64_t row = 0; row < block.rows; ++row) {
    float *weight = block.weight + row * block.leading;
    for (int64_t i = 0; i < block.count; ++i) {
      int64_t at = row * block.count + i;
      float level = weight[i] / block.scale[at];
      level = level < block.low[at] ? block.low[at] : level;
      level = level > block.high[at] ? block.high[at] : level;
      float rounded = ((level + roundingConstant) - roundingConstant) * block.scale[at];
      const float *factor = block.factor + i * block.leadingFactor;
      float moved = block.firstOrder * (weight[i] - block.original[at]);
      float error = (weight[i] - rounded - moved) / factor[i];
      block.rounded[at] = rounded;
      block.error[at] = error;
      for (int64_t j = i + 1; j < block.count; ++j)
        weight[j] -= error * factor[j];
    }
  }
}

/// The moments in the order that columns are rounded in, damped; dead columns stand alone.
std::vector<float> orderedGram(const float *gram, llvm::ArrayRef<int64_t> order, double damping) {
  int64_t columns = static_cast<int64_t>(order.size());
  std::vector<float> ordered(static_cast<size_t>(columns * columns));
  double mean = 0;
  for (int64_t i = 0; i < columns; ++i)
    mean += static_cast<double>(gram[i * columns + i]) / static_cast<double>(columns);
  parallelFor(columns, [&](int64_t row) {
    int64_t from = order[static_cast<size_t>(row)];
    bool isDead = !(gram[from * columns + from] > 0);
    float *to = ordered.data() + row * columns;
    for (int64_t column = 0; column < columns; ++column)
      to[column] = isDead ? 0.0f : gram[from * columns + order[static_cast<size_t>(column)]];
    to[row] += static_cast<float>(isDead ? (mean > 0 ? mean : 1.0) : damping * mean);
  });
  return ordered;
}

/// The factor of the damped moments, with as much damping as it takes.
std::vector<float> findFactor(const float *gram, llvm::ArrayRef<int64_t> order, const GptqOptions &options,
                              GptqResult &result) {
  for (result.damping = options.damping;; result.damping *= 10, ++result.numRetries) {
    std::vector<float> ordered = orderedGram(gram, order, result.damping);
    std::vector<float> factor = upperFactorOfInverse(static_cast<int64_t>(order.size()), ordered.data());
    if (!factor.empty() || result.damping * 10 > options.largestDamping * (1 + 1e-9))
      return factor;
  }
}

} // namespace

GptqResult roundWithGptq(const std::vector<float> &weight, const RoundingGrid &grid, const float *gram,
                         const GptqOptions &options) {
  int64_t rows = grid.rows, columns = grid.columns;
  std::vector<int64_t> order(static_cast<size_t>(columns));
  std::iota(order.begin(), order.end(), 0);
  auto moment = [&](int64_t column) { return gram[column * columns + column]; };
  if (options.activationOrder)
    llvm::sort(order, [&](int64_t a, int64_t b) { return std::pair(-moment(a), a) < std::pair(-moment(b), b); });
  GptqResult result;
  result.numDeadColumns = llvm::count_if(order, [&](int64_t column) { return !(moment(column) > 0); });
  std::vector<float> factor = findFactor(gram, order, options, result);
  if (factor.empty())
    return result;
  result.rounded.resize(weight.size());
  parallelFor((rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile) {
    int64_t first = tile * rowsPerTile, count = std::min(rowsPerTile, rows - first);
    std::vector<float> work(static_cast<size_t>(count * columns));
    for (int64_t row = 0; row < count; ++row)
      for (int64_t column = 0; column < columns; ++column)
        work[static_cast<size_t>(row * columns + column)] =
            weight[static_cast<size_t>((first + row) * columns + order[static_cast<size_t>(column)])];
    size_t area = static_cast<size_t>(count * blockColumns);
    std::vector<float> original(area), scale(area), low(area), high(area), rounded(area), error(area);
    for (int64_t begin = 0; begin < columns; begin += blockColumns) {
      int64_t width = std::min(blockColumns, columns - begin), rest = columns - begin - width;
      for (int64_t row = 0; row < count; ++row)
        for (int64_t i = 0; i < width; ++i) {
          size_t at = static_cast<size_t>(row * width + i);
          int64_t column = order[static_cast<size_t>(begin + i)];
          size_t index = static_cast<size_t>((first + row) * grid.blocks + grid.blockOf[static_cast<size_t>(column)]);
          original[at] = weight[static_cast<size_t>((first + row) * columns + column)];
          scale[at] = grid.scales[index];
          low[at] = grid.low[index];
          high[at] = grid.high[index];
        }
      const float *corner = factor.data() + begin * columns + begin;
      roundBlock({count, width, columns, work.data() + begin, original.data(), scale.data(), low.data(), high.data(),
                  corner, columns, options.firstOrder, rounded.data(), error.data()});
      if (rest > 0)
        multiplyMatrices(false, false, count, rest, width, -1, error.data(), width, corner + width, columns, 1,
                         work.data() + begin + width, columns);
      if (options.firstOrder != 0)
        for (int64_t row = 0; row < count; ++row)
          for (int64_t i = begin + width; i < columns; ++i) {
            float &moved = work[static_cast<size_t>(row * columns + i)];
            float from = weight[static_cast<size_t>((first + row) * columns + order[static_cast<size_t>(i)])];
            moved -= options.firstOrder * (moved - from);
          }
      for (int64_t row = 0; row < count; ++row)
        for (int64_t i = 0; i < width; ++i)
          result.rounded[static_cast<size_t>((first + row) * columns + order[static_cast<size_t>(begin + i)])] =
              rounded[static_cast<size_t>(row * width + i)];
    }
  });
  return result;
}

std::vector<float> correctForDrift(const std::vector<float> &weight, int64_t columns, const float *gram,
                                   const float *drift, double strength, double damping) {
  std::vector<int64_t> order(static_cast<size_t>(columns));
  std::iota(order.begin(), order.end(), 0);
  std::vector<float> damped = orderedGram(gram, order, damping);
  std::vector<float> factor = upperFactorOfInverse(columns, damped.data());
  if (factor.empty())
    return {};
  int64_t rows = static_cast<int64_t>(weight.size()) / columns;
  // W D U^T U: from left to right, so that no product is larger than the weight.
  std::vector<float> product(weight.size()), target(weight), solved(weight.size());
  multiplyMatricesInParallel(false, false, rows, columns, columns, 1, weight.data(), columns, drift, columns, 0,
                             product.data(), columns);
  multiplyMatricesInParallel(false, true, rows, columns, columns, 1, product.data(), columns, factor.data(), columns, 0,
                             solved.data(), columns);
  multiplyMatricesInParallel(false, false, rows, columns, columns, static_cast<float>(strength), solved.data(), columns,
                             factor.data(), columns, 1, target.data(), columns);
  return target;
}

} // namespace nibble::quant

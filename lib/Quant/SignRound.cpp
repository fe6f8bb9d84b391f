#include "lib/Quant/SignRound.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"

#include <algorithm>
#include <cmath>

namespace nibble::quant {
namespace {

constexpr int64_t rowsPerTile = 64;

/// Rows [first, first + count) with the error and the gradient of what they are rounded to.
struct Tile {
  Tile(const std::vector<float> &weight, const RoundingGrid &grid, const float *gram, int64_t tile)
      : grid(grid), gram(gram), columns(grid.columns), first(tile * rowsPerTile),
        count(std::min(rowsPerTile, grid.rows - first)), weight(weight.data() + first * columns),
        size(static_cast<size_t>(count * columns)), error(size), gradient(size),
        leastError(static_cast<size_t>(count), std::numeric_limits<double>::infinity()) {}

  /// Visits (index in the tile, row of the grid, column).
  template <typename Body> void forEach(Body body) const {
    size_t i = 0;
    for (int64_t row = 0; row < count; ++row)
      for (int64_t column = 0; column < columns; ++column, ++i)
        body(i, first + row, column);
  }

  void computeGradient() {
    multiplyMatrices(false, false, count, columns, columns, 1, error.data(), columns, gram, columns, 0, gradient.data(),
                     columns);
  }

  /// Keeps the rows of `rounded` that are better than what was kept, by `error` and `gradient` as they are.
  void keepBest(const std::vector<float> &rounded, float *best) {
    for (int64_t row = 0; row < count; ++row) {
      double sum = 0;
      for (int64_t i = row * columns; i < (row + 1) * columns; ++i)
        sum += static_cast<double>(error[static_cast<size_t>(i)]) * static_cast<double>(gradient[static_cast<size_t>(i)]);
      if (sum >= leastError[static_cast<size_t>(row)])
        continue;
      leastError[static_cast<size_t>(row)] = sum;
      std::copy_n(rounded.begin() + row * columns, columns, best + (first + row) * columns);
    }
  }

  /// Rounds with `offset` of a step, and keeps what is best.
  void evaluate(const std::vector<float> &offset, std::vector<float> &rounded, float *best) {
    forEach([&](size_t i, int64_t row, int64_t column) {
      rounded[i] = grid.round(weight[i] + offset[i] * grid.scale(row, column), row, column);
      error[i] = rounded[i] - weight[i];
    });
    computeGradient();
    keepBest(rounded, best);
  }

  const RoundingGrid &grid;
  const float *gram;
  int64_t columns, first, count;
  const float *weight;
  size_t size;
  std::vector<float> error, gradient;
  std::vector<double> leastError;
};

template <typename Body>
std::vector<float> forEachTile(const std::vector<float> &weight, const RoundingGrid &grid, const float *gram, Body body) {
  std::vector<float> best(weight.size());
  parallelFor((grid.rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t index) {
    Tile tile(weight, grid, gram, index);
    body(tile, best.data());
  });
  return best;
}

} // namespace

std::vector<float> roundWithSignedGradient(const std::vector<float> &weight, const RoundingGrid &grid,
                                           const float *gram, unsigned iterations) {
  return forEachTile(weight, grid, gram, [&](Tile &tile, float *best) {
    std::vector<float> offset(tile.size, 0.0f), rounded(tile.size);
    for (unsigned step = 0; step <= iterations; ++step) {
      tile.evaluate(offset, rounded, best);
      float rate = static_cast<float>(iterations - step) / static_cast<float>(iterations) / static_cast<float>(iterations);
      for (size_t i = 0; i < tile.size; ++i)
        if (tile.gradient[i] != 0)
          offset[i] = std::clamp(offset[i] - std::copysign(rate, tile.gradient[i]), -0.5f, 0.5f);
    }
  });
}

std::vector<float> roundAdaptively(const std::vector<float> &weight, const RoundingGrid &grid, const float *gram,
                                   unsigned iterations) {
  constexpr double stretch = 1.2, shift = 0.1, regularization = 1, warmUp = 0.2;
  constexpr float learningRate = 0.03f, momentDecay = 0.9f, squareDecay = 0.999f;
  return forEachTile(weight, grid, gram, [&](Tile &tile, float *best) {
    std::vector<float> variable(tile.size), moment(tile.size, 0.0f), square(tile.size, 0.0f), rounded(tile.size);
    tile.evaluate(moment, rounded, best);
    std::vector<float> lower(tile.size);
    double logOfMoments = 0;
    int64_t numAlive = 0;
    tile.forEach([&](size_t i, int64_t row, int64_t column) {
      float scale = tile.grid.scale(row, column), level = tile.weight[i] / scale;
      lower[i] = std::floor(level);
      double fraction = std::clamp(static_cast<double>(level - lower[i]), 0.01, 0.99);
      variable[i] = static_cast<float>(-std::log(stretch / (fraction + shift) - 1));
      double moment = static_cast<double>(tile.gram[column * tile.columns + column]);
      if (moment > 0) {
        logOfMoments += std::log(static_cast<double>(scale) * static_cast<double>(scale) * moment);
        ++numAlive;
      }
    });
    // The regularization counts steps, so the error is measured in what a step of a typical element makes.
    double scaleOfLoss = numAlive ? std::exp(logOfMoments / static_cast<double>(numAlive)) : 1;
    for (unsigned step = 0; step < iterations; ++step) {
      double progress = static_cast<double>(step) / static_cast<double>(iterations);
      double beta = 2 + 18 * std::max(0.0, 1 - std::max(0.0, progress - warmUp) / (1 - warmUp));
      auto soft = [&](size_t i) {
        double sigmoid = 1 / (1 + std::exp(-static_cast<double>(variable[i])));
        return std::pair(std::clamp(stretch * sigmoid - shift, 0.0, 1.0), sigmoid);
      };
      tile.forEach([&](size_t i, int64_t row, int64_t column) {
        tile.error[i] = (lower[i] + static_cast<float>(soft(i).first)) * tile.grid.scale(row, column) - tile.weight[i];
      });
      tile.computeGradient();
      float biasOfMoment = 1 - std::pow(momentDecay, static_cast<float>(step + 1));
      float biasOfSquare = 1 - std::pow(squareDecay, static_cast<float>(step + 1));
      tile.forEach([&](size_t i, int64_t row, int64_t column) {
        auto [h, sigmoid] = soft(i);
        double slope = h > 0 && h < 1 ? stretch * sigmoid * (1 - sigmoid) : 0;
        double gradient = 2 * static_cast<double>(tile.gradient[i]) * static_cast<double>(tile.grid.scale(row, column)) /
                          scaleOfLoss;
        if (progress >= warmUp) {
          double centred = 2 * h - 1;
          gradient -= regularization * 2 * beta * std::pow(std::abs(centred), beta - 1) * (centred < 0 ? -1 : 1);
        }
        float total = static_cast<float>(gradient * slope);
        moment[i] = momentDecay * moment[i] + (1 - momentDecay) * total;
        square[i] = squareDecay * square[i] + (1 - squareDecay) * total * total;
        variable[i] -= learningRate * (moment[i] / biasOfMoment) / (std::sqrt(square[i] / biasOfSquare) + 1e-8f);
      });
    }
    tile.forEach([&](size_t i, int64_t row, int64_t column) {
      float scale = tile.grid.scale(row, column);
      rounded[i] = tile.grid.round((lower[i] + (variable[i] > 0 ? 1.0f : 0.0f)) * scale, row, column);
      tile.error[i] = rounded[i] - tile.weight[i];
    });
    tile.computeGradient();
    tile.keepBest(rounded, best);
  });
}

} // namespace nibble::quant

#include "lib/Quant/LayerMoments.h"
#include "lib/LinearAlgebra/MatrixProduct.h"

#include <cassert>
#include <utility>

namespace nibble::quant {

std::vector<float> LayerMoments::centredGram(int64_t group) const {
  std::vector<float> centred(gramOf(group), gramOf(group) + columns * columns);
  const float *average = meanOf(group);
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = 0; j < columns; ++j)
      centred[static_cast<size_t>(i * columns + j)] -= average[i] * average[j];
  return centred;
}

int64_t LayerMoments::byteSize(int64_t groups, int64_t columns, bool withDrift) {
  return groups * columns * (columns + 1) * static_cast<int64_t>(sizeof(float)) * (withDrift ? 2 : 1);
}

MomentSums::MomentSums(int64_t groups, int64_t columns, bool withDrift) {
  sums.groups = groups;
  sums.columns = columns;
  size_t vectors = static_cast<size_t>(groups * columns), matrices = vectors * static_cast<size_t>(columns);
  sums.gram.assign(matrices, 0.0f);
  meanSums.assign(vectors, 0.0);
  if (withDrift) {
    sums.drift.assign(matrices, 0.0f);
    driftSums.assign(vectors, 0.0);
  }
  counts.assign(static_cast<size_t>(groups), 0);
}

void MomentSums::add(int64_t group, int64_t count, const float *x, float *floats) {
  assert((floats != nullptr) == !sums.drift.empty() && "both streams, or one");
  int64_t columns = sums.columns;
  auto addMeans = [&](const float *rows, std::vector<double> &means) {
    for (int64_t row = 0; row < count; ++row)
      for (int64_t column = 0; column < columns; ++column)
        means[static_cast<size_t>(group * columns + column)] += static_cast<double>(rows[row * columns + column]);
  };
  addMeans(x, meanSums);
  addGram(count, columns, 1, x, columns, sums.gram.data() + group * columns * columns);
  if (floats) {
    for (int64_t i = 0; i < count * columns; ++i)
      floats[i] -= x[i];
    addMeans(floats, driftSums);
    multiplyMatricesInParallel(true, false, columns, columns, count, 1, floats, columns, x, columns, 1,
                               sums.drift.data() + group * columns * columns, columns);
  }
  counts[static_cast<size_t>(group)] += count;
}

LayerMoments MomentSums::finish() {
  LayerMoments result = std::move(sums);
  int64_t columns = result.columns;
  result.count = counts.front();
  for (int64_t group = 0; group < result.groups; ++group) {
    mirrorUpper(columns, result.gram.data() + group * columns * columns);
    float factor = 1.0f / static_cast<float>(counts[static_cast<size_t>(group)]);
    for (std::vector<float> *matrices : {&result.gram, &result.drift})
      if (!matrices->empty())
        for (int64_t i = 0; i < columns * columns; ++i)
          (*matrices)[static_cast<size_t>(group * columns * columns + i)] *= factor;
    for (auto [from, to] : {std::pair(&meanSums, &result.mean), std::pair(&driftSums, &result.driftMean)})
      for (int64_t i = 0; i < columns && !from->empty(); ++i)
        to->push_back(static_cast<float>((*from)[static_cast<size_t>(group * columns + i)]) * factor);
  }
  return result;
}

} // namespace nibble::quant

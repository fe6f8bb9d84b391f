// Rotations keep lengths and angles, mix what they should and are the same for one seed.
#include "lib/Quant/Rotation.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace nibble;
using namespace nibble::quant;

namespace {

/// The matrix of a rotation, row by row.
std::vector<std::vector<double>> rowsOf(const Rotation &rotation) {
  std::vector<std::vector<double>> rows;
  for (int64_t row = 0; row < rotation.size(); ++row) {
    std::vector<double> unit(static_cast<size_t>(rotation.size()), 0.0);
    unit[static_cast<size_t>(row)] = 1;
    rotation.apply(unit.data());
    rows.push_back(std::move(unit));
  }
  return rows;
}

struct Case {
  int64_t size;
  RotationKind kind;
  int64_t blockSize;
};

class Rotations : public ::testing::TestWithParam<Case> {};

TEST_P(Rotations, AreOrthogonal) {
  Rotation rotation(GetParam().size, GetParam().kind, 3);
  EXPECT_EQ(rotation.blockSize(), GetParam().blockSize);
  std::vector<std::vector<double>> rows = rowsOf(rotation);
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j <= i; ++j) {
      double product = 0;
      for (size_t k = 0; k < rows.size(); ++k)
        product += rows[i][k] * rows[j][k];
      EXPECT_NEAR(product, i == j ? 1 : 0, 1e-12) << i << ", " << j;
    }
}

TEST_P(Rotations, SpreadEveryElementOverItsBlock) {
  Rotation rotation(GetParam().size, GetParam().kind, 4);
  for (const std::vector<double> &row : rowsOf(rotation)) {
    double largest = 0;
    for (double value : row)
      largest = std::max(largest, std::fabs(value));
    double even = 1 / std::sqrt(static_cast<double>(rotation.blockSize()));
    if (GetParam().kind == RotationKind::Hadamard && rotation.blockSize() != 40)
      EXPECT_NEAR(largest, even, 1e-12);
    else
      EXPECT_LT(largest, 6 * even);
  }
}

TEST_P(Rotations, AreTheSameForOneSeed) {
  auto [size, kind, block] = GetParam();
  EXPECT_EQ(rowsOf(Rotation(size, kind, 5)), rowsOf(Rotation(size, kind, 5)));
  EXPECT_NE(rowsOf(Rotation(size, kind, 5)), rowsOf(Rotation(size, kind, 6)));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Rotations,
                         ::testing::Values(Case{64, RotationKind::Hadamard, 64}, Case{8, RotationKind::Hadamard, 8},
                                           Case{96, RotationKind::Hadamard, 32}, Case{40, RotationKind::Hadamard, 40},
                                           Case{64, RotationKind::Orthogonal, 64}, Case{33, RotationKind::Orthogonal, 33}));

TEST(RotateRuns, TurnsRunsAlongAnAxisAndLeavesTheRest) {
  Rotation rotation(4, RotationKind::Hadamard, 7);
  Tensor tensor = Tensor::allocate(ElementType::F32, {3, 12, 37}), before = Tensor::allocate(ElementType::F32, {3, 12, 37});
  for (int64_t i = 0; i < tensor.elementCount(); ++i)
    tensor.mutableData<float>()[i] = before.mutableData<float>()[i] = static_cast<float>(i % 101);
  rotateRuns(tensor, 1, {0, 8}, rotation);
  for (int64_t o = 0; o < 3; ++o)
    for (int64_t i = 0; i < 37; ++i)
      for (int64_t start : {0, 4, 8}) {
        double run[4];
        for (int64_t k = 0; k < 4; ++k)
          run[k] = before.data<float>()[(o * 12 + start + k) * 37 + i];
        if (start != 4)
          rotation.apply(run);
        for (int64_t k = 0; k < 4; ++k)
          EXPECT_EQ(tensor.data<float>()[(o * 12 + start + k) * 37 + i], static_cast<float>(run[k]));
      }
}

} // namespace

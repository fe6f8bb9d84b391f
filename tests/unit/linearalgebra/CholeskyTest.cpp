//===- CholeskyTest.cpp - factors against their definition -------------------===//
#include "lib/LinearAlgebra/Cholesky.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Support/Parallel.h"

#include "gtest/gtest.h"
#include <cmath>
#include <random>

using namespace nibble;

namespace {

/// A^T A + 0.1 I for random A, in double sums.
std::vector<float> makePositiveDefinite(int64_t size, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> a(static_cast<size_t>(size * size)), product(a.size());
  for (float &value : a)
    value = normal(generator) / std::sqrt(static_cast<float>(size));
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j < size; ++j) {
      double sum = i == j ? 0.1 : 0;
      for (int64_t k = 0; k < size; ++k)
        sum += static_cast<double>(a[static_cast<size_t>(k * size + i)]) * static_cast<double>(a[static_cast<size_t>(k * size + j)]);
      product[static_cast<size_t>(i * size + j)] = static_cast<float>(sum);
    }
  return product;
}

/// Sizes below, at and beyond the blocks that the factorisation works in.
class Cholesky : public testing::TestWithParam<int64_t> {};

TEST_P(Cholesky, GivesTheLowerFactor) {
  int64_t n = GetParam();
  std::vector<float> a = makePositiveDefinite(n, 1), l = a;
  ASSERT_TRUE(choleskyInPlace(n, l.data()));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k <= j; ++k)
        sum += static_cast<double>(l[static_cast<size_t>(i * n + k)]) * static_cast<double>(l[static_cast<size_t>(j * n + k)]);
      ASSERT_NEAR(sum, a[static_cast<size_t>(i * n + j)], 2e-5) << i << " " << j;
    }
}

TEST_P(Cholesky, UpperFactorIsOneOfTheInverse) {
  int64_t n = GetParam();
  std::vector<float> a = makePositiveDefinite(n, 2), u = upperFactorOfInverse(n, a.data());
  ASSERT_EQ(u.size(), a.size());
  // U A U^T is the identity where A^-1 = U^T U.
  std::vector<float> left(a.size()), identity(a.size());
  multiplyMatrices(false, false, n, n, n, 1, u.data(), n, a.data(), n, 0, left.data(), n);
  multiplyMatrices(false, true, n, n, n, 1, left.data(), n, u.data(), n, 0, identity.data(), n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      ASSERT_NEAR(identity[static_cast<size_t>(i * n + j)], i == j ? 1 : 0, 1e-4) << i << " " << j;
      if (j < i) {
        ASSERT_EQ(u[static_cast<size_t>(i * n + j)], 0) << i << " " << j;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Cholesky, testing::Values(1, 7, 128, 129, 300));

TEST(CholeskyFactor, RefusesWhatIsNotPositiveDefinite) {
  std::vector<float> rankOne = {1, 2, 2, 4}, negative = {-1, 0, 0, 1};
  EXPECT_FALSE(choleskyInPlace(2, rankOne.data()) && rankOne[3] > 1e-3f);
  EXPECT_FALSE(choleskyInPlace(2, negative.data()));
  std::vector<float> zero(9, 0.0f);
  EXPECT_TRUE(upperFactorOfInverse(3, zero.data()).empty());
}

TEST(MatrixProduct, GramIsTheProductWithTheTranspose) {
  constexpr int64_t rows = 37, columns = 301;
  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  std::vector<float> a(rows * columns), gram(columns * columns, 0.0f), wanted(gram.size());
  for (float &value : a)
    value = normal(generator);
  addGram(rows, columns, 2, a.data(), columns, gram.data());
  mirrorUpper(columns, gram.data());
  multiplyMatricesInParallel(true, false, columns, columns, rows, 2, a.data(), columns, a.data(), columns, 0,
                             wanted.data(), columns);
  for (size_t i = 0; i < gram.size(); ++i)
    ASSERT_NEAR(gram[i], wanted[i], 1e-3) << i;
}

} // namespace

// Which kernels pass the self-test, and what the own kernel computes.
#include "lib/Runtime/Integer/ByteProduct.h"
#include "lib/Runtime/Integer/Interpreter.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <vector>

using namespace nibble;
using namespace nibble::runtime;

namespace {

/// Sums pairs of products by `addPair` before it widens them, as instructions for bytes do.
template <typename AddPair> auto makeProduct(AddPair addPair) {
  return [addPair](int64_t rows, int64_t inner, int64_t columns, const uint8_t *a, const int8_t *b, int32_t *c) {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        int64_t sum = 0;
        for (int64_t k = 0; k < inner; k += 2) {
          int32_t second = k + 1 < inner ? a[row * inner + k + 1] * b[(k + 1) * columns + column] : 0;
          sum += addPair(a[row * inner + k] * b[k * columns + column], second);
        }
        c[row * columns + column] = static_cast<int32_t>(sum);
      }
  };
}

TEST(ByteProduct, AcceptsAnExactKernel) {
  auto product = makeProduct([](int32_t x, int32_t y) { return x + y; });
  EXPECT_TRUE(isExactByteProduct(product, 3, 65, 17));
  EXPECT_TRUE(isExactByteProduct(product, 1, 4607, 2));
}

TEST(ByteProduct, RefusesOneThatSaturatesPairs) {
  // 255 * 127 twice leaves 16 bits, as VPMADDUBSW saturates it.
  auto product = makeProduct([](int32_t x, int32_t y) { return std::clamp(x + y, -32768, 32767); });
  EXPECT_FALSE(isExactByteProduct(product, 3, 65, 17));
}

TEST(ByteProduct, RefusesOneThatSumsInFloat) {
  auto product = [](int64_t rows, int64_t inner, int64_t columns, const uint8_t *a, const int8_t *b, int32_t *c) {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        float sum = 0;
        for (int64_t k = 0; k < inner; ++k)
          sum += static_cast<float>(a[row * inner + k] * b[k * columns + column]);
        c[row * columns + column] = static_cast<int32_t>(sum);
      }
  };
  EXPECT_FALSE(isExactByteProduct(product, 1, 4607, 2));
}

TEST(ByteProduct, AnImplementationIsTestedOnceAndRemembered) {
  if (!isDnnlExact())
    GTEST_SKIP() << "no kernel of oneDNN is exact here, so none is tested further";
  int runs = 0;
  auto saturating = makeProduct([](int32_t x, int32_t y) { return std::clamp(x + y, -32768, 32767); });
  auto counted = [&](int64_t rows, int64_t inner, int64_t columns, const uint8_t *a, const int8_t *b, int32_t *c) {
    ++runs;
    saturating(rows, inner, columns, a, b, c);
  };
  EXPECT_FALSE(isTrustedImplementation("made up", counted, 2, 65, 3));
  EXPECT_GT(runs, 0);
  int before = runs;
  EXPECT_FALSE(isTrustedImplementation("made up", counted, 2, 65, 3));
  EXPECT_EQ(runs, before);
}

TEST(MultiplyExact, SumsTheLargestOperandsInBothWidths) {
  // 37 rows and columns leave remainders of every block.
  constexpr int64_t rows = 7, inner = 8192, columns = 37;
  std::vector<int16_t> a(rows * inner, -32768), b(inner * columns, -32768);
  std::vector<int64_t> wide(rows * columns);
  multiplyExact(rows, inner, columns, a.data(), b.data(), columns, wide.data(), columns);
  for (int64_t sum : wide)
    EXPECT_EQ(sum, inner << 30);
  std::fill(a.begin(), a.end(), int16_t(255));
  std::fill(b.begin(), b.end(), int16_t(-128));
  std::vector<int32_t> narrow(rows * columns);
  multiplyExact(rows, inner, columns, a.data(), b.data(), columns, narrow.data(), columns);
  for (int32_t sum : narrow)
    EXPECT_EQ(sum, -255 * 128 * inner);
}

TEST(IntegerKernel, HasAName) { EXPECT_NE(integerKernelName(), ""); }

} // namespace

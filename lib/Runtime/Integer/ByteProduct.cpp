#include "lib/Runtime/Integer/ByteProduct.h"
#include "lib/Runtime/Float/Dnnl.h"
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Interpreter.h"

#include "llvm/ADT/StringMap.h"
#include <array>
#include <mutex>
#include <vector>

namespace nibble::runtime {
namespace {

/// Rows and columns whose sums stay in registers.
constexpr int64_t rowBlock = 4, columnBlock = 32;

template <class Sum>
NIBBLE_INLINE inline void multiplyBlock(int64_t rows, int64_t inner, int64_t columns, const int16_t *a,
                                        const int16_t *b, int64_t leadingB, Sum *c, int64_t leadingC) {
  // Unsigned sums wrap without being undefined.
  using Wrapping = std::make_unsigned_t<Sum>;
  if (rows == rowBlock && columns == columnBlock) {
    Wrapping sums[rowBlock][columnBlock] = {};
    for (int64_t k = 0; k < inner; ++k)
      for (int64_t r = 0; r < rowBlock; ++r) {
        int32_t left = a[r * inner + k];
        for (int64_t n = 0; n < columnBlock; ++n)
          sums[r][n] += static_cast<Wrapping>(static_cast<Sum>(left * b[k * leadingB + n]));
      }
    for (int64_t r = 0; r < rowBlock; ++r)
      for (int64_t n = 0; n < columnBlock; ++n)
        c[r * leadingC + n] = static_cast<Sum>(sums[r][n]);
    return;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t n = 0; n < columns; ++n) {
      Wrapping sum = 0;
      for (int64_t k = 0; k < inner; ++k)
        sum += static_cast<Wrapping>(static_cast<Sum>(int32_t(a[r * inner + k]) * b[k * leadingB + n]));
      c[r * leadingC + n] = static_cast<Sum>(sum);
    }
}

} // namespace

template <class Sum>
void multiplyExact(int64_t rows, int64_t inner, int64_t columns, const int16_t *a, const int16_t *b, int64_t leadingB,
                   Sum *c, int64_t leadingC) {
  simd([=]() NIBBLE_INLINE {
    for (int64_t column = 0; column < columns; column += columnBlock)
      for (int64_t row = 0; row < rows; row += rowBlock)
        multiplyBlock(std::min(rowBlock, rows - row), inner, std::min(columnBlock, columns - column), a + row * inner,
                      b + column, leadingB, c + row * leadingC + column, leadingC);
  });
}
template void multiplyExact(int64_t, int64_t, int64_t, const int16_t *, const int16_t *, int64_t, int32_t *, int64_t);
template void multiplyExact(int64_t, int64_t, int64_t, const int16_t *, const int16_t *, int64_t, int64_t *, int64_t);

bool isExactByteProduct(ByteProduct product, int64_t rows, int64_t inner, int64_t columns) {
  std::vector<uint8_t> a(static_cast<size_t>(rows * inner));
  std::vector<int8_t> b(static_cast<size_t>(inner * columns));
  std::vector<int16_t> wideA(a.size()), wideB(b.size());
  std::vector<int32_t> c(static_cast<size_t>(rows * columns)), wanted(c.size());
  for (int pattern = 0; pattern < 4; ++pattern) {
    uint32_t state = 12345;
    auto coin = [&] { return (state = state * 1664525u + 1013904223u) >> 31; };
    for (size_t i = 0; i < a.size(); ++i)
      a[i] = pattern < 3 || coin() ? 255 : 0;
    for (size_t i = 0; i < b.size(); ++i) {
      size_t k = i / static_cast<size_t>(columns), n = i % static_cast<size_t>(columns);
      // One kind of sign for each column, pairs of equal signs that alternate, and any.
      bool isNegative = pattern == 0 ? n % 2 : pattern == 1 ? k / 2 % 2 : pattern == 2 ? k % 4 == 3 : coin();
      b[i] = isNegative ? -128 : 127;
    }
    // An odd sum of many bits has no exact float.
    a.back() = 254;
    std::copy(a.begin(), a.end(), wideA.begin());
    std::copy(b.begin(), b.end(), wideB.begin());
    multiplyExact(rows, inner, columns, wideA.data(), wideB.data(), columns, wanted.data(), columns);
    std::fill(c.begin(), c.end(), 0x55555555);
    product(rows, inner, columns, a.data(), b.data(), c.data());
    if (c != wanted)
      return false;
  }
  return true;
}

namespace {

struct DnnlKernel {
  bool isExact = true;
  std::string name;
};

const DnnlKernel &testDnnl() {
  static const DnnlKernel kernel = [] {
    DnnlKernel result;
    auto product = [&](int64_t rows, int64_t inner, int64_t columns, const uint8_t *a, const int8_t *b, int32_t *c) {
      using dnnl::memory;
      memory::desc source({rows, inner}, memory::data_type::u8, memory::format_tag::ab);
      memory::desc plain({inner, columns}, memory::data_type::s8, memory::format_tag::ab);
      memory::desc weights({inner, columns}, memory::data_type::s8, memory::format_tag::any);
      memory::desc target({rows, columns}, memory::data_type::s32, memory::format_tag::ab);
      dnnl::matmul::primitive_desc description(dnnl::matmul::desc(source, weights, target), dnnlAttributes(),
                                               dnnlEngine());
      result.name = description.impl_info_str();
      DnnlPrimitive primitive = DnnlPrimitive::make(description, false);
      PackedWeights packed = packWeights(plain, b, primitive.weights);
      primitive.run(a, packed.data.get(), nullptr, c);
    };
    for (std::array<int64_t, 3> size : {std::array<int64_t, 3>{1, 4607, 48}, {33, 4607, 48}, {96, 65, 80}}) {
      llvm::Error error = catchDnnl("its self-test", [&] {
        result.isExact &= isExactByteProduct(product, size[0], size[1], size[2]);
      });
      if (error) {
        llvm::consumeError(std::move(error));
        result.isExact = false;
      }
    }
    return result;
  }();
  return kernel;
}

} // namespace

bool isDnnlExact() { return testDnnl().isExact; }

bool isTrustedImplementation(llvm::StringRef name, ByteProduct product, int64_t rows, int64_t inner, int64_t columns) {
  const DnnlKernel &tested = testDnnl();
  if (name == tested.name || !tested.isExact)
    return tested.isExact;
  static std::mutex mutex;
  static llvm::StringMap<bool> known;
  std::lock_guard<std::mutex> lock(mutex);
  auto [at, isNew] = known.try_emplace(name, false);
  if (isNew)
    at->second = isExactByteProduct(product, rows, inner, columns);
  return at->second;
}

std::string integerKernelName() {
  const DnnlKernel &tested = testDnnl();
  if (!tested.isExact)
    return "nibble exact";
  llvm::StringRef unit = llvm::StringRef(tested.name).split(':').second;
  return "oneDNN u8s8 (" + (unit.empty() ? llvm::StringRef(tested.name) : unit).str() + ")";
}

} // namespace nibble::runtime

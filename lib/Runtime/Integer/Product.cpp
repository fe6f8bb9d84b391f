#include "lib/Runtime/Integer/Product.h"
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/ByteProduct.h"

#include <cstring>

namespace nibble::runtime {
namespace {

using dnnl::memory;

int64_t roundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

Planes planesOfLeft(ElementType type, bool exact) {
  if (exact)
    return {1, 2, {1, 0}, 0};
  if (type == ElementType::I16)
    return {2, 1, {256, 1}, -32768};
  return {1, 1, {1, 0}, -128};
}

Planes planesOfRight(ElementType type, bool exact) {
  if (exact)
    return {1, 2, {1, 0}, 0};
  if (type == ElementType::I16)
    return {2, 1, {256, 1}, 128};
  return {1, 1, {1, 0}, 0};
}

/// The high and the low byte less 128 of int16_t elements.
void splitRight(const int16_t *source, int64_t count, int8_t *high, int8_t *low) {
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i) {
      high[i] = static_cast<int8_t>(source[i] >> 8);
      low[i] = static_cast<int8_t>((source[i] & 255) - 128);
    }
  });
}

template <class T>
void sumColumns(const T *values, int64_t inner, int64_t columns, int64_t innerStride, int64_t columnStride,
                int64_t *sums) {
  parallelRanges(columns, columnStride == 1 ? 256 : 16, [&](int64_t begin, int64_t end) {
    simd([=]() NIBBLE_INLINE {
      if (columnStride == 1) {
        for (int64_t n = begin; n < end; ++n)
          sums[n] = 0;
        for (int64_t k = 0; k < inner; ++k) {
          NIBBLE_INDEPENDENT
          for (int64_t n = begin; n < end; ++n)
            sums[n] += values[k * innerStride + n];
        }
        return;
      }
      for (int64_t n = begin; n < end; ++n) {
        int64_t sum = 0;
        for (int64_t k = 0; k < inner; ++k)
          sum += values[k * innerStride + n * columnStride];
        sums[n] = sum;
      }
    });
  });
}

template <class T>
int64_t sumRow(const T *values, int64_t count) {
  int64_t result;
  int64_t *out = &result;
  simd([=]() NIBBLE_INLINE {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; ++i)
      sum += values[i];
    *out = sum;
  });
  return result;
}

} // namespace

Product::Product(const ProductShape &shape, bool exact, bool wide)
    : size(shape), exact(exact), wide(wide), left(planesOfLeft(shape.left, exact)),
      right(planesOfRight(shape.right, exact)) {
  chooseTiles();
}

void Product::chooseTiles() {
  // The left tile and its sums stay in the second cache level; rows in multiples of 32 fill the units.
  constexpr int64_t cacheBytes = 3 << 19;
  int64_t rowBytes = left.count * left.elementBytes * size.inner + size.columns * (wide ? 8 : 4);
  rowsPerTile = std::clamp<int64_t>(cacheBytes / rowBytes / 32 * 32, 32, 256);
  int64_t wantedRowTiles = std::max<int64_t>(1, 4 / size.batch);
  if (size.rows <= 32)
    rowsPerTile = size.rows;
  else
    rowsPerTile = std::min(rowsPerTile, roundUp((size.rows + wantedRowTiles - 1) / wantedRowTiles, 32));
  int64_t rowTiles = (size.rows + rowsPerTile - 1) / rowsPerTile;
  int64_t wanted = std::max<int64_t>(1, 4 / (rowTiles * size.batch));
  columnsPerTile = wanted == 1 ? size.columns : std::max<int64_t>(64, roundUp((size.columns + wanted - 1) / wanted, 64));
  if (!isDirect())
    columnsPerTile = std::min<int64_t>(columnsPerTile, 1024 / (left.count * right.count));
  columnsPerTile = std::min(columnsPerTile, size.columns);
}

memory::desc Product::plainRight(int64_t columns) const {
  return {{size.inner, columns}, memory::data_type::s8, memory::dims{size.innerStride, size.columnStride}};
}

void Product::makePrimitives() {
  llvm::SmallVector<int64_t, 2> rowSizes{std::min(rowsPerTile, size.rows)};
  if (int64_t rest = size.rows % rowsPerTile; rest && rest != rowSizes[0])
    rowSizes.push_back(rest);
  for (int64_t tile : {int64_t(0), columnTileCount() - 1}) {
    int64_t columns = columnsOf(tile);
    memory::desc &layout = layouts[columns];
    for (int64_t rows : rowSizes) {
      auto [at, isNew] = primitives.try_emplace({rows, columns});
      if (!isNew)
        continue;
      int64_t stacked = rows * left.count;
      memory::desc source({stacked, size.inner}, memory::data_type::u8, memory::dims{size.inner, 1});
      // The shorter last row of tiles reads the weights in the layout that the full tiles chose.
      memory::desc weights({size.inner, columns}, memory::data_type::s8, memory::format_tag::any);
      if (!layout.is_zero())
        weights = layout;
      memory::desc target({stacked, columns}, memory::data_type::s32,
                          memory::dims{isDirect() ? size.columns : columns, 1});
      dnnl::matmul::primitive_desc description(dnnl::matmul::desc(source, weights, target), dnnlAttributes(),
                                               dnnlEngine());
      at->second = {DnnlPrimitive::make(description, false), description.impl_info_str()};
      layout = at->second.primitive.weights;
    }
    packers.try_emplace(columns, plainRight(columns), layout);
  }
}

bool Product::verifyPrimitives() const {
  for (const auto &[key, made] : primitives) {
    int64_t rows = key.first * left.count, columns = key.second;
    auto product = [&, primitive = &made.primitive](int64_t, int64_t inner, int64_t, const uint8_t *a, const int8_t *b,
                                                    int32_t *c) {
      memory::desc plain({inner, columns}, memory::data_type::s8, memory::format_tag::ab);
      PackedWeights packed = packWeights(plain, b, primitive->weights);
      int64_t leading = isDirect() ? size.columns : columns;
      std::vector<int32_t> sums(static_cast<size_t>(rows * leading));
      primitive->run(a, packed.data.get(), nullptr, sums.data());
      for (int64_t row = 0; row < rows; ++row)
        std::copy_n(sums.data() + row * leading, columns, c + row * columns);
    };
    if (!isTrustedImplementation(made.name, product, rows, size.inner, columns))
      return false;
  }
  return true;
}

llvm::Expected<std::shared_ptr<const Product>> Product::create(const ProductShape &shape, bool forceExact) {
  bool wide = forceExact || shape.left == ElementType::I16;
  // Sums of bytes are exact in 32 bits up to this many products.
  constexpr int64_t longestInner = 65536;
  if (!forceExact && isDnnlExact() && shape.inner <= longestInner) {
    std::shared_ptr<Product> product(new Product(shape, false, wide));
    bool isTrusted = false;
    if (llvm::Error error = catchDnnl("matmul", [&] {
          product->makePrimitives();
          isTrusted = product->verifyPrimitives();
        }))
      return std::move(error);
    if (isTrusted)
      return product;
  }
  return std::shared_ptr<const Product>(new Product(shape, true, wide));
}

PackedRight Product::pack(const void *values, const Tensor &bias) const {
  PackedRight result;
  int64_t inner = size.inner, columns = size.columns;
  bool isBytes = size.right != ElementType::I16;
  std::vector<int64_t> sums(static_cast<size_t>(columns));
  if (isBytes)
    sumColumns(static_cast<const int8_t *>(values), inner, columns, size.innerStride, size.columnStride, sums.data());
  else
    sumColumns(static_cast<const int16_t *>(values), inner, columns, size.innerStride, size.columnStride, sums.data());
  llvm::SmallVector<int64_t> biases;
  if (bias)
    biases = bias.valuesAsInt64();
  int64_t leftOffset = left.offset - size.leftZero, rightOffset = right.offset - size.rightZero;
  result.columnTerms.resize(static_cast<size_t>(columns));
  for (size_t n = 0; n < result.columnTerms.size(); ++n)
    result.columnTerms[n] = leftOffset * (sums[n] - inner * right.offset) + inner * leftOffset * rightOffset +
                            (biases.empty() ? 0 : biases[biases.size() == 1 ? 0 : n]);
  if (exact) {
    result.values.resize(static_cast<size_t>(inner * columns));
    int16_t *to = result.values.data();
    parallelRanges(inner, std::max<int64_t>(1, 16384 / columns), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k)
        for (int64_t n = 0; n < columns; ++n) {
          int64_t from = k * size.innerStride + n * size.columnStride;
          to[k * columns + n] =
              isBytes ? static_cast<const int8_t *>(values)[from] : static_cast<const int16_t *>(values)[from];
        }
    });
    return result;
  }
  std::vector<int8_t> split;
  const int8_t *planes[2] = {static_cast<const int8_t *>(values), nullptr};
  if (!isBytes) {
    int64_t count = inner * columns;
    split.resize(static_cast<size_t>(2 * count));
    splitRight(static_cast<const int16_t *>(values), count, split.data(), split.data() + count);
    planes[0] = split.data();
    planes[1] = split.data() + count;
  }
  for (int64_t tile = 0; tile < columnTileCount(); ++tile)
    for (int plane = 0; plane < right.count; ++plane)
      result.tiles.push_back(
          packers.at(columnsOf(tile)).pack(planes[plane] + tile * columnsPerTile * size.columnStride));
  return result;
}

void Product::splitLeft(const void *source, int64_t count, std::array<void *, 2> planes) const {
  bool isBytes = size.left != ElementType::I16;
  if (exact) {
    auto *out = static_cast<int16_t *>(planes[0]);
    if (!isBytes) {
      std::memcpy(out, source, static_cast<size_t>(count) * sizeof(int16_t));
      return;
    }
    auto *in = static_cast<const int8_t *>(source);
    simd([=]() NIBBLE_INLINE {
      NIBBLE_INDEPENDENT
      for (int64_t i = 0; i < count; ++i)
        out[i] = in[i];
    });
    return;
  }
  auto *first = static_cast<uint8_t *>(planes[0]), *second = static_cast<uint8_t *>(planes[1]);
  if (isBytes) {
    auto *in = static_cast<const uint8_t *>(source);
    simd([=]() NIBBLE_INLINE {
      NIBBLE_INDEPENDENT
      for (int64_t i = 0; i < count; ++i)
        first[i] = in[i] ^ 128;
    });
    return;
  }
  auto *in = static_cast<const uint16_t *>(source);
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i) {
      first[i] = static_cast<uint8_t>(in[i] >> 8) ^ 128;
      second[i] = static_cast<uint8_t>(in[i]);
    }
  });
}

std::array<int16_t, 2> Product::leftZeroBytes() const {
  if (exact)
    return {static_cast<int16_t>(size.leftZero), 0};
  int64_t shifted = size.leftZero - left.offset;
  if (left.count == 1)
    return {static_cast<int16_t>(shifted), 0};
  return {static_cast<int16_t>(shifted >> 8), static_cast<int16_t>(shifted & 255)};
}

void Product::compute(int64_t rows, int64_t tile, const void *leftData, const PackedRight &rightData,
                      void *sums) const {
  int64_t columns = columnsOf(tile), first = tile * columnsPerTile;
  if (exact) {
    auto *a = static_cast<const int16_t *>(leftData);
    const int16_t *b = rightData.values.data() + first;
    if (wide)
      multiplyExact(rows, size.inner, columns, a, b, size.columns, static_cast<int64_t *>(sums) + first, size.columns);
    else
      multiplyExact(rows, size.inner, columns, a, b, size.columns, static_cast<int32_t *>(sums) + first, size.columns);
    addTerms(rows, tile, leftData, nullptr, rightData, sums);
    return;
  }
  const DnnlPrimitive &primitive = primitives.at({rows, columns}).primitive;
  int64_t planeSize = left.count * rows * columns;
  int32_t *raw = static_cast<int32_t *>(sums) + first;
  if (!isDirect())
    raw = static_cast<int32_t *>(threadScratch(2, static_cast<size_t>(right.count * planeSize) * sizeof(int32_t)));
  for (int plane = 0; plane < right.count; ++plane)
    primitive.run(leftData, rightData.tiles[static_cast<size_t>(tile * right.count + plane)].data.get(), nullptr,
                  raw + plane * planeSize);
  addTerms(rows, tile, leftData, raw, rightData, sums);
}

void Product::addTerms(int64_t rows, int64_t tile, const void *leftData, const int32_t *raw,
                       const PackedRight &rightData, void *sums) const {
  int64_t columns = columnsOf(tile), first = tile * columnsPerTile, leading = size.columns;
  int64_t rightOffset = right.offset - size.rightZero, planeRows = rows * columns;
  const int64_t *terms = rightData.columnTerms.data() + first;
  llvm::SmallVector<int64_t, 128> rowTerms(static_cast<size_t>(rows), 0);
  for (int64_t row = 0; rightOffset && row < rows; ++row) {
    int64_t rowTerm = 0;
    for (int p = 0; p < left.count; ++p) {
      int64_t at = (p * rows + row) * size.inner;
      rowTerm += left.factors[static_cast<size_t>(p)] *
                 (exact ? sumRow(static_cast<const int16_t *>(leftData) + at, size.inner)
                        : sumRow(static_cast<const uint8_t *>(leftData) + at, size.inner));
    }
    rowTerms[static_cast<size_t>(row)] = rowTerm * rightOffset;
  }
  const int64_t *termsOfRows = rowTerms.data();
  if (!wide) {
    int32_t *out = static_cast<int32_t *>(sums) + first;
    simd([=]() NIBBLE_INLINE {
      for (int64_t row = 0; row < rows; ++row) {
        int32_t *line = out + row * leading;
        auto rowTerm = static_cast<uint32_t>(termsOfRows[row]);
        NIBBLE_INDEPENDENT
        for (int64_t n = 0; n < columns; ++n)
          line[n] = static_cast<int32_t>(static_cast<uint32_t>(line[n]) + static_cast<uint32_t>(terms[n]) + rowTerm);
      }
    });
    return;
  }
  for (int64_t row = 0; row < rows; ++row) {
    int64_t rowTerm = termsOfRows[row];
    int64_t *out = static_cast<int64_t *>(sums) + row * leading + first;
    if (!raw) {
      simd([=]() NIBBLE_INLINE {
        NIBBLE_INDEPENDENT
        for (int64_t n = 0; n < columns; ++n)
          out[n] += terms[n] + rowTerm;
      });
      continue;
    }
    const int32_t *high = raw + row * columns, *low = high + planeRows;
    if (right.count == 1) {
      simd([=]() NIBBLE_INLINE {
        NIBBLE_INDEPENDENT
        for (int64_t n = 0; n < columns; ++n)
          out[n] = int64_t(high[n]) * 256 + low[n] + (terms[n] + rowTerm);
      });
      continue;
    }
    const int32_t *highLow = high + 2 * planeRows, *lowLow = low + 2 * planeRows;
    simd([=]() NIBBLE_INLINE {
      NIBBLE_INDEPENDENT
      for (int64_t n = 0; n < columns; ++n)
        out[n] = int64_t(high[n]) * 65536 + (int64_t(low[n]) + highLow[n]) * 256 + lowLow[n] + (terms[n] + rowTerm);
    });
  }
}

} // namespace nibble::runtime

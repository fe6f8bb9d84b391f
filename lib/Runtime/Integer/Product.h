//===- Product.h - exact products of integer matrices ----------------------===//
//
// An element of 16 bits is two bytes, x = 256 high + low, so every product is a sum of
// products of unsigned by signed bytes, each exact in 32 bits. What offsets and zero
// points add is a constant of each column and, for some types, a multiple of the sum of
// each row.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_INTEGER_PRODUCT_H
#define NIBBLE_RUNTIME_INTEGER_PRODUCT_H

#include "lib/Runtime/Float/Dnnl.h"
#include "lib/Support/Tensor.h"
#include <array>
#include <map>

namespace nibble::runtime {

/// An operand as a sum of planes: x = factors[0] * plane 0 + factors[1] * plane 1 + offset.
struct Planes {
  int count = 1;
  /// 1 for bytes, 2 for int16_t.
  int64_t elementBytes = 1;
  std::array<int64_t, 2> factors{1, 0};
  int64_t offset = 0;
};

struct ProductShape {
  /// Matrices that are multiplied with as many rows each, which only the choice of tiles depends on.
  int64_t batch;
  int64_t rows, inner, columns;
  ElementType left, right;
  int64_t leftZero = 0, rightZero = 0;
  /// Elements of the right operand between neighbours along the inner dimension and along columns.
  int64_t innerStride, columnStride;
};

/// The right operand in the kernel's layout.
struct PackedRight {
  /// By column tile and plane.
  std::vector<PackedWeights> tiles;
  /// The same for the own kernel: [inner, columns].
  std::vector<int16_t> values;
  /// What is added to every row of a column: zero points, offsets and the bias.
  std::vector<int64_t> columnTerms;
};

/// sum over k of (left[row, k] - leftZero) (right[k, column] - rightZero) + bias[column], in 32 bits for operands
/// of 8 bits and in 64 else.
class Product {
public:
  /// `forceExact` takes the own kernel, with sums in 64 bits for all types.
  static llvm::Expected<std::shared_ptr<const Product>> create(const ProductShape &shape, bool forceExact = false);

  const ProductShape &shape() const { return size; }
  bool isWide() const { return wide; }
  const Planes &leftPlanes() const { return left; }

  /// `right` has elements of 8 (also for I4) or of 16 bits. `bias` is empty or has 1 or `columns` elements.
  PackedRight pack(const void *right, const Tensor &bias) const;

  /// Brings `count` elements of the left operand into planes, which hold `elementBytes` for each.
  void splitLeft(const void *source, int64_t count, std::array<void *, 2> planes) const;
  /// The bytes of the zero point in every plane.
  std::array<int16_t, 2> leftZeroBytes() const;

  int64_t rowTile() const { return rowsPerTile; }
  int64_t columnTile() const { return columnsPerTile; }
  int64_t columnTileCount() const { return (size.columns + columnsPerTile - 1) / columnsPerTile; }
  /// Computes columns of tile `tile` for `rows` rows, at most rowTile(), on the calling thread; throws dnnl::error.
  /// The planes of `leftData` follow each other, [planes, rows, inner]. `sums` is [rows, columns] of int32_t or
  /// int64_t. Uses scratch slot 2.
  void compute(int64_t rows, int64_t tile, const void *leftData, const PackedRight &right, void *sums) const;

private:
  Product(const ProductShape &shape, bool exact, bool wide);
  void chooseTiles();
  void makePrimitives();
  bool verifyPrimitives() const;
  int64_t columnsOf(int64_t tile) const { return std::min(columnsPerTile, size.columns - tile * columnsPerTile); }
  bool isDirect() const { return left.count == 1 && right.count == 1; }
  dnnl::memory::desc plainRight(int64_t columns) const;
  void addTerms(int64_t rows, int64_t tile, const void *leftData, const int32_t *raw, const PackedRight &right,
                void *sums) const;

  ProductShape size;
  bool exact, wide;
  Planes left, right;
  int64_t rowsPerTile = 1, columnsPerTile = 1;
  struct Made {
    DnnlPrimitive primitive;
    std::string name;
  };
  /// By rows and columns of a tile.
  std::map<std::pair<int64_t, int64_t>, Made> primitives;
  /// By columns of a tile.
  std::map<int64_t, dnnl::memory::desc> layouts;
  std::map<int64_t, WeightPacker> packers;
};

} // namespace nibble::runtime

#endif

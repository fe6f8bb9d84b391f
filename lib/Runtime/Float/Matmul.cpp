//===- Matmul.cpp - MatMul and Gemm ----------------------------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Runtime/Float/Broadcast.h"
#include "lib/Runtime/Float/Dnnl.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/MatrixOperand.h"

#include <map>

namespace nibble::runtime {
namespace {

int64_t roundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/// Tiles of a matrix product: whole row ranges where there are enough rows, else column ranges as well.
struct MatrixTiles {
  int64_t rows, columns, rowTile, columnTile;

  MatrixTiles(int64_t rows, int64_t columns) : rows(rows), columns(columns) {
    rowTile = rows <= 32 ? std::max<int64_t>(rows, 1) : std::min<int64_t>(128, roundUp((rows + 3) / 4, 32));
    int64_t wanted = std::max<int64_t>(1, 4 / rowCount());
    columnTile = std::max<int64_t>(64, roundUp((columns + wanted - 1) / wanted, 64));
  }
  int64_t rowCount() const { return (rows + rowTile - 1) / rowTile; }
  int64_t columnCount() const { return (columns + columnTile - 1) / columnTile; }
  int64_t count() const { return rowCount() * columnCount(); }
  struct Tile {
    int64_t row, column, rows, columns;
  };
  Tile tile(int64_t index) const {
    int64_t row = index % rowCount() * rowTile, column = index / rowCount() * columnTile;
    return {row, column, std::min(rowTile, rows - row), std::min(columnTile, columns - column)};
  }
};

/// X[rows, inner] times a constant matrix that oneDNN has packed once, plus an optional bias per column.
class PackedProduct {
public:
  /// `weights` is [inner, columns], or [columns, inner] where transposed. Throws dnnl::error.
  PackedProduct(int64_t rows, int64_t inner, int64_t columns, const float *weights, bool transposed, bool hasBias)
      : tiles(rows, columns), inner(inner), hasBias(hasBias) {
    using dnnl::memory;
    for (int64_t index = 0; index < tiles.count(); ++index) {
      MatrixTiles::Tile tile = tiles.tile(index);
      bool isNewColumn = tile.row == 0;
      auto key = std::make_pair(tile.rows, tile.columns);
      auto [at, isNew] = primitives.try_emplace(key);
      if (isNew) {
        memory::desc source({tile.rows, inner}, memory::data_type::f32, memory::dims{inner, 1});
        memory::desc target({tile.rows, tile.columns}, memory::data_type::f32, memory::dims{columns, 1});
        // The shorter last row of tiles reads the weights in the layout that the full tiles chose.
        memory::desc weight({inner, tile.columns}, memory::data_type::f32, memory::format_tag::any);
        if (!isNewColumn)
          weight = packed.back().description;
        memory::desc bias({1, tile.columns}, memory::data_type::f32, memory::format_tag::ab);
        dnnl::matmul::desc description = hasBias ? dnnl::matmul::desc(source, weight, bias, target)
                                                 : dnnl::matmul::desc(source, weight, target);
        at->second =
            DnnlPrimitive::make(dnnl::matmul::primitive_desc(description, dnnlAttributes(), dnnlEngine()), hasBias);
      }
      if (isNewColumn) {
        memory::dims strides = transposed ? memory::dims{1, inner} : memory::dims{columns, 1};
        memory::desc plain({inner, tile.columns}, memory::data_type::f32, strides);
        packed.push_back(packWeights(plain, weights + tile.column * (transposed ? inner : 1), at->second.weights));
      }
    }
  }

  void run(const float *source, const float *bias, float *target) const {
    parallelFor(tiles.count(), [&](int64_t index) {
      MatrixTiles::Tile tile = tiles.tile(index);
      const PackedWeights &weights = packed[static_cast<size_t>(index / tiles.rowCount())];
      primitives.at({tile.rows, tile.columns})
          .run(source + tile.row * inner, weights.data.get(), hasBias ? bias + tile.column : nullptr,
               target + tile.row * tiles.columns + tile.column);
    });
  }

private:
  MatrixTiles tiles;
  int64_t inner;
  bool hasBias;
  std::map<std::pair<int64_t, int64_t>, DnnlPrimitive> primitives;
  std::vector<PackedWeights> packed;
};

/// A packed product as a kernel. Operand 2, where used, is the bias.
llvm::Expected<Kernel> makePackedProduct(const NodeSpec &spec, int64_t rows, int64_t inner, int64_t columns,
                                         bool transposed, bool hasBias) {
  std::shared_ptr<PackedProduct> product;
  if (llvm::Error error = catchDnnl(spec.op->getName().getStringRef(), [&] {
        product = std::make_shared<PackedProduct>(rows, inner, columns, spec.operands[1].constant.data<float>(),
                                                  transposed, hasBias);
      }))
    return std::move(error);
  Kernel kernel;
  kernel.run = [product, hasBias](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    return catchDnnl("matmul", [&] {
      product->run(operands[0].data<float>(), hasBias ? operands[2].data<float>() : nullptr,
                   results[0].mutableData<float>());
    });
  };
  return kernel;
}

template <class T>
Kernel makePlainProduct(const BatchedProduct &product) {
  Kernel kernel;
  kernel.run = [product](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const T *a = operands[0].data<T>(), *b = operands[1].data<T>();
    T *c = results[0].mutableData<T>();
    // Integers wrap, as in every runtime of ONNX.
    using Sum = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
    parallelRanges(product.batch * product.rows, 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        size_t entry = static_cast<size_t>(row / product.rows);
        const T *left = a + product.a.offsets[entry] + row % product.rows * product.inner;
        const T *right = b + product.b.offsets[entry];
        for (int64_t column = 0; column < product.columns; ++column) {
          Sum sum = 0;
          for (int64_t k = 0; k < product.inner; ++k)
            sum += static_cast<Sum>(left[k]) * static_cast<Sum>(right[k * product.columns + column]);
          c[row * product.columns + column] = static_cast<T>(sum);
        }
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeMatMul(const NodeSpec &spec) {
  BatchedProduct product(spec.operands[0], spec.operands[1], spec.results[0]);
  bool isEmpty = spec.results[0].elementCount() == 0 || product.inner == 0;
  if (spec.operands[0].type != ElementType::F32 || isEmpty) {
    Kernel kernel;
    if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
          kernel = makePlainProduct<decltype(tag)>(product);
        }))
      return std::move(error);
    return kernel;
  }
  bool isPlain = spec.operands[0].strides.empty() && spec.results[0].strides.empty() && spec.factor == 1;
  if (product.batch == 1 && spec.operands[1].constant && isPlain)
    return makePackedProduct(spec, product.rows, product.inner, product.columns, product.b.isTransposed,
                             spec.has(2));
  Kernel kernel;
  kernel.run = [product, factor = spec.factor](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *a = operands[0].data<float>(), *b = operands[1].data<float>();
    float *c = results[0].mutableData<float>();
    MatrixTiles tiles(product.rows, product.columns);
    // Enough entries to share: one tile for each.
    if (product.batch >= 8)
      tiles.rowTile = product.rows, tiles.columnTile = product.columns;
    parallelFor(product.batch * tiles.count(), [&](int64_t index) {
      size_t entry = static_cast<size_t>(index / tiles.count());
      MatrixTiles::Tile tile = tiles.tile(index % tiles.count());
      multiplyMatrices(product.a.isTransposed, product.b.isTransposed, tile.rows, tile.columns, product.inner, factor,
                       a + product.a.offsets[entry] + product.a.rowOffset(tile.row), product.a.leading,
                       b + product.b.offsets[entry] + product.b.columnOffset(tile.column), product.b.leading, 0,
                       c + product.c.offsets[entry] + product.c.rowOffset(tile.row) + tile.column, product.c.leading);
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeGemm(const NodeSpec &spec) {
  auto op = llvm::cast<nn::GemmOp>(spec.op);
  bool transA = op.getTransA(), transB = op.getTransB(), hasC = spec.has(2);
  float alpha = op.getAlpha().convertToFloat(), beta = op.getBeta().convertToFloat();
  if (spec.results[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.results[0].type) + " has no kernel; float32 has");
  const Shape &a = spec.operands[0].shape;
  int64_t rows = spec.results[0].shape[0], columns = spec.results[0].shape[1], inner = a[transA ? 0 : 1];
  bool isRowBias = hasC && spec.operands[2].elementCount() == columns && spec.operands[2].shape.back() == columns;
  if (!transA && spec.operands[1].constant && alpha == 1 && (!hasC || (isRowBias && beta == 1)) && rows * inner > 0)
    return makePackedProduct(spec, rows, inner, columns, transB, hasC);

  BroadcastPlan<1> plan(spec.results[0].shape, {hasC ? llvm::ArrayRef<int64_t>(spec.operands[2].shape)
                                                     : llvm::ArrayRef<int64_t>()});
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *a = operands[0].data<float>(), *b = operands[1].data<float>();
    const float *c = hasC ? operands[2].data<float>() : nullptr;
    float *out = results[0].mutableData<float>();
    // The result starts as beta * C, so that the product can add to it.
    plan.run(elementwiseTile, [=, step = plan.innerStride(0)](const std::array<int64_t, 1> &offsets, int64_t at,
                                                              int64_t count) NIBBLE_INLINE {
      for (int64_t i = 0; i < count; ++i)
        out[at + i] = c ? beta * c[offsets[0] + i * step] : 0;
    });
    if (inner == 0)
      return llvm::Error::success();
    MatrixTiles tiles(rows, columns);
    parallelFor(rows * columns == 0 ? 0 : tiles.count(), [&](int64_t index) {
      MatrixTiles::Tile tile = tiles.tile(index);
      multiplyMatrices(transA, transB, tile.rows, tile.columns, inner, alpha,
                       a + (transA ? tile.row : tile.row * inner), transA ? rows : inner,
                       b + (transB ? tile.column * inner : tile.column), transB ? inner : columns, 1,
                       out + tile.row * columns + tile.column, columns);
    });
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace

void registerMatmulKernels(KernelRegistry &registry) {
  registry["nn.matmul"] = makeMatMul;
  registry["nn.gemm"] = makeGemm;
}

} // namespace nibble::runtime

//===- FusedAttention.cpp - softmax(Q K + mask) V without storing scores ----===//
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Runtime/Float/Dnnl.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/MatrixOperand.h"
#include "lib/Runtime/Float/Sums.h"

namespace nibble::runtime {
namespace {

/// Rows of the mask for a tile: strides 0 where the mask repeats.
struct Mask {
  llvm::SmallVector<int64_t> offsets;
  int64_t rowStride = 0, columnStride = 0;

  Mask() = default;
  Mask(const ValueSpec &spec, llvm::ArrayRef<int64_t> batch) {
    Shape shape = spec.shape;
    while (shape.size() < 2)
      shape.insert(shape.begin(), 1);
    Shape strides = rowMajorStrides(shape);
    size_t rank = shape.size();
    rowStride = shape[rank - 2] == 1 ? 0 : strides[rank - 2];
    columnStride = shape[rank - 1] == 1 ? 0 : 1;
    ValueSpec padded{spec.type, shape, {}};
    offsets = describeMatrix(padded, batch).offsets;
  }
};

} // namespace

llvm::Expected<Kernel> makeFusedAttention(const NodeSpec &spec) {
  const ValueSpec &query = spec.operands[0], &keys = spec.operands[1], &values = spec.operands[3];
  size_t rank = query.shape.size();
  llvm::ArrayRef<int64_t> batch = llvm::ArrayRef(query.shape).drop_back(2);
  int64_t rows = query.shape[rank - 2], inner = query.shape[rank - 1], keyCount = keys.shape[rank - 1];
  int64_t columns = values.shape[rank - 1], entries = elementCount(batch);
  MatrixOperand a = describeMatrix(query, batch), b = describeMatrix(keys, batch), v = describeMatrix(values, batch);
  MatrixOperand c = describeMatrix(spec.results[0], batch);
  bool hasMask = spec.has(2);
  Mask mask = hasMask ? Mask(spec.operands[2], batch) : Mask();
  float factor = spec.factor;
  constexpr int64_t rowTile = 64;
  int64_t tiles = (rows + rowTile - 1) / rowTile;
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *queryData = operands[0].data<float>(), *keyData = operands[1].data<float>();
    const float *maskData = hasMask ? operands[2].data<float>() : nullptr, *valueData = operands[3].data<float>();
    float *out = results[0].mutableData<float>();
    parallelFor(entries * tiles, [&](int64_t index) {
      size_t entry = static_cast<size_t>(index / tiles);
      int64_t begin = index % tiles * rowTile, count = std::min(rowTile, rows - begin);
      auto *scores = static_cast<float *>(threadScratch(1, static_cast<size_t>(count * keyCount) * sizeof(float)));
      multiplyMatrices(a.isTransposed, b.isTransposed, count, keyCount, inner, factor,
                       queryData + a.offsets[entry] + a.rowOffset(begin), a.leading, keyData + b.offsets[entry],
                       b.leading, 0, scores, keyCount);
      simd([=, &mask]() NIBBLE_INLINE {
        for (int64_t i = 0; i < count; ++i) {
          float *row = scores + i * keyCount;
          if (maskData) {
            const float *added = maskData + mask.offsets[entry] + (begin + i) * mask.rowStride;
            if (mask.columnStride)
              for (int64_t k = 0; k < keyCount; ++k)
                row[k] += added[k];
            else
              for (int64_t k = 0; k < keyCount; ++k)
                row[k] += added[0];
          }
          softmaxRow(row, row, keyCount);
        }
      });
      multiplyMatrices(false, v.isTransposed, count, columns, keyCount, 1, scores, keyCount,
                       valueData + v.offsets[entry], v.leading, 0, out + c.offsets[entry] + c.rowOffset(begin),
                       c.leading);
    });
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace nibble::runtime

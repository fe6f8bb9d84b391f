//===- Indexing.cpp - operators that move elements by index tensors --------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Movement.h"
#include "lib/Runtime/Float/Simd.h"

#include <cstring>

namespace nibble::runtime {
namespace {

/// The values of an index tensor, counted from the front. Errors: BadInput where one is outside [-size, size).
llvm::Expected<llvm::SmallVector<int64_t>> readIndices(const Tensor &tensor, int64_t size, llvm::StringRef what) {
  llvm::SmallVector<int64_t> indices = tensor.valuesAsInt64();
  for (int64_t &index : indices) {
    if (index < -size || index >= size)
      return makeError(ErrorKind::BadInput, what + " has index " + llvm::Twine(index) + " into a dimension of " +
                                                llvm::Twine(size));
    if (index < 0)
      index += size;
  }
  return indices;
}

llvm::Expected<Kernel> makeGather(const NodeSpec &spec) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  const Shape &data = spec.operands[0].shape;
  int64_t rank = static_cast<int64_t>(data.size());
  int64_t axis = normalizeAxis(static_cast<int64_t>(llvm::cast<nn::GatherOp>(spec.op).getAxis()), rank);
  int64_t outer = dimensionProduct(data, 0, axis), size = data[static_cast<size_t>(axis)];
  int64_t rowBytes = dimensionProduct(data, axis + 1, rank) * bitWidth(spec.results[0].type) / 8;
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    llvm::Expected<llvm::SmallVector<int64_t>> indices = readIndices(operands[1], size, "gather");
    if (!indices)
      return indices.takeError();
    const char *from = static_cast<const char *>(operands[0].raw());
    char *to = static_cast<char *>(results[0].mutableRaw());
    int64_t count = static_cast<int64_t>(indices->size());
    parallelRanges(outer * count, (128 << 10) / std::max<int64_t>(rowBytes, 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        std::memcpy(to + row * rowBytes,
                    from + (row / count * size + (*indices)[static_cast<size_t>(row % count)]) * rowBytes,
                    static_cast<size_t>(rowBytes));
    });
    return llvm::Error::success();
  };
  return kernel;
}

/// For every element of an index tensor along `axis` of `data`: the element of `data` that it means.
llvm::Expected<llvm::SmallVector<int64_t>> elementOffsets(const Tensor &indexTensor, const Shape &data, int64_t axis,
                                                          llvm::StringRef what) {
  llvm::Expected<llvm::SmallVector<int64_t>> indices =
      readIndices(indexTensor, data[static_cast<size_t>(axis)], what);
  if (!indices)
    return indices.takeError();
  Shape strides = rowMajorStrides(data);
  llvm::ArrayRef<int64_t> shape = indexTensor.shape();
  for (size_t i = 0; i < indices->size(); ++i) {
    int64_t rest = static_cast<int64_t>(i), offset = 0;
    for (size_t d = shape.size(); d-- > 0;) {
      offset += (static_cast<int64_t>(d) == axis ? (*indices)[i] : rest % shape[d]) * strides[d];
      rest /= shape[d];
    }
    (*indices)[i] = offset;
  }
  return indices;
}

llvm::Expected<Kernel> makeGatherElements(const NodeSpec &spec) {
  Shape data = spec.operands[0].shape;
  int64_t axis = normalizeAxis(static_cast<int64_t>(llvm::cast<nn::GatherElementsOp>(spec.op).getAxis()),
                               static_cast<int64_t>(data.size()));
  Kernel kernel;
  if (llvm::Error error = dispatchBytes(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
          llvm::Expected<llvm::SmallVector<int64_t>> offsets =
              elementOffsets(operands[1], data, axis, "gather_elements");
          if (!offsets)
            return offsets.takeError();
          const T *x = static_cast<const T *>(operands[0].raw());
          T *y = static_cast<T *>(results[0].mutableRaw());
          for (size_t i = 0; i < offsets->size(); ++i)
            y[i] = x[(*offsets)[i]];
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

/// Offsets in elements of the slices that rows of an index tensor name, behind `batchDims` shared dimensions.
llvm::Expected<llvm::SmallVector<int64_t>> sliceOffsets(const Tensor &indexTensor, const Shape &data, int64_t batchDims,
                                                        llvm::StringRef what) {
  llvm::SmallVector<int64_t> indices = indexTensor.valuesAsInt64(), offsets;
  Shape strides = rowMajorStrides(data);
  int64_t depth = indexTensor.shape().back();
  int64_t rows = dimensionProduct(indexTensor.shape(), 0, indexTensor.rank() - 1);
  int64_t batch = dimensionProduct(data, 0, batchDims), rowsPerBatch = batch ? rows / batch : 0;
  int64_t batchStride = dimensionProduct(data, batchDims, static_cast<int64_t>(data.size()));
  for (int64_t row = 0; row < rows; ++row) {
    int64_t offset = row / std::max<int64_t>(rowsPerBatch, 1) * batchStride;
    for (int64_t k = 0; k < depth; ++k) {
      size_t dim = static_cast<size_t>(batchDims + k);
      int64_t index = indices[static_cast<size_t>(row * depth + k)];
      if (index < -data[dim] || index >= data[dim])
        return makeError(ErrorKind::BadInput, what + " has index " + llvm::Twine(index) + " into a dimension of " +
                                                  llvm::Twine(data[dim]));
      offset += (index < 0 ? index + data[dim] : index) * strides[dim];
    }
    offsets.push_back(offset);
  }
  return offsets;
}

llvm::Expected<Kernel> makeGatherND(const NodeSpec &spec) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  Shape data = spec.operands[0].shape;
  int64_t batchDims = static_cast<int64_t>(llvm::cast<nn::GatherNDOp>(spec.op).getBatchDims());
  int64_t elementBytes = bitWidth(spec.results[0].type) / 8;
  int64_t sliceBytes = dimensionProduct(data, batchDims + spec.operands[1].shape.back(),
                                        static_cast<int64_t>(data.size())) * elementBytes;
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    llvm::Expected<llvm::SmallVector<int64_t>> offsets = sliceOffsets(operands[1], data, batchDims, "gather_nd");
    if (!offsets)
      return offsets.takeError();
    const char *from = static_cast<const char *>(operands[0].raw());
    char *to = static_cast<char *>(results[0].mutableRaw());
    for (size_t i = 0; i < offsets->size(); ++i)
      std::memcpy(to + static_cast<int64_t>(i) * sliceBytes, from + (*offsets)[i] * elementBytes,
                  static_cast<size_t>(sliceBytes));
    return llvm::Error::success();
  };
  return kernel;
}

enum class Reduction { None, Add, Mul, Max, Min };

std::optional<Reduction> parseReduction(llvm::StringRef name) {
  if (name == "none")
    return Reduction::None;
  if (name == "add")
    return Reduction::Add;
  if (name == "mul")
    return Reduction::Mul;
  if (name == "max")
    return Reduction::Max;
  if (name == "min")
    return Reduction::Min;
  return std::nullopt;
}

template <class T>
T reduceInto(T old, T update, Reduction reduction) {
  using W = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;
  switch (reduction) {
  case Reduction::None: return update;
  case Reduction::Add: return static_cast<T>(static_cast<W>(old) + static_cast<W>(update));
  case Reduction::Mul: return static_cast<T>(static_cast<W>(old) * static_cast<W>(update));
  case Reduction::Max: return update > old || update != update ? update : old;
  case Reduction::Min: return update < old || update != update ? update : old;
  }
  return update;
}

/// Copies the data and scatters runs of `runLength` updates to the offsets that `findOffsets` reads.
template <class Find>
llvm::Expected<Kernel> makeScatter(const NodeSpec &spec, llvm::StringRef reductionName, int64_t runLength,
                                   Find findOffsets) {
  std::optional<Reduction> reduction = parseReduction(reductionName);
  if (!reduction)
    return spec.unsupported("reduction is '" + reductionName + "'; 'none', 'add', 'mul', 'max' and 'min' are known");
  Kernel kernel;
  auto make = [&](auto tag) {
    using T = decltype(tag);
    kernel.run = [=, reduction = *reduction](llvm::ArrayRef<Tensor> operands,
                                             llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
      llvm::Expected<llvm::SmallVector<int64_t>> offsets = findOffsets(operands[1]);
      if (!offsets)
        return offsets.takeError();
      const T *updates = static_cast<const T *>(operands[2].raw());
      T *y = static_cast<T *>(results[0].mutableRaw());
      if (y != operands[0].raw())
        std::memcpy(y, operands[0].raw(), static_cast<size_t>(results[0].byteSize()));
      for (size_t i = 0; i < offsets->size(); ++i)
        for (int64_t k = 0; k < runLength; ++k) {
          T &place = y[(*offsets)[i] + k];
          place = reduceInto(place, updates[static_cast<int64_t>(i) * runLength + k], reduction);
        }
      return llvm::Error::success();
    };
  };
  llvm::Error error = *reduction == Reduction::None ? dispatchBytes(spec, spec.results[0].type, make)
                                                    : dispatchNumeric(spec, spec.results[0].type, make);
  if (error)
    return std::move(error);
  kernel.overwritable = {0};
  return kernel;
}

llvm::Expected<Kernel> makeScatterND(const NodeSpec &spec) {
  Shape data = spec.operands[0].shape;
  int64_t runLength = dimensionProduct(data, spec.operands[1].shape.back(), static_cast<int64_t>(data.size()));
  return makeScatter(spec, llvm::cast<nn::ScatterNDOp>(spec.op).getReduction(), runLength,
                     [data](const Tensor &indices) { return sliceOffsets(indices, data, 0, "scatter_nd"); });
}

llvm::Expected<Kernel> makeScatterElements(const NodeSpec &spec) {
  auto op = llvm::cast<nn::ScatterElementsOp>(spec.op);
  Shape data = spec.operands[0].shape;
  int64_t axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), static_cast<int64_t>(data.size()));
  return makeScatter(spec, op.getReduction(), 1, [data, axis](const Tensor &indices) {
    return elementOffsets(indices, data, axis, "scatter_elements");
  });
}

} // namespace

void registerIndexingKernels(KernelRegistry &registry) {
  registry["nn.gather"] = makeGather;
  registry["nn.gather_elements"] = makeGatherElements;
  registry["nn.gather_nd"] = makeGatherND;
  registry["nn.scatter_nd"] = makeScatterND;
  registry["nn.scatter_elements"] = makeScatterElements;
}

} // namespace nibble::runtime

//===- Movement.cpp - operators that move elements by fixed rules ----------===//
#include "lib/Runtime/Float/Movement.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/BlockTranspose.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Simd.h"

#include <cstring>

namespace nibble::runtime {

StridedCopy::StridedCopy(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> sourceStrides, int64_t sourceOffset)
    : offset(sourceOffset) {
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    if (shape[dim] == 1)
      continue;
    if (!sizes.empty() && strides.back() == shape[dim] * sourceStrides[dim]) {
      sizes.back() *= shape[dim];
      strides.back() = sourceStrides[dim];
    } else {
      sizes.push_back(shape[dim]);
      strides.push_back(sourceStrides[dim]);
    }
  }
  if (sizes.empty()) {
    sizes.push_back(elementCount(shape));
    strides.push_back(1);
  }
}

namespace {

/// Square pieces of a transposition whose rows and columns both stay in the first cache level.
constexpr int64_t transposeBlock = 32;

template <class T>
void transposePlane(const T *source, int64_t sourceStride, T *target, int64_t rows, int64_t columns) {
  // target[r][c] = source[c * sourceStride + r]
  if constexpr (sizeof(T) == sizeof(float)) {
    simd([=]() NIBBLE_INLINE {
      transposeFloats(reinterpret_cast<const float *>(source), sourceStride, reinterpret_cast<float *>(target), columns,
                      rows, columns);
    });
    return;
  }
  for (int64_t r0 = 0; r0 < rows; r0 += transposeBlock)
    for (int64_t c0 = 0; c0 < columns; c0 += transposeBlock)
      for (int64_t c = c0, cEnd = std::min(columns, c0 + transposeBlock); c < cEnd; ++c)
        for (int64_t r = r0, rEnd = std::min(rows, r0 + transposeBlock); r < rEnd; ++r)
          target[r * columns + c] = source[c * sourceStride + r];
}

/// Short rows of whole words are copied without a call.
NIBBLE_INLINE inline void copyRow(const void *from, void *to, size_t bytes) {
  constexpr size_t word = 16, longestRow = 128;
  if (bytes % word || bytes > longestRow) {
    std::memcpy(to, from, bytes);
    return;
  }
  for (size_t at = 0; at < bytes; at += word)
    std::memcpy(static_cast<char *>(to) + at, static_cast<const char *>(from) + at, word);
}

} // namespace

template <class T>
void StridedCopy::run(const T *source, T *target) const {
  source += offset;
  size_t rank = sizes.size();
  int64_t inner = sizes.back(), innerStride = strides.back();
  if (elementCount(sizes) == 0)
    return;
  // The last two dimensions swapped: blocks keep both sides in cache.
  bool isTransposition = rank >= 2 && strides[rank - 2] == 1 && innerStride > 1;
  size_t outerRank = rank - (isTransposition ? 2 : 1);
  int64_t planeSize = isTransposition ? sizes[rank - 2] * inner : inner;
  int64_t outerCount = dimensionProduct(sizes, 0, static_cast<int64_t>(outerRank));
  parallelRanges(outerCount, 32768 / planeSize, [&](int64_t begin, int64_t end) {
    llvm::SmallVector<int64_t, 6> position(outerRank);
    const T *from = source;
    int64_t rest = begin;
    for (size_t dim = outerRank; dim-- > 0; rest /= sizes[dim]) {
      position[dim] = rest % sizes[dim];
      from += position[dim] * strides[dim];
    }
    auto advance = [&] {
      for (size_t dim = outerRank; dim-- > 0;) {
        from += strides[dim];
        if (++position[dim] < sizes[dim])
          return;
        from -= sizes[dim] * strides[dim];
        position[dim] = 0;
      }
    };
    for (int64_t outer = begin; outer < end; ++outer, advance()) {
      T *to = target + outer * planeSize;
      if (isTransposition)
        transposePlane(from, innerStride, to, sizes[rank - 2], inner);
      else if (innerStride == 1)
        copyRow(from, to, static_cast<size_t>(inner) * sizeof(T));
      else
        for (int64_t i = 0; i < inner; ++i)
          to[i] = from[i * innerStride];
    }
  });
}
template void StridedCopy::run(const uint8_t *, uint8_t *) const;
template void StridedCopy::run(const uint16_t *, uint16_t *) const;
template void StridedCopy::run(const uint32_t *, uint32_t *) const;
template void StridedCopy::run(const uint64_t *, uint64_t *) const;

void StridedCopy::run(const Tensor &source, Tensor &target) const {
  switch (bitWidth(target.elementType())) {
  case 8: return run(static_cast<const uint8_t *>(source.raw()), static_cast<uint8_t *>(target.mutableRaw()));
  case 16: return run(static_cast<const uint16_t *>(source.raw()), static_cast<uint16_t *>(target.mutableRaw()));
  case 32: return run(static_cast<const uint32_t *>(source.raw()), static_cast<uint32_t *>(target.mutableRaw()));
  default: return run(static_cast<const uint64_t *>(source.raw()), static_cast<uint64_t *>(target.mutableRaw()));
  }
}

llvm::Error refusePacked(const NodeSpec &spec) {
  return dispatchBytes(spec, spec.results[0].type, [](auto) {});
}

llvm::Expected<Kernel> makeView(const NodeSpec &) {
  Kernel kernel;
  kernel.isView = true;
  return kernel;
}

llvm::Expected<Kernel> makeCopy(const NodeSpec &spec, StridedCopy copy) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  Kernel kernel;
  kernel.run = [copy](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    copy.run(operands[0], results[0]);
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeTransposition(const NodeSpec &spec, llvm::ArrayRef<int64_t> perm) {
  Shape inStrides = rowMajorStrides(spec.operands[0].shape), strides;
  // Moving dimensions of size 1 leaves the order of the elements.
  int64_t last = -1;
  bool movesElements = false;
  for (int64_t axis : perm) {
    strides.push_back(inStrides[static_cast<size_t>(axis)]);
    if (spec.operands[0].shape[static_cast<size_t>(axis)] == 1)
      continue;
    movesElements |= axis < last;
    last = axis;
  }
  if (!movesElements)
    return makeView(spec);
  return makeCopy(spec, StridedCopy(spec.results[0].shape, strides, 0));
}

namespace {

llvm::Expected<Kernel> makeTranspose(const NodeSpec &spec) {
  return makeTransposition(spec, llvm::cast<nn::TransposeOp>(spec.op).getPerm());
}

/// Strides of an operand that broadcasts to `shape`.
Shape broadcastStrides(llvm::ArrayRef<int64_t> operand, llvm::ArrayRef<int64_t> shape) {
  Shape own = rowMajorStrides(operand), strides(shape.size(), 0);
  size_t missing = shape.size() - operand.size();
  for (size_t i = 0; i < operand.size(); ++i)
    strides[missing + i] = operand[i] == 1 ? 0 : own[i];
  return strides;
}

llvm::Expected<Kernel> makeExpand(const NodeSpec &spec) {
  if (spec.operands[0].elementCount() == spec.results[0].elementCount())
    return makeView(spec);
  return makeCopy(spec, StridedCopy(spec.results[0].shape,
                                    broadcastStrides(spec.operands[0].shape, spec.results[0].shape), 0));
}

} // namespace

llvm::Expected<Kernel> makeTile(const NodeSpec &spec) {
  // [r0 * d0, r1 * d1, ...] is the row-major form of [r0, d0, r1, d1, ...], with stride 0 along each r.
  const Shape &in = spec.operands[0].shape;
  Shape inStrides = rowMajorStrides(in), shape, strides;
  for (size_t i = 0; i < in.size(); ++i) {
    shape.append({in[i] ? spec.results[0].shape[i] / in[i] : 0, in[i]});
    strides.append({0, inStrides[i]});
  }
  return makeCopy(spec, StridedCopy(shape, strides, 0));
}

namespace {

llvm::Expected<Kernel> makeSlice(const NodeSpec &spec) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  Shape in = spec.operands[0].shape, out = spec.results[0].shape;
  bool hasAxes = spec.has(3), hasSteps = spec.has(4);
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    llvm::SmallVector<int64_t> starts = operands[1].valuesAsInt64(), axes, steps;
    if (hasAxes)
      axes = operands[3].valuesAsInt64();
    if (hasSteps)
      steps = operands[4].valuesAsInt64();
    Shape strides = rowMajorStrides(in);
    int64_t offset = 0;
    for (size_t i = 0; i < starts.size(); ++i) {
      int64_t rank = static_cast<int64_t>(in.size());
      int64_t axis = normalizeAxis(hasAxes ? axes[i] : static_cast<int64_t>(i), rank);
      int64_t step = hasSteps ? steps[i] : 1;
      if (axis < 0 || axis >= rank || step == 0)
        return makeError(ErrorKind::BadInput, "slice has axis " + llvm::Twine(axis) + " and step " +
                                                  llvm::Twine(step) + " for an input of rank " + llvm::Twine(rank));
      size_t a = static_cast<size_t>(axis);
      int64_t start = starts[i] < 0 ? starts[i] + in[a] : starts[i];
      start = std::clamp<int64_t>(start, 0, step > 0 ? in[a] : std::max<int64_t>(in[a] - 1, 0));
      if (out[a] > 0 && (start >= in[a] || start + (out[a] - 1) * step < 0 || start + (out[a] - 1) * step >= in[a]))
        return makeError(ErrorKind::BadInput, "slice takes " + llvm::Twine(out[a]) + " elements from " +
                                                  llvm::Twine(start) + " of a dimension of " + llvm::Twine(in[a]));
      offset += start * strides[a];
      strides[a] *= step;
    }
    StridedCopy(out, strides, offset).run(operands[0], results[0]);
    return llvm::Error::success();
  };
  return kernel;
}

/// A tensor cut along an axis: each of its `outer` rows holds a run of bytes of every piece, in order.
struct Pieces {
  int64_t outer, rowBytes;
  llvm::SmallVector<int64_t> bytes;

  template <class Specs>
  Pieces(const ValueSpec &whole, int64_t axis, const Specs &pieces) {
    int64_t rank = whole.rank(), elementBytes = bitWidth(whole.type) / 8;
    axis = normalizeAxis(axis, rank);
    outer = dimensionProduct(whole.shape, 0, axis);
    rowBytes = dimensionProduct(whole.shape, axis, rank) * elementBytes;
    for (const ValueSpec &piece : pieces)
      bytes.push_back(dimensionProduct(piece.shape, axis, rank) * elementBytes);
  }
};

} // namespace

llvm::Expected<Kernel> makeConcatenation(const NodeSpec &spec, int64_t axis) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  Pieces pieces(spec.results[0], axis, spec.operands);
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    char *out = static_cast<char *>(results[0].mutableRaw());
    int64_t rowsPerTile = pieces.rowBytes ? (128 << 10) / pieces.rowBytes : pieces.outer;
    parallelRanges(pieces.outer, rowsPerTile, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        char *to = out + row * pieces.rowBytes;
        for (size_t i = 0; i < operands.size(); ++i) {
          std::memcpy(to, static_cast<const char *>(operands[i].raw()) + row * pieces.bytes[i],
                      static_cast<size_t>(pieces.bytes[i]));
          to += pieces.bytes[i];
        }
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}

namespace {

llvm::Expected<Kernel> makeConcat(const NodeSpec &spec) {
  return makeConcatenation(spec, static_cast<int64_t>(llvm::cast<nn::ConcatOp>(spec.op).getAxis()));
}

llvm::Expected<Kernel> makeSplit(const NodeSpec &spec) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  Pieces pieces(spec.operands[0], static_cast<int64_t>(llvm::cast<nn::SplitOp>(spec.op).getAxis()), spec.results);
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const char *in = static_cast<const char *>(operands[0].raw());
    for (int64_t row = 0; row < pieces.outer; ++row) {
      const char *from = in + row * pieces.rowBytes;
      for (size_t i = 0; i < results.size(); ++i) {
        std::memcpy(static_cast<char *>(results[i].mutableRaw()) + row * pieces.bytes[i], from,
                    static_cast<size_t>(pieces.bytes[i]));
        from += pieces.bytes[i];
      }
    }
    return llvm::Error::success();
  };
  return kernel;
}

/// The input index that output index `i` of a padded dimension of `size` takes; -1 where it is filled.
int64_t paddedIndex(int64_t i, int64_t size, nn::PadMode mode) {
  if (i >= 0 && i < size)
    return i;
  switch (mode) {
  case nn::PadMode::Constant: return -1;
  case nn::PadMode::Edge: return i < 0 ? 0 : size - 1;
  case nn::PadMode::Wrap: return (i % size + size) % size;
  case nn::PadMode::Reflect: {
    if (size == 1)
      return 0;
    int64_t period = 2 * (size - 1), at = (i % period + period) % period;
    return at < size ? at : period - at;
  }
  }
  return -1;
}

/// Every element of `target` from `source` by the tables of offsets along its dimensions, or `fill` where one is -1.
template <class T>
void padElements(const T *source, llvm::ArrayRef<llvm::SmallVector<int64_t>> tables, T fill,
                 llvm::ArrayRef<int64_t> out, T *target) {
  size_t rank = out.size();
  int64_t inner = rank ? out[rank - 1] : 1, outer = inner ? elementCount(out) / inner : 0;
  parallelRanges(outer, inner ? 32768 / inner : 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, from = 0;
      for (size_t d = rank ? rank - 1 : 0; d-- > 0;) {
        int64_t step = tables[d][static_cast<size_t>(rest % out[d])];
        rest /= out[d];
        from = step < 0 || from < 0 ? -1 : from + step;
      }
      T *to = target + row * inner;
      for (int64_t i = 0; i < inner; ++i) {
        int64_t step = rank ? tables[rank - 1][static_cast<size_t>(i)] : 0;
        to[i] = from < 0 || step < 0 ? fill : source[from + step];
      }
    }
  });
}

} // namespace

llvm::Error padTensor(const NodeSpec &spec, const Tensor &source, llvm::ArrayRef<int64_t> begins, nn::PadMode mode,
                      const Tensor &fill, Tensor &target) {
  llvm::ArrayRef<int64_t> in = source.shape(), out = target.shape();
  llvm::SmallVector<llvm::SmallVector<int64_t>> tables(in.size());
  Shape strides = rowMajorStrides(in);
  for (size_t d = 0; d < in.size(); ++d)
    for (int64_t i = 0; i < out[d]; ++i) {
      if (in[d] == 0 && mode != nn::PadMode::Constant)
        return makeError(ErrorKind::BadInput, "pad repeats elements of an empty dimension");
      int64_t from = paddedIndex(i - begins[d], in[d], mode);
      tables[d].push_back(from < 0 ? -1 : from * strides[d]);
    }
  return dispatchBytes(spec, target.elementType(), [&](auto tag) {
    using T = decltype(tag);
    padElements(static_cast<const T *>(source.raw()), tables, fill ? *static_cast<const T *>(fill.raw()) : T(0), out,
                static_cast<T *>(target.mutableRaw()));
  });
}

namespace {

llvm::Expected<Kernel> makePad(const NodeSpec &spec) {
  if (llvm::Error error = refusePacked(spec))
    return std::move(error);
  bool hasValue = spec.has(2), hasAxes = spec.has(3);
  nn::PadMode mode = llvm::cast<nn::PadOp>(spec.op).getMode();
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    llvm::SmallVector<int64_t> pads = operands[1].valuesAsInt64(), axes;
    size_t count = pads.size() / 2, rank = spec.operands[0].shape.size();
    if (hasAxes)
      axes = operands[3].valuesAsInt64();
    llvm::SmallVector<int64_t> begins(rank, 0);
    for (size_t i = 0; i < count; ++i) {
      int64_t axis = normalizeAxis(hasAxes ? axes[i] : static_cast<int64_t>(i), static_cast<int64_t>(rank));
      if (axis < 0 || axis >= static_cast<int64_t>(rank))
        return makeError(ErrorKind::BadInput, "pad has axis " + llvm::Twine(axis) + " for an input of rank " +
                                                  llvm::Twine(rank));
      begins[static_cast<size_t>(axis)] = pads[i];
    }
    return padTensor(spec, operands[0], begins, mode, hasValue ? operands[2] : Tensor(), results[0]);
  };
  return kernel;
}

llvm::Expected<Kernel> makeDepthToSpace(const NodeSpec &spec) {
  auto op = llvm::cast<nn::DepthToSpaceOp>(spec.op);
  const Shape &in = spec.operands[0].shape;
  int64_t b = static_cast<int64_t>(op.getBlocksize()), c = in[1] / (b * b), h = in[2], w = in[3];
  // Output [n, c, h, b, w, b]; the input's channels are [b, b, c] (DCR) or [c, b, b] (CRD).
  bool depthFirst = op.getMode() == "DCR";
  int64_t plane = h * w, channel = depthFirst ? plane : b * b * plane, block = depthFirst ? c * plane : plane;
  return makeCopy(spec, StridedCopy({in[0], c, h, b, w, b}, {in[1] * plane, channel, w, b * block, 1, block}, 0));
}

llvm::Expected<Kernel> makeSpaceToDepth(const NodeSpec &spec) {
  const Shape &in = spec.operands[0].shape;
  int64_t b = static_cast<int64_t>(llvm::cast<nn::SpaceToDepthOp>(spec.op).getBlocksize());
  int64_t c = in[1], h = in[2], w = in[3];
  return makeCopy(spec, StridedCopy({in[0], b, b, c, h / b, w / b}, {c * h * w, w, 1, h * w, b * w, b}, 0));
}

} // namespace

void registerMovementKernels(KernelRegistry &registry) {
  registry["nn.reshape"] = makeView;
  registry["nn.flatten"] = makeView;
  registry["nn.squeeze"] = makeView;
  registry["nn.unsqueeze"] = makeView;
  registry["nn.transpose"] = makeTranspose;
  registry["nn.expand"] = makeExpand;
  registry["nn.tile"] = makeTile;
  registry["nn.slice"] = makeSlice;
  registry["nn.concat"] = makeConcat;
  registry["nn.split"] = makeSplit;
  registry["nn.pad"] = makePad;
  registry["nn.depth_to_space"] = makeDepthToSpace;
  registry["nn.space_to_depth"] = makeSpaceToDepth;
}

} // namespace nibble::runtime

//===- Pooling.cpp - MaxPool, AveragePool and the global forms --------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Sums.h"

#include <array>

namespace nibble::runtime {
namespace {

/// Window of every output position along one axis, in input positions.
struct PoolAxis {
  int64_t in, out, kernel, stride, dilation, begin, end;
};

/// The axes of a pooling of up to three spatial dimensions, leading ones of size 1 added.
template <class Op>
llvm::Expected<llvm::SmallVector<PoolAxis, 3>> describePool(const NodeSpec &spec, Op op) {
  const Shape &in = spec.operands[0].shape, &out = spec.results[0].shape;
  if (in.size() < 3 || in.size() > 5)
    return spec.unsupported("pooling of rank " + llvm::Twine(in.size()) + " has no kernel; ranks 3 to 5 have");
  size_t spatial = in.size() - 2;
  llvm::SmallVector<PoolAxis, 3> axes(3 - spatial, PoolAxis{1, 1, 1, 1, 1, 0, 0});
  auto at = [&](llvm::ArrayRef<int64_t> values, size_t i, int64_t otherwise) {
    return i < values.size() ? values[i] : otherwise;
  };
  for (size_t i = 0; i < spatial; ++i) {
    PoolAxis axis{in[i + 2], out[i + 2], op.getKernelShape()[i], at(op.getStrides(), i, 1),
                  at(op.getDilations(), i, 1), at(op.getPads(), i, 0), at(op.getPads(), spatial + i, 0)};
    llvm::SmallVector<int64_t> pads = nn::resolveAutoPad(op.getAutoPad(), {axis.begin, axis.end}, {axis.in},
                                                         {axis.kernel}, {axis.stride}, {axis.dilation});
    axis.begin = pads[0], axis.end = pads[1];
    axes.push_back(axis);
  }
  return axes;
}

/// Calls take(offset into the plane) for the inputs of output position (z, y, x) in row-major order.
template <class Take>
NIBBLE_INLINE inline void visitWindow(llvm::ArrayRef<PoolAxis> axes, std::array<int64_t, 3> position, Take take) {
  std::array<int64_t, 3> start;
  for (size_t i = 0; i < 3; ++i)
    start[i] = position[i] * axes[i].stride - axes[i].begin;
  for (int64_t kz = 0; kz < axes[0].kernel; ++kz)
    for (int64_t ky = 0; ky < axes[1].kernel; ++ky)
      for (int64_t kx = 0; kx < axes[2].kernel; ++kx) {
        int64_t z = start[0] + kz * axes[0].dilation, y = start[1] + ky * axes[1].dilation;
        int64_t x = start[2] + kx * axes[2].dilation;
        if (z >= 0 && z < axes[0].in && y >= 0 && y < axes[1].in && x >= 0 && x < axes[2].in)
          take((z * axes[1].in + y) * axes[2].in + x);
      }
}

/// Runs pool(plane, position) for every output of every plane.
template <class T, class Pool>
Kernel makePool(llvm::SmallVector<PoolAxis, 3> axes, Pool pool) {
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    int64_t inPlane = axes[0].in * axes[1].in * axes[2].in, outPlane = axes[0].out * axes[1].out * axes[2].out;
    const T *x = operands[0].data<T>();
    T *y = results[0].mutableData<T>();
    int64_t planes = outPlane ? results[0].elementCount() / outPlane : 0;
    parallelRanges(planes, 4096 / std::max<int64_t>(outPlane, 1), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane)
        for (int64_t i = 0; i < outPlane; ++i) {
          std::array<int64_t, 3> position{i / axes[2].out / axes[1].out, i / axes[2].out % axes[1].out,
                                          i % axes[2].out};
          y[plane * outPlane + i] = pool(x + plane * inPlane, position);
        }
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeMaxPool(const NodeSpec &spec) {
  llvm::Expected<llvm::SmallVector<PoolAxis, 3>> axes = describePool(spec, llvm::cast<nn::MaxPoolOp>(spec.op));
  if (!axes)
    return axes.takeError();
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel = makePool<T>(*axes, [axes = *axes](const T *plane, std::array<int64_t, 3> position) {
          T best = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                        : std::numeric_limits<T>::lowest();
          visitWindow(axes, position,
                      [&](int64_t at) { best = plane[at] > best || plane[at] != plane[at] ? plane[at] : best; });
          return best;
        });
      }))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makeAveragePool(const NodeSpec &spec) {
  auto op = llvm::cast<nn::AveragePoolOp>(spec.op);
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 has");
  llvm::Expected<llvm::SmallVector<PoolAxis, 3>> axes = describePool(spec, op);
  if (!axes)
    return axes.takeError();
  bool countPadding = op.getCountIncludePad();
  return makePool<float>(*axes, [axes = *axes, countPadding](const float *plane, std::array<int64_t, 3> position) {
    double sum = 0;
    int64_t count = 0;
    visitWindow(axes, position, [&](int64_t at) {
      sum += static_cast<double>(plane[at]);
      ++count;
    });
    if (countPadding) {
      // Positions inside the stated padding count; those that ceil_mode adds beyond it do not.
      count = 1;
      for (size_t i = 0; i < 3; ++i) {
        int64_t start = position[i] * axes[i].stride - axes[i].begin, inside = 0;
        for (int64_t k = 0; k < axes[i].kernel; ++k)
          inside += start + k * axes[i].dilation < axes[i].in + axes[i].end;
        count *= inside;
      }
    }
    return static_cast<float>(sum / static_cast<double>(std::max<int64_t>(count, 1)));
  });
}

llvm::Expected<Kernel> makeGlobalPool(const NodeSpec &spec, bool isMaximum) {
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 has");
  const Shape &in = spec.operands[0].shape;
  int64_t plane = dimensionProduct(in, 2, static_cast<int64_t>(in.size()));
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *x = operands[0].data<float>();
    float *y = results[0].mutableData<float>();
    parallelRanges(results[0].elementCount(), 16384 / std::max<int64_t>(plane, 1), [&](int64_t begin, int64_t end) {
      simd([=]() NIBBLE_INLINE {
        for (int64_t i = begin; i < end; ++i)
          y[i] = isMaximum ? maximumOf(x + i * plane, plane)
                           : static_cast<float>(sumOf(x + i * plane, plane, [](float v) NIBBLE_INLINE { return v; }) /
                                                static_cast<double>(std::max<int64_t>(plane, 1)));
      });
    });
    return llvm::Error::success();
  };
  return kernel;
}
llvm::Expected<Kernel> makeGlobalAveragePool(const NodeSpec &spec) { return makeGlobalPool(spec, false); }
llvm::Expected<Kernel> makeGlobalMaxPool(const NodeSpec &spec) { return makeGlobalPool(spec, true); }

} // namespace

void registerPoolingKernels(KernelRegistry &registry) {
  registry["nn.max_pool"] = makeMaxPool;
  registry["nn.average_pool"] = makeAveragePool;
  registry["nn.global_average_pool"] = makeGlobalAveragePool;
  registry["nn.global_max_pool"] = makeGlobalMaxPool;
}

} // namespace nibble::runtime

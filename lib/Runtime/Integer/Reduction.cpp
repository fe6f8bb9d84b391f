//===- Reduction.cpp - sums and extremes along an axis ---------------------===//
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

struct Sum {
  template <class T>
  NIBBLE_INLINE static T join(T a, T b) {
    return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
  }
};
struct Maximum {
  template <class T>
  NIBBLE_INLINE static T join(T a, T b) {
    return a > b ? a : b;
  }
};
struct Minimum {
  template <class T>
  NIBBLE_INLINE static T join(T a, T b) {
    return a < b ? a : b;
  }
};

/// Output elements that one loop over a strided axis keeps together.
constexpr int64_t innerBlock = 1024;

template <class T, class Join>
void reduce(const T *x, int64_t outer, int64_t length, int64_t inner, T *out) {
  if (inner == 1) {
    parallelRanges(outer, std::max<int64_t>(1, 16384 / length), [&](int64_t begin, int64_t end) {
      simd([=]() NIBBLE_INLINE {
        for (int64_t row = begin; row < end; ++row) {
          const T *line = x + row * length;
          T result = line[0];
          for (int64_t k = 1; k < length; ++k)
            result = Join::join(result, line[k]);
          out[row] = result;
        }
      });
    });
    return;
  }
  int64_t blocks = (inner + innerBlock - 1) / innerBlock;
  parallelRanges(outer * blocks, std::max<int64_t>(1, 16384 / (length * std::min(inner, innerBlock))),
                 [&](int64_t begin, int64_t end) {
                   simd([=]() NIBBLE_INLINE {
                     for (int64_t item = begin; item < end; ++item) {
                       int64_t first = item % blocks * innerBlock, count = std::min(innerBlock, inner - first);
                       const T *line = x + item / blocks * length * inner + first;
                       T *to = out + item / blocks * inner + first;
                       std::copy_n(line, count, to);
                       for (int64_t k = 1; k < length; ++k) {
                         NIBBLE_INDEPENDENT
                         for (int64_t i = 0; i < count; ++i)
                           to[i] = Join::join(to[i], line[k * inner + i]);
                       }
                     }
                   });
                 });
}

template <class T, class Join>
Kernel reductionKernel(int64_t outer, int64_t length, int64_t inner) {
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    reduce<T, Join>(static_cast<const T *>(operands[0].raw()), outer, length, inner,
                    static_cast<T *>(results[0].mutableRaw()));
    return llvm::Error::success();
  };
  return kernel;
}

template <class Join>
llvm::Expected<Kernel> makeReductionAlong(const NodeSpec &spec, int64_t axis) {
  const Shape &in = spec.operands[0].shape;
  int64_t outer = dimensionProduct(in, 0, axis), length = in[static_cast<size_t>(axis)];
  int64_t inner = dimensionProduct(in, axis + 1, static_cast<int64_t>(in.size()));
  switch (spec.operands[0].type) {
  case ElementType::Bool: return reductionKernel<uint8_t, Join>(outer, length, inner);
  case ElementType::I8: return reductionKernel<int8_t, Join>(outer, length, inner);
  case ElementType::I16: return reductionKernel<int16_t, Join>(outer, length, inner);
  case ElementType::I32: return reductionKernel<int32_t, Join>(outer, length, inner);
  default: return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel");
  }
}

template <class Op, class Join>
llvm::Expected<Kernel> makeReduction(const NodeSpec &spec) {
  return makeReductionAlong<Join>(spec, cast<Op>(spec.op).getAxis());
}

} // namespace

llvm::Expected<Kernel> makeMaximumAlong(const NodeSpec &spec, int64_t axis) {
  return makeReductionAlong<Maximum>(spec, axis);
}

void registerIntegerReductionKernels(KernelRegistry &registry) {
  registry["tosa.reduce_sum"] = makeReduction<tosa::ReduceSumOp, Sum>;
  registry["tosa.reduce_max"] = makeReduction<tosa::ReduceMaxOp, Maximum>;
  registry["tosa.reduce_min"] = makeReduction<tosa::ReduceMinOp, Minimum>;
  registry["tosa.reduce_all"] = makeReduction<tosa::ReduceAllOp, Minimum>;
  registry["tosa.reduce_any"] = makeReduction<tosa::ReduceAnyOp, Maximum>;
}

} // namespace nibble::runtime

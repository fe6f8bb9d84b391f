//===- Reduction.cpp - Reduce*, ArgMax, ArgMin, TopK -----------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Sums.h"

#include <numeric>

namespace nibble::runtime {
namespace {

/// Accumulates in double for floats and in wrapping 64 bits for integers.
template <class T>
using Accumulator = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;

/// A reduction as first value, step and end; `take` sees the elements of one result in row-major order.
template <class T>
struct ReductionRule {
  using A = Accumulator<T>;
  A start;
  A (*take)(A sum, A value);
  A (*end)(A sum, int64_t count);
};

template <class A>
A addWrapping(A a, A b) {
  if constexpr (std::is_floating_point_v<A>)
    return a + b;
  else
    return static_cast<A>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
template <class A>
A multiplyWrapping(A a, A b) {
  if constexpr (std::is_floating_point_v<A>)
    return a * b;
  else
    return static_cast<A>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
template <class A>
A magnitude(A value) {
  return value < 0 ? addWrapping(A(0), multiplyWrapping(value, A(-1))) : value;
}
template <class A>
A identityEnd(A sum, int64_t) {
  return sum;
}

template <class T>
std::optional<ReductionRule<T>> findRule(llvm::StringRef name) {
  using A = Accumulator<T>;
  using Limits = std::numeric_limits<A>;
  A lowest = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  A highest = Limits::has_infinity ? Limits::infinity() : Limits::max();
  using Rule = ReductionRule<T>;
  auto add = [](A sum, A value) { return addWrapping(sum, value); };
  auto addSquare = [](A sum, A value) { return addWrapping(sum, multiplyWrapping(value, value)); };
  if (name == "nn.reduce_sum")
    return Rule{A(0), add, identityEnd<A>};
  if (name == "nn.reduce_mean")
    return Rule{A(0), add, [](A sum, int64_t count) { return count ? sum / static_cast<A>(count) : sum; }};
  if (name == "nn.reduce_prod")
    return Rule{A(1), multiplyWrapping<A>, identityEnd<A>};
  if (name == "nn.reduce_l1")
    return Rule{A(0), [](A sum, A value) { return addWrapping(sum, magnitude(value)); }, identityEnd<A>};
  if (name == "nn.reduce_l2")
    return Rule{A(0), addSquare, [](A sum, int64_t) { return static_cast<A>(std::sqrt(static_cast<double>(sum))); }};
  if (name == "nn.reduce_sum_square")
    return Rule{A(0), addSquare, identityEnd<A>};
  if (name == "nn.reduce_max")
    return Rule{lowest, [](A best, A value) { return value > best || value != value ? value : best; }, identityEnd<A>};
  if (name == "nn.reduce_min")
    return Rule{highest, [](A best, A value) { return value < best || value != value ? value : best; },
                identityEnd<A>};
  return std::nullopt;
}

/// Splits a shape into kept and reduced dimensions with their strides.
struct ReductionLoops {
  Shape keptSizes, keptStrides, reducedSizes, reducedStrides;
  int64_t keptCount = 1, reducedCount = 1;

  ReductionLoops(const Shape &in, const llvm::SmallVector<bool> &isReduced) {
    Shape strides = rowMajorStrides(in);
    for (size_t i = 0; i < in.size(); ++i) {
      Shape &sizes = isReduced[i] ? reducedSizes : keptSizes, &steps = isReduced[i] ? reducedStrides : keptStrides;
      if (!sizes.empty() && steps.back() == in[i] * strides[i]) {
        sizes.back() *= in[i];
        steps.back() = strides[i];
      } else {
        sizes.push_back(in[i]);
        steps.push_back(strides[i]);
      }
      (isReduced[i] ? reducedCount : keptCount) *= in[i];
    }
  }
  static int64_t offsetOf(int64_t index, const Shape &sizes, const Shape &strides) {
    int64_t offset = 0;
    for (size_t d = sizes.size(); d-- > 0;) {
      offset += index % sizes[d] * strides[d];
      index /= sizes[d];
    }
    return offset;
  }
  /// Calls take(offset) for the reduced elements from `start`, in row-major order.
  template <class Take>
  void visit(int64_t start, Take take) const {
    if (reducedSizes.empty())
      return take(start);
    int64_t inner = reducedSizes.back(), step = reducedStrides.back(), outer = inner ? reducedCount / inner : 0;
    Shape outerSizes(reducedSizes.begin(), reducedSizes.end() - 1);
    for (int64_t o = 0; o < outer; ++o) {
      int64_t at = start + offsetOf(o, outerSizes, reducedStrides);
      for (int64_t i = 0; i < inner; ++i)
        take(at + i * step);
    }
  }
  bool isContiguous() const { return reducedSizes.size() == 1 && reducedStrides[0] == 1; }
};

llvm::Expected<llvm::SmallVector<bool>> findReduced(const Tensor &axes, int64_t rank, bool noop) {
  llvm::SmallVector<int64_t> values;
  if (axes)
    values = axes.valuesAsInt64();
  llvm::SmallVector<bool> isReduced(static_cast<size_t>(rank), values.empty() && !noop);
  for (int64_t given : values) {
    int64_t axis = normalizeAxis(given, rank);
    if (axis < 0 || axis >= rank)
      return makeError(ErrorKind::BadInput,
                       "reduction has axis " + llvm::Twine(given) + " for rank " + llvm::Twine(rank));
    isReduced[static_cast<size_t>(axis)] = true;
  }
  return isReduced;
}

using FloatReduce = float (*)(const float *, int64_t);

/// Vectorised reductions of neighbouring floats, for the reductions that models spend time in.
FloatReduce findRowReduction(llvm::StringRef name) {
  if (name == "nn.reduce_mean")
    return [](const float *row, int64_t count) {
      double sum;
      simd([=, &sum]() NIBBLE_INLINE { sum = sumOf(row, count, [](float v) NIBBLE_INLINE { return v; }); });
      return static_cast<float>(sum / static_cast<double>(count));
    };
  if (name == "nn.reduce_sum")
    return [](const float *row, int64_t count) {
      double sum;
      simd([=, &sum]() NIBBLE_INLINE { sum = sumOf(row, count, [](float v) NIBBLE_INLINE { return v; }); });
      return static_cast<float>(sum);
    };
  if (name == "nn.reduce_max")
    return [](const float *row, int64_t count) {
      float maximum;
      simd([=, &maximum]() NIBBLE_INLINE { maximum = maximumOf(row, count); });
      return maximum;
    };
  return nullptr;
}

llvm::Expected<Kernel> makeReduceAs(const NodeSpec &spec, ElementType type, bool noop) {
  Shape in = spec.operands[0].shape;
  bool hasAxes = spec.has(1);
  llvm::StringRef opName = spec.op->getName().getStringRef();
  FloatReduce rowReduction = type == ElementType::F32 ? findRowReduction(opName) : nullptr;
  bool isLogSumExp = opName == "nn.reduce_log_sum_exp";
  bool isKnown = true;
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, type, [&](auto tag) {
        using T = decltype(tag);
        std::optional<ReductionRule<T>> rule = findRule<T>(opName);
        if (isLogSumExp && std::is_floating_point_v<T>)
          rule = ReductionRule<T>{};
        isKnown = rule.has_value();
        if (!rule)
          return;
        kernel.run = [=, rule = *rule](llvm::ArrayRef<Tensor> operands,
                                       llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
          llvm::Expected<llvm::SmallVector<bool>> isReduced =
              findReduced(hasAxes ? operands[1] : Tensor(), static_cast<int64_t>(in.size()), noop);
          if (!isReduced)
            return isReduced.takeError();
          ReductionLoops loops(in, *isReduced);
          const T *x = static_cast<const T *>(operands[0].raw());
          T *y = static_cast<T *>(results[0].mutableRaw());
          using A = Accumulator<T>;
          parallelRanges(loops.keptCount, 16384 / std::max<int64_t>(loops.reducedCount, 1),
                         [&](int64_t begin, int64_t end) {
            for (int64_t index = begin; index < end; ++index) {
              int64_t start = ReductionLoops::offsetOf(index, loops.keptSizes, loops.keptStrides);
              if constexpr (std::is_same_v<T, float>) {
                if (rowReduction && loops.isContiguous() && loops.reducedCount > 0) {
                  y[index] = rowReduction(x + start, loops.reducedCount);
                  continue;
                }
              }
              if constexpr (std::is_floating_point_v<T>) {
                if (isLogSumExp) {
                  A maximum = -std::numeric_limits<A>::infinity(), sum = 0;
                  loops.visit(start, [&](int64_t at) { maximum = std::max(maximum, static_cast<A>(x[at])); });
                  A shift = std::isfinite(maximum) ? maximum : 0;
                  loops.visit(start, [&](int64_t at) { sum += std::exp(static_cast<A>(x[at]) - shift); });
                  y[index] = static_cast<T>(std::log(sum) + shift);
                  continue;
                }
              }
              A sum = rule.start;
              loops.visit(start, [&](int64_t at) { sum = rule.take(sum, static_cast<A>(x[at])); });
              y[index] = static_cast<T>(rule.end(sum, loops.reducedCount));
            }
          });
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  if (!isKnown)
    return spec.unsupported("element type " + name(type) + " has no kernel; float32 and float64 have");
  return kernel;
}

template <class Op>
llvm::Expected<Kernel> makeReduce(const NodeSpec &spec) {
  ElementType type = spec.operands[0].type;
  bool isExtremum = std::is_same_v<Op, nn::ReduceMaxOp> || std::is_same_v<Op, nn::ReduceMinOp>;
  // The extremum of booleans is that of their bytes.
  if (type == ElementType::Bool && isExtremum)
    type = ElementType::U8;
  return makeReduceAs(spec, type, llvm::cast<Op>(spec.op).getNoopWithEmptyAxes());
}

template <class Op>
llvm::Expected<Kernel> makeArg(const NodeSpec &spec) {
  auto op = llvm::cast<Op>(spec.op);
  constexpr bool isMaximum = std::is_same_v<Op, nn::ArgMaxOp>;
  const Shape &in = spec.operands[0].shape;
  int64_t rank = static_cast<int64_t>(in.size()), axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), rank);
  int64_t outer = dimensionProduct(in, 0, axis), size = rank ? in[static_cast<size_t>(axis)] : 1;
  int64_t inner = dimensionProduct(in, axis + 1, rank);
  bool selectLast = op.getSelectLastIndex();
  if (size == 0)
    return spec.unsupported("axis " + llvm::Twine(axis) + " has no elements to choose from");
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
          const T *x = operands[0].data<T>();
          int64_t *y = results[0].mutableData<int64_t>();
          for (int64_t o = 0; o < outer; ++o)
            for (int64_t c = 0; c < inner; ++c) {
              int64_t best = 0;
              for (int64_t i = 1; i < size; ++i) {
                T value = x[(o * size + i) * inner + c], bestValue = x[(o * size + best) * inner + c];
                bool isBetter = isMaximum ? value > bestValue : value < bestValue;
                if (isBetter || (selectLast && value == bestValue))
                  best = i;
              }
              y[o * inner + c] = best;
            }
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makeTopK(const NodeSpec &spec) {
  auto op = llvm::cast<nn::TopKOp>(spec.op);
  const Shape &in = spec.operands[0].shape, &out = spec.results[0].shape;
  int64_t rank = static_cast<int64_t>(in.size()), axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), rank);
  int64_t outer = dimensionProduct(in, 0, axis), size = in[static_cast<size_t>(axis)];
  int64_t inner = dimensionProduct(in, axis + 1, rank), k = out[static_cast<size_t>(axis)];
  bool largest = op.getLargest();
  if (k > size)
    return spec.unsupported("k is " + llvm::Twine(k) + ", but the axis has " + llvm::Twine(size) + " elements");
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
          const T *x = operands[0].data<T>();
          T *values = results[0].mutableData<T>();
          int64_t *indices = results[1].mutableData<int64_t>();
          parallelRanges(outer * inner, 1, [&](int64_t begin, int64_t end) {
            llvm::SmallVector<int64_t> order(static_cast<size_t>(size));
            for (int64_t row = begin; row < end; ++row) {
              const T *from = x + row / inner * size * inner + row % inner;
              std::iota(order.begin(), order.end(), 0);
              // Ties go to the lower index and NaN is the largest, so that this is a strict order.
              auto before = [&](int64_t a, int64_t b) {
                T left = from[a * inner], right = from[b * inner];
                bool leftNaN = left != left, rightNaN = right != right;
                if (leftNaN != rightNaN)
                  return largest ? leftNaN : rightNaN;
                if (!leftNaN && left != right)
                  return largest ? left > right : left < right;
                return a < b;
              };
              std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
              for (int64_t i = 0; i < k; ++i) {
                int64_t to = (row / inner * k + i) * inner + row % inner;
                values[to] = from[order[static_cast<size_t>(i)] * inner];
                indices[to] = order[static_cast<size_t>(i)];
              }
            }
          });
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

} // namespace

void registerReductionKernels(KernelRegistry &registry) {
  registry["nn.reduce_mean"] = makeReduce<nn::ReduceMeanOp>;
  registry["nn.reduce_sum"] = makeReduce<nn::ReduceSumOp>;
  registry["nn.reduce_max"] = makeReduce<nn::ReduceMaxOp>;
  registry["nn.reduce_min"] = makeReduce<nn::ReduceMinOp>;
  registry["nn.reduce_prod"] = makeReduce<nn::ReduceProdOp>;
  registry["nn.reduce_l1"] = makeReduce<nn::ReduceL1Op>;
  registry["nn.reduce_l2"] = makeReduce<nn::ReduceL2Op>;
  registry["nn.reduce_sum_square"] = makeReduce<nn::ReduceSumSquareOp>;
  registry["nn.reduce_log_sum_exp"] = makeReduce<nn::ReduceLogSumExpOp>;
  registry["nn.arg_max"] = makeArg<nn::ArgMaxOp>;
  registry["nn.arg_min"] = makeArg<nn::ArgMinOp>;
  registry["nn.top_k"] = makeTopK;
}

} // namespace nibble::runtime

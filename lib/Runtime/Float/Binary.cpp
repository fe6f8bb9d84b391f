//===- Binary.cpp - operators of several broadcast operands ----------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Broadcast.h"
#include "lib/Runtime/Float/Kernel.h"

#include <limits>
#include <type_traits>

namespace nibble::runtime {
namespace {

/// One row of a binary operation, with a loop for each way in which its operands repeat.
template <class In, class Out, class Op>
NIBBLE_INLINE inline void binaryRow(const In *lhs, bool lhsVaries, const In *rhs, bool rhsVaries, Out *out,
                                    int64_t count, Op op) {
  if (lhsVaries && rhsVaries) {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i)
      out[i] = op(lhs[i], rhs[i]);
  } else if (lhsVaries) {
    In right = *rhs;
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i)
      out[i] = op(lhs[i], right);
  } else if (rhsVaries) {
    In left = *lhs;
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i)
      out[i] = op(left, rhs[i]);
  } else {
    Out value = op(*lhs, *rhs);
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i)
      out[i] = value;
  }
}

/// Operands of the result's element width and shape may be overwritten: each element is read before
/// the element at the same place is written.
llvm::SmallVector<unsigned, 2> findOverwritable(const NodeSpec &spec) {
  llvm::SmallVector<unsigned, 2> operands;
  for (unsigned i = 0; i < spec.operands.size(); ++i)
    if (spec.has(i) && bitWidth(spec.operands[i].type) == bitWidth(spec.results[0].type) &&
        spec.operands[i].shape == spec.results[0].shape)
      operands.push_back(i);
  return operands;
}

template <class In, class Out, class Op>
Kernel makeBinary(const NodeSpec &spec, Op op, int64_t tileSize = elementwiseTile) {
  BroadcastPlan<2> plan(spec.results[0].shape, {spec.operands[0].shape, spec.operands[1].shape});
  Kernel kernel;
  kernel.overwritable = findOverwritable(spec);
  kernel.run = [plan, op, tileSize](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const In *lhs = static_cast<const In *>(operands[0].raw());
    const In *rhs = static_cast<const In *>(operands[1].raw());
    Out *out = static_cast<Out *>(results[0].mutableRaw());
    bool lhsVaries = plan.innerStride(0) != 0, rhsVaries = plan.innerStride(1) != 0;
    plan.run(tileSize, [=](const std::array<int64_t, 2> &offsets, int64_t at, int64_t count) NIBBLE_INLINE {
      binaryRow(lhs + offsets[0], lhsVaries, rhs + offsets[1], rhsVaries, out + at, count, op);
    });
    return llvm::Error::success();
  };
  return kernel;
}

template <class Op>
llvm::Expected<Kernel> makeArithmetic(const NodeSpec &spec, Op op) {
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel = makeBinary<T, T>(spec, [op](T a, T b) NIBBLE_INLINE { return static_cast<T>(op(a, b)); });
      }))
    return std::move(error);
  return kernel;
}

/// Integers wrap, as in every runtime of ONNX; unsigned arithmetic makes that defined.
template <class T>
using Wrapping = std::conditional_t<std::is_floating_point_v<T>, T, uint64_t>;

llvm::Expected<Kernel> makeAdd(const NodeSpec &spec) {
  return makeArithmetic(spec, [](auto a, auto b) NIBBLE_INLINE {
    using W = Wrapping<decltype(a)>;
    return static_cast<W>(a) + static_cast<W>(b);
  });
}
llvm::Expected<Kernel> makeSub(const NodeSpec &spec) {
  return makeArithmetic(spec, [](auto a, auto b) NIBBLE_INLINE {
    using W = Wrapping<decltype(a)>;
    return static_cast<W>(a) - static_cast<W>(b);
  });
}
llvm::Expected<Kernel> makeMul(const NodeSpec &spec) {
  return makeArithmetic(spec, [](auto a, auto b) NIBBLE_INLINE {
    using W = Wrapping<decltype(a)>;
    return static_cast<W>(a) * static_cast<W>(b);
  });
}

/// Wraps an integer kernel so that a zero in operand 1 is an error.
Kernel refuseZeroDivisors(const NodeSpec &spec, Kernel kernel) {
  auto inner = std::move(kernel.run);
  kernel.run = [inner, op = spec.op](llvm::ArrayRef<Tensor> operands,
                                     llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    for (int64_t value : operands[1].valuesAsInt64())
      if (value == 0)
        return makeError(ErrorKind::BadInput, op->getName().getStringRef() + " of integers divides by zero");
    return inner(operands, results);
  };
  return kernel;
}

llvm::Expected<Kernel> makeDiv(const NodeSpec &spec) {
  llvm::Expected<Kernel> kernel = makeArithmetic(spec, [](auto a, auto b) NIBBLE_INLINE {
    using T = decltype(a);
    if constexpr (std::is_signed_v<T> && std::is_integral_v<T>)
      return b == T(-1) ? static_cast<T>(0u - static_cast<uint64_t>(a)) : static_cast<T>(a / b);
    else
      return a / b;
  });
  ElementType type = spec.operands[0].type;
  if (!kernel || type == ElementType::F32 || type == ElementType::F64)
    return kernel;
  return refuseZeroDivisors(spec, std::move(*kernel));
}

llvm::Expected<Kernel> makeMod(const NodeSpec &spec) {
  bool fmod = llvm::cast<nn::ModOp>(spec.op).getFmod();
  ElementType type = spec.operands[0].type;
  bool isFloat = type == ElementType::F32 || type == ElementType::F64;
  if (isFloat && !fmod)
    return spec.unsupported("Mod of floats needs fmod = 1");
  llvm::Expected<Kernel> kernel = makeArithmetic(spec, [fmod](auto a, auto b) NIBBLE_INLINE {
    using T = decltype(a);
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(a, b);
    } else {
      if (std::is_signed_v<T> && b == static_cast<T>(-1))
        return T(0);
      T rest = static_cast<T>(a % b);
      // The integer form takes the divisor's sign, fmod the dividend's.
      return static_cast<T>(!fmod && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
    }
  });
  if (!kernel || isFloat)
    return kernel;
  return refuseZeroDivisors(spec, std::move(*kernel));
}

/// Integer power by squaring, wrapping; negative exponents give 0 except for bases of magnitude 1.
template <class T>
T integerPower(T base, int64_t exponent) {
  if (exponent < 0)
    return base == 1 ? T(1) : base == static_cast<T>(-1) ? static_cast<T>(exponent % 2 ? -1 : 1) : T(0);
  uint64_t result = 1, factor = static_cast<uint64_t>(base);
  for (; exponent; exponent >>= 1) {
    if (exponent & 1)
      result *= factor;
    factor *= factor;
  }
  return static_cast<T>(result);
}

/// Base and exponent may have different element types; the result has the base's.
template <class T, class E>
Kernel makeMixedPower(const NodeSpec &spec) {
  BroadcastPlan<2> plan(spec.results[0].shape, {spec.operands[0].shape, spec.operands[1].shape});
  Kernel kernel;
  kernel.run = [plan](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const T *base = static_cast<const T *>(operands[0].raw());
    const E *exponent = static_cast<const E *>(operands[1].raw());
    T *out = static_cast<T *>(results[0].mutableRaw());
    int64_t baseStep = plan.innerStride(0), exponentStep = plan.innerStride(1);
    plan.run(elementwiseTile / 16, [=](const std::array<int64_t, 2> &offsets, int64_t at, int64_t count) NIBBLE_INLINE {
      for (int64_t i = 0; i < count; ++i) {
        T b = base[offsets[0] + i * baseStep];
        E e = exponent[offsets[1] + i * exponentStep];
        if constexpr (std::is_integral_v<T> && std::is_integral_v<E>)
          out[at + i] = integerPower(b, static_cast<int64_t>(e));
        else if constexpr (std::is_same_v<T, float> && std::is_same_v<E, float>)
          out[at + i] = std::pow(b, e);
        else
          out[at + i] = static_cast<T>(std::pow(static_cast<double>(b), static_cast<double>(e)));
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makePow(const NodeSpec &spec) {
  const OperandSpec &exponent = spec.operands[1];
  if (spec.operands[0].type == ElementType::F32 && exponent.constant && exponent.elementCount() == 1) {
    double value = exponent.constant.valueAsDouble(0);
    if (value == 2)
      return makeBinary<float, float>(spec, [](float a, float) NIBBLE_INLINE { return a * a; });
    if (value == 3)
      return makeBinary<float, float>(spec, [](float a, float) NIBBLE_INLINE { return a * a * a; });
    if (value == 0.5)
      return makeBinary<float, float>(spec, [](float a, float) NIBBLE_INLINE { return std::sqrt(a); });
  }
  Kernel kernel;
  llvm::Error inner = llvm::Error::success();
  llvm::Error outer = dispatchNumeric(spec, spec.operands[0].type, [&](auto base) {
    inner = llvm::joinErrors(std::move(inner), dispatchNumeric(spec, exponent.type, [&](auto tag) {
                               kernel = makeMixedPower<decltype(base), decltype(tag)>(spec);
                             }));
  });
  if (llvm::Error error = llvm::joinErrors(std::move(outer), std::move(inner)))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makePRelu(const NodeSpec &spec) {
  return makeArithmetic(spec, [](auto a, auto slope) NIBBLE_INLINE { return a < 0 ? a * slope : a; });
}

template <class Op>
llvm::Expected<Kernel> makeComparison(const NodeSpec &spec, Op op) {
  if (spec.operands[0].type == ElementType::Bool)
    return makeBinary<uint8_t, uint8_t>(spec, [op](uint8_t a, uint8_t b)
                                                  NIBBLE_INLINE { return static_cast<uint8_t>(op(a, b)); });
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel = makeBinary<T, uint8_t>(spec, [op](T a, T b) NIBBLE_INLINE { return static_cast<uint8_t>(op(a, b)); });
      }))
    return std::move(error);
  return kernel;
}

#define NIBBLE_COMPARISON(function, expression)                                                                        \
  llvm::Expected<Kernel> function(const NodeSpec &spec) {                                                              \
    return makeComparison(spec, [](auto a, auto b) NIBBLE_INLINE { return expression; });                              \
  }
NIBBLE_COMPARISON(makeEqual, a == b)
NIBBLE_COMPARISON(makeLess, a < b)
NIBBLE_COMPARISON(makeLessOrEqual, a <= b)
NIBBLE_COMPARISON(makeGreater, a > b)
NIBBLE_COMPARISON(makeGreaterOrEqual, a >= b)
NIBBLE_COMPARISON(makeAnd, (a != 0) & (b != 0))
NIBBLE_COMPARISON(makeOr, (a != 0) | (b != 0))
NIBBLE_COMPARISON(makeXor, (a != 0) ^ (b != 0))

/// Max and Min of any number of operands: the first two, then each of the others into the result.
template <class Op>
llvm::Expected<Kernel> makeExtremum(const NodeSpec &spec, Op op) {
  Kernel first;
  llvm::SmallVector<Kernel> others;
  size_t count = spec.operands.size();
  if (count == 1)
    return Kernel{{}, true, {}};
  if (llvm::Error error = dispatchNumeric(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        auto typed = [op](T a, T b) NIBBLE_INLINE { return op(a, b); };
        first = makeBinary<T, T>(spec, typed);
        for (size_t i = 2; i < count; ++i) {
          NodeSpec step = spec;
          static_cast<ValueSpec &>(step.operands[0]) = spec.results[0];
          step.operands[1] = spec.operands[i];
          others.push_back(makeBinary<T, T>(step, typed));
        }
      }))
    return std::move(error);
  // Overwriting is left out: a later operand must not be the storage that the first step writes.
  Kernel kernel;
  kernel.run = [first, others](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    if (llvm::Error error = first.run(operands, results))
      return error;
    for (size_t i = 0; i < others.size(); ++i)
      if (llvm::Error error = others[i].run({results[0], operands[i + 2]}, results))
        return error;
    return llvm::Error::success();
  };
  return kernel;
}
llvm::Expected<Kernel> makeMax(const NodeSpec &spec) {
  return makeExtremum(spec, [](auto a, auto b) NIBBLE_INLINE { return a != a || a > b ? a : b; });
}
llvm::Expected<Kernel> makeMin(const NodeSpec &spec) {
  return makeExtremum(spec, [](auto a, auto b) NIBBLE_INLINE { return a != a || a < b ? a : b; });
}

llvm::Expected<Kernel> makeClip(const NodeSpec &spec) {
  Kernel kernel;
  bool hasMin = spec.has(1), hasMax = spec.has(2);
  if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
          T low = hasMin ? *operands[1].data<T>() : std::numeric_limits<T>::lowest();
          T high = hasMax ? *operands[2].data<T>() : std::numeric_limits<T>::max();
          const T *in = operands[0].data<T>();
          T *out = results[0].mutableData<T>();
          parallelRanges(results[0].elementCount(), elementwiseTile, [&](int64_t begin, int64_t end) {
            simd([=]() NIBBLE_INLINE {
              NIBBLE_INDEPENDENT
              for (int64_t i = begin; i < end; ++i) {
                T raised = hasMin && in[i] < low ? low : in[i];
                out[i] = hasMax && raised > high ? high : raised;
              }
            });
          });
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  kernel.overwritable = {0};
  return kernel;
}

llvm::Expected<Kernel> makeWhere(const NodeSpec &spec) {
  BroadcastPlan<3> plan(spec.results[0].shape,
                        {spec.operands[0].shape, spec.operands[1].shape, spec.operands[2].shape});
  Kernel kernel;
  if (llvm::Error error = dispatchBytes(spec, spec.results[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel.run = [plan](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
          const uint8_t *condition = static_cast<const uint8_t *>(operands[0].raw());
          const T *x = static_cast<const T *>(operands[1].raw());
          const T *y = static_cast<const T *>(operands[2].raw());
          T *out = static_cast<T *>(results[0].mutableRaw());
          std::array<int64_t, 3> steps{plan.innerStride(0), plan.innerStride(1), plan.innerStride(2)};
          plan.run(elementwiseTile, [=](const std::array<int64_t, 3> &at, int64_t to, int64_t count) NIBBLE_INLINE {
            for (int64_t i = 0; i < count; ++i)
              out[to + i] = condition[at[0] + i * steps[0]] ? x[at[1] + i * steps[1]] : y[at[2] + i * steps[2]];
          });
          return llvm::Error::success();
        };
      }))
    return std::move(error);
  return kernel;
}

} // namespace

void registerBinaryKernels(KernelRegistry &registry) {
  registry["nn.add"] = makeAdd;
  registry["nn.sub"] = makeSub;
  registry["nn.mul"] = makeMul;
  registry["nn.div"] = makeDiv;
  registry["nn.mod"] = makeMod;
  registry["nn.pow"] = makePow;
  registry["nn.prelu"] = makePRelu;
  registry["nn.equal"] = makeEqual;
  registry["nn.less"] = makeLess;
  registry["nn.less_or_equal"] = makeLessOrEqual;
  registry["nn.greater"] = makeGreater;
  registry["nn.greater_or_equal"] = makeGreaterOrEqual;
  registry["nn.and"] = makeAnd;
  registry["nn.or"] = makeOr;
  registry["nn.xor"] = makeXor;
  registry["nn.max"] = makeMax;
  registry["nn.min"] = makeMin;
  registry["nn.clip"] = makeClip;
  registry["nn.where"] = makeWhere;
}

} // namespace nibble::runtime

//===- Moments.cpp - sums of bytes and of their squares ----------------------===//
//
// The norms of rows of bytes begin with two sums, of x - z and of its square. By themselves they are reductions of
// 32-bit integers, which another step would have to write; from the bytes they read an eighth of that.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Elementwise.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

/// The one integer that a constant holds.
std::optional<int64_t> readScalar(Value value) {
  auto constant = value.getDefiningOp<tosa::ConstOp>();
  auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValues()) : DenseIntElementsAttr();
  if (!elements || elements.size() != 1)
    return std::nullopt;
  return (*elements.begin()).getSExtValue();
}

/// A reduction of bytes: of `source` - `zero`, or of its square.
struct Moment {
  tosa::ReduceSumOp sum;
  Value source;
  int64_t zero;
  /// Absent for the plain sum.
  tosa::MulOp square;
};

std::optional<Moment> findMoment(tosa::ReduceSumOp sum) {
  Moment moment{sum, {}, 0, sum.getInput().getDefiningOp<tosa::MulOp>()};
  Value wide = sum.getInput();
  if (moment.square) {
    wide = moment.square.getInput1();
    if (wide != moment.square.getInput2() || readScalar(moment.square.getShift()) != 0)
      return std::nullopt;
  }
  std::optional<WidenedBytes> widened = findWidenedBytes(wide);
  if (!widened)
    return std::nullopt;
  moment.source = widened->source;
  moment.zero = widened->zero;
  return moment;
}

/// Output elements that one loop over a strided axis keeps together.
constexpr int64_t innerBlock = 1024;

template <bool isSquare> NIBBLE_INLINE inline uint32_t term(int8_t x, int32_t zero) {
  int32_t value = x - zero;
  return static_cast<uint32_t>(isSquare ? value * value : value);
}

template <bool isSquare>
void reduceBytes(const int8_t *x, int32_t zero, int64_t outer, int64_t length, int64_t inner, uint32_t *out) {
  int64_t blocks = (inner + innerBlock - 1) / innerBlock, blockSize = std::min(inner, innerBlock);
  parallelRanges(outer * blocks, std::max<int64_t>(1, 16384 / (length * blockSize)), [&](int64_t begin, int64_t end) {
    simd([=]() NIBBLE_INLINE {
      for (int64_t item = begin; item < end; ++item) {
        int64_t first = item % blocks * innerBlock, count = std::min(innerBlock, inner - first);
        const int8_t *line = x + item / blocks * length * inner + first;
        uint32_t *to = out + item / blocks * inner + first;
        if (inner == 1) {
          uint32_t sum = 0;
          for (int64_t k = 0; k < length; ++k)
            sum += term<isSquare>(line[k], zero);
          *to = sum;
          continue;
        }
        std::fill_n(to, count, 0);
        for (int64_t k = 0; k < length; ++k) {
          NIBBLE_INDEPENDENT
          for (int64_t i = 0; i < count; ++i)
            to[i] += term<isSquare>(line[k * inner + i], zero);
        }
      }
    });
  });
}

Kernel makeMomentKernel(const NodeSpec &spec, int64_t axis, int64_t zero, bool isSquare) {
  const Shape &in = spec.operands[0].shape;
  int64_t outer = dimensionProduct(in, 0, axis), length = in[static_cast<size_t>(axis)];
  int64_t inner = dimensionProduct(in, axis + 1, static_cast<int64_t>(in.size()));
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const auto *x = static_cast<const int8_t *>(operands[0].raw());
    auto *out = static_cast<uint32_t *>(results[0].mutableRaw());
    (isSquare ? reduceBytes<true> : reduceBytes<false>)(x, static_cast<int32_t>(zero), outer, length, inner, out);
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace

std::optional<WidenedBytes> findWidenedBytes(Value value) {
  auto rescale = value.getDefiningOp<tosa::RescaleOp>();
  if (!rescale || !getElementTypeOrSelf(rescale.getInput()).isInteger(8) || !getElementTypeOrSelf(value).isInteger(32) ||
      rescale.getInputUnsigned())
    return std::nullopt;
  std::optional<int64_t> multiplier = readScalar(rescale.getMultiplier()), shift = readScalar(rescale.getShift()),
                         inputZero = readScalar(rescale.getInputZp()), outputZero = readScalar(rescale.getOutputZp());
  if (!multiplier || !shift || !inputZero || outputZero != 0 || *shift > 30 || *multiplier != int64_t(1) << *shift)
    return std::nullopt;
  return WidenedBytes{rescale.getInput(), *inputZero};
}

void planMoments(Block &block, llvm::function_ref<bool(Value)> isObserved, StepPlan &plan) {
  for (auto sum : block.getOps<tosa::ReduceSumOp>()) {
    std::optional<Moment> moment = findMoment(sum);
    if (!moment)
      continue;
    FusedStep step;
    step.operands = {moment->source};
    step.results = {sum.getResult()};
    step.spec.op = sum;
    OperandSpec operand;
    operand.present = true;
    ValueSpec result;
    if (!describeValue(moment->source, operand) || !describeValue(sum.getResult(), result))
      continue;
    step.spec.operands.push_back(std::move(operand));
    step.spec.results.push_back(std::move(result));
    step.make = [axis = sum.getAxis(), zero = moment->zero, isSquare = static_cast<bool>(moment->square)](
                    const NodeSpec &spec) -> llvm::Expected<Kernel> { return makeMomentKernel(spec, axis, zero, isSquare); };
    if (moment->square && moment->square->hasOneUse() && !isObserved(moment->square.getResult()))
      plan.absorbed.insert(moment->square);
    plan.steps.try_emplace(sum, std::move(step));
  }
}

} // namespace nibble::runtime

#include "passes/Lower/IntervalTransfer.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "passes/Lower/IntegerConstants.h"
#include "passes/Lower/IntervalAccumulators.h"
#include "passes/Lower/IntervalIdioms.h"
#include "passes/Lower/IntervalRescale.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nibble {
namespace {

unsigned bitsOf(Value value) { return getElementTypeOrSelf(value.getType()).getIntOrFloatBitWidth(); }

ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

/// The values of a function that rises or falls with each argument while the other is fixed.
template <typename Function> Interval mapCorners(Interval x, Interval y, Function function) {
  Interval result = Interval::point(function(x.low, y.low));
  for (auto [a, b] : {std::pair(x.low, y.high), std::pair(x.high, y.low), std::pair(x.high, y.high)})
    result = result.hull(Interval::point(function(a, b)));
  return result;
}

int64_t shiftRight(int64_t value, int64_t shift, bool isRounded) {
  int64_t result = value >> shift;
  return isRounded && shift > 0 ? result + ((value >> (shift - 1)) & 1) : result;
}

int64_t countLeadingZeros(int64_t value, unsigned bits) {
  return value < 0 ? 0 : static_cast<int64_t>(llvm::countl_zero(static_cast<uint64_t>(value))) - (64 - bits);
}

struct Evaluator {
  IntervalAnalysis &analysis;
  Operation *op;
  std::optional<std::string> problem = std::nullopt;

  Interval of(Value value) { return analysis.of(value); }

  void require(llvm::StringRef subject, Interval found, Interval wanted) {
    if (!problem && !wanted.contains(found))
      problem = subject.str() + " may lie in " + found.str() + ", which must be within " + wanted.str();
  }

  /// The shifts that happen: TOSA leaves others undefined.
  Interval shiftOf(Value shift, unsigned bits) {
    Interval found = of(shift), wanted = {0, static_cast<int64_t>(bits) - 1};
    require("shift", found, wanted);
    return found.clampTo(wanted);
  }

  Interval evaluateConstant() {
    Tensor tensor = readIntegers(op->getResult(0));
    return tensor && tensor.elementCount() > 0 ? hullOf(tensor) : rangeOfType(op->getResult(0).getType());
  }

  Interval evaluateAccumulator() {
    const AccumulatorBounds *bounds = analysis.accumulatorOf(op);
    require("accumulator", bounds->partial, rangeOfType(op->getResult(0).getType()));
    return bounds->result;
  }

  Interval evaluateMul(tosa::MulOp mul) {
    Interval x = of(mul.getInput1()), y = of(mul.getInput2());
    Interval product = x * y;
    if (resolveMoved(mul.getInput1()) == resolveMoved(mul.getInput2()))
      product = product.intersect({0, std::numeric_limits<int64_t>::max()});
    product = product.intersect(boundProduct(analysis, mul));
    Interval shift = of(mul.getShift());
    Interval wanted = {0, bitsOf(mul.getInput1()) == 32 ? 63 : 0};
    require("shift", shift, wanted);
    return mapCorners(product, shift.clampTo(wanted), [](int64_t value, int64_t amount) {
      // In 128 bits the rounding cannot overflow.
      __int128 half = amount ? static_cast<__int128>(1) << (amount - 1) : 0;
      return static_cast<int64_t>((value + half) >> amount);
    });
  }

  Interval evaluateRightShift(tosa::LogicalRightShiftOp shiftOp) {
    unsigned bits = bitsOf(shiftOp.getInput1());
    Interval x = of(shiftOp.getInput1()), shift = shiftOf(shiftOp.getInput2(), bits);
    auto shiftLogically = [](int64_t value, int64_t amount) { return value >> amount; };
    if (x.low >= 0)
      return mapCorners(x, shift, shiftLogically);
    if (shift.low == 0)
      return rangeOfType(shiftOp.getType());
    return {0, Interval::ofBits(bits + 1).high >> shift.low};
  }

  Interval evaluateLeftShift(tosa::LogicalLeftShiftOp shiftOp) {
    Interval x = of(shiftOp.getInput1()), shift = shiftOf(shiftOp.getInput2(), bitsOf(shiftOp.getInput1()));
    Interval shifted = x * Interval{int64_t(1) << shift.low, int64_t(1) << shift.high};
    return shifted.intersect(boundNormalized(analysis, shiftOp)).intersect(boundLimited(analysis, shiftOp));
  }

  /// Bits that both operands can have, or sign extensions of them.
  Interval evaluateBits(Value left, Value right, bool isAnd) {
    Interval x = of(left), y = of(right);
    if (isAnd && (x.low >= 0 || y.low >= 0))
      return {0, x.low >= 0 && y.low >= 0 ? std::min(x.high, y.high) : x.low >= 0 ? x.high : y.high};
    for (auto [mask, value] : {std::pair(x, y), std::pair(y, x)})
      if (isAnd && mask.isPoint() && llvm::isPowerOf2_64(static_cast<uint64_t>(-mask.low)))
        return {value.low & mask.low, value.high & mask.low};
    Interval both = x.hull(y);
    uint64_t largest = static_cast<uint64_t>(std::max(both.high, both.low < 0 ? ~both.low : 0));
    int64_t ones = static_cast<int64_t>(llvm::bit_ceil(largest + 1) - 1);
    return {both.low < 0 ? ~ones : 0, ones};
  }

  Interval evaluateDivision(tosa::IntDivOp division) {
    Interval x = of(division.getInput1()), y = of(division.getInput2());
    if (y.contains(Interval::point(0))) {
      if (!problem)
        problem = "divisor may lie in " + y.str() + ", which must not hold 0";
      return rangeOfType(division.getType());
    }
    // The quotient is monotone in the divisor while that keeps its sign.
    return mapCorners(x, y, [](int64_t dividend, int64_t divisor) { return dividend / divisor; });
  }

  Interval evaluateTable(tosa::TableOp table) {
    Tensor tensor = readIntegers(table.getTable());
    if (!tensor) {
      problem = "table is not constant";
      return rangeOfType(table.getType());
    }
    SmallVector<int64_t> entries = tensor.valuesAsInt64();
    Interval x = of(table.getInput1());
    if (bitsOf(table.getInput1()) == 8) {
      if (entries.size() != 256)
        return rangeOfType(table.getType());
      Interval result = Interval::point(entries[x.low + 128]);
      for (int64_t value = x.low; value <= x.high; ++value)
        result = result.hull(Interval::point(entries[value + 128]));
      return result;
    }
    if (entries.size() != 513)
      return rangeOfType(table.getType());
    auto interpolate = [&](int64_t value) {
      int64_t index = (value + 32768) >> 7, fraction = value & 127;
      return Interval::point((entries[index] << 7) + (entries[index + 1] - entries[index]) * fraction);
    };
    Interval result = interpolate(x.low).hull(interpolate(x.high));
    for (int64_t index = (x.low + 32768) >> 7; index <= (x.high + 32768) >> 7; ++index) {
      // Between entries the result is a line, so its extremes are at entries and at the ends.
      if (((index << 7) - 32768) >= x.low)
        result = result.hull(Interval::point(entries[index] << 7));
      require("slope of the table", Interval::point(entries[index + 1] - entries[index]), Interval::ofBits(16));
    }
    return result;
  }

  Interval evaluateSlice(tosa::SliceOp slice) {
    Tensor tensor = readIntegers(slice.getInput1());
    std::optional<SmallVector<int64_t>> start = readConstantShape(slice.getStart());
    ArrayRef<int64_t> size = shapeOf(slice.getOutput());
    // Only constants of a size that belongs in a program are cut; others keep the interval of the whole.
    constexpr int64_t largest = 1 << 20;
    if (!tensor || !start || tensor.elementCount() > largest || elementCount(size) == 0)
      return of(slice.getInput1());
    SmallVector<int64_t> values = tensor.valuesAsInt64();
    std::optional<Interval> result;
    SmallVector<int64_t> index(size.size());
    for (int64_t i = 0, count = elementCount(size); i < count; ++i) {
      int64_t position = 0;
      for (auto [axis, extent] : llvm::enumerate(tensor.shape()))
        position = position * extent + (*start)[axis] + index[axis];
      Interval value = Interval::point(values[position]);
      result = result ? result->hull(value) : value;
      for (size_t axis = index.size(); axis-- > 0 && ++index[axis] == size[axis];)
        index[axis] = 0;
    }
    return *result;
  }

  Interval evaluateConcat(tosa::ConcatOp concat) {
    Interval result = of(concat.getInput1().front());
    for (Value input : concat.getInput1().drop_front())
      result = result.hull(of(input));
    return result;
  }

  Interval evaluatePad(tosa::PadOp pad) {
    std::optional<SmallVector<int64_t>> padding = readConstantShape(pad.getPadding());
    Interval input = of(pad.getInput1());
    bool isNothing = padding && llvm::all_of(*padding, [](int64_t size) { return size == 0; });
    return isNothing ? input : input.hull(of(pad.getPadConst()));
  }

  Interval evaluateSelect(tosa::SelectOp select) {
    Interval condition = of(select.getInput1());
    if (condition.isPoint())
      return of(condition.low ? select.getInput2() : select.getInput3());
    return of(select.getInput2()).hull(of(select.getInput3()));
  }

  Interval evaluateResize(tosa::ResizeOp resize) {
    Interval input = of(resize.getInput());
    if (resize.getMode() == tosa::ResizeMode::NEAREST_NEIGHBOR)
      return input;
    std::optional<SmallVector<int64_t>> scale = readConstantShape(resize.getScale());
    if (!scale || scale->size() != 4)
      return rangeOfType(resize.getType());
    // The four weights of a result add up to the product of the numerators.
    return input * Interval::point((*scale)[0] * (*scale)[2]);
  }

  Interval evaluateNegate(tosa::NegateOp negate) {
    Interval result = of(negate.getInput1Zp()) - of(negate.getInput1()) + of(negate.getOutputZp());
    return bitsOf(negate.getInput1()) < 32 ? result.clampTo(rangeOfType(negate.getType())) : result;
  }

  Interval evaluateClz(tosa::ClzOp clz) {
    Interval x = of(clz.getInput1());
    unsigned bits = bitsOf(clz.getInput1());
    // Negative numbers have none, and 0 more than those above.
    return {x.low < 0 ? 0 : countLeadingZeros(x.high, bits),
            countLeadingZeros(x.high < 0 ? -1 : std::max<int64_t>(x.low, 0), bits)};
  }

  Interval evaluateCast(tosa::CastOp cast) {
    Interval x = of(cast.getInput());
    if (bitsOf(cast.getOutput()) != 1)
      return x;
    bool canBeZero = x.contains(Interval::point(0)), isZero = x == Interval::point(0);
    return {canBeZero ? 0 : 1, isZero ? 0 : 1};
  }

  Interval compare(bool isNever, bool isAlways) { return {isAlways ? 1 : 0, isNever ? 0 : 1}; }

  Interval evaluateComparison(Value left, Value right, bool isStrict) {
    Interval x = of(left), y = of(right);
    return isStrict ? compare(x.high <= y.low, x.low > y.high) : compare(x.high < y.low, x.low >= y.high);
  }

  Interval evaluateEqual(tosa::EqualOp equal) {
    Interval x = of(equal.getInput1()), y = of(equal.getInput2());
    return compare(x.high < y.low || y.high < x.low, x.isPoint() && x == y);
  }

  Interval evaluateAbs(tosa::AbsOp abs) {
    Interval x = of(abs.getInput1());
    int64_t low = x.low > 0 ? x.low : x.high < 0 ? -x.high : 0;
    return {low, std::max(x.high, (Interval::point(0) - x).high)};
  }

  Interval run() {
    Interval unknown = rangeOfType(op->getResult(0).getType());
    return llvm::TypeSwitch<Operation *, Interval>(op)
        .Case<nn::ConstantOp, tosa::ConstOp>([&](Operation *) { return evaluateConstant(); })
        .Case<tosa::Conv2DOp, tosa::Conv3DOp, tosa::DepthwiseConv2DOp, tosa::TransposeConv2DOp, tosa::MatMulOp>(
            [&](Operation *) { return evaluateAccumulator(); })
        .Case([&](tosa::RescaleOp rescale) { return evaluateRescale(analysis, rescale, problem); })
        .Case([&](tosa::AvgPool2dOp pool) { return evaluateAveragePool(analysis, pool, problem); })
        .Case([&](tosa::AddOp add) { return of(add.getInput1()) + of(add.getInput2()); })
        .Case([&](tosa::SubOp sub) {
          return (of(sub.getInput1()) - of(sub.getInput2())).intersect(boundDifference(analysis, sub));
        })
        .Case([&](tosa::MulOp mul) { return evaluateMul(mul); })
        .Case([&](tosa::ArithmeticRightShiftOp shift) {
          return mapCorners(
              of(shift.getInput1()), shiftOf(shift.getInput2(), bitsOf(shift.getInput1())),
              [&](int64_t value, int64_t amount) { return shiftRight(value, amount, shift.getRound()); });
        })
        .Case([&](tosa::LogicalRightShiftOp shift) { return evaluateRightShift(shift); })
        .Case([&](tosa::LogicalLeftShiftOp shift) { return evaluateLeftShift(shift); })
        .Case([&](tosa::BitwiseAndOp bits) { return evaluateBits(bits.getInput1(), bits.getInput2(), true); })
        .Case<tosa::BitwiseOrOp, tosa::BitwiseXorOp>(
            [&](auto bits) { return evaluateBits(bits.getInput1(), bits.getInput2(), false); })
        .Case([&](tosa::BitwiseNotOp bits) {
          Interval x = of(bits.getInput1());
          return Interval{~x.high, ~x.low};
        })
        .Case([&](tosa::IntDivOp division) { return evaluateDivision(division); })
        .Case([&](tosa::MaximumOp maximum) {
          Interval x = of(maximum.getInput1()), y = of(maximum.getInput2());
          return Interval{std::max(x.low, y.low), std::max(x.high, y.high)};
        })
        .Case([&](tosa::MinimumOp minimum) {
          Interval x = of(minimum.getInput1()), y = of(minimum.getInput2());
          return Interval{std::min(x.low, y.low), std::min(x.high, y.high)};
        })
        .Case([&](tosa::ClampOp clamp) {
          return of(clamp.getInput())
              .clampTo({cast<IntegerAttr>(clamp.getMinVal()).getValue().getSExtValue(),
                        cast<IntegerAttr>(clamp.getMaxVal()).getValue().getSExtValue()});
        })
        .Case([&](tosa::AbsOp abs) { return evaluateAbs(abs); })
        .Case([&](tosa::ClzOp clz) { return evaluateClz(clz); })
        .Case([&](tosa::NegateOp negate) { return evaluateNegate(negate); })
        .Case([&](tosa::TableOp table) { return evaluateTable(table); })
        .Case([&](tosa::SelectOp select) { return evaluateSelect(select); })
        .Case([&](tosa::EqualOp equal) { return evaluateEqual(equal); })
        .Case([&](tosa::GreaterOp greater) {
          return evaluateComparison(greater.getInput1(), greater.getInput2(), true);
        })
        .Case([&](tosa::GreaterEqualOp greater) {
          return evaluateComparison(greater.getInput1(), greater.getInput2(), false);
        })
        .Case([&](tosa::ReduceSumOp sum) {
          return of(sum.getInput()) * Interval::point(shapeOf(sum.getInput())[sum.getAxis()]);
        })
        .Case([&](tosa::ArgMaxOp argmax) {
          return Interval{0, shapeOf(argmax.getInput())[argmax.getAxis()] - 1};
        })
        .Case<tosa::ReduceMaxOp, tosa::ReduceMinOp, tosa::ReduceAllOp, tosa::ReduceAnyOp, tosa::MaxPool2dOp>(
            [&](auto reduction) { return of(reduction.getInput()); })
        .Case([&](tosa::ConcatOp concat) { return evaluateConcat(concat); })
        .Case([&](tosa::PadOp pad) { return evaluatePad(pad); })
        .Case([&](tosa::SliceOp slice) { return evaluateSlice(slice); })
        .Case([&](tosa::ReshapeOp reshape) { return of(reshape.getInput1()); })
        .Case<tosa::ReverseOp, tosa::TileOp, tosa::TransposeOp, tosa::IdentityOp>(
            [&](auto move) { return of(move.getInput1()); })
        .Case([&](tosa::GatherOp gather) { return of(gather.getValues()); })
        .Case([&](tosa::ScatterOp scatter) { return of(scatter.getValuesIn()).hull(of(scatter.getInput())); })
        .Case([&](tosa::ResizeOp resize) { return evaluateResize(resize); })
        .Case([&](tosa::CastOp cast) { return evaluateCast(cast); })
        .Default([&](Operation *) { return unknown; });
  }
};

} // namespace

Evaluation evaluate(IntervalAnalysis &analysis, Operation *op) {
  Type type = getElementTypeOrSelf(op->getResult(0).getType());
  if (!isa<IntegerType>(type) || !llvm::all_of(op->getOperandTypes(), [](Type operand) {
        auto shaped = dyn_cast<ShapedType>(operand);
        return !shaped || (shaped.hasStaticShape() && isa<IntegerType>(shaped.getElementType()));
      }))
    return {rangeOfType(type), std::nullopt};
  Evaluator evaluator{analysis, op};
  Interval result = evaluator.run();
  evaluator.require("result", result, rangeOfType(type));
  return {result, std::move(evaluator.problem)};
}

} // namespace nibble

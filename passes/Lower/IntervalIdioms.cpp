#include "passes/Lower/IntervalIdioms.h"
#include "passes/Lower/IntegerConstants.h"
#include "passes/Lower/UpperBounds.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nibble {
namespace {

constexpr int64_t most = std::numeric_limits<int64_t>::max();
constexpr int64_t least = std::numeric_limits<int64_t>::min();

bool isConstant(Value value) {
  Operation *op = resolveMoved(value).getDefiningOp();
  return op && op->getNumOperands() == 0;
}

/// The number k of `value >> k << k`, rounded toward minus infinity, and the value.
struct Multiple {
  Value value;
  int64_t bits;
};

std::optional<Multiple> matchMultiple(IntervalAnalysis &analysis, Operation *op) {
  if (auto left = dyn_cast_or_null<tosa::LogicalLeftShiftOp>(op)) {
    auto right = resolveMoved(left.getInput1()).getDefiningOp<tosa::ArithmeticRightShiftOp>();
    if (!right || right.getRound())
      return std::nullopt;
    Interval outer = analysis.of(left.getInput2()), inner = analysis.of(right.getInput2());
    if (!outer.isPoint() || outer != inner || !Interval{0, 31}.contains(outer))
      return std::nullopt;
    return Multiple{resolveMoved(right.getInput1()), outer.low};
  }
  if (auto bits = dyn_cast_or_null<tosa::BitwiseAndOp>(op)) {
    for (auto [value, mask] : {std::pair(bits.getInput1(), bits.getInput2()),
                               std::pair(bits.getInput2(), bits.getInput1())}) {
      Interval ones = isConstant(mask) ? analysis.of(mask) : Interval();
      if (ones.isPoint() && ones.low < 0 && llvm::isPowerOf2_64(static_cast<uint64_t>(-ones.low)))
        return Multiple{resolveMoved(value), static_cast<int64_t>(llvm::Log2_64(static_cast<uint64_t>(-ones.low)))};
    }
  }
  return std::nullopt;
}

/// The x and y of `(x / y) * y`, which lies between 0 and x.
struct WholePart {
  Value x, y;
};

std::optional<WholePart> matchWholePart(IntervalAnalysis &analysis, Operation *op) {
  auto mul = dyn_cast_or_null<tosa::MulOp>(op);
  if (!mul || analysis.of(mul.getShift()) != Interval::point(0))
    return std::nullopt;
  for (auto [quotient, factor] : {std::pair(mul.getInput1(), mul.getInput2()), std::pair(mul.getInput2(), mul.getInput1())})
    if (auto division = resolveMoved(quotient).getDefiningOp<tosa::IntDivOp>())
      if (resolveMoved(division.getInput2()) == resolveMoved(factor))
        return WholePart{resolveMoved(division.getInput1()), resolveMoved(factor)};
  return std::nullopt;
}

/// A shift that is tied to the leading zeros of `measured`:
///   min(clz - lost.high, floor) <= shift <= max(clz - lost.low, ceiling)
struct NormalizingShift {
  Value measured;
  /// Reshapes, transposes and tiles between the shift and the count, the last first.
  SmallVector<Operation *> moves;
  Interval lost = Interval::point(0);
  int64_t ceiling = least;
  int64_t floor = most;
};

/// From the shift back to tosa.clz, where each operation changes the bounds of what follows it.
std::optional<NormalizingShift> matchNormalizingShift(IntervalAnalysis &analysis, Value shift) {
  NormalizingShift result;
  auto followed = [&](Operation *op, Value operand) {
    // A broadcast on the way is not looked for.
    return operand.getType() == op->getResult(0).getType() ? operand : Value();
  };
  auto splitConstant = [&](Operation *op) {
    bool isFirst = isConstant(op->getOperand(0));
    return std::pair(followed(op, op->getOperand(isFirst)), analysis.of(op->getOperand(!isFirst)));
  };
  // Shifts take a handful of operations; the limit is for programs that are built to take many.
  for (int remaining = 64; remaining-- && shift;) {
    Operation *op = resolveMoved(shift).getDefiningOp();
    if (auto clz = dyn_cast_or_null<tosa::ClzOp>(op)) {
      if (!clz.getType().getElementType().isInteger(32))
        return std::nullopt;
      result.measured = resolveMoved(clz.getInput1());
      return result;
    }
    if (auto sub = dyn_cast_or_null<tosa::SubOp>(op)) {
      result.lost = result.lost + analysis.of(sub.getInput2());
      shift = followed(op, sub.getInput1());
    } else if (isa_and_nonnull<tosa::AddOp>(op)) {
      auto [operand, added] = splitConstant(op);
      result.lost = result.lost - added;
      shift = operand;
    } else if (isa_and_nonnull<tosa::MinimumOp>(op)) {
      auto [operand, limit] = splitConstant(op);
      result.floor = std::min(result.floor, (Interval::point(limit.low) - result.lost).low);
      shift = operand;
    } else if (isa_and_nonnull<tosa::MaximumOp>(op)) {
      auto [operand, limit] = splitConstant(op);
      result.ceiling = std::max(result.ceiling, (Interval::point(limit.high) - result.lost).high);
      shift = operand;
    } else if (std::optional<Multiple> multiple = matchMultiple(analysis, op)) {
      result.lost = result.lost + Interval{0, (int64_t(1) << multiple->bits) - 1};
      shift = multiple->value.getType() == op->getResult(0).getType() ? multiple->value : Value();
    } else if (isa_and_nonnull<tosa::ReshapeOp, tosa::TransposeOp, tosa::TileOp>(op)) {
      result.moves.push_back(op);
      shift = op->getOperand(0);
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

/// 2^exponent, or the ends of what int64 holds.
int64_t powerOfTwo(int64_t exponent) {
  return exponent < 0 ? 0 : exponent > 62 ? most : int64_t(1) << exponent;
}

/// The constant c of `c >> shift`, rounded toward minus infinity, or of minus that.
std::optional<int64_t> matchShiftedLimit(IntervalAnalysis &analysis, Value limit, Value shift) {
  auto right = resolveMoved(limit).getDefiningOp<tosa::ArithmeticRightShiftOp>();
  if (!right || right.getRound() || resolveMoved(right.getInput2()) != resolveMoved(shift))
    return std::nullopt;
  Interval shifted = analysis.of(right.getInput1());
  return shifted.isPoint() && shifted.low >= 0 ? std::optional(shifted.low) : std::nullopt;
}

/// `value` times 2^shift, for a shift that TOSA defines.
Interval shiftLeft(int64_t value, int64_t shift) {
  return Interval::point(value) * Interval::point(powerOfTwo(std::clamp<int64_t>(shift, 0, 31)));
}

} // namespace

Interval boundDifference(IntervalAnalysis &analysis, tosa::SubOp op) {
  Value x = op.getInput1(), y = op.getInput2();
  std::optional<Multiple> multiple = matchMultiple(analysis, resolveMoved(y).getDefiningOp());
  if (multiple && multiple->value == resolveMoved(x))
    return {0, (int64_t(1) << multiple->bits) - 1};
  if (std::optional<WholePart> whole = matchWholePart(analysis, resolveMoved(y).getDefiningOp()); whole && whole->x == resolveMoved(x)) {
    // A remainder has the sign of x and is smaller than the divisor.
    Interval dividend = analysis.of(x), divisor = analysis.of(whole->y);
    int64_t largest = std::max({divisor.high, -divisor.low, int64_t(1)}) - 1;
    return {dividend.low < 0 ? -largest : 0, dividend.high > 0 ? largest : 0};
  }
  if (isUpperBound(x, {}, y, Compared::Value))
    return {0, most};
  if (isUpperBound(y, {}, x, Compared::Value))
    return {least, 0};
  return {};
}

Interval boundProduct(IntervalAnalysis &analysis, tosa::MulOp op) {
  std::optional<WholePart> whole = matchWholePart(analysis, op);
  if (!whole)
    return {};
  Interval x = analysis.of(whole->x);
  return {std::min<int64_t>(x.low, 0), std::max<int64_t>(x.high, 0)};
}

Interval boundNormalized(IntervalAnalysis &analysis, tosa::LogicalLeftShiftOp op) {
  if (!op.getType().getElementType().isInteger(32))
    return {};
  std::optional<NormalizingShift> shift = matchNormalizingShift(analysis, op.getInput2());
  if (!shift)
    return {};
  Interval value = analysis.of(op.getInput1());
  Compared compared = value.low >= 0 ? Compared::Value : Compared::Magnitude;
  if (!isUpperBound(shift->measured, shift->moves, op.getInput1(), compared))
    return {};
  // |x| < 2^(32 - clz), so that a shift by clz - lost stays below 2^(32 - lost).
  int64_t magnitude = std::max(value.high, (Interval::point(0) - value).high);
  int64_t high = std::max<int64_t>(powerOfTwo((Interval::point(32) - shift->lost).high) - 1, 0);
  if (shift->ceiling != least)
    high = std::max(high, shiftLeft(magnitude, shift->ceiling).high);
  int64_t low = value.low >= 0 ? 0 : -high;
  bool isMeasuredItself = shift->moves.empty() && shift->measured == resolveMoved(op.getInput1());
  if (isMeasuredItself && value.low >= 1) {
    low = powerOfTwo((Interval::point(31) - shift->lost).low);
    if (shift->floor != most)
      low = std::min(low, shiftLeft(value.low, shift->floor).low);
  }
  return {low, high};
}

Interval boundLimited(IntervalAnalysis &analysis, tosa::LogicalLeftShiftOp op) {
  auto atLeast = resolveMoved(op.getInput1()).getDefiningOp<tosa::MaximumOp>();
  auto atMost = atLeast ? resolveMoved(atLeast.getInput1()).getDefiningOp<tosa::MinimumOp>() : nullptr;
  auto negated = atLeast ? resolveMoved(atLeast.getInput2()).getDefiningOp<tosa::SubOp>() : nullptr;
  if (!atMost || !negated || analysis.of(negated.getInput1()) != Interval::point(0))
    return {};
  std::optional<int64_t> high = matchShiftedLimit(analysis, atMost.getInput2(), op.getInput2());
  std::optional<int64_t> low = matchShiftedLimit(analysis, negated.getInput2(), op.getInput2());
  return high && low ? Interval{-*low, *high} : Interval();
}

} // namespace nibble

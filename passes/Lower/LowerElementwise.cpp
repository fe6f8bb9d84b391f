//===- LowerElementwise.cpp - arithmetic of two values -----------------------===//
//
// Operands are integers of different steps. Sums, differences and choices bring them to one fine i32 grid and
// round once, at the end. Products need no common step: the steps are multiplied.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"
#include "passes/Lower/Functions.h"
#include "passes/Lower/Operands.h"

#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

template <typename Combine>
FailureOr<Stored> combine(Lowering &lowering, const LoweringRequest &request, Combine function) {
  FailureOr<Aligned> aligned = alignOperands(lowering, request.op->getOperands());
  if (failed(aligned))
    return failure();
  bool ofNumbers = request.grid.isOfNumbers();
  SmallVector<Grid> grids;
  for (const Stored &operand : aligned->operands)
    grids.push_back(operand.grid);
  double step = ofNumbers ? 1 : commonStep(grids);
  SmallVector<Value> values;
  for (const Stored &operand : aligned->operands)
    values.push_back(ofNumbers ? operand.value : inSteps(lowering, operand, step));
  Value result = values.front();
  for (Value value : llvm::drop_begin(values))
    result = function(result, value);
  return Stored{ofNumbers ? result : lowering.toGrid(result, step, request.grid), request.grid, aligned->order};
}

FailureOr<Stored> lowerAdd(Lowering &lowering, const LoweringRequest &request) {
  return combine(lowering, request, [&](Value a, Value b) { return lowering.b.add(a, b); });
}
FailureOr<Stored> lowerSub(Lowering &lowering, const LoweringRequest &request) {
  return combine(lowering, request, [&](Value a, Value b) { return lowering.b.sub(a, b); });
}
FailureOr<Stored> lowerMax(Lowering &lowering, const LoweringRequest &request) {
  return combine(lowering, request, [&](Value a, Value b) { return lowering.b.maximum(a, b); });
}
FailureOr<Stored> lowerMin(Lowering &lowering, const LoweringRequest &request) {
  return combine(lowering, request, [&](Value a, Value b) { return lowering.b.minimum(a, b); });
}

/// The real that all elements of a constant operand equal.
std::optional<double> findSplat(Lowering &lowering, Value value) {
  StoredConstant constant = lowering.findConstant(value);
  if (!constant || constant.integers.elementCount() == 0)
    return std::nullopt;
  Tensor reals = constant.reals();
  double first = reals.valueAsDouble(0);
  for (int64_t i = 1; i < reals.elementCount(); ++i)
    if (reals.valueAsDouble(i) != first)
      return std::nullopt;
  return first;
}

/// The operator whose result, rounded, `value` is.
Operation *findRounded(Value value) {
  auto rounded = nn::resolveThroughBlocks(value).getDefiningOp<nn::FakeQuantOp>();
  return rounded ? nn::resolveThroughBlocks(rounded.getInput()).getDefiningOp() : nullptr;
}

/// x * f(x), as SiLU is written: one table, with f not rounded in between. Empty where `op` is none.
std::optional<FailureOr<Stored>> lowerSelfGated(Lowering &lowering, const LoweringRequest &request) {
  for (unsigned gate : {0u, 1u}) {
    Operation *function = findRounded(request.op->getOperand(gate));
    if (!function || !isa<nn::SigmoidOp, nn::TanhOp, nn::HardSigmoidOp, nn::ErfOp>(function) ||
        nn::resolveThroughBlocks(function->getOperand(0)) != nn::resolveThroughBlocks(request.op->getOperand(1 - gate)))
      continue;
    FailureOr<Stored> input = lowering.find(request.op->getOperand(1 - gate));
    if (failed(input))
      return FailureOr<Stored>();
    return lookUp(
        lowering, *input,
        [&](llvm::ArrayRef<double> points, SmallVectorImpl<double> &values) {
          if (failed(evaluateElementwise(function, 0, points, {}, values)))
            return failure();
          for (auto [value, point] : llvm::zip_equal(values, points))
            value *= point;
          return success();
        },
        request.grid);
  }
  return std::nullopt;
}

/// x * factor on the wanted grid.
Stored scaleBy(Lowering &lowering, const Stored &input, double factor, const Grid &grid) {
  Value value = lowering.reals32(input);
  if (factor < 0)
    value = lowering.b.negative(value);
  return Stored{lowering.toGrid(value, std::abs(factor) * input.grid.scale, grid), grid, input.order};
}

FailureOr<Stored> lowerMul(Lowering &lowering, const LoweringRequest &request) {
  TosaBuilder &b = lowering.b;
  if (request.grid.isOfNumbers())
    return combine(lowering, request, [&](Value x, Value y) { return b.mul(x, y); });
  if (std::optional<FailureOr<Stored>> gated = lowerSelfGated(lowering, request))
    return *gated;
  FailureOr<Aligned> aligned = alignOperands(lowering, request.op->getOperands());
  if (failed(aligned))
    return failure();
  const Stored &x = aligned->operands[0], &y = aligned->operands[1];
  for (unsigned i : {0u, 1u}) {
    std::optional<double> factor = findSplat(lowering, request.op->getOperand(i));
    bool keepsShape = elementCount(b.dims(aligned->operands[i].value)) == 1;
    if (factor && keepsShape)
      return scaleBy(lowering, aligned->operands[1 - i], *factor, request.grid);
  }
  Value left = lowering.reals32(x), right = lowering.reals32(y);
  double largest = static_cast<double>(b.magnitude(left)) * static_cast<double>(b.magnitude(right));
  int64_t shift = std::max(0, static_cast<int>(std::ceil(std::log2(std::max(1.0, largest) / 1073741824.0))));
  Value product = b.mul(left, right, shift);
  double step = x.grid.scale * y.grid.scale * std::ldexp(1.0, static_cast<int>(shift));
  return Stored{lowering.toGrid(product, step, request.grid), request.grid, aligned->order};
}

/// The dividend of a division of numbers, which must not be by 0, and whose result must be a number.
FailureOr<Value> checkDivision(Lowering &lowering, Operation *op, Value dividend, Value divisor) {
  Interval range = lowering.b.interval(divisor);
  if (range.low <= 0 && range.high >= 0)
    return lowering.refuse(op, "its divisor may be 0 or of either sign", "divide by constants of one sign");
  return range.high < 0 ? lowering.b.clamp(dividend, INT32_MIN + 1, INT32_MAX) : dividend;
}

/// numerator / divisor on `grid`, both i32. `unit` is the quotient of their steps.
Value divide(Lowering &lowering, Value numerator, Value divisor, double unit, const Grid &grid) {
  TosaBuilder &b = lowering.b;
  // |y| by its reciprocal, and the sign by a product. A divisor of 0 counts as one step.
  int64_t rank = b.rank(divisor);
  Value sign = b.clamp(divisor, -1, 1);
  Reciprocal inverse = reciprocal(b, b.maximum(b.abs(divisor), b.scalar(1, rank)));
  // x / y = x * mantissa * 2^(shift - 60) in steps of the quotient of both scales. As many fractional bits are kept
  // as leave room for the largest value of the result's grid; what reaches beyond saturates there anyway.
  double reach = std::max(std::abs(grid.lowest()), std::abs(grid.highest())) / unit;
  int64_t fraction = std::clamp<int64_t>(28 - static_cast<int64_t>(std::ceil(std::log2(std::max(reach, 1e-9)))), 0, 40);
  Value scaled = b.mul(numerator, inverse.mantissa, 18);
  Value down = b.sub(b.scalar(60 - 18 - fraction, rank), inverse.shift);
  Value left = b.clamp(b.negative(down), 0, 31);
  Value quotient = b.shiftRight(scaled, b.clamp(down, 0, 31));
  // Shifting left must not leave 32 bits: what would is beyond the grid.
  Value limit = b.shiftRight(b.scalar((int64_t(1) << 30) - 1, rank), left, /*round=*/false);
  quotient = b.minimum(quotient, limit);
  quotient = b.maximum(quotient, b.negative(limit));
  quotient = b.mul(b.shiftLeft(quotient, left), sign);
  return lowering.toGrid(quotient, unit * std::ldexp(1.0, -static_cast<int>(fraction)), grid);
}

FailureOr<Stored> lowerDiv(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Aligned> aligned = alignOperands(lowering, request.op->getOperands());
  if (failed(aligned))
    return failure();
  const Stored &x = aligned->operands[0], &y = aligned->operands[1];
  if (request.grid.isOfNumbers()) {
    FailureOr<Value> dividend = checkDivision(lowering, request.op, x.value, y.value);
    if (failed(dividend))
      return failure();
    return Stored{lowering.b.intDiv(*dividend, y.value), request.grid, aligned->order};
  }
  if (std::optional<double> divisor = findSplat(lowering, request.op->getOperand(1)); divisor && *divisor != 0)
    return scaleBy(lowering, x, 1 / *divisor, request.grid);
  Value quotient =
      divide(lowering, lowering.reals32(x), lowering.reals32(y), x.grid.scale / y.grid.scale, request.grid);
  return Stored{quotient, request.grid, aligned->order};
}

/// 16-bit values are divided by: tables cannot follow the reciprocal near 0.
FailureOr<Stored> lowerReciprocal(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  if (input->grid.bits == 8)
    return lowerUnary(lowering, request);
  constexpr int64_t one = 1 << 16;
  Value quotient = divide(lowering, lowering.b.scalar(one, input->rank()), lowering.reals32(*input),
                          1.0 / static_cast<double>(one) / input->grid.scale, request.grid);
  return Stored{quotient, request.grid, input->order};
}

/// The remainder of numbers: by a quotient towards zero it has the sign of x; ONNX wants that of y unless `fmod` is set.
FailureOr<Stored> lowerMod(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ModOp>(request.op);
  if (!request.grid.isOfNumbers())
    return lowering.refuse(op, "Mod has an integer form for integers only");
  FailureOr<Aligned> aligned = alignOperands(lowering, op->getOperands());
  if (failed(aligned))
    return failure();
  TosaBuilder &b = lowering.b;
  Value x = aligned->operands[0].value, y = aligned->operands[1].value;
  FailureOr<Value> dividend = checkDivision(lowering, op, x, y);
  if (failed(dividend))
    return failure();
  Value remainder = b.sub(*dividend, b.mul(b.intDiv(*dividend, y), y));
  if (!op.getFmod()) {
    Value zero = b.scalar(0, b.rank(remainder));
    Value differs = b.logical<tosa::LogicalXorOp>(b.compare<tosa::GreaterOp>(zero, remainder), b.compare<tosa::GreaterOp>(zero, y));
    Value isExact = b.compare<tosa::EqualOp>(remainder, zero);
    Value corrects = b.logical<tosa::LogicalAndOp>(differs, b.logicalNot(isExact));
    remainder = b.add(remainder, b.mul(b.cast(corrects, 32), y));
  }
  return Stored{remainder, request.grid, aligned->order};
}

FailureOr<Stored> lowerPow(Lowering &lowering, const LoweringRequest &request) {
  std::optional<double> exponent = findSplat(lowering, request.op->getOperand(1));
  if (!exponent)
    return lowering.refuse(request.op, "only powers with one constant exponent have an integer form");
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  return lookUp(
      lowering, *input,
      [&](llvm::ArrayRef<double> points, SmallVectorImpl<double> &values) {
        values.clear();
        for (double point : points)
          values.push_back(std::pow(point, *exponent));
        return success();
      },
      request.grid);
}

FailureOr<Stored> lowerClip(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ClipOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  const Grid &grid = request.grid;
  int64_t low = grid.nearest(-HUGE_VAL), high = grid.nearest(HUGE_VAL);
  for (auto [bound, limit] : {std::pair(op.getMin(), &low), std::pair(op.getMax(), &high)}) {
    if (!bound)
      continue;
    std::optional<double> value = findSplat(lowering, bound);
    if (!value)
      return lowering.refuse(op, "its bounds are not constant");
    *limit = grid.nearest(*value);
  }
  FailureOr<Stored> result = grid.isOfNumbers() ? *input : lowering.convert(*input, grid);
  if (succeeded(result))
    result->value = lowering.b.clamp(result->value, low, high);
  return result;
}

/// Negative values times the slope.
FailureOr<Stored> lowerPRelu(Lowering &lowering, const LoweringRequest &request) {
  TosaBuilder &b = lowering.b;
  FailureOr<Aligned> aligned = alignOperands(lowering, request.op->getOperands());
  if (failed(aligned))
    return failure();
  const Stored &x = aligned->operands[0], &slope = aligned->operands[1];
  Value value = lowering.reals32(x);
  Value negative = b.minimum(value, b.scalar(0, b.rank(value))), positive = b.maximum(value, b.scalar(0, b.rank(value)));
  double step = commonStep({x.grid});
  double productStep = x.grid.scale * slope.grid.scale;
  // On the common step both parts add up; the product first leaves 30 bits at most.
  Value product = b.mul(negative, lowering.reals32(slope), 3);
  step = std::max(step, productStep);
  Value sum = b.add(b.rescale(positive, x.grid.scale / step, {32, 0}), b.rescale(product, productStep * 8 / step, {32, 0}));
  return Stored{lowering.toGrid(sum, step, request.grid), request.grid, aligned->order};
}

/// Numbers to reals and back; 8 and 16 bits only as the result's quantizer says.
FailureOr<Stored> lowerCast(Lowering &lowering, const LoweringRequest &request) {
  TosaBuilder &b = lowering.b;
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  if (input->grid.isOfNumbers()) {
    Value value = b.bits(input->value) == 1 ? b.cast(input->value, 32) : input->value;
    if (!request.grid.isOfNumbers())
      return Stored{lowering.toGrid(value, 1, request.grid), request.grid, input->order};
    if (request.grid.bits == 1 && b.bits(value) == 32)
      value = b.logicalNot(b.compare<tosa::EqualOp>(value, b.scalar(0, b.rank(value))));
    return Stored{value, request.grid, input->order};
  }
  if (!request.grid.isOfNumbers())
    return lowering.convert(*input, request.grid);
  Value value = lowering.reals32(*input);
  Value zero = b.scalar(0, b.rank(value));
  if (request.grid.bits == 1)
    return Stored{b.logicalNot(b.compare<tosa::EqualOp>(value, zero)), request.grid, input->order};
  // Towards zero, as C does: the magnitude is rounded down.
  Value sign = b.clamp(value, -1, 1);
  Value fine = b.rescale(b.abs(value), input->grid.scale * 256, {32, 0});
  Value whole = b.shiftRight(fine, 8, /*round=*/false);
  return Stored{b.mul(whole, sign), request.grid, input->order};
}

} // namespace

void registerElementwiseLowerings(LowerRegistry &registry) {
  registry["add"] = lowerAdd;
  registry["sub"] = lowerSub;
  registry["mul"] = lowerMul;
  registry["div"] = lowerDiv;
  registry["reciprocal"] = lowerReciprocal;
  registry["mod"] = lowerMod;
  registry["pow"] = lowerPow;
  registry["max"] = lowerMax;
  registry["min"] = lowerMin;
  registry["clip"] = lowerClip;
  registry["prelu"] = lowerPRelu;
  registry["cast"] = lowerCast;
}

} // namespace nibble

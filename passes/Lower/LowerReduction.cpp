//===- LowerReduction.cpp - sums, means and extremes along axes --------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Functions.h"
#include "passes/Lower/Operands.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace nibble {
namespace {

/// The sum of i32 values over stored `axes`, divided by 2^dropped so that it stays in 32 bits.
struct Sum {
  Value value;
  int64_t dropped;
};
Sum sumUp(TosaBuilder &b, Value value, llvm::ArrayRef<int64_t> axes) {
  int64_t count = 1;
  for (int64_t axis : axes)
    count *= b.dims(value)[static_cast<size_t>(axis)];
  int64_t dropped = bitsToDrop(b.magnitude(value), count);
  value = b.shiftRight(value, dropped);
  for (int64_t axis : axes)
    value = b.reduceSum(value, axis);
  return {value, dropped};
}

/// Numbers as they are where `count` of them have a sum of 32 bits, else limited, which is a remark.
Value limitNumbers(Lowering &lowering, Operation *op, Value value, int64_t count) {
  int64_t largest = std::numeric_limits<int32_t>::max() / count;
  if (lowering.b.magnitude(value) <= largest)
    return value;
  lowering.remark(op, "its sum of " + Twine(count) + " integers may leave 32 bits: integers beyond " + Twine(largest) +
                          " are summed as that");
  return lowering.b.clamp(value, -largest, largest);
}

/// The squares of the input's integers, of which 17-bit ones leave 30 bits, and their step.
std::pair<Value, double> squaresOf(Lowering &lowering, const Stored &input) {
  Value value = lowering.reals32(input);
  int64_t shift = input.grid.bits == 8 ? 0 : 4;
  return {lowering.b.mul(value, value, shift),
          input.grid.scale * input.grid.scale * std::ldexp(1.0, static_cast<int>(shift))};
}

/// A reduction of the input's integers to i32 with a step of its own.
template <typename Prepare>
FailureOr<Stored> lowerSum(Lowering &lowering, const LoweringRequest &request, bool isMean, Prepare prepare) {
  Operation *op = request.op;
  FailureOr<Reduced> reduced = findReduced(lowering, op);
  if (failed(reduced))
    return failure();
  TosaBuilder &b = lowering.b;
  const Stored &input = reduced->input;
  auto [value, step] = prepare(input);
  int64_t count = 1;
  SmallVector<int64_t> positions;
  for (int64_t axis : reduced->axes) {
    positions.push_back(input.position(axis));
    count *= b.dims(value)[static_cast<size_t>(positions.back())];
  }
  bool isNumber = request.grid.isOfNumbers();
  if (isNumber && isMean)
    return lowering.refuse(op, "the mean of integers has no integer form");
  if (isNumber)
    value = limitNumbers(lowering, op, value, count);
  Sum sum = sumUp(b, value, positions);
  double factor = step * std::ldexp(1.0, static_cast<int>(sum.dropped)) / (isMean ? static_cast<double>(count) : 1.0);
  Stored result{isNumber ? sum.value : lowering.toGrid(sum.value, factor, request.grid), request.grid, input.order};
  return lowering.reshape(result, nn::shapeOf(op->getResult(0)));
}

FailureOr<Stored> lowerReduceSum(Lowering &lowering, const LoweringRequest &request) {
  return lowerSum(lowering, request, false, [&](const Stored &input) {
    Value value = lowering.b.bits(input.value) == 1 ? lowering.b.cast(input.value, 32) : lowering.reals32(input);
    return std::pair(value, input.grid.scale);
  });
}

FailureOr<Stored> lowerReduceMean(Lowering &lowering, const LoweringRequest &request) {
  return lowerSum(lowering, request, true,
                  [&](const Stored &input) { return std::pair(lowering.reals32(input), input.grid.scale); });
}

FailureOr<Stored> lowerReduceL1(Lowering &lowering, const LoweringRequest &request) {
  return lowerSum(lowering, request, false, [&](const Stored &input) {
    return std::pair(lowering.b.abs(lowering.reals32(input)), input.grid.scale);
  });
}

FailureOr<Stored> lowerReduceSumSquare(Lowering &lowering, const LoweringRequest &request) {
  return lowerSum(lowering, request, false, [&](const Stored &input) { return squaresOf(lowering, input); });
}

/// The mean over all spatial dimensions.
FailureOr<Stored> lowerGlobalAverage(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  TosaBuilder &b = lowering.b;
  SmallVector<int64_t> positions;
  double count = 1;
  for (int64_t dim = 2; dim < input->rank(); ++dim) {
    positions.push_back(input->position(dim));
    count *= static_cast<double>(b.dims(input->value)[static_cast<size_t>(positions.back())]);
  }
  Sum sum = sumUp(b, lowering.reals32(*input), positions);
  double factor = input->grid.scale * std::ldexp(1.0, static_cast<int>(sum.dropped)) / count;
  return Stored{lowering.toGrid(sum.value, factor, request.grid), request.grid, input->order};
}

/// The largest or, of the negated values, the smallest. The integers are compared, so the grid stays.
FailureOr<Stored> reduceExtreme(Lowering &lowering, const LoweringRequest &request, llvm::ArrayRef<int64_t> axes,
                                const Stored &input, bool isMinimum) {
  TosaBuilder &b = lowering.b;
  Value value = b.widen(input.value);
  if (isMinimum)
    value = b.negative(value);
  for (int64_t axis : axes)
    value = b.reduceMax(value, input.position(axis));
  if (isMinimum)
    value = b.negative(value);
  unsigned bits = b.bits(input.value);
  if (bits != 32)
    value = b.rescale(value, 1.0, {bits, 0});
  return lowering.reshape(Stored{value, input.grid, input.order}, nn::shapeOf(request.op->getResult(0)));
}

template <bool isMinimum>
FailureOr<Stored> lowerReduceExtreme(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Reduced> reduced = findReduced(lowering, request.op);
  if (failed(reduced))
    return failure();
  return reduceExtreme(lowering, request, reduced->axes, reduced->input, isMinimum);
}

FailureOr<Stored> lowerGlobalMax(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  llvm::SmallVector<int64_t, 6> axes = identityOrder(input->rank());
  return reduceExtreme(lowering, request, llvm::ArrayRef<int64_t>(axes).drop_front(2), *input, /*isMinimum=*/false);
}

/// The root of the sum of squares, from its inverse. Rows of zeros have the root 0.
FailureOr<Stored> lowerReduceL2(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Reduced> reduced = findReduced(lowering, request.op);
  if (failed(reduced))
    return failure();
  TosaBuilder &b = lowering.b;
  const Stored &input = reduced->input;
  for (int64_t &axis : reduced->axes)
    axis = input.position(axis);
  auto [squares, step] = squaresOf(lowering, input);
  Sum sum = sumUp(b, squares, reduced->axes);
  auto c = [&](int64_t integer) { return b.scalar(integer, input.rank()); };
  InverseRoot root = inverseRoot(b, b.maximum(sum.value, c(1)));
  // sqrt(v) = v / sqrt(v): normalized * mantissa * 2^(-31 - halfShift + 15.5 - 29), of which 31 bits go at once.
  Value scaled = b.shiftRight(b.mul(root.normalized, root.mantissa, 31), root.halfShift);
  scaled = b.mul(scaled, b.minimum(sum.value, c(1)));
  double unit = std::sqrt(std::ldexp(step, static_cast<int>(sum.dropped))) * std::pow(2.0, -13.5);
  Stored result{lowering.toGrid(scaled, unit, request.grid), request.grid, input.order};
  return lowering.reshape(result, nn::shapeOf(request.op->getResult(0)));
}

/// Every element plus those before it, by sums over 1, 2, 4, ... neighbours.
FailureOr<Stored> lowerCumSum(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::CumSumOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  std::optional<SmallVector<int64_t>> axis = nn::readConstantIntegers(op.getAxis());
  if (failed(input))
    return failure();
  if (!axis)
    return lowering.refuse(op, "its axis is not constant");
  TosaBuilder &b = lowering.b;
  int64_t position = input->position(countFromFront(axis->front(), input->rank()));
  int64_t count = b.dims(input->value)[static_cast<size_t>(position)];
  bool isNumber = request.grid.isOfNumbers();
  Value value = isNumber ? limitNumbers(lowering, op, input->value, count) : lowering.reals32(*input);
  int64_t dropped = bitsToDrop(b.magnitude(value), count);
  value = b.shiftRight(value, dropped);
  auto moved = [&](Value x, int64_t distance) {
    Value kept = b.sliceAxis(x, position, op.getReverse() ? distance : 0, count - distance);
    Shape pads(2 * static_cast<size_t>(input->rank()), 0);
    pads[static_cast<size_t>(2 * position + (op.getReverse() ? 1 : 0))] = distance;
    return b.pad(kept, pads, 0);
  };
  if (op.getExclusive())
    value = count > 1 ? moved(value, 1) : b.sub(value, value);
  for (int64_t distance = 1; distance < count; distance *= 2)
    value = b.add(value, moved(value, distance));
  if (isNumber)
    return Stored{value, request.grid, input->order};
  return Stored{lowering.toGrid(value, std::ldexp(input->grid.scale, static_cast<int>(dropped)), request.grid), request.grid,
                input->order};
}

} // namespace

void registerReductionLowerings(LowerRegistry &registry) {
  registry["reduce_sum"] = lowerReduceSum;
  registry["reduce_mean"] = lowerReduceMean;
  registry["reduce_l1"] = lowerReduceL1;
  registry["reduce_sum_square"] = lowerReduceSumSquare;
  registry["reduce_max"] = lowerReduceExtreme<false>;
  registry["reduce_min"] = lowerReduceExtreme<true>;
  registry["global_average_pool"] = lowerGlobalAverage;
  registry["global_max_pool"] = lowerGlobalMax;
  registry["reduce_l2"] = lowerReduceL2;
  registry["cum_sum"] = lowerCumSum;
}

} // namespace nibble

//===- LowerSoftmax.cpp - exponentials over their sum ------------------------===//
//
// exp(x - max) is a TABLE of the 256 differences of 8-bit scores, and a power of two for 16-bit scores: the whole
// part of the exponent is a shift, its fraction a TABLE over one octave. Both give 22 bits. Sums stay in 32 bits by
// adding 256 values at most before bits are dropped. Scores that lie as far below the largest as the masks of
// attention do come out as exactly zero: what is left of their exponential is less than half a step.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Functions.h"
#include "passes/Lower/Operands.h"

#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

/// exp(0) as the tables give it: 15 bits, and 7 more from the interpolation.
constexpr int64_t one = 32767 * 128;
constexpr int64_t summandsPerStage = 256;

/// exp(scale * difference) for differences of 8-bit integers that are 0 at most, in 22 bits.
Value exponentialOfBytes(TosaBuilder &b, Value difference, double scale) {
  Value index = b.rescale(difference, 128.0, {16, 0});
  SmallVector<int64_t> entries;
  for (int64_t knot = 0; knot < 513; ++knot) {
    double distance = static_cast<double>(std::min<int64_t>(knot - 256, 0));
    entries.push_back(static_cast<int64_t>(std::nearbyint(32767 * std::exp(scale * distance))));
  }
  return b.table(index, entries);
}

/// The same for values of more bits and the negative of the difference: 2^-(k + f), k by a shift and f in [0, 1) by a
/// table.
Value exponentialOfWords(TosaBuilder &b, Value distance, double scale) {
  int64_t rank = b.rank(distance);
  Value exponent = b.rescale(distance, scale * M_LOG2E * 65536, {32, 0});
  Value whole = b.shiftRight(exponent, 16, /*round=*/false);
  Value fraction = b.sub(exponent, b.shiftLeft(whole, 16));
  Value index = b.rescale(b.sub(fraction, b.scalar(32768, rank)), 1.0, {16, 0});
  SmallVector<int64_t> entries;
  double chord = std::pow(M_LN2 / 512, 2) / 16;
  for (int64_t knot = 0; knot < 513; ++knot)
    entries.push_back(static_cast<int64_t>(std::nearbyint(32767 * std::exp2(-static_cast<double>(knot) / 512) * (1 - chord))));
  return b.shiftRight(b.table(index, entries), b.minimum(whole, b.scalar(31, rank)));
}

/// Exponentials of a row's distances from its largest integer, in 22 bits, and that integer.
struct Exponentials {
  Value values, largest;
};
Exponentials exponentiate(TosaBuilder &b, Value value, const Grid &grid, int64_t axis) {
  Value wide = b.widen(value), largest = b.reduceMax(wide, axis);
  Value values = grid.bits == 8 ? exponentialOfBytes(b, b.sub(wide, largest), grid.scale)
                                : exponentialOfWords(b, b.sub(largest, wide), grid.scale);
  return {values, largest};
}

/// The sum over `axis`, divided by 2^dropped.
struct Sum {
  Value value;
  int64_t dropped;
};
Sum sumUp(TosaBuilder &b, Value e, int64_t axis) {
  int64_t count = b.dims(e)[static_cast<size_t>(axis)];
  if (count <= summandsPerStage)
    return {b.reduceSum(e, axis), 0};
  int64_t dropped = static_cast<int64_t>(std::ceil(std::log2(static_cast<double>(count)))) - 8;
  int64_t stage = summandsPerStage;
  while (count % stage)
    --stage;
  Value total;
  if (stage >= 16 && axis + 1 == b.rank(e) && b.rank(e) < 6) {
    total = b.reduceSumByRuns(e, axis, stage, dropped);
  } else {
    for (int64_t start = 0; start < count; start += summandsPerStage) {
      Value part = b.sliceAxis(e, axis, start, std::min(summandsPerStage, count - start));
      Value partial = b.shiftRight(b.reduceSum(part, axis), dropped);
      total = total ? b.add(total, partial) : partial;
    }
  }
  return {total, dropped};
}

FailureOr<Stored> lowerSoftmax(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::SoftmaxOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  TosaBuilder &b = lowering.b;
  int64_t rank = input->rank(), axis = input->position(countFromFront(op.getAxis(), rank));
  Value e = exponentiate(b, input->value, input->grid, axis).values;
  Sum sum = sumUp(b, e, axis);
  // Every row holds exp(0); the maximum only says so to whoever checks ranges.
  Reciprocal inverse = reciprocal(b, b.maximum(sum.value, b.scalar(one >> sum.dropped, rank)));
  // e / sum = e * mantissa * 2^(shift - 60 - dropped); shift is 9 + dropped at most.
  Value down = b.sub(b.scalar(9 + sum.dropped, rank), inverse.shift);
  Value factor = b.shiftRight(inverse.mantissa, b.maximum(down, b.scalar(0, rank)));
  Value probability = b.mul(e, factor, 23);
  return Stored{lowering.toGrid(probability, std::ldexp(1.0, -28), request.grid), request.grid, input->order};
}

/// ln(sum of exp(x - max)) in steps of `step`.
Value logarithmOfSum(TosaBuilder &b, Value exponentials, int64_t axis, double step) {
  Sum sum = sumUp(b, exponentials, axis);
  int64_t rank = b.rank(sum.value);
  Value log2 = logarithm(b, b.maximum(sum.value, b.scalar(one >> sum.dropped, rank)));
  auto ofOne = static_cast<int64_t>(std::nearbyint((std::log2(static_cast<double>(one)) - static_cast<double>(sum.dropped)) * (1 << 21)));
  return b.rescale(b.sub(log2, b.scalar(ofOne, rank)), M_LN2 / (1 << 21) / step, {32, 0});
}

/// Steps in which all distances of `grid` and the logarithm of a sum of `count` fit 30 bits.
double stepOfLogarithms(const Grid &grid, int64_t count) {
  double reach = std::ldexp(grid.scale, static_cast<int>(grid.bits) + 1) + std::log(static_cast<double>(count)) + 1;
  return reach / static_cast<double>(1 << 29);
}

FailureOr<Stored> lowerLogSoftmax(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::LogSoftmaxOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  TosaBuilder &b = lowering.b;
  int64_t axis = input->position(countFromFront(op.getAxis(), input->rank()));
  double step = stepOfLogarithms(input->grid, b.dims(input->value)[static_cast<size_t>(axis)]);
  Exponentials e = exponentiate(b, input->value, input->grid, axis);
  Value distance = b.rescale(b.sub(b.widen(input->value), e.largest), input->grid.scale / step, {32, 0});
  Value result = b.sub(distance, logarithmOfSum(b, e.values, axis, step));
  return Stored{lowering.toGrid(result, step, request.grid), request.grid, input->order};
}

FailureOr<Stored> lowerReduceLogSumExp(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Reduced> reduced = findReduced(lowering, request.op);
  if (failed(reduced))
    return failure();
  TosaBuilder &b = lowering.b;
  const auto &[input, axes] = *reduced;
  // The reduced dimensions become one, the last.
  llvm::SmallVector<int64_t, 6> order;
  for (int64_t dim = 0; dim < input.rank(); ++dim)
    if (!llvm::is_contained(axes, dim))
      order.push_back(dim);
  llvm::append_range(order, axes);
  Value moved = lowering.inOrder(input, order);
  Shape rows(b.dims(moved).drop_back(axes.size()));
  int64_t count = elementCount(b.dims(moved).take_back(axes.size())), axis = static_cast<int64_t>(rows.size());
  rows.push_back(count);
  double step = stepOfLogarithms(input.grid, count);
  Exponentials e = exponentiate(b, b.reshape(moved, rows), input.grid, axis);
  Value largest = b.sub(e.largest, b.scalar(input.grid.zeroPoint, axis + 1));
  Value result = b.add(b.rescale(largest, input.grid.scale / step, {32, 0}), logarithmOfSum(b, e.values, axis, step));
  llvm::ArrayRef<int64_t> shape = nn::shapeOf(request.op->getResult(0));
  return Stored{b.reshape(lowering.toGrid(result, step, request.grid), shape), request.grid,
                identityOrder(static_cast<int64_t>(shape.size()))};
}

} // namespace

void registerSoftmaxLowerings(LowerRegistry &registry) {
  registry["softmax"] = lowerSoftmax;
  registry["log_softmax"] = lowerLogSoftmax;
  registry["reduce_log_sum_exp"] = lowerReduceLogSumExp;
}

} // namespace nibble

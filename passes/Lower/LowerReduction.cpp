//===- LowerReduction.cpp - sums, means and extremes along axes --------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Operands.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace nibble {
namespace {

/// The reduced dimensions, counted from the front.
FailureOr<SmallVector<int64_t>> findAxes(Lowering &lowering, Operation *op, int64_t rank) {
  std::optional<SmallVector<int64_t>> axes = SmallVector<int64_t>();
  if (op->getNumOperands() > 1)
    axes = nn::readConstantIntegers(op->getOperand(1));
  if (!axes)
    return lowering.refuse(op, "its axes are not constant");
  bool keepsAll = false;
  if (auto attribute = op->getAttrOfType<BoolAttr>("noop_with_empty_axes"))
    keepsAll = attribute.getValue();
  if (axes->empty() && !keepsAll)
    axes = SmallVector<int64_t>(identityOrder(rank));
  for (int64_t &axis : *axes)
    axis = countFromFront(axis, rank);
  return *axes;
}

/// The sum of i32 values over stored `axes`, divided by 2^dropped so that it stays in 32 bits.
struct Sum {
  Value value;
  int64_t dropped;
};
Sum sumUp(TosaBuilder &b, Value value, llvm::ArrayRef<int64_t> axes) {
  double reach = static_cast<double>(b.magnitude(value));
  for (int64_t axis : axes)
    reach *= static_cast<double>(b.dims(value)[static_cast<size_t>(axis)]);
  int64_t dropped = std::max<int64_t>(0, static_cast<int64_t>(std::ceil(std::log2(std::max(1.0, reach) / 2147483647.0))));
  value = b.shiftRight(value, dropped);
  for (int64_t axis : axes)
    value = b.reduceSum(value, axis);
  return {value, dropped};
}

/// A reduction of the input's integers to i32 with a step of its own.
template <typename Prepare>
FailureOr<Stored> lowerSum(Lowering &lowering, const LoweringRequest &request, bool isMean, Prepare prepare) {
  Operation *op = request.op;
  FailureOr<Stored> input = lowering.find(op->getOperand(0));
  if (failed(input))
    return failure();
  FailureOr<SmallVector<int64_t>> axes = findAxes(lowering, op, input->rank());
  if (failed(axes))
    return failure();
  TosaBuilder &b = lowering.b;
  auto [value, step] = prepare(*input);
  int64_t count = 1;
  SmallVector<int64_t> positions;
  for (int64_t axis : *axes) {
    positions.push_back(input->position(axis));
    count *= b.dims(value)[static_cast<size_t>(positions.back())];
  }
  bool isNumber = request.grid.high <= request.grid.low;
  if (isNumber && isMean)
    return lowering.refuse(op, "the mean of integers has no integer form");
  int64_t largest = std::numeric_limits<int32_t>::max() / count;
  if (isNumber && b.magnitude(value) > largest) {
    lowering.remark(op, "its sum of " + Twine(count) + " integers may leave 32 bits: integers beyond " +
                            Twine(largest) + " are summed as that");
    value = b.clamp(value, -largest, largest);
  }
  Sum sum = sumUp(b, value, positions);
  double factor = step * std::ldexp(1.0, static_cast<int>(sum.dropped)) / (isMean ? static_cast<double>(count) : 1.0);
  Stored reduced{isNumber ? sum.value : lowering.toGrid(sum.value, factor, request.grid), request.grid, input->order};
  return lowering.reshape(reduced, nn::shapeOf(op->getResult(0)));
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
  return lowerSum(lowering, request, false, [&](const Stored &input) {
    Value value = lowering.reals32(input);
    // 17-bit squares leave 30 bits after two.
    int64_t shift = input.grid.bits == 8 ? 0 : 4;
    return std::pair(lowering.b.mul(value, value, shift),
                     input.grid.scale * input.grid.scale * std::ldexp(1.0, static_cast<int>(shift)));
  });
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
  Value zero = b.scalar(0, b.rank(value));
  if (isMinimum)
    value = b.sub(zero, value);
  for (int64_t axis : axes)
    value = b.reduceMax(value, input.position(axis));
  if (isMinimum)
    value = b.sub(zero, value);
  unsigned bits = b.bits(input.value);
  if (bits != 32)
    value = b.rescale(value, 1.0, {bits, 0});
  return lowering.reshape(Stored{value, input.grid, input.order}, nn::shapeOf(request.op->getResult(0)));
}

template <bool isMinimum>
FailureOr<Stored> lowerReduceExtreme(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  FailureOr<SmallVector<int64_t>> axes = findAxes(lowering, request.op, input->rank());
  if (failed(axes))
    return failure();
  return reduceExtreme(lowering, request, *axes, *input, isMinimum);
}

FailureOr<Stored> lowerGlobalMax(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  llvm::SmallVector<int64_t, 6> axes = identityOrder(input->rank());
  return reduceExtreme(lowering, request, llvm::ArrayRef<int64_t>(axes).drop_front(2), *input, /*isMinimum=*/false);
}

FailureOr<Stored> lowerArgMax(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ArgMaxOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  if (op.getSelectLastIndex())
    return lowering.refuse(op, "the last of equal largest values has no integer form; TOSA finds the first");
  TosaBuilder &b = lowering.b;
  if (b.bits(input->value) > 16)
    return lowering.refuse(op, "TOSA finds the largest of 8-bit and 16-bit values only");
  Value value = lowering.inModelOrder(*input);
  int64_t axis = countFromFront(op.getAxis(), input->rank());
  Shape shape(b.dims(value));
  shape.erase(shape.begin() + axis);
  Value found = b.create<tosa::ArgMaxOp>(b.tensor(shape, 32), value, b.getI32IntegerAttr(static_cast<int32_t>(axis)),
                                         tosa::NanPropagationModeAttr::get(b.getContext(), tosa::NanPropagationMode::PROPAGATE))
                    .getResult();
  llvm::ArrayRef<int64_t> result = nn::shapeOf(op->getResult(0));
  return Stored{b.reshape(found, result), request.grid, identityOrder(static_cast<int64_t>(result.size()))};
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
  registry["arg_max"] = lowerArgMax;
}

} // namespace nibble

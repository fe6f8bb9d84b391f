//===- LowerOrder.cpp - which elements are the largest -----------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Operands.h"

#include "llvm/ADT/STLExtras.h"
#include <limits>

using namespace mlir;

namespace nibble {
namespace {

/// TOSA has ARGMAX only, which finds the first of equal values: the smallest is the largest of -1 - x, and the last is
/// the first from the other end.
FailureOr<Stored> lowerArgument(Lowering &lowering, const LoweringRequest &request, int64_t modelAxis, bool isMinimum,
                                bool takesLast) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  TosaBuilder &b = lowering.b;
  unsigned bits = b.bits(input->value);
  if (bits > 16)
    return lowering.refuse(request.op, "TOSA finds the largest of 8-bit and 16-bit values only");
  Value value = lowering.inModelOrder(*input);
  if (isMinimum)
    value = b.rescale(b.sub(b.scalar(-1, input->rank()), b.widen(value)), 1.0, {bits, 0});
  int64_t axis = countFromFront(modelAxis, input->rank()), count = b.dims(value)[static_cast<size_t>(axis)];
  auto axisAttribute = b.getI32IntegerAttr(static_cast<int32_t>(axis));
  if (takesLast)
    value = b.create<tosa::ReverseOp>(value.getType(), value, axisAttribute).getResult();
  Shape shape(b.dims(value));
  shape.erase(shape.begin() + axis);
  Value found = b.create<tosa::ArgMaxOp>(b.tensor(shape, 32), value, axisAttribute,
                                         tosa::NanPropagationModeAttr::get(b.getContext(), tosa::NanPropagationMode::PROPAGATE))
                    .getResult();
  if (takesLast)
    found = b.sub(b.scalar(count - 1, b.rank(found)), found);
  llvm::ArrayRef<int64_t> result = nn::shapeOf(request.op->getResult(0));
  return Stored{b.reshape(found, result), request.grid, identityOrder(static_cast<int64_t>(result.size()))};
}

template <typename Op> FailureOr<Stored> lowerArgument(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<Op>(request.op);
  return lowerArgument(lowering, request, op.getAxis(), std::is_same_v<Op, nn::ArgMinOp>, op.getSelectLastIndex());
}

/// The largest value, and the first index that has it, k times; what was found is then the smallest integer.
FailureOr<Stored> lowerTopK(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::TopKOp>(request.op);
  constexpr int64_t most = 64;
  std::optional<SmallVector<int64_t>> k = nn::readConstantIntegers(op.getK());
  if (!k || k->front() > most)
    return lowering.refuse(op, "TopK has an integer form for a constant k of up to " + Twine(most) + " only, because every "
                               "element that it finds is a pass over the data", "run it on the CPU");
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  TosaBuilder &b = lowering.b;
  int64_t rank = input->rank(), axis = input->position(countFromFront(op.getAxis(), rank));
  int64_t count = b.dims(input->value)[static_cast<size_t>(axis)];
  unsigned bits = b.bits(input->value);
  constexpr int64_t least = std::numeric_limits<int32_t>::min();
  Value value = bits == 32 ? b.clamp(input->value, least + 1, -(least + 1)) : b.widen(input->value);
  if (!op.getLargest())
    value = b.negative(value);
  // The first position is the largest of their negatives.
  FailureOr<Value> positions = countAlong(b, axis, rank, count, -1);
  if (failed(positions))
    return failure();
  SmallVector<Value> found;
  for (int64_t i = 0; i < k->front(); ++i) {
    Value top = b.reduceMax(value, axis);
    Value candidates = b.select(b.compare<tosa::EqualOp>(value, top), *positions, b.scalar(-count, rank));
    Value first = b.reduceMax(candidates, axis);
    found.push_back(request.result == 0 ? top : first);
    if (i + 1 < k->front())
      value = b.select(b.compare<tosa::EqualOp>(*positions, first), b.scalar(least, rank), value);
  }
  Value joined = found.size() == 1 ? found.front() : b.concat(found, axis);
  if (request.result == 1)
    return Stored{b.negative(joined), request.grid, input->order};
  if (!op.getLargest())
    joined = b.negative(joined);
  return Stored{bits == 32 ? joined : b.rescale(joined, 1.0, {bits, 0}), input->grid, input->order};
}

} // namespace

void registerOrderLowerings(LowerRegistry &registry) {
  registry["arg_max"] = lowerArgument<nn::ArgMaxOp>;
  registry["arg_min"] = lowerArgument<nn::ArgMinOp>;
  registry["top_k"] = lowerTopK;
}

} // namespace nibble

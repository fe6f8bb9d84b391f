#include "passes/Lower/Operands.h"
#include "lib/Dialect/NN/Constants.h"

#include "lib/Dialect/NN/ShapeInference.h"

#include <cmath>

using namespace mlir;

namespace nibble {

Stored withRank(Lowering &lowering, const Stored &stored, int64_t rank) {
  if (stored.rank() == rank)
    return stored;
  Shape shape(static_cast<size_t>(rank - stored.rank()), 1);
  llvm::append_range(shape, lowering.modelShape(stored));
  return lowering.reshape(stored, shape);
}

FailureOr<Aligned> alignOperands(Lowering &lowering, ValueRange operands) {
  Aligned aligned;
  int64_t rank = 0, largest = -1;
  for (Value operand : operands)
    rank = std::max(rank, static_cast<int64_t>(nn::shapeOf(operand).size()));
  for (Value operand : operands) {
    FailureOr<Stored> stored = lowering.find(operand);
    if (failed(stored))
      return failure();
    aligned.operands.push_back(withRank(lowering, *stored, rank));
    int64_t size = lowering.findConstant(operand) ? 0 : elementCount(nn::shapeOf(operand));
    if (size > largest) {
      largest = size;
      aligned.order = aligned.operands.back().order;
    }
  }
  for (Stored &stored : aligned.operands) {
    stored.value = lowering.inOrder(stored, aligned.order);
    stored.order = aligned.order;
  }
  return aligned;
}

double commonStep(llvm::ArrayRef<Grid> grids) {
  double reach = 0;
  for (const Grid &grid : grids)
    reach = std::max({reach, std::abs(grid.lowest()), std::abs(grid.highest())});
  return reach / static_cast<double>(1 << 28);
}

Value inSteps(Lowering &lowering, const Stored &stored, double step) {
  TosaBuilder &b = lowering.b;
  if (stored.grid.bits == 8)
    return b.rescale(stored.value, stored.grid.scale / step, {32, 0}, stored.grid.zeroPoint);
  if (stored.grid.zeroPoint == 0)
    return b.rescale(stored.value, stored.grid.scale / step, {32, 0});
  return b.rescale(lowering.reals32(stored), stored.grid.scale / step, {32, 0});
}

FailureOr<Reduced> findReduced(Lowering &lowering, Operation *op) {
  FailureOr<Stored> input = lowering.find(op->getOperand(0));
  if (failed(input))
    return failure();
  std::optional<SmallVector<int64_t>> axes = SmallVector<int64_t>();
  if (op->getNumOperands() > 1)
    axes = nn::readConstantIntegers(op->getOperand(1));
  assert(axes && "the verifier wants constant axes");
  bool keepsAll = false;
  if (auto attribute = op->getAttrOfType<BoolAttr>("noop_with_empty_axes"))
    keepsAll = attribute.getValue();
  if (axes->empty() && !keepsAll)
    axes = SmallVector<int64_t>(identityOrder(input->rank()));
  for (int64_t &axis : *axes)
    axis = countFromFront(axis, input->rank());
  return Reduced{*input, *axes};
}

int64_t bitsToDrop(int64_t magnitude, int64_t count) {
  int64_t dropped = 0, rounded = magnitude;
  while (rounded > INT32_MAX / count) {
    ++dropped;
    rounded = (magnitude + (int64_t(1) << (dropped - 1))) >> dropped;
  }
  return dropped;
}

FailureOr<Value> countAlong(TosaBuilder &b, int64_t axis, int64_t rank, int64_t count, int64_t step) {
  SmallVector<int64_t> numbers;
  for (int64_t i = 0; i < count; ++i)
    numbers.push_back(i * step);
  Shape shape(static_cast<size_t>(rank), 1);
  shape[static_cast<size_t>(axis)] = count;
  return b.data(numbers, shape, 32);
}

} // namespace nibble

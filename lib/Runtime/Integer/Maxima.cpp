//===- Maxima.cpp - maxima by halves as one reduction ----------------------===//
//
// Programs for NPUs reduce an axis to its largest element by maxima of two slices each, which halve the axis until
// one element is left: m = max(v[0, h), v[n - h, n)). Here that is one step.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Integer/Elementwise.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

llvm::ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

/// The start of a slice that takes all of the other axes; -1 for anything else.
int64_t startOfSlice(Value value, int64_t axis) {
  auto slice = value.getDefiningOp<tosa::SliceOp>();
  auto start = slice ? slice.getStart().getDefiningOp<tosa::ConstShapeOp>() : tosa::ConstShapeOp();
  if (!start)
    return -1;
  llvm::ArrayRef<int64_t> from = shapeOf(slice.getInput1()), to = shapeOf(value);
  for (auto [other, offset] : llvm::enumerate(start.getValues().getValues<APInt>()))
    if (static_cast<int64_t>(other) != axis && (offset != 0 || from[other] != to[other]))
      return -1;
  return start.getValues().getValues<APInt>()[static_cast<size_t>(axis)].getSExtValue();
}

/// A reduction of `input` along `axis` to `result`.
struct Halving {
  Value input;
  int64_t axis;
  tosa::MaximumOp result;
  /// The operations that it stands for, `result` among them.
  llvm::SmallVector<Operation *> operations;
};

/// What `maximum` halves along `axis`; null where it is another maximum.
Value halvedBy(tosa::MaximumOp maximum, int64_t axis) {
  Value first = maximum.getInput1(), last = maximum.getInput2();
  int64_t firstStart = startOfSlice(first, axis), lastStart = startOfSlice(last, axis);
  if (firstStart != 0 || lastStart < 0)
    return {};
  Value whole = first.getDefiningOp()->getOperand(0);
  int64_t half = shapeOf(first)[static_cast<size_t>(axis)], extent = shapeOf(whole)[static_cast<size_t>(axis)];
  bool coversAll = 2 * half >= extent && lastStart + half == extent && first.getType() == last.getType();
  return coversAll && whole == last.getDefiningOp()->getOperand(0) ? whole : Value();
}

class HalvingFinder {
public:
  explicit HalvingFinder(llvm::function_ref<bool(Value)> isObserved) : isObserved(isObserved) {}

  std::optional<Halving> find(tosa::MaximumOp maximum) const {
    for (auto [axis, extent] : llvm::enumerate(shapeOf(maximum.getResult())))
      if (extent == 1)
        if (std::optional<Halving> found = find(maximum, static_cast<int64_t>(axis)))
          return found;
    return std::nullopt;
  }

private:
  std::optional<Halving> find(tosa::MaximumOp maximum, int64_t axis) const {
    Halving halving{{}, axis, maximum, {}};
    while (Value whole = halvedBy(maximum, axis)) {
      Operation *first = maximum.getInput1().getDefiningOp(), *last = maximum.getInput2().getDefiningOp();
      if (!isInner(first->getResult(0), 1) || !isInner(last->getResult(0), 1))
        break;
      halving.operations.append({first, last, maximum});
      halving.input = whole;
      auto above = whole.getDefiningOp<tosa::MaximumOp>();
      if (!above || !isInner(whole, 2))
        break;
      maximum = above;
    }
    if (!halving.input)
      return std::nullopt;
    return halving;
  }

  /// True where only the chain reads `value`.
  bool isInner(Value value, unsigned readers) const {
    return static_cast<unsigned>(std::distance(value.use_begin(), value.use_end())) == readers && !isObserved(value);
  }

  llvm::function_ref<bool(Value)> isObserved;
};

} // namespace

void planMaxima(Block &block, llvm::function_ref<bool(Value)> isObserved, StepPlan &plan) {
  HalvingFinder finder(isObserved);
  // From the end, so that a chain is found by its last maximum.
  for (Operation &op : llvm::reverse(block)) {
    auto maximum = dyn_cast<tosa::MaximumOp>(op);
    if (!maximum || plan.absorbed.contains(&op))
      continue;
    std::optional<Halving> halving = finder.find(maximum);
    if (!halving)
      continue;
    FusedStep step;
    step.operands = {halving->input};
    step.results = {maximum.getResult()};
    step.spec.op = &op;
    OperandSpec operand;
    operand.present = true;
    if (!describeValue(halving->input, operand))
      continue;
    step.spec.operands.push_back(std::move(operand));
    ValueSpec result;
    if (!describeValue(maximum.getResult(), result))
      continue;
    step.spec.results.push_back(std::move(result));
    step.make = [axis = halving->axis](const NodeSpec &spec) { return makeMaximumAlong(spec, axis); };
    for (Operation *member : halving->operations)
      if (member != &op)
        plan.absorbed.insert(member);
    plan.steps.try_emplace(&op, std::move(step));
  }
}

} // namespace nibble::runtime

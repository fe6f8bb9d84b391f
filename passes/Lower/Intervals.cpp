#include "passes/Lower/Intervals.h"
#include "passes/Lower/IntegerConstants.h"
#include "passes/Lower/IntervalAccumulators.h"
#include "passes/Lower/IntervalTransfer.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace nibble {

using Wide = __int128;

static int64_t saturate(Wide value) {
  return static_cast<int64_t>(std::clamp<Wide>(value, std::numeric_limits<int64_t>::min(),
                                               std::numeric_limits<int64_t>::max()));
}

Interval Interval::ofBits(unsigned bits) {
  assert(bits >= 1 && bits <= 64 && "no integer type is that wide");
  if (bits == 1)
    return {0, 1};
  int64_t high = std::numeric_limits<int64_t>::max() >> (64 - bits);
  return {-high - 1, high};
}

Interval Interval::intersect(Interval other) const {
  Interval result = {std::max(low, other.low), std::min(high, other.high)};
  return result.low <= result.high ? result : clampTo(other);
}

Interval Interval::clampTo(Interval other) const {
  return {std::clamp(low, other.low, other.high), std::clamp(high, other.low, other.high)};
}

std::string Interval::str() const { return "[" + std::to_string(low) + ", " + std::to_string(high) + "]"; }

Interval operator+(Interval x, Interval y) {
  return {saturate(Wide(x.low) + y.low), saturate(Wide(x.high) + y.high)};
}

Interval operator-(Interval x, Interval y) {
  return {saturate(Wide(x.low) - y.high), saturate(Wide(x.high) - y.low)};
}

Interval operator*(Interval x, Interval y) {
  auto [low, high] =
      std::minmax({Wide(x.low) * y.low, Wide(x.low) * y.high, Wide(x.high) * y.low, Wide(x.high) * y.high});
  return {saturate(low), saturate(high)};
}

Interval rangeOfType(Type type) {
  auto integer = dyn_cast<IntegerType>(getElementTypeOrSelf(type));
  if (!integer || integer.getWidth() == 0 || integer.getWidth() > 64)
    return {};
  if (!integer.isUnsigned() || integer.getWidth() == 64)
    return Interval::ofBits(integer.getWidth());
  return {0, std::numeric_limits<int64_t>::max() >> (63 - integer.getWidth())};
}

Interval IntervalAnalysis::of(Value value) {
  Value source = resolveMoved(value);
  Operation *wanted = source.getDefiningOp();
  if (!wanted || wanted->getNumResults() != 1 || !isa<IntegerType>(getElementTypeOrSelf(value.getType())))
    return rangeOfType(value.getType());
  if (auto known = intervals.find(wanted); known != intervals.end())
    return known->second;
  // Programs are deeper than the call stack.
  SmallVector<Operation *> pending = {wanted};
  while (!pending.empty()) {
    Operation *op = pending.back();
    size_t size = pending.size();
    for (Value operand : op->getOperands()) {
      Operation *producer = resolveMoved(operand).getDefiningOp();
      if (producer && producer->getNumOperands() && !intervals.contains(producer))
        pending.push_back(producer);
    }
    if (pending.size() > size)
      continue;
    pending.pop_back();
    if (intervals.contains(op))
      continue;
    Interval range = op->getNumResults() == 1 ? rangeOfType(op->getResult(0).getType()) : Interval();
    Interval result = op->getNumResults() == 1 ? evaluate(*this, op).result : range;
    intervals[op] = range.contains(result) ? result : range;
  }
  return intervals.lookup(wanted);
}

void IntervalAnalysis::forget(Operation *op) {
  intervals.erase(op);
  accumulators.erase(op);
}

std::optional<std::string> IntervalAnalysis::findProblem(Operation *op) {
  if (op->getNumResults() != 1)
    return std::nullopt;
  // Operands first, one at a time, so that the evaluation does not recurse; but weights need not be looked at.
  for (Value operand : op->getOperands())
    if (Operation *producer = resolveMoved(operand).getDefiningOp(); producer && producer->getNumOperands())
      (void)of(operand);
  return evaluate(*this, op).problem;
}

const AccumulatorBounds *IntervalAnalysis::accumulatorOf(Operation *op) {
  auto known = accumulators.find(op);
  if (known == accumulators.end()) {
    std::optional<AccumulatorBounds> bounds = boundAccumulator(*this, op);
    if (!bounds)
      return nullptr;
    known = accumulators.try_emplace(op, std::make_unique<AccumulatorBounds>(std::move(*bounds))).first;
  }
  return known->second.get();
}

} // namespace nibble

#include "passes/Lower/MaximumTrees.h"
#include "passes/Lower/IntegerConstants.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;

namespace nibble {
namespace {

ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

/// The maxima and slices of one axis between a maximum and what it reduces.
class Tree {
public:
  Tree(Value root, int64_t axis) : axis(axis) {
    visit(root);
    for (Value value : order)
      covered[value].resize(static_cast<unsigned>(shapeOf(value)[axis]));
    covered.find(order.back())->second.set(0);
  }

  /// From the root down: which indices of each value the root is at least.
  SmallVector<ReducedAxis> findComplete() {
    SmallVector<ReducedAxis> complete;
    for (Value value : llvm::reverse(order)) {
      const llvm::BitVector &indices = indicesOf(value);
      if (indices.size() > 1 && indices.all())
        complete.push_back({value, axis});
      Operation *op = value.getDefiningOp();
      if (auto maximum = dyn_cast_or_null<tosa::MaximumOp>(op)) {
        for (Value operand : {maximum.getInput1(), maximum.getInput2()}) {
          llvm::BitVector &below = indicesOf(resolveMoved(operand));
          // An operand of one element stands for all.
          if (below.size() == indices.size())
            below |= indices;
          else
            below.set(0);
        }
      } else if (std::optional<int64_t> start = startOfSlice(op)) {
        llvm::BitVector &below = indicesOf(resolveMoved(op->getOperand(0)));
        for (unsigned index : indices.set_bits())
          below.set(index + static_cast<unsigned>(*start));
      }
    }
    return complete;
  }

private:
  /// Where a slice of the axis alone begins; nothing for other operations.
  std::optional<int64_t> startOfSlice(Operation *op) const {
    auto slice = dyn_cast_or_null<tosa::SliceOp>(op);
    if (!slice)
      return std::nullopt;
    std::optional<SmallVector<int64_t>> start = readConstantShape(slice.getStart());
    ArrayRef<int64_t> from = shapeOf(slice.getInput1()), to = shapeOf(slice.getOutput());
    if (!start || start->size() != from.size())
      return std::nullopt;
    for (size_t other = 0; other < from.size(); ++other)
      if (static_cast<int64_t>(other) != axis && (from[other] != to[other] || (*start)[other] != 0))
        return std::nullopt;
    int64_t first = (*start)[axis];
    return first >= 0 && first + to[axis] <= from[axis] ? std::optional(first) : std::nullopt;
  }

  /// Lists `root` and what is below it so that every value comes after its operands.
  void visit(Value root) {
    SmallVector<std::pair<Value, bool>> pending = {{resolveMoved(root), false}};
    llvm::SmallDenseSet<Value> seen;
    while (!pending.empty()) {
      auto [value, isDone] = pending.pop_back_val();
      if (isDone) {
        order.push_back(value);
        continue;
      }
      if (!seen.insert(value).second)
        continue;
      pending.push_back({value, true});
      Operation *op = value.getDefiningOp();
      if (auto maximum = dyn_cast_or_null<tosa::MaximumOp>(op)) {
        pending.push_back({resolveMoved(maximum.getInput1()), false});
        pending.push_back({resolveMoved(maximum.getInput2()), false});
      } else if (startOfSlice(op)) {
        pending.push_back({resolveMoved(op->getOperand(0)), false});
      }
    }
  }

  llvm::BitVector &indicesOf(Value value) { return covered.find(value)->second; }

  int64_t axis;
  SmallVector<Value> order;
  llvm::DenseMap<Value, llvm::BitVector> covered;
};

} // namespace

SmallVector<ReducedAxis> findReducedAxes(Value maximum) {
  SmallVector<ReducedAxis> reduced;
  for (auto [axis, extent] : llvm::enumerate(shapeOf(maximum)))
    if (extent == 1)
      llvm::append_range(reduced, Tree(maximum, static_cast<int64_t>(axis)).findComplete());
  return reduced;
}

} // namespace nibble

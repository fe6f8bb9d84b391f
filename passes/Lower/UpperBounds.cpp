#include "passes/Lower/UpperBounds.h"
#include "passes/Lower/IntegerConstants.h"
#include "passes/Lower/MaximumTrees.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/IR/OperationSupport.h"
#include "llvm/ADT/SmallPtrSet.h"
#include <list>
#include <vector>

using namespace mlir;

namespace nibble {
namespace {

ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

/// A digit of the row-major index of an element of a root tensor: (index / stride) % extent. With stride 0, copies.
struct Digit {
  int64_t stride;
  int64_t extent;
  bool operator==(const Digit &other) const = default;
};
/// Outermost first, merged where they follow each other.
using Digits = SmallVector<Digit, 2>;

void append(Digits &digits, Digit digit) {
  if (digit.extent == 1)
    return;
  if (!digits.empty() && digits.back().stride == digit.stride * digit.extent)
    digits.back() = {digit.stride, digits.back().extent * digit.extent};
  else
    digits.push_back(digit);
}

/// Which digits of the root's index each axis of a tensor runs over. The tensor is at least the root (or is the
/// root) at all elements that have these digits, whatever the digits are that no axis runs over.
class IndexMap {
public:
  static IndexMap identity(ArrayRef<int64_t> shape) {
    IndexMap map;
    map.axes.resize(shape.size());
    int64_t stride = 1;
    for (size_t axis = shape.size(); axis-- > 0;) {
      append(map.axes[axis], {stride, shape[axis]});
      stride *= shape[axis];
    }
    return map;
  }

  /// Fails where an axis of the new shape would have a part of a digit that is no digit.
  bool reshape(ArrayRef<int64_t> shape) {
    Digits all;
    for (const Digits &digits : axes)
      for (Digit digit : digits)
        append(all, digit);
    std::reverse(all.begin(), all.end());
    axes.assign(shape.size(), {});
    for (auto [axis, extent] : llvm::enumerate(shape)) {
      for (int64_t missing = extent; missing > 1;) {
        if (all.empty())
          return false;
        Digit &next = all.back();
        if (missing % next.extent == 0) {
          append(axes[axis], next);
          missing /= next.extent;
          all.pop_back();
          continue;
        }
        if (next.extent % missing != 0)
          return false;
        next.extent /= missing;
        append(axes[axis], {next.stride * next.extent, missing});
        missing = 1;
      }
    }
    return all.empty();
  }

  void transpose(ArrayRef<int32_t> permutation) {
    SmallVector<Digits> moved;
    for (int32_t axis : permutation)
      moved.push_back(axes[axis]);
    axes = std::move(moved);
  }

  void tile(ArrayRef<int64_t> multiples) {
    for (auto [digits, multiple] : llvm::zip_equal(axes, multiples)) {
      Digits tiled;
      append(tiled, {0, multiple});
      for (Digit digit : digits)
        append(tiled, digit);
      digits = std::move(tiled);
    }
  }

  void reduce(int64_t axis) { axes[axis].clear(); }

  void broadcast(ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
    for (auto [digits, extent, wanted] : llvm::zip_equal(axes, from, to))
      if (extent == 1 && wanted != 1)
        digits = {{0, wanted}};
  }

  /// Whether what holds for the root holds at each index of an elementwise operation on this and `value`.
  bool covers(const IndexMap &value) const {
    if (axes.size() != value.axes.size())
      return false;
    return llvm::all_of(llvm::zip_equal(axes, value.axes), [](auto pair) {
      const auto &[mine, theirs] = pair;
      return mine == theirs || llvm::all_of(mine, [](Digit digit) { return digit.stride == 0; });
    });
  }

private:
  SmallVector<Digits> axes;
};

/// How a value is made of another: by an operation on indices, or the maximum over an axis.
struct Step {
  Operation *move = nullptr;
  std::optional<int64_t> reducedAxis;
  /// Shapes before and after the broadcast of an operand, if there is one.
  ArrayRef<int64_t> from = {}, to = {};

  bool apply(IndexMap &map) const {
    if (auto reshape = dyn_cast_or_null<tosa::ReshapeOp>(move))
      return map.reshape(shapeOf(reshape.getOutput()));
    if (auto transpose = dyn_cast_or_null<tosa::TransposeOp>(move)) {
      map.transpose(transpose.getPerms());
      return true;
    }
    if (auto tile = dyn_cast_or_null<tosa::TileOp>(move)) {
      std::optional<SmallVector<int64_t>> multiples = readConstantShape(tile.getMultiples());
      if (multiples)
        map.tile(*multiples);
      return multiples.has_value();
    }
    assert(!move && "only these operations are steps");
    if (reducedAxis)
      map.reduce(*reducedAxis);
    if (!from.empty())
      map.broadcast(from, to);
    return true;
  }
};

/// Whether two operations apply the same function to their first operands.
bool isSameFunction(Operation *left, Operation *right) {
  if (left == right)
    return true;
  if (left->getName() != right->getName() || left->getPropertiesAsAttribute() != right->getPropertiesAsAttribute())
    return false;
  auto isSameOperand = [](auto pair) {
    Value x = resolveMoved(std::get<0>(pair)), y = resolveMoved(std::get<1>(pair));
    auto first = x.getDefiningOp<tosa::ConstOp>(), second = y.getDefiningOp<tosa::ConstOp>();
    return x == y || (first && second && first.getValues() == second.getValues());
  };
  return llvm::all_of(llvm::drop_begin(llvm::zip_equal(left->getOperands(), right->getOperands())), isSameOperand);
}

/// Functions of one tensor that never fall, the same for every element: they keep the order of values.
bool isMonotone(Operation *op) {
  if (auto rescale = dyn_cast_or_null<tosa::RescaleOp>(op))
    return cast<ShapedType>(rescale.getMultiplier().getType()).getNumElements() == 1;
  return isa_and_nonnull<tosa::ClampOp>(op);
}

/// A value that the compared one is made of.
struct Ancestor {
  Value value;
  IndexMap map;
  SmallVector<Operation *> functions;
};

/// The value itself and what it is moved from.
SmallVector<Ancestor> findAncestors(Value value) {
  SmallVector<Ancestor> ancestors;
  SmallVector<Operation *> path, functions;
  while (true) {
    value = resolveMoved(value);
    IndexMap map = IndexMap::identity(shapeOf(value));
    if (!llvm::all_of(llvm::reverse(path), [&](Operation *op) { return Step{op, std::nullopt}.apply(map); }))
      return ancestors;
    ancestors.push_back({value, std::move(map), functions});
    Operation *op = value.getDefiningOp();
    if (isMonotone(op))
      functions.push_back(op);
    else if (isa_and_nonnull<tosa::ReshapeOp, tosa::TransposeOp>(op))
      path.push_back(op);
    else
      return ancestors;
    value = op->getOperand(0);
  }
}

class BoundSearch {
public:
  BoundSearch(Value value, Compared compared) : ancestors(findAncestors(value)), compared(compared) {}

  bool run(Value bound, ArrayRef<Operation *> moves) {
    int parent = -1;
    for (Operation *move : moves) {
      nodes.push_back({Value(), Step{move, std::nullopt}, parent, false, {}});
      parent = static_cast<int>(nodes.size()) - 1;
    }
    size_t next = nodes.size();
    push(bound, {}, parent, compared == Compared::Value, {});
    for (; next < nodes.size(); ++next) {
      if (isCovered(next))
        return true;
      expand(static_cast<int>(next));
    }
    return false;
  }

private:
  struct Node {
    Value value;
    /// From this value to that of the parent.
    Step step;
    int parent;
    /// Whether the value bounds what is compared; before abs it bounds only its magnitude.
    bool isComparable;
    SmallVector<Operation *> functions;
  };

  void push(Value value, Step step, int parent, bool isComparable, SmallVector<Operation *> functions) {
    value = resolveMoved(value);
    // Programs have few bounds between a value and its maximum; the limit is for those that are built to have many.
    constexpr size_t limit = 4096;
    if (nodes.size() < limit && visited[isComparable].insert(value.getAsOpaquePointer()).second)
      nodes.push_back({value, step, parent, isComparable, std::move(functions)});
  }

  bool isCovered(size_t index) const {
    const Node &node = nodes[index];
    if (!node.isComparable)
      return false;
    for (const Ancestor &ancestor : ancestors) {
      bool isSame = ancestor.value == node.value && ancestor.functions.size() == node.functions.size() &&
                    llvm::all_of(llvm::zip_equal(ancestor.functions, node.functions), [](auto pair) {
                      return isSameFunction(std::get<0>(pair), std::get<1>(pair));
                    });
      if (!isSame)
        continue;
      IndexMap map = IndexMap::identity(shapeOf(node.value));
      bool isMapped = true;
      for (int i = static_cast<int>(index); i >= 0 && isMapped; i = nodes[i].parent)
        isMapped = nodes[i].step.apply(map);
      if (isMapped && map.covers(ancestor.map))
        return true;
    }
    return false;
  }

  void expand(int index) {
    Node node = nodes[index];
    Operation *op = node.value.getDefiningOp();
    if (!op)
      return;
    if (isa<tosa::ReshapeOp, tosa::TransposeOp, tosa::TileOp>(op)) {
      push(op->getOperand(0), Step{op, std::nullopt}, index, node.isComparable, node.functions);
      return;
    }
    // Above the magnitude of a maximum is not above the magnitudes of what it is the maximum of.
    if (compared == Compared::Magnitude && node.isComparable)
      return;
    if (auto abs = dyn_cast<tosa::AbsOp>(op)) {
      push(abs.getInput1(), {}, index, true, node.functions);
    } else if (isMonotone(op) && compared == Compared::Value) {
      SmallVector<Operation *> functions = node.functions;
      functions.push_back(op);
      push(op->getOperand(0), {}, index, true, std::move(functions));
    } else if (auto reduce = dyn_cast<tosa::ReduceMaxOp>(op)) {
      push(reduce.getInput(), Step{nullptr, reduce.getAxis()}, index, node.isComparable, node.functions);
    } else if (auto maximum = dyn_cast<tosa::MaximumOp>(op)) {
      for (const ReducedAxis &reduced : findReducedAxes(node.value)) {
        // The tree's operands may be broadcast on other axes.
        SmallVector<int64_t> &from = shapes.emplace_back(shapeOf(reduced.value));
        from[reduced.axis] = 1;
        push(reduced.value, Step{nullptr, reduced.axis, from, shapeOf(node.value)}, index, node.isComparable,
             node.functions);
      }
      for (Value operand : {maximum.getInput1(), maximum.getInput2()})
        push(operand, Step{nullptr, std::nullopt, shapeOf(operand), shapeOf(node.value)}, index, node.isComparable,
             node.functions);
    }
  }

  SmallVector<Ancestor> ancestors;
  Compared compared;
  std::vector<Node> nodes;
  /// Shapes that steps refer to.
  std::list<SmallVector<int64_t>> shapes;
  llvm::SmallPtrSet<const void *, 16> visited[2];
};

} // namespace

bool isUpperBound(Value bound, ArrayRef<Operation *> moves, Value value, Compared compared) {
  auto hasElements = [](Value tensor) {
    auto type = dyn_cast<RankedTensorType>(tensor.getType());
    return type && type.hasStaticShape() && type.getNumElements() > 0;
  };
  return hasElements(bound) && hasElements(value) && BoundSearch(value, compared).run(bound, moves);
}

} // namespace nibble

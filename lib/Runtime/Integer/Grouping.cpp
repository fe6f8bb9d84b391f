//===- Grouping.cpp - which operations one step computes -------------------===//
//
// A group is a set of elementwise operations with as many elements each, which runs
// where its last member stands. That is the same program as long as nobody outside the
// group reads a member's result before that place: an operation joins the groups of the
// values that it reads unless something else has read them already.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Integer/Elementwise.h"
#include "lib/Runtime/Integer/Matrix.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

struct Group {
  llvm::SmallVector<Operation *> members;
  /// The matrix product or convolution whose result only this group reads.
  Operation *anchor = nullptr;
  /// Nobody may join: a member's result is read outside or observed.
  bool isClosed = false;
};

int64_t countOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() ? type.getNumElements() : -1;
}

class Grouping {
public:
  /// Operations of `plan` are left alone.
  Grouping(Block &block, llvm::function_ref<bool(Value)> isObserved, const StepPlan &plan)
      : isObserved(isObserved) {
    for (Operation *op : plan.absorbed)
      planned[op];
    for (const auto &[op, step] : plan.steps) {
      planned[op].append(step.operands.begin(), step.operands.end());
      readByPlan.insert_range(step.operands);
    }
    for (Operation &op : block)
      visit(&op);
  }

  void addSteps(StepPlan &plan) {
    for (Group &group : groups)
      if (!group.members.empty())
        addStep(group, plan);
  }

private:
  /// What is read where `op` stands: a planned step reads what it takes, not what the operations do that it computes.
  llvm::SmallVector<Value, 4> readAt(Operation *op) const {
    if (auto reads = planned.find(op); reads != planned.end())
      return reads->second;
    return llvm::SmallVector<Value, 4>(op->getOperands());
  }

  /// Bytes that a planned step reads too are widened by everyone who needs that, instead of stored in 32 bits.
  bool beginsGroup(Operation *op) const {
    std::optional<WidenedBytes> widened = findWidenedBytes(op->getNumResults() ? op->getResult(0) : Value());
    return widened && readByPlan.contains(widened->source);
  }

  void visit(Operation *op) {
    // The program computes such values once.
    bool isConstant = op->hasTrait<OpTrait::ConstantLike>() || isa<tosa::ConstShapeOp>(op) ||
                      (op->getNumRegions() == 0 && op->getNumOperands() > 0 &&
                       llvm::all_of(op->getOperands(), [&](Value operand) { return constants.contains(operand); }));
    if (isConstant) {
      constants.insert_range(op->getResults());
      return;
    }
    llvm::SmallSetVector<int, 4> joined;
    int home = -1;
    bool isView = isa<tosa::ReshapeOp, tosa::IdentityOp>(op);
    if ((isElementwise(op) || isView) && !planned.contains(op) && countOf(op->getResult(0)) > 0) {
      int64_t count = countOf(op->getResult(0));
      for (Value operand : op->getOperands()) {
        auto found = groupOf.find(operand.getDefiningOp());
        if (found != groupOf.end() && !groups[static_cast<size_t>(found->second)].isClosed && countOf(operand) == count &&
            !beginsGroup(op))
          joined.insert(found->second);
      }
      home = merge(joined.getArrayRef());
      if (home < 0 && !isView) {
        home = static_cast<int>(groups.size());
        groups.emplace_back();
      }
    }
    for (Value operand : readAt(op)) {
      auto found = groupOf.find(operand.getDefiningOp());
      if (found != groupOf.end() && found->second != home)
        groups[static_cast<size_t>(found->second)].isClosed = true;
    }
    if (home < 0)
      return;
    Group &group = groups[static_cast<size_t>(home)];
    for (Value operand : op->getOperands())
      if (Operation *producer = operand.getDefiningOp();
          producer && !group.anchor && isMatrixOperation(producer) && producer->getBlock() == op->getBlock() &&
          operand.hasOneUse() && !isObserved(operand) && countOf(operand) == countOf(op->getResult(0)))
        group.anchor = producer;
    group.members.push_back(op);
    groupOf[op] = home;
    group.isClosed = isObserved(op->getResult(0));
  }

  /// Joins the open groups, as far as they hold one matrix product, and returns the last; -1 if there is none.
  int merge(llvm::ArrayRef<int> open) {
    if (open.empty())
      return -1;
    int home = *llvm::max_element(open);
    for (int index : open) {
      Group &from = groups[static_cast<size_t>(index)], &to = groups[static_cast<size_t>(home)];
      if (index == home || (from.anchor && to.anchor))
        continue;
      for (Operation *member : from.members)
        groupOf[member] = home;
      from.members.append(to.members);
      // Program order is kept, so that operands come before their readers.
      llvm::sort(from.members, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
      to.members = std::move(from.members);
      from.members.clear();
      if (!to.anchor)
        to.anchor = from.anchor;
      from.anchor = nullptr;
      from.isClosed = true;
    }
    return home;
  }

  void addStep(Group &group, StepPlan &plan) {
    llvm::SmallPtrSet<Operation *, 16> inside(group.members.begin(), group.members.end());
    llvm::SetVector<Value> inputs;
    FusedStep step;
    llvm::SmallVector<Value> results;
    if (group.anchor)
      step.operands.append(group.anchor->operand_begin(), group.anchor->operand_end());
    Value accumulator = group.anchor ? group.anchor->getResult(0) : Value();
    for (Operation *member : group.members) {
      for (Value operand : member->getOperands())
        if (!inside.contains(operand.getDefiningOp()) && operand != accumulator &&
            isa<RankedTensorType>(operand.getType()))
          inputs.insert(operand);
      Value result = member->getResult(0);
      // Planned steps need not be users: a maximum by halves reads what its first slices read.
      if (isObserved(result) || readByPlan.contains(result) || llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !inside.contains(user) && llvm::is_contained(readAt(user), result);
          }))
        results.push_back(result);
    }
    if (results.empty())
      return;
    step.operands.append(inputs.begin(), inputs.end());
    step.results.append(results.begin(), results.end());
    Operation *last = group.members.back();
    step.spec.op = last;
    for (Value operand : step.operands) {
      OperandSpec spec;
      spec.present = describeValue(operand, spec);
      step.spec.operands.push_back(std::move(spec));
    }
    for (Value result : results) {
      ValueSpec spec;
      if (!describeValue(result, spec))
        return;
      step.spec.results.push_back(std::move(spec));
    }
    step.make = [members = group.members, values = llvm::SmallVector<Value>(step.operands.begin(), step.operands.end()), results,
                 anchor = group.anchor](const NodeSpec &spec) -> llvm::Expected<Kernel> {
      if (anchor)
        return makeMatrixGroup(anchor, members, values, results, spec);
      llvm::Expected<TileProgram> program = buildTileProgram(members, values, results, spec);
      if (!program)
        return program.takeError();
      return makeTileKernel(std::move(*program));
    };
    for (Operation *member : group.members)
      if (member != last)
        plan.absorbed.insert(member);
    if (group.anchor)
      plan.absorbed.insert(group.anchor);
    plan.steps.try_emplace(last, std::move(step));
  }

  llvm::function_ref<bool(Value)> isObserved;
  /// What the steps that were planned before read, by their operation; nothing for those that they compute too.
  llvm::DenseMap<Operation *, llvm::SmallVector<Value, 4>> planned;
  llvm::DenseSet<Value> readByPlan;
  std::vector<Group> groups;
  llvm::DenseMap<Operation *, int> groupOf;
  llvm::DenseSet<Value> constants;
};

} // namespace

bool describeValue(Value value, ValueSpec &spec) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  std::optional<ElementType> elementType = type ? storageType(type.getElementType()) : std::nullopt;
  if (!elementType || !type.hasStaticShape())
    return false;
  spec.type = *elementType;
  spec.shape.assign(type.getShape().begin(), type.getShape().end());
  return true;
}

void planElementwise(Block &block, llvm::function_ref<bool(Value)> isObserved, StepPlan &plan) {
  Grouping(block, isObserved, plan).addSteps(plan);
}

} // namespace nibble::runtime

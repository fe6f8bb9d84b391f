//===- Program.cpp - functions as steps over planned buffers ---------------===//
//
// A function becomes a list of steps, blocks inlined. Values that depend on
// constants alone are computed once. The others get slots: a slot is a buffer that
// values with disjoint lifetimes share, chosen when the program is made. A value
// that an observer or a caller still holds keeps its buffer; the slot gets another.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Runtime/Float/Fusion.h"
#include "lib/Runtime/Float/StepProgram.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

using ValueId = int;
constexpr ValueId none = -1;

struct Step {
  Operation *op;
  Kernel kernel;
  /// In the order of NodeSpec::operands; `none` where absent.
  llvm::SmallVector<ValueId> operands;
  llvm::SmallVector<ValueId> results;
  /// The operand whose buffer the first result takes over, or `none`.
  ValueId overwritten = none;
  /// Values that no later step reads.
  llvm::SmallVector<ValueId> dying;
};

struct ValueRecord {
  Value value;
  ValueSpec spec;
  bool isObserved = false;
  /// The value whose storage this one views, or itself.
  ValueId root = none;
  int slot = -1;
  /// Index of the last step that reads the value.
  int lastUse = -1;
};

/// A buffer of a slot. Values are tensors that share its ownership.
struct Slot {
  int64_t bytes = 0;
  std::shared_ptr<const void> owner;
};

class StepProgram : public Program {
public:
  explicit StepProgram(ExecutionObserver *observer) : observer(observer) {}

  llvm::Error addInput(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    std::optional<ElementType> elementType = type ? storageType(type.getElementType()) : std::nullopt;
    if (!elementType || !type.hasStaticShape()) {
      std::string text;
      llvm::raw_string_ostream(text) << value.getType();
      return makeError(ErrorKind::Unsupported,
                       "input '" + nn::tensorName(value) + "' cannot run: wanted a static tensor, found " + text);
    }
    inputs.push_back(addValue(value, {*elementType, Shape(type.getShape()), {}}));
    return llvm::Error::success();
  }

  /// Adds the operations of `block` and returns the ids of its terminator's operands.
  llvm::Expected<llvm::SmallVector<ValueId>> addBlock(Block &block, Operation *symbolScope,
                                                      const ProgramRules &rules) {
    StepPlan plan = rules.planSteps(block, [&](Value value) { return observer && observer->wants(value); });
    for (Operation &op : block.without_terminator()) {
      if (plan.absorbed.contains(&op))
        continue;
      auto fused = plan.steps.find(&op);
      if (llvm::Error error =
              fused != plan.steps.end() ? addFused(std::move(fused->second)) : addOperation(&op, symbolScope, rules))
        return std::move(error);
    }
    llvm::SmallVector<ValueId> yielded;
    for (Value value : block.getTerminator()->getOperands())
      yielded.push_back(ids.lookup(value));
    return yielded;
  }

  void alias(Value value, ValueId id) { ids[value] = id; }

  void finish(llvm::SmallVector<ValueId> outputIds) {
    outputs = std::move(outputIds);
    planBuffers();
  }

  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> given) override {
    if (llvm::Error error = checkInputs(given))
      return std::move(error);
    for (auto [id, tensor] : llvm::zip_equal(inputs, given)) {
      tensors[static_cast<size_t>(id)] = tensor;
      observe(id);
    }
    for (Step &step : steps)
      if (llvm::Error error = runStep(step))
        return std::move(error);
    std::vector<Tensor> results;
    for (ValueId id : outputs)
      results.push_back(tensors[static_cast<size_t>(id)]);
    for (size_t id = 0; id < records.size(); ++id)
      if (!isConstant[id])
        tensors[id] = Tensor();
    return results;
  }

private:
  ValueId addValue(Value value, ValueSpec spec) {
    ValueId id = static_cast<ValueId>(records.size());
    ValueRecord record;
    record.value = value;
    record.spec = std::move(spec);
    record.isObserved = observer && observer->wants(value);
    record.root = id;
    records.push_back(record);
    tensors.emplace_back();
    isConstant.push_back(false);
    ids[value] = id;
    return id;
  }
  void addConstant(Value value, Tensor tensor) {
    ValueId id = static_cast<ValueId>(records.size());
    ValueRecord record;
    record.value = value;
    record.spec = {tensor.elementType(), Shape(tensor.shape()), {}};
    record.root = id;
    records.push_back(record);
    tensors.push_back(std::move(tensor));
    isConstant.push_back(true);
    ids[value] = id;
  }

  llvm::Error addOperation(Operation *op, Operation *symbolScope, const ProgramRules &rules) {
    llvm::Expected<Tensor> constant = rules.readConstant(op);
    if (!constant)
      return constant.takeError();
    if (*constant) {
      addConstant(op->getResult(0), *constant);
      return llvm::Error::success();
    }
    if (auto inner = dyn_cast<nn::BlockOp>(op)) {
      for (auto [argument, input] : llvm::zip_equal(inner.getBody().getArguments(), inner.getInputs()))
        alias(argument, ids.lookup(input));
      llvm::Expected<llvm::SmallVector<ValueId>> yielded = addBlock(inner.getBody().front(), symbolScope, rules);
      if (!yielded)
        return yielded.takeError();
      for (auto [result, id] : llvm::zip_equal(inner.getResults(), *yielded))
        alias(result, id);
      return llvm::Error::success();
    }
    llvm::SmallVector<Tensor> constants;
    bool allConstant = op->getNumOperands() > 0;
    for (Value operand : op->getOperands()) {
      ValueId id = ids.lookup(operand);
      constants.push_back(isConstant[static_cast<size_t>(id)] ? tensors[static_cast<size_t>(id)] : Tensor());
      allConstant &= static_cast<bool>(constants.back());
    }
    llvm::Expected<NodeSpec> spec = describeNode(op, symbolScope, constants);
    if (!spec)
      return spec.takeError();
    llvm::Expected<Kernel> kernel = rules.makeKernel(*spec);
    if (!kernel)
      return kernel.takeError();
    Step step;
    step.op = op;
    step.kernel = std::move(*kernel);
    step.operands.assign(spec->operands.size(), none);
    for (auto [index, position] : llvm::enumerate(operandPositions(op)))
      step.operands[position] = ids.lookup(op->getOperand(static_cast<unsigned>(index)));
    if (allConstant)
      return foldStep(step, *spec);
    for (auto [result, resultSpec] : llvm::zip_equal(op->getResults(), spec->results))
      step.results.push_back(addValue(result, resultSpec));
    if (step.kernel.isView)
      recordOf(step.results[0]).root = recordOf(step.operands[0]).root;
    steps.push_back(std::move(step));
    return llvm::Error::success();
  }

  llvm::Error addFused(FusedStep node) {
    NodeSpec &spec = node.spec;
    Step step;
    step.op = spec.op;
    for (auto [operand, value] : llvm::zip_equal(spec.operands, node.operands)) {
      step.operands.push_back(value ? ids.lookup(value) : none);
      if (value && isConstant[static_cast<size_t>(step.operands.back())])
        operand.constant = tensors[static_cast<size_t>(step.operands.back())];
    }
    llvm::Expected<Kernel> kernel = node.make(spec);
    if (!kernel)
      return kernel.takeError();
    step.kernel = std::move(*kernel);
    for (auto [value, result] : llvm::zip_equal(node.results, spec.results)) {
      Shape stored(cast<RankedTensorType>(value.getType()).getShape());
      step.results.push_back(addValue(value, {result.type, std::move(stored), {}}));
    }
    steps.push_back(std::move(step));
    return llvm::Error::success();
  }

  llvm::Error foldStep(const Step &step, const NodeSpec &spec) {
    llvm::SmallVector<Tensor> operands = gatherOperands(step), results;
    if (step.kernel.isView) {
      results.push_back(operands[0].reshaped(spec.results[0].shape));
    } else {
      for (const ValueSpec &result : spec.results)
        results.push_back(Tensor::allocate(result.type, result.shape));
      if (llvm::Error error = step.kernel.run(operands, results))
        return nameNode(step.op, std::move(error));
    }
    for (auto [value, tensor] : llvm::zip_equal(step.op->getResults(), results))
      addConstant(value, tensor);
    return llvm::Error::success();
  }

  /// Lifetimes, then a slot for every result that is no view, smallest fitting free slot first.
  void planBuffers() {
    for (auto [index, step] : llvm::enumerate(steps)) {
      for (ValueId id : step.operands)
        if (id != none)
          recordOf(id).lastUse = static_cast<int>(index);
      for (ValueId id : step.results)
        recordOf(id).lastUse = static_cast<int>(index);
    }
    for (ValueId id : outputs)
      recordOf(id).lastUse = static_cast<int>(steps.size());
    for (size_t id = 0; id < records.size(); ++id)
      if (int last = records[id].lastUse; last >= 0 && last < static_cast<int>(steps.size()) && !isConstant[id])
        steps[static_cast<size_t>(last)].dying.push_back(static_cast<ValueId>(id));
    // A slot is free after the last use of every view of its value.
    std::vector<int> storageEnd(records.size(), -1);
    for (const ValueRecord &record : records) {
      int &end = storageEnd[static_cast<size_t>(record.root)];
      end = std::max(end, record.lastUse);
    }
    std::vector<llvm::SmallVector<int>> freedAfter(steps.size());
    std::vector<int> freeSlots;
    for (auto [index, step] : llvm::enumerate(steps)) {
      if (!step.kernel.isView) {
        for (auto [position, id] : llvm::enumerate(step.results)) {
          int slot = position == 0 ? takeOverwritable(step, static_cast<int>(index), storageEnd) : -1;
          if (slot >= 0)
            llvm::erase(freedAfter[index], slot);
          else
            slot = takeFreeSlot(freeSlots, byteSize(recordOf(id).spec.type, recordOf(id).spec.elementCount()));
          recordOf(id).slot = slot;
          if (int end = storageEnd[static_cast<size_t>(id)]; end < static_cast<int>(steps.size()))
            freedAfter[static_cast<size_t>(end)].push_back(slot);
        }
      }
      for (int slot : freedAfter[index])
        freeSlots.push_back(slot);
    }
  }

  /// The slot of an operand that dies here and may be overwritten, or -1.
  int takeOverwritable(Step &step, int index, const std::vector<int> &storageEnd) {
    for (unsigned position : step.kernel.overwritable) {
      ValueId root = recordOf(step.operands[position]).root;
      const ValueRecord &record = recordOf(root);
      bool isReadTwice = llvm::count_if(step.operands, [&](ValueId id) {
                           return id != none && recordOf(id).root == root;
                         }) > 1;
      if (record.slot < 0 || storageEnd[static_cast<size_t>(root)] != index || isReadTwice)
        continue;
      step.overwritten = step.operands[position];
      return record.slot;
    }
    return -1;
  }

  int takeFreeSlot(std::vector<int> &freeSlots, int64_t bytes) {
    auto fits = [&](int slot) { return slots[static_cast<size_t>(slot)].bytes >= bytes; };
    auto best = freeSlots.end();
    for (auto it = freeSlots.begin(); it != freeSlots.end(); ++it) {
      if (best == freeSlots.end()) {
        best = it;
        continue;
      }
      int64_t size = slots[static_cast<size_t>(*it)].bytes, bestSize = slots[static_cast<size_t>(*best)].bytes;
      if (fits(*it) ? !fits(*best) || size < bestSize : !fits(*best) && size > bestSize)
        best = it;
    }
    int slot;
    if (best == freeSlots.end()) {
      slot = static_cast<int>(slots.size());
      slots.emplace_back();
    } else {
      slot = *best;
      freeSlots.erase(best);
    }
    Slot &taken = slots[static_cast<size_t>(slot)];
    taken.bytes = std::max(taken.bytes, bytes);
    return slot;
  }

  ValueRecord &recordOf(ValueId id) { return records[static_cast<size_t>(id)]; }

  llvm::Error checkInputs(llvm::ArrayRef<Tensor> given) {
    if (given.size() != inputs.size())
      return makeError(ErrorKind::BadInput, "wanted " + llvm::Twine(inputs.size()) + " inputs, found " +
                                                llvm::Twine(given.size()));
    for (auto [id, tensor] : llvm::zip_equal(inputs, given)) {
      const ValueRecord &record = recordOf(id);
      if (tensor && tensor.elementType() == record.spec.type && tensor.shape() == llvm::ArrayRef(record.spec.shape))
        continue;
      auto describe = [](ElementType type, llvm::ArrayRef<int64_t> shape) {
        std::string text;
        llvm::raw_string_ostream os(text);
        os << name(type) << '[';
        llvm::interleave(shape, os, "x");
        os << ']';
        return text;
      };
      return makeError(ErrorKind::BadInput,
                       "input '" + nn::tensorName(record.value) + "': wanted " +
                           describe(record.spec.type, record.spec.shape) + ", found " +
                           (tensor ? describe(tensor.elementType(), tensor.shape()) : std::string("none")));
    }
    return llvm::Error::success();
  }

  static llvm::Error nameNode(Operation *op, llvm::Error error) {
    return llvm::handleErrors(std::move(error), [&](std::unique_ptr<NibbleError> cause) -> llvm::Error {
      return makeError(cause->kind, "node '" + nn::nodeName(op) + "': " + cause->message, cause->notes);
    });
  }

  llvm::SmallVector<Tensor> gatherOperands(const Step &step) {
    llvm::SmallVector<Tensor> operands;
    for (ValueId id : step.operands)
      operands.push_back(id == none ? Tensor() : tensors[static_cast<size_t>(id)]);
    return operands;
  }

  /// A tensor in the slot's buffer, which is replaced where someone else than `holders` of this program
  /// still reads it.
  Tensor allocateResult(ValueId id, long holders) {
    const ValueSpec &spec = recordOf(id).spec;
    Slot &slot = slots[static_cast<size_t>(recordOf(id).slot)];
    if (!slot.owner || slot.owner.use_count() > holders) {
      Tensor buffer = Tensor::allocate(ElementType::U8, {slot.bytes});
      slot.owner = std::shared_ptr<const void>(buffer.raw(), [buffer](const void *) {});
    }
    return Tensor::view(spec.type, spec.shape, slot.owner.get(), slot.owner);
  }

  llvm::Error runStep(Step &step) {
    if (step.kernel.isView) {
      ValueId id = step.results[0];
      tensors[static_cast<size_t>(id)] =
          tensors[static_cast<size_t>(step.operands[0])].reshaped(recordOf(id).spec.shape);
    } else {
      // The overwritten operand's own tensor is the one holder beside the slot.
      llvm::SmallVector<Tensor> results;
      for (auto [position, id] : llvm::enumerate(step.results))
        results.push_back(allocateResult(id, position == 0 && step.overwritten != none ? 2 : 1));
      if (llvm::Error error = step.kernel.run(gatherOperands(step), results))
        return nameNode(step.op, std::move(error));
      for (auto [id, tensor] : llvm::zip_equal(step.results, results))
        tensors[static_cast<size_t>(id)] = std::move(tensor);
    }
    for (ValueId id : step.results)
      observe(id);
    for (ValueId id : step.dying)
      tensors[static_cast<size_t>(id)] = Tensor();
    return llvm::Error::success();
  }

  void observe(ValueId id) {
    const ValueRecord &record = recordOf(id);
    if (!record.isObserved)
      return;
    Tensor &tensor = tensors[static_cast<size_t>(id)];
    if (Tensor replacement = observer->replaceValue(record.value, tensor)) {
      assert(replacement.elementType() == tensor.elementType() && replacement.shape() == tensor.shape());
      tensor = replacement;
    }
    observer->onValue(record.value, tensor);
  }

  ExecutionObserver *observer;
  std::vector<ValueRecord> records;
  std::vector<Tensor> tensors;
  std::vector<bool> isConstant;
  llvm::DenseMap<Value, ValueId> ids;
  std::vector<Step> steps;
  std::vector<Slot> slots;
  llvm::SmallVector<ValueId> inputs, outputs;
};

/// nn operations in float.
class FloatRules : public ProgramRules {
public:
  llvm::Expected<Tensor> readConstant(Operation *op) const override {
    auto constant = dyn_cast<nn::ConstantOp>(op);
    return constant ? nn::readConstant(constant.getResult()) : Tensor();
  }
  StepPlan planSteps(Block &block, llvm::function_ref<bool(Value)> isObserved) const override {
    return FusionPlan(block, isObserved).takeSteps();
  }
  llvm::Expected<Kernel> makeKernel(const NodeSpec &spec) const override { return runtime::makeKernel(spec); }
};

} // namespace

llvm::Expected<std::unique_ptr<Program>> createProgram(Block &body, Operation *symbolScope, ExecutionObserver *observer,
                                                       const ProgramRules &rules) {
  auto program = std::make_unique<StepProgram>(observer);
  for (BlockArgument argument : body.getArguments())
    if (llvm::Error error = program->addInput(argument))
      return std::move(error);
  llvm::Expected<llvm::SmallVector<ValueId>> outputs = program->addBlock(body, symbolScope, rules);
  if (!outputs)
    return outputs.takeError();
  program->finish(std::move(*outputs));
  return program;
}

llvm::Expected<std::unique_ptr<Program>> createProgram(func::FuncOp function, ExecutionObserver *observer,
                                                       const ProgramRules &rules) {
  if (function.isExternal() || !function.getBody().hasOneBlock())
    return makeError(ErrorKind::Unsupported, "function '" + function.getName() + "' has no single block to run");
  return createProgram(function.getBody().front(), function, observer, rules);
}

llvm::Expected<std::unique_ptr<Program>> Program::create(func::FuncOp function, ExecutionObserver *observer) {
  return createProgram(function, observer, FloatRules());
}

llvm::Expected<std::unique_ptr<Program>> Program::create(nn::BlockOp block, Operation *symbolScope,
                                                         ExecutionObserver *observer) {
  return createProgram(block.getBody().front(), symbolScope, observer, FloatRules());
}

} // namespace nibble::runtime

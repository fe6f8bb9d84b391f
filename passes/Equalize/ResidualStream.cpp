#include "passes/Equalize/ResidualStream.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Rewriting.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace nibble {
namespace {

int64_t rankOf(Value value) { return static_cast<int64_t>(nn::shapeOf(value).size()); }

/// Grows the set of values from the first one by all that must be in the same frame.
class Tracer {
public:
  Tracer(ResidualStream &stream, DenseSet<Operation *> &norms) : stream(stream), norms(norms) {}

  void run(Value first) {
    stream.channels = nn::shapeOf(first).back();
    add(first, first.getDefiningOp());
    // Also behind an obstacle, so that the rest of a stream is not taken for another one.
    for (size_t next = 0; next < values.size(); ++next) {
      visitProducer(values[next]);
      for (OpOperand &use : values[next].getUses())
        visitUse(use);
    }
  }

private:
  void fail(Operation *op, const Twine &reason) {
    lastFailed = op;
    if (stream.obstacle)
      return;
    stream.obstacle = op;
    stream.reason = reason.str();
  }

  /// Adds a value that `op` says is in the frame.
  void add(Value value, Operation *op) {
    if (!hasStaticShape(value) || !isQuantizable(value.getType()) || nn::shapeOf(value).empty() ||
        nn::shapeOf(value).back() != stream.channels)
      fail(op, "it changes the number of channels");
    else
      values.insert(value);
  }

  void visitProducer(Value value) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      Operation *parent = argument.getOwner()->getParentOp();
      if (auto block = dyn_cast<nn::BlockOp>(parent))
        return add(block.getInputs()[argument.getArgNumber()], block);
      return fail(*value.getUsers().begin(), "input '" + nn::tensorName(value) + "' of the model is part of it");
    }
    Operation *op = value.getDefiningOp();
    if (auto block = dyn_cast<nn::BlockOp>(op))
      return add(block.getBody().front().getTerminator()->getOperand(cast<OpResult>(value).getResultNumber()), block);
    if (std::optional<LinearLayer> layer = matchLinearLayer(op); layer && layer->resultAxis == rankOf(value) - 1) {
      stream.writers.push_back(*layer);
      if (layer->bias)
        addConstant(*layer->bias);
      return;
    }
    if (auto gather = dyn_cast<nn::GatherOp>(op); gather && isFloatConstant(gather.getData())) {
      int64_t rank = rankOf(gather.getData()), axis = gather.getAxis() < 0 ? gather.getAxis() + rank : gather.getAxis();
      if (axis == rank - 1)
        return fail(op, "it looks up single channels");
      stream.constants.push_back(&op->getOpOperand(0));
      return;
    }
    pass(op);
  }

  void visitUse(OpOperand &use) {
    Operation *op = use.getOwner();
    if (auto block = dyn_cast<nn::BlockOp>(op))
      return add(block.getBody().getArgument(use.getOperandNumber()), block);
    if (isa<nn::YieldOp>(op))
      return add(op->getParentOp()->getResult(use.getOperandNumber()), op);
    if (std::optional<LinearLayer> layer = matchLinearLayer(op); layer && layer->input == &use) {
      if (layer->inputAxis != rankOf(use.get()) - 1)
        return fail(op, "it mixes along another axis");
      stream.readers.push_back(*layer);
      return;
    }
    pass(op);
  }

  void addConstant(OpOperand &use) {
    llvm::ArrayRef<int64_t> shape = isFloatConstant(use.get()) ? nn::shapeOf(use.get()) : llvm::ArrayRef<int64_t>();
    if (isFloatConstant(use.get()) && (shape.empty() || shape.back() == 1 || shape.back() == stream.channels))
      stream.constants.push_back(&use);
    else
      fail(use.getOwner(), "what it adds is not constant");
  }

  void addOperand(Operation *op, unsigned index) { add(op->getOperand(index), op); }

  /// Adds all operands and results that an operation leaves in one frame.
  void pass(Operation *op) {
    if (!visited.insert(op).second)
      return;
    int64_t lastAxis = op->getNumOperands() ? rankOf(op->getOperand(0)) - 1 : 0;
    llvm::TypeSwitch<Operation *>(op)
        .Case<nn::IdentityOp, nn::NegOp, nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::ExpandOp>(
            [&](Operation *) { addOperand(op, 0); })
        .Case<nn::AddOp, nn::SubOp>([&](Operation *) {
          for (OpOperand &operand : op->getOpOperands()) {
            if (getConstant(operand.get()))
              addConstant(operand);
            else
              addOperand(op, operand.getOperandNumber());
          }
        })
        .Case<nn::MulOp, nn::DivOp>([&](Operation *) {
          auto isFactor = [](Value value) {
            nn::ConstantOp constant = getConstant(value);
            return constant && matchSplat(constant.getResult());
          };
          bool isRight = isFactor(op->getOperand(1));
          if (!isRight && !(isa<nn::MulOp>(op) && isFactor(op->getOperand(0))))
            return fail(op, "it scales channels by more than one constant");
          addOperand(op, isRight ? 0 : 1);
        })
        .Case([&](nn::RMSNormalizationOp norm) { passNorm(norm); })
        .Case([&](nn::LayerNormalizationOp) {
          fail(op, "a LayerNorm subtracts a mean, which a rotation does not keep");
        })
        .Case([&](nn::TransposeOp transpose) {
          if (transpose.getPerm().back() != lastAxis)
            return fail(op, "it moves the axis of channels");
          addOperand(op, 0);
        })
        .Case<nn::SplitOp, nn::GatherOp>([&](auto typed) {
          if (typed.getAxis() == lastAxis || typed.getAxis() == -1)
            return fail(op, "it selects channels");
          addOperand(op, 0);
        })
        .Case([&](nn::ConcatOp concat) {
          if (concat.getAxis() == lastAxis || concat.getAxis() == -1)
            return fail(op, "it joins channels");
          for (unsigned i = 0; i < op->getNumOperands(); ++i)
            addOperand(op, i);
        })
        .Case([&](nn::SliceOp slice) {
          auto axes = nn::readConstantIntegers(slice.getAxes());
          if (!axes || llvm::is_contained(*axes, lastAxis) || llvm::is_contained(*axes, int64_t(-1)))
            return fail(op, "it selects channels");
          addOperand(op, 0);
        })
        .Case([&](func::ReturnOp) { fail(op, "an output of the model is part of it"); })
        .Default([&](Operation *) { fail(op, "a rotation does not pass it"); });
    if (lastFailed != op || isa<nn::RMSNormalizationOp>(op))
      for (Value result : op->getResults())
        add(result, op);
  }

  void passNorm(nn::RMSNormalizationOp norm) {
    norms.insert(norm);
    ++stream.normCount;
    int64_t rank = rankOf(norm.getInput());
    nn::ConstantOp scale = getConstant(norm.getScale());
    if (norm.getAxis() != -1 && norm.getAxis() != rank - 1)
      fail(norm, "it normalizes over more than channels");
    else if (!scale || !matchSplat(scale.getResult()))
      fail(norm, "its scale is not one number; nibble-fold-norm-scales moves it where its readers can take it");
    addOperand(norm, 0);
  }

  ResidualStream &stream;
  DenseSet<Operation *> &norms;
  llvm::SetVector<Value> values;
  DenseSet<Operation *> visited;
  Operation *lastFailed = nullptr;
};

} // namespace

ResidualStream traceResidualStream(nn::RMSNormalizationOp norm, DenseSet<Operation *> &seen) {
  ResidualStream stream;
  seen.insert(norm);
  Tracer(stream, seen).run(norm.getInput());
  return stream;
}

} // namespace nibble

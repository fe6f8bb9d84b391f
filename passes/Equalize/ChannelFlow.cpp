#include "passes/Equalize/ChannelFlow.h"
#include "lib/Dialect/NN/Constants.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Rewriting.h"

#include "llvm/ADT/TypeSwitch.h"
#include "mlir/IR/TypeUtilities.h"
#include <numeric>

using namespace mlir;

namespace nibble {
namespace {

llvm::ArrayRef<int64_t> shapeOfResult(Operation *op) { return nn::shapeOf(op->getResult(0)); }

/// Every index of an axis of `size`.
SmallVector<int64_t> allIndices(int64_t size) {
  SmallVector<int64_t> indices(static_cast<size_t>(size));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

class Tracer {
public:
  Tracer(ChannelFlow &flow, FlowRules rules) : flow(flow), rules(rules) {}

  void run(Value value, ChannelMap map) {
    work.emplace_back(value, std::move(map));
    while (!work.empty()) {
      auto [next, channels] = work.pop_back_val();
      for (OpOperand &use : next.getUses())
        visit(use, channels);
    }
  }

private:
  void visit(OpOperand &use, const ChannelMap &map) {
    Operation *op = use.getOwner();
    if (auto block = dyn_cast<nn::BlockOp>(op)) {
      work.emplace_back(block.getBody().getArgument(use.getOperandNumber()), map);
      return;
    }
    if (isa<nn::YieldOp>(op)) {
      work.emplace_back(op->getParentOp()->getResult(use.getOperandNumber()), map);
      return;
    }
    // Two factors at once would meet in the result.
    auto [seen, isNew] = visited.try_emplace(op, map);
    if (!isNew) {
      fix(op, seen->second);
      fix(op, map);
      return;
    }
    if (std::optional<LinearLayer> layer = matchLinearLayer(op); layer && layer->input == &use) {
      llvm::ArrayRef<int64_t> shape = nn::shapeOf(use.get());
      if (auto channels = map.channelsAlong(layer->inputAxis, shape[static_cast<size_t>(layer->inputAxis)]))
        flow.readers.push_back({*layer, std::move(*channels)});
      else
        fix(op, map);
      return;
    }
    if (!pass(use, map))
      fix(op, map);
  }

  void fix(Operation *op, const ChannelMap &map) {
    if (!flow.obstacle)
      flow.obstacle = op;
    for (int32_t channel : map.channels)
      flow.fixed.set(static_cast<unsigned>(channel));
  }

  bool passTo(Value result, ChannelMap map) {
    work.emplace_back(result, std::move(map));
    return true;
  }

  /// Passes `map` on to the results of an operator that keeps the factors of its operand; false where it does not.
  bool pass(OpOperand &use, const ChannelMap &map) {
    Operation *op = use.getOwner();
    unsigned operand = use.getOperandNumber();
    if (op->getNumResults() == 0 || !hasStaticShape(op->getResult(0)) || !hasStaticShape(use.get()))
      return false;
    llvm::ArrayRef<int64_t> from = nn::shapeOf(use.get());
    if (operand != 0 && !isa<nn::MulOp, nn::AddOp, nn::SubOp, nn::MatMulOp>(op))
      return false;
    return llvm::TypeSwitch<Operation *, bool>(op)
        .Case<nn::IdentityOp, nn::NegOp>([&](Operation *) { return passTo(op->getResult(0), map); })
        .Case<nn::ReluOp, nn::LeakyReluOp, nn::PReluOp>(
            [&](Operation *) { return rules.activations && passTo(op->getResult(0), map); })
        .Case<nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp>([&](Operation *) {
          std::optional<ChannelMap> reshaped = map.reshaped(from, shapeOfResult(op));
          return reshaped && passTo(op->getResult(0), std::move(*reshaped));
        })
        .Case([&](nn::TransposeOp transpose) { return passTo(op->getResult(0), map.transposed(transpose.getPerm())); })
        .Case([&](nn::ExpandOp) { return passTo(op->getResult(0), map.padded(static_cast<int64_t>(shapeOfResult(op).size()))); })
        .Case([&](nn::SplitOp split) { return passSplit(split, map); })
        .Case([&](nn::SliceOp slice) { return passSlice(slice, map); })
        .Case<nn::MaxPoolOp, nn::AveragePoolOp, nn::GlobalAveragePoolOp, nn::GlobalMaxPoolOp>(
            [&](Operation *) { return rules.activations && passWindows(op, map, 2); })
        .Case([&](nn::ResizeOp) { return rules.activations && passWindows(op, map, 2); })
        .Case([&](nn::PadOp) {
          return rules.activations && getMovedOperand(op->getResult(0)) && passWindows(op, map, 2);
        })
        .Case<nn::MulOp, nn::DivOp>([&](Operation *) { return rules.products && passBroadcast(use, map); })
        .Case<nn::AddOp, nn::SubOp>([&](Operation *) { return rules.sums && passSum(use, map); })
        .Case([&](nn::MatMulOp matmul) { return rules.attention && passMatmul(matmul, operand, map); })
        .Default([](Operation *) { return false; });
  }

  /// Operators that compute along axes from `firstAxis` on and keep the others: channels must lie along the others.
  bool passWindows(Operation *op, const ChannelMap &map, size_t firstAxis) {
    llvm::ArrayRef<int64_t> from = nn::shapeOf(op->getOperand(0)), to = shapeOfResult(op);
    for (size_t axis = 0; axis < map.shape.size(); ++axis)
      if (map.shape[axis] != 1 && (axis >= firstAxis || from[axis] != to[axis]))
        return false;
    return passTo(op->getResult(0), map);
  }

  bool passSplit(nn::SplitOp split, const ChannelMap &map) {
    int64_t rank = static_cast<int64_t>(map.shape.size());
    int64_t axis = split.getAxis() < 0 ? split.getAxis() + rank : split.getAxis(), begin = 0;
    for (Value result : split.getOutputs()) {
      int64_t size = nn::shapeOf(result)[static_cast<size_t>(axis)];
      SmallVector<int64_t> indices = allIndices(size);
      for (int64_t &index : indices)
        index += begin;
      passTo(result, map.dependsOn(axis) ? map.selected(axis, indices).compressed() : map);
      begin += size;
    }
    return true;
  }

  bool passSlice(nn::SliceOp slice, const ChannelMap &map) {
    auto starts = nn::readConstantIntegers(slice.getStarts()), axes = nn::readConstantIntegers(slice.getAxes()),
         steps = nn::readConstantIntegers(slice.getSteps());
    if (!starts || (slice.getAxes() && !axes) || (slice.getSteps() && !steps))
      return false;
    ChannelMap result = map;
    llvm::ArrayRef<int64_t> from = nn::shapeOf(slice.getInput()), to = shapeOfResult(slice);
    for (size_t i = 0; i < starts->size(); ++i) {
      int64_t axis = axes ? (*axes)[i] : static_cast<int64_t>(i), step = steps ? (*steps)[i] : 1;
      axis += axis < 0 ? static_cast<int64_t>(from.size()) : 0;
      if (!result.dependsOn(axis))
        continue;
      int64_t size = from[static_cast<size_t>(axis)], start = (*starts)[i] + ((*starts)[i] < 0 ? size : 0);
      start = std::clamp<int64_t>(start, 0, step < 0 ? size - 1 : size);
      SmallVector<int64_t> indices = allIndices(to[static_cast<size_t>(axis)]);
      for (int64_t &index : indices)
        index = start + index * step;
      result = result.selected(axis, indices);
    }
    return passTo(slice.getResult(), result.compressed());
  }

  /// The other operand must not have more rank than broadcasting to the result needs, which padding takes care of.
  bool passBroadcast(OpOperand &use, const ChannelMap &map) {
    return passTo(use.getOwner()->getResult(0), map.padded(static_cast<int64_t>(shapeOfResult(use.getOwner()).size())));
  }

  bool passSum(OpOperand &use, const ChannelMap &map) {
    Operation *op = use.getOwner();
    OpOperand &other = op->getOpOperand(1 - use.getOperandNumber());
    nn::ConstantOp constant = getConstant(other.get());
    if (!constant || !isQuantizable(constant.getType()) || nn::shapeOf(use.get()) != shapeOfResult(op))
      return false;
    flow.sums.push_back({&other, map});
    return passTo(op->getResult(0), map);
  }

  bool passMatmul(nn::MatMulOp matmul, unsigned operand, const ChannelMap &map) {
    int64_t rank = static_cast<int64_t>(map.shape.size()), resultRank = static_cast<int64_t>(shapeOfResult(matmul).size());
    bool isRight = operand == 1;
    if (rank < 2 || resultRank < rank || nn::shapeOf(matmul->getOperand(1 - operand)).size() < 2 ||
        map.dependsOn(isRight ? rank - 2 : rank - 1))
      return false;
    flow.products.push_back({matmul, isRight, map});
    // The contracted axis, of which the map has 1, is where the result has the rows or columns of the other operand.
    return passTo(matmul.getResult(), map.padded(resultRank));
  }

  ChannelFlow &flow;
  FlowRules rules;
  SmallVector<std::pair<Value, ChannelMap>> work;
  DenseMap<Operation *, ChannelMap> visited;
};

} // namespace

ChannelFlow traceChannels(Value value, const ChannelMap &map, int64_t channelCount, FlowRules rules) {
  ChannelFlow flow;
  flow.fixed.resize(static_cast<unsigned>(channelCount));
  Tracer(flow, rules).run(value, map);
  return flow;
}

ChannelFlow traceChannels(const LinearLayer &layer, FlowRules rules) {
  Value result = layer.op->getResult(0);
  int64_t rank = static_cast<int64_t>(nn::shapeOf(result).size()), channels = layer.outputCount();
  return traceChannels(result, ChannelMap::along(layer.resultAxis, rank, channels), channels, rules);
}

ChannelFlow traceChannels(const NormLayer &layer, FlowRules rules) {
  Value result = layer.op->getResult(0);
  ChannelMap map = ChannelMap::count(layer.channelShape).padded(static_cast<int64_t>(nn::shapeOf(result).size()));
  return traceChannels(result, map, layer.channelCount(), rules);
}

void divideByScales(Tensor &constant, const ChannelMap &map, llvm::ArrayRef<float> scales) {
  size_t rank = std::max(constant.shape().size(), map.shape.size());
  Shape shape(rank, 1);
  for (llvm::ArrayRef<int64_t> part : {constant.shape(), llvm::ArrayRef<int64_t>(map.shape)})
    for (size_t i = 0; i < part.size(); ++i) {
      int64_t &size = shape[rank - part.size() + i];
      size = std::max(size, part[i]);
    }
  if (elementCount(shape) == constant.elementCount())
    shape = Shape(constant.shape());
  Tensor result = Tensor::allocate(ElementType::F32, shape);
  float *data = result.mutableData<float>();
  forEachInMap(shape, constant.shape(),
               [&](int64_t offset, int64_t position) { data[offset] = constant.data<float>()[position]; });
  llvm::ArrayRef<int64_t> mapShape = map.shape;
  mapShape = mapShape.drop_front(mapShape.size() > shape.size() ? mapShape.size() - shape.size() : 0);
  forEachInMap(shape, mapShape, [&](int64_t offset, int64_t position) {
    data[offset] /= scales[static_cast<size_t>(map.channels[static_cast<size_t>(position)])];
  });
  constant = std::move(result);
}

} // namespace nibble

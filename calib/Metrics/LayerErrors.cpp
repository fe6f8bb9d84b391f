#include "calib/Metrics/LayerErrors.h"
#include "calib/Metrics/LayerReasons.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Report/Coverage.h"

#include "llvm/ADT/DenseMap.h"
#include <map>

using namespace mlir;

namespace nibble::calib {
namespace {

struct Layer {
  Operation *op;
  std::string tensor;
  /// Where the layer's result is compared: after its own rounding where everything reads it rounded.
  Value measured;
  ErrorAccumulator isolated, accumulated;
};

Value measuringPoint(Value result) {
  bool allRounded = !result.use_empty() && llvm::all_of(result.getUsers(), [](Operation *user) { return isa<nn::FakeQuantOp>(user); });
  if (!allRounded)
    return result;
  // Uses are kept in no order that means anything; the first in the program is taken.
  Operation *first = *result.user_begin();
  for (Operation *user : result.getUsers())
    if (user->getBlock() == first->getBlock() && user->isBeforeInBlock(first))
      first = user;
  return first->getResult(0);
}

/// The only reader of `rounded`, the rounded result of `op`, where both are one layer: a relu that takes its operand's
/// quantizer, and a softmax of scores to which a mask was added. What such a reader cuts off is no error of `op`.
Operation *findJoinedReader(Operation *op, Value rounded) {
  auto fakeQuant = rounded.getDefiningOp<nn::FakeQuantOp>();
  if (!fakeQuant || !rounded.hasOneUse())
    return nullptr;
  Operation *reader = *rounded.user_begin();
  if (isa<nn::SoftmaxOp>(reader))
    return isa<nn::AddOp>(op) ? reader : nullptr;
  if (!isa<nn::ReluOp>(reader))
    return nullptr;
  auto behind = measuringPoint(reader->getResult(0)).getDefiningOp<nn::FakeQuantOp>();
  return behind && behind.getQuantizer() == fakeQuant.getQuantizer() ? reader : nullptr;
}

} // namespace

struct LayerErrors::State {
  std::vector<Layer> layers;
  llvm::DenseMap<Value, size_t> layerAt;
  std::map<std::string, Tensor> reference;

  /// Keeps the float results of layers, by name.
  struct Recorder : runtime::ExecutionObserver {
    explicit Recorder(State &state) : state(state) {}
    bool wants(Value value) override {
      std::string name = nn::tensorName(value);
      auto wanted = state.reference.find(name);
      if (name.empty() || wanted == state.reference.end() || value.getDefiningOp<nn::BlockOp>())
        return false;
      names[value] = &wanted->first;
      return true;
    }
    void onValue(Value value, const Tensor &tensor) override {
      auto found = names.find(value);
      if (found == names.end())
        return;
      Tensor &slot = state.reference[*found->second];
      // An identity may give two values one name; the first is what the layer made.
      if (!slot)
        slot = tensor;
    }
    State &state;
    llvm::DenseMap<Value, const std::string *> names;
  } recorder{*this};

  const Tensor *referenceFor(const Layer &layer, const Tensor &actual) const {
    auto found = reference.find(layer.tensor);
    bool fits = found != reference.end() && found->second && found->second.shape() == actual.shape();
    return fits ? &found->second : nullptr;
  }

  struct Isolator : runtime::ExecutionObserver {
    explicit Isolator(State &state) : state(state) {}
    bool wants(Value value) override {
      if (auto rounding = value.getDefiningOp<nn::FakeQuantOp>(); rounding && !state.layerAt.count(value)) {
        Value input = nn::resolveThroughBlocks(rounding.getInput());
        if (!input.getDefiningOp<nn::ConstantOp>())
          unrounded[value] = input;
      }
      return state.layerAt.count(value) || unrounded.count(value) ||
             llvm::any_of(value.getUsers(), [](Operation *user) { return isa<nn::FakeQuantOp, nn::BlockOp, nn::YieldOp>(user); });
    }
    Tensor replaceValue(Value value, const Tensor &tensor) override {
      if (auto found = state.layerAt.find(value); found != state.layerAt.end()) {
        Layer &layer = state.layers[found->second];
        const Tensor *reference = state.referenceFor(layer, tensor);
        if (!reference)
          return {};
        layer.isolated.add(*reference, tensor);
        return *reference;
      }
      // Any other rounding is undone, so that every layer reads float inputs.
      auto input = unrounded.find(value);
      return input == unrounded.end() ? Tensor() : seen.lookup(input->second);
    }
    void onValue(Value value, const Tensor &tensor) override { seen[value] = tensor; }
    State &state;
    llvm::DenseMap<Value, Value> unrounded;
    llvm::DenseMap<Value, Tensor> seen;
  } isolator{*this};

  struct Accumulator : runtime::ExecutionObserver {
    explicit Accumulator(State &state) : state(state) {}
    bool wants(Value value) override { return state.layerAt.count(value); }
    void onValue(Value value, const Tensor &tensor) override {
      auto found = state.layerAt.find(value);
      if (found == state.layerAt.end())
        return;
      Layer &layer = state.layers[found->second];
      if (const Tensor *reference = state.referenceFor(layer, tensor))
        layer.accumulated.add(*reference, tensor);
    }
    State &state;
  } accumulator{*this};
};

LayerErrors::LayerErrors(func::FuncOp quantized) : state(std::make_unique<State>()) {
  quantized.walk([&](Operation *op) {
    if (!report::isComputeNode(op))
      return;
    for (Value result : op->getResults()) {
      auto type = cast<RankedTensorType>(result.getType());
      Value measured = measuringPoint(result);
      if (Operation *reader = findJoinedReader(op, measured)) {
        result = reader->getResult(0);
        measured = measuringPoint(result);
      }
      std::string name = nn::tensorName(result);
      if (!type.getElementType().isF32() || name.empty() || !state->reference.try_emplace(name).second)
        continue;
      state->layerAt[measured] = state->layers.size();
      state->layers.push_back({op, name, measured, {}, {}});
    }
  });
}

LayerErrors::~LayerErrors() = default;

runtime::ExecutionObserver &LayerErrors::floatObserver() { return state->recorder; }
runtime::ExecutionObserver &LayerErrors::isolatedObserver() { return state->isolator; }
runtime::ExecutionObserver &LayerErrors::accumulatedObserver() { return state->accumulator; }

llvm::Expected<LayerErrors::Runs> LayerErrors::addSample(runtime::Program &floatProgram,
                                                         runtime::Program &isolatedProgram,
                                                         runtime::Program &accumulatedProgram,
                                                         llvm::ArrayRef<Tensor> inputs) {
  for (auto &[name, tensor] : state->reference)
    tensor = Tensor();
  llvm::Expected<std::vector<Tensor>> reference = floatProgram.run(inputs);
  if (!reference)
    return reference.takeError();
  llvm::Expected<std::vector<Tensor>> isolated = isolatedProgram.run(inputs);
  state->isolator.seen.clear();
  if (!isolated)
    return isolated.takeError();
  llvm::Expected<std::vector<Tensor>> quantized = accumulatedProgram.run(inputs);
  if (!quantized)
    return quantized.takeError();
  return Runs{std::move(*reference), std::move(*quantized)};
}

std::vector<report::LayerError> LayerErrors::finish(const quant::Statistics *statistics) const {
  auto figures = [](const ErrorAccumulator &error) {
    return report::ErrorFigures{error.sqnr(), error.cosine(), error.maxError()};
  };
  std::vector<report::LayerError> rows;
  for (const Layer &layer : state->layers) {
    if (layer.isolated.elementCount() == 0)
      continue;
    report::LayerError row{nn::nodeName(layer.op), layer.op->getName().stripDialect().str(), layer.tensor,
                           figures(layer.isolated), figures(layer.accumulated), 0, 0, ""};
    explainLayer(layer.op, layer.measured, statistics, row);
    rows.push_back(std::move(row));
  }
  report::sortLayers(rows);
  return rows;
}

} // namespace nibble::calib

//===- PlaceQuantizers.cpp - a quantizer behind every value that is stored ----===//
//
// Every float value of the program becomes an integer tensor on the target, so every one gets a
// quantizer: graph inputs, results, and constant operands. Values that an operator only moves share the
// quantizer of the moved value, also across blocks, so that moving stays free of rounding. Quantizers are
// placed before calibration and hold no range; their storage is provisional until encodings are assigned.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_PLACEQUANTIZERSPASS
#include "passes/Passes.h.inc"

namespace {

class Placer {
public:
  explicit Placer(ModuleOp module) : module(module), builder(OpBuilder::atBlockBegin(module.getBody())) {
    for (Operation &op : *module.getBody())
      if (auto symbol = op.getAttrOfType<StringAttr>(SymbolTable::getSymbolAttrName()))
        takenNames.insert(symbol.getValue());
  }

  LogicalResult placeFunction(func::FuncOp function) {
    OpBuilder atStart = OpBuilder::atBlockBegin(&function.getBody().front());
    for (BlockArgument argument : function.getArguments())
      if (isQuantizable(argument.getType()) && !argument.use_empty()) {
        std::string name = nn::tensorName(argument);
        quantize(argument, createQuantizer(name, "activation", name), atStart,
                 nn::makeLocation(module.getContext(), name, {name}));
      }
    return placeBlock(function.getBody().front());
  }

  unsigned numPlaced = 0, numShared = 0;

private:
  LogicalResult placeBlock(Block &body) {
    SmallVector<Operation *> ops;
    for (Operation &op : body.without_terminator())
      ops.push_back(&op);
    for (Operation *op : ops) {
      if (isa<nn::FakeQuantOp, nn::DequantizeWeightOp>(op)) {
        // What this pass itself put at the start of a function.
        if (llvm::is_contained(created, op))
          continue;
        return op->emitError("already has quantizers; they are placed once, on the float program");
      }
      if (isa<nn::ConstantOp>(op))
        continue;
      if (auto block = dyn_cast<nn::BlockOp>(op)) {
        if (failed(placeNested(block)))
          return failure();
        continue;
      }
      if (failed(placeConstantOperands(op)))
        return failure();
      placeResults(op);
    }
    return success();
  }

  LogicalResult placeNested(nn::BlockOp block) {
    Block &body = block.getBody().front();
    // A constant that is passed in is quantized where its use says how, so each block gets its own copy.
    OpBuilder atStart = OpBuilder::atBlockBegin(&body);
    for (BlockArgument argument : body.getArguments()) {
      Value operand = block.getInputs()[argument.getArgNumber()];
      if (nn::ConstantOp constant = getConstant(operand); constant && isQuantizable(argument.getType()))
        argument.replaceAllUsesWith(atStart.clone(*constant)->getResult(0));
      else if (FlatSymbolRefAttr symbol = quantizers.lookup(operand))
        quantizers[argument] = symbol;
    }
    if (failed(placeBlock(body)))
      return failure();
    for (auto [result, yielded] : llvm::zip_equal(block.getResults(), body.getTerminator()->getOperands()))
      if (FlatSymbolRefAttr symbol = quantizers.lookup(yielded))
        quantizers[result] = symbol;
    return success();
  }

  /// One fake_quant per constant and way of using it, right before its first reader.
  LogicalResult placeConstantOperands(Operation *op) {
    for (OpOperand &operand : op->getOpOperands()) {
      auto constant = operand.get().getDefiningOp<nn::ConstantOp>();
      if (!constant || !isQuantizable(operand.get().getType()))
        continue;
      OperandRole role = getOperandRole(operand);
      if (role.kind == OperandRole::Kind::Parameter)
        continue;
      StringRef roleName = role.kind == OperandRole::Kind::Weight ? "weight"
                           : role.kind == OperandRole::Kind::Bias ? "bias"
                                                                  : "constant";
      // Steps of a bias and the width of a constant depend on the reader, so those are not shared.
      bool isShared = role.kind == OperandRole::Kind::Weight;
      auto key = std::make_tuple(constant, role.channelAxis.value_or(-1), role.inputAxis.value_or(-1));
      Value shared = isShared ? sharedWeights.lookup(key) : Value();
      if (!shared) {
        std::string name = nn::tensorName(operand.get());
        OpBuilder before(op);
        shared = createFakeQuant(before, operand.get(), createQuantizer(name, roleName, name), constant.getLoc());
        if (isShared)
          sharedWeights[key] = shared;
      }
      operand.set(shared);
    }
    return success();
  }

  void placeResults(Operation *op) {
    OpBuilder after(op->getContext());
    after.setInsertionPointAfter(op);
    for (OpResult result : op->getResults()) {
      if (!isQuantizable(result.getType()) || result.use_empty())
        continue;
      std::string name = nn::tensorName(result);
      FlatSymbolRefAttr symbol;
      if (Value moved = getMovedOperand(result))
        symbol = quantizers.lookup(moved);
      if (nn::ReluOp relu = findTiedRelu(result))
        name = nn::tensorName(relu.getResult());
      if (auto relu = dyn_cast<nn::ReluOp>(op))
        if (auto input = relu.getInput().getDefiningOp<nn::FakeQuantOp>(); input && findTiedRelu(input.getInput()) == relu)
          symbol = input.getQuantizerAttr();
      if (symbol) {
        ++numShared;
      } else {
        nn::QuantizerOp quantizer = createQuantizer(name, "activation", name);
        if (std::optional<FixedRange> range = getFixedRange(op)) {
          quantizer.setFixed(true);
          quantizer.setOrigin(range->rule);
        }
        symbol = FlatSymbolRefAttr::get(quantizer.getSymNameAttr());
      }
      Location location = nn::makeLocation(op->getContext(), nn::nodeName(op), {nn::tensorName(result)});
      quantize(result, symbol, after, location);
    }
  }

  /// The relu that is the only reader of a computed value, before or after its fake_quant was placed. Both
  /// take the range of its result: a grid without negative numbers does what the relu does, and the
  /// target computes both as one.
  static nn::ReluOp findTiedRelu(Value value) {
    auto result = dyn_cast<OpResult>(value);
    if (!result || getMovedOperand(result) || !value.hasOneUse())
      return {};
    Operation *reader = *value.getUsers().begin();
    if (auto quantize = dyn_cast<nn::FakeQuantOp>(reader))
      return quantize->hasOneUse() ? dyn_cast<nn::ReluOp>(*quantize->getUsers().begin()) : nn::ReluOp();
    return dyn_cast<nn::ReluOp>(reader);
  }

  void quantize(Value value, nn::QuantizerOp quantizer, OpBuilder &at, Location location) {
    quantize(value, FlatSymbolRefAttr::get(quantizer.getSymNameAttr()), at, location);
  }
  void quantize(Value value, FlatSymbolRefAttr symbol, OpBuilder &at, Location location) {
    auto op = nn::FakeQuantOp::create(at, location, value.getType(), value, symbol);
    value.replaceAllUsesExcept(op.getResult(), op);
    quantizers[value] = symbol;
    quantizers[op.getResult()] = symbol;
    created.insert(op);
  }
  Value createFakeQuant(OpBuilder &at, Value value, nn::QuantizerOp quantizer, Location location) {
    auto symbol = FlatSymbolRefAttr::get(quantizer.getSymNameAttr());
    auto op = nn::FakeQuantOp::create(at, location, value.getType(), value, symbol);
    quantizers[op.getResult()] = symbol;
    created.insert(op);
    return op.getResult();
  }

  nn::QuantizerOp createQuantizer(StringRef name, StringRef role, StringRef tensor) {
    std::string symbol = name.empty() ? "value" : name.str();
    for (unsigned suffix = 1; !takenNames.insert(symbol).second; ++suffix)
      symbol = (name + "_" + Twine(suffix)).str();
    Type storage = role == "weight" ? builder.getIntegerType(8)
                   : role == "bias" ? builder.getIntegerType(32)
                                    : builder.getIntegerType(8, /*isSigned=*/false);
    OperationState state(builder.getUnknownLoc(), nn::QuantizerOp::getOperationName());
    state.addAttribute(SymbolTable::getSymbolAttrName(), builder.getStringAttr(symbol));
    state.addAttribute("storage", TypeAttr::get(storage));
    state.addAttribute("role", builder.getStringAttr(role));
    if (!tensor.empty())
      state.addAttribute("tensor", builder.getStringAttr(tensor));
    ++numPlaced;
    return cast<nn::QuantizerOp>(builder.create(state));
  }

  ModuleOp module;
  /// Inserts quantizers at the start of the module, in the order of the program.
  OpBuilder builder;
  llvm::StringSet<> takenNames;
  DenseMap<Value, FlatSymbolRefAttr> quantizers;
  llvm::MapVector<std::tuple<Operation *, int64_t, int64_t>, Value> sharedWeights;
  llvm::DenseSet<Operation *> created;
};

struct PlaceQuantizers : impl::PlaceQuantizersPassBase<PlaceQuantizers> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (auto quantizers = module.getOps<nn::QuantizerOp>(); !quantizers.empty()) {
      (*quantizers.begin())->emitError("the module already has quantizers; they are placed once, on the float program");
      return signalPassFailure();
    }
    Placer placer(module);
    for (func::FuncOp function : module.getOps<func::FuncOp>())
      if (failed(placer.placeFunction(function)))
        return signalPassFailure();
    numPlaced += placer.numPlaced;
    numShared += placer.numShared;
  }
};

} // namespace
} // namespace nibble

//===- Elementwise.cpp - from TOSA operations to tile programs -------------===//
#include "lib/Runtime/Integer/Elementwise.h"
#include "lib/Runtime/Float/Simd.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nibble::runtime {

bool isElementwise(Operation *op) {
  return isa<tosa::AddOp, tosa::SubOp, tosa::MulOp, tosa::ArithmeticRightShiftOp, tosa::LogicalLeftShiftOp,
             tosa::LogicalRightShiftOp, tosa::BitwiseAndOp, tosa::BitwiseOrOp, tosa::BitwiseXorOp, tosa::BitwiseNotOp,
             tosa::LogicalAndOp, tosa::LogicalOrOp, tosa::LogicalXorOp, tosa::LogicalNotOp, tosa::IntDivOp,
             tosa::MaximumOp, tosa::MinimumOp, tosa::AbsOp, tosa::ClzOp, tosa::NegateOp, tosa::ClampOp, tosa::SelectOp,
             tosa::EqualOp, tosa::GreaterOp, tosa::GreaterEqualOp, tosa::TableOp, tosa::CastOp, tosa::RescaleOp>(op);
}

namespace {

std::pair<int32_t, int32_t> rangeOf(ElementType type) {
  switch (type) {
  case ElementType::Bool: return {0, 1};
  case ElementType::I8: return {INT8_MIN, INT8_MAX};
  case ElementType::I16: return {INT16_MIN, INT16_MAX};
  default: return {INT32_MIN, INT32_MAX};
  }
}

bool hasLanes(ElementType type) {
  return type == ElementType::Bool || type == ElementType::I8 || type == ElementType::I16 || type == ElementType::I32;
}

std::optional<TileOpcode> plainOpcode(Operation *op) {
  if (auto shift = dyn_cast<tosa::ArithmeticRightShiftOp>(op))
    return shift.getRound() ? TileOpcode::ArithmeticRightRound : TileOpcode::ArithmeticRight;
  return llvm::TypeSwitch<Operation *, std::optional<TileOpcode>>(op)
      .Case<tosa::AddOp>([](auto) { return TileOpcode::Add; })
      .Case<tosa::SubOp>([](auto) { return TileOpcode::Subtract; })
      .Case<tosa::LogicalLeftShiftOp>([](auto) { return TileOpcode::LogicalLeft; })
      .Case<tosa::LogicalRightShiftOp>([](auto) { return TileOpcode::LogicalRight; })
      .Case<tosa::BitwiseAndOp, tosa::LogicalAndOp>([](auto) { return TileOpcode::And; })
      .Case<tosa::BitwiseOrOp, tosa::LogicalOrOp>([](auto) { return TileOpcode::Or; })
      .Case<tosa::BitwiseXorOp, tosa::LogicalXorOp>([](auto) { return TileOpcode::Xor; })
      .Case<tosa::BitwiseNotOp>([](auto) { return TileOpcode::Not; })
      .Case<tosa::LogicalNotOp>([](auto) { return TileOpcode::LogicalNot; })
      .Case<tosa::IntDivOp>([](auto) { return TileOpcode::Divide; })
      .Case<tosa::MaximumOp>([](auto) { return TileOpcode::Maximum; })
      .Case<tosa::MinimumOp>([](auto) { return TileOpcode::Minimum; })
      .Case<tosa::AbsOp>([](auto) { return TileOpcode::Absolute; })
      .Case<tosa::ClzOp>([](auto) { return TileOpcode::CountLeadingZeros; })
      .Case<tosa::SelectOp>([](auto) { return TileOpcode::Select; })
      .Case<tosa::EqualOp>([](auto) { return TileOpcode::Equal; })
      .Case<tosa::GreaterOp>([](auto) { return TileOpcode::Greater; })
      .Case<tosa::GreaterEqualOp>([](auto) { return TileOpcode::GreaterEqual; })
      .Default([](auto) { return std::nullopt; });
}

class Builder {
public:
  Builder(llvm::ArrayRef<Value> values, const NodeSpec &spec) : spec(spec) {
    for (auto [index, value] : llvm::enumerate(values))
      positions.try_emplace(value, static_cast<unsigned>(index));
  }

  llvm::Error add(Operation *op) {
    if (isa<tosa::ReshapeOp, tosa::IdentityOp>(op)) {
      lanes[op->getResult(0)] = lanes.lookup(op->getOperand(0));
      return llvm::Error::success();
    }
    std::optional<ElementType> resultType = elementTypeOf(op->getResult(0));
    if (!resultType || !hasLanes(*resultType))
      return unsupported(op, "result has a type that elementwise operations do not have");
    TileOperation operation;
    operation.width = static_cast<int>(bitWidth(*resultType));
    std::tie(operation.low, operation.high) = rangeOf(*resultType);
    unsigned operandCount = op->getNumOperands();
    if (std::optional<TileOpcode> opcode = plainOpcode(op)) {
      operation.opcode = *opcode;
    } else {
      operandCount = 1;
      llvm::Error error = llvm::TypeSwitch<Operation *, llvm::Error>(op)
                              .Case<tosa::RescaleOp>([&](auto rescale) { return addRescale(rescale, operation); })
                              .Case<tosa::TableOp>([&](auto table) { return addTable(table, operation); })
                              .Case<tosa::MulOp>([&](auto mul) {
                                operandCount = 2;
                                return addMul(mul, operation);
                              })
                              .Case<tosa::NegateOp>([&](auto negate) { return addNegate(negate, operation); })
                              .Case<tosa::ClampOp>([&](auto clamp) { return addClamp(clamp, operation); })
                              .Case<tosa::CastOp>([&](auto cast) { return addCast(cast, operation); })
                              .Default([&](Operation *other) { return unsupported(other, "the operation has no kernel"); });
      if (error)
        return error;
    }
    for (unsigned i = 0; i < operandCount; ++i) {
      std::optional<ElementType> type = elementTypeOf(op->getOperand(i));
      bool isWide = operation.opcode == TileOpcode::RescaleWide || operation.opcode == TileOpcode::RescaleWideEach;
      if (!type || (!hasLanes(*type) && !isWide))
        return unsupported(op, "operand has a type that elementwise operations do not have");
      operation.operands[i] = laneOf(op->getOperand(i), shapeOf(op->getResult(0)));
    }
    if (changesNothing(operation, *elementTypeOf(op->getOperand(0))))
      lanes[op->getResult(0)] = operation.operands[0];
    else
      lanes[op->getResult(0)] = program.addOperation(std::move(operation));
    return llvm::Error::success();
  }

  TileProgram finish(llvm::ArrayRef<Value> results) {
    for (Value result : results)
      program.addOutput(lanes.lookup(result), *elementTypeOf(result));
    program.finish();
    return std::move(program);
  }

private:
  static std::optional<ElementType> elementTypeOf(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type ? storageType(type.getElementType()) : std::nullopt;
  }
  static llvm::ArrayRef<int64_t> shapeOf(Value value) { return cast<RankedTensorType>(value.getType()).getShape(); }
  static llvm::Error unsupported(Operation *op, const llvm::Twine &reason) {
    NodeSpec node;
    node.op = op;
    return node.unsupported(reason);
  }

  Lane laneOf(Value value, llvm::ArrayRef<int64_t> resultShape) {
    if (auto computed = lanes.find(value); computed != lanes.end())
      return computed->second;
    unsigned index = positions.lookup(value);
    return program.addInput(index, spec.operands[index].type, shapeOf(value), resultShape);
  }

  /// The value of a parameter.
  llvm::Expected<Tensor> parameter(Operation *op, Value value, llvm::StringRef what) {
    auto position = positions.find(value);
    if (position == positions.end() || !spec.operands[position->second].constant)
      return unsupported(op, what + " must be a constant");
    return spec.operands[position->second].constant;
  }
  llvm::Error readZero(Operation *op, Value value, int32_t &zero) {
    llvm::Expected<Tensor> tensor = parameter(op, value, "the zero point");
    if (!tensor)
      return tensor.takeError();
    zero = static_cast<int32_t>(tensor->valuesAsInt64()[0]);
    return llvm::Error::success();
  }

  llvm::Error addRescale(tosa::RescaleOp op, TileOperation &operation) {
    if (op.getInputUnsigned() || op.getOutputUnsigned())
      return unsupported(op, "unsigned elements have no kernel; signed ones have");
    if (op.getRoundingMode() == tosa::RoundingMode::INEXACT_ROUND)
      return unsupported(op, "inexact rounding does not say what the result is");
    llvm::Expected<Tensor> multiplier = parameter(op, op.getMultiplier(), "the multiplier");
    if (!multiplier)
      return multiplier.takeError();
    llvm::Expected<Tensor> shift = parameter(op, op.getShift(), "the shift");
    if (!shift)
      return shift.takeError();
    if (llvm::Error error = readZero(op, op.getInputZp(), operation.inputZero))
      return error;
    if (llvm::Error error = readZero(op, op.getOutputZp(), operation.outputZero))
      return error;
    for (int64_t value : multiplier->valuesAsInt64())
      if (value < 0)
        return makeError(ErrorKind::BadInput, "rescale has multiplier " + llvm::Twine(value) + "; wanted 0 or more");
    for (int64_t value : shift->valuesAsInt64())
      if (value < 2 || value > 62)
        return makeError(ErrorKind::BadInput, "rescale has shift " + llvm::Twine(value) + "; wanted 2 to 62");
    operation.doubleRound = op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND;
    bool isWide = elementTypeOf(op.getInput()) == ElementType::I64;
    llvm::ArrayRef<int64_t> shape = shapeOf(op.getOutput());
    if (multiplier->elementCount() > 1) {
      operation.opcode = isWide ? TileOpcode::RescaleWideEach : TileOpcode::RescaleEach;
      int64_t channels = shape.back();
      if (multiplier->elementCount() != channels || shift->elementCount() != channels)
        return makeError(ErrorKind::BadInput, "rescale has " + llvm::Twine(multiplier->elementCount()) +
                                                  " multipliers for " + llvm::Twine(channels) + " channels");
      operation.operands[1] = program.addConstant(*multiplier, {channels}, shape);
      operation.operands[2] = program.addConstant(*shift, {channels}, shape);
      return llvm::Error::success();
    }
    operation.opcode = isWide ? TileOpcode::RescaleWide : TileOpcode::Rescale;
    operation.multiplier = static_cast<int32_t>(multiplier->valuesAsInt64()[0]);
    operation.shift = static_cast<int>(shift->valuesAsInt64()[0]);
    if (!isWide)
      simplifyRescale(operation);
    return llvm::Error::success();
  }

  /// A multiplier that is a power of two needs no product. Double rounding differs from single beyond a shift of 31.
  static void simplifyRescale(TileOperation &operation) {
    auto multiplier = static_cast<uint32_t>(operation.multiplier);
    if (!llvm::isPowerOf2_32(multiplier) || (operation.doubleRound && operation.shift > 31))
      return;
    int shift = operation.shift - static_cast<int>(llvm::Log2_32(multiplier));
    if (shift < 0 || shift > 31)
      return;
    operation.opcode = shift == 0 ? TileOpcode::RescaleByOne : TileOpcode::RescaleByPower;
    operation.shift = shift;
  }

  /// Lanes of 32 bits hold an element of any type, so that widening needs no operation.
  static bool changesNothing(const TileOperation &operation, ElementType from) {
    auto [low, high] = rangeOf(from);
    return operation.opcode == TileOpcode::RescaleByOne && operation.inputZero == operation.outputZero &&
           operation.low <= low && operation.high >= high;
  }

  llvm::Error addTable(tosa::TableOp op, TileOperation &operation) {
    llvm::Expected<Tensor> tensor = parameter(op, op.getTable(), "the table");
    if (!tensor)
      return tensor.takeError();
    llvm::SmallVector<int64_t> values = tensor->valuesAsInt64();
    bool isBytes = elementTypeOf(op.getInput1()) == ElementType::I8;
    size_t wanted = isBytes ? 256 : 513;
    if (values.size() != wanted)
      return makeError(ErrorKind::BadInput,
                       "table has " + llvm::Twine(values.size()) + " entries; wanted " + llvm::Twine(wanted));
    auto table = std::make_shared<std::vector<int32_t>>();
    operation.opcode = isBytes ? TileOpcode::TableEntries : TileOpcode::TableWords;
    if (isBytes) {
      table->assign(values.begin(), values.end());
      operation.inputZero = INT8_MIN;
    }
    for (size_t i = 0; !isBytes && i < 512; ++i) {
      int64_t step = values[i + 1] - values[i];
      if (step < INT16_MIN || step > INT16_MAX)
        return makeError(ErrorKind::BadInput, "table steps by " + llvm::Twine(step) + " at entry " + llvm::Twine(i) +
                                                  "; steps have 16 bits");
      table->push_back(static_cast<int32_t>(static_cast<uint32_t>(step) << 16 |
                                            static_cast<uint16_t>(values[i])));
    }
    operation.table = std::move(table);
    return llvm::Error::success();
  }

  llvm::Error addMul(tosa::MulOp op, TileOperation &operation) {
    llvm::Expected<Tensor> shift = parameter(op, op.getShift(), "the shift");
    if (!shift)
      return shift.takeError();
    operation.shift = static_cast<int>(shift->valuesAsInt64()[0]);
    if (operation.shift < 0 || operation.shift > 63)
      return makeError(ErrorKind::BadInput, "mul has shift " + llvm::Twine(operation.shift) + "; wanted 0 to 63");
    operation.opcode = operation.shift ? TileOpcode::MultiplyShift : TileOpcode::Multiply;
    return llvm::Error::success();
  }

  llvm::Error addNegate(tosa::NegateOp op, TileOperation &operation) {
    operation.opcode = TileOpcode::Negate;
    if (llvm::Error error = readZero(op, op.getInput1Zp(), operation.inputZero))
      return error;
    return readZero(op, op.getOutputZp(), operation.outputZero);
  }

  llvm::Error addClamp(tosa::ClampOp op, TileOperation &operation) {
    operation.opcode = TileOpcode::Clamp;
    auto low = dyn_cast<IntegerAttr>(op.getMinVal()), high = dyn_cast<IntegerAttr>(op.getMaxVal());
    if (!low || !high)
      return unsupported(op, "bounds must be integers");
    operation.low = static_cast<int32_t>(low.getValue().getSExtValue());
    operation.high = static_cast<int32_t>(high.getValue().getSExtValue());
    return llvm::Error::success();
  }

  llvm::Error addCast(tosa::CastOp op, TileOperation &operation) {
    bool isBool = elementTypeOf(op.getOutput()) == ElementType::Bool;
    operation.opcode = isBool ? TileOpcode::ToBool : TileOpcode::Wrap;
    return llvm::Error::success();
  }

  const NodeSpec &spec;
  TileProgram program;
  llvm::DenseMap<Value, unsigned> positions;
  llvm::DenseMap<Value, Lane> lanes;
};

} // namespace

llvm::Expected<TileProgram> buildTileProgram(llvm::ArrayRef<Operation *> members, llvm::ArrayRef<Value> values,
                                             llvm::ArrayRef<Value> results, const NodeSpec &spec) {
  Builder builder(values, spec);
  for (Operation *member : members)
    if (llvm::Error error = builder.add(member))
      return std::move(error);
  return builder.finish(results);
}

Kernel makeTileKernel(TileProgram built) {
  auto program = std::make_shared<const TileProgram>(std::move(built));
  Kernel kernel;
  kernel.run = [program](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    llvm::SmallVector<const void *> inputs;
    llvm::SmallVector<void *> outputs;
    for (const Tensor &operand : operands)
      inputs.push_back(operand.raw());
    for (Tensor &result : results)
      outputs.push_back(result.mutableRaw());
    // Pieces of four tiles: some 20 microseconds for a chain of ten operations.
    parallelRanges(results[0].elementCount(), 4 * TileProgram::tileSize, [&](int64_t begin, int64_t end) {
      program->run(begin, end - begin, inputs, outputs);
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeElementwise(const NodeSpec &spec) {
  llvm::SmallVector<Value> values(spec.op->getOperands()), results(spec.op->getResults());
  llvm::Expected<TileProgram> program = buildTileProgram(spec.op, values, results, spec);
  if (!program)
    return program.takeError();
  return makeTileKernel(std::move(*program));
}

} // namespace nibble::runtime

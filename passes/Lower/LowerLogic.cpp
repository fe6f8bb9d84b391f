//===- LowerLogic.cpp - comparisons, conditions, choices ---------------------===//
#include "passes/Lower/Operands.h"

using namespace mlir;

namespace nibble {
namespace {

/// Compares on a common i32 grid; numbers as they are.
template <typename Op, bool swapped = false, bool negated = false>
FailureOr<Stored> lowerComparison(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Aligned> aligned = alignOperands(lowering, request.op->getOperands());
  if (failed(aligned))
    return failure();
  SmallVector<Value> values;
  TosaBuilder &b = lowering.b;
  SmallVector<Grid> grids;
  for (const Stored &operand : aligned->operands)
    grids.push_back(operand.grid);
  bool ofNumbers = grids.front().isOfNumbers();
  for (const Stored &operand : aligned->operands) {
    Value value = ofNumbers ? operand.value : inSteps(lowering, operand, commonStep(grids));
    values.push_back(b.bits(value) == 1 ? b.cast(value, 32) : value);
  }
  Value result = b.compare<Op>(values[swapped ? 1 : 0], values[swapped ? 0 : 1]);
  return Stored{negated ? b.logicalNot(result) : result, request.grid, aligned->order};
}

template <typename Op> FailureOr<Stored> lowerLogical(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Aligned> aligned = alignOperands(lowering, request.op->getOperands());
  if (failed(aligned))
    return failure();
  return Stored{lowering.b.logical<Op>(aligned->operands[0].value, aligned->operands[1].value), request.grid, aligned->order};
}

FailureOr<Stored> lowerNot(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  return Stored{lowering.b.logicalNot(input->value), request.grid, input->order};
}

/// Integers are numbers.
FailureOr<Stored> lowerIsNaN(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  return Stored{lowering.b.constant({0}, lowering.b.dims(input->value), 1), request.grid, input->order};
}

/// Both choices are brought to the wanted grid, so that what is chosen is rounded once.
FailureOr<Stored> lowerWhere(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Aligned> aligned = alignOperands(lowering, request.op->getOperands());
  if (failed(aligned))
    return failure();
  bool ofNumbers = request.grid.isOfNumbers();
  SmallVector<Value> choices;
  for (unsigned i : {1u, 2u}) {
    FailureOr<Stored> choice = ofNumbers ? aligned->operands[i] : lowering.convert(aligned->operands[i], request.grid);
    if (failed(choice))
      return failure();
    choices.push_back(choice->value);
  }
  return Stored{lowering.b.select(aligned->operands[0].value, choices[0], choices[1]), request.grid, aligned->order};
}

} // namespace

void registerLogicLowerings(LowerRegistry &registry) {
  registry["equal"] = lowerComparison<tosa::EqualOp>;
  registry["greater"] = lowerComparison<tosa::GreaterOp>;
  registry["greater_or_equal"] = lowerComparison<tosa::GreaterEqualOp>;
  registry["less"] = lowerComparison<tosa::GreaterOp, /*swapped=*/true>;
  registry["less_or_equal"] = lowerComparison<tosa::GreaterEqualOp, /*swapped=*/true>;
  registry["and"] = lowerLogical<tosa::LogicalAndOp>;
  registry["or"] = lowerLogical<tosa::LogicalOrOp>;
  registry["xor"] = lowerLogical<tosa::LogicalXorOp>;
  registry["not"] = lowerNot;
  registry["is_nan"] = lowerIsNaN;
  registry["where"] = lowerWhere;
}

} // namespace nibble

//===- ShapeInference.cpp - what all operators share, and elementwise ones -===//
#include "lib/Dialect/NN/ShapeInference.h"
#include "lib/Dialect/NN/NNDialect.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nibble::nn {

llvm::ArrayRef<int64_t> shapeOf(Value value) { return cast<RankedTensorType>(value.getType()).getShape(); }

Type elementTypeOf(Value value) { return getElementTypeOrSelf(value.getType()); }

/// Whether the known dimensions multiply to at most maximumElementCount.
static bool isWithinLimit(RankedTensorType type) {
  int64_t count = 1;
  for (int64_t dimension : type.getShape()) {
    if (ShapedType::isDynamic(dimension))
      continue;
    if (dimension < 0 || llvm::MulOverflow(count, dimension, count) || count > maximumElementCount)
      return false;
  }
  return true;
}

LogicalResult inferResultTypes(Operation *op, ResultTypes &resultTypes) {
  auto inference = dyn_cast<ShapeInference>(op);
  if (!inference)
    return op->emitOpError("has no shape inference");
  for (auto [index, type] : llvm::enumerate(op->getOperandTypes()))
    if (!isa<RankedTensorType>(type))
      return op->emitOpError("operand ") << index << " must have a known rank, but has type " << type;
  resultTypes.clear();
  if (failed(inference.inferShapes(resultTypes)))
    return failure();
  assert(resultTypes.size() == op->getNumResults() && "one type per result");
  for (RankedTensorType type : resultTypes)
    if (!isWithinLimit(type))
      return op->emitOpError("result ") << type << " has more than " << maximumElementCount << " elements";
  return success();
}

LogicalResult verifyResultTypes(Operation *op) {
  if (!llvm::all_of(op->getOperandTypes(), llvm::IsaPred<RankedTensorType>))
    return success();
  SmallVector<RankedTensorType> wanted;
  if (failed(inferResultTypes(op, wanted)))
    return failure();
  for (auto [index, pair] : llvm::enumerate(llvm::zip_equal(op->getResultTypes(), wanted))) {
    auto [have, want] = pair;
    if (getElementTypeOrSelf(have) != want.getElementType() || failed(verifyCompatibleShape(have, want)))
      return op->emitOpError("result ") << index << " should have type " << want << ", but has type " << have;
  }
  return success();
}

llvm::FailureOr<int64_t> normalizeAxis(Operation *op, int64_t axis, int64_t rank, llvm::StringRef what) {
  if (axis < -rank || axis >= rank)
    return op->emitOpError() << what << " must be in [" << -rank << ", " << rank - 1 << "], but is " << axis;
  return axis < 0 ? axis + rank : axis;
}

std::optional<Shape> broadcastShapes(llvm::ArrayRef<llvm::ArrayRef<int64_t>> shapes) {
  size_t rank = 0;
  for (llvm::ArrayRef<int64_t> shape : shapes)
    rank = std::max(rank, shape.size());
  Shape result(rank, 1);
  for (llvm::ArrayRef<int64_t> shape : shapes)
    for (auto [out, dimension] : llvm::zip_equal(llvm::MutableArrayRef(result).take_back(shape.size()), shape)) {
      if (dimension == 1 || dimension == out)
        continue;
      if (out == 1 || (ShapedType::isDynamic(out) && !ShapedType::isDynamic(dimension)))
        out = dimension;
      else if (!ShapedType::isDynamic(dimension))
        return std::nullopt;
    }
  return result;
}

LogicalResult inferSameAsInput(Operation *op, ResultTypes &resultTypes) {
  resultTypes.push_back(cast<RankedTensorType>(op->getOperand(0).getType()));
  return success();
}

/// The broadcast shape of `operands`, which must agree in element type.
static llvm::FailureOr<Shape> broadcastOperands(Operation *op, ValueRange operands) {
  if (operands.empty())
    return op->emitOpError("needs at least one operand");
  SmallVector<llvm::ArrayRef<int64_t>> shapes;
  for (Value operand : operands) {
    if (elementTypeOf(operand) != elementTypeOf(operands[0]))
      return op->emitOpError("operands must have one element type, but have ")
             << elementTypeOf(operands[0]) << " and " << elementTypeOf(operand);
    shapes.push_back(shapeOf(operand));
  }
  std::optional<Shape> shape = broadcastShapes(shapes);
  if (!shape) {
    InFlightDiagnostic error = op->emitOpError("operands cannot be broadcast together:");
    for (Value operand : operands)
      error << ' ' << operand.getType();
    return error;
  }
  return *shape;
}

LogicalResult inferBroadcast(Operation *op, ResultTypes &resultTypes) {
  // The exponent of Pow may have another type than the base, whose type the result has.
  if (isa<PowOp>(op)) {
    std::optional<Shape> shape = broadcastShapes({shapeOf(op->getOperand(0)), shapeOf(op->getOperand(1))});
    if (!shape)
      return op->emitOpError("operands cannot be broadcast together: ")
             << op->getOperand(0).getType() << ' ' << op->getOperand(1).getType();
    resultTypes.push_back(RankedTensorType::get(*shape, elementTypeOf(op->getOperand(0))));
    return success();
  }
  llvm::FailureOr<Shape> shape = broadcastOperands(op, op->getOperands());
  if (failed(shape))
    return failure();
  resultTypes.push_back(RankedTensorType::get(*shape, elementTypeOf(op->getOperand(0))));
  return success();
}

LogicalResult inferComparison(Operation *op, ResultTypes &resultTypes) {
  llvm::FailureOr<Shape> shape = broadcastOperands(op, op->getOperands());
  if (failed(shape))
    return failure();
  resultTypes.push_back(RankedTensorType::get(*shape, IntegerType::get(op->getContext(), 1)));
  return success();
}

LogicalResult inferAlongAxis(Operation *op, ResultTypes &resultTypes) {
  auto axis = op->getAttrOfType<IntegerAttr>("axis");
  if (failed(normalizeAxis(op, axis ? axis.getInt() : -1, shapeOf(op->getOperand(0)).size(), "axis")))
    return failure();
  return inferSameAsInput(op, resultTypes);
}

LogicalResult IsNaNOp::inferShapes(ResultTypes &resultTypes) {
  resultTypes.push_back(RankedTensorType::get(shapeOf(getInput()), IntegerType::get(getContext(), 1)));
  return success();
}

LogicalResult WhereOp::inferShapes(ResultTypes &resultTypes) {
  if (!elementTypeOf(getCondition()).isInteger(1))
    return emitOpError("condition must have elements of type i1, but has type ") << getCondition().getType();
  if (elementTypeOf(getX()) != elementTypeOf(getY()))
    return emitOpError("choices must have one element type, but have ")
           << elementTypeOf(getX()) << " and " << elementTypeOf(getY());
  std::optional<Shape> shape = broadcastShapes({shapeOf(getCondition()), shapeOf(getX()), shapeOf(getY())});
  if (!shape)
    return emitOpError("operands cannot be broadcast together: ")
           << getCondition().getType() << ' ' << getX().getType() << ' ' << getY().getType();
  resultTypes.push_back(RankedTensorType::get(*shape, elementTypeOf(getX())));
  return success();
}

LogicalResult CastOp::inferShapes(ResultTypes &resultTypes) {
  resultTypes.push_back(RankedTensorType::get(shapeOf(getInput()), getTo()));
  return success();
}

LogicalResult DequantizeWeightOp::inferShapes(ResultTypes &resultTypes) {
  resultTypes.push_back(RankedTensorType::get(shapeOf(getInput()), Float32Type::get(getContext())));
  return success();
}

LogicalResult QuantizeLinearOp::inferShapes(ResultTypes &resultTypes) {
  // Without a zero point ONNX stores uint8.
  Type storage = getYZeroPoint() ? elementTypeOf(getYZeroPoint())
                                 : IntegerType::get(getContext(), 8, IntegerType::Unsigned);
  resultTypes.push_back(RankedTensorType::get(shapeOf(getX()), storage));
  return success();
}

LogicalResult DequantizeLinearOp::inferShapes(ResultTypes &resultTypes) {
  resultTypes.push_back(RankedTensorType::get(shapeOf(getX()), elementTypeOf(getXScale())));
  return success();
}

} // namespace nibble::nn

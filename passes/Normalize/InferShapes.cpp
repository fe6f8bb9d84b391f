//===- InferShapes.cpp - static types and folded constants -----------------===//
//
// Exporters compute shapes with Shape, Gather, Concat, Range and the like, so types and constants
// depend on each other: both are found in one walk in program order.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Error.h"
#include "passes/Passes.h"
#include "passes/Rewriting.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_INFERSHAPESPASS
#include "passes/Passes.h.inc"

namespace {

/// Emits an error that names the symbols of `function`'s dynamic inputs and how to bind them.
LogicalResult requireStaticInputs(func::FuncOp function) {
  SmallVector<std::string> symbols;
  SmallVector<std::string> notes;
  bool isDynamic = false;
  for (BlockArgument argument : function.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (type && type.hasStaticShape())
      continue;
    isDynamic = true;
    auto names = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), nn::symbolsAttribute);
    for (int64_t axis = 0, rank = type ? type.getRank() : 0; axis < rank; ++axis) {
      if (!type.isDynamicDim(axis))
        continue;
      auto symbol = names && axis < static_cast<int64_t>(names.size()) ? dyn_cast<StringAttr>(names[axis]) : nullptr;
      std::string name = symbol && !symbol.empty() ? symbol.str() : std::string();
      notes.push_back(llvm::formatv("dimension {0} of input {1} is {2}", axis, nn::tensorName(argument),
                                    name.empty() ? "unknown" : name));
      if (!name.empty() && !llvm::is_contained(symbols, name))
        symbols.push_back(name);
    }
    if (!type)
      notes.push_back(llvm::formatv("input {0} has no known rank", nn::tensorName(argument)));
  }
  if (!isDynamic)
    return success();
  InFlightDiagnostic error = function.emitError("graph inputs have dimensions without a value");
  if (!symbols.empty()) {
    error << "; give it with";
    for (llvm::StringRef symbol : symbols)
      error << " --bind " << symbol << "=N";
  }
  for (llvm::StringRef note : notes)
    error.attachNote() << note;
  return error;
}

/// Bytes of all tensors of `types`, which are static.
int64_t totalBytes(TypeRange types) {
  int64_t bytes = 0;
  for (Type type : types) {
    auto tensor = cast<RankedTensorType>(type);
    std::optional<ElementType> elementType = nn::toElementType(tensor.getElementType());
    bytes += elementType ? byteSize(*elementType, tensor.getNumElements()) : 0;
  }
  return bytes;
}

bool isQuantization(Operation *op) {
  return isa<nn::FakeQuantOp, nn::DequantizeWeightOp, nn::QuantizeLinearOp, nn::DequantizeLinearOp>(op);
}

/// The values of the constant operands of `op` in the order of its definition, with empty tensors for
/// optional operands that are absent.
llvm::Expected<SmallVector<Tensor>> readOperands(Operation *op) {
  SmallVector<Tensor> values;
  for (Value operand : op->getOperands()) {
    llvm::Expected<Tensor> tensor = nn::readConstant(operand);
    if (!tensor)
      return tensor.takeError();
    values.push_back(*tensor);
  }
  // Only operations with several optional operands record which of them are there.
  auto segments = dyn_cast_or_null<DenseI32ArrayAttr>(op->getInherentAttr("operandSegmentSizes").value_or(nullptr));
  if (!segments)
    return values;
  SmallVector<Tensor> spread;
  llvm::ArrayRef<Tensor> left = values;
  for (int32_t size : segments.asArrayRef()) {
    if (size == 0)
      spread.emplace_back();
    spread.append(left.begin(), left.begin() + size);
    left = left.drop_front(size);
  }
  return spread;
}

/// The dimensions that nn.shape returns.
SmallVector<int64_t> shapeValues(nn::ShapeOp op) {
  llvm::ArrayRef<int64_t> shape = nn::shapeOf(op.getInput());
  int64_t rank = shape.size();
  int64_t start = std::clamp<int64_t>(op.getStart() < 0 ? op.getStart() + rank : op.getStart(), 0, rank);
  return SmallVector<int64_t>(shape.slice(start, nn::shapeOf(op.getResult())[0]));
}

struct InferShapes : impl::InferShapesPassBase<InferShapes> {
  using Base::Base;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (failed(requireStaticInputs(function)) || failed(visitBody(function.getBody().front())) ||
        failed(updateSignature(function)))
      return signalPassFailure();
  }

  LogicalResult visitBody(Block &body) {
    for (Operation &op : llvm::make_early_inc_range(body)) {
      if (auto block = dyn_cast<nn::BlockOp>(op)) {
        if (failed(visitBlock(block)))
          return failure();
      } else if (isa<nn::ShapeInference>(op)) {
        llvm::FailureOr<bool> folded = visitOperation(&op);
        if (failed(folded))
          return failure();
        if (*folded)
          op.erase();
      }
    }
    // What only fed folded operations is dead by now; users come after what they use.
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
      if (isOpTriviallyDead(&op))
        op.erase();
    return success();
  }

  LogicalResult visitBlock(nn::BlockOp block) {
    Block &body = block.getBody().front();
    for (auto [argument, operand] : llvm::zip_equal(body.getArguments(), block.getInputs()))
      argument.setType(operand.getType());
    if (failed(visitBody(body)))
      return failure();
    for (auto [result, operand] : llvm::zip_equal(block.getOutputs(), body.getTerminator()->getOperands()))
      result.setType(operand.getType());
    return success();
  }

  /// Types `op` and replaces its results by constants where they can be known. Returns whether it did.
  llvm::FailureOr<bool> visitOperation(Operation *op) {
    SmallVector<RankedTensorType> types;
    if (failed(nn::inferResultTypes(op, types)))
      return failure();
    for (auto [result, type] : llvm::zip_equal(op->getResults(), types)) {
      if (!type.hasStaticShape())
        return op->emitOpError("has a result whose shape depends on data: ") << type;
      result.setType(type);
    }
    if (isQuantization(op) || op->getNumResults() == 0)
      return false;
    llvm::FailureOr<SmallVector<Tensor>> values = computeConstants(op);
    if (failed(values))
      return failure();
    if (values->empty())
      return false;
    return replaceByConstants(op, *values);
  }

  /// The values of the results of `op`, or an empty list where they are not known or too large.
  llvm::FailureOr<SmallVector<Tensor>> computeConstants(Operation *op) {
    if (auto shape = dyn_cast<nn::ShapeOp>(op)) {
      SmallVector<int64_t> values = shapeValues(shape);
      return SmallVector<Tensor>{Tensor::fromValues<int64_t>({static_cast<int64_t>(values.size())}, values)};
    }
    if (auto size = dyn_cast<nn::SizeOp>(op)) {
      int64_t count = cast<RankedTensorType>(size.getInput().getType()).getNumElements();
      return SmallVector<Tensor>{Tensor::fromValues<int64_t>({}, count)};
    }
    if (!llvm::all_of(op->getOperands(), [](Value v) { return v.getDefiningOp<nn::ConstantOp>(); }))
      return SmallVector<Tensor>();
    if (totalBytes(op->getResultTypes()) > std::max(totalBytes(op->getOperandTypes()), foldLimit.getValue())) {
      ++numKept;
      return SmallVector<Tensor>();
    }
    llvm::Expected<SmallVector<Tensor>> operands = readOperands(op);
    if (!operands)
      return op->emitOpError() << llvm::toString(operands.takeError());
    llvm::Expected<SmallVector<Tensor>> results = runtime::evaluate(op, *operands);
    if (!results)
      return op->emitOpError("cannot be evaluated: ") << llvm::toString(results.takeError());
    return std::move(*results);
  }

  llvm::FailureOr<bool> replaceByConstants(Operation *op, llvm::ArrayRef<Tensor> values) {
    OpBuilder builder(op);
    for (auto [result, value] : llvm::zip_equal(op->getResults(), values)) {
      Location location = op->getNumResults() == 1
                              ? op->getLoc()
                              : nn::makeLocation(op->getContext(), nn::nodeName(op), {nn::tensorName(result)});
      llvm::FailureOr<Value> constant = createConstantValue(builder, location, value);
      if (failed(constant))
        return failure();
      result.replaceAllUsesWith(*constant);
    }
    ++numFolded;
    return true;
  }

  LogicalResult updateSignature(func::FuncOp function) {
    Operation *terminator = function.getBody().front().getTerminator();
    for (Type type : terminator->getOperandTypes())
      if (auto tensor = dyn_cast<RankedTensorType>(type); !tensor || !tensor.hasStaticShape())
        return terminator->emitError("graph output has type ") << type << ", which is not static";
    function.setFunctionType(FunctionType::get(&getContext(), function.getArgumentTypes(),
                                               terminator->getOperandTypes()));
    return success();
  }
};

} // namespace
} // namespace nibble

#include "passes/Lower/Lowering.h"

#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;

namespace nibble {

Grid Grid::of(const quant::Encoding &encoding) {
  assert(encoding.scales.size() == 1 && "a grid has one scale");
  Grid grid;
  grid.bits = bitWidth(encoding.storage);
  bool isUnsigned = quant::integerRange(encoding.storage).first == 0;
  int64_t shift = isUnsigned ? int64_t(1) << (grid.bits - 1) : 0;
  grid.scale = encoding.scales[0];
  grid.zeroPoint = (encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints[0]) - shift;
  grid.low = encoding.quantMin - shift;
  grid.high = encoding.quantMax - shift;
  return grid;
}

int64_t Grid::nearest(double real) const {
  auto first = static_cast<double>(isOfNumbers() ? INT32_MIN : low), last = static_cast<double>(isOfNumbers() ? INT32_MAX : high);
  double integer = (std::isnan(real) ? 0 : std::nearbyint(real / scale)) + static_cast<double>(zeroPoint);
  return static_cast<int64_t>(std::clamp(integer, first, last));
}

llvm::SmallVector<int64_t, 6> identityOrder(int64_t rank) {
  return llvm::to_vector<6>(llvm::seq<int64_t>(0, rank));
}

Tensor StoredConstant::reals() const { return encoding ? quant::dequantize(integers, *encoding) : integers; }

LogicalResult Lowering::refuse(Operation *op, const Twine &reason, const Twine &remedy) {
  InFlightDiagnostic diagnostic = op->emitError("node '") << nn::nodeName(op) << "': " << reason;
  if (!remedy.isTriviallyEmpty())
    diagnostic.attachNote() << remedy;
  return diagnostic;
}

void Lowering::remark(Operation *op, const Twine &text) { op->emitRemark("node '") << nn::nodeName(op) << "': " << text; }

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

StoredConstant Lowering::findConstant(Value value) {
  value = nn::resolveThroughBlocks(value);
  if (auto rounded = value.getDefiningOp<nn::FakeQuantOp>())
    value = nn::resolveThroughBlocks(rounded.getInput());
  StoredConstant result;
  if (auto dequantize = value.getDefiningOp<nn::DequantizeWeightOp>()) {
    nn::QuantizerOp quantizer = nn::lookupQuantizer(module, dequantize.getQuantizerAttr());
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
    if (!encoding) {
      llvm::consumeError(encoding.takeError());
      return {};
    }
    result.encoding = std::move(*encoding);
    value = nn::resolveThroughBlocks(dequantize.getInput());
  }
  result.integers = nn::tryReadConstant(value);
  return result;
}

FailureOr<Stored> Lowering::find(Value value) {
  auto known = values.find(value);
  if (known != values.end())
    return known->second;
  StoredConstant constant = findConstant(value);
  Operation *op = value.getDefiningOp();
  if (!constant) {
    // A value of an operator that no quantizer follows.
    assert(op && "arguments have stored values");
    return refuse(op, "its result '" + nn::tensorName(value) + "' is float, which an integer program cannot hold",
                  "give it 8 or 16 bits in the recipe");
  }
  Grid grid;
  if (constant.encoding) {
    if (constant.encoding->scales.size() != 1)
      return refuse(op, "a constant with a scale per channel is read by an operator that takes one scale",
                    "give the constant 'granularity: tensor'");
    grid = Grid::of(*constant.encoding);
  } else if (constant.integers.elementType() == ElementType::Bool) {
    grid = Grid::ofNumbers(1);
  } else if (constant.integers.elementType() == ElementType::I64 || constant.integers.elementType() == ElementType::I32) {
    grid = Grid::ofNumbers(32);
  } else {
    return refuse(op, "constant '" + nn::tensorName(value) + "' is float, which an integer program cannot hold",
                  "give it 8 or 16 bits in the recipe");
  }
  if (grid.bits == 4)
    grid.bits = 8;
  bool isUnsigned = constant.encoding && quant::integerRange(constant.encoding->storage).first == 0;
  int64_t shift = isUnsigned ? int64_t(1) << (bitWidth(constant.encoding->storage) - 1) : 0;
  llvm::SmallVector<int64_t> integers = constant.integers.valuesAsInt64();
  for (int64_t &integer : integers) {
    integer -= shift;
    if (!constant.encoding && grid.bits == 32 && (integer < INT32_MIN || integer > INT32_MAX))
      return refuse(op, "constant '" + nn::tensorName(value) + "' holds " + Twine(integer) +
                            ", which does not fit the 32 bits of an integer program");
  }
  FailureOr<Value> made = b.data(integers, constant.integers.shape(), grid.bits);
  if (failed(made))
    return failure();
  return Stored{*made, grid, identityOrder(constant.integers.rank())};
}

Value Lowering::inOrder(const Stored &stored, llvm::ArrayRef<int64_t> order) {
  llvm::SmallVector<int64_t> permutation;
  for (int64_t dim : order)
    permutation.push_back(stored.position(dim));
  return b.transpose(stored.value, permutation);
}

Shape Lowering::modelShape(const Stored &stored) {
  Shape shape(stored.order.size());
  for (auto [position, dim] : llvm::enumerate(stored.order))
    shape[static_cast<size_t>(dim)] = b.dims(stored.value)[position];
  return shape;
}

Value Lowering::toGrid(Value value, double factor, const Grid &grid) {
  return toGrid(value, llvm::ArrayRef<double>(factor), grid);
}

Value Lowering::toGrid(Value value, llvm::ArrayRef<double> factors, const Grid &grid) {
  llvm::SmallVector<double> relative;
  for (double factor : factors)
    relative.push_back(factor / grid.scale);
  std::pair<int64_t, int64_t> full = {-(int64_t(1) << (grid.bits - 1)), (int64_t(1) << (grid.bits - 1)) - 1};
  Value result;
  if (grid.bits == 8 || grid.zeroPoint == 0) {
    result = b.rescale(value, relative, {grid.bits, grid.bits == 8 ? grid.zeroPoint : 0});
  } else {
    Value shifted = b.add(b.rescale(value, relative, {32, 0}), b.scalar(grid.zeroPoint, b.rank(value)));
    result = b.rescale(shifted, 1.0, {grid.bits, 0});
  }
  return std::pair(grid.low, grid.high) == full ? result : b.clamp(result, grid.low, grid.high);
}

FailureOr<Stored> Lowering::convert(const Stored &stored, const Grid &grid) {
  if (stored.grid == grid)
    return stored;
  // The shortest form is one RESCALE with both zero points, which 16-bit grids must not have.
  bool isPlain = (stored.grid.bits == 8 || stored.grid.zeroPoint == 0) && (grid.bits == 8 || grid.zeroPoint == 0);
  std::pair<int64_t, int64_t> full = {-(int64_t(1) << (grid.bits - 1)), (int64_t(1) << (grid.bits - 1)) - 1};
  if (isPlain && std::pair(grid.low, grid.high) == full && stored.grid.bits <= 16) {
    Value value = b.rescale(stored.value, stored.grid.scale / grid.scale, {grid.bits, grid.zeroPoint}, stored.grid.zeroPoint);
    return Stored{value, grid, stored.order};
  }
  return Stored{toGrid(reals32(stored), stored.grid.scale, grid), grid, stored.order};
}

Stored Lowering::reshape(const Stored &stored, llvm::ArrayRef<int64_t> target) {
  Shape source = modelShape(stored);
  // Groups of neighbouring dimensions with as many elements on both sides.
  struct Group {
    llvm::SmallVector<int64_t> from, to;
  };
  llvm::SmallVector<Group> groups;
  size_t i = 0, j = 0;
  while (i < source.size() || j < target.size()) {
    Group group;
    int64_t from = 1, to = 1;
    if (i < source.size())
      from *= source[i], group.from.push_back(static_cast<int64_t>(i++));
    if (j < target.size())
      to *= target[j], group.to.push_back(static_cast<int64_t>(j++));
    while (from != to) {
      if (from < to)
        from *= source[i], group.from.push_back(static_cast<int64_t>(i++));
      else
        to *= target[j], group.to.push_back(static_cast<int64_t>(j++));
    }
    groups.push_back(std::move(group));
  }
  // A group can stay where it is if its dimensions lie side by side in storage; extents of 1 lie anywhere.
  llvm::SmallVector<std::pair<int64_t, size_t>> placed;
  bool staysInPlace = true;
  int64_t previous = -1;
  for (auto [index, group] : llvm::enumerate(groups)) {
    int64_t first = -1, last = -1;
    for (int64_t dim : group.from) {
      if (source[static_cast<size_t>(dim)] == 1)
        continue;
      int64_t position = stored.position(dim);
      if (last >= 0)
        for (int64_t between = last + 1; between <= position || position < last; ++between) {
          if (position < last || (between < position && b.dims(stored.value)[static_cast<size_t>(between)] != 1)) {
            staysInPlace = false;
            break;
          }
          if (between == position)
            break;
        }
      first = first < 0 ? position : first;
      last = position;
    }
    // Groups without data follow the one before.
    placed.emplace_back(first < 0 ? previous : first, index);
    previous = placed.back().first;
  }
  Stored result{nullptr, stored.grid, {}};
  if (!staysInPlace) {
    result.value = b.reshape(inModelOrder(stored), target);
    result.order = identityOrder(static_cast<int64_t>(target.size()));
    return result;
  }
  // Pairs of place and group: groups without data keep their order behind the one that they follow.
  llvm::sort(placed);
  Shape shape;
  for (auto [position, index] : placed)
    for (int64_t dim : groups[index].to) {
      result.order.push_back(dim);
      shape.push_back(target[static_cast<size_t>(dim)]);
    }
  result.value = b.reshape(stored.value, shape);
  return result;
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

LowerFunction findLowering(Operation *op) {
  static const LowerRegistry registry = [] {
    LowerRegistry made;
    registerConvolutionLowerings(made);
    registerMatmulLowerings(made);
    registerElementwiseLowerings(made);
    registerTableLowerings(made);
    registerLogicLowerings(made);
    registerNormalizationLowerings(made);
    registerSoftmaxLowerings(made);
    registerReductionLowerings(made);
    registerOrderLowerings(made);
    registerMovementLowerings(made);
    registerIndexingLowerings(made);
    registerSamplingLowerings(made);
    return made;
  }();
  return registry.lookup(op->getName().stripDialect());
}

FailureOr<Stored> Lowering::lowerResult(OpResult result, const Grid &grid) {
  Operation *op = result.getOwner();
  LowerFunction lower = findLowering(op);
  if (!lower)
    return refuse(op, "operator " + op->getName().stripDialect() + " has no integer form",
                  "a pass that rewrites it into operators that have one would be needed; docs/spec/numerics.md lists them");
  b.setLoc(op->getLoc());
  return lower(*this, {op, result.getResultNumber(), grid});
}

LogicalResult Lowering::lowerFakeQuant(nn::FakeQuantOp op) {
  nn::QuantizerOp quantizer = nn::lookupQuantizer(module, op.getQuantizerAttr());
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
  if (!encoding)
    return op.emitError(llvm::toString(encoding.takeError()));
  if (encoding->scales.size() != 1)
    return refuse(op, "activations have one scale in an integer program, found " + Twine(encoding->scales.size()));
  if (bitWidth(encoding->storage) != 8 && bitWidth(encoding->storage) != 16)
    return refuse(op, "activations have 8 or 16 bits in an integer program, found " + Twine(name(encoding->storage)));
  Grid grid = Grid::of(*encoding);
  b.setLoc(op.getLoc());
  Value input = op.getInput();
  FailureOr<Stored> stored = failure();
  if (values.contains(input) || findConstant(input))
    stored = find(input);
  else if (auto result = dyn_cast<OpResult>(input))
    stored = lowerResult(result, grid);
  if (failed(stored))
    return failure();
  b.setLoc(op.getLoc());
  stored = convert(*stored, grid);
  if (failed(stored))
    return failure();
  set(op.getResult(), *stored);
  return success();
}

LogicalResult Lowering::lowerNestedBlock(nn::BlockOp block) {
  SmallVector<Value> operands;
  SmallVector<Stored> arguments;
  llvm::SmallVector<bool> isKept;
  for (Value operand : block.getInputs()) {
    // Tensors without elements do not exist in TOSA; operators leave them out.
    isKept.push_back(!llvm::is_contained(cast<RankedTensorType>(operand.getType()).getShape(), 0));
    if (!isKept.back())
      continue;
    FailureOr<Stored> stored = find(operand);
    if (failed(stored))
      return failure();
    operands.push_back(stored->value);
    arguments.push_back(*stored);
  }
  auto body = std::make_unique<Block>();
  size_t next = 0;
  for (auto [argument, kept] : llvm::zip_equal(block.getBody().getArguments(), isKept)) {
    if (!kept)
      continue;
    Stored stored = arguments[next++];
    stored.value = body->addArgument(stored.value.getType(), argument.getLoc());
    set(argument, stored);
  }
  OpBuilder::InsertPoint outside = b.saveInsertionPoint();
  b.setInsertionPointToStart(body.get());
  if (failed(lowerBlock(block.getBody().front())))
    return failure();
  SmallVector<Value> yielded;
  SmallVector<Stored> results;
  SmallVector<Type> types;
  for (Value value : block.getBody().front().getTerminator()->getOperands()) {
    FailureOr<Stored> stored = find(value);
    if (failed(stored))
      return failure();
    yielded.push_back(stored->value);
    types.push_back(stored->value.getType());
    results.push_back(*stored);
  }
  b.setLoc(block.getLoc());
  b.create<nn::YieldOp>(yielded);
  b.restoreInsertionPoint(outside);
  auto lowered = b.create<nn::BlockOp>(types, block.getSymNameAttr(), operands, block.getStructuralHashAttr());
  lowered.getBody().push_back(body.release());
  for (auto [result, stored, made] : llvm::zip_equal(block.getOutputs(), results, lowered.getOutputs())) {
    stored.value = made;
    set(result, stored);
  }
  return success();
}

LogicalResult Lowering::lowerOperation(Operation *op) {
  if (isa<nn::ConstantOp, nn::DequantizeWeightOp>(op))
    return success();
  if (auto block = dyn_cast<nn::BlockOp>(op))
    return lowerNestedBlock(block);
  if (auto quantize = dyn_cast<nn::FakeQuantOp>(op))
    return lowerFakeQuant(quantize);
  // Floats are lowered when the quantizer of their result is met; numbers have none.
  for (OpResult result : op->getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    if (type.getElementType().isF32() || result.use_empty() || llvm::is_contained(type.getShape(), 0))
      continue;
    FailureOr<Stored> stored = lowerResult(result, Grid::ofNumbers(type.getElementType().isInteger(1) ? 1 : 32));
    if (failed(stored))
      return failure();
    set(result, *stored);
  }
  return success();
}

LogicalResult Lowering::lowerBlock(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(lowerOperation(&op)))
      return failure();
  return success();
}

} // namespace nibble

//===- LowerMovement.cpp - operators that move data --------------------------===//
//
// They keep the grid of what they move. Transposes change the order of dimensions and move nothing; reshapes
// move data only where the order of storage does not allow the new shape.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Operands.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

llvm::ArrayRef<int64_t> resultShape(const LoweringRequest &request) {
  return nn::shapeOf(request.op->getResult(request.result));
}

FailureOr<Stored> lowerIdentity(Lowering &lowering, const LoweringRequest &request) {
  return lowering.find(request.op->getOperand(0));
}

FailureOr<Stored> lowerReshape(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  return lowering.reshape(*input, resultShape(request));
}

FailureOr<Stored> lowerTranspose(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  llvm::ArrayRef<int64_t> permutation = cast<nn::TransposeOp>(request.op).getPerm();
  for (int64_t &dim : input->order)
    dim = llvm::find(permutation, dim) - permutation.begin();
  return input;
}

FailureOr<Stored> lowerConcat(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ConcatOp>(request.op);
  int64_t rank = static_cast<int64_t>(resultShape(request).size());
  Stored result;
  SmallVector<Value> parts;
  Value largest;
  for (Value value : op.getInputs())
    if (!largest || elementCount(nn::shapeOf(value)) > elementCount(nn::shapeOf(largest)))
      largest = value;
  FailureOr<Stored> model = lowering.find(largest);
  if (failed(model))
    return failure();
  for (Value value : op.getInputs()) {
    if (llvm::is_contained(nn::shapeOf(value), 0))
      continue;
    FailureOr<Stored> part = lowering.find(value);
    // Numbers have no grid to be brought to.
    if (succeeded(part) && request.grid.high > request.grid.low)
      part = lowering.convert(*part, request.grid);
    if (failed(part))
      return failure();
    parts.push_back(lowering.inOrder(*part, model->order));
    result.grid = part->grid;
  }
  result.order = model->order;
  result.value = lowering.b.concat(parts, result.position(countFromFront(op.getAxis(), rank)));
  return result;
}

FailureOr<Stored> lowerSplit(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::SplitOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  int64_t axis = countFromFront(op.getAxis(), input->rank()), start = 0;
  for (unsigned i = 0; i < request.result; ++i)
    start += nn::shapeOf(op->getResult(i))[static_cast<size_t>(axis)];
  input->value = lowering.b.sliceAxis(input->value, input->position(axis), start,
                                      resultShape(request)[static_cast<size_t>(axis)]);
  return input;
}

FailureOr<Stored> lowerSlice(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  FailureOr<std::optional<SmallVector<nn::SliceRange>>> ranges = nn::resolveSlice(request.op);
  if (failed(input) || failed(ranges))
    return failure();
  if (!*ranges)
    return lowering.refuse(request.op, "its starts, ends, axes or steps are not constant");
  TosaBuilder &b = lowering.b;
  for (const nn::SliceRange &range : **ranges) {
    int64_t axis = input->position(range.axis), start = range.start, step = range.step;
    if (step < 0) {
      // Counted from the other end of the reversed axis.
      int64_t size = b.dims(input->value)[static_cast<size_t>(axis)];
      input->value = b.create<tosa::ReverseOp>(input->value.getType(), input->value, static_cast<uint32_t>(axis)).getResult();
      start = size - 1 - start;
      step = -step;
    }
    if (step == 1) {
      input->value = b.sliceAxis(input->value, axis, start, range.size);
      continue;
    }
    // Every step-th element is the first of a row of `step`; the last row is filled up.
    int64_t available = b.dims(input->value)[static_cast<size_t>(axis)] - start, wanted = range.size * step;
    input->value = b.sliceAxis(input->value, axis, start, std::min(available, wanted));
    Shape pads(2 * b.dims(input->value).size(), 0);
    pads[2 * static_cast<size_t>(axis) + 1] = std::max<int64_t>(0, wanted - available);
    input->value = b.pad(input->value, pads, 0);
    // Three dimensions are enough: what lies before, the rows, what lies behind.
    Shape stored(b.dims(input->value));
    llvm::ArrayRef<int64_t> dims = stored;
    int64_t before = elementCount(dims.take_front(static_cast<size_t>(axis)));
    int64_t behind = elementCount(dims.drop_front(static_cast<size_t>(axis) + 1));
    Value rows = b.reshape(input->value, {before, range.size, step, behind});
    stored[static_cast<size_t>(axis)] = range.size;
    input->value = b.reshape(b.sliceAxis(rows, 2, 0, 1), stored);
  }
  return input;
}

FailureOr<Stored> lowerRepetition(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  llvm::ArrayRef<int64_t> target = resultShape(request);
  Stored result = withRank(lowering, *input, static_cast<int64_t>(target.size()));
  Shape repeats;
  for (auto [position, dim] : llvm::enumerate(result.order))
    repeats.push_back(target[static_cast<size_t>(dim)] / lowering.b.dims(result.value)[position]);
  result.value = lowering.b.tile(result.value, repeats);
  return result;
}

FailureOr<Stored> lowerPad(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::PadOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  std::optional<SmallVector<int64_t>> pads = nn::readConstantIntegers(op.getPads());
  if (failed(input))
    return failure();
  std::optional<SmallVector<int64_t>> axes =
      op.getAxes() ? nn::readConstantIntegers(op.getAxes()) : SmallVector<int64_t>(identityOrder(input->rank()));
  if (!pads || !axes)
    return lowering.refuse(op, "its pads or axes are not constant");
  std::optional<double> fill = op.getConstantValue() ? nn::readConstantScalar(op.getConstantValue()) : 0.0;
  if (op.getMode() != nn::PadMode::Constant || !fill)
    return lowering.refuse(op, "only pads with a constant value have an integer form",
                           "replace the operator by slices and a concat before the export");
  Shape around(2 * input->order.size(), 0);
  TosaBuilder &b = lowering.b;
  for (auto [i, axis] : llvm::enumerate(*axes)) {
    auto position = static_cast<size_t>(input->position(countFromFront(axis, input->rank())));
    int64_t before = (*pads)[i], after = (*pads)[axes->size() + i];
    // A negative pad cuts.
    int64_t size = b.dims(input->value)[position];
    input->value = b.sliceAxis(input->value, static_cast<int64_t>(position), std::max<int64_t>(0, -before),
                               size + std::min<int64_t>(0, before) + std::min<int64_t>(0, after));
    around[2 * position] = std::max<int64_t>(0, before);
    around[2 * position + 1] = std::max<int64_t>(0, after);
  }
  FailureOr<Stored> result = request.grid.isOfNumbers() ? *input : lowering.convert(*input, request.grid);
  if (failed(result))
    return failure();
  result->value = b.pad(result->value, around, result->grid.nearest(*fill));
  return result;
}

/// Depth to space and back, as ONNX defines both: a reshape, a transpose and a reshape.
FailureOr<Stored> rearrange(Lowering &lowering, const LoweringRequest &request, Stored input,
                            llvm::ArrayRef<int64_t> inner, llvm::ArrayRef<int64_t> permutation) {
  Stored split = lowering.reshape(input, inner);
  for (int64_t &dim : split.order)
    dim = llvm::find(permutation, dim) - permutation.begin();
  return lowering.reshape(split, resultShape(request));
}

FailureOr<Stored> lowerDepthToSpace(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::DepthToSpaceOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  Shape shape = lowering.modelShape(*input);
  int64_t size = op.getBlocksize(), channels = shape[1] / (size * size);
  if (op.getMode() == "DCR")
    return rearrange(lowering, request, *input, {shape[0], size, size, channels, shape[2], shape[3]}, {0, 3, 4, 1, 5, 2});
  return rearrange(lowering, request, *input, {shape[0], channels, size, size, shape[2], shape[3]}, {0, 1, 4, 2, 5, 3});
}

FailureOr<Stored> lowerSpaceToDepth(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::SpaceToDepthOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  Shape shape = lowering.modelShape(*input);
  int64_t size = op.getBlocksize();
  return rearrange(lowering, request, *input, {shape[0], shape[1], shape[2] / size, size, shape[3] / size, size},
                   {0, 3, 5, 1, 2, 4});
}

/// The part outside of the triangle becomes zero.
FailureOr<Stored> lowerTrilu(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::TriluOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  std::optional<SmallVector<int64_t>> diagonal = op.getK() ? nn::readConstantIntegers(op.getK()) : SmallVector<int64_t>{0};
  if (failed(input))
    return failure();
  if (!diagonal || diagonal->size() != 1)
    return lowering.refuse(op, "its diagonal is not constant");
  Shape shape = lowering.modelShape(*input), maskShape(shape.size(), 1);
  size_t rank = shape.size();
  int64_t rows = shape[rank - 2], columns = shape[rank - 1];
  maskShape[rank - 2] = rows;
  maskShape[rank - 1] = columns;
  SmallVector<int64_t> mask;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      int64_t distance = column - row - diagonal->front();
      mask.push_back(op.getUpper() ? distance >= 0 : distance <= 0);
    }
  Value value = lowering.inModelOrder(*input);
  unsigned bits = lowering.b.bits(value);
  Value zero = lowering.b.constant({input->grid.zeroPoint}, Shape(rank, 1), bits);
  Value kept = lowering.b.select(lowering.b.constant(mask, maskShape, 1), value, zero);
  return Stored{kept, input->grid, identityOrder(static_cast<int64_t>(rank))};
}

} // namespace

void registerMovementLowerings(LowerRegistry &registry) {
  registry["identity"] = lowerIdentity;
  for (StringRef name : {"reshape", "flatten", "squeeze", "unsqueeze"})
    registry[name] = lowerReshape;
  registry["transpose"] = lowerTranspose;
  registry["concat"] = lowerConcat;
  registry["split"] = lowerSplit;
  registry["slice"] = lowerSlice;
  registry["expand"] = lowerRepetition;
  registry["tile"] = lowerRepetition;
  registry["pad"] = lowerPad;
  registry["depth_to_space"] = lowerDepthToSpace;
  registry["space_to_depth"] = lowerSpaceToDepth;
  registry["trilu"] = lowerTrilu;
}

} // namespace nibble

//===- LowerIndexing.cpp - rows chosen by index ------------------------------===//
//
// TOSA gathers rows of [batch, rows, columns] by indices [batch, count]. The gathered axis is brought to the front
// and everything behind it is one row.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Operands.h"


using namespace mlir;

namespace nibble {
namespace {

/// Negative indices plus `rows`, from whose end they count.
Value wrapNegative(TosaBuilder &b, Value indices, int64_t rows) {
  // -1 where the index is negative.
  Value isNegative = b.shiftRight(indices, 31, /*round=*/false);
  return b.sub(indices, b.mul(isNegative, b.scalar(rows, b.rank(indices))));
}

/// Indices counted from the front: negative ones count from the end. What lies outside, which ONNX does not allow,
/// takes the first or last row, as TOSA has no result for it.
Value countIndices(TosaBuilder &b, Value indices, int64_t rows) {
  Interval range = b.interval(indices);
  if (range.low < -rows || range.high >= rows)
    indices = b.clamp(indices, -rows, rows - 1);
  return range.low >= 0 ? indices : wrapNegative(b, indices, rows);
}

/// `input` with dimension `axis` stored first and the others behind it in the model's order.
Value withFirst(Lowering &lowering, const Stored &input, int64_t axis) {
  llvm::SmallVector<int64_t, 6> order = {axis};
  for (int64_t dim = 0; dim < input.rank(); ++dim)
    if (dim != axis)
      order.push_back(dim);
  return lowering.inOrder(input, order);
}

FailureOr<Stored> lowerGather(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::GatherOp>(request.op);
  FailureOr<Stored> data = lowering.find(op.getData());
  if (failed(data))
    return failure();
  TosaBuilder &b = lowering.b;
  int64_t rank = data->rank(), axis = countFromFront(op.getAxis(), rank);
  int64_t rows = lowering.modelShape(*data)[static_cast<size_t>(axis)];
  llvm::ArrayRef<int64_t> indexShape = nn::shapeOf(op.getIndices());
  llvm::ArrayRef<int64_t> result = nn::shapeOf(op.getResult());
  std::optional<SmallVector<int64_t>> constant = nn::readConstantIntegers(op.getIndices());
  if (constant && constant->size() == 1) {
    // One row is a slice, which is free on most targets.
    int64_t row = constant->front() < 0 ? constant->front() + rows : constant->front();
    data->value = b.sliceAxis(data->value, data->position(axis), row, 1);
    return lowering.reshape(*data, result);
  }
  FailureOr<Stored> indices = lowering.find(op.getIndices());
  if (failed(indices))
    return failure();
  Value table = withFirst(lowering, *data, axis);
  int64_t columns = elementCount(b.dims(table)) / rows, count = elementCount(indexShape);
  table = b.reshape(table, {1, rows, columns});
  Value chosen = countIndices(b, b.reshape(lowering.inModelOrder(*indices), {1, count}), rows);
  Value gathered = b.gather(table, chosen);
  // [indices..., dimensions before the axis..., dimensions behind it...].
  Shape stored(indexShape);
  llvm::SmallVector<int64_t, 6> order;
  for (size_t i = 0; i < indexShape.size(); ++i)
    order.push_back(axis + static_cast<int64_t>(i));
  Shape model = lowering.modelShape(*data);
  for (int64_t dim = 0; dim < rank; ++dim) {
    if (dim == axis)
      continue;
    stored.push_back(model[static_cast<size_t>(dim)]);
    order.push_back(dim < axis ? dim : dim - 1 + static_cast<int64_t>(indexShape.size()));
  }
  return Stored{b.reshape(gathered, stored), data->grid, order};
}

/// The dimensions of elements that are chosen along one axis: [others, along the axis].
Value alongAxis(Lowering &lowering, const Stored &input, int64_t axis) {
  int64_t count = lowering.modelShape(input)[static_cast<size_t>(axis)];
  int64_t others = elementCount(lowering.b.dims(input.value)) / count;
  return lowering.b.transpose(lowering.b.reshape(withFirst(lowering, input, axis), {count, others}), {1, 0});
}

/// `value` [others, along the axis] as what it is, with dimension `axis` stored last.
Stored fromAxis(Lowering &lowering, Value value, const Grid &grid, llvm::ArrayRef<int64_t> modelShape, int64_t axis) {
  Shape stored;
  llvm::SmallVector<int64_t, 6> order;
  for (int64_t dim = 0; dim < static_cast<int64_t>(modelShape.size()); ++dim)
    if (dim != axis) {
      order.push_back(dim);
      stored.push_back(modelShape[static_cast<size_t>(dim)]);
    }
  order.push_back(axis);
  stored.push_back(modelShape[static_cast<size_t>(axis)]);
  return {lowering.b.reshape(value, stored), grid, order};
}

/// Whether two shapes are equal but for `axis`.
bool differOnlyAlong(int64_t axis, llvm::ArrayRef<int64_t> a, llvm::ArrayRef<int64_t> b) {
  for (size_t dim = 0; dim < a.size(); ++dim)
    if (static_cast<int64_t>(dim) != axis && a[dim] != b[dim])
      return false;
  return true;
}

/// One index per element: every element is a row of its own.
FailureOr<Stored> lowerGatherElements(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::GatherElementsOp>(request.op);
  FailureOr<Stored> data = lowering.find(op.getData()), indices = lowering.find(op.getIndices());
  if (failed(data) || failed(indices))
    return failure();
  TosaBuilder &b = lowering.b;
  int64_t axis = countFromFront(op.getAxis(), data->rank());
  Shape indexShape = lowering.modelShape(*indices);
  if (!differOnlyAlong(axis, lowering.modelShape(*data), indexShape))
    return lowering.refuse(op, "indices for a part of the data only have no integer form");
  Value table = alongAxis(lowering, *data, axis);
  int64_t others = b.dims(table)[0], rows = b.dims(table)[1];
  Value gathered = b.gather(b.reshape(table, {others, rows, 1}), countIndices(b, alongAxis(lowering, *indices, axis), rows));
  return fromAxis(lowering, gathered, data->grid, indexShape, axis);
}

/// Both operands on the wanted grid, or numbers as they are.
LogicalResult convertUpdates(Lowering &lowering, const LoweringRequest &request, FailureOr<Stored> &data,
                             FailureOr<Stored> &updates) {
  if (succeeded(data) && succeeded(updates) && !request.grid.isOfNumbers()) {
    data = lowering.convert(*data, request.grid);
    updates = lowering.convert(*updates, request.grid);
  }
  return success(succeeded(data) && succeeded(updates));
}

FailureOr<Stored> lowerScatterElements(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ScatterElementsOp>(request.op);
  if (op.getReduction() != "none")
    return lowering.refuse(op, "reductions of scattered values have no integer form");
  FailureOr<Stored> data = lowering.find(op.getData()), updates = lowering.find(op.getUpdates()),
                    indices = lowering.find(op.getIndices());
  if (failed(indices) || failed(convertUpdates(lowering, request, data, updates)))
    return failure();
  TosaBuilder &b = lowering.b;
  int64_t axis = countFromFront(op.getAxis(), data->rank());
  Shape shape = lowering.modelShape(*data);
  if (!differOnlyAlong(axis, shape, lowering.modelShape(*indices)))
    return lowering.refuse(op, "indices for a part of the data only have no integer form");
  Value table = alongAxis(lowering, *data, axis), source = alongAxis(lowering, *updates, axis);
  int64_t others = b.dims(table)[0], rows = b.dims(table)[1], count = b.dims(source)[1];
  table = b.reshape(table, {others, rows, 1});
  Value chosen = countIndices(b, alongAxis(lowering, *indices, axis), rows);
  Value written = b.create<tosa::ScatterOp>(table.getType(), table, chosen, b.reshape(source, {others, count, 1})).getResult();
  return fromAxis(lowering, written, data->grid, shape, axis);
}

/// on where an index counts to the position along the new axis, off elsewhere and for indices beyond the depth.
FailureOr<Stored> lowerOneHot(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::OneHotOp>(request.op);
  FailureOr<Stored> indices = lowering.find(op.getIndices());
  StoredConstant values = lowering.findConstant(op.getValues());
  if (failed(indices))
    return failure();
  if (!values)
    return lowering.refuse(op, "its values are not constant");
  TosaBuilder &b = lowering.b;
  llvm::ArrayRef<int64_t> shape = nn::shapeOf(op.getResult());
  int64_t rank = static_cast<int64_t>(shape.size()), axis = countFromFront(op.getAxis(), rank);
  int64_t depth = shape[static_cast<size_t>(axis)];
  Shape expanded(shape);
  expanded[static_cast<size_t>(axis)] = 1;
  // Indices beyond the depth stay beyond it.
  Value index = b.clamp(b.reshape(lowering.inModelOrder(*indices), expanded), -depth - 1, depth);
  index = wrapNegative(b, index, depth);
  FailureOr<Value> positions = countAlong(b, axis, rank, depth, 1);
  if (failed(positions))
    return failure();
  Tensor reals = values.encoding ? values.reals() : values.integers;
  auto constant = [&](int64_t i) {
    return b.constant({request.grid.nearest(reals.valueAsDouble(i))}, Shape(static_cast<size_t>(rank), 1), request.grid.bits);
  };
  Value isThere = b.compare<tosa::EqualOp>(index, *positions);
  return Stored{b.select(isThere, constant(1), constant(0)), request.grid, identityOrder(rank)};
}

/// Rows written at constant or computed positions: the update of a cache. Indices [count, 1] choose along the first
/// dimension.
FailureOr<Stored> lowerScatterND(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ScatterNDOp>(request.op);
  if (op.getReduction() != "none")
    return lowering.refuse(op, "reductions of scattered values have no integer form");
  llvm::ArrayRef<int64_t> indexShape = nn::shapeOf(op.getIndices());
  if (indexShape.back() != 1)
    return lowering.refuse(op, "scattered values have an integer form for indices of the first dimension only, found " +
                                   Twine(indexShape.back()) + " dimensions");
  FailureOr<Stored> data = lowering.find(op.getData()), updates = lowering.find(op.getUpdates()),
                    indices = lowering.find(op.getIndices());
  if (failed(indices) || failed(convertUpdates(lowering, request, data, updates)))
    return failure();
  TosaBuilder &b = lowering.b;
  Shape shape = lowering.modelShape(*data);
  int64_t rows = shape.front(), columns = elementCount(shape) / rows, count = elementCount(indexShape);
  Value table = b.reshape(lowering.inModelOrder(*data), {1, rows, columns});
  Value source = b.reshape(lowering.inModelOrder(*updates), {1, count, columns});
  Value chosen = countIndices(b, b.reshape(lowering.inModelOrder(*indices), {1, count}), rows);
  Value written = b.create<tosa::ScatterOp>(table.getType(), table, chosen, source).getResult();
  return Stored{b.reshape(written, shape), data->grid, identityOrder(data->rank())};
}

/// Constant positions of rows: gathered after the index tuples are counted through.
FailureOr<Stored> lowerGatherND(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::GatherNDOp>(request.op);
  std::optional<SmallVector<int64_t>> constant = nn::readConstantIntegers(op.getIndices());
  if (!constant || op.getBatchDims() != 0)
    return lowering.refuse(op, "GatherND has an integer form for constant indices without batches only");
  FailureOr<Stored> data = lowering.find(op.getData());
  if (failed(data))
    return failure();
  TosaBuilder &b = lowering.b;
  Shape shape = lowering.modelShape(*data);
  auto depth = static_cast<size_t>(nn::shapeOf(op.getIndices()).back());
  int64_t rows = elementCount(llvm::ArrayRef<int64_t>(shape).take_front(depth));
  int64_t columns = elementCount(shape) / rows;
  SmallVector<int64_t> flat;
  for (size_t i = 0; i < constant->size(); i += depth) {
    int64_t row = 0;
    for (size_t dim = 0; dim < depth; ++dim) {
      int64_t index = (*constant)[i + dim];
      row = row * shape[dim] + (index < 0 ? index + shape[dim] : index);
    }
    flat.push_back(row);
  }
  FailureOr<Value> indices = b.data(flat, {1, static_cast<int64_t>(flat.size())}, 32);
  if (failed(indices))
    return failure();
  Value gathered = b.gather(b.reshape(lowering.inModelOrder(*data), {1, rows, columns}), *indices);
  llvm::ArrayRef<int64_t> result = nn::shapeOf(op.getResult());
  return Stored{b.reshape(gathered, result), data->grid, identityOrder(static_cast<int64_t>(result.size()))};
}

} // namespace

void registerIndexingLowerings(LowerRegistry &registry) {
  registry["gather"] = lowerGather;
  registry["gather_elements"] = lowerGatherElements;
  registry["scatter_elements"] = lowerScatterElements;
  registry["one_hot"] = lowerOneHot;
  registry["gather_nd"] = lowerGatherND;
  registry["scatter_nd"] = lowerScatterND;
}

} // namespace nibble
